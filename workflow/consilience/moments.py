"""Means and deviations of elements over rows that come in blocks."""

from __future__ import annotations

import numpy as np

# A deviation below this share of the mean is the rounding of that mean: the values are all the same.
ROUNDING = 1e-10


class Moments:
    """Count, mean and sum of squared deviations of every element (*shape), float64.

    Blocks are merged by Chan, Golub & LeVeque (1983), eq. 1.5, which does not cancel.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count, self.mean, self.squares = (np.zeros(shape) for _ in range(3))

    def add(self, values: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take in a block, float64 (rows, *shape), where `present`, bool (rows, *shape).

        Returns what products of two such elements are merged by: the deviations from the block's own mean (rows,
        *shape), the shift from the mean so far, and the weight of its square (*shape).
        """
        own = present.sum(axis=0)
        average = np.where(present, values, 0).sum(axis=0) / np.maximum(own, 1)
        deviations = np.where(present, values - average, 0)
        total = np.maximum(self.count + own, 1)
        shift, weight = average - self.mean, self.count * own / total
        self.squares += (deviations**2).sum(axis=0) + shift**2 * weight
        self.mean += shift * own / total
        self.count += own
        return deviations, shift, weight


def beyond_rounding(deviation: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Return deviations, with 0 for those that are what rounding leaves of a constant."""
    return np.where(deviation > ROUNDING * np.abs(center), deviation, 0)
