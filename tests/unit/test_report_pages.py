"""Pages: names are text wherever they stand, and each page says what it is given."""

import json

import pandas as pd
import pytest
from jinja2 import UndefinedError

from consilience.exhibits import Exhibit, exhibits_of
from consilience.report.downloads import Download
from consilience.report.overview import overview
from consilience.report.pages import _amount, _percent, other_pages, write_page, write_run
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
    assert [one.text for one in evil.root.one("ul", class_="findings").all("li")] == [EVIL]
    cells = [cell.text for cell in evil.root.one("table", data_name="drivers").one("tbody").all("td")]
    assert cells[:2] == [EVIL, EVIL]
    assert evil.root.one("p", class_="lead").one("b").text == EVIL
    assert len(list(evil.root.all("b"))) == 1
    assert [one.attributes.get("id") for one in evil.root.all("script")] == [
        None,
        "drivers-data",
        "study-data",
        None,
        None,
    ]


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


def test_warnings_and_what_the_domain_says_are_two_lists(tmp_path):
    for count, attributes in ((5, ["open"]), (6, [])):
        path = tmp_path / "mine.html"
        study_page(path, ["y"], [], notes=[f"finding {place}" for place in range(count)])
        page = Page(path)
        warnings = [one.text for one in page.root.one("ul", class_="notes").all("li")]
        assert warnings
        assert not any("finding" in one for one in warnings)
        (folded,) = [one for one in page.root.all("details") if list(one.all("ul", class_="findings"))]
        assert [one.text for one in folded.all("li")] == [f"finding {place}" for place in range(count)]
        assert list(folded.attributes) == attributes


def test_why_the_networks_sets_hold_another_number_than_the_table_is_said(tmp_path):
    path = tmp_path / "mine.html"
    study_page(path, ["y"], [card("f1", "y")])
    said = "The networks' sets in the Venn diagrams hold 3, not 1: "
    assert said in Page(path).root.one("section", id="drivers").words
    overlap = {"sets": ["networks;linear"], "intersection": 1, "size_networks": 1, "expected": 0.5}
    study_page(path, ["y"], [card("f1", "y")], overlap=pd.DataFrame(overlap))
    assert "Venn diagrams hold" not in Page(path).root.one("section", id="drivers").words


def test_cards_that_stand_open_are_of_every_target_or_of_so_many(tmp_path):
    path = tmp_path / "mine.html"
    for first, said in (([0, 1], "the strongest of every target"), ([0], "the strongest of 1 targets")):
        study_page(path, ["y", "z", "none"], [card("f1", "y"), card("f1", "z")], first=first)
        assert Page(path).root.one("section", id="cards").one("h2").one("small").words.startswith(f"{said}; a name")


def test_a_table_that_was_cut_says_so(tmp_path):
    path = tmp_path / "mine.html"
    study_page(path, ["y", "z"], [card("f1", "y")])
    assert (
        "The strongest 1 of 2 stand here; top_drivers.csv has all."
        in Page(path).root.one("section", id="drivers").words
    )


def test_numbers_are_written_in_one_way(tmp_path):
    networks = {"wide": metric(-0.0001, 0.2)}
    checks = pd.DataFrame(
        [{"check": "completeness", "method": "integrated_gradients", "metric": "relative_gap", "value": 1.5}]
    )
    view = overview(results(networks, metric(0.32), checks={"wide": checks.assign(high=None)}), "toy")
    write_page(tmp_path / "index.html", "index.html", current="index", views=[view, view])
    root = Page(tmp_path / "index.html").root
    cells = [cell.text for cell in root.one("table", data_name="studies").rows[0]]
    assert cells[4:8] == ["0.000", "0.320", "0.000", "150.0 %"]
    assert "0.000 [−0.200, 0.200]" in root.words
    assert "-0." not in root.one("main").words


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "–"), (0.0, "< 0.01 %"), (0.0012, "0.12 %"), (0.0312, "3.1 %"), (0.5, "50.0 %"), (1.5, "150.0 %")],
)
def test_percentages_have_no_exponent(share, text):
    assert _percent(share) == text


@pytest.mark.parametrize(("value", "text"), [(0.031, "0.031"), (1.26, "1.3"), (151.0, "151.0"), (0.0, "0")])
def test_expected_counts_have_no_exponent(value, text):
    assert _amount(value) == text


def test_names_of_files_are_addresses(tmp_path):
    path = tmp_path / "mine.html"
    name = "a folder/50% of #1?.csv"
    shown = {"path": f"results/mine/{name}", "title": "a", "rows": pd.DataFrame({"a": [1]}), "count": 1}
    group = {"caption": "<p>a</p>", "shown": [shown | {"download": Download(name, shown["path"], 10)}]}
    study_page(
        path, ["y"], [], sections={"drivers": [group]}, downloads=[Download(name, shown["path"], 3e6, copied=False)]
    )
    page = Page(path)
    assert "files/mine/a%20folder/50%25%20of%20%231%3F.csv" in page.links
    (listed,) = page.root.one("ul", class_="downloads").all("li")
    assert list(listed.all("a")) == []
    assert listed.words == f"results/mine/{name} (too large to come with the report) 3.0 MB"


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


def test_pages_of_other_runs_are_known(tmp_path):
    for name in ("index", "provenance", "mine", "gone", "a_former"):
        (tmp_path / f"{name}.html").touch()
    (tmp_path / "run.js").touch()
    assert other_pages(tmp_path, ["mine", "new"]) == ["a_former", "gone"]


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
    assert bool(CHAIN.shape(KNOWN).fullmatch(path)) is known
    assert bool(CHAIN.shape({}).fullmatch(path)) is unknown


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
