"""The report in a real browser: what is clicked, sorted, filtered, opened and read on a phone."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from run_workflow import STUDIES

from consilience.report.pages import write_run
from tests.report_page import by_rank, table
from tests.unit.report_examples import card, study_page

pytestmark = pytest.mark.workflow
NAMES = sorted(path.stem for path in STUDIES.glob("*.yaml"))
PAGES = [*NAMES, "index", "provenance"]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
EVERY = pytest.mark.parametrize("name", PAGES)
# The columns of numbers, each with that of top_drivers.csv which it shows.
NUMBERS = {
    "rank": "rank",
    "average attribution": "average_attribution",
    "models": "models",
    "stability": "stability_score",
    "sign probability": "sign_probability",
    "linear coefficient": "linear_coefficient",
    "linear rank": "linear_rank",
}


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed here (chromium, google-chrome or chromium-browser)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(finished):
    return finished[0] / "results" / "report"


class Visit:
    """A page that is looked at, and all that the browser complained of or asked for meanwhile."""

    def __init__(self, browser, path, viewport, **options):
        self.complaints, self.asked = [], []
        self.context = browser.new_context(viewport=viewport, **options)
        self.context.set_default_timeout(30_000)
        self.context.route("**/*", self.request)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append((message.type, message.text)))
        self.page.on("pageerror", lambda error: self.complaints.append(("error", str(error))))
        self.page.goto(path.as_uri())

    def request(self, route):
        self.asked.append(route.request.url)
        route.continue_() if route.request.url.startswith("file://") else route.abort()

    def unfold(self):
        self.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")

    def column(self, name, head):
        """The texts of a table's visible column as they stand."""
        script = """([name, head]) => {
            const table = document.querySelector(`table[data-name="${name}"]`);
            const place = [...table.tHead.rows[0].cells].findIndex((one) => one.textContent === head);
            return [...table.tBodies[0].rows].filter((one) => !one.hidden).map((one) => one.cells[place].textContent);
        }"""
        return self.page.evaluate(script, [name, head])

    def head(self, name, head):
        pattern = re.compile(f"^{re.escape(head)}$")
        return self.page.locator(f'table[data-name="{name}"] thead th').filter(has_text=pattern)


@pytest.fixture
def visit(browser, report):
    """Opens a page; in the end no page complained of anything, and none asked for anything but its own files."""
    visits = []

    def opened(name, viewport=DESK, folder=report, **options):
        visits.append(Visit(browser, folder / f"{name}.html", viewport, **options))
        return visits[-1]

    yield opened
    for one in visits:
        one.context.close()
        assert one.complaints == []
        assert [url for url in one.asked if not url.startswith("file://")] == []


def top(report, name):
    rows = by_rank(table(report.parent / name / "top_drivers.csv"))
    return rows.assign(models=rows["total_positive"].where(rows["direction"] == "positive", rows["total_negative"]))


@EVERY
def test_links_resolve_and_pictures_load(visit, report, name):
    one = visit(name)
    links = one.page.evaluate("[...document.querySelectorAll('a[href]')].map((one) => one.href)")
    assert len(links) >= 10
    for link in links:
        parts = urlsplit(link)
        path = Path(unquote(parts.path))
        assert parts.scheme == "file", link
        assert path.is_file(), link
        if parts.fragment:
            assert path.name == f"{name}.html"
            assert one.page.locator(f"[id='{unquote(parts.fragment)}']").count() == 1, link
    one.unfold()
    script = """() => Promise.all([...document.images].map(async (one) => {
        one.loading = "eager";
        await one.decode();
        return [one.naturalWidth, Number(one.getAttribute("width"))];
    }))"""
    sizes = one.page.evaluate(script)
    assert (len(sizes) >= 8) == (name in NAMES)
    assert all(natural == given > 0 for natural, given in sizes)


