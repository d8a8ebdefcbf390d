"""The dictionary and cards show what the tables hold, and say so where there is nothing."""

import numpy as np
import pandas as pd
import pytest

from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.domains.variants.calls import SIZE_BINS
from consilience.domains.variants.card_pages import Card, cards_of, page, write_cards
from consilience.domains.variants.dictionary_plots import dictionary_panels
from consilience.domains.variants.draw import codes_of_atoms, figures
from consilience.domains.variants.marks import percent
from consilience.domains.variants.network_plots import (
    coactivation_network,
)
from consilience.errors import ConsilienceError
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


def test_codes_a_call_are_told_by_role_with_and_without_a_consensus(tables):
    counts = {"test": {"with": 18.0, "without": 3.0}, "train": {"with": 16.0, "without": 11.0}}
    for known in ({}, {"codes_by_sequence": {}}, {"codes_by_sequence": counts}):
        figure = dictionary_panels(*example_quality(), tables["atoms"], example_facts() | known)
        rendered(figure)
        panel = titles(figure)["Codes a call, by role"]
        assert [label.get_text() for label in panel.get_xticklabels()] == ["train", "validation", "test"]
        assert [bar.get_height() for bar in panel.patches] == [15.2, 16.0, 15.7]
        assert [line.get_ydata()[0] for line in panel.lines if line.get_linestyle() == "--"] == [16]
        points = {line.get_marker(): list(line.get_ydata()) for line in panel.lines if line.get_linestyle() == "None"}
        wanted = {"^": [16.0, np.nan, 18.0], "v": [11.0, np.nan, 3.0]}
        np.testing.assert_equal(points, wanted if known.get("codes_by_sequence") else dict.fromkeys("^v", [np.nan] * 3))
        assert (panel.get_legend() is not None) == bool(known.get("codes_by_sequence"))


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
    sizes = panels["Sizes, base pairs (none: no size told)"]
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
