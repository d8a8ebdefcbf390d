"""Pages: names are text wherever they stand, and each page says what it is given."""

import json
from html.parser import HTMLParser

import pytest
from jinja2 import UndefinedError

from consilience.exhibits import Exhibit, exhibits_of
from consilience.report.overview import metric_table, overview
from consilience.report.pages import write_page, write_run
from consilience.report.study import sections_of
from tests.unit.report_examples import LIST, metric, results

EVIL = "</script><b>x</b> \"q\" 'a' & <!-- \u2028"


class Page(HTMLParser):
    """The elements of a page, its texts, and the contents of its scripts by id."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.texts, self.scripts, self.inside = [], [], {}, []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tag, attributes = self.inside[-1] if self.inside else (None, {})
        if tag == "script":
            self.scripts[attributes.get("id")] = self.scripts.get(attributes.get("id"), "") + data
        elif tag != "style":
            self.texts.append(data)


def card(name, **changes):
    found = dict.fromkeys(("average_attribution", "stability_score", "sign_probability", "linear_coefficient"), -0.25)
    found |= {"feature": name, "target": name, "rank": 1, "direction": "positive", "total_models": 1}
    found |= {"linear_rank": 2, "in_overlap": True, "models": {"wide": [1]}, "lists": {}, "sets": {}, "targets": []}
    return found | {"planted": None} | changes


def study_page(path, name, cards, **changes):
    top = LIST.assign(feature=name, target=name)
    drivers = LIST.assign(feature=name, target=name)
    study = results({"wide": metric(0.5)}, metric(0.4), top=top, drivers=drivers, own_notes=[name])
    facts = {"features": 1, "targets": [name], "voters": ["wide"], "methods": ["saliency"], "first": [0][: len(cards)]}
    facts["minimum_models"] = 1
    content = {"current": "mine", "view": overview(study, "toy"), "cards": cards, "facts": facts, "sections": {}}
    content |= {"metrics": metric_table(study), "downloads": [], "everything": None}
    write_page(path, "study.html", **content | changes)
    return Page(path)


@pytest.fixture
def evil(tmp_path):
    return study_page(tmp_path / "mine.html", EVIL, [card(EVIL)], sections={"drivers": []}, everything=one_download())


def one_download():
    return type("Download", (), {"name": "drivers.csv.gz", "size": 10, "path": "results/mine/drivers.csv"})


def test_a_name_is_text_wherever_it_stands(evil):
    texts = "".join(evil.texts)
    # The lead, the note, and the target and feature of the table.
    assert texts.count(EVIL) >= 4
    bold = [attributes for tag, attributes in evil.elements if tag == "b"]
    assert len(bold) == 1  # that of the lead, which holds the target
    assert len([tag for tag, _ in evil.elements if tag == "script"]) == 4


def test_json_in_a_page_is_read_back(evil):
    assert [one["feature"] for one in json.loads(evil.scripts["drivers-data"])] == [EVIL]
    assert json.loads(evil.scripts["study-data"])["targets"] == [EVIL]


def test_names_in_attributes_are_text_too(tmp_path):
    study = {"name": "mine", "seed": 0, "settings": EVIL, "source": EVIL, "source_sha256": "ab", "task": "regression"}
    content = {"versions": {"decisive": {EVIL: "1"}, "others": {"a": EVIL}}, "run": {"device": EVIL}}
    path = tmp_path / "provenance.html"
    write_page(
        path, "provenance.html", current="provenance", inputs=[study | {"target": EVIL, "unit": EVIL}], **content
    )
    page = Page(path)
    assert "".join(page.texts).count(EVIL) == 7
    assert [tag for tag, _ in page.elements if tag == "b"] == []


def test_a_study_without_drivers_has_neither_cards_nor_table(tmp_path):
    sections = {"drivers": []}
    page = study_page(tmp_path / "mine.html", "y", [], sections=sections, everything=one_download())
    kinds = {attributes.get("class") for tag, attributes in page.elements if tag == "table"}
    assert "sortable drivers" not in kinds
    assert "drivers-data" not in page.scripts
    assert not [attributes for tag, attributes in page.elements if attributes.get("href") == "#cards"]
    text = " ".join("".join(page.texts).split())
    assert "No driver: there is no feature that at least 1 of 1 models list on one side" in text
    assert "drivers.csv.gz" in text


def test_the_first_page_of_one_study_needs_no_table_of_studies(tmp_path):
    one = overview(results({"wide": metric(0.5)}, metric(0.4)), "toy")
    for count in (1, 2):
        write_page(tmp_path / "index.html", "index.html", current="index", views=[one] * count)
        page = Page(tmp_path / "index.html")
        tables = [attributes.get("class") for tag, attributes in page.elements if tag == "table"]
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


@pytest.mark.parametrize(
    ("path", "fits"),
    [
        ("results/a/figures/wide.png", True),
        ("results/a/figures/b/wide.png", False),
        ("results/a/figures/wideXpng", False),
        ("results/a/figures/.png", False),
        ("old/results/a/figures/wide.png", False),
        ("results/a/figures/wide.png.gz", False),
    ],
)
def test_a_wildcard_is_any_text_without_a_slash(path, fits):
    assert CHAIN.matches(path) is fits


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
            found = exhibits_of(domain, paths, marks)
            assert {one["path"]: one["caption"] for one in found} == dict(expected)
            assert len(found) == 2
    assert exhibits_of("toy", paths, [CHAIN, OWN])[0]["section"] == "toy analysis"


def test_sections_go_from_what_was_found_to_how_it_came_about():
    found = ["data", "linear", "toy analysis", "overlap", "faithfulness", "drivers", "more", "data"]
    expected = ["drivers", "overlap", "toy analysis", "more", "faithfulness", "linear", "data"]
    assert sections_of([{"section": name} for name in found]) == expected
