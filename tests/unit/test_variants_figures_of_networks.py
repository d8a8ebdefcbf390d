"""The network shows which atoms are on together, near and apart, and says so where there is nothing."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color

from consilience.domains.variants.coactivation import strongest
from consilience.domains.variants.network_plots import (
    APART,
    NEAREST,
    clear_pairs,
    coactivation_network,
    drawn_pairs,
    layout,
)
from consilience.figures.style import NEGATIVE, ORANGE, POSITIVE
from tests.unit.figure_examples import everything, rendered
from tests.unit.variants_figure_examples import example_tables

pytestmark = pytest.mark.filterwarnings("error")
SMALL = {"calls": 700, "atoms": 30}


@pytest.fixture(scope="module")
def tables():
    return example_tables(**SMALL)


def pairs_of(*rows):
    """Pairs (atom_a, atom_b, lift) that are on together for certain."""
    table = pd.DataFrame(rows, columns=["atom_a", "atom_b", "lift"]).astype({"lift": float})
    return table.assign(q_value=0.001)


def test_clear_pairs_are_certain_and_above_chance_and_few_of_an_atom_are_drawn():
    pairs = pd.concat([pairs_of(*((0, other, 2 + other) for other in range(1, 8))), pairs_of((6, 7, 1.5), (5, 7, 1.4))])
    pairs = pd.concat([pairs, pairs_of((1, 2, 9)).assign(q_value=0.2), pairs_of((1, 3, 0.5))], ignore_index=True)
    clear = clear_pairs(pairs)
    assert len(clear) == 9
    assert clear["lift"].is_monotonic_decreasing
    drawn = drawn_pairs(clear)
    for row in clear.itertuples():
        ranks = [
            int((clear.loc[(clear[["atom_a", "atom_b"]] == end).any(axis=1), "lift"] > row.lift).sum())
            for end in (row.atom_a, row.atom_b)
        ]
        assert (min(ranks) < NEAREST) == (row.Index in drawn.index)
    assert len(drawn_pairs(clear.iloc[:0])) == 0


def test_the_layout_keeps_atoms_and_parts_apart_and_sets_single_ones_aside():
    ring = [(place, (place + 1) % 9, 3) for place in range(9)]
    star = [(20, 20 + place, 5) for place in range(1, 7)]
    pairs = pairs_of(*ring, *star, (40, 41, 2))
    places, alone = layout([*range(9), *range(20, 27), 40, 41, 77, 50], pairs)
    assert alone == [50, 77]
    assert sorted(places) == [*range(9), *range(20, 27), 40, 41]
    gaps = [math.dist(places[one], places[other]) for one, other in itertools.combinations(places, 2)]
    assert min(gaps) >= 0.9 * APART
    boxes = []
    for part in (range(9), range(20, 27), (40, 41)):
        own = np.array([places[atom] for atom in part])
        boxes.append((*own.min(axis=0), *own.max(axis=0)))
    for one, other in itertools.combinations(boxes, 2):
        assert one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
    shuffled = pairs.sample(frac=1, random_state=1)
    again, _ = layout([50, 77, *places], shuffled)
    assert {atom: tuple(np.round(place, 6)) for atom, place in again.items()} == {
        atom: tuple(np.round(place, 6)) for atom, place in places.items()
    }


def test_the_network_joins_pairs_and_colors_atoms(tables):
    bias = tables["bias"]
    atoms = strongest(bias, 12)
    ids = atoms["atom"].tolist()
    direction = atoms.set_index("atom")["direction"]
    one, other = (next(atom for atom in ids if direction[atom] == name) for name in ("positive", "negative"))
    mate = next(atom for atom in ids if atom != one and direction[atom] == "positive")
    third = next(atom for atom in ids if atom not in (one, mate) and direction[atom] == "positive")
    pairs = pairs_of((one, other, 4), (one, mate, 8), (mate, third, 6))
    figure = coactivation_network(pairs, bias, 12)
    rendered(figure)
    field, aside = figure.axes
    (lines,) = [own for own in field.collections if hasattr(own, "get_segments")]
    colors = [color[:3] for color in lines.get_colors()]
    assert len(lines.get_segments()) == 3
    assert [same_color(color, ORANGE) for color in colors] == [False, False, True]
    widths = lines.get_linewidths()
    assert widths[0] > widths[1] > widths[2]
    joined = {str(atom) for atom in (one, other, mate, third)}
    assert {text.get_text() for text in field.texts} == joined
    assert {text.get_text() for text in aside.texts} == {str(atom) for atom in ids} - joined
    spots = {tuple(np.round(own.get_offsets()[0], 9)): own for own in field.collections if own is not lines}
    for text in field.texts:
        spot = spots[tuple(np.round(text.get_position(), 9))]
        row = atoms.set_index("atom").loc[int(text.get_text())]
        if row["significant"]:
            color = POSITIVE if row["direction"] == "positive" else NEGATIVE
            assert same_color(spot.get_facecolor()[0], color)
    assert "3 pairs of atoms are on together; 1 is of both directions" in figure.get_suptitle()


def test_few_joined_atoms_take_little_of_a_page_and_touch_no_key(tables):
    bias = strongest(tables["bias"], 14)
    ids = bias["atom"].tolist()
    ring = pairs_of(*((ids[place], ids[(place + 1) % 14], 3) for place in range(14)))
    figures_of = [coactivation_network(pairs, bias, 14) for pairs in (pairs_of((ids[0], ids[1], 3)), ring)]
    small, large = (figure.axes[0] for figure in figures_of)
    for figure in figures_of:
        rendered(figure)
    assert small.get_window_extent().height < 0.4 * large.get_window_extent().height
    for axes in (small, large):
        keys = axes.get_legend().get_window_extent()
        for circle in axes.collections[1:]:
            middle = axes.transData.transform(circle.get_offsets())[0, 1]
            radius = np.sqrt(circle.get_sizes()[0] / np.pi) * axes.figure.dpi / 72
            assert middle + radius < keys.y0


def test_pairs_of_both_directions_that_are_counted_but_not_drawn_are_told(tables):
    direction = tables["bias"][tables["bias"]["significant"]].set_index("atom")["direction"]
    (*positive,), (*negative,) = (direction.index[direction == name][:3] for name in ("positive", "negative"))
    near = [(side[one], side[other], 8) for side in (positive, negative) for one, other in ((0, 1), (0, 2), (1, 2))]
    told = "None of both directions is among these"
    for far, hidden in ((pairs_of(*near, (positive[0], negative[0], 2)), True), (pairs_of(*near), False)):
        figure = coactivation_network(far, tables["bias"], 30)
        assert f"{'1 is' if hidden else 'none are'} of both directions" in figure.get_suptitle()
        assert (told in figure.get_supxlabel().replace("\n", " ")) == hidden


def test_a_network_without_pairs_or_atoms_says_so(tables):
    figure = coactivation_network(tables["coactivation"].iloc[:0], tables["bias"], 30)
    rendered(figure)
    assert "None of the 30 strongest atoms" in figure.get_suptitle()
    assert len(figure.axes) == 1
    empty = coactivation_network(tables["coactivation"].iloc[:0], tables["bias"].iloc[:0], 30)
    rendered(empty)
    assert any("No atom is on in enough" in text for text in everything(empty))
