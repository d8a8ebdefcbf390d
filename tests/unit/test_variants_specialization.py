"""Which types an atom is on in: held against loops over calls and against scipy's tests of single tables."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import false_discovery_control, fisher_exact, hypergeom, kstest

from consilience.domains.variants.enrichment import training_codes
from consilience.domains.variants.specialization import specialization, types_in_order
from consilience.errors import ConsilienceError
from tests.unit.variants_atoms_examples import INVERSIONS, drawn_calls

COLUMNS = [
    "atom", "feature", "type", "on", "support", "share", "base_rate", "lift", "p_value", "q_value", "direction"
]  # fmt: skip


def told(calls, table=None):
    codes = csr_matrix(calls.codes)
    table = calls.table if table is None else table
    return specialization(codes, calls.features, calls.samples, calls.roles, table)


def test_every_row_is_what_a_loop_over_calls_counts():
    calls = drawn_calls(0)
    found, types = told(calls), calls.samples["type"].to_numpy()[calls.training]
    assert list(found) == COLUMNS
    assert len(found) == len(calls.table) * len(set(types))
    for row in found.itertuples():
        on = [kind for kind, code in zip(types, calls.code(row.atom), strict=True) if code > 0]
        own, of_type, total = on.count(row.type), list(types).count(row.type), len(types)
        assert (row.on, row.support, row.feature) == (own, len(on), f"atom {row.atom}")
        assert row.share == pytest.approx(own / len(on))
        assert row.base_rate == pytest.approx(of_type / total)
        assert row.lift == pytest.approx(own * total / (len(on) * of_type))
        expected = np.sign(own * total - len(on) * of_type)
        assert row.direction == {1: "enriched", -1: "depleted", 0: "none"}[expected]


def test_p_is_twice_the_smaller_tail_of_fishers_one_sided_tests():
    calls = drawn_calls(1)
    found, total = told(calls), calls.training.sum()
    for row in found.itertuples():
        of_type = round(row.base_rate * total)
        square = [[row.on, row.support - row.on], [of_type - row.on, total - of_type - row.support + row.on]]
        tails = [fisher_exact(square, alternative=side).pvalue for side in ("greater", "less")]
        assert row.p_value == pytest.approx(min(1, 2 * min(tails)), rel=1e-9)
    np.testing.assert_allclose(found["q_value"], false_discovery_control(found["p_value"]))


def test_an_atom_that_is_on_in_inversions_alone_comes_first():
    calls = drawn_calls(2)
    found = told(calls)
    first = found.iloc[0]
    total, inversions = calls.training.sum(), (calls.samples["type"] == "INV").to_numpy()[calls.training].sum()
    assert (first["atom"], first["type"], first["direction"]) == (calls.atom(INVERSIONS), "INV", "enriched")
    assert first["share"] == 1
    assert first["lift"] == pytest.approx(total / inversions)
    assert first["p_value"] == pytest.approx(2 * hypergeom.pmf(first["support"], total, inversions, first["support"]))
    others = found[(found["atom"] == calls.atom(INVERSIONS)) & (found["type"] != "INV")]
    assert (others["direction"] == "depleted").all()
    assert (others["share"] == 0).all()


def test_atoms_that_know_nothing_of_types_are_seldom_called_special():
    calls = drawn_calls(3, calls=3000, atoms=150, planted=False)
    found = told(calls)
    assert (found["q_value"] < 0.05).mean() < 0.005
    assert 0.01 < (found["p_value"] < 0.05).mean() < 0.07  # counts are whole: p is a little too large
    supported = found[found["support"] >= 400]
    assert np.average(supported["lift"], weights=supported["base_rate"]) == pytest.approx(1, abs=1e-9)
    assert np.abs(supported["lift"] - 1).mean() < 0.15
    assert kstest(found.loc[found["support"] >= 400, "p_value"], "uniform").statistic < 0.2


def test_the_order_of_calls_changes_nothing():
    calls = drawn_calls(4)
    pd.testing.assert_frame_equal(told(calls), told(calls.permuted(5)))


def test_equal_atoms_follow_each_other_by_number_and_type():
    calls = drawn_calls(6)
    calls.codes[:] = calls.codes[:, :1]
    found = told(calls)
    keys = ["p_value", "share", "atom"]
    assert found[keys].equals(found.sort_values(keys, ascending=[True, False, True])[keys])
    assert (found.groupby("type", sort=False)["atom"].apply(lambda one: one.is_monotonic_increasing)).all()


def test_where_p_is_too_small_for_a_number_the_larger_difference_comes_first():
    inversions = np.arange(8000) < 4000
    codes = np.stack([np.arange(8000) < 4400, inversions, np.arange(8000) < 4200], axis=1).astype(np.float32)
    samples = pd.DataFrame({"type": np.where(inversions, "INV", "DEL")})
    features = pd.DataFrame({"name": ["a", "b", "c"], "atom": [0, 3, 6]})
    table = pd.DataFrame({"atom": [0, 3, 6], "feature": ["a", "b", "c"], "support": [4400, 4000, 4200]})
    found = specialization(csr_matrix(codes), features, samples, np.full(8000, "train"), table)
    assert (found["p_value"] == 0).all()
    assert list(found["atom"]) == [3, 3, 6, 6, 0, 0]
    assert list(found["type"]) == ["DEL", "INV"] * 3


def test_known_types_keep_their_order_and_others_follow_by_name():
    assert types_in_order(np.array(["CNV", "BND", "ALU", "INS"])) == ["INS", "BND", "ALU", "CNV"]


def test_a_type_of_held_out_calls_alone_is_not_told_of():
    calls = drawn_calls(7)
    calls.samples.loc[~calls.training, "type"] = "MEI"
    assert "MEI" not in set(told(calls)["type"])


def test_no_atom_leaves_an_empty_table_with_the_same_columns():
    calls = drawn_calls(8)
    found = told(calls, calls.table[:0])
    assert (len(found), list(found)) == (0, COLUMNS)


def test_a_bias_table_of_other_codes_is_refused():
    calls = drawn_calls(9)
    table, codes = calls.table, csr_matrix(calls.codes)
    strange = table.assign(atom=table["atom"].replace(calls.atom(2), 7))
    with pytest.raises(ConsilienceError, match="bias table: atom 7 is none of the 24 encoded ones"):
        training_codes(codes, calls.features, calls.roles, strange)
    place = int(np.argmax(table["atom"] == calls.atom(1)))
    table.loc[place, "support"] += 1
    more = table["support"][place]
    with pytest.raises(
        ConsilienceError, match=f"bias table: atom 3: support {more}; expected {more - 1}, the training"
    ):
        training_codes(codes, calls.features, calls.roles, table)
