"""Images of k-mers, of averages and of single pairs show what maps hold, pixel by pixel."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from consilience.domains.mirna import pair_images
from consilience.domains.mirna.fcgr import kmers
from consilience.domains.mirna.images import average_attribution, channels, kmer_maps, mask_of
from consilience.domains.mirna.pair_images import Board, map_tiles, pair_clusters, write_pairs
from tests.unit.figure_examples import everything, rendered
from tests.unit.mirna_figure_examples import BRANCHES, SIGNED, drivers_of, example_maps, example_shown, names_in

pytestmark = pytest.mark.filterwarnings("error")

# Images of k-mers


def test_kmer_maps_show_means_drivers_and_what_was_planted():
    shown = example_shown()
    drivers, top = drivers_of(3)
    truth = pd.DataFrame({"feature": ["site:ACG", "mirna:GAG"]})
    figure = kmer_maps(shown, drivers, top, truth)
    rendered(figure)
    panels = figure.axes
    for line, branch in enumerate(BRANCHES):
        own, labels = panels[4 * line : 4 * line + 4], shown.table["label"]
        arrays = [axes.images[0].get_array() for axes in own]
        np.testing.assert_allclose(arrays[0], shown.frequencies[branch].mean(axis=0))
        for place, label in ((1, 1), (2, 0)):
            expected = shown.maps["mutagenesis"][branch][labels == label].mean(axis=0)
            np.testing.assert_allclose(arrays[place], expected)
        values = drivers["average_attribution"].to_numpy()[line * 64 : line * 64 + 64].reshape(8, 8)
        np.testing.assert_allclose(arrays[3], values)
        assert own[1].images[0].norm.vmax == own[2].images[0].norm.vmax == -own[1].images[0].norm.vmin
        assert [len(axes.collections) for axes in own] == [0, 1, 1, 1]
        edges = np.array(own[3].collections[0].get_segments())
        (row,), (column,) = np.nonzero(mask_of(list(truth["feature"]), branch, 3))
        assert (edges.mean(axis=(0, 1)) == (column, row)).all()
        marked = [(x, y) for mark in own[3].get_lines() for x, y in zip(*mark.get_data(), strict=True)]
        places = [int(place) % 64 for place in top.index if place // 64 == line]
        assert sorted(marked) == sorted((place % 8, place // 8) for place in places)
    assert [text.get_text() for text in panels[0].texts] == ["A", "C", "G", "T"]
    corners = {text.get_text(): text.get_position() for text in panels[0].texts}
    assert corners["A"][0] < 0.5 < corners["C"][0]
    assert corners["A"][1] > 0.5 > corners["T"][1]
    assert "planted" in everything(figure)


def test_kmer_maps_need_neither_truth_nor_drivers_nor_both_labels_nor_a_sign():
    shown = example_shown(primary="saliency", pairs=1)
    drivers, top = drivers_of(3)
    figure = kmer_maps(shown, drivers, top.iloc[:0], None)
    rendered(figure)
    texts = everything(figure)
    assert texts.count("no such test pair") == 2
    assert "planted" not in texts
    assert "size, no sign" in texts


@pytest.mark.parametrize("signed", [True, False])
def test_averages_are_drawn_and_their_largest_named(signed):
    values = {branch: np.random.default_rng(5).normal(size=(8, 8)) for branch in BRANCHES}
    values = values if signed else {branch: np.abs(own) for branch, own in values.items()}
    figure = average_attribution("smooth_method", values, signed, "small", "80 explained pairs (test)")
    rendered(figure)
    for axes, branch in zip(figure.axes, BRANCHES, strict=True):
        image = axes.images[0]
        np.testing.assert_allclose(image.get_array(), values[branch])
        assert image.norm.vmin == (-image.norm.vmax if signed else 0)
        listed = axes.texts[-1].get_text().splitlines()
        largest = kmers(3).ravel()[np.argsort(-np.abs(values[branch]).ravel())[:8]]
        assert [line.split()[0] for line in listed] == list(largest)
    assert ("no sign" in figure.get_suptitle()) != signed
    assert "80 explained pairs (test)" in figure.get_supxlabel()
    rendered(average_attribution("zero", {branch: np.zeros((8, 8)) for branch in BRANCHES}, signed, "small", "1"))


@pytest.mark.parametrize(("count", "drawn"), [(2, 2), (16, 16), (32, 16)])
def test_channels_are_drawn_up_to_sixteen(count, drawn):
    images = np.random.default_rng(6).normal(size=(count, 3, 3))
    images[0] = 0
    figure = channels(images, "filters", "of a layer")
    rendered(figure)
    (axes,) = figure.axes
    assert len(axes.images) == len(axes.texts) == drawn
    assert all(image.get_cmap().name == "viridis" for image in axes.images)
    np.testing.assert_allclose(axes.images[1].get_array(), images[1])


# The folder of single pairs


@pytest.mark.parametrize("signed", [SIGNED, {"mutagenesis": True}])
def test_the_folder_holds_the_earlier_systems_set(tmp_path, signed):
    shown = example_shown(signed=signed)
    maps, chosen = example_maps(shown), ["pair-00000", "pair-00003"]
    maps.pop("pair-00003")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        count = write_pairs(tmp_path / folder, shown, chosen, maps, 5, 3)
    expected = {"sample_pair-00000_interaction_heatmap.png"}
    for sample in chosen:
        kinds = [*signed, "comparison", "clusters"]
        expected |= {f"sample_{sample}_{branch}_{kind}.png" for branch in BRANCHES for kind in kinds}
        expected |= {f"sample_{sample}_gradcam.png"} if "grad_cam" in signed else set()
    assert names_in(tmp_path / "a") == expected
    assert count == len(expected)
    for name in expected:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_images_hold_the_tiles_pixel_by_pixel(tmp_path):
    shown = example_shown(signed={"mutagenesis": True})
    write_pairs(tmp_path, shown, ["pair-00001"], {}, 5, 3)
    image = imread(tmp_path / "sample_pair-00001_site_mutagenesis.png")
    tiles, most = map_tiles(shown.frequencies["site"][1], shown.maps["mutagenesis"]["site"][1], True)
    board = Board(1, 3)
    for number, tile in enumerate(tiles):
        top, left = board.place(number)
        part = image[top : top + pair_images.TILE, left : left + pair_images.TILE, :3]
        np.testing.assert_allclose(part[36::72, 36::72], np.rint(255 * tile) / 255, atol=1e-6)
        np.testing.assert_array_equal(part[:72, :72], np.broadcast_to(part[0, 0], (72, 72, 3)))
    assert most == np.abs(shown.maps["mutagenesis"]["site"][1]).max()
    assert (image[: pair_images.HEAD, :, :3] < 0.5).any()  # the title


def test_maps_are_red_and_blue_around_zero_or_sizes():
    values = np.array([[2.0, -2.0], [0.0, 1.0]])
    (_, signed, both), most = map_tiles(np.eye(2), values, True)
    assert most == 2
    reds = pair_images.RED_BLUE
    np.testing.assert_allclose(signed[0, 0], reds(1.0)[:3])
    np.testing.assert_allclose(signed[0, 1], reds(0.0)[:3])
    np.testing.assert_allclose(signed[1, 0], reds(0.5)[:3])
    np.testing.assert_allclose(both[1, 0], 1)  # neither k-mer nor attribution
    (_, sizes, _), _ = map_tiles(np.eye(2), np.abs(values), False)
    np.testing.assert_allclose(sizes[0, 0], sizes[0, 1])
    assert map_tiles(np.zeros((2, 2)), np.zeros((2, 2)), True)[1] == 1


def test_a_board_leaves_white_where_there_are_fewer_tiles():
    board = Board(2, 2)
    tiles = [np.full((8, 8, 3), 0.5)] * 3
    image = board.fill("title", tiles, ["a", "b", "c"])
    top, left = board.place(3)
    assert (image[top - 10 : top + 500, left - 40 : left + 620] == 255).all()
    again = board.fill("title", [*tiles, tiles[0]], ["a", "b", "c", "d"])
    assert (again[top + 100, left + 100, :3] == 128).all()


def test_clusters_of_a_pair_are_those_of_its_own_k_mers():
    shown = example_shown()
    figure = pair_clusters(shown, 0, "site", 2)
    rendered(figure)
    texts = everything(figure)
    values = np.abs(shown.maps["mutagenesis"]["site"][0])
    chosen = values >= np.percentile(values[values > 0], 75)
    assert f"{chosen.sum()} k-mers,\n|a| in the upper quarter\nof those that are not 0" in texts
    image = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(np.ptp(image, axis=-1) > 0.05, chosen)
    crosses = [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]
    assert len(crosses) == 2
    assert {cross.get_color() for cross in crosses} == {"red"}


@pytest.mark.parametrize("kept", [0, 1, 5, 9])
def test_too_few_k_mers_for_clusters_are_said(kept):
    shown = example_shown()
    values = shown.maps["mutagenesis"]["site"][0]
    values[:] = 0
    values.ravel()[:kept] = 1
    figure = pair_clusters(shown, 0, "site", 5)
    rendered(figure)
    assert f"{kept} k-mers only:\ntoo few for 5 clusters" in everything(figure)
    assert not [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]
