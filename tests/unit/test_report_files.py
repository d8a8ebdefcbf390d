"""Copies, pictures and captions of the report: what stands beside its pages."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from docutils.utils import SystemMessage
from PIL import Image, ImageDraw

from consilience.errors import ConsilienceError
from consilience.report import downloads
from consilience.report.captions import caption_html, first_sentence
from consilience.report.downloads import LARGE, LARGEST, copy_into, preview
from consilience.report.pictures import web_picture

ROOT = Path(__file__).parents[2]
CAPTIONS = sorted([*ROOT.glob("workflow/report/*.rst"), *ROOT.glob("workflow/consilience/domains/*/captions/*.rst")])
FIGURE = (900, 600)  # 3 x 2 inches at 300 dots
WHITE = 254  # what the eye takes for it


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder with tables below and above the size from which on they are packed, and what is not offered."""
    monkeypatch.chdir(tmp_path)
    base = Path("results/mine")
    (base / "analysis").mkdir(parents=True)
    table = pd.DataFrame({"feature": ["NA", "b"], "value": [1.5, np.nan]})
    table.to_csv(base / "small.csv", index=False)
    pd.concat([table] * LARGE).to_csv(base / "analysis" / "large.tsv", sep="\t", index=False)
    (base / "facts.json").write_text("{}" * LARGE)
    (base / "note.txt").write_text("a note")
    (base / "sheets.pdf").write_bytes(b"%PDF" * LARGE)
    (base / "dataset.h5").write_bytes(b"no")
    return [str(path) for path in sorted(base.rglob("*.*"))]


def test_every_copy_holds_the_bytes_of_its_result(results, tmp_path):
    found = copy_into(tmp_path / "copies", [*results, *results])
    assert {one.path for one in found} == {path for path in results if not path.endswith(".h5")}
    assert len(found) == 5
    for one in found:
        copy = tmp_path / "copies" / one.name
        packed = one.name.endswith(".gz")
        assert packed == (one.path.endswith("large.tsv"))
        assert (gzip.decompress(copy.read_bytes()) if packed else copy.read_bytes()) == Path(one.path).read_bytes()
        assert one.size == copy.stat().st_size
        assert f"results/mine/{one.name.removesuffix('.gz')}" == one.path
    assert {path.relative_to(tmp_path / "copies").as_posix() for path in (tmp_path / "copies").rglob("*.*")} == {
        one.name for one in found
    }


def test_copies_have_the_same_bytes_whenever_and_wherever_they_are_made(results, tmp_path):
    for name in ("one", "another"):
        copy_into(tmp_path / name, results)
        for path in map(Path, results):
            path.touch()
    packed = [(tmp_path / name / "analysis" / "large.tsv.gz").read_bytes() for name in ("one", "another")]
    assert packed[0] == packed[1]
    assert packed[0][4:8] == bytes(4)  # the header's time (RFC 1952)
    assert packed[0][3] == 0  # and no name


def test_a_preview_is_the_head_and_the_number_of_rows(results):
    rows, count = preview("results/mine/analysis/large.tsv")
    assert (len(rows), count) == (8, 2 * LARGE)
    assert rows["feature"].tolist() == ["NA", "b"] * 4


def test_a_preview_reads_no_more_than_it_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "CHUNK", 7)
    names = ["first\nname", 'quoted "name"', "NA", "with, comma"] * 10
    frame = pd.DataFrame({"feature": names, "value": range(40)})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "a.parquet")
    read, held = pd.read_csv, []

    def reading(*given, **options):
        found = read(*given, **options)
        held.append(len(found) if isinstance(found, pd.DataFrame) else options["chunksize"])
        return found

    monkeypatch.setattr(pd, "read_csv", reading)
    for name in ("a.csv", "a.tsv", "a.parquet"):
        rows, count = preview(str(tmp_path / name))
        assert (rows["feature"].tolist(), count) == (names[:8], 40), name
        assert rows["value"].tolist() == list(range(8))
    assert held
    assert max(held) <= 8


