"""The report of the finished studies, held against the files that the chain left."""

import gzip
import json
import re
import zipfile
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import h5py
import numpy as np
import pandas as pd
import pytest
from docutils.core import publish_parts
from PIL import Image
from run_workflow import ROOT, STUDIES, jobs, snakemake

from consilience.configuration import load_studies
from tests.report_page import Page, by_rank, table

pytestmark = pytest.mark.workflow
NAMES = sorted(path.stem for path in STUDIES.glob("*.yaml"))
OFFERED = (".tsv", ".csv", ".parquet", ".json", ".txt", ".pdf")
MEGABYTES = 10
STUDY = pytest.mark.parametrize("name", NAMES)


def caption_of(html):
    """The words of a caption, without the links that Snakemake adds."""
    return " ".join(unescape(re.sub(r"<[^>]+>", "", html)).split())


CAPTIONS = {
    caption_of(publish_parts(path.read_text(), writer="html5")["body"])
    for pattern in ("workflow/report/*.rst", "workflow/consilience/domains/*/captions/*.rst")
    for path in ROOT.glob(pattern)
}


@pytest.fixture(scope="module")
def report(finished):
    return finished[0] / "results" / "report"


@pytest.fixture(scope="module")
def pages(report):
    return {path.stem: Page(path) for path in sorted(report.glob("*.html"))}


@pytest.fixture(scope="module")
def studies():
    return load_studies(STUDIES)


def results_of(report, name):
    """The files of a study's results by their names below its folder; those of earlier systems are made on request."""
    base = report.parent / name
    found = (path for path in sorted(base.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(base).as_posix(): path for path in found if "raw" not in path.relative_to(base).parts}


def test_every_study_has_a_page_and_all_are_small(report, pages, finished):
    assert sorted(pages) == sorted([*NAMES, "index", "provenance"])
    size = sum(path.stat().st_size for path in report.rglob("*") if path.is_file())
    assert size < MEGABYTES * 1e6, f"{size / 1e6:.1f} MB"
    assert "results/report/index.html" in finished[1]


def test_nothing_is_named_that_does_not_come_with_the_report(report, pages):
    for page in pages.values():
        for link in page.links:
            if not link.startswith(("#", "data:")):
                assert not re.match(r"([a-z]+:)?//|[a-z]+:|/", link), (page.path.name, link)
                assert (report / unquote(link).partition("#")[0]).is_file(), (page.path.name, link)
        text = page.path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"(?:@import|url\(|https?://)[^\s\"']*", text) == []


def test_no_page_tells_of_this_machine(report, pages):
    places = (str(report.parents[1]), str(ROOT), str(Path.home()))
    for name, page in pages.items():
        text = page.path.read_text(encoding="utf-8")
        assert [place for place in places if place in text] == [], name


@STUDY
def test_every_figure_stands_on_the_page_with_what_would_look_bad(report, pages, name):
    shown = {}
    for group in pages[name].root.all("div", class_="group"):
        (caption,) = group.all("div", class_="caption")
        for figure in group.all("figure"):
            shown[figure.one("code").text] = (figure.one("img").attributes, caption.words)
    # Pictures of single samples, in a folder of their own, are the pages of a PDF.
    inner = [inner for inner in results_of(report, name) if inner.endswith(".png") and inner.count("/") < 2]
    figures = [f"results/{name}/{one}" for one in inner]
    assert sorted(shown) == sorted(figures)
    assert len(figures) >= 8
    for path, (image, caption) in shown.items():
        assert caption in CAPTIONS
        assert "What would look bad:" in caption
        with Image.open(report.parents[1] / path) as drawn, Image.open(report / image["src"]) as small:
            assert small.size == (int(image["width"]), int(image["height"]))
            assert small.size == tuple(round(side * 110 / 300) for side in drawn.size)
        title, said = image["alt"].split(": ", 1)
        assert title == Path(path).stem.replace("_", " ")
        assert caption.startswith(said)
        assert said.endswith(".")


