"""Whether methods say the same of a pair, on the k-mers that it holds: elsewhere all are 0, and ties would agree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from consilience.faithfulness.ranks import unit_ranks
from consilience.faithfulness.resampling import Resampling

METRICS = ("pearson", "spearman")
AGREEMENT_COLUMNS = ("method", "other", "metric", "signed", "value", "low", "high", "samples")


def correlations(maps: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return Pearson's and Spearman's correlation of every two methods in every pair, (2, samples, methods, methods).

    `maps` are (methods, samples, features), `present` bool (samples, features): the k-mers of either sequence, over
    which correlations run. NaN where a method is constant there.
    """
    methods, samples, _ = maps.shape
    found = np.full((len(METRICS), samples, methods, methods), np.nan)
    for sample in range(samples):
        values = maps[:, sample, present[sample]].astype(np.float64)
        centered = values - values.mean(axis=1, keepdims=True)
        length = np.linalg.norm(centered, axis=1, keepdims=True)
        varies = length[:, 0] > 1e-12 * np.abs(values).max(axis=1, initial=0)
        unit = np.full(centered.shape, np.nan)
        unit[varies] = centered[varies] / length[varies]
        for place, rows in enumerate((unit, unit_ranks(values))):
            found[place, sample] = np.clip(rows @ rows.T, -1, 1)
    return found


def agreement_rows(
    maps: np.ndarray, names: Sequence[str], signed: Sequence[bool], present: np.ndarray, resampling: Resampling
) -> list[dict[str, Any]]:
    """Return a row a pair of methods and metric, means over pairs with their 95 % intervals.

    Attributions are compared with their sign where both methods have one (`signed`), else by their size.
    """
    both, sizes = correlations(maps, present), correlations(np.abs(maps), present)
    rows = []
    for first, second in combinations(range(len(names)), 2):
        with_sign = bool(signed[first] and signed[second])
        chosen = both if with_sign else sizes
        for place, metric in enumerate(METRICS):
            interval = resampling.interval(resampling.means(chosen[place, :, first, second]))
            facts = {"method": names[first], "other": names[second], "metric": metric, "signed": with_sign}
            rows.append(facts | interval | {"samples": maps.shape[1]})
    return rows