def test_a_preview_of_no_rows_has_the_columns(tmp_path):
    frame = pd.DataFrame({"feature": ["a"], "value": [1]}).head(0)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        rows, count = preview(str(tmp_path / name))
        assert (list(rows.columns), len(rows), count) == (["feature", "value"], 0, 0)


def test_what_is_too_large_to_be_sent_is_named_and_not_copied(results, tmp_path):
    noise = np.random.default_rng(0).bytes(LARGEST + 1)
    Path("results/mine/large.pdf").write_bytes(noise)
    Path("results/mine/large.csv").write_bytes(b"a\n" + noise.hex().encode())
    Path("results/mine/fits.pdf").write_bytes(noise[:LARGEST])
    Path("results/mine/packs.csv").write_bytes(b"1\n" * LARGEST)
    found = {one.path: one for one in copy_into(tmp_path / "copies", sorted(map(str, Path("results/mine").glob("*"))))}
    copied = {path.removeprefix("results/mine/"): one.copied for path, one in found.items()}
    assert {name for name, kept in copied.items() if not kept} == {"large.pdf", "large.csv"}
    for path, one in found.items():
        assert (tmp_path / "copies" / one.name).is_file() == one.copied
        assert one.size == (Path(path) if not one.copied else tmp_path / "copies" / one.name).stat().st_size


def test_the_text_of_a_picture_is_its_captions_first_sentence():
    assert first_sentence("<p>Bars of <em>every</em> model &amp; role, 0.5 each.\n<em>What</em> is bad.</p>") == (
        "Bars of every model & role, 0.5 each."
    )
    assert all(len(first_sentence(caption_html(path))) > 20 for path in CAPTIONS)


def drawing():
    image = Image.new("RGB", FIGURE, "white")
    pen = ImageDraw.Draw(image)
    for place, color in enumerate(["#0072b2", "#d55e00", "#009e73", "#000000", "#cc79a7"]):
        pen.rectangle((30 + 170 * place, 60, 150 + 170 * place, 540), fill=color)
    return image


def photograph():
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    return Image.fromarray(noise).resize(FIGURE, Image.Resampling.BICUBIC)


@pytest.mark.parametrize(("make", "near"), [(drawing, 4), (photograph, 16)])
def test_a_picture_has_the_size_of_a_screen_and_its_colors(tmp_path, make, near):
    make().save(tmp_path / "figure.png", dpi=(300, 300))
    found = web_picture(tmp_path / "figure.png", tmp_path / "web", "figures/figure.webp")
    assert (found.name, found.width, found.height) == ("figures/figure.webp", 330, 220)
    with Image.open(tmp_path / "web" / found.name) as image:
        assert (image.format, image.size) == ("WEBP", (330, 220))
        own = np.asarray(image.convert("RGB"), int)
    expected = np.asarray(make().resize((330, 220), Image.Resampling.BOX), int)
    assert np.abs(own - expected).mean() < near


def test_flat_colors_of_a_drawing_are_kept(tmp_path):
    drawing().save(tmp_path / "figure.png")
    web_picture(tmp_path / "figure.png", tmp_path, "figure.webp")
    with Image.open(tmp_path / "figure.webp") as image:
        small = image.convert("RGB")
    for place in range(5):
        expected = drawing().getpixel((90 + 170 * place, 300))
        own = small.getpixel((round((90 + 170 * place) * 330 / 900), 110))
        assert max(abs(one - other) for one, other in zip(own, expected, strict=True)) <= 12
    assert min(small.getpixel((1, 1))) >= WHITE


