"""Groups of pairs, against pandas and t tests by hand."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from consilience.domains.mirna.groups import (
    COMPARISON_COLUMNS,
    COMPARISONS,
    FEWEST,
    OUTCOME_COLUMNS,
    OUTCOMES,
    comparison_rows,
    in_turn,
    outcome_rows,
    outcomes,
)


def test_outcomes_are_named_by_what_was_called():
    labels = np.array([1, 0, 0, 1, 1, 0])
    predicted = np.array([0.9, 0.51, 0.2, 0.5, 0.1, 0.5])
    called = ["pair" if value > 0.5 else "none" for value in predicted]
    names = {(1, "pair"): "true positive", (0, "pair"): "false positive", (0, "none"): "true negative"}
    expected = [names.get(pair, "false negative") for pair in zip(labels.tolist(), called, strict=True)]
    assert outcomes(labels, predicted).tolist() == expected
    assert expected.count("false negative") == 2


def test_outcomes_take_turns_in_the_order_that_is_given():
    outcome = np.random.default_rng(0).choice(OUTCOMES, 30, p=[0.6, 0.1, 0.2, 0.1])
    waiting = {name: list(np.flatnonzero(outcome == name)) for name in OUTCOMES}
    expected = []
    while any(waiting.values()):
        expected += [places.pop(0) for places in waiting.values() if places]
    for count in (0, 1, 5, 17, 30, 99):
        assert in_turn(outcome, count).tolist() == expected[:count]
    assert in_turn(np.array(["true negative"] * 3), 2).tolist() == [0, 1]


@pytest.fixture(scope="module")
def maps():
    random = np.random.default_rng(1)
    maps = random.normal(0.2, 1, size=(24, 10)).astype(np.float32)
    maps[random.random(maps.shape) < 0.3] = 0
    return maps


BRANCHES = np.array(["mirna"] * 4 + ["site"] * 6)


def test_outcome_rows_are_those_of_groupby(maps):
    outcome = np.random.default_rng(2).choice(OUTCOMES[:3], 24)
    rows = outcome_rows(maps, "deeplift", BRANCHES, outcome)
    assert set().union(*rows) == set(OUTCOME_COLUMNS)
    found = pd.DataFrame(rows).set_index(["branch", "outcome"])
    # Nothing is told of an outcome that no pair has.
    assert len(found) == 2 * 3
    assert (found["method"] == "deeplift").all()
    long = pd.DataFrame(maps.astype(float)).assign(outcome=outcome, pair=range(24)).melt(["outcome", "pair"])
    long["branch"] = BRANCHES[long["variable"].astype(int)]
    long["size"] = long["value"].abs()
    sums = long.groupby(["branch", "outcome", "pair"])[["value", "size"]].sum()
    means = sums.groupby(["branch", "outcome"]).mean()
    totals = long.groupby("outcome")["size"].sum()
    for (branch, name), row in found.iterrows():
        assert row["samples"] == (outcome == name).sum()
        assert row["mean_attribution"] == pytest.approx(means.loc[(branch, name), "value"], rel=1e-5)
        assert row["mean_absolute_attribution"] == pytest.approx(means.loc[(branch, name), "size"], rel=1e-5)
        own = long[(long["branch"] == branch) & (long["outcome"] == name)]["size"].sum()
        assert row["share"] == pytest.approx(own / totals[name], rel=1e-5)
    np.testing.assert_allclose(found.groupby("outcome")["share"].sum(), 1, rtol=1e-6)


def test_nothing_has_no_shares(maps):
    rows = outcome_rows(0 * maps, "saliency", BRANCHES, np.array([OUTCOMES[0]] * 24))
    assert [row["mean_attribution"] for row in rows] == [0, 0]
    assert np.isnan([row["share"] for row in rows]).all()


# Comparisons

FEATURES = np.array([f"site:{name}" for name in "abcdefgh"], dtype=object)


def study(random, families=8, pairs=6, difference=0.0):
    """Pairs of families whose levels differ; feature c has more in positives, and some k-mers few families hold."""
    names = np.repeat([f"f{number}" for number in range(families)], pairs)
    labels = np.tile([0, 1], len(names) // 2)
    predicted = np.clip(random.uniform(size=len(names)), 0.01, 0.99)
    maps = random.normal(size=(len(names), 8)) + random.normal(size=(families, 8))[np.repeat(range(families), pairs)]
    maps[:, 2] += difference * labels
    present = random.random(maps.shape) < 0.9
    present[names > f"f{FEWEST - 2}", 5] = False  # in four families alone
    present[:, 6] = names <= f"f{FEWEST - 1}"  # in five
    present[:, 7] = False
    # What a pair does not hold has no attribution that counts.
    return np.where(present, maps, 99.0), present, labels, predicted, names


def benjamini_hochberg(p_values):
    order = np.argsort(p_values)
    found, least = np.empty(len(p_values)), 1.0
    for rank in range(len(p_values), 0, -1):
        least = min(least, p_values[order[rank - 1]] * len(p_values) / rank)
        found[order[rank - 1]] = least
    return found


def test_comparisons_are_t_tests_over_families_by_hand():
    maps, present, labels, predicted, names = study(np.random.default_rng(3), difference=0.8)
    rows = comparison_rows(maps, present, FEATURES, labels, predicted, names)
    assert set().union(*rows) == set(COMPARISON_COLUMNS)
    firsts = {
        "positive less negative": [label == 1 for label in labels],
        "correct less wrong": [(value > 0.5) == (label == 1) for value, label in zip(predicted, labels, strict=True)],
    }
    for comparison, first in firsts.items():
        differences = {feature: [] for feature in range(8)}
        for feature, family in product(range(8), sorted(set(names))):
            groups = {True: [], False: []}
            for row in np.flatnonzero(names == family):
                if present[row, feature]:
                    groups[bool(first[row])].append(maps[row, feature])
            if groups[True] and groups[False]:
                differences[feature].append(np.mean(groups[True]) - np.mean(groups[False]))
        seen = [feature for feature in range(8) if len(differences[feature]) >= FEWEST]
        assert {0, 1, 2, 3, 4} <= set(seen) <= {0, 1, 2, 3, 4, 6}
        assert comparison != COMPARISONS[0] or 6 in seen
        tests = [stats.ttest_1samp(differences[feature], 0) for feature in seen]
        q_values = benjamini_hochberg([test.pvalue for test in tests])
        own = {row["feature"]: row for row in rows if row["comparison"] == comparison}
        assert set(own) == set(FEATURES[seen])
        for feature, test, q_value in zip(seen, tests, q_values, strict=True):
            row = own[FEATURES[feature]]
            assert row["difference"] == pytest.approx(np.mean(differences[feature]))
            assert [row["t"], row["p_value"]] == pytest.approx([test.statistic, test.pvalue])
            assert row["q_value"] == pytest.approx(q_value)
            assert row["families"] == len(differences[feature])


def test_rows_lie_by_comparison_and_p():
    rows = comparison_rows(*reordered(study(np.random.default_rng(0), difference=1.0)))
    assert [COMPARISONS.index(row["comparison"]) for row in rows] == sorted(
        COMPARISONS.index(row["comparison"]) for row in rows
    )
    for name in COMPARISONS:
        p_values = [row["p_value"] for row in rows if row["comparison"] == name]
        assert len(p_values) >= 5
        assert p_values == sorted(p_values)


def reordered(parts, first=None):
    """The arguments of comparison_rows; some k-mers of some pairs may be left."""
    maps, present, labels, predicted, names = parts
    rows = slice(None) if first is None else first
    return maps[rows], present[rows], FEATURES, labels[rows], predicted[rows], names[rows]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_planted_difference_is_found_with_its_sign(sign):
    parts = study(np.random.default_rng(4), families=12, pairs=10, difference=2.5 * sign)
    rows = [row for row in comparison_rows(*reordered(parts)) if row["comparison"] == COMPARISONS[0]]
    assert rows[0]["feature"] == "site:c"
    assert rows[0]["q_value"] < 0.001
    assert np.sign(rows[0]["difference"]) == np.sign(rows[0]["t"]) == sign
    assert all(row["q_value"] > 0.05 for row in rows[1:])


def test_levels_of_families_are_no_differences():
    """Pairs of two kinds of families differ by 10, and within families by nothing: pooled, all would be significant."""
    random = np.random.default_rng(5)
    names = np.repeat([f"f{number:02d}" for number in range(10)], 10)
    labels = np.array([int(row % 10 < (9 if row < 50 else 1)) for row in range(100)])
    maps = random.normal(size=(100, 8)) + 10 * (np.arange(100) < 50)[:, None]
    rows = comparison_rows(maps, np.ones(maps.shape, bool), FEATURES, labels, random.uniform(size=100), names)
    rows = [row for row in rows if row["comparison"] == COMPARISONS[0]]
    pooled = stats.ttest_ind(maps[labels == 1], maps[labels == 0]).pvalue
    assert (pooled < 1e-6).all()
    assert min(row["q_value"] for row in rows) > 0.05
    assert max(abs(row["difference"]) for row in rows) < 2


def test_families_without_both_groups_are_left_out():
    maps, present, labels, predicted, names = parts = study(np.random.default_rng(6))
    before = [row for row in comparison_rows(*reordered(parts)) if row["comparison"] == COMPARISONS[0]]
    single = np.full((5, 8), 50.0)
    for label in (0, 1):
        given = (
            np.vstack([maps, single]), np.vstack([present, single > 0]), FEATURES, np.append(labels, [label] * 5),
            np.append(predicted, [0.7] * 5), np.append(names, ["alone"] * 5),
        )  # fmt: skip
        rows = [row for row in comparison_rows(*given) if row["comparison"] == COMPARISONS[0]]
        pd.testing.assert_frame_equal(pd.DataFrame(rows), pd.DataFrame(before), rtol=1e-9)
        assert max(row["families"] for row in rows) == 8


def test_too_few_families_are_not_tested():
    parts = study(np.random.default_rng(7), families=FEWEST)
    rows = comparison_rows(*reordered(parts))
    assert {row["families"] for row in rows} == {FEWEST}
    fewer = parts[4] != "f0"
    assert comparison_rows(*reordered(parts, fewer)) == []
    # One comparison may be there without the other: where every call is right, none is wrong.
    maps, present, labels, _, names = parts
    rows = comparison_rows(maps, present, FEATURES, labels, labels.astype(float), names)
    assert {row["comparison"] for row in rows} == {"positive less negative"}


def test_where_a_kmer_stands_is_no_difference():
    """Attribution 0.1 wherever the k-mer is, which is in 60 % of positives and 20 % of negatives."""
    random = np.random.default_rng(0)
    names = np.repeat([f"f{number:02d}" for number in range(20)], 10)
    labels = np.tile([0, 1], 100)
    present = np.column_stack([random.random(200) < np.where(labels == 1, 0.6, 0.2), np.ones(200, bool)])
    maps = np.column_stack([present[:, 0] * 0.1, random.normal(size=200)]).astype(np.float32)
    rows = comparison_rows(maps, present, FEATURES[:2], labels, random.random(200), names)
    everywhere = stats.ttest_ind(maps[labels == 1, 0], maps[labels == 0, 0]).pvalue
    assert everywhere < 1e-4
    own = [row for row in rows if row["feature"] == FEATURES[0]]
    assert own
    for row in own:
        assert (row["difference"], row["p_value"], row["q_value"]) == (0, 1, 1)
        assert FEWEST <= row["families"] <= 20


def test_a_kmer_that_one_group_alone_holds_is_not_tested():
    maps, present, labels, predicted, names = study(np.random.default_rng(8), difference=5.0)
    present[:, 2] &= labels == 1
    rows = comparison_rows(maps, present, FEATURES, labels, predicted, names)
    assert FEATURES[2] not in {row["feature"] for row in rows if row["comparison"] == COMPARISONS[0]}
    assert comparison_rows(maps, 0 * present > 0, FEATURES, labels, predicted, names) == []
