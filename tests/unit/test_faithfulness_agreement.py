from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from consilience import metrics
from consilience.faithfulness import agreement as module
from consilience.faithfulness.agreement import agreement, attributed, chance_jaccard, mean_over_pairs
from consilience.faithfulness.ranks import correlations, correlations_where_held, top, unit_ranks
from consilience.faithfulness.resampling import Resampling

GROUPS = np.array(list("ccabdabdeeeea"))
LENGTH = 3


def resampled_rows(resamples, seed):
    """The rows of every resample, by a plain loop over the groups drawn."""
    names = sorted(set(GROUPS))
    (counts,) = metrics.draws(len(names), len(GROUPS), resamples, seed)
    for column in counts.T:
        yield np.concatenate(
            [np.tile(np.flatnonzero(name == GROUPS), int(n)) for name, n in zip(names, column, strict=True)]
        )


@pytest.mark.parametrize("ties", [False, True])
def test_products_of_ranks_are_scipys_correlations(ties):
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 4, 5, 30))
    if ties:
        first, second = np.round(first, 0), np.maximum(second, 0)
    found = correlations(unit_ranks(first), unit_ranks(second))
    for place in np.ndindex(4, 5):
        assert found[place] == pytest.approx(stats.spearmanr(first[place], second[place])[0], abs=1e-12)


def test_rows_with_and_without_ties_go_together():
    values = np.array([[3.0, 1.0, 2.0], [5.0, 5.0, 1.0], [2.0, 2.0, 2.0]])
    ranks = unit_ranks(values)
    expected = np.stack([stats.rankdata(row) for row in values[:2]]) - 2
    np.testing.assert_allclose(ranks[:2], expected / np.linalg.norm(expected, axis=1, keepdims=True))
    assert np.isnan(ranks[2]).all()


def held_correlations(first, second):
    """Ranks as they are kept: the second in single precision."""
    kept = unit_ranks(second).astype(np.float32)
    return correlations_where_held(unit_ranks(first), first != 0, kept, second != 0)


def sizes(share, shape=(2, 4, 5, 400), seed=0):
    """Two unrelated arrays of sizes; a `share` of features is 0 in a sample, for both and all members alike."""
    random = np.random.default_rng(seed)
    absent = random.random(shape[-2:]) < share
    return np.where(absent, 0, random.gamma(1, size=shape))


def test_features_of_which_both_say_nothing_do_not_make_rows_agree():
    first, second = sizes(0.97, (2, 4, 5, 20_000))
    assert correlations(unit_ranks(first), unit_ranks(second)).min() > 0.9
    found = held_correlations(first, second)
    assert np.abs(found).mean() < 0.05
    for place in np.ndindex(4, 5):
        held = (first[place] > 0) | (second[place] > 0)
        expected = stats.spearmanr(first[place][held], second[place][held])[0]
        assert found[place] == pytest.approx(expected, abs=1e-12)


def test_rows_that_hold_every_feature_are_correlated_as_they_are():
    first, second = sizes(0.0)
    first[0, 0] = np.round(first[0, 0]) + 1
    found = correlations_where_held(unit_ranks(first), first != 0, unit_ranks(second), second != 0)
    np.testing.assert_array_equal(found, correlations(unit_ranks(first), unit_ranks(second)))
    for place in np.ndindex(4, 5):
        assert found[place] == pytest.approx(stats.spearmanr(first[place], second[place])[0], abs=1e-12)


def test_rows_of_every_kind_go_together_and_shapes_broadcast():
    random = np.random.default_rng(2)
    first = np.floor(random.gamma(1, 2, size=(3, 6, 12)))
    second = np.where(random.random((6, 12)) < 0.6, 0, np.ceil(random.gamma(1, 2, size=(6, 12))))
    first[0, 0] += 1
    first[1, 1] = 0
    second[2], first[2, 2] = 5, 0
    second[3], first[:, 3] = 0, 0
    second[4] += 1
    second[3, :2], first[:, 3, 1] = [1, 2], 4
    found = correlations_where_held(unit_ranks(first), first != 0, unit_ranks(second), second != 0)
    kinds = set()
    for place in np.ndindex(3, 6):
        one, other = first[place], second[place[1]]
        held = [f for f in range(12) if one[f] != 0 or other[f] != 0]
        one, other = one[held], other[held]
        if len(held) < 3 or len(set(one)) == 1 or len(set(other)) == 1:
            kinds.add("not defined")
            assert np.isnan(found[place])
        else:
            kinds.add(len(held) == 12)
            assert found[place] == pytest.approx(stats.spearmanr(one, other)[0], abs=1e-12)
    assert kinds == {"not defined", True, False}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0]),
        ([0, 0, 0, 0], [1, 2, 3, 0]),
        ([1, 2, 0, 0], [2, 1, 0, 0]),
        ([2, 2, 2, 0], [1, 2, 3, 0]),
        ([2, 2, 2, 2], [1, 2, 3, 0]),
    ],
    ids=["nothing", "one says nothing", "two features left", "constant where held", "constant"],
)
def test_what_has_no_order_has_no_correlation(first, second):
    first, second = np.array([first], float), np.array([second], float)
    assert np.isnan(held_correlations(first, second)).all()
    assert np.isnan(held_correlations(second, first)).all()


