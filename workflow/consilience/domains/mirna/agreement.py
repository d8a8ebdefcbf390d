"""Whether methods say the same of a pair, on the k-mers that it holds: elsewhere all are 0, and ties would agree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from consilience.faithfulness.ranks import unit_ranks
from consilience.faithfulness.resampling import Resampling

METRICS = ("pearson", "spearman")
AGREEMENT_COLUMNS = ("method", "other", "metric", "signed", "value", "low", "high", "chance", "samples")


def _units(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values (methods, k-mers), and their ranks, centered and of length 1; NaN for a method that is constant."""
    centered = values - values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centered, axis=1, keepdims=True)
    varies = length[:, 0] > 1e-12 * np.abs(values).max(axis=1, initial=0)
    unit = np.full(centered.shape, np.nan)
    unit[varies] = centered[varies] / length[varies]
    return unit, unit_ranks(values)


def correlations(maps: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return Pearson's and Spearman's correlation of every two methods in every pair, (2, samples, methods, methods).

    `maps` are (methods, samples, features), `present` bool (samples, features): the k-mers of either sequence, over
    which correlations run. NaN where a method is constant there.
    """
    methods, samples, _ = maps.shape
    found = np.full((len(METRICS), samples, methods, methods), np.nan)
    for sample in range(samples):
        for place, rows in enumerate(_units(maps[:, sample, present[sample]].astype(np.float64))):
            found[place, sample] = np.clip(rows @ rows.T, -1, 1)
    return found


def chances(maps: np.ndarray, present: np.ndarray, branches: np.ndarray, seed: int) -> np.ndarray:
    """Return the correlations of `correlations` after one of two methods is permuted, means of both orders.

    A pair's attributions are permuted over its own k-mers within each branch, `branches` (features,) names: that one
    branch has more than the other is kept. One permutation a pair, the same for all methods.
    """
    methods, samples, _ = maps.shape
    found = np.full((len(METRICS), samples, methods, methods), np.nan)
    for sample in range(samples):
        own, random = branches[present[sample]], np.random.default_rng([seed, sample])
        order = np.empty(len(own), int)
        for branch in np.unique(own):
            places = np.flatnonzero(own == branch)
            order[places] = random.permutation(places)
        for place, rows in enumerate(_units(maps[:, sample, present[sample]].astype(np.float64))):
            crossed = rows @ rows[:, order].T
            found[place, sample] = (crossed + crossed.T) / 2
    return found


def agreement_rows(
    maps: np.ndarray,
    names: Sequence[str],
    signed: Sequence[bool],
    present: np.ndarray,
    branches: np.ndarray,
    resampling: Resampling,
    seed: int,
) -> list[dict[str, Any]]:
    """Return a row a pair of methods and metric, means over pairs with their 95 % intervals, and by chance.

    Attributions are compared with their sign where both methods have one (`signed`), else by their size. `chance` is
    the mean of `chances`.
    """
    both, sizes = ((correlations(own, present), chances(own, present, branches, seed)) for own in (maps, np.abs(maps)))
    rows = []
    for first, second in combinations(range(len(names)), 2):
        with_sign = bool(signed[first] and signed[second])
        chosen, permuted = both if with_sign else sizes
        for place, metric in enumerate(METRICS):
            interval = resampling.interval(resampling.means(chosen[place, :, first, second]))
            chance = float(resampling.means(permuted[place, :, first, second])[0])
            facts = {"method": names[first], "other": names[second], "metric": metric, "signed": with_sign}
            rows.append(facts | interval | {"chance": chance, "samples": maps.shape[1]})
    return rows
