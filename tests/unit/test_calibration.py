"""The calibration of votes against plain loops and scikit-learn's curve, as a metric and as a table."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn.calibration import calibration_curve

from consilience import evaluation, metrics
from consilience.calibration import bin_of, reliability

CLASSES = ["a", "b", "c", "d"]
NAME = "expected_calibration_error"


def case(seed: int, classes: int = 4, n: int = 120, groups: int = 15):
    """Votes of ten raters, and probabilities in twentieths: ties within a row, and many on the edges of bins."""
    generator = np.random.default_rng(seed)
    fractions = generator.multinomial(10, generator.dirichlet(np.ones(classes)), n) / 10
    probabilities = generator.multinomial(20, generator.dirichlet(np.ones(classes)) / 2 + 0.5 / classes, n) / 20
    return fractions, probabilities, generator.integers(groups, size=n).astype(str)


def plain(fractions, probabilities, bins=10):
    """Guo et al.'s equation 5 with shares of votes for the share right, a sample and a bin at a time."""
    error = 0.0
    for m in range(1, bins + 1):
        inside = []
        for votes, row in zip(fractions.tolist(), probabilities.tolist(), strict=True):
            confidence = max(row)
            if (m - 1) / bins < confidence <= m / bins:
                inside.append((confidence, votes[row.index(confidence)]))
        if inside:
            mean, share = (math.fsum(values) / len(inside) for values in zip(*inside, strict=True))
            error += len(inside) / len(fractions) * abs(mean - share)
    return error


def error(fractions, probabilities, groups=None, bootstrap=0, seed=0, weight=None):
    count, classes = probabilities.shape
    weight = np.ones(count) if weight is None else weight
    groups = range(count) if groups is None else groups
    return metrics.evaluate("votes", fractions, probabilities, weight, groups, CLASSES[:classes], bootstrap, seed)[NAME]


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_the_error_is_that_of_a_plain_loop(classes):
    fractions, probabilities, groups = case(classes, classes)
    edges = np.isin(np.round(probabilities.max(axis=1) * 20), range(0, 21, 2))
    tied = (probabilities == probabilities.max(axis=1, keepdims=True)).sum(axis=1) > 1
    assert edges.sum() > 20 and tied.sum() > 5
    value = error(fractions, probabilities, groups)["value"]
    assert value == pytest.approx(plain(fractions, probabilities), rel=1e-12)
    assert value > 0.02


def test_the_error_is_that_of_scikit_learns_curve_where_raters_agree():
    fractions, probabilities, _ = case(5)
    fractions = np.eye(4)[fractions.argmax(axis=1)]
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == fractions.argmax(axis=1)
    share, mean = calibration_curve(right, confidence, n_bins=10)
    counts = np.bincount(bin_of(confidence))
    expected = np.average(np.abs(share - mean), weights=counts[counts > 0])
    assert error(fractions, probabilities)["value"] == pytest.approx(expected, rel=1e-12)


def test_intervals_are_percentiles_of_the_loop_on_the_resampled_rows_moved_to_the_error():
    fractions, probabilities, groups = case(1)
    found, codes = np.unique(groups, return_inverse=True)
    (counts,) = metrics.draws(len(found), len(groups), 60, 4)
    values = []
    for resample in counts.T:
        rows = np.repeat(np.arange(len(groups)), resample[codes].astype(int))
        values.append(plain(fractions[rows], probabilities[rows]))
    last = len(found) - 1
    out = 100 * scipy.stats.norm.cdf(-np.sqrt(len(found) / last) * scipy.stats.t.ppf(0.975, last))
    low, high = np.percentile(np.array(values) - np.mean(values) + plain(fractions, probabilities), [out, 100 - out])
    result = error(fractions, probabilities, groups, 60, seed=4)
    assert (result["low"], result["high"]) == pytest.approx((low, high), rel=1e-11)
    assert low < high


def test_a_small_error_lies_in_its_interval_though_resamples_have_greater_ones(monkeypatch):
    """Of 20 groups at random: noise counts twice in a resample."""
    fractions, probabilities = joined(*(rights(*step) for step in [(0.35, 7), (0.55, 11), (0.7, 15), (0.95, 19)]))
    groups = np.random.default_rng(3).integers(20, size=80)
    moved = error(fractions, probabilities, groups, 300)
    assert moved["value"] == pytest.approx(0.0125)
    assert moved["low"] < moved["value"] < moved["high"]
    monkeypatch.setattr(metrics, "recentred", lambda error, blocks: np.concatenate(blocks))
    plainly = error(fractions, probabilities, groups, 300)
    assert plainly["value"] == moved["value"] < plainly["low"]
    assert moved["low"] == 0 and moved["high"] < plainly["high"] - 0.02