@STUDY
def test_every_table_can_be_had_and_is_the_result(report, pages, name):
    results = {inner: path for inner, path in results_of(report, name).items() if inner.endswith(OFFERED)}
    links = [one.attributes["href"] for one in pages[name].root.one("ul", class_="downloads").all("a")]
    found = {link.removeprefix(f"files/{name}/"): report / link for link in links}
    assert {inner.removesuffix(".gz") for inner in found} == set(results)
    for inner, copy in found.items():
        content = gzip.decompress(copy.read_bytes()) if inner.endswith(".gz") else copy.read_bytes()
        assert content == results[inner.removesuffix(".gz")].read_bytes(), inner
    files = {path for path in (report / "files" / name).rglob("*") if path.is_file() and path.name[0] != "."}
    images = {report / one.attributes["src"] for one in pages[name].root.all("img")}
    assert files == {*found.values(), *images}


@STUDY
def test_previews_are_the_first_rows(report, pages, name):
    previews = list(pages[name].root.all("details", class_="table"))
    assert len(previews) >= 5
    for preview in previews:
        copy = report / preview.one("a").attributes["href"]
        expected = table(copy)
        count = preview.one("summary").one("small").words
        assert int(count.split()[0].replace(",", "")) == len(expected)
        rows = [[cell.text for cell in row] for row in preview.one("table").rows]
        assert len(rows) == min(8, len(expected)), copy
        for row, (_, own) in zip(rows, expected.head(8).iterrows(), strict=True):
            for text, value in zip(row, own, strict=True):
                agrees(text, value)


def agrees(text, value):
    if isinstance(value, str) and value:
        assert text == value or (text.endswith("…") and value.startswith(text[:-1]))
    elif pd.isna(value):
        assert text == ""
    elif isinstance(value, (bool, np.bool_)):
        assert text == str(value)
    else:
        assert float(text.replace("−", "-")) == pytest.approx(float(value), rel=1e-3, abs=1e-300)


@STUDY
def test_the_driver_table_is_that_of_the_consensus_row_by_row(report, pages, studies, name):
    expected = by_rank(table(report.parent / name / "top_drivers.csv"))
    found = list(pages[name].root.all("table", data_name="drivers"))
    assert bool(found) == bool(len(expected))
    rows = [row for one in found for row in one.rows]
    assert len(rows) == len(expected)
    for cells, row in zip(rows, expected.to_dict("records"), strict=True):
        texts = [cell.text for cell in cells]
        assert texts[:4] == [row["feature"], row["target"], str(row["rank"]), row["direction"]]
        assert texts[5] == f"{row['total_' + row['direction']]}/{len(studies[name].voters)}"
        for place, column in {4: "average_attribution", 8: "linear_coefficient"}.items():
            assert float(texts[place].replace("−", "-")) == pytest.approx(row[column], rel=5e-3)
            assert float(cells[place].attributes["data-value"]) == pytest.approx(row[column], rel=5e-4)
        assert float(texts[6]) == pytest.approx(row["stability_score"], abs=0.005001)
        assert float(texts[7]) == pytest.approx(row["sign_probability"], abs=0.005001)
        assert texts[9:] == [str(row["linear_rank"]), "yes" if row["in_overlap"] else "no"]


def ranked(path, single):
    """The signed ranks of an attribution file, (targets, features): members on real labels are averaged."""
    with h5py.File(path) as file:
        real = file["members/permuted"][...] == 0
        sizes = file["all" if single else "own_class"]["magnitude"][...][real].astype(float).mean(axis=0)
        signs = np.sign(file["all/direction"][...][real].astype(float).mean(axis=0))
        names = [name.decode() for name in file["features/name"][...]]
        targets = [name.decode() for name in file["targets"][...]]
    ranks = pd.DataFrame(-sizes * (signs != 0), index=targets, columns=names).rank(axis=1, method="first")
    return (ranks * signs).astype(int)


