"""Interactions are drawn with their windows and the test, sheets with sequences, maps and numbers."""

import numpy as np
import pytest

from consilience.domains.mirna.draw import pages
from consilience.domains.mirna.interaction_plots import AROUND, example, interaction_panels, mean_around
from consilience.domains.mirna.sheets import Duplex, in_windows, sheet, top_kmers, write_sheets
from tests.unit.figure_examples import everything, rendered
from tests.unit.mirna_figure_examples import (
    BRANCHES,
    MATCH,
    MIRNA,
    example_maps,
    example_shown,
    falls_of,
    interactions_table,
)

pytestmark = pytest.mark.filterwarnings("error")

# Interactions


def test_interactions_show_maps_windows_and_the_test():
    shown = example_shown()
    maps = example_maps(shown)
    table = interactions_table(shown, maps)
    figure = interaction_panels(maps, table, ["pair-00000"], 5)
    rendered(figure)
    title = " ".join(figure.get_suptitle().split())
    assert title.startswith("Complementary windows (3 pairs) interact more than others (p = 0.002) and more than")
    assert "on parallel strands (p = 0.03)" in title
    hollow = [line for axes in figure.axes for line in axes.get_lines() if line.get_markerfacecolor() == "white"]
    assert [float(np.squeeze(line.get_ydata())) for line in hollow] == [0.25] * 6
    values, count = mean_around(maps)
    assert count == 3
    assert values.shape == (2 * AROUND + 1,) * 2
    np.testing.assert_allclose(
        values[AROUND, AROUND], np.mean([own[here].mean() for own, here in maps.values() if here.any()])
    )
    panels = [axes for axes in figure.axes if axes.images]
    np.testing.assert_allclose(panels[0].images[0].get_array(), values)
    np.testing.assert_allclose(panels[1].images[0].get_array(), maps["pair-00000"][0])
    assert panels[1].images[0].norm.vmin == -panels[1].images[0].norm.vmax
    edges = np.array(panels[1].collections[0].get_segments())
    assert edges[..., 0].min() == 10.5  # windows are counted from 1
    assert edges[..., 1].min() == 1.5
    assert {"pair-00000\np = 0.01", "pair-00001"} <= set(everything(figure))


def test_interactions_without_complementary_windows_are_drawn_and_said():
    shown = example_shown()
    maps = example_maps(shown, complementary=False)
    table = interactions_table(shown, maps)
    assert mean_around(maps) == (None, 0)
    figure = interaction_panels(maps, table, ["pair-00003"], 5)
    rendered(figure)
    assert "nothing is tested" in figure.get_suptitle()
    assert "no pair has\ncomplementary windows" in everything(figure)
    assert example(maps, table, ["pair-00003"]) == "pair-00003"


def test_the_pair_that_is_drawn_has_complementary_windows_and_a_sheet_if_any_has():
    shown = example_shown()
    maps = example_maps(shown)
    table = interactions_table(shown, maps)
    assert example(maps, table, ["pair-00001", "pair-00004"]) == "pair-00004"
    assert example(maps, table, ["pair-00001"]) == "pair-00000"


# Sheets


def test_sequences_are_laid_on_the_planted_match_or_where_most_pairs():
    site = "C" * 10 + MATCH + "C" * 13
    for planted in (11, -1):
        duplex = Duplex.of(MIRNA, site, planted)
        assert duplex.matched
        bonds = duplex.bonds()
        assert {i for i, value in bonds.items() if value == 1} >= set(range(1, 8))
        assert duplex.first - 1 == 16  # nucleotide 2 below the match's last
    apart = Duplex.of(MIRNA, "G" * 30)
    assert not apart.matched
    assert all(value in (0.5, 1) for value in apart.bonds().values())
    short = Duplex.of("ACG", "ACG")
    assert short.bonds() == {i: value for i, value in short.bonds().items() if value}


def test_nucleotides_in_complementary_windows_are_marked():
    windows = np.zeros((18, 26), bool)
    windows[[1, 2], [12, 11]] = True
    found = in_windows(windows, 5)
    assert found["mirna"].tolist() == list(range(1, 7))
    assert found["site"].tolist() == list(range(11, 17))
    assert [len(own) for own in in_windows(None, 5).values()] == [0, 0]


def test_a_sheet_names_pair_k_mers_and_every_method():
    shown = example_shown()
    falls = falls_of(shown)
    figure = sheet(shown, 2, {branch: own[2] for branch, own in falls.items()}, example_maps(shown)["pair-00002"][1], 5)
    rendered(figure)
    texts = everything(figure)
    assert any(text.startswith("pair-00002: pair, probability of a pair 0.62 (true positive)") for text in texts)
    for branch in BRANCHES:
        rows = top_kmers(shown, branch, 2)
        assert "\n".join(name for name, _, _ in rows) in texts
        values = shown.maps["mutagenesis"][branch][2]
        assert abs(rows[0][1]) == np.abs(values).max()
        sequence = shown.table[branch].iloc[2]
        for name, _, places in rows:
            assert places
            assert all(sequence[place - 1 : place + 2] == name for place in places)
    heights = [[bar.get_height() for bar in axes.containers[0]] for axes in figure.axes if axes.containers]
    np.testing.assert_allclose(heights[0], falls["site"][2])
    np.testing.assert_allclose(heights[2], falls["mirna"][2])
    np.testing.assert_allclose(sum(heights[3]), shown.maps["mutagenesis"]["mirna"][2].sum(), rtol=1e-5)
    assert {"frequencies", "mutagenesis", "saliency", "grad cam"} <= set(texts)


@pytest.mark.parametrize("k", [3, 6])
def test_sheets_are_a_page_each_and_the_same_bytes(tmp_path, k):
    shown = example_shown(k)
    maps = {
        "samples": list(shown.table["id"]),
        "chosen": list(shown.table["id"][:3]),
        "falls": falls_of(shown),
        "interactions": {"pair-00000": example_maps(shown)["pair-00000"]},
    }
    for name in ("a.pdf", "b.pdf"):
        write_sheets(tmp_path / name, pages(shown, maps, 5))
    content = (tmp_path / "a.pdf").read_bytes()
    assert content == (tmp_path / "b.pdf").read_bytes()
    assert b"/Count 3" in content
    assert b"CreationDate" not in content
    write_sheets(tmp_path / "none.pdf", [])
    assert b"/Count 1" in (tmp_path / "none.pdf").read_bytes()
