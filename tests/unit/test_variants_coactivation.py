"""Which atoms are on together: held against loops over pairs and calls, and against what independence lets expect."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import false_discovery_control, fisher_exact, hypergeom

from consilience.domains.variants.coactivation import FEWEST, coactivation, strongest
from tests.unit.variants_atoms_examples import FIRST, SECOND, drawn_calls

COLUMNS = [
    "atom_a", "atom_b", "support_a", "support_b", "together", "expected", "lift", "p_value", "q_value"
]  # fmt: skip
ALL = 100


def told(calls, network=ALL, table=None):
    table = calls.table if table is None else table
    return coactivation(csr_matrix(calls.codes), calls.features, calls.roles, table, network)


def looped(calls, atoms):
    """Every pair of atoms, its counts by a loop over calls and its p by Fisher's one-sided test, in order of number."""
    rows, total = [], int(calls.training.sum())
    for place, first in enumerate(sorted(atoms)):
        for second in sorted(atoms)[place + 1 :]:
            one, other = calls.code(first) > 0, calls.code(second) > 0
            together = sum(bool(a and b) for a, b in zip(one, other, strict=True))
            square = [[together, one.sum() - together], [other.sum() - together, total - (one | other).sum()]]
            p = fisher_exact(square, alternative="greater").pvalue
            expected = one.sum() * other.sum() / total
            rows.append((first, second, one.sum(), other.sum(), together, expected, together / expected, p))
    return pd.DataFrame(rows, columns=COLUMNS[:-1])


@pytest.mark.parametrize("network", [2, 9, ALL])
def test_pairs_are_those_of_a_loop_and_corrected_for_all_of_them(network):
    calls = drawn_calls(0)
    table = calls.table
    expected = looped(calls, strongest(table, network)["atom"])
    expected["q_value"] = false_discovery_control(expected["p_value"])
    expected = expected[expected["together"] >= FEWEST]
    found = told(calls, network)
    assert list(found) == COLUMNS
    assert found["p_value"].is_monotonic_increasing
    again = found.sort_values(["atom_a", "atom_b"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(again, expected.reset_index(drop=True), check_dtype=False, rtol=1e-9, atol=0)


def test_two_atoms_that_are_always_on_together_come_first():
    calls = drawn_calls(1)
    first = told(calls).iloc[0]
    total, support = int(calls.training.sum()), int(first["support_a"])
    assert (first["atom_a"], first["atom_b"]) == (calls.atom(FIRST), calls.atom(SECOND))
    assert first["together"] == first["support_b"] == support
    assert first["lift"] == pytest.approx(total / support)
    assert first["p_value"] == pytest.approx(hypergeom.pmf(support, total, support, support))


def test_independent_atoms_have_a_lift_of_about_one_and_p_that_hold_their_level():
    calls = drawn_calls(2, calls=4000, atoms=60, planted=False)
    found = told(calls)
    well = found[found["expected"] >= 30]
    assert len(well) > 300
    assert well["lift"].mean() == pytest.approx(1, abs=0.02)
    assert (well["p_value"] < 0.05).mean() == pytest.approx(0.04, abs=0.03)
    assert well["p_value"].mean() == pytest.approx(0.5, abs=0.06)
    assert (found["q_value"] >= 0.05).all()


def test_the_strongest_are_the_most_biased_and_among_the_unsure_the_best_supported():
    table = pd.DataFrame({"atom": [8, 5, 2, 9, 1], "near_end": [0.5, 0, -0.7, 0, 0], "support": [9, 9, 9, 30, 9]})
    assert list(strongest(table, 4)["atom"]) == [2, 8, 9, 1]
    assert list(strongest(table[::-1], 99)["atom"]) == [2, 8, 9, 1, 5]


def test_the_order_of_calls_changes_nothing_nor_do_held_out_calls():
    calls = drawn_calls(3)
    pd.testing.assert_frame_equal(told(calls), told(calls.permuted(4)))
    table = calls.table
    expected = told(calls, table=table)
    calls.codes[~calls.training] = 1
    pd.testing.assert_frame_equal(told(calls, table=table), expected)


def test_equal_pairs_follow_each_other_by_number():
    calls = drawn_calls(5, atoms=6, planted=False)
    calls.codes[:] = calls.codes[:, :1]
    found = told(calls)
    assert set(found["together"]) == {(calls.code(0) > 0).sum()}
    pairs = list(zip(found["atom_a"], found["atom_b"], strict=True))
    assert pairs == [(first, second) for first in range(0, 18, 3) for second in range(first + 3, 18, 3)]


@pytest.mark.parametrize("atoms", [0, 1])
def test_fewer_than_two_atoms_have_no_pairs(atoms):
    calls = drawn_calls(6)
    found = told(calls, table=calls.table[:atoms])
    assert (len(found), list(found)) == (0, COLUMNS)


def test_large_counts_do_not_overflow():
    calls = drawn_calls(7, calls=20)
    many = np.ones((70_000, 2), np.float32)
    many[:100, 0] = many[50:200, 1] = 0
    table = pd.DataFrame({"atom": [0, 3], "near_end": 0.0, "support": (many > 0).sum(axis=0)})
    row = coactivation(csr_matrix(many), calls.features[:2], np.full(70_000, "train"), table, 2).iloc[0]
    assert (row["together"], row["support_a"], row["support_b"]) == (69_800, 69_900, 69_850)
    assert row["expected"] == pytest.approx(69_900 * 69_850 / 70_000)