@STUDY
def test_cards_are_the_results_told_again(report, pages, studies, name):
    base, study, page = report.parent / name, studies[name], pages[name]
    drivers, matrix = table(base / "drivers.csv"), table(base / "top_matrix.csv")
    drivers = drivers.set_index(["target", "feature"])
    matrix = matrix.set_index(["target", "feature"])
    targets = list(drivers.index.get_level_values(0).unique())
    single = len(targets) < 3
    ranks = {
        model: [ranked(base / "attributions" / model / f"{method}.h5", single) for method in study.methods]
        for model in study.explained
    }
    assert [(card["target"], card["feature"]) for card in page.cards] == [
        (row.target, row.feature) for row in by_rank(table(base / "top_drivers.csv")).itertuples()
    ]
    for card in page.cards:
        key = (card["target"], card["feature"])
        assert card["models"] == {model: [one.loc[key] for one in own] for model, own in ranks.items()}, key
        row = matrix.loc[key]
        sides = {model: row[f"{model}_positive"] - row[f"{model}_negative"] for model in study.voters}
        assert card["lists"] == {model: side for model, side in sides.items() if side}
        of_targets = [drivers.loc[target, card["feature"]] for target in targets]
        signed = [{"positive": 1, "negative": -1, "none": 0}[one["direction"]] * one["rank"] for one in of_targets]
        assert card["targets"] == ([list(one) for one in enumerate(signed)] if len(targets) > 1 else [])


@STUDY
def test_the_sets_of_cards_are_those_of_the_overlap(report, pages, name):
    overlap = table(report.parent / name / "overlap.csv").fillna({"features": ""})
    for row in overlap.itertuples():
        own = [one for one in pages[name].cards if (one["target"], one["direction"]) == (row.target, row.direction)]
        shared = {one["feature"] for one in own if all(one["sets"][each] for each in row.sets.split(";"))}
        features = set(row.features.split(";"))
        assert shared == features & {one["feature"] for one in own}, (name, row.target, row.direction, row.sets)
    several = {one for row in overlap["sets"] for one in row.split(";")}
    assert all(set(card["sets"]) == several for card in pages[name].cards)


@STUDY
def test_what_was_planted_is_told_on_the_card(report, pages, name):
    truth = table(report.parent / name / "truth.tsv").astype({"target": str})
    expected = {(row.target, row.feature): {"sign": row.sign, "effect": row.effect} for row in truth.itertuples()}
    for card in pages[name].cards:
        assert card["planted"] == expected.get((card["target"], card["feature"]))


def test_the_first_page_has_the_numbers_of_the_summary(report, pages):
    summary = table(report.parent / "summary.tsv").set_index("study")
    shown = pages["index"].root.one("table", data_name="studies")
    heads = [one.words for one in shown.one("thead").all("th")]
    assert len(shown.rows) == len(summary) == len(NAMES)
    for row in shown.rows:
        cells = dict(zip(heads, row, strict=True))
        name = cells["study"].one("a").attributes["href"].removesuffix(".html")
        own = summary.loc[name]
        values = {head: cell.attributes.get("data-value") for head, cell in cells.items()}
        assert int(values["samples"]) == own["train"] + own["validation"] + own["test"]
        assert int(values["features"]) == own["features"]
        columns = {one: f"{one}_value" for one in ("network", "linear", "trivial")}
        for head, column in {**columns, "completeness gap": "completeness_gap"}.items():
            expected = own[column]
            assert (values[head] == "") == pd.isna(expected)
            assert values[head] == "" or float(values[head]) == pytest.approx(expected, rel=1e-6)
        assert cells["metric"].words.startswith(own["metric"].replace("_", " "))


