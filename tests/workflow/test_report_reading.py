"""The report on paper, without JavaScript, in forced colors and for who cannot see it, in a real browser."""

import shutil
from itertools import pairwise

import pytest
from run_workflow import STUDIES
from test_report_browser import DESK, PHONE, Visit, browser, luminance, over, parsed, report  # noqa: F401

from consilience.report.pages import write_run
from tests.unit.report_examples import card, study_page

pytestmark = pytest.mark.workflow
NAMES = sorted(path.stem for path in STUDIES.glob("*.yaml"))


@pytest.fixture
def look(browser, report):  # noqa: F811
    """Opens a page of the report, or of another folder."""
    visits = []

    def opened(name, viewport=DESK, folder=report, **options):
        visits.append(Visit(browser, folder / f"{name}.html", viewport, **options))
        return visits[-1].page

    yield opened
    for one in visits:
        one.context.close()


@pytest.mark.parametrize("name", NAMES)
def test_paper_has_every_row_and_all_that_was_folded(look, name):
    page = look(name, {"width": 720, "height": 1000})  # about what an A4 page holds
    page.emulate_media(media="print")
    assert page.locator("details:not([open])").count() > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    cut = page.evaluate("""[...document.querySelectorAll(".scroll")].filter((one) => {
        const style = getComputedStyle(one);
        return style.overflowX !== "visible" || style.overflowY !== "visible" || style.maxHeight !== "none";
    }).length""")
    assert cut == 0
    wide = page.evaluate("""() => { const table = document.querySelector("table.drivers");
        return [table.scrollWidth, table.parentElement.clientWidth]; }""")
    assert wide[0] <= wide[1]
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 0


def test_the_chart_keeps_its_colors_on_paper_and_in_forced_colors(look):
    page = look("toy", forced_colors="active")
    styles = page.evaluate("""[...document.querySelectorAll(".point, .interval, .fill")].map((one) => {
        const style = getComputedStyle(one);
        return [style.printColorAdjust, style.forcedColorAdjust, style.backgroundColor + style.borderTopWidth];
    })""")
    assert len(styles) > 5
    assert {tuple(one[:2]) for one in styles} == {("exact", "none")}
    canvas = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert all(seen != f"{canvas}0px" for *_, seen in styles)


@pytest.mark.parametrize("name", [*NAMES, "index"])
def test_a_desk_shows_all_columns_of_the_main_table(look, name):
    table = "table.overview" if name == "index" else "table.drivers"
    page = look(name)
    wide = page.evaluate(f"""() => {{ const table = document.querySelector("{table}");
        return [table.scrollWidth, table.parentElement.clientWidth]; }}""")
    assert wide[0] <= wide[1]


def test_on_a_phone_the_first_column_stays_in_sight(look):
    page = look("toy", PHONE)
    places = page.evaluate("""() => {
        const box = document.querySelector("table.drivers").parentElement, place = (cell) => cell.getBoundingClientRect().x;
        box.scrollLeft = 300;
        const [first, second] = document.querySelector("table.drivers tbody tr").cells;
        return [box.scrollLeft, place(first) - place(box), place(second) - place(box)];
    }""")
    assert places[0] == 300
    assert 0 <= places[1] < 3
    assert places[2] < 0


@pytest.mark.parametrize("name", ["toy", "index", "provenance"])
def test_without_javascript_nothing_dead_is_shown(look, name):
    page = look(name, java_script_enabled=False)
    assert page.locator(".filters:visible, [data-cards]:visible, dialog:visible, button.sort:visible").count() == 0
    assert page.get_by_text("Driver cards").locator("visible=true").count() == 0
    assert page.locator("a[href='index.html']:visible").count() >= 1
    if name == "toy":
        assert page.get_by_text("need JavaScript").is_visible()
        assert page.locator("table.drivers tbody tr:visible").count() > 0
    if name == "index":
        assert page.locator("a[href='toy.html']:visible").count() >= 1


@pytest.mark.parametrize("name", ["toy", "index", "provenance"])
def test_who_listens_hears_names_of_tables_heads_and_charts(look, name):
    page = look(name)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    nameless = (
        "[...document.querySelectorAll('table')].filter((one) => !one.closest('.ranks') && !one.ariaLabel).length"
    )
    assert page.evaluate(nameless) == 0
    assert page.locator("thead th:not([scope])").count() == 0
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for head in page.locator("table.sortable:visible thead th").all():
        assert head.get_by_role("button").count() == 1
    if name != "provenance":
        items = page.locator(".bars").first.get_by_role("listitem").all()
        assert len(items) >= 3
        assert sum("chosen by validation" in one.text_content() for one in items) == 1
    if name == "toy":
        page.locator("button.open").first.click()
        assert page.get_by_role("dialog", name="card of a driver").is_visible()
        for chip in page.locator("dialog .chip.out").all():
            assert chip.text_content().startswith("not in ")


@pytest.mark.parametrize("name", ["toy", "index"])
def test_dots_of_the_chart_stand_out_and_are_told_apart_without_color(look, name):
    page = look(name)
    script = """() => Object.fromEntries(["chosen", "network", "linear", "trivial"].flatMap((role) => {
        const one = document.querySelector(`.bar.${role} .point`);
        if (!one) return [];
        const style = getComputedStyle(one);
        const paint = parseFloat(style.borderTopWidth) ? style.borderTopColor : style.backgroundColor;
        return [[role, [paint, style.borderTopWidth, style.transform]]];
    }))"""
    found = page.evaluate(script)
    assert {"chosen", "linear", "trivial"} <= set(found)
    for paint, *_ in found.values():
        contrast = (luminance([251, 250, 247]) + 0.05) / (luminance(over(parsed(paint), [255.0] * 3)) + 0.05)
        assert contrast >= 3
    assert found["trivial"][2] != found["chosen"][2]
    if "network" in found:
        assert found["network"][1] != found["chosen"][1]


def test_a_card_of_many_targets_says_how_many_it_leaves_out(look, tmp_path):
    targets = [f"t{place}" for place in range(40)]
    study_page(tmp_path / "mine.html", targets, [card("f1", "t0", targets=[[place, -2] for place in range(12)])])
    page = look("mine", folder=tmp_path)
    assert page.locator(".driver dd", has_text="t11 −2").text_content().endswith("and 28 weaker")


def test_a_page_that_was_made_alone_says_so_and_leads_nowhere(look, tmp_path):
    study_page(tmp_path / "mine.html", ["y"], [card("f1", "y")])
    page = look("mine", folder=tmp_path)
    assert page.locator("[data-alone]").is_visible()
    assert page.locator("header a[href]").count() == 0


def test_pages_of_other_runs_are_told_on_the_first(look, report, tmp_path):  # noqa: F811
    page = look("index")
    assert page.locator("[data-others]").is_hidden()
    shutil.copy(report / "index.html", tmp_path)
    write_run(tmp_path / "run.js", {"jobs": {}, "others": ["a_former"]})
    page = look("index", folder=tmp_path)
    assert page.locator("[data-others] a[href='a_former.html']").text_content() == "a former"
    assert page.locator("[data-others]").is_visible()


def test_who_asks_for_less_motion_gets_it(look):
    for asked, given in (("reduce", "auto"), ("no-preference", "smooth")):
        page = look("toy", reduced_motion=asked)
        assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == given
