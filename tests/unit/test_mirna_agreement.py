"""How far methods agree on the k-mers of a pair, against scipy."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from consilience.domains.mirna.agreement import AGREEMENT_COLUMNS, METRICS, agreement_rows, chances, correlations
from consilience.faithfulness.resampling import Resampling

METHODS, SAMPLES, FEATURES = 4, 6, 128
SIDES = np.repeat(["mirna", "site"], FEATURES // 2)


@pytest.fixture(scope="module")
def present():
    random = np.random.default_rng(0)
    present = random.random((SAMPLES, FEATURES)) < 0.3
    present[5] = False
    present[5, [3, 70]] = True
    return present


@pytest.fixture(scope="module")
def maps(present):
    random = np.random.default_rng(1)
    maps = random.normal(size=(METHODS, SAMPLES, FEATURES)).astype(np.float32)
    maps[1] = -0.8 * maps[0] + 0.4 * maps[1]
    maps[2] = np.round(maps[2])  # ties
    maps[3, 2] = np.where(present[2], np.float32(0.1), maps[3, 2])  # constant on the pair's own k-mers
    return maps


def test_correlations_are_those_of_scipy_on_present_kmers(maps, present):
    found = correlations(maps, present)
    assert found.shape == (2, SAMPLES, METHODS, METHODS)
    for sample in range(SAMPLES):
        own = maps[:, sample, present[sample]].astype(float)
        for first, second in np.ndindex(METHODS, METHODS):
            pearson, spearman = found[:, sample, first, second]
            if (sample == 2 and 3 in (first, second)) or any(len(set(own[row])) == 1 for row in (first, second)):
                assert np.isnan([pearson, spearman]).all()
            else:
                assert pearson == pytest.approx(stats.pearsonr(own[first], own[second]).statistic)
                assert spearman == pytest.approx(stats.spearmanr(own[first], own[second]).statistic)
    assert np.isnan(found[:, 2, 3, 3]).all()
    assert np.nanmax(np.abs(found)) <= 1


def test_absent_kmers_do_not_matter(maps, present):
    """Zeros elsewhere, or anything else, change nothing; on all features zeros would agree."""
    found = correlations(maps, present)
    sparse = np.where(present, maps, 0)
    np.testing.assert_array_equal(correlations(sparse, present), found)
    wild = np.where(present, maps, np.random.default_rng(2).normal(0, 50, maps.shape).astype(np.float32))
    np.testing.assert_array_equal(correlations(wild, present), found)
    everywhere = correlations(sparse, np.ones_like(present))
    assert np.abs(everywhere[1] - found[1])[:5, 0, 2].max() > 0.05


def test_a_pair_of_one_kmer_has_no_correlation():
    present = np.zeros((1, 8), bool)
    present[0, 2] = True
    assert np.isnan(correlations(np.ones((2, 1, 8)), present)).all()


@pytest.fixture(scope="module")
def resampling():
    return Resampling.of(["a", "a", "b", "c", "d", "d"], 100, 0)


def test_rows_are_means_over_pairs(maps, present, resampling):
    names = ["one", "two", "three", "four"]
    rows = agreement_rows(maps, names, [True] * 4, present, SIDES, resampling, 0)
    assert set().union(*rows) == set(AGREEMENT_COLUMNS)
    table = pd.DataFrame(rows).set_index(["metric", "method", "other"])
    assert list(table.index) == [(metric, *pair) for pair in combinations(names, 2) for metric in METRICS]
    tests = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}
    for (metric, one, other), row in table.iterrows():
        values = []
        for sample in range(SAMPLES):
            own = [maps[names.index(name), sample, present[sample]].astype(float) for name in (one, other)]
            if all(len(set(line)) > 1 for line in own):
                values.append(tests[metric](*own).statistic)
        assert row["value"] == pytest.approx(np.mean(values))
        assert row["low"] <= row["value"] <= row["high"]
        assert row["samples"] == SAMPLES
        assert row["signed"]
    assert table.loc[("pearson", "one", "two"), "value"] < -0.7


def test_methods_without_a_sign_are_compared_by_size(maps, present, resampling):
    names, signed = ["one", "two", "three", "four"], [True, True, False, False]
    table = pd.DataFrame(agreement_rows(maps, names, signed, present, SIDES, resampling, 0)).set_index(
        ["metric", "method", "other"]
    )
    with_sign = correlations(maps, present)[0]
    for one, other in combinations(range(4), 2):
        row = table.loc[("pearson", names[one], names[other])]
        assert row["signed"] == (one < 2 and other < 2)
        if not row["signed"]:
            values = []
            for sample in range(SAMPLES):
                own = [np.abs(maps[place, sample, present[sample]].astype(float)) for place in (one, other)]
                if all(len(set(line)) > 1 for line in own):
                    values.append(stats.pearsonr(*own).statistic)
            assert row["value"] == pytest.approx(np.mean(values))
            assert abs(row["value"] - np.nanmean(with_sign[:, one, other])) > 0.01
    # A method and its negative: opposite with signs, the same by size.
    turned = np.stack([maps[0], -maps[0]])
    for signed, value in ((True, -1), (False, 1)):
        rows = agreement_rows(turned, ["one", "two"], [signed, True], present, SIDES, resampling, 0)
        assert [row["value"] for row in rows] == pytest.approx([value, value])


def test_one_method_agrees_with_nobody(maps, present, resampling):
    assert agreement_rows(maps[:1], ["one"], [True], present, SIDES, resampling, 0) == []


@pytest.mark.parametrize("count", [3, 7, 41])
def test_constants_are_constants_whatever_their_mean_rounds_to(count):
    """The mean of equal values is another number in the last digit: what is left of them then is no direction."""
    values = np.stack([np.full(count, 0.1), np.random.default_rng(0).normal(size=count), np.full(count, -1 / 3)])[
        :, None
    ]
    found = correlations(values, np.ones((1, count), bool))
    assert np.isnan(found[:, 0, 0]).all()
    assert np.isnan(found[:, 0, 2]).all()
    assert found[:, 0, 1, 1] == pytest.approx([1, 1])


# Chance


def test_chance_is_the_mean_over_permutations_within_branches():
    """One permutation a pair is one draw: over many, the mean is that of all, in which what branches have is kept."""
    random = np.random.default_rng(0)
    values = random.normal(size=(2, 1, 40)) + np.repeat([0, 2], 20)
    branches, present = np.repeat(["mirna", "site"], 20), np.ones((1, 40), bool)
    found = np.array([chances(values, present, branches, seed)[:, 0, 0, 1] for seed in range(400)])
    by_hand = []
    for _ in range(400):
        one, other = (np.concatenate([random.permutation(part) for part in np.split(row, 2)]) for row in values[:, 0])
        by_hand.append([stats.pearsonr(one, other).statistic, stats.spearmanr(one, other).statistic])
    error = np.std(by_hand, axis=0) / np.sqrt(200)
    assert (np.abs(found.mean(axis=0) - np.mean(by_hand, axis=0)) < 4 * error).all()
    assert (found.mean(axis=0) > 0.3).all()
    # Between branches of one level, nothing is left.
    level = [chances(random.normal(size=(2, 1, 40)), present, branches, seed)[0, 0, 0, 1] for seed in range(400)]
    assert abs(np.mean(level)) < 4 * np.std(level) / 20


def test_what_is_permuted_stays_in_its_pair_and_branch():
    """Constant within both branches, two methods agree as before; what a pair does not hold plays no part."""
    present = np.random.default_rng(1).random((5, FEATURES)) < 0.4
    values = np.where(SIDES == "site", 3.0, 1.0) * np.array([1.0, -2.0])[:, None, None] * np.ones((2, 5, FEATURES))
    wild = np.where(present, values, np.random.default_rng(2).normal(size=values.shape))
    found = chances(wild, present, SIDES, 0)
    assert found[:, :, 0, 1] == pytest.approx(np.full((2, 5), -1.0))
    np.testing.assert_allclose(found, np.swapaxes(found, 2, 3))


def test_rows_tell_chance_by_size_where_one_has_no_sign(maps, present, resampling):
    table = pd.DataFrame(agreement_rows(maps[:3], "abc", [True, True, False], present, SIDES, resampling, 5))
    table = table.set_index(["metric", "method", "other"])["chance"]
    for (one, other), own in ((("a", "b"), maps), (("a", "c"), np.abs(maps)), (("b", "c"), np.abs(maps))):
        expected = np.nanmean(chances(own[:3], present, SIDES, 5)[:, :, "abc".index(one), "abc".index(other)], axis=1)
        assert table[[(metric, one, other) for metric in METRICS]].tolist() == pytest.approx(expected)
    # Far below what the two say of each other.
    assert abs(table["pearson", "a", "b"]) < 0.4
