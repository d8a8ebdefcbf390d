"""What is told of an atom's calls: held against loops over calls, NumPy's quantiles and scipy's tests."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import false_discovery_control, hypergeom
from sklearn.metrics import roc_auc_score

from consilience.domains.variants.calls import SIZE_BINS
from consilience.domains.variants.cards import (
    atoms_table,
    card_atoms,
    card_examples,
    quantiles_by_group,
    size_profiles,
)
from consilience.files import read_table, write_table
from tests.unit.variants_atoms_examples import LEAST, OF_FALSE, OF_TRUE, PLACED, SMALL, drawn_calls

EDGES = {"none": (-9, -1), "< 100": (0, 99), "100-299": (100, 299), "300-999": (300, 999),
         "1,000-9,999": (1_000, 9_999), ">= 10,000": (10_000, 10**9)}  # fmt: skip
GROUP = ("", "_share", "_base_rate", "_lift", "_p", "_q")
COLUMNS = [
    "atom", "feature", "direction", "near_end", "support", "support_share", "precision", "base_rate",
    "activation_median", "activation_p90", "activation_maximum", "auroc",
    "type_INS", "type_DEL", "type_INV", "type_BND", "type_CNV",
    "size_q1", "size_median", "size_q3", "background_q1", "background_median", "background_q3",
    *[f"size_{name}" for name in EDGES], *[f"background_{name}" for name in EDGES],
    *[f"chromosome{end}" for end in GROUP], *[f"dataset{end}" for end in GROUP], "stability",
]  # fmt: skip
EXAMPLE_COLUMNS = ["atom", "feature", "direction", "certain", "rank", "sample", "contig", "position", "type", "size",
                   "class", "activation", "role"]  # fmt: skip
PROFILE_COLUMNS = ["atom", "feature", "size_bin", "calls", "on", "share", "true_share_on", "true_share_all"]


def told(calls, table=None, stability=None):
    table = calls.table if table is None else table
    facts = calls.features, calls.labels, calls.samples, calls.roles
    return atoms_table(csr_matrix(calls.codes), *facts, table, stability)


def examples(calls, chosen, count):
    return card_examples(
        csr_matrix(calls.codes), calls.features, calls.labels, calls.samples, calls.roles, chosen, count
    )


def profiles(calls, chosen):
    return size_profiles(csr_matrix(calls.codes), calls.features, calls.labels, calls.samples, calls.roles, chosen)


def share_in(sizes, name):
    low, high = EDGES[name]
    return np.mean([low <= size <= high for size in sizes])


def test_every_row_is_what_is_counted_of_its_calls_one_by_one():
    calls = drawn_calls(0)
    table, found = calls.table, told(calls)
    labels, samples = calls.labels[calls.training], calls.samples[calls.training]
    size = samples["size"].to_numpy()
    assert list(found) == COLUMNS
    assert list(found["atom"]) == list(table["atom"])
    for row in found.to_dict("records"):
        code = calls.code(row["atom"])
        on = code > 0
        assert row["support"] == on.sum() >= LEAST
        assert row["support_share"] == pytest.approx(on.mean())
        assert row["precision"] == pytest.approx(labels[on].mean())
        assert row["base_rate"] == pytest.approx(labels.mean())
        levels = [row["activation_median"], row["activation_p90"], row["activation_maximum"]]
        np.testing.assert_allclose(levels, np.quantile(code[on], [0.5, 0.9, 1]), rtol=1e-6)
        assert row["auroc"] == pytest.approx(roc_auc_score(labels, code))
        for kind in ("INS", "DEL", "INV", "BND", "CNV"):
            assert row[f"type_{kind}"] == pytest.approx(np.mean(samples["type"].to_numpy()[on] == kind))
        for prefix, sizes in (("size", size[on]), ("background", size)):
            measured = [row[f"{prefix}_{name}"] for name in ("q1", "median", "q3")]
            known = sizes[sizes >= 0]
            quartiles = np.quantile(known, [0.25, 0.5, 0.75]) if len(known) else [np.nan] * 3
            np.testing.assert_allclose(measured, quartiles)
            for name in SIZE_BINS:
                assert row[f"{prefix}_{name}"] == pytest.approx(share_in(sizes, name))


@pytest.mark.parametrize("column", ["chromosome", "dataset"])
def test_the_place_told_is_the_one_least_likely_by_chance(column):
    calls = drawn_calls(1, datasets=("a", "b", "c"))
    found, groups = told(calls), calls.samples[column].to_numpy()[calls.training]
    names = sorted(set(groups))
    chances = np.array(
        [
            [
                hypergeom.sf(np.sum(groups[on] == name) - 1, len(groups), np.sum(groups == name), on.sum())
                for name in names
            ]
            for on in (calls.code(atom) > 0 for atom in found["atom"])
        ]
    )
    corrected = false_discovery_control(chances.ravel()).reshape(chances.shape)
    best = chances.argmin(axis=1)
    rows = np.arange(len(found))
    assert list(found[column]) == [names[place] for place in best]
    np.testing.assert_allclose(found[f"{column}_p"], chances[rows, best])
    np.testing.assert_allclose(found[f"{column}_q"], corrected[rows, best])
    for row in found.to_dict("records"):
        own = groups[calls.code(row["atom"]) > 0] == row[column]
        assert row[f"{column}_share"] == pytest.approx(own.mean())
        assert row[f"{column}_base_rate"] == pytest.approx(np.mean(groups == row[column]))
        assert row[f"{column}_lift"] == pytest.approx(own.mean() / np.mean(groups == row[column]))


def test_a_rare_chromosome_is_told_though_another_is_more_frequent():
    calls = drawn_calls(2, calls=1500)
    row = told(calls).set_index("atom").loc[calls.atom(PLACED)]
    on = calls.code(calls.atom(PLACED)) > 0
    assert calls.samples["chromosome"][calls.training][on].mode()[0] == "1"
    assert (row["chromosome"], row["dataset"]) == ("X", "b")
    assert row["chromosome_q"] < 1e-4
    assert row["dataset_q"] < 1e-4
    assert row["chromosome_share"] < 0.2


def test_an_atom_of_small_calls_has_their_sizes_and_no_breakend():
    calls = drawn_calls(3)
    row = told(calls).set_index("atom").loc[calls.atom(SMALL)]
    assert row["size_< 100"] == 1
    assert row["size_q3"] < 100 < row["background_q1"]
    assert (row["type_BND"], row["size_none"]) == (0, 0)


def test_one_dataset_leaves_its_columns_empty_and_one_chromosome_too():
    calls = drawn_calls(4, datasets=("only",))
    found = told(calls)
    assert found[[f"dataset{end}" for end in GROUP]].isna().all(axis=None)
    assert found[[f"chromosome{end}" for end in GROUP]].notna().all(axis=None)


def test_calls_without_any_size_have_no_quartiles():
    calls = drawn_calls(5)
    calls.samples["size"] = -1
    found = told(calls)
    sizes = [f"{prefix}_{name}" for prefix in ("size", "background") for name in ("q1", "median", "q3")]
    assert found[sizes].isna().all(axis=None)
    assert (found[["size_none", "background_none"]] == 1).all(axis=None)


def test_stability_is_that_of_the_atoms_number():
    calls = drawn_calls(6)
    stability = np.linspace(0, 1, 100, dtype=np.float32)
    found = told(calls, stability=stability)
    assert list(found["stability"]) == [stability[atom] for atom in found["atom"]]
    assert told(calls)["stability"].isna().all()


def test_the_order_of_calls_changes_no_table():
    calls, table = drawn_calls(7), drawn_calls(7).table
    shuffled, chosen = calls.permuted(8), card_atoms(table, 3)
    pd.testing.assert_frame_equal(told(shuffled), told(calls))
    pd.testing.assert_frame_equal(examples(shuffled, chosen, 20), examples(calls, chosen, 20))
    pd.testing.assert_frame_equal(profiles(shuffled, chosen), profiles(calls, chosen))


def test_stored_zeros_are_no_activations():
    calls, chosen = drawn_calls(18), card_atoms(drawn_calls(18).table, 3)
    stored = csr_matrix(np.ones_like(calls.codes))
    stored.data = calls.codes.ravel().copy()
    facts = calls.features, calls.labels, calls.samples, calls.roles
    pd.testing.assert_frame_equal(atoms_table(stored, *facts, calls.table), told(calls))
    pd.testing.assert_frame_equal(card_examples(stored, *facts, chosen, 999), examples(calls, chosen, 999))
    assert stored.nnz == calls.codes.size


def test_tables_are_the_same_from_a_bias_table_that_was_written(tmp_path):
    calls = drawn_calls(9)
    write_table(tmp_path / "bias.csv", calls.table)
    again = read_table(tmp_path / "bias.csv")
    pd.testing.assert_frame_equal(told(calls, again), told(calls), rtol=1e-8)
    pd.testing.assert_frame_equal(card_atoms(again, 3), card_atoms(calls.table, 3), rtol=1e-8)


def test_cards_are_of_the_most_biased_atoms_of_either_direction():
    table = drawn_calls(10).table
    chosen = card_atoms(table, 1)
    assert list(chosen["feature"]) == [f"atom {3 * OF_TRUE}", f"atom {3 * OF_FALSE}"]
    assert list(chosen["direction"]) == ["positive", "negative"]
    assert chosen["certain"].all()
    # A direction with fewer sure atoms than there are cards has fewer cards, and the other ones are not filled in.
    lone = table.assign(near_end=table["near_end"].where(table["atom"] == 3 * OF_FALSE, 0))
    assert list(card_atoms(lone, 5)["atom"]) == [3 * OF_FALSE]


def test_without_a_sure_atom_the_best_supported_have_uncertain_cards():
    table = drawn_calls(11).table.assign(near_end=0.0)
    chosen = card_atoms(table, 2)
    best = sorted(zip(-table["support"], table["atom"], strict=True))[:4]
    assert list(chosen["atom"]) == [atom for _, atom in best]
    assert not chosen["certain"].any()


def test_examples_are_the_calls_of_any_role_with_the_largest_codes():
    calls = drawn_calls(12)
    chosen = card_atoms(calls.table, 4)
    found, by_id = examples(calls, chosen, 7), calls.samples.set_index("id")
    assert list(found) == EXAMPLE_COLUMNS
    assert list(found["atom"].drop_duplicates()) == list(chosen["atom"])
    for atom, rows in found.groupby("atom"):
        code = calls.code(atom, training=False)
        offered = [
            (-value, name, role, ("FP", "TP")[label])
            for value, name, role, label in zip(code, calls.samples["id"], calls.roles, calls.labels, strict=True)
            if value > 0 and role != "excluded"
        ]
        expected = sorted(offered)[:7]
        shown = zip(-rows["activation"], rows["sample"], rows["role"], rows["class"], strict=True)
        assert list(shown) == expected
        assert list(rows["rank"]) == list(range(1, len(expected) + 1))
    for row in found.itertuples():
        one = by_id.loc[row.sample]
        assert (row.contig, row.position, row.type) == (one["contig"], one["position"], one["type"])
        assert pd.isna(row.size) if one["size"] < 0 else row.size == one["size"]
    assert set(found["role"]) == {"train", "validation", "test"}


def test_an_atom_with_fewer_calls_than_examples_shows_them_all():
    calls = drawn_calls(13)
    chosen = calls.table.tail(1).assign(certain=False)
    shown = (calls.code(chosen["atom"].iloc[0], training=False) > 0) & (calls.roles != "excluded")
    assert len(examples(calls, chosen, 10_000)) == shown.sum()


def test_a_size_is_written_in_whole_base_pairs_and_empty_where_there_is_none(tmp_path):
    calls = drawn_calls(14)
    found = examples(calls, card_atoms(calls.table, 5), 40)
    write_table(tmp_path / "cards.tsv", found)
    lines = (tmp_path / "cards.tsv").read_text().splitlines()[1:]
    written = [line.split("\t")[EXAMPLE_COLUMNS.index("size")] for line in lines]
    sizes = calls.samples.set_index("id")["size"][found["sample"]]
    assert written == [str(size) if size >= 0 else "" for size in sizes]
    assert "" in written


def test_size_profiles_count_calls_of_every_bin():
    calls = drawn_calls(15)
    calls.samples.loc[calls.samples["size"] >= 10_000, "size"] = 9_999
    chosen = card_atoms(calls.table, 2)
    found = profiles(calls, chosen)
    sizes, labels = calls.samples["size"].to_numpy()[calls.training], calls.labels[calls.training]
    assert list(found) == PROFILE_COLUMNS
    assert [tuple(pair) for pair in found[["atom", "size_bin"]].to_numpy()] == [
        (atom, name) for atom in chosen["atom"] for name in SIZE_BINS
    ]
    for row in found.itertuples():
        low, high = EDGES[row.size_bin]
        within = (sizes >= low) & (sizes <= high)
        on = within & (calls.code(row.atom) > 0)
        assert (row.calls, row.on) == (within.sum(), on.sum())
        shares = (row.share, row.true_share_on, row.true_share_all)
        counts = ((on.sum(), within.sum()), (labels[on].sum(), on.sum()), (labels[within].sum(), within.sum()))
        for share, (part, whole) in zip(shares, counts, strict=True):
            assert share == pytest.approx(part / whole if whole else np.nan, nan_ok=True)
    assert (found.loc[found["size_bin"] == ">= 10,000", "calls"] == 0).all()


def test_quantiles_are_numpys_within_every_group():
    random = np.random.default_rng(16)
    groups = random.choice([0, 1, 1, 1, 3, 3, 4], 300)
    groups[groups == 4] = np.where(np.arange((groups == 4).sum()) == 0, 4, 3)
    values, shares = random.integers(0, 50, 300).astype(float), np.array([0, 0.1, 0.25, 0.5, 0.9, 1])
    found = quantiles_by_group(values, groups, 6, shares)
    assert (np.bincount(groups, minlength=6) == 0).tolist() == [False, False, True, False, False, True]
    for group in range(6):
        own = values[groups == group]
        expected = np.quantile(own, shares) if len(own) else np.full(len(shares), np.nan)
        np.testing.assert_allclose(found[:, group], expected, rtol=1e-12)


def test_no_atom_leaves_empty_tables_with_the_same_columns():
    calls = drawn_calls(17)
    none = calls.table[:0]
    chosen = card_atoms(none, 5)
    assert list(told(calls, none)) == COLUMNS
    assert list(examples(calls, chosen, 5)) == EXAMPLE_COLUMNS
    assert list(profiles(calls, chosen)) == PROFILE_COLUMNS
    assert len(told(calls, none)) == len(examples(calls, chosen, 5)) == len(profiles(calls, chosen)) == 0