def test_the_top_are_the_largest_and_of_equal_ones_the_first():
    random = np.random.default_rng(0)
    values = random.integers(0, 4, size=(50, 9)).astype(float)
    for count in (1, 3, 9):
        found = top(values, count)
        for row, chosen in zip(values, found, strict=True):
            assert sorted(np.flatnonzero(chosen)) == sorted(np.argsort(-row, kind="stable")[:count])


def test_resamples_take_whole_groups_and_the_first_is_the_data():
    values = np.random.default_rng(1).normal(size=(len(GROUPS), 2))
    resampling = Resampling.of(GROUPS, 20, 7)
    found = resampling.sums(values)
    np.testing.assert_allclose(found[0], values.sum(axis=0))
    np.testing.assert_allclose(found[1:], [values[rows].sum(axis=0) for rows in resampled_rows(20, 7)])
    assert resampling.groups == 5


def test_means_leave_out_what_is_not_defined():
    values = np.random.default_rng(1).normal(size=len(GROUPS))
    values[[2, 4]] = np.nan
    found = Resampling.of(GROUPS, 20, 7).means(values)
    np.testing.assert_allclose(found[1:], [np.nanmean(values[rows]) for rows in resampled_rows(20, 7)])
    assert np.isnan(Resampling.of(GROUPS, 5, 7).means(np.full(len(GROUPS), np.nan))).all()


def test_intervals_need_three_groups():
    values = np.arange(6.0)
    few = Resampling.of(list("aabbab"), 50, 0)
    assert len(few.counts) == 1
    assert few.interval(few.means(values)) == {"value": 2.5, "low": None, "high": None}
    assert few.spread_interval(few.means(values), -1, 1) == {"value": 2.5, "low": None, "high": None}
    many = Resampling.of(list("aabbcd"), 50, 0)
    found = many.interval(many.means(values))
    low, high = np.percentile(many.means(values)[1:], metrics.percentiles(4))
    assert (found["low"], found["high"]) == (low, high)


def test_the_spread_of_resamples_lies_around_the_value_and_within_its_range():
    resampling = Resampling.of(GROUPS, 100, 0)
    values = np.append(0.9, np.random.default_rng(0).normal(0.5, 0.05, 100))
    found = resampling.spread_interval(values, -1, 1)
    half = stats.t.ppf(0.975, 4) * values[1:].std(ddof=1) * np.sqrt(5 / 4)
    assert found["value"] == 0.9
    assert found["low"] == pytest.approx(0.9 - half)
    assert found["high"] == 1.0


def absolute(lines=4, targets=2, features=12, seed=0):
    """Absolute attributions (lines, targets, samples, features) that agree in part, and that tie in part.

    They are multiples of 1/8, so that sums are exact and ties stay ties.
    """
    random = np.random.default_rng(seed)
    shared = random.gamma(1, size=(1, targets, 1, features))
    return np.round(8 * (shared + random.gamma(1, size=(lines, targets, len(GROUPS), features)))) / 8


def by_loop(values, first, second, rows):
    spearman, jaccard = [], []
    for target in range(values.shape[1]):
        one, two = (values[line, target][rows].mean(axis=0) for line in (first, second))
        spearman.append(stats.spearmanr(one, two)[0])
        lists = [set(np.argsort(-mean, kind="stable")[:LENGTH]) for mean in (one, two)]
        jaccard.append(len(lists[0] & lists[1]) / len(lists[0] | lists[1]))
    return np.mean(spearman), np.mean(jaccard)