@STUDY
def test_the_first_page_tells_every_filter_model_and_driver_of_a_study(report, pages, studies, name):
    (article,) = [one for one in pages["index"].root.all("article") if list(one.all("a", href=f"{name}.html"))]
    base, said = report.parent / name, article.words
    audit = table(base / "audit.tsv")
    steps = [[cell.words for cell in row] for row in article.one("table", class_="funnel").rows]
    assert steps[0][-2] == f"{audit['samples_after'].iloc[0]:,}"
    assert steps[-1][-2:] == [f"{audit['samples_after'].iloc[-1]:,}", f"{audit['features_after'].iloc[-1]:,}"]
    names, values = (article.all("span", class_=kind) for kind in ("name", "value"))
    bars = {one.words: value.words for one, value in zip(names, values, strict=True)}
    for path in [*(base / "models").glob("*/metrics.json"), base / "linear" / "metrics.json"]:
        content = json.loads(path.read_text())
        for model, metrics in ({path.parent.name: content} if "test" in content else content).items():
            metric = {"regression": "r2", "classification": "roc_auc", "votes": "kl_divergence"}[metrics["task"]]
            value = metrics["test"][metric]["value"]
            text = "undefined" if value is None else f"{value:z.3f}".replace("-", "−")
            assert bars[model.replace("_", " ")].startswith(text)
    top = table(base / "top_drivers.csv").sort_values("rank", kind="stable")
    for target in table(base / "drivers.csv")["target"].unique()[:4]:
        for row in top[top["target"] == target].head(5).itertuples():
            sign = {"positive": "+", "negative": "−"}[row.direction]
            assert f"{sign}{row.feature}{getattr(row, f'total_{row.direction}')}/{len(studies[name].voters)}" in said


def test_provenance_has_the_hashes_seeds_and_settings(report, pages, studies):
    root = pages["provenance"].root
    rows = [[cell.words for cell in row] for row in root.one("table", data_name="inputs").rows]
    assert len(rows) == len(NAMES)
    for row in rows:
        name = row[0].replace(" ", "_")
        with h5py.File(report.parent / name / "dataset.h5") as file:
            expected = [str(file.attrs[key]) for key in ("source", "source_sha256", "task", "target", "unit")]
        assert row[1:] == [str(studies[name].settings["seed"]), *(" ".join(one.split()) for one in expected)]
        text = root.one("section", id=f"settings-{name}").one("pre").text
        assert f"domain: {studies[name].domain}\n" in text
    run = json.loads((report / "run.js").read_text().removeprefix("window.RUN = ").removesuffix(";\n"))
    assert list(run["jobs"]) == list(studies)
    base = report.parents[1] / "benchmarks"
    measured = {path.relative_to(base).with_suffix("").as_posix() for path in base.rglob("*.tsv")}
    told = {f"{name}/{job['job'].replace(' ', '/')}" for name, own in run["jobs"].items() for job in own}
    assert told == {one for one in measured if one.split("/")[0] in studies}


def test_a_second_run_writes_no_page(copied):
    assert jobs(snakemake(copied, "--dry-run", check=True).stdout) == {}


def test_snakemakes_report_has_the_same_figures_captions_and_categories(copied):
    snakemake(copied, "--report", "report.zip", check=True)
    with zipfile.ZipFile(copied / "report.zip") as archive:
        html = archive.read("report/report.html").decode()
    results, categories = (read_script(html, name) for name in ("results", "categories"))
    theirs = {path: caption_of(result["caption"]) for path, result in results.items()}
    ours, sections = {}, {}
    for name in NAMES:
        page = Page(copied / "results" / "report" / f"{name}.html")
        for section in page.root.one("div", class_="content").all("section"):
            for group in section.all("div", class_="group"):
                for path in paths_of(group, name):
                    ours[path] = group.one("div", class_="caption").words
                    sections[path] = (name, section.one("h2").words)
    assert theirs.pop("results/summary.tsv") in CAPTIONS
    assert theirs == ours
    placed = {
        path: (name, part) for name, parts in categories.items() for part, paths in parts.items() for path in paths
    }
    assert {path: place for path, place in placed.items() if path in ours} == sections


def read_script(html, name):
    """What Snakemake's report keeps under this name."""
    (found,) = re.findall(rf'<script id="{name}">\s*var {name} = (.*?);?\s*</script>', html, flags=re.DOTALL)
    return json.loads(found)


def paths_of(group, name):
    """The results that a group shows: figures name them, copies are called after them."""
    for figure in group.all("figure"):
        yield figure.one("code").text
    copies = [link.attributes["href"] for kind in ("details", "p") for one in group.all(kind) for link in one.all("a")]
    prefix = f"files/{name}/"
    yield from dict.fromkeys(f"results/{name}/{copy.removeprefix(prefix).removesuffix('.gz')}" for copy in copies)