@pytest.mark.parametrize("make", [drawing, photograph])
def test_a_picture_has_the_same_bytes_twice(tmp_path, make):
    make().save(tmp_path / "figure.png")
    for name in ("a.webp", "b.webp"):
        web_picture(tmp_path / "figure.png", tmp_path, name)
    assert (tmp_path / "a.webp").read_bytes() == (tmp_path / "b.webp").read_bytes()


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "1"])
def test_pictures_of_other_kinds_are_shown_too(tmp_path, mode):
    drawing().convert(mode).save(tmp_path / "figure.png")
    web_picture(tmp_path / "figure.png", tmp_path, "figure.webp")
    with Image.open(tmp_path / "figure.webp") as image:
        assert min(image.convert("RGB").getpixel((1, 1))) >= WHITE


def test_what_is_see_through_is_white(tmp_path):
    Image.new("RGBA", FIGURE, (0, 0, 0, 0)).save(tmp_path / "figure.png")
    web_picture(tmp_path / "figure.png", tmp_path, "figure.webp")
    with Image.open(tmp_path / "figure.webp") as image:
        assert min(image.convert("RGB").getpixel((100, 100))) >= WHITE


@pytest.mark.parametrize("harm", ["empty", "text", "cut"])
def test_a_file_that_is_no_picture_is_told_in_a_line(tmp_path, harm):
    path = tmp_path / "figure.png"
    photograph().save(path)
    content = {"empty": b"", "text": b"no picture", "cut": path.read_bytes()[:3000]}[harm]
    path.write_bytes(content)
    with pytest.raises(ConsilienceError, match=r"figure\.png: not a picture \(") as found:
        web_picture(path, tmp_path, "figure.webp")
    assert "\n" not in str(found.value)
    assert not (tmp_path / "figure.webp").exists()


def test_a_picture_too_long_for_its_format_is_shown_smaller(tmp_path):
    Image.new("RGB", (600, 60_000), "white").save(tmp_path / "figure.png")
    found = web_picture(tmp_path / "figure.png", tmp_path, "figure.webp")
    assert (found.width, found.height) == (164, 16_383)
    with Image.open(tmp_path / "figure.webp") as image:
        assert image.size == (164, 16_383)


def test_a_picture_too_large_to_be_read_is_told_in_a_line(tmp_path, monkeypatch):
    drawing().save(tmp_path / "figure.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ConsilienceError, match=r"figure\.png: a picture too large"):
        web_picture(tmp_path / "figure.png", tmp_path, "figure.webp")


@pytest.mark.parametrize(("dots", "width"), [(300, 330), (150, 660), (72, 900), (0, 330), (None, 330)])
def test_a_picture_is_as_large_as_it_says(tmp_path, dots, width):
    options = {} if dots is None else {"dpi": (dots, dots)}
    drawing().save(tmp_path / "figure.png", **options)
    assert web_picture(tmp_path / "figure.png", tmp_path, "figure.webp").width == width


@pytest.mark.parametrize("path", CAPTIONS, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_every_caption_is_well_formed_and_says_what_would_look_bad(path):
    html = caption_html(path)
    assert html.startswith("<p>")
    assert "system-message" not in html
    assert "problematic" not in html
    if path.stem not in ("workflow",):
        text = " ".join(html.split())
        assert text.count("<em>What would look bad:</em>") == 1
        if path.parent == ROOT / "workflow" / "report":
            assert text.count("<em>How to read it:</em>") == 1
            assert text.index("How to read it") < text.index("What would look bad")


@pytest.mark.parametrize(
    "text",
    ["An *emphasis that never ends", "A `name`_ of nothing", ".. raw:: html\n\n   <b>x</b>", ".. include:: other.rst"],
)
def test_a_caption_that_is_not_well_formed_is_refused(tmp_path, text):
    (tmp_path / "other.rst").write_text("text")
    path = tmp_path / "caption.rst"
    path.write_text(text)
    with pytest.raises(SystemMessage, match=r"caption\.rst"):
        caption_html(path)


def test_signs_of_a_caption_stay_text(tmp_path):
    (tmp_path / "caption.rst").write_text("p < 0.05 & <script>alert(1)</script>")
    assert caption_html(tmp_path / "caption.rst") == "<p>p &lt; 0.05 &amp; &lt;script&gt;alert(1)&lt;/script&gt;</p>"