@EVERY
def test_a_phone_shows_a_page_without_scrolling_sideways(visit, name):
    one = visit(name, PHONE)
    one.unfold()
    assert one.page.evaluate(WIDTHS) == [360, 360]
    letters = one.page.evaluate(f"""() => {{ {TEXTS}
        return texts().map((one) => [describe(one), parseFloat(getComputedStyle(one).fontSize)]); }}""")
    assert len(letters) > 50
    assert [(what, size) for what, size in letters if size < 11] == []
    targets = one.page.evaluate("""() => [...document.querySelectorAll(
        "button, select, input[type=search], label, summary, nav a, .button")].filter(
        (one) => one.offsetParent).map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect().height])""")
    # What a finger finds: WCAG 2.2, success criterion 2.5.8.
    assert [(what, height) for what, height in targets if height < 24] == []


WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
TEXTS = """
    const texts = () => [...document.querySelectorAll("body *")].filter((one) => one.checkVisibility() &&
        [...one.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
    const describe = (one) => `${one.parentElement.className} > ${one.tagName}.${one.className}`;
"""


LONG = "a_name_without_a_space_" * 8


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("drivers", [0, 40])
def test_long_names_many_targets_and_no_driver_fit(visit, tmp_path, viewport, drivers):
    targets = [f"{LONG}{place}" for place in range(40)]
    of_targets = {"targets": [[place, 1] for place in range(12)]}
    study_page(
        tmp_path / "mine.html",
        targets,
        [card(f"{LONG}{target}", target, **of_targets) for target in targets[:drivers]],
        notes=[LONG],
        model=LONG,
    )
    write_run(tmp_path / "run.js", {"jobs": {LONG: []}})
    one = visit("mine", viewport, tmp_path)
    one.unfold()
    assert one.page.evaluate(WIDTHS) == [viewport["width"], viewport["width"]]
    assert one.page.locator(".driver").count() == drivers
    if drivers:
        one.page.locator("button.open").last.click()
        box = one.page.locator("dialog#card").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= viewport["width"]
        assert one.page.locator("dialog#card").evaluate("(one) => one.scrollWidth <= one.clientWidth")
    else:
        assert "No driver: " in one.page.locator("#drivers").text_content()


def luminance(color):
    """Relative luminance of sRGB, WCAG 2.2."""
    parts = [part / 255 for part in color]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def over(front, behind):
    *color, alpha = front
    return [alpha * own + (1 - alpha) * other for own, other in zip(color, behind, strict=True)]


def parsed(color):
    numbers = [float(number) for number in re.findall(r"[\d.]+", color)]
    return numbers if len(numbers) == 4 else [*numbers, 1.0]


