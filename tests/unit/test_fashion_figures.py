"""Figures of the slice show what they are given, tile by tile, and come out alike byte for byte."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb

from consilience.attribution.store import Attributions
from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.domains.fashion.agreement import METRICS, agreements
from consilience.domains.fashion.draw import ModelMaps, class_means, error_curves, signed_methods, title_of
from consilience.domains.fashion.figures import class_atoms, class_maps, class_overlays, driver_maps, outlines
from consilience.domains.fashion.mosaics import (
    ABOVE_TOLERANCE,
    GAP,
    UNSIGNED,
    UNSIGNED_COLORS,
    assemble,
    broken,
    colored,
    gray,
    limit,
    overlaid,
    two_digits,
)
from consilience.domains.fashion.plots import ablation_curves, agreement_matrices, dictionary_panels, matrix_of
from consilience.domains.fashion.sheets import sheet, write_sheets
from consilience.figures.style import BLACK, BLUE, GRAY, METHOD_COLORS, NEGATIVE, POSITIVE, VERMILLION
from consilience.files import save_figure
from tests.unit.figure_examples import everything, rendered

CLASSES = ["T-shirt/top", "Ankle boot", "Bag"]
METHODS = ["saliency", "jump_aware_integrated_gradients_from_mean"]
SIGNED = {"saliency": False, "jump_aware_integrated_gradients_from_mean": True}
GAPS = {METHODS[1]: 0.48}
SIDE = 28
RANDOM = np.random.default_rng(0)
PICTURES = RANDOM.uniform(0, 1, (3, SIDE, SIDE))
MAPS = {name: RANDOM.normal(size=(3, SIDE, SIDE)) for name in METHODS}


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def mosaic(figure):
    """The one image of the first panel, without its alpha."""
    (image,) = figure.axes[0].images
    return image.get_array()[..., :3]


def tile(image, line, column, below=0):
    top, left = line * (SIDE + GAP + below), column * (SIDE + GAP)
    return image[top : top + SIDE, left : left + SIDE]


def as_bytes(colors):
    return np.rint(255 * np.clip(colors, 0, 1)).astype(np.uint8)


def labels(axes):
    texts = [[label.get_text() for label in part] for part in (axes.get_yticklabels(), axes.get_xticklabels())]
    return [[text.replace("\n", " ") for text in part] for part in texts]


# Colors


def test_colors_have_the_signs_and_the_scale_of_their_own_map():
    values = np.zeros((2, 10, 10))
    values[0, 0, :3] = [5, -5, 2.5]
    values[1, 0, :3] = [0.001, -0.001, 0.0005]
    found = colored(values, signed=True)
    np.testing.assert_array_equal(found[0], found[1])  # each on its own scale
    assert tuple(found[0, 1, 1]) == (1, 1, 1)  # nothing is white
    red, blue = found[0, 0, 0], found[0, 0, 1]
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    half = np.abs(found[0, 0, 2] - to_rgb(POSITIVE)).max()
    assert half < 0.02
    sizes = colored(values, signed=False)
    np.testing.assert_array_equal(sizes[0, 0, 0], sizes[0, 0, 1])
    np.testing.assert_allclose(sizes[0, 0, 0], UNSIGNED_COLORS(1.0)[:3])


def test_the_limit_is_a_percentile_of_sizes_and_never_zero():
    values = RANDOM.normal(size=(4, 12, 12))
    np.testing.assert_allclose(limit(values)[2, 0, 0], np.percentile(np.abs(values[2]), 99))
    few = np.zeros((1, 20, 20))
    few[0, 0, 0] = -3
    assert limit(few).item() == 3
    assert limit(np.zeros((1, 20, 20))).item() == 1


def test_overlays_show_the_picture_where_the_map_is_nothing():
    values = np.zeros((8, 8))
    values[0, :2] = [2, -2]
    picture = RANDOM.uniform(0, 1, (8, 8))
    found = overlaid(values, picture, signed=True)
    np.testing.assert_allclose(found[0, 0], to_rgb(POSITIVE))
    np.testing.assert_allclose(found[0, 1], to_rgb(NEGATIVE))
    np.testing.assert_allclose(overlaid(values, picture, signed=False)[0, 1], to_rgb(UNSIGNED))
    order = np.argsort(picture[1:].ravel())
    assert (np.diff(found[1:, :, 0].ravel()[order]) <= 0).all()  # the brighter, the darker on white
    assert found[1:].min() >= 0.5


def test_tiles_stand_apart_on_white():
    tiles = RANDOM.uniform(0, 0.9, (2, 3, 4, 5, 3))
    image = assemble(tiles, gap=2, below=3)
    assert image.shape == (2 * 4 + 5, 3 * 5 + 2 * 2, 4)
    for line, column in np.ndindex(2, 3):
        part = image[line * 9 : line * 9 + 4, column * 7 : column * 7 + 5, :3]
        np.testing.assert_array_equal(part, as_bytes(tiles[line, column]))
    assert (image[4:9] == 255).all()
    assert (image[:, 5:7] == 255).all()
    assert assemble(tiles[:1], below=0).shape == (4, 19, 4)


def test_names_are_words_in_lines():
    assert broken("jump_aware_integrated_gradients_from_mean", 20) == "jump aware\nintegrated gradients\nfrom mean"
    assert two_digits(-0.004) == "0.00"
    assert two_digits(-0.016) == "-0.02"
    assert two_digits(np.nan) == "undefined"


# Mosaics


def test_class_maps_have_a_line_a_method_and_a_column_a_class():
    figure = class_maps(PICTURES, MAPS, SIGNED, CLASSES, "k50", GAPS, "12 explained pictures")
    rendered(figure)
    image = mosaic(figure)
    assert image.shape == (3 * SIDE + 2 * GAP, 3 * SIDE + 2 * GAP, 3)
    for column in range(3):
        np.testing.assert_array_equal(tile(image, 0, column), as_bytes(gray(PICTURES[column])))
        for line, name in enumerate(METHODS, start=1):
            expected = as_bytes(colored(MAPS[name][column], SIGNED[name]))
            np.testing.assert_array_equal(tile(image, line, column), expected)
    lines, columns = labels(figure.axes[0])
    assert lines == ["mean picture", "saliency", "jump aware integrated gradients from mean (misses 48\u00a0%)"]
    assert [label.get_color() for label in figure.axes[0].get_yticklabels()] == [BLACK, BLACK, ABOVE_TOLERANCE]
    assert columns == CLASSES
    texts = everything(figure)
    assert {"speaks for the class", "speaks against it", "size, no sign"} <= set(texts)
    assert "12 explained pictures" in figure.get_supxlabel()
    assert "decoder weighted" not in figure.get_supxlabel()
    assert "k50" in figure.get_suptitle()


def test_overlays_have_a_line_a_method():
    figure = class_overlays(PICTURES, MAPS, SIGNED, CLASSES, "k50")
    image = mosaic(figure)
    for line, name in enumerate(METHODS):
        expected = as_bytes(overlaid(MAPS[name][1], PICTURES[1], SIGNED[name]))
        np.testing.assert_array_equal(tile(image, line, 1), expected)
    assert labels(figure.axes[0])[0] == ["saliency", "jump aware integrated gradients from mean"]


def test_the_key_tells_of_signs_where_there_are_any():
    figure = class_overlays(PICTURES, {"saliency": MAPS["saliency"]}, {"saliency": False}, CLASSES, "k50")
    assert "speaks for the class" not in everything(figure)
    signed = {METHODS[1]: MAPS[METHODS[1]]}
    assert "size, no sign" not in everything(class_overlays(PICTURES, signed, {METHODS[1]: True}, CLASSES, "k50"))


def test_atoms_stand_in_their_class_and_rank_with_number_and_correlation():
    atoms = RANDOM.normal(size=(20, SIDE, SIDE))
    rows = [(CLASSES[0], 1, 7, 0.5, 0.1), (CLASSES[0], 2, 3, 0.25, 0.1), (CLASSES[2], 1, 19, -0.125, 0.2)]
    table = pd.DataFrame(rows, columns=["class", "rank", "atom", "importance_correlation", "median_correlation"])
    figure = class_atoms(PICTURES, np.abs(MAPS["saliency"]), atoms, table, CLASSES, "k50")
    rendered(figure)
    image, below = mosaic(figure), 9
    np.testing.assert_array_equal(tile(image, 1, 1, below), as_bytes(colored(np.abs(MAPS["saliency"][1]), False)))
    for line, column, atom in ((0, 2, 7), (0, 3, 3), (2, 2, 19)):
        np.testing.assert_array_equal(tile(image, line, column, below), as_bytes(colored(atoms[atom], True)))
    assert (tile(image, 1, 2, below) == 255).all()
    axes = figure.axes[0]
    written = {text.get_text(): text.get_position() for text in axes.texts}
    assert list(written) == ["#7  r 0.50", "#3  r 0.25", "#19  r -0.12", "(r 0.10)", "", "(r 0.20)"]
    x, y = written["#19  r -0.12"]
    assert 2 * (SIDE + GAP) < x < 2 * (SIDE + GAP) + SIDE
    assert y > 2 * (SIDE + GAP + below) + SIDE - 1
    assert labels(axes) == [CLASSES, ["mean picture", "importance", "1.", "2."]]


def drivers_table():
    places = {f"r{row:02d}c{column:02d}": (row, column) for row in range(4) for column in range(5)}
    rows = [
        (
            name,
            target,
            "positive" if (index + shift) % 2 else "negative",
            index - 9.5 + shift,
            shift - index,
            index == 6,
        )
        for shift, target in enumerate(CLASSES[:2])
        for index, name in enumerate(places)
    ]
    columns = ["feature", "target", "direction", "average_attribution", "linear_coefficient", "in_overlap"]
    return pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=0), places


def test_driver_maps_put_every_pixel_in_its_place():
    drivers, places = drivers_table()
    pictures = RANDOM.uniform(0, 1, (2, 4, 5))
    truth = pd.DataFrame({"feature": ["r01c01", "r01c02"], "target": CLASSES[:1] * 2})
    figure = driver_maps(drivers, places, pictures, truth)
    image, axes = mosaic(figure), figure.axes[0]
    _, columns = labels(axes)
    assert sorted(columns) == sorted(CLASSES[:2])
    values = np.arange(20).reshape(4, 5)
    for column, name in enumerate(columns):
        shift = CLASSES.index(name)
        parts = [image[line * 6 : line * 6 + 4, column * 7 : column * 7 + 5] for line in range(3)]
        np.testing.assert_array_equal(parts[0], as_bytes(colored(values - 9.5 + shift, True)))
        np.testing.assert_array_equal(parts[1], as_bytes(colored(shift - values, True)))
        both = np.zeros((4, 5))
        both[1, 1] = 1 if shift else -1
        np.testing.assert_array_equal(parts[2], as_bytes(overlaid(both, pictures[column], True)))
    (edges,) = axes.collections
    segments = np.array(edges.get_segments())
    assert len(segments) == 3 * 6  # around two pixels, in every line
    left = columns.index(CLASSES[0]) * 7
    assert segments[..., 0].min() == left + 0.5
    assert segments[..., 0].max() == left + 2.5
    assert "Outlined" in figure.get_supxlabel()
    assert not driver_maps(drivers, places, pictures, None).axes[0].collections


def test_outlines_are_the_edges_between_what_is_planted_and_what_is_not():
    masks = RANDOM.uniform(size=(3, 4, 5)) < 0.4
    masks[0, 0] = masks[1, :, -1] = True  # up to the border
    expected = set()
    for column in range(3):
        padded = np.pad(masks[column], 1)
        for row, place in np.ndindex(4, 5):
            if not masks[column, row, place]:
                continue
            x, y = column * (5 + GAP) + place, 2 * (4 + GAP) + row
            for down, across in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                if not padded[row + 1 + down, place + 1 + across]:
                    ends = {(x + across / 2 + end * down / 2, y + down / 2 + end * across / 2) for end in (-1, 1)}
                    expected.add(frozenset(ends))
    found = {frozenset(map(tuple, segment.tolist())) for segment in outlines(masks, 2)}
    assert found == expected


# Sheets


def example_sheet():
    own = {name: values[0] for name, values in MAPS.items()}
    return own, sheet(PICTURES[0], own, SIGNED, "test-00012: Bag, probability 0.97 (k50)", GAPS)


def test_a_sheet_shows_picture_maps_overlays_sizes_and_agreement():
    own, figure = example_sheet()
    rendered(figure)
    image = mosaic(figure)[::4, ::4]
    assert image.shape == (2 * SIDE + GAP, 3 * SIDE + 2 * GAP, 3)
    np.testing.assert_array_equal(tile(image, 0, 0), as_bytes(gray(PICTURES[0])))
    for column, name in enumerate(METHODS, start=1):
        np.testing.assert_array_equal(tile(image, 0, column), as_bytes(colored(own[name], SIGNED[name])))
        np.testing.assert_array_equal(tile(image, 1, column), as_bytes(overlaid(own[name], PICTURES[0], SIGNED[name])))
    texts = everything(figure)
    assert "test-00012: Bag, probability 0.97 (k50)" in texts
    sizes = [np.abs(one) for one in own.values()]
    for column in (
        [one.mean() for one in sizes],
        [one.max() for one in sizes],
        [np.percentile(one, 99) for one in sizes],
    ):
        assert "\n".join(f"{value:.3g}" for value in column) in texts
    red = [text.get_text() for axes in figure.axes for text in axes.texts if text.get_color() == ABOVE_TOLERANCE]
    assert red == ["\u00a0\n48\u00a0%"]
    found = agreements(np.stack([one.reshape(1, -1) for one in own.values()]))
    cells = {tuple(map(int, text.get_position())): text.get_text() for text in figure.axes[2].texts}
    assert cells[0, 1] == two_digits(found["pearson"][0, 0, 1])  # below the diagonal
    assert cells[1, 0] == two_digits(found["spearman"][0, 0, 1])


def test_sheets_are_a_page_each_and_the_same_bytes(tmp_path):
    for name in ("a.pdf", "b.pdf"):
        write_sheets(tmp_path / name, (example_sheet()[1] for _ in range(3)))
    content = (tmp_path / "a.pdf").read_bytes()
    assert content == (tmp_path / "b.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/Count 3" in content
    assert b"CreationDate" not in content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "b.pdf"]


def test_a_page_says_that_there_is_no_picture(tmp_path):
    write_sheets(tmp_path / "a.pdf", [])
    assert b"/Count 1" in (tmp_path / "a.pdf").read_bytes()


def test_no_file_appears_where_a_page_fails(tmp_path):
    def pages():
        yield example_sheet()[1]
        raise ValueError("a page that fails")

    with pytest.raises(ValueError, match="a page that fails"):
        write_sheets(tmp_path / "a.pdf", pages())
    assert list(tmp_path.iterdir()) == []


def test_figures_are_saved_alike(tmp_path):
    for name in ("a.png", "b.png"):
        save_figure(tmp_path / name, class_maps(PICTURES, MAPS, SIGNED, CLASSES, "k50", GAPS, "12 explained pictures"))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


# Curves and matrices


def ablation_table():
    rows = [
        (model, name, order, removed, 5 - removed * slope - index, 0.9, 40)
        for model in ("k50", "k25")
        for index, name in enumerate(CLASSES)
        for order, slope in (("selective", 0.5), ("active", 0.4), ("random", 0.1))
        for removed in (0, 1, 3)
    ]
    columns = ["model", "class", "order", "removed", "true_class_logit", "recall", "samples"]
    return pd.DataFrame(rows, columns=columns)


def test_ablation_has_a_column_a_model_and_its_means_are_thick():
    figure = ablation_curves(ablation_table())
    rendered(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["k50", "k25"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "selective atoms", "active atoms", "random atoms"
    ]  # fmt: skip
    for color, slope in ((VERMILLION, 0.5), (BLUE, 0.4), (GRAY, 0.1)):
        lines = [line for line in figure.axes[1].get_lines() if to_hex(line.get_color()) == color.lower()]
        curves = [line for line in lines if len(line.get_xdata()) == 3]
        (thick,) = [line for line in curves if line.get_linewidth() > 2]
        assert len(curves) == 1 + len(CLASSES)
        np.testing.assert_allclose(thick.get_xdata(), [0, 1, 3])
        np.testing.assert_allclose(thick.get_ydata(), 4 - slope * np.array([0, 1, 3]))
    assert "up to 40" in " ".join(figure.get_supxlabel().split())


def quality_table():
    rows = []
    for number, (model, k) in enumerate((("k50", 50), ("k25", 25))):
        for place, role in enumerate(("train", "validation", "test")):
            rows.append((model, role, "autoencoder", k, 0.1 + 0.02 * place + number, k - place, 0.01 * place))
            rows += [
                (model, role, "pca", count, 0.2 + 0.001 * count + 0.02 * place, count, np.nan)
                for count in dict.fromkeys((k, 50))
            ]
    columns = ["model", "role", "encoder", "size", "normalized_mean_squared_error", "l0", "dead_share"]
    return pd.DataFrame(rows, columns=columns)


def test_dictionary_panels_show_every_role_beside_pca():
    figure = dictionary_panels(quality_table(), {"k50": [0.5, 0.3, 0.2]})
    rendered(figure)
    error, epochs, sparsity, dead = figure.axes
    points = {
        (round(line.get_xdata()[0], 1), round(float(np.ravel(line.get_ydata())[0]), 3), line.get_marker())
        for line in error.get_lines()
    }
    assert {(-0.2, 0.1, "o"), (0.0, 0.12, "s"), (0.2, 0.14, "D"), (0.8, 1.1, "o")} <= points
    assert {(-0.2, 0.25, "_"), (-0.2, 0.25, "x"), (1.0, 0.245, "_"), (1.0, 0.27, "x")} <= points
    (curve,) = [line for line in epochs.get_lines() if len(line.get_xdata()) == 3]
    assert curve.get_ydata().tolist() == [0.5, 0.3, 0.2]
    assert to_hex(curve.get_color()) == METHOD_COLORS[0].lower()
    assert 0.96 in {round(float(np.ravel(line.get_ydata())[0]), 3) for line in sparsity.get_lines()}
    assert max(float(np.ravel(line.get_ydata())[0]) for line in dead.get_lines()) == 0.02
    rendered(dictionary_panels(quality_table(), {}))  # imported weights have no curve


def agreement_table(models=("k50", "k25")):
    names = ["a_method", "b", "c"]
    rows = [
        (model, group, names[first], names[second], metric, 0.1 * (first + second) + number + (group == "confident"), 0.01, 0.2, 30)
        for number, model in enumerate(models)
        for group in ("test", "confident")
        for metric in METRICS
        for first, second in ((0, 1), (0, 2), (1, 2))
    ]  # fmt: skip
    columns = ["model", "set", "method", "other", "metric", "value", "chance", "other_picture_of_class", "samples"]
    return pd.DataFrame(rows, columns=columns)


def test_agreement_matrices_print_the_means_over_models_of_all_pictures():
    figure = agreement_matrices(agreement_table())
    rendered(figure)
    assert len(figure.axes) == 3
    for axes in figure.axes:
        cells = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
        assert cells[0, 1] == cells[1, 0] == "0.60"
        assert cells[2, 1] == cells[1, 2] == "0.80"
        assert len(cells) == 6
        assert axes.get_xlabel() == "unrelated maps: 0.01\nother pictures of the class: 0.2"
    assert labels(figure.axes[0])[0] == ["a method  1", "b  2", "c  3"]
    matrix = matrix_of(agreement_table(("k50",)).query("set == 'test' and metric == 'pearson'"), ["a_method", "b", "c"])
    assert np.isnan(np.diag(matrix)).all()
    assert matrix[0, 2] == matrix[2, 0] == pytest.approx(0.2)


def test_a_single_method_has_none_to_agree_with():
    figure = agreement_matrices(agreement_table().iloc[:0])
    rendered(figure)
    assert "none to compare it with" in figure.get_supxlabel()


# What the script reads


def attributions_of(method, permuted=(0, 0, 1)):
    members = pd.DataFrame({"member": range(3), "seed": range(3), "rows": "all", "permuted": list(permuted)})
    names = ("magnitude", "direction", "average_attribution", "mean_attribution")
    values = {name: RANDOM.normal(size=(3, 3, 6)) for name in names}
    showcase = {"samples": ["s4", "s0"], "pixels": RANDOM.normal(size=(3, 3, 2, 2, 3))}
    features = pd.DataFrame({"name": [f"p{number}" for number in range(6)], "branch": "pixels"})
    return Attributions(
        "k50", method, "", features, CLASSES, members, values, values, None, None, ["s0"], showcase, ["test"],
        "classification", False,
    )  # fmt: skip


def test_maps_are_means_over_members_on_real_labels_in_the_pixels_places():
    methods = {name: attributions_of(name) for name in METHODS}
    units = np.array([[5, 4, 3], [2, 1, 0]])
    maps = ModelMaps("k50", methods, SIGNED, "saliency", units)
    found = maps.of_classes()
    expected = methods["saliency"].own_class["magnitude"][:2].mean(axis=0)
    np.testing.assert_allclose(found["saliency"][1, 0, 2], expected[1, 3])
    np.testing.assert_allclose(maps.importance(), expected[:, units])
    other = methods[METHODS[1]].own_class["mean_attribution"][:2].mean(axis=0)
    np.testing.assert_allclose(found[METHODS[1]], other[:, units])
    shown = dict(maps.of_samples({"s4": 2, "s0": 1}))
    pixels = methods["saliency"].showcase["pixels"]
    np.testing.assert_allclose(shown["s4"]["saliency"], pixels[:2, 2, 0].mean(axis=0))
    np.testing.assert_allclose(shown["s0"]["saliency"], pixels[:2, 1, 1].mean(axis=0))
    bare = {name: replace(one, showcase=None) for name, one in methods.items()}
    assert dict(replace(maps, methods=bare).of_samples({})) == {}


def test_mean_pictures_are_those_of_the_given_samples(tmp_path, monkeypatch):
    monkeypatch.setattr("consilience.domains.fashion.draw.BLOCK", 4)
    pixels, labels_of = RANDOM.uniform(size=(15, 2, 3)).astype(np.float32), np.arange(15) % 3
    with write_dataset(
        tmp_path / "d.h5", "classification", "g", classes=CLASSES, unit="", source="", source_sha256=""
    ) as writer:
        writer.features(pd.DataFrame({"name": list("abcdef"), "branch": "pixels"}))
        writer.samples(pd.DataFrame({"id": [f"s{number}" for number in range(15)]}))
        writer.target(labels_of)
        writer.branch("pixels", np.arange(6).reshape(2, 3), 15, "none")
        writer.append("pixels", pixels)
    rows = np.array([0, 1, 2, 3, 5, 7, 9, 11, 13])
    with Dataset.open(tmp_path / "d.h5") as dataset:
        found = class_means(dataset, rows)
    for target in range(3):
        np.testing.assert_allclose(found[target], pixels[rows[labels_of[rows] == target]].mean(axis=0), atol=1e-7)


def test_titles_tell_the_true_class_and_what_was_predicted_instead():
    rows = [
        ("s1", "Bag", 1, 0.2),
        ("s1", "Shirt", 0, 0.7),
        ("s1", "Boot", 0, 0.1),
        ("s2", "Bag", 1, 0.9),
        ("s2", "Shirt", 0, 0.1),
    ]
    table = pd.DataFrame(rows, columns=["sample", "target", "observed", "predicted"])
    assert title_of("s1", table) == "s1: Bag, probability 0.20; predicted Shirt (0.70)"
    assert title_of("s2", table) == "s2: Bag, probability 0.90"


def test_signs_and_curves_are_read_from_facts():
    own = {"decoder_weighted": {"signed": True}, "plain": {"signed": False}}
    names = ["saliency", "integrated_gradients_from_mean", "decoder_weighted", "plain"]
    assert signed_methods(names, own) == dict(zip(names, [False, True, True, False], strict=True))
    trained = {"training": {"encoder": {"all": {"normalized_error": [0.4, 0.2]}}}}
    assert error_curves({"a": trained, "b": {"training": {"checkpoint": "w.pt"}}}) == {"a": [0.4, 0.2]}