def sums(values, resampling):
    return np.stack([np.stack([resampling.by_group(target) for target in line]) for line in values])


def test_agreement_is_that_of_a_plain_loop_over_resampled_rows():
    resampling, values = Resampling.of(GROUPS, 15, 3), absolute()
    found = agreement(sums(values, resampling), resampling, LENGTH)
    for rows, spearman, jaccard in zip([np.arange(len(GROUPS)), *resampled_rows(15, 3)], *found, strict=True):
        for first, second in combinations(range(4), 2):
            expected = by_loop(values, first, second, rows)
            assert (spearman[first, second], jaccard[first, second]) == pytest.approx(expected, abs=1e-9)
            assert spearman[second, first] == spearman[first, second]
    np.testing.assert_allclose(np.diagonal(found[1], axis1=1, axis2=2), 1)


def test_blocks_bound_memory_alone(monkeypatch):
    resampling, values = Resampling.of(GROUPS, 15, 3), absolute()
    expected = agreement(sums(values, resampling), resampling, LENGTH)
    monkeypatch.setattr(module, "BLOCK_NUMBERS", 1)
    found = agreement(sums(values, resampling), resampling, LENGTH)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_line_without_attribution_has_no_correlation():
    resampling, values = Resampling.of(GROUPS, 5, 3), absolute()
    values[1] = 0
    spearman, _ = agreement(sums(values, resampling), resampling, LENGTH)
    assert np.isnan(spearman[:, 0, 1]).all()
    assert np.isfinite(spearman[:, 0, 2]).all()


def test_features_that_nobody_attributes_anything_to_change_nothing():
    resampling, values = Resampling.of(GROUPS, 15, 3), absolute()
    values[:2, :, :, 3] = 0
    found = sums(values, resampling)
    wider = np.concatenate([np.zeros((*found.shape[:-1], 400)), found, np.zeros((*found.shape[:-1], 5))], axis=-1)
    assert attributed(wider).sum() == attributed(found).sum() == 12
    np.testing.assert_array_equal(agreement(wider, resampling, LENGTH), agreement(found, resampling, LENGTH))


def test_sparse_lines_that_have_nothing_in_common_do_not_agree():
    resampling = Resampling.of(GROUPS, 0, 3)
    values = np.zeros((2, 1, 5, 10_000))
    values[..., :300] = np.random.default_rng(0).gamma(1, size=(2, 1, 5, 300))
    assert stats.spearmanr(*values.sum(axis=(1, 2)))[0] > 0.9
    assert abs(agreement(values, resampling, LENGTH)[0][0, 0, 1]) < 0.2


def test_lists_are_no_longer_than_the_features_left():
    resampling, values = Resampling.of(GROUPS, 5, 3), absolute()
    values[..., 2:] = 0
    _, jaccard = agreement(sums(values, resampling), resampling, LENGTH)
    np.testing.assert_allclose(jaccard, 1)
    assert chance_jaccard(2, LENGTH) == pytest.approx(1)


def test_without_any_attribution_nothing_is_measured():
    resampling = Resampling.of(GROUPS, 5, 3)
    assert np.isnan(agreement(np.zeros((3, 2, 5, 12)), resampling, LENGTH)).all()
    assert np.isnan(chance_jaccard(0, LENGTH))


def test_the_mean_over_pairs_leaves_the_diagonal_out():
    measures = np.array([[[1, 0.2, 0.4], [0.2, 1, 0.9], [0.4, 0.9, 1]]])
    assert mean_over_pairs(measures) == pytest.approx([0.5])


@pytest.mark.parametrize(("features", "length"), [(6, 2), (5, 4), (7, 1), (4, 4)])
def test_the_chance_of_shared_lists_is_that_of_all_pairs_of_lists(features, length):
    lists = [set(one) for one in combinations(range(features), length)]
    expected = np.mean([len(one & two) / len(one | two) for one in lists for two in lists])
    assert chance_jaccard(features, length) == pytest.approx(expected, abs=1e-12)


def test_the_chance_of_long_lists_is_exact_too():
    assert chance_jaccard(20_000, 20_000) == pytest.approx(1)
    random = np.random.default_rng(0)
    shared = random.hypergeometric(300, 700, 300, size=20_000)
    simulated = shared / (600 - shared)
    error = simulated.std() / np.sqrt(len(simulated))
    assert chance_jaccard(1000, 300) == pytest.approx(simulated.mean(), abs=5 * error)
