"""How far methods agree on single pictures, and how large attributions are, against scipy and slow loops."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from consilience.domains.fashion.agreement import METRICS, agreement_rows, agreements, method_rows, statistics
from consilience.faithfulness.agreement import chance_jaccard
from consilience.faithfulness.resampling import Resampling


@pytest.fixture(scope="module")
def maps():
    random = np.random.default_rng(3)
    maps = random.normal(size=(4, 7, 300)).astype(np.float32)
    maps[1] = 0.7 * maps[0] + 0.3 * maps[1]
    maps[2] = np.round(maps[2])  # ties
    maps[3, 2] = 0.0  # a constant
    return maps


def test_statistics_are_those_of_numpy(maps):
    found = statistics(maps)
    sizes = np.abs(maps[1, 4].astype(float))
    expected = {
        "mean": sizes.mean(), "max": sizes.max(), "sd": np.sqrt(np.mean((sizes - sizes.mean()) ** 2)),
        "percentile_99": np.percentile(sizes, 99),
    }  # fmt: skip
    assert {name: values[1, 4] for name, values in found.items()} == pytest.approx(expected)


def test_agreements_are_those_of_scipy_and_of_sets(maps):
    found = agreements(maps)
    sizes = np.abs(maps.astype(float))
    for sample, (first, second) in [(s, pair) for s in range(7) for pair in combinations(range(4), 2)]:
        one, other = sizes[first, sample], sizes[second, sample]
        if sample == 2 and second == 3:
            assert np.isnan(found["pearson"][sample, first, second])
            assert np.isnan(found["spearman"][sample, first, second])
            continue
        assert found["pearson"][sample, first, second] == pytest.approx(stats.pearsonr(one, other).statistic)
        assert found["spearman"][sample, first, second] == pytest.approx(stats.spearmanr(one, other).statistic)
        top = [set(np.argsort(-line, kind="stable")[:3]) for line in (one, other)]
        expected = len(top[0] & top[1]) / len(top[0] | top[1])
        assert found["jaccard_top_1_percent"][sample, first, second] == pytest.approx(expected)


def test_agreement_rows_are_means_over_pictures_beside_chance(maps):
    names, resampling = ["a", "b", "c", "d"], Resampling.of([f"g{number}" for number in range(7)], 50, 0)
    # Of the class 5 there is one picture alone.
    labels = np.array([2, 0, 2, 5, 0, 2, 0])
    table = pd.DataFrame(agreement_rows(maps, names, labels, resampling)).set_index(["metric", "method", "other"])
    assert len(table) == 3 * 6
    found = agreements(maps)
    pairs = [(0, 5), (2, 0), (5, 2), (1, 6), (4, 1), (6, 4)]
    elsewhere = {metric: np.full((len(pairs), 4, 4), np.nan) for metric in METRICS}
    for place, (sample, other) in enumerate(pairs):
        assert labels[sample] == labels[other]
        for first, second in np.ndindex(4, 4):
            one, two = np.abs(maps[first, sample].astype(float)), np.abs(maps[second, other].astype(float))
            if len(set(one)) > 1 and len(set(two)) > 1:
                elsewhere["pearson"][place, first, second] = stats.pearsonr(one, two).statistic
                elsewhere["spearman"][place, first, second] = stats.spearmanr(one, two).statistic
            top = [set(np.argsort(-line, kind="stable")[:3]) for line in (one, two)]
            elsewhere["jaccard_top_1_percent"][place, first, second] = len(top[0] & top[1]) / len(top[0] | top[1])
    for metric in METRICS:
        for first, second in combinations(range(4), 2):
            row = table.loc[metric, names[first], names[second]]
            assert row["value"] == pytest.approx(np.nanmean(found[metric][:, first, second]))
            assert row["low"] <= row["value"] <= row["high"]
            both = elsewhere[metric][:, [first, second], [second, first]]
            assert row["other_picture_of_class"] == pytest.approx(np.nanmean(both))
            assert row["chance"] == (chance_jaccard(300, 3) if "jaccard" in metric else 0)
    assert table.loc["pearson", "a", "b"]["value"] > 0.75
    assert abs(table.loc["pearson", "a", "b"]["other_picture_of_class"]) < 0.1


def test_classes_of_one_picture_have_no_other(maps):
    names, resampling = list("abcd"), Resampling.of([f"g{number}" for number in range(7)], 5, 0)
    table = pd.DataFrame(agreement_rows(maps, names, np.arange(7), resampling))
    assert table["other_picture_of_class"].isna().all()
    assert table["value"].notna().all()


def test_method_rows_are_means_with_their_intervals(maps):
    resampling = Resampling.of([f"g{number}" for number in range(7)], 50, 0)
    rows = method_rows(maps, list("abcd"), resampling)
    found = statistics(maps)
    for line, row in enumerate(rows):
        for name, values in found.items():
            assert row[name] == pytest.approx(values[line].mean())
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
        assert row["samples"] == 7
