"""The network, dictionary and cards show what the tables hold, and say so where there is nothing."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color

from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.domains.variants.calls import SIZE_BINS
from consilience.domains.variants.card_pages import Card, cards_of, page, write_cards
from consilience.domains.variants.coactivation import strongest
from consilience.domains.variants.dictionary_plots import dictionary_panels
from consilience.domains.variants.draw import codes_of_atoms, figures
from consilience.domains.variants.marks import percent
from consilience.domains.variants.network_plots import (
    APART,
    NEAREST,
    clear_pairs,
    coactivation_network,
    drawn_pairs,
    layout,
)
from consilience.errors import ConsilienceError
from consilience.figures.style import NEGATIVE, ORANGE, POSITIVE
from tests.unit.figure_examples import everything, rendered
from tests.unit.variants_figure_examples import (
    example_branches,
    example_calls,
    example_codes,
    example_facts,
    example_quality,
    example_raw,
    example_recovery,
    example_tables,
)

pytestmark = pytest.mark.filterwarnings("error")
SMALL = {"calls": 700, "atoms": 30}
MODELS = ["narrow", "wide"]


@pytest.fixture(scope="module")
def tables():
    return example_tables(**SMALL)


def titles(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def pairs_of(*rows):
    """Pairs (atom_a, atom_b, lift) that are on together for certain."""
    table = pd.DataFrame(rows, columns=["atom_a", "atom_b", "lift"]).astype({"lift": float})
    return table.assign(q_value=0.001)


# The network


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
    pairs = pairs_of((one, other, 4), (one, mate, 8))
    figure = coactivation_network(pairs, bias, 12)
    rendered(figure)
    field, aside = figure.axes
    (lines,) = [own for own in field.collections if hasattr(own, "get_segments")]
    colors = [color[:3] for color in lines.get_colors()]
    assert len(lines.get_segments()) == 2
    assert [same_color(color, ORANGE) for color in colors] == [False, True]
    widths = lines.get_linewidths()
    assert widths[0] > widths[1]
    assert {text.get_text() for text in field.texts} == {str(atom) for atom in (one, other, mate)}
    assert {text.get_text() for text in aside.texts} == {str(atom) for atom in ids if atom not in (one, other, mate)}
    spots = {tuple(np.round(own.get_offsets()[0], 9)): own for own in field.collections if own is not lines}
    for text in field.texts:
        spot = spots[tuple(np.round(text.get_position(), 9))]
        row = atoms.set_index("atom").loc[int(text.get_text())]
        if row["significant"]:
            color = POSITIVE if row["direction"] == "positive" else NEGATIVE
            assert same_color(spot.get_facecolor()[0], color)
    assert "2 pairs of atoms are on together; 1 is of both directions" in figure.get_suptitle()


def test_a_network_without_pairs_or_atoms_says_so(tables):
    figure = coactivation_network(tables["coactivation"].iloc[:0], tables["bias"], 30)
    rendered(figure)
    assert "None of the 30 strongest atoms" in figure.get_suptitle()
    assert len(figure.axes) == 1
    empty = coactivation_network(tables["coactivation"].iloc[:0], tables["bias"].iloc[:0], 30)
    rendered(empty)
    assert any("No atom is on in enough" in text for text in everything(empty))


# The dictionary


def test_the_dictionary_is_held_against_controls_sweep_batches_and_starts(tables):
    quality, sweep = example_quality()
    figure = dictionary_panels(quality, sweep, tables["atoms"], example_facts())
    rendered(figure)
    panels = titles(figure)
    bars = [bar.get_height() for bar in panels["By role; controls on test calls"].patches]
    assert bars == [0.82, 0.76, 0.74, 0.61, 0.22]
    points = panels["Which dictionary was taken"]
    marked = {(*line.get_xdata(), *line.get_ydata()): line for line in points.lines if len(line.get_xdata()) == 1}
    assert set(marked) == set(zip(sweep["k"], sweep["explained_variance"], strict=True))
    assert marked[(16, 0.76)].get_marker() == "D"
    assert marked[(16, 0.78)].get_markerfacecolor() == "white"
    assert {text.get_text() for text in points.texts} == {
        "150 atoms\n1.0 % dead", "150 atoms\n0 % dead", "300 atoms\n8.0 % dead"
    }  # fmt: skip
    stability = tables["atoms"]["stability"]
    panel = panels["Do atoms come again?"]
    assert sum(bar.get_height() for bar in panel.patches) == len(stability)
    assert any(percent((stability >= 0.7).mean()) in text.get_text() for text in panel.texts)
    assert "explain 74 %" in figure.get_suptitle()
    assert "61 %" in figure.get_suptitle()


def test_batches_are_in_order_of_their_size(tables):
    facts = example_facts() | {"codes_by_batch_size": {"256": 15.0, "32": 14.0, "4096": 16.5}}
    figure = dictionary_panels(*example_quality(), tables["atoms"], facts)
    panel = titles(figure)["Codes a call, test"]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["32", "256", "4,096"]
    assert list(panel.lines[0].get_ydata()) == [14.0, 15.0, 16.5]


def test_an_imported_dictionary_has_neither_sweep_nor_another_start(tables):
    quality, sweep = example_quality()
    facts = example_facts(stability=False) | {"imported": True}
    del facts["rule"]
    undefined = quality.assign(explained_variance=np.nan)
    atoms = tables["atoms"].assign(stability=np.nan)
    for own in (quality, undefined):
        figure = dictionary_panels(own, sweep.head(1), atoms, facts)
        rendered(figure)
    texts = everything(figure)
    assert any("none to compare it with" in text for text in texts)
    assert "others" not in texts
    assert texts.count("undefined") == 5
    assert "imported" in figure.get_supxlabel()


# Cards


@pytest.fixture(scope="module")
def cards(tables):
    return list(cards_of(tables, example_codes(tables, **SMALL)))


def test_a_card_is_made_for_every_atom_of_the_table_in_its_order(tables, cards):
    assert [card.bias["atom"] for card in cards] == list(tables["cards"]["atom"].unique())
    for card in cards:
        assert (card.examples["atom"] == card.atom["atom"]).all()
        assert len(card.true) == card.bias["TP_on"]
        assert len(card.false) == card.bias["FP_on"]


def test_a_page_tells_what_the_tables_hold(tables, cards):
    card = cards[0]
    figure = page(card)
    rendered(figure)
    texts, panels = everything(figure), titles(figure)
    row = card.bias
    assert figure.get_suptitle().startswith(f"Atom {row['atom']} leans to true calls")
    said = f"all training calls: {row['odds']:.1f}"
    assert any(text.startswith(said) for text in texts)
    assert f"{row['support']:,} ({percent(row['support_share'])})" in texts
    assert f"{row['auroc']:.2f}" in texts
    dots = {line.get_ydata()[0]: line.get_xdata()[0] for line in figure.axes[0].lines if len(line.get_xdata()) == 1}
    np.testing.assert_allclose(
        [dots[line] for line in range(3)], np.log2([row["odds"], row["cmh_odds"], row["test_odds"]])
    )
    filled, outline = panels["How strongly it is on"].patches
    for steps, values in ((filled, card.true), (outline, card.false)):
        heights, edges, _ = steps.get_data()
        np.testing.assert_allclose(heights, np.histogram(values, edges)[0] / len(values))
        assert heights.sum() == pytest.approx(1)
    types = panels["Types of the calls that have it on"]
    names = [label.get_text() for label in types.get_yticklabels()]
    wanted = card.types.set_index("type").loc[names]
    np.testing.assert_allclose([bar.get_width() for bar in types.patches], wanted["share"])
    np.testing.assert_allclose(types.lines[0].get_xdata(), wanted["base_rate"])
    sizes = panels["Sizes, base pairs (none: breakends)"]
    np.testing.assert_allclose(
        [bar.get_width() for bar in sizes.patches], [card.atom[f"size_{name}"] for name in SIZE_BINS]
    )
    np.testing.assert_allclose(sizes.lines[0].get_xdata(), [card.atom[f"background_{name}"] for name in SIZE_BINS])
    groups = panels["Over-represented most"]
    wanted = [card.atom["chromosome_share"], card.atom["dataset_share"]]
    np.testing.assert_allclose([bar.get_width() for bar in groups.patches], wanted)
    for example in card.examples.itertuples():
        assert example.sample in texts
        assert f"{example.contig}:{example.position:,}" in texts


def test_what_is_not_known_is_said(cards):
    card = cards[0]
    bias = card.bias | {"near_end": 0, "auroc_active": np.nan, "test_q": np.nan, "cmh_odds": np.inf, "cmh_low": 0.0}
    bias |= {"cmh_high": np.inf, "test": "fisher", "test_cmh_q": np.nan}
    missing = {
        f"{name}{suffix}": np.nan for name in ("chromosome", "dataset") for suffix in ("", "_share", "_q", "_lift")
    }
    atom = card.atom | missing | {"stability": np.nan}
    examples = card.examples.assign(size=pd.array([pd.NA] * len(card.examples), dtype="Int64"))
    figure = page(Card(bias, atom, examples, card.types.head(1), card.true, card.false[:0]))
    rendered(figure)
    texts = everything(figure)
    assert figure.get_suptitle().endswith("no bias that is certain")
    weak = Card(card.bias | {"significant": False}, card.atom, examples, card.types, card.true, card.false)
    assert page(weak).get_suptitle().endswith("but is not significant")
    for wanted in (
        "undefined",
        "not tested | not tested",
        "one dictionary",
        "on in no false call",
        "within strata: undefined",
    ):
        assert wanted in texts
    assert texts.count("none") >= len(examples)
    assert any("one chromosome\nand of one dataset" in text for text in texts)
    assert any("Fisher" in text for text in texts)


def test_one_data_set_and_calls_of_one_class_are_said():
    found = example_tables(calls=300, atoms=12, datasets=1)
    (card, *_) = cards_of(found, example_codes(found, calls=300, atoms=12, datasets=1))
    figure = page(Card(card.bias, card.atom, card.examples.iloc[:0], card.types, card.true[:0], card.true[:0]))
    rendered(figure)
    texts = everything(figure)
    for wanted in ("one dataset", "on in no training call", "no call"):
        assert wanted in texts


def test_pages_are_the_same_bytes_and_none_is_a_page_too(tmp_path, cards):
    for name in ("a.pdf", "b.pdf"):
        write_cards(tmp_path / name, cards[:2])
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
    assert (tmp_path / "a.pdf").read_bytes().count(b"/Type /Page ") == 2
    write_cards(tmp_path / "none.pdf", [])
    assert (tmp_path / "none.pdf").read_bytes().count(b"/Type /Page ") == 1


# The script


def encoded(path, given):
    labels, samples = given["labels"], given["samples"]
    with write_dataset(
        path, "classification", target="true call", unit="-", source="-", source_sha256="-", classes=["FP", "TP"]
    ) as writer:
        features = given["features"]
        writer.features(features.assign(branch="codes")[["name", "branch", "atom"]])
        writer.branch("codes", np.arange(len(features)), len(labels), scaling="feature")
        writer.append("codes", given["codes"].toarray())
        writer.target(labels)
        writer.samples(samples)
    return path


def test_codes_of_atoms_are_those_of_training_calls_by_class(tmp_path):
    given = example_calls(calls=200, atoms=9)
    split = pd.DataFrame(
        {"sample": given["samples"]["id"], "group": given["samples"]["chromosome"], "role": given["roles"]}
    )
    with Dataset.open(encoded(tmp_path / "encoded.h5", given)) as dataset:
        found = codes_of_atoms(dataset, split, np.array([12, 3]))
        assert codes_of_atoms(dataset, split, np.array([], int)) == {}
        with pytest.raises(ConsilienceError):
            codes_of_atoms(dataset, split.iloc[1:], np.array([12]))
    assert list(found) == [12, 3]
    dense = given["codes"].toarray()
    for atom, (true, false) in found.items():
        column = dense[:, atom // 3]
        for label, values in ((1, true), (0, false)):
            rows = (given["roles"] == "train") & (given["labels"] == label) & (column > 0)
            np.testing.assert_array_equal(values, column[rows])


def test_every_figure_is_drawn_from_the_tables_and_the_same_bytes_again(tables):
    quality, sweep = example_quality()
    own = tables | {
        "dictionary": quality,
        "sweep": sweep,
        "raw_attributions": example_raw(),
        "raw_branches": example_branches(example_raw()),
    }
    drawn = dict(figures(own, example_facts(), example_recovery(), MODELS, 40))
    assert set(drawn) == {
        "bias_landscape", "volcano", "bias_support", "confirmation", "size_profiles", "type_specialization",
        "coactivation", "dictionary", "raw_attributions",
    }  # fmt: skip
    network = coactivation_network(tables["coactivation"], tables["bias"], 40)
    assert rendered(drawn["coactivation"]) == rendered(network)
    assert rendered(drawn["dictionary"]) == rendered(
        dictionary_panels(quality, sweep, tables["atoms"], example_facts())
    )


def test_every_figure_is_drawn_where_no_atom_was_tested(tables):
    quality, sweep = example_quality()
    own = {name: table if name == "landscape" else table.iloc[:0] for name, table in tables.items()}
    own |= {
        "dictionary": quality,
        "sweep": sweep,
        "raw_attributions": example_raw(),
        "raw_branches": example_branches(example_raw()),
    }
    drawn = dict(figures(own, example_facts(), None, MODELS, 40))
    for figure in drawn.values():
        rendered(figure)
    told = [
        name for name, figure in drawn.items() if any("No atom is on in enough" in text for text in everything(figure))
    ]
    assert set(drawn) - set(told) == {"dictionary", "raw_attributions"}
    assert list(cards_of(own, {})) == []
