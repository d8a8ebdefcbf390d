from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from consilience.consensus.drivers import drivers
from consilience.consensus.lists import ModelAttribution
from consilience.errors import ConsilienceError
from consilience.overlap import chance_level, named_sets, overlap_probability, overlaps

FEATURES = [f"f{index}" for index in range(40)]
TARGETS = ["up", "down"]


def table(seed=0, signal=1.0):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(1, 2, 40))
    models = []
    for index in range(3):
        direction = signal * shared + rng.normal(size=(4, 2, 40))
        models.append(ModelAttribution(f"m{index}", FEATURES, TARGETS, np.abs(direction), direction))
    return drivers(models, signal * shared[0] + rng.normal(size=(2, 40)), 8, 2)


def further_list(frame):
    rows = frame[(frame["linear_rank"] % 3 == 0) & (frame["direction"] != "none")]
    return rows[["feature", "target", "direction"]].iloc[::-1]


@pytest.mark.parametrize("seed", range(3))
def test_sets_and_shared_features_by_plain_sets(seed):
    frame = table(seed)
    result = overlaps(frame, 8, 2, {"chi2": further_list(frame)})
    for row in result.itertuples():
        rows = frame[frame["target"] == row.target].to_dict("records")
        side = 1 if row.direction == "positive" else -1
        right = [one for one in rows if side * one["linear_coefficient"] > 0]
        sets = {
            "networks": {one["feature"] for one in rows if one[f"total_{row.direction}"] >= 2},
            "linear": {one["feature"] for one in sorted(right, key=lambda one: -abs(one["linear_coefficient"]))[:8]},
            "chi2": {
                one["feature"] for one in rows if one["linear_rank"] % 3 == 0 and one["direction"] == row.direction
            },
        }
        names = row.sets.split(";")
        shared = set.intersection(*(sets[name] for name in names))
        assert row.intersection == len(shared)
        assert row.features.split(";") == [one["feature"] for one in rows if one["feature"] in shared] or not shared
        for name, members in sets.items():
            size = getattr(row, f"size_{name}")
            assert (size == len(members)) if name in names else pd.isna(size)
        sizes = [len(sets[name]) for name in names]
        assert row.universe == 40
        assert row.expected == pytest.approx(np.prod(sizes) / 40 ** (len(sizes) - 1))


def test_rows_are_every_pair_and_triple():
    frame = table()
    result = overlaps(frame, 8, 2, {"chi2": further_list(frame)})
    expected = [
        (target, direction, ";".join(names))
        for target in TARGETS
        for direction in ("positive", "negative")
        for count in (2, 3)
        for names in combinations(["networks", "linear", "chi2"], count)
    ]
    assert list(zip(result["target"], result["direction"], result["sets"], strict=True)) == expected
    assert overlaps(frame, 8, 2)["sets"].unique().tolist() == ["networks;linear"]


@pytest.mark.parametrize("seed", range(3))
def test_the_table_of_drivers_marks_the_same_features(seed):
    frame = table(seed)
    marked = set(frame.loc[frame["in_overlap"], ["target", "feature"]].itertuples(index=False, name=None))
    result = overlaps(frame, 8, 2)
    listed = {(row.target, name) for row in result.itertuples() for name in row.features.split(";") if name}
    assert listed
    assert listed == marked


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(1, 60), st.data())
def test_pairs_follow_scipy(universe, data):
    first, second = data.draw(st.integers(0, universe)), data.draw(st.integers(0, universe))
    shared = data.draw(st.integers(max(0, first + second - universe), min(first, second)))
    expected = hypergeom.sf(shared - 1, universe, first, second)
    assert overlap_probability(shared, [first, second], universe) == pytest.approx(expected, rel=1e-9)


def test_triples_follow_full_enumeration():
    """Fix one set, draw the other two in every possible way, and count."""
    universe, sizes = range(6), (3, 2, 4)
    first = set(range(sizes[0]))
    counts = [
        len(first & set(second) & set(third))
        for second in combinations(universe, sizes[1])
        for third in combinations(universe, sizes[2])
    ]
    for shared in range(4):
        share = sum(count >= shared for count in counts) / len(counts)
        assert overlap_probability(shared, sizes, 6) == pytest.approx(share)
    assert chance_level(sizes, 6) == pytest.approx(np.mean(counts))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.permutations([5, 9, 14]), st.integers(0, 5))
def test_the_order_of_the_sets_does_not_matter(sizes, shared):
    assert overlap_probability(shared, sizes, 30) == pytest.approx(overlap_probability(shared, [5, 9, 14], 30))


def test_empty_lists_are_no_surprise():
    assert overlap_probability(0, [0, 8], 40) == 1
    assert overlap_probability(0, [5, 0, 8], 40) == 1
    assert chance_level([0, 8], 40) == 0
    frame = table(signal=0.0).assign(total_positive=0)
    row = overlaps(frame, 8, 2).query("target == 'up' and direction == 'positive'").iloc[0]
    assert (row["size_networks"], row["intersection"], row["p_value"], row["features"]) == (0, 0, 1, "")


def test_random_lists_share_what_chance_says():
    """Over random scores the mean intersection meets the chance level: 8 of 40 against 8 of 40 share 1.6."""
    rng = np.random.default_rng(0)
    shared = [len(set(rng.permutation(40)[:8]) & set(rng.permutation(40)[:8])) for _ in range(4000)]
    assert chance_level([8, 8], 40) == pytest.approx(np.mean(shared), abs=4 * np.std(shared) / np.sqrt(4000))


def test_lists_that_do_not_fit_are_refused():
    frame = table()
    good = further_list(frame)
    for change, message in (
        ({"feature": "f_1"}, "list chi2: feature 'f_1' is not one of the 40 of this study; nearest: f1"),
        ({"target": "upp"}, "list chi2: target 'upp' is not one of the 2 of this study; nearest: up"),
        ({"direction": "none"}, "list chi2: direction 'none' is not one of the 2"),
    ):
        with pytest.raises(ConsilienceError, match=message):
            named_sets(frame, 8, 2, {"chi2": good.assign(**change)})
    with pytest.raises(ConsilienceError, match="list chi2: no column target; it has feature, direction"):
        overlaps(frame, 8, 2, {"chi2": good.drop(columns="target")})
    with pytest.raises(ConsilienceError, match="'linear' cannot name a further list"):
        overlaps(frame, 8, 2, {"linear": good})
