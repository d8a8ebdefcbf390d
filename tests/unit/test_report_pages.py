"""Pages: names are text wherever they stand, and each page says what it is given."""

import json

import pytest
from jinja2 import UndefinedError

from consilience.exhibits import Exhibit, exhibits_of
from consilience.report.overview import overview
from consilience.report.pages import write_page, write_run
from consilience.report.study import sections_of
from tests.report_page import Page
from tests.unit.report_examples import card, metric, results, study_page

EVIL = "</script><b>x</b> \"q\" 'a' & <!-- \u2028"


@pytest.fixture
def evil(tmp_path):
    path = tmp_path / "mine.html"
    study_page(path, [EVIL], [card(EVIL, EVIL)], notes=[EVIL])
    return Page(path)


def test_a_name_is_text_wherever_it_stands(evil):
    assert evil.root.one("p", class_="lead").text == f"What predicts {EVIL}?"
    assert [one.text for one in evil.root.one("ul", class_="notes").all("li")][-1] == EVIL
    cells = [cell.text for cell in evil.root.one("table", data_name="drivers").one("tbody").all("td")]
    assert cells[:2] == [EVIL, EVIL]
    assert evil.root.one("p", class_="lead").one("b").text == EVIL
    assert len(list(evil.root.all("b"))) == 1
    assert [one.attributes.get("id") for one in evil.root.all("script")] == ["drivers-data", "study-data", None, None]


def test_json_in_a_page_is_read_back(evil):
    assert [one["feature"] for one in evil.cards] == [EVIL]
    assert evil.facts["targets"] == [EVIL]


def test_a_target_can_be_chosen_whatever_it_is_called(tmp_path):
    targets = [EVIL, " spaces  within ", "<b>", "a"]
    path = tmp_path / "mine.html"
    study_page(path, targets, [card("f", target) for target in targets])
    page = Page(path)
    options = page.root.one("select", data_column="target").all("option")
    assert [one.attributes["value"] for one in options] == ["", *targets]
    assert [one.text for one in page.root.all("td", data_column="target")] == targets


def test_settings_and_sources_are_text_too(tmp_path):
    study = {"name": "mine", "seed": 0, "settings": EVIL, "source": EVIL, "source_sha256": "ab", "task": "regression"}
    content = {"versions": {"decisive": {EVIL: "1"}, "others": {"a": EVIL}}, "run": {"device": EVIL}}
    path = tmp_path / "provenance.html"
    write_page(
        path, "provenance.html", current="provenance", inputs=[study | {"target": EVIL, "unit": EVIL}], **content
    )
    page = Page(path)
    assert page.root.text.count(EVIL) == 7
    assert list(page.root.all("b")) == []


def test_a_study_without_drivers_has_neither_cards_nor_table(tmp_path):
    path = tmp_path / "mine.html"
    study_page(path, ["y"], [])
    page = Page(path)
    assert list(page.root.all("table", data_name="drivers")) == []
    assert list(page.root.all("script", id="drivers-data")) == []
    assert "#cards" not in page.links
    assert "#drivers" in page.links
    text = page.root.one("section", id="drivers").words
    assert "No driver: there is no feature that at least 1 of 1 models list on one side" in text
    assert "drivers.csv.gz" in text


def test_the_first_page_of_one_study_needs_no_table_of_studies(tmp_path):
    one = overview(results({"wide": metric(0.5)}, metric(0.4)), "toy")
    for count in (1, 2):
        write_page(tmp_path / "index.html", "index.html", current="index", views=[one] * count)
        tables = [one.attributes.get("class") for one in Page(tmp_path / "index.html").root.all("table")]
        assert tables.count("funnel") == count
        assert ("overview sortable" in tables) == (count > 1)


def test_what_a_page_lacks_is_an_error(tmp_path):
    with pytest.raises(UndefinedError):
        write_page(tmp_path / "index.html", "index.html", current="index")
    assert not (tmp_path / "index.html").exists()


def test_the_facts_of_a_run_are_a_script(tmp_path):
    write_run(tmp_path / "run.js", {"jobs": {EVIL: []}, "commit": "abc"})
    text = (tmp_path / "run.js").read_text(encoding="utf-8")
    assert "</script>" not in text
    assert json.loads(text.removeprefix("window.RUN = ").removesuffix(";\n")) == {"jobs": {EVIL: []}, "commit": "abc"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_run(tmp_path / "run.js", {"seconds": float("nan")})


CHAIN = Exhibit("results/{study}/figures/{model}.png", "chain.rst", "training")
OWN = Exhibit("results/{study}/figures/wide.png", "own.rst", "toy analysis", "toy")
KNOWN = {"study": ["a"], "model": ["wide", "deep"]}


@pytest.mark.parametrize(
    ("path", "known", "unknown"),
    [
        ("results/a/figures/wide.png", True, True),
        ("results/a/figures/wide_curves.png", False, True),
        ("results/b/figures/wide.png", False, True),
        ("results/a/figures/b/wide.png", False, False),
        ("results/a/figures/wideXpng", False, False),
        ("results/a/figures/.png", False, False),
        ("old/results/a/figures/wide.png", False, False),
        ("results/a/figures/wide.png.gz", False, False),
    ],
)
def test_a_wildcard_is_what_it_can_be_and_otherwise_any_text_without_a_slash(path, known, unknown):
    assert CHAIN.matches(path, KNOWN) is known
    assert CHAIN.matches(path, {}) is unknown


def test_a_slices_mark_wins_and_is_of_its_own_studies_alone():
    paths = [
        "results/a/figures/wide.png",
        "results/a/figures/deep.png",
        "results/a/figures/wide.png",
        "results/a/x.csv",
    ]
    chain = [("results/a/figures/wide.png", "chain.rst"), ("results/a/figures/deep.png", "chain.rst")]
    own = [("results/a/figures/wide.png", "own.rst"), chain[1]]
    for marks in ([CHAIN, OWN], [OWN, CHAIN]):
        for domain, expected in (("toy", own), ("other", chain)):
            found = exhibits_of(domain, paths, marks, KNOWN)
            assert {one["path"]: one["caption"] for one in found} == dict(expected)
            assert len(found) == 2
    assert exhibits_of("toy", paths, [CHAIN, OWN], KNOWN)[0]["section"] == "toy analysis"


def test_sections_go_from_what_was_found_to_how_it_came_about():
    found = ["data", "linear", "toy analysis", "overlap", "faithfulness", "drivers", "more", "data"]
    expected = ["drivers", "overlap", "toy analysis", "more", "faithfulness", "linear", "data"]
    assert sections_of([{"section": name} for name in found]) == expected
