"""Figures of biased atoms show what the tables hold, and say so where there is nothing to show."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import same_color, to_rgba
from scipy.stats import norm

from consilience.domains.variants.bias_plots import NAMED, bias_support, chance_band, confirmation, volcano
from consilience.domains.variants.landscape_plots import SETS, bias_landscape
from consilience.domains.variants.marks import (
    doublings,
    interval,
    label_points,
    odds_ticks,
    percent,
    probability,
    ratio,
)
from consilience.domains.variants.size_plots import size_profile_panels
from consilience.domains.variants.type_plots import FURTHEST, atoms_by_direction, type_specialization
from consilience.figures.style import GRAY, NEGATIVE, POSITIVE, lighten, new_figure
from tests.unit.figure_examples import everything, rendered
from tests.unit.variants_figure_examples import example_tables

pytestmark = pytest.mark.filterwarnings("error")
SMALL = {"calls": 700, "atoms": 30}
UNBIASED = {"calls": 300, "atoms": 20, "strength": 0.0, "seed": 3}


@pytest.fixture(scope="module")
def tables():
    return example_tables(**SMALL)


def points_of(axes: Axes):
    """Every drawn point: x, y, its edge or face color, its face, and whether this is not white."""
    found = []
    for cloud in axes.collections:
        if isinstance(cloud, PathCollection) and cloud.get_offsets().size:
            face = cloud.get_facecolor()[0]
            full = not same_color(face[:3], "white")
            edge = cloud.get_edgecolor()[0] if len(cloud.get_edgecolor()) else face
            found += [(x, y, tuple(edge[:3]), tuple(face[:3]), full) for x, y in np.asarray(cloud.get_offsets())]
    return found


def mixed(table):
    """The table, of whose confirmed atoms strata do not confirm the first, and turn the second over."""
    table, (first, second, *_) = table.copy(), table.index[table["confirmed"]]
    table.loc[first, "confirmed_within"], table.loc[second, "reversed"] = False, True
    return table


def names_in(axes: Axes):
    return {text.get_text(): text.xy for text in axes.texts if re.fullmatch(r"\d+", text.get_text())}


# Points


@pytest.mark.parametrize(
    ("draw", "across"),
    [
        (volcano, lambda table: (np.log2(table["odds"]), -np.log10(table["fdr_corrected"]))),
        (bias_support, lambda table: (table["support"], np.log2(table["odds"]))),
        (confirmation, lambda table: (np.log2(table["odds"]), np.log2(table["test_odds"]))),
    ],
)
def test_every_atom_is_a_point_at_its_values_colored_by_evidence(tables, draw, across):
    table = mixed(tables["bias"])
    figure = draw(table)
    rendered(figure)
    (axes,) = figure.axes
    x, y = across(table)
    points = points_of(axes)
    assert len(points) == len(table)
    places = np.array([point[:2] for point in points])
    for row, place in zip(table.itertuples(), np.column_stack([x, y]), strict=True):
        near = int(np.abs(places - place).sum(axis=1).argmin())
        np.testing.assert_allclose(places[near], place, atol=1e-9)
        _, _, color, face, full = points[near]
        if row.significant:
            assert same_color(color, POSITIVE if row.odds > 1 else NEGATIVE)
            assert full == row.confirmed
            if row.confirmed:
                light = not (row.confirmed_within and not row.reversed)
                assert same_color(face, lighten(color) if light else color)
        else:
            assert color[0] == color[1] == color[2]
    (low, high), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert ((places[:, 0] > low) & (places[:, 0] < high) & (places[:, 1] > bottom) & (places[:, 1] < top)).all()


@pytest.mark.parametrize("draw", [volcano, bias_support, confirmation])
def test_names_are_of_the_strongest_and_stay_apart(tables, draw):
    table = tables["bias"]
    figure = draw(table)
    rendered(figure)
    (axes,) = figure.axes
    named = names_in(axes)
    strongest = table[table["significant"]].groupby("direction").head(NAMED)["atom"].astype(str)
    assert 4 <= len(named) <= len(strongest)
    assert set(named) <= set(strongest)
    boxes = [text.get_bbox_patch() or text for text in axes.texts if text.get_text() in named]
    extents = [super(type(text), text).get_window_extent() for text in boxes]
    assert not any(one.overlaps(other) for place, one in enumerate(extents) for other in extents[:place])
    frame = axes.get_window_extent()
    assert all(
        frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in extents
    )


def test_a_name_without_room_is_left_out():
    axes = new_figure(1.2, 1.2).subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    crowd = np.tile([[0.5, 0.5]], (30, 1))
    notes = label_points(axes, crowd, [str(place) for place in range(30)])
    assert 4 < len(notes) < 30
    assert len(axes.texts) == len(notes)
    assert [note.get_text() for note in notes[:4]] == ["0", "1", "2", "3"]


def test_titles_count_what_the_table_holds(tables):
    table = mixed(tables["bias"])
    counts = table[table["significant"]]["direction"].value_counts()
    title = volcano(table).get_suptitle()
    assert re.findall(r"\d+", title) == [
        str(counts.sum()), str(len(table)), str(counts["positive"]), str(counts["negative"])
    ]  # fmt: skip
    confirmed = confirmation(table)
    kept = (table["confirmed"] & table["confirmed_within"] & ~table["reversed"]).sum()
    assert 0 < kept <= table["confirmed"].sum() - 2
    assert re.findall(r"\d+", confirmed.get_suptitle()) == [
        str(table["confirmed"].sum()), str(counts.sum()), str(kept)
    ]  # fmt: skip
    rows = table[table["significant"]]
    same = int(((rows["odds"] > 1) == (rows["test_odds"] > 1)).sum())
    rank = table["odds"].corr(table["test_odds"], method="spearman")
    caption = confirmed.get_supxlabel().replace("\n", " ")
    assert f"{same} of {len(rows)} have the same direction" in caption
    assert f"atoms: {rank:.2f}." in caption


def test_confirmation_has_the_intervals_of_what_was_asked(tables):
    table = tables["bias"]
    (axes,) = confirmation(table).axes
    (lines,) = [own for own in axes.collections if isinstance(own, LineCollection)]
    rows, (low, high) = table[table["significant"]], axes.get_ylim()
    wanted = np.clip(np.log2(rows[["test_low", "test_high"]]), low, high)
    ends = np.array(lines.get_segments())
    np.testing.assert_allclose(ends[:, :, 1], wanted)
    np.testing.assert_allclose(ends[:, 0, 0], np.log2(rows["odds"]))


def test_the_band_of_chance_holds_unbiased_atoms():
    random = np.random.default_rng(4)
    true, false, atoms = 700, 500, 20_000
    share = random.uniform(0.05, 0.5, atoms)
    on, off = random.binomial(true, share), random.binomial(false, share)
    table = pd.DataFrame({"TP_on": on, "TP_off": true - on, "FP_on": off, "FP_off": false - off})
    cells = [table[name] + 0.5 for name in ("TP_on", "FP_off", "TP_off", "FP_on")]
    odds = np.log2(cells[0] * cells[1] / cells[2] / cells[3])
    inside = np.abs(odds) <= chance_band(table, (on + off).astype(float))
    assert inside.mean() == pytest.approx(norm.cdf(1.96) - norm.cdf(-1.96), abs=0.006)


def test_the_support_figure_counts_who_lies_outside(tables):
    table = tables["bias"]
    band = chance_band(table, table["support"].to_numpy(float))
    outside = int((np.abs(np.log2(table["odds"])) > band).sum())
    title = bias_support(table).get_suptitle()
    assert title.startswith(f"{outside} of {len(table)} atoms")


# The landscape


def test_the_landscape_counts_and_lists(tables):
    table, landscape = mixed(tables["bias"]), tables["landscape"]
    figure = bias_landscape(table, landscape)
    rendered(figure)
    histogram, counts, positive, negative, _ = figure.axes
    heights = [bar.get_height() for bar in histogram.patches]
    assert sum(heights) == len(table)
    within = table["significant"] & (table["cmh_q"] < 0.05) & ~table["reversed"]
    for color, side in ((POSITIVE, table["odds"] > 1), (NEGATIVE, table["odds"] < 1)):
        full = [bar for bar in histogram.patches if same_color(bar.get_facecolor(), color)]
        assert sum(bar.get_height() for bar in full) == (within & side).sum()
    rows = landscape.set_index("set")
    widths = np.array([bar.get_width() for bar in counts.patches]).reshape(len(SETS), 4)
    for width, name in zip(widths, SETS, strict=True):
        above, below = rows.loc[name, ["above_1", "above_2"]], rows.loc[name, ["below_1", "below_half"]]
        np.testing.assert_array_equal(width, [*above, *-below])
    for axes, direction in ((positive, "positive"), (negative, "negative")):
        listed = table[table["significant"] & (table["direction"] == direction)].head(10)
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert labels == [f"atom {atom}" for atom in listed["atom"]]
        dots = {round(line.get_ydata()[0], 2): line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"}
        for place, value in enumerate(listed["cmh_odds"]):
            if place in dots:
                assert dots[place] == pytest.approx(np.log2(value))
        spans = [
            line.get_xdata()
            for line in axes.lines
            if line.get_marker() in ("None", None) and len(line.get_xdata()) == 2
        ]
        first = np.clip(np.log2(listed.iloc[0][["odds_low", "odds_high"]].astype(float)), *axes.get_xlim())
        assert any(np.allclose(span, first) for span in spans)


def test_an_interval_that_goes_on_has_an_arrow_and_an_undefined_ratio_no_mark(tables):
    table = tables["bias"].copy()
    first = table.index[table["direction"] == "positive"][0]
    table.loc[first, ["cmh_odds", "cmh_low", "cmh_high"]] = [np.inf, 0.0, np.inf]
    table.loc[first, ["test_odds", "test_low", "test_high"]] = np.nan
    figure = bias_landscape(table, tables["landscape"])
    rendered(figure)
    axes = figure.axes[2]
    arrows = [line for line in axes.lines if line.get_marker() in ("<", ">") and line.get_ydata()[0] == 0]
    assert sorted(line.get_marker() for line in arrows) == ["<", ">"]
    assert not [line for line in axes.lines if line.get_ydata()[0] == 0.24]
    assert not [line for line in axes.lines if line.get_marker() == "D" and line.get_ydata()[0] == 0]


# Types


def test_types_show_lifts_and_shares(tables):
    specialization, bias = tables["specialization"], tables["bias"].copy()
    bias.loc[atoms_by_direction(bias, 12).index[::3], "significant"] = False
    figure = type_specialization(specialization, bias)
    rendered(figure)
    axes = figure.axes[0]
    atoms = atoms_by_direction(bias, 12)
    assert (atoms["near_end"] != 0).all()
    types = [label.get_text().split("\n")[0] for label in axes.get_xticklabels()]
    assert set(types) == set(specialization["type"])
    rows = specialization.set_index(["atom", "type"])
    texts = {text.get_position(): text for text in axes.texts}
    image = axes.images[0].get_array()
    for line, atom in enumerate(atoms["atom"]):
        for column, name in enumerate(types):
            row = rows.loc[(atom, name)]
            wanted = np.clip(doublings([row["lift"]])[0], -FURTHEST, FURTHEST)
            assert image[line, column] == pytest.approx(wanted)
            text = texts[(column, line)]
            assert text.get_text() == percent(row["share"])
            assert (text.get_fontweight() == "bold") == (row["q_value"] < 0.05)
    bars = [bar.get_facecolor() for bar in axes.patches]
    wanted = [
        (POSITIVE if row.direction == "positive" else NEGATIVE) if row.significant else GRAY
        for row in atoms.itertuples()
    ]
    assert all(same_color(bar, color) for bar, color in zip(bars, wanted, strict=True))


@pytest.mark.parametrize("types", [("DEL",), ("DEL", "BND")])
def test_few_types_are_drawn(types):
    found = example_tables(calls=300, atoms=12, types=types)
    figure = type_specialization(found["specialization"], found["bias"])
    rendered(figure)
    assert len(figure.axes[0].get_xticklabels()) == len(types)
    assert ("one type" in figure.get_suptitle()) == (len(types) == 1)


def test_without_a_biased_atom_those_of_most_support_are_shown():
    table = pd.DataFrame(
        {"atom": [3, 1, 2, 7], "support": [5, 9, 9, 1], "near_end": 0.0, "direction": "none", "significant": False}
    )
    assert list(atoms_by_direction(table, 1)["atom"]) == [1, 2]
    table.loc[3, "near_end"] = -0.2
    assert list(atoms_by_direction(table, 1)["atom"]) == [7]


# Nothing to show


@pytest.mark.parametrize("draw", [volcano, bias_support, confirmation])
def test_no_tested_atom_is_said(tables, draw):
    figure = draw(tables["bias"].iloc[:0])
    rendered(figure)
    assert any("No atom is on in enough training calls" in text for text in everything(figure))


def test_empty_tables_are_said(tables):
    bias = tables["bias"].iloc[:0]
    for figure in (
        bias_landscape(bias, tables["landscape"]),
        type_specialization(tables["specialization"].iloc[:0], bias),
        size_profile_panels(tables["size_profiles"].iloc[:0], bias),
    ):
        rendered(figure)
        assert any("No atom is on in enough training calls" in text for text in everything(figure))


def test_no_significant_atom_is_said():
    found = example_tables(**UNBIASED)
    table = found["bias"].assign(significant=False, confirmed=False, near_end=0.0)
    for draw in (volcano, confirmation, bias_support):
        figure = draw(table)
        rendered(figure)
        assert not names_in(figure.axes[0])
    assert "None of" in volcano(table).get_suptitle()
    assert "none to confirm" in confirmation(table).get_suptitle()
    figure = bias_landscape(table, found["landscape"])
    rendered(figure)
    assert sum("no atom is significant" in text for text in everything(figure)) == 2
    figure = type_specialization(found["specialization"], table)
    rendered(figure)
    assert "No atom is biased for certain" in figure.get_supxlabel().replace("\n", " ")


@pytest.mark.parametrize("direction", ["positive", "negative"])
def test_one_direction_may_be_empty(tables, direction):
    table = tables["bias"]
    table = table[~table["significant"] | (table["direction"] == direction)].reset_index(drop=True)
    for figure in (volcano(table), bias_landscape(table, tables["landscape"])):
        rendered(figure)
        assert "0 to" in figure.get_suptitle()
    assert sum("no atom is significant" in text for text in everything(figure)) == 1


# Numbers in words


def test_numbers_are_written_as_people_read_them():
    assert [ratio(value) for value in (0.0841, 0.5, 1.26, 12.3, 2345, np.inf, np.nan)] == [
        "0.084", "0.5", "1.3", "12", "2,345", "∞", "undefined",
    ]  # fmt: skip
    assert interval(2.0, 0.5, np.inf) == "2.0 [0.5–∞]"
    assert [probability(value) for value in (0.25, 0.00123, 4.2e-7, 3e-28, 0.0, np.nan)] == [
        "0.25", "0.0012", "4e−7", "3e−28", "< 1e−300", "not tested",
    ]  # fmt: skip
    assert [percent(value) for value in (0, 0.012, 0.5, 1, np.nan)] == ["0 %", "1.2 %", "50 %", "100 %", "undefined"]
    np.testing.assert_array_equal(doublings([0.25, 1, 8, np.inf, 0]), [-2, 0, 3, 10, -10])


@pytest.mark.parametrize("which", ["x", "y"])
def test_axes_of_doublings_are_labeled_by_ratios(which):
    axes = new_figure(3, 3).subplots()
    axes.set(xlim=(-2.2, 3.5), ylim=(-2.2, 3.5))
    odds_ticks(axes, which, "odds")
    labels = axes.get_xticklabels() if which == "x" else axes.get_yticklabels()
    assert [label.get_text() for label in labels] == ["1/4", "1/2", "1", "2", "4", "8"]
    assert (axes.get_xlabel() if which == "x" else axes.get_ylabel()) == "odds"


def test_light_colors_are_used_for_open_evidence(tables):
    figure = bias_landscape(tables["bias"], tables["landscape"])
    counts = figure.axes[1]
    colors = {to_rgba(bar.get_facecolor()) for bar in counts.patches}
    assert colors == {to_rgba(color) for base in (POSITIVE, NEGATIVE) for color in (base, lighten(base))}


def test_the_same_bytes_every_time(tables):
    assert rendered(volcano(tables["bias"])) == rendered(volcano(tables["bias"]))
