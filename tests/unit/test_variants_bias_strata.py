"""What else tells true calls from false ones is taken for no bias of an atom, in training or on held-out calls."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control
from statsmodels.stats.contingency_tables import StratifiedTable

from consilience.domains.variants.bias import chi2_list, landscape, strata_of, top_biased
from tests.unit.test_variants_bias import calls_of, planted, table_of

COLUMN = 30
ATOM = 91  # the number of that column's atom


def confounded(by, within=0.0, seed=1, calls=6000):
    """Calls of which those where `by(samples)` is true are mostly true calls and have one atom on far more often.

    `within` is the difference of the atom's share between true and false calls that are alike otherwise.
    """
    codes, _, samples, roles = calls_of(seed, calls=calls)
    random, kind = np.random.default_rng(seed + 100), by(samples)
    labels = (random.random(calls) < np.where(kind, 0.85, 0.3)).astype(int)
    codes[:, COLUMN] = random.random(calls) < np.where(kind, 0.7, 0.25) + within * (labels - 0.5)
    return codes, labels, samples, roles


def with_sequence(samples):
    return samples["has_sequence"].to_numpy(bool)


def row_of(calls):
    return table_of(*calls).set_index("atom").loc[ATOM]


def test_strata_are_type_size_dataset_and_consensus():
    samples = pd.DataFrame(
        [("DEL", 60, "a", 1), ("DEL", 99, "a", 1), ("DEL", 100, "a", 1), ("DEL", 60, "b", 1), ("INS", 60, "a", 1),
         ("BND", -1, "a", 1), ("DEL", 60, "a", 0)],
        columns=["type", "size", "dataset", "has_sequence"],
    )  # fmt: skip
    strata = strata_of(samples)
    assert strata[0] == strata[1] and len(set(strata)) == 6 == strata.max() + 1
    # Embeddings have no sequence: without both kinds, strata are the others'.
    assert len(set(strata_of(samples.assign(has_sequence=0)))) == 5


def test_what_a_consensus_sequence_tells_is_confirmed_but_not_within_strata():
    row = row_of(confounded(with_sequence))
    assert row["significant"] and row["confirmed"] and row["odds"] > 2
    assert row["cmh_q"] > 0.05 and np.isnan(row["test_cmh_q"]) and not row["confirmed_within"]


def test_a_bias_of_its_own_is_confirmed_within_strata_too():
    row = row_of(confounded(with_sequence, within=0.25))
    assert row["confirmed"] and row["confirmed_within"] and not row["reversed"]


def test_tests_within_strata_of_the_test_role_are_those_of_its_calls():
    codes, labels, samples, roles = confounded(with_sequence, within=0.2, calls=1500)
    table = table_of(codes, labels, samples, roles)
    test = roles == "test"
    keys = ["type", "size", "dataset", "has_sequence"]  # sizes drawn are of one bin each
    strata = samples[test].groupby(keys).ngroup().to_numpy()
    for row in table.iloc[::4].to_dict("records"):
        on, true = codes[test, (row["atom"] - 1) // 3] > 0, labels[test] == 1
        cells = [
            [[(on & true & own).sum(), (on & ~true & own).sum()], [(~on & true & own).sum(), (~on & ~true & own).sum()]]
            for own in (strata == stratum for stratum in range(strata.max() + 1))
        ]
        cells = [cell for cell in np.array(cells) if cell.sum(axis=0).all() and cell.sum(axis=1).all()]
        if not sum(cell[0][1] * cell[1][0] for cell in cells):
            assert row["test_cmh_odds"] == np.inf
            continue
        theirs = StratifiedTable(np.array(cells).transpose(1, 2, 0).astype(float))
        assert row["test_cmh_odds"] == pytest.approx(theirs.oddsratio_pooled, rel=1e-9, abs=0)
        assert row["test_cmh_p"] == pytest.approx(theirs.test_null_odds(correction=False).pvalue, rel=1e-8, abs=0)
    asked = table["cmh_q"] < 0.05
    assert 0 < asked.sum() < len(table) and table.loc[~asked, "test_cmh_q"].isna().all()
    wanted = false_discovery_control(table.loc[asked, "test_cmh_p"])
    assert table.loc[asked, "test_cmh_q"].to_numpy() == pytest.approx(wanted, rel=1e-12, abs=0)


def test_a_bias_that_turns_over_in_the_test_role_is_not_confirmed_within_strata():
    codes, labels, samples, roles = planted()
    table = table_of(codes, np.where(roles == "test", 1 - labels, labels), samples, roles)
    found = table.set_index("atom").loc[[31, 61]]
    assert (found["test_cmh_q"] < 0.05).all() and not found["confirmed_within"].any()


@pytest.mark.parametrize(("exchanged", "pooled"), [(False, "positive"), (True, "negative")])
def test_an_atom_that_strata_turn_over_is_told_and_counted_where_strata_put_it(exchanged, pooled):
    codes, labels, samples, roles = confounded(with_sequence, within=-0.12)
    table = table_of(codes, 1 - labels if exchanged else labels, samples, roles)
    row = table.set_index("atom").loc[ATOM]
    assert row["significant"] and row["direction"] == pooled and row["confirmed_within"] and row["reversed"]
    assert (row["odds"] > 1) != (row["cmh_odds"] > 1)
    assert table["reversed"].sum() == 1
    found = landscape(table, 40).set_index("set")
    for name, chosen in (("cmh_significant", table["cmh_q"] < 0.05), ("confirmed_within", table["confirmed_within"])):
        above = (table.loc[chosen, "cmh_odds"] > 1).sum()
        assert found.loc[name, ["atoms", "above_1", "below_1"]].tolist() == [chosen.sum(), above, chosen.sum() - above]
    both = set(table.loc[table["significant"], "atom"]) & set(table.loc[table["cmh_q"] < 0.05, "atom"])
    above = table["atom"].isin(both) & (table["cmh_odds"] > 1)
    assert found.loc["significant_within", ["atoms", "above_1"]].tolist() == [len(both), above.sum()]
    assert found.loc["significant", "above_1"] == (table.loc[table["significant"], "odds"] > 1).sum()


def test_an_atom_that_only_strata_tell_of_is_not_counted_among_those_significant_within_strata_too():
    table = table_of(*confounded(with_sequence, within=0.25))
    assert table.set_index("atom").loc[ATOM, "cmh_q"] < 0.05
    found = landscape(table.assign(significant=table["significant"] & (table["atom"] != ATOM)), 40).set_index("set")
    assert found.loc["cmh_significant", "atoms"] == found.loc["significant_within", "atoms"] + 1


def test_a_ratio_within_strata_that_proves_nothing_turns_nothing_over():
    tables = [table_of(*confounded(with_sequence, within=-0.01, seed=seed, calls=1500)) for seed in range(3)]
    found = pd.concat(tables)
    other_side = (found["odds"] > 1) != (found["cmh_odds"] > 1)
    assert other_side.any() and not found.loc[found["cmh_q"] >= 0.05, "reversed"].any()


def test_the_list_of_the_overlap_is_of_all_calls_and_the_first_atoms_tell_what_strata_leave():
    table = table_of(*confounded(with_sequence))
    assert f"atom {ATOM}" in chi2_list(table, 5)["feature"].tolist()
    (row,) = [row for row in top_biased(table)["top_tp_biased"] if row["atom"] == ATOM]
    assert row["confirmed"] is True and row["confirmed_within"] is False
    assert row["cmh_q"] == table.set_index("atom").loc[ATOM, "cmh_q"]