def test_blocks_of_resamples_change_nothing_and_no_interval_goes_below_zero(monkeypatch):
    fractions, probabilities, groups = case(3)
    whole = error(fractions, probabilities, groups, 100)
    monkeypatch.setattr(metrics, "BLOCK_ELEMENTS", 120 * 7)
    assert error(fractions, probabilities, groups, 100) == pytest.approx(whole, rel=1e-12)
    exact = rights(0.5, 10)
    assert error(*exact, np.arange(20) % 5, 100)["low"] == 0


def test_few_groups_and_no_resamples_leave_no_interval():
    fractions, probabilities, _ = case(3)
    for groups, bootstrap in ((np.arange(120) % 2, 100), (np.arange(120), 0)):
        found = error(fractions, probabilities, groups, bootstrap)
        assert found["value"] > 0 and found["low"] is found["high"] is None


def test_the_order_of_rows_and_their_weights_are_of_no_consequence():
    fractions, probabilities, groups = case(2)
    order = np.random.default_rng(0).permutation(len(groups))
    first = error(fractions, probabilities, groups, 50)
    again = error(fractions[order], probabilities[order], groups[order], 50, weight=np.arange(1.0, 121))
    assert again == pytest.approx(first, rel=1e-11)
    table, shuffled = (
        reliability(fractions, probabilities, CLASSES),
        reliability(fractions[order], probabilities[order], CLASSES),
    )
    pd.testing.assert_frame_equal(shuffled, table, rtol=1e-12)


def test_an_edge_belongs_to_the_bin_below_it():
    edges = np.arange(11) / 10
    assert bin_of(edges).tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert bin_of(np.nextafter(edges[1:10] + 1e-15, 1)).tolist() == list(range(1, 10))
    assert bin_of(np.array([0, 0.25, 0.26, 1]), 4).tolist() == [0, 0, 1, 3]
    # 0.7 right half of the time and 0.71 always: together they would be near their mean.
    probabilities = np.array([[0.7, 0.3]] * 2 + [[0.71, 0.29]] * 2)
    fractions = np.eye(2)[[0, 1, 0, 0]]
    assert error(fractions, probabilities)["value"] == pytest.approx((0.2 + 0.29) / 2)


def test_of_equal_probabilities_the_first_class_is_called():
    probabilities = np.array([[0.45, 0.45, 0.1], [0.05, 0.475, 0.475]])
    fractions = np.array([[0.5, 0.4, 0.1], [0.0, 0.9, 0.1]])
    assert error(fractions, probabilities)["value"] == pytest.approx((0.9 + 0.5 - 0.45 - 0.475) / 2)
    assert error(fractions[:, ::-1], probabilities)["value"] == pytest.approx((0.1 + 0.9 - 0.45 - 0.475) / 2)


def rights(confidence: float, right: int, count: int = 20):
    """Samples called the first of four classes with this confidence, of which so many are of that class."""
    probabilities = np.tile([confidence, *[(1 - confidence) / 3] * 3], (count, 1))
    return np.eye(4)[np.r_[np.zeros(right, int), np.arange(count - right) % 3 + 1]], probabilities


def joined(*parts):
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def test_perfect_calibration_has_no_error():
    steps = [(0.35, 7), (0.55, 11), (0.7, 14), (0.95, 19), (1.0, 20)]
    assert error(*joined(*(rights(*step) for step in steps)))["value"] == pytest.approx(0, abs=1e-14)
    # Within one bin, what is right too often makes up for what is right too rarely.
    assert error(*joined(rights(0.62, 14), rights(0.68, 12)))["value"] == pytest.approx(0, abs=1e-14)


def test_planted_miscalibration_is_found_with_the_bins_by_their_samples():
    sure, unsure = rights(0.9, 10, 20), rights(0.45, 36, 60)
    assert error(*sure)["value"] == pytest.approx(0.4)
    assert error(*unsure)["value"] == pytest.approx(0.15)
    # Too sure here and too unsure there do not make up for each other.
    assert error(*joined(sure, unsure))["value"] == pytest.approx(0.25 * 0.4 + 0.75 * 0.15)


