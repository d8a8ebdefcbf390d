"""Maps of the scalp have left on the left and the nose up, and show what their table holds."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, Rectangle

from consilience.attribution.store import Attributions
from consilience.domains.eeg.attention_plots import COLORS
from consilience.domains.eeg.edge_plots import MOST_WIDTH, edge_maps, node_places, strongest
from consilience.domains.eeg.montage import BANDS_OF, BRANCHES, CHANNELS, NEIGHBORS, NODES, REGIONS, feature_name
from consilience.domains.eeg.scalp import REGION_PLACES, draw_map, positions
from consilience.domains.eeg.tables import COLUMNS
from consilience.domains.eeg.topographies import found_again, topographies, topography_table
from consilience.figures.style import NEGATIVE, POSITIVE, lighten, new_figure
from tests.unit.figure_examples import everything, rendered

pytestmark = pytest.mark.filterwarnings("error")

FEATURES = [
    (feature_name(node, band), branch) for branch in BRANCHES for node in NODES[branch] for band in BANDS_OF[branch]
]
EXPLAINED = "9 explained samples (test)"


def attributions(targets=("seizure", "lpd", "gpd"), seed=0, scale=1.0):
    """Attributions of three members, the last of them trained on permuted labels."""
    random = np.random.default_rng(seed)
    shape = (3, len(targets), len(FEATURES))
    names = ("magnitude", "average_attribution", "mean_attribution", "direction")
    every, values = ({name: scale * random.normal(size=shape) for name in names} for _ in range(2))
    members = pd.DataFrame({"member": range(3), "seed": range(3), "rows": "all", "permuted": [0, 0, 1]})
    return Attributions(
        "small", "integrated_gradients", "mean", pd.DataFrame(FEATURES, columns=["name", "branch"]), list(targets),
        members, every, values, None, None, list("abcdefghi"), None, ["test"], "votes", False,
    )  # fmt: skip


def truth(*planted):
    return pd.DataFrame(planted, columns=["target", "feature"])


# Positions


def test_channels_lie_where_they_are_on_the_head():
    places = positions()
    assert list(places) == list(CHANNELS)
    for name, (x, y) in places.items():
        assert np.hypot(x, y) < 0.9
        if name.endswith("z"):
            assert abs(x) < 0.03
        else:
            digit = int(name[-1])
            assert x < -0.2 if digit % 2 else x > 0.2, name
    # From the front to the back, and from the side to the middle.
    for column in (("Fp1", "F7", "T3", "T5", "O1"), ("Fp2", "F4", "C4", "P4", "O2"), ("Fz", "Cz", "Pz")):
        heights = [places[name][1] for name in column]
        assert heights == sorted(heights, reverse=True)
    for row in (("F7", "F3", "Fz", "F4", "F8"), ("T3", "C3", "Cz", "C4", "T4"), ("T5", "P3", "Pz", "P4", "T6")):
        across = [places[name][0] for name in row]
        assert across == sorted(across)
    assert places["F7"][0] < -0.5 and places["F7"][1] > 0.3
    for left, right in (("F7", "F8"), ("T3", "T4"), ("C3", "C4"), ("O1", "O2")):
        np.testing.assert_allclose(places[left], np.array([-1, 1]) * places[right], atol=0.05)


def test_neighbors_are_near():
    places = {name: np.array(place) for name, place in positions().items()}
    near = max(np.linalg.norm(places[first] - places[second]) for first, second in NEIGHBORS)
    apart = [np.linalg.norm(places[first] - places[second]) for first, second in (("Fp1", "O1"), ("T3", "T4"))]
    assert near < 0.62 < min(apart)


@pytest.mark.parametrize("name", ["F7", "O2", "Cz", "T4"])
def test_maps_are_high_where_the_channel_is(name):
    axes = new_figure(2, 2).subplots()
    image = draw_map(axes, [float(channel == name) for channel in CHANNELS], 1.0)
    values = np.asarray(image.get_array())
    left, right, bottom, top = image.get_extent()
    assert image.origin == "lower" and left < right and bottom < top
    row, column = np.unravel_index(values.argmax(), values.shape)
    x = left + (column + 0.5) * (right - left) / values.shape[1]
    y = bottom + (row + 0.5) * (top - bottom) / values.shape[0]
    # Beyond the outermost channels values are those of the nearest ones.
    np.testing.assert_allclose((x, y), positions()[name], atol=0.06 if name == "Cz" else 0.25)
    assert (image.norm.vmin, image.norm.vmax) == (-1, 1)
    assert axes.get_xlim()[0] < axes.get_xlim()[1] and axes.get_ylim()[0] < axes.get_ylim()[1]
    noses = [line for line in axes.get_lines() if max(line.get_ydata()) > 1.1]
    assert len(noses) == 1 and abs(np.mean(noses[0].get_xdata())) < 1e-9


def test_regions_lie_left_and_right_as_their_chains_do():
    for name, (x, y) in REGION_PLACES.items():
        assert (x < 0) == (name[0] == "L")
        assert (y > 0) == (name[1] == "L")


# Topographies


def test_the_table_holds_means_over_the_members_and_what_is_planted():
    found = attributions()
    table = topography_table(found, True, truth(("lpd", "C4 delta"), ("lpd", "RP delta"), ("gpd", "C4 delta")))
    assert len(table) == 3 * 111
    expected = found.own_class["mean_attribution"][:2].mean(axis=0)
    # As in the lists: the size over the class's own samples, the sign over all.
    averages = np.sign(found.all["direction"][:2].mean(axis=0)) * found.own_class["magnitude"][:2].mean(axis=0)
    places = {name: place for place, (name, _) in enumerate(FEATURES)}
    for row in table.itertuples():
        line = found.targets.index(row.target)
        assert row.value == pytest.approx(expected[line, places[row.feature]])
        assert row.average_attribution == pytest.approx(averages[line, places[row.feature]])
        assert row.feature == f"{row.node} {row.band}"
    planted = table[table["planted"] == 1]
    assert sorted(zip(planted["target"], planted["feature"], strict=True)) == [
        ("gpd", "C4 delta"), ("lpd", "C4 delta"), ("lpd", "RP delta"),
    ]  # fmt: skip
    unsigned = topography_table(found, False, None)
    np.testing.assert_allclose(unsigned["value"], unsigned["average_attribution"])
    assert unsigned["planted"].isna().all()


def test_planted_features_count_as_found_among_as_many():
    table = topography_table(attributions(("seizure",)), True, truth(("seizure", "F7 theta"), ("seizure", "LL theta")))
    table["value"] = 0.0
    table.loc[table["feature"] == "F7 theta", "value"] = 2.0
    table.loc[table["feature"] == "Cz gamma", "value"] = 1.0
    table.loc[table["feature"] == "LL theta", "value"] = -5.0
    assert found_again(table) == (1, 2)


def maps_of(figure):
    return [axes for axes in figure.axes if axes.images]


def blocks_of(figure):
    return [axes for axes in figure.axes if sum(isinstance(patch, Rectangle) for patch in axes.patches) == len(REGIONS)]


def test_maps_and_blocks_show_the_table():
    planted = truth(("lpd", "C4 delta"), ("lpd", "RP beta"))
    table = topography_table(attributions(), True, planted)
    figure = topographies(table, EXPLAINED)
    rendered(figure)
    limit = table["value"].abs().max()
    maps, blocks = maps_of(figure), blocks_of(figure)
    assert (len(maps), len(blocks)) == (3 * 5, 3 * 4)
    lines = [(target, band) for target in ("seizure", "lpd", "gpd") for band in BANDS_OF["eeg"]]
    for axes, (target, band) in zip(maps, lines, strict=True):
        (image,) = axes.images
        assert (image.norm.vmin, image.norm.vmax) == pytest.approx((-limit, limit))
        own = table[(table["target"] == target) & (table["band"] == band) & (table["branch"] == "eeg")]
        values, (left, right, bottom, top) = np.asarray(image.get_array()), image.get_extent()
        for name, value in zip(own["node"], own["value"], strict=True):
            x, y = positions()[name]
            pixel = values[
                int((y - bottom) / (top - bottom) * values.shape[0]),
                int((x - left) / (right - left) * values.shape[1]),
            ]
            assert pixel == pytest.approx(value, abs=0.2 * limit)
        rings = [patch.center for patch in axes.patches if isinstance(patch, Circle) and patch.radius < 0.5]
        assert rings == ([positions()["C4"]] if (target, band) == ("lpd", "delta") else [])
    lines = [(target, band) for target in ("seizure", "lpd", "gpd") for band in BANDS_OF["spectrogram"]]
    for axes, (target, band) in zip(blocks, lines, strict=True):
        for cell, name in zip(axes.patches, REGIONS, strict=True):
            own = (table["target"] == target) & (table["feature"] == feature_name(name, band))
            value = table.loc[own & (table["branch"] == "spectrogram"), "value"].iloc[0]
            assert to_hex(cell.get_facecolor()) == to_hex(COLORS((value / limit + 1) / 2))
            assert (cell.get_x() + 0.5, cell.get_y() + 0.5) == REGION_PLACES[name]
            assert (cell.get_linewidth() > 1) == ((target, band, name) == ("lpd", "beta", "RP"))
    assert f"{found_again(table)[0]} of 2 planted" in figure.get_suptitle()
    assert "Ringed" in figure.get_supxlabel() and EXPLAINED in " ".join(figure.get_supxlabel().split())


def test_real_data_two_classes_and_one_modality_are_drawn():
    table = topography_table(attributions(("lpd",)), True, None)
    figure = topographies(table, EXPLAINED)
    rendered(figure)
    assert len(maps_of(figure)) == 5
    assert "Ringed" not in figure.get_supxlabel() and "planted" not in figure.get_suptitle()
    table.loc[table["branch"] == "eeg", "value"] = 0.0
    alone = topographies(table, EXPLAINED)
    rendered(alone)
    assert (len(maps_of(alone)), len(blocks_of(alone))) == (0, 4)
    table["value"] = 0.0
    nothing = topographies(table, EXPLAINED)
    rendered(nothing)
    assert (len(maps_of(nothing)), len(blocks_of(nothing))) == (5, 4)


# Edges

EDGES = [
    ("eeg", "F7", "T3", "seizure", 4, 0.4, 0.5, 0.2, 0.6, 0.1, 0.04, 1.0),
    ("eeg", "Cz", "C4", "seizure", 4, -0.2, 0.2, -0.3, -0.1, 0.4, 0.05, 1.0),  # q is not below 0.05
    ("spectrogram", "LL", "LP", "seizure", 4, -0.1, 0.1, -0.2, -0.05, 0.02, 0.01, 1.0),
    ("eeg", "F7", "T3", "lpd", 2, 0.1, 0.1, np.nan, np.nan, np.nan, 0.01, 0.5),  # members differ
    ("eeg", "F7", "T3", "all", 6, 0.3, 0.4, 0.1, 0.5, 0.1, 0.04, 1.0),
]


def edges_table(least_p=0.001):
    columns = [*COLUMNS["edges"][1:6], "effect", "size", "low", "high", "spread", "q_value", "agreeing"]
    table = pd.DataFrame(EDGES, columns=columns)
    return table.assign(model="small", rank=1, least_p=least_p).reindex(columns=list(COLUMNS["edges"]))


def test_edges_join_their_nodes_in_the_width_and_color_of_their_loss():
    figure = edge_maps(edges_table(), "small")
    rendered(figure)
    heads = [axes for axes in figure.axes if any(isinstance(own, LineCollection) for own in axes.collections)]
    assert [axes.get_title(loc="left") for axes in heads] == ["seizure (n = 4)", "lpd (n = 2)", "All classes (n = 6)"]
    lines = next(own for own in heads[0].collections if isinstance(own, LineCollection))
    # The weakest first, so that the strongest lies on top.
    pairs, places = [("LL", "LP"), ("Cz", "C4"), ("F7", "T3")], node_places()
    for segment, (first, second) in zip(lines.get_segments(), pairs, strict=True):
        np.testing.assert_allclose(segment, [places[first], places[second]])
    np.testing.assert_allclose(lines.get_linewidths(), MOST_WIDTH * np.array([0.1, 0.2, 0.4]) / 0.4)
    colors = [to_hex(color) for color in lines.get_colors()]
    assert colors == [to_hex(NEGATIVE), to_hex(lighten(NEGATIVE)), to_hex(POSITIVE)]
    (unknown,) = next(own for own in heads[1].collections if isinstance(own, LineCollection)).get_colors()
    assert to_hex(unknown) == to_hex(lighten(POSITIVE))
    assert figure.get_suptitle().replace("\n", " ") == (
        "small: 2 of 4 edges by class matter clearly (q < 0.05); members differ as much as the effect in 1 of the 4 strongest"
    )


def test_the_strongest_edges_stand_with_interval_and_spread():
    figure = edge_maps(edges_table(), "small")
    axes = next(axes for axes in figure.axes if axes.get_title(loc="left").startswith("The strongest"))
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["seizure: F7–T3", "seizure: Cz–C4", "seizure: LL–LP", "lpd: F7–T3"]
    points = [line for line in axes.get_lines() if line.get_marker() == "o"]
    drawn = sorted((float(line.get_ydata()[0]), float(line.get_xdata()[0])) for line in points)
    assert drawn == [(0, 0.4), (1, -0.2), (2, -0.1), (3, 0.1)]
    spreads = [line.get_xdata() for line in axes.get_lines() if line.get_linewidth() == 6]
    np.testing.assert_allclose(spreads, [[0.3, 0.5], [-0.6, 0.2], [-0.12, -0.08]])
    assert len(strongest(edges_table())) == 4


def test_too_few_patients_for_any_edge_are_said():
    assert "clearly (q < 0.05), too few patients to tell" in edge_maps(edges_table(0.06), "small").get_suptitle()


def test_no_edges_are_said():
    figure = edge_maps(edges_table().iloc[:0], "small")
    rendered(figure)
    assert any("no edge is there" in text for text in everything(figure))


def test_the_figure_job_needs_no_torch_and_mne_only_where_it_draws():
    root = Path(__file__).parents[2]
    code = "import sys, consilience.domains.eeg.draw; print(*sorted(set(sys.modules) & {'torch', 'mne', 'sklearn'}))"
    environment = {**os.environ, "PYTHONPATH": str(root / "workflow")}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.split() == []
