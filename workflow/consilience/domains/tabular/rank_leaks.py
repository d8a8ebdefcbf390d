"""Looks for numbers that rise or fall with the target throughout, whatever the curve, on a sample of the rows."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

# Rows that tell such a curve, and as many values of all features together.
MOST_ROWS, FEWEST_ROWS, MOST_VALUES = 1000, 50, 2**23
# Below so many values of a feature, its ranks say little.
FEWEST_VALUES = 12


class RankSample:
    """Features and target of rows that a fixed seed chose among all, float64 (rows, features) with NaN where absent."""

    def __init__(self, target: np.ndarray, width: int) -> None:
        size = min(len(target), MOST_ROWS, max(FEWEST_ROWS, MOST_VALUES // max(1, width)))
        self.rows = np.sort(np.random.default_rng(0).choice(len(target), size, replace=False))
        self.target, self.parts = target[self.rows], [np.empty((0, width))]

    def add(self, values: np.ndarray, first: int) -> None:
        """Take in the next rows; `first` were before them."""
        low, high = np.searchsorted(self.rows, [first, first + len(values)])
        self.parts.append(values[self.rows[low:high] - first])

    @property
    def correlation(self) -> np.ndarray:
        """Spearman's rho of every feature with the target (features,); 0 where one is constant or hardly there."""
        values = np.concatenate(self.parts)
        present = ~np.isnan(values)
        found = np.zeros(values.shape[1])
        whole = present.all(axis=0)
        if len(values) >= FEWEST_VALUES:
            found[whole] = _of_ranks(rankdata(values[:, whole], axis=0), rankdata(self.target))
        for place in np.flatnonzero(~whole & (present.sum(axis=0) >= FEWEST_VALUES)):
            own = present[:, place]
            found[place] = _of_ranks(rankdata(values[own, place])[:, None], rankdata(self.target[own]))[0]
        return found


def _of_ranks(ranks: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return Pearson's r of ranks (rows, features) with those of the target (rows,)."""
    ranks, target = ranks - ranks.mean(axis=0), target - target.mean()
    size = np.sqrt((ranks**2).sum(axis=0) * (target**2).sum())
    return np.divide(target @ ranks, size, out=np.zeros_like(size), where=size > 0)