@pytest.mark.parametrize("name", ["fashion_tiny", "toy", "index", "provenance"])
def test_text_stands_out_from_what_is_behind_it(visit, name):
    one = visit(name)
    one.unfold()
    found = one.page.evaluate(f"""() => {{ {TEXTS}
        const kinds = new Map();
        for (const one of texts()) {{
            const colors = [getComputedStyle(one).color];
            for (let at = one; at; at = at.parentElement) colors.push(getComputedStyle(at).backgroundColor);
            kinds.set(describe(one) + colors.join(), [describe(one), colors]);
        }}
        return [...kinds.values()]; }}""")
    assert len(found) > 20
    for what, (text, *behind) in found:
        ground = [255.0] * 3
        for color in reversed(behind):
            ground = over(parsed(color), ground)
        light, dark = sorted((luminance(over(parsed(text), ground)), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (what, text, ground)


@pytest.mark.parametrize("name", NAMES)
def test_the_driver_table_sorts_numbers_both_ways(visit, report, name):
    one, expected = visit(name), top(report, name)
    assert one.column("drivers", "feature") == expected["feature"].tolist()
    for head, column in NUMBERS.items():
        # Cells have four digits, and what is equal in these stays in its order.
        values = [float(f"{value:.4g}") for value in expected[column]]
        for ascending, way in ((True, "ascending"), (False, "descending")):
            one.head("drivers", head).click()
            assert one.head("drivers", head).get_attribute("aria-sort") == way
            assert one.page.locator("table[data-name=drivers] th[aria-sort]").count() == 1
            order = sorted(range(len(values)), key=lambda row: values[row] if ascending else -values[row])
            assert one.column("drivers", "feature") == expected["feature"].iloc[order].tolist(), (head, way)
            assert one.column("drivers", "target") == expected["target"].iloc[order].tolist(), (head, way)


def natural(text):
    return [
        (part.isdigit(), int(part) if part.isdigit() else part.lower()) for part in re.split(r"(\d+)", text) if part
    ]


@pytest.mark.parametrize("name", ["fashion_tiny", "expression_tiny", "variants_tiny"])
def test_names_sort_as_people_count(visit, report, name):
    one, expected = visit(name), top(report, name)
    one.head("drivers", "feature").click()
    rows = expected["feature"].map(natural).sort_values(kind="stable").index
    assert one.column("drivers", "feature") == expected["feature"][rows].tolist()
    assert one.column("drivers", "rank") == expected["rank"][rows].astype(str).tolist()


def test_the_table_of_studies_sorts_with_what_is_missing_last(visit, report):
    one = visit("index")
    summary = table(report.parent / "summary.tsv")
    columns = {"network": "network_value", "trivial": "trivial_value", "completeness gap": "completeness_gap"}
    assert summary["completeness_gap"].isna().any()
    for head, column in columns.items():
        for ascending in (True, False):
            one.head("studies", head).click()
            order = summary.sort_values(column, ascending=ascending, na_position="last", kind="stable")
            assert one.column("studies", "study") == [name.replace("_", " ") for name in order["study"]], head


def test_headers_are_reached_and_work_by_keyboard(visit, report):
    one = visit("index", reduced_motion="reduce")
    keyboard, focused = one.page.keyboard, "document.activeElement.tagName + ' ' + document.activeElement.textContent"
    for _ in range(40):
        keyboard.press("Tab")
        if one.page.evaluate(focused) == "BUTTON samples":
            break
    assert one.page.evaluate(focused) == "BUTTON samples"
    summary = table(report.parent / "summary.tsv")
    totals = summary["train"] + summary["validation"] + summary["test"]
    for key, ascending in (("Enter", True), ("Space", False), ("Enter", True)):
        keyboard.press(key)
        expected = [f"{count:,}" for count in sorted(totals, reverse=not ascending)]
        assert one.column("studies", "samples") == expected
    # A space sorts, and does not turn the page with the next frames.
    frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(scrollY))))"
    assert one.page.evaluate(frames) == 0


def test_filters_keep_what_pandas_keeps(visit, report):
    one, rows = visit("fashion_tiny"), top(report, "fashion_tiny")
    filters = one.page.locator(".filters")
    target, part = rows["target"].iloc[-1], rows["feature"].iloc[0][:3]
    search = rows["feature"].str.contains(part, regex=False)
    steps = [
        (lambda: filters.get_by_label("find a feature").fill(f" {part.upper()} "), search),
        (lambda: filters.get_by_label("direction").select_option("negative"), rows["direction"] == "negative"),
        (lambda: filters.get_by_label("find a feature").fill(""), ~search | search),
        (lambda: filters.get_by_label("target").select_option(target), rows["target"] == target),
        (lambda: filters.get_by_label("linear model too").check(), rows["in_overlap"]),
    ]
    kept = {}
    for place, (act, keeps) in enumerate(steps):
        act()
        kept[0 if place == 2 else place] = keeps
        expected = rows
        for one_filter in kept.values():
            expected = expected[one_filter.reindex(expected.index)]
        assert one.column("drivers", "feature") == expected["feature"].tolist(), place
        assert filters.locator("output").text_content() == f"{len(expected)} of {len(rows)}"
    assert 0 < len(rows[search]) < len(rows)