def test_sharpened_probabilities_of_many_samples_are_worse_calibrated_than_the_true_ones():
    generator = np.random.default_rng(8)
    true = generator.dirichlet(np.full(4, 0.7), 20_000)
    fractions = np.eye(4)[(generator.random((20_000, 1)) > true.cumsum(axis=1)[:, :3]).sum(axis=1)]
    sharp = true**2 / (true**2).sum(axis=1, keepdims=True)
    groups = np.arange(20_000) % 40
    honest, sure = error(fractions, true, groups, 100), error(fractions, sharp, groups, 100)
    assert honest["high"] < 0.02 < 0.1 < sure["low"]


def test_votes_that_are_exact_have_no_error_however_raters_disagree():
    fractions, _, groups = case(9)
    assert (fractions.max(axis=1) < 0.6).sum() > 20
    assert error(fractions, fractions, groups, 50) == {"value": 0, "low": 0, "high": 0}
    uniform = error(fractions, np.full_like(fractions, 0.25))["value"]
    assert uniform == pytest.approx(abs(fractions[:, 0].mean() - 0.25))
    table = reliability(fractions, fractions, CLASSES)
    assert table["mean_probability"].tolist() == table["mean_fraction"].tolist()


def test_it_is_the_share_of_the_called_class_though_another_has_more_votes():
    fractions = np.tile([0.3, 0.5, 0.2], (4, 1))
    assert error(fractions, np.tile([0.4, 0.35, 0.25], (4, 1)))["value"] == pytest.approx(0.1)
    assert error(fractions, np.tile([0.0, 0.8, 0.2], (4, 1)))["value"] == pytest.approx(0.3)


def test_votes_of_few_raters_scatter_about_their_chances_and_count_for_little_where_samples_are_many():
    generator = np.random.default_rng(11)
    chances = generator.dirichlet(np.full(4, 0.7), 20_000)
    fractions, groups = generator.multinomial(3, chances) / 3, np.arange(20_000) % 40
    sharp = chances**2 / (chances**2).sum(axis=1, keepdims=True)
    assert error(fractions, chances, groups, 100)["high"] < 0.02 < 0.1 < error(fractions, sharp, groups, 100)["low"]


def test_less_of_the_error_is_better(monkeypatch):
    monkeypatch.setitem(evaluation.HEADLINE, "votes", NAME)
    trivial = {"class_prior": {NAME: 0.2}, "age": {NAME: 0.1}, "sex": {NAME: 0.3}}
    assert evaluation.best_trivial({"task": "votes", "trivial": trivial}) == ("age", 0.1)


@pytest.mark.parametrize("bins", [4, 10])
def test_the_curve_of_classes_is_that_of_scikit_learn(bins):
    fractions, probabilities, _ = case(6)
    labels = np.eye(4)[fractions.argmax(axis=1)]
    table = reliability(labels, probabilities, CLASSES, bins)
    assert table["class"].unique().tolist() == CLASSES
    for index, name in enumerate(CLASSES):
        rows = table[table["class"] == name]
        share, mean = calibration_curve(labels[:, index], probabilities[:, index], n_bins=bins)
        np.testing.assert_allclose(rows["mean_fraction"], share, rtol=1e-12)
        np.testing.assert_allclose(rows["mean_probability"], mean, rtol=1e-12)
        assert rows["samples"].sum() == len(fractions)


def test_the_curve_of_votes_is_that_of_a_plain_loop():
    fractions, probabilities, _ = case(7)
    table = reliability(fractions, probabilities, CLASSES, bins=5)
    assert list(table.columns) == ["class", "bin", "samples", "mean_probability", "mean_fraction"]
    expected = []
    for index, name in enumerate(CLASSES):
        for m in range(1, 6):
            inside = [
                row
                for row in range(len(fractions))
                if (m - 1) / 5 < probabilities[row, index] <= m / 5 or (m == 1 and probabilities[row, index] == 0)
            ]
            if inside:
                means = [math.fsum(part[inside, index]) / len(inside) for part in (probabilities, fractions)]
                expected.append([name, m, len(inside), *means])
    assert len(expected) < 20
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected, columns=table.columns), rtol=1e-12)