@pytest.mark.parametrize("name", ["fashion_tiny", "toy"])
def test_a_name_opens_its_card_wherever_it_stands(visit, report, name):
    one, rows = visit(name), top(report, name)
    one.head("drivers", "average attribution").click()
    order = rows.sort_values("average_attribution", kind="stable").reset_index(drop=True)
    dialog = one.page.locator("dialog#card")
    count = table(report.parent / name / "drivers.csv")["feature"].nunique()
    for place, row in order.iloc[[0, len(order) // 2, len(order) - 1]].iterrows():
        button = one.page.locator("table[data-name=drivers] button.open").nth(place)
        button.focus()
        one.page.keyboard.press("Enter")
        assert dialog.is_visible()
        sign = {"positive": "+", "negative": "−"}[row["direction"]]
        assert dialog.locator("h3").text_content() == f"{sign}{row['feature']}"
        said = dialog.locator(".of").text_content()
        assert f"#{row['rank']} of {count}, {row['models']} of " in said
        assert said.startswith(f"{row['target']}, ") == (rows["target"].nunique() > 1)
        one.page.keyboard.press("Escape")
        assert dialog.is_hidden()
    one.page.locator("table[data-name=drivers] button.open").first.click()
    dialog.get_by_label("close").click()
    assert dialog.is_hidden()


@pytest.mark.parametrize("name", NAMES)
def test_the_strongest_cards_stand_open(visit, report, name):
    one, rows = visit(name), top(report, name)
    each = max(1, 12 // table(report.parent / name / "drivers.csv")["target"].nunique())
    expected = [
        ("+" if row.direction == "positive" else "−") + row.feature
        for _, own in rows.groupby("target", sort=False)
        for row in own.sort_values("rank", kind="stable").head(each).itertuples()
    ]
    assert one.page.locator("[data-cards] h3").all_text_contents() == expected


def run_of(report):
    return json.loads((report / "run.js").read_text().removeprefix("window.RUN = ").removesuffix(";\n"))


def test_what_a_run_took_is_filled_in(visit, report):
    run = run_of(report)
    work = {name: sum(job["seconds"] or 0 for job in jobs) / 60 for name, jobs in run["jobs"].items()}
    assert [float(text) for text in visit("index").column("studies", "minutes of work")] == tenths(work.values())
    page = visit("toy").page
    assert [float(page.locator("[data-work]").text_content())] == tenths([work["toy"]])
    assert page.locator("footer").text_content().count(run["commit"][:10]) == 1
    links = page.locator("nav[data-current] a").all_text_contents()
    assert links == ["all studies", *(name.replace("_", " ") for name in run["jobs"]), "provenance"]
    assert page.locator("nav [aria-current]").text_content() == "toy"
    provenance = visit("provenance")
    assert run["commit"] in provenance.page.locator("dd[data-commit]").text_content()
    told = provenance.column("jobs", "job")
    assert told == [job["job"] for jobs in run["jobs"].values() for job in jobs]
    seconds = [job["seconds"] for jobs in run["jobs"].values() for job in jobs]
    texts = provenance.column("jobs", "seconds")
    assert [text == "–" for text in texts] == [value is None for value in seconds]
    defined = [value for value in seconds if value is not None]
    assert [float(text) for text in texts if text != "–"] == tenths(defined)
    provenance.head("jobs", "seconds").click()
    texts = provenance.column("jobs", "seconds")
    assert [float(text) for text in texts[: len(defined)]] == tenths(sorted(defined))
    assert set(texts[len(defined) :]) <= {"–"}


def tenths(values):
    return pytest.approx(list(values), abs=0.0501)


@pytest.mark.parametrize("name", ["index", "toy_two_classes", "provenance"])
def test_pages_work_without_what_a_run_took(browser, report, tmp_path, name):
    (tmp_path / "files").symlink_to(report / "files")
    one = Visit(browser, Path(shutil.copy(report / f"{name}.html", tmp_path)), DESK)
    # The file that is not there is all that is told.
    assert [text for kind, text in one.complaints if "ERR_FILE_NOT_FOUND" not in text or kind != "error"] == []
    names = [Path(urlsplit(url).path).name for url in one.asked]
    assert [each for each in names if not each.endswith(".webp")] == [f"{name}.html", "run.js"]
    before = len(one.complaints)
    for kept in one.page.locator("[data-work]").all_text_contents():
        assert kept == "–"
    for sortable in one.page.locator("table.sortable:visible").all():
        sortable.locator("th").first.click()
        assert sortable.locator("th").first.get_attribute("aria-sort") == "ascending"
    if name == "provenance":
        assert one.page.locator("dd[data-commit]").text_content() == "not known"
    assert len(one.complaints) == before
    one.context.close()
