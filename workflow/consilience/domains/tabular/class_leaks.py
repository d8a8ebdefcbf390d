"""Looks for columns that tell the classes of a target apart, by their values in each class alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from scipy.special import gammaln

# Fewer such columns than this are expected by chance: with few rows, noise separates classes too.
CHANCE = 0.05


class ClassRanges:
    """The range of every feature in each class, over all rows.

    `columns` (features,) says which column a feature is of, those of a column side by side; `texts` are the columns
    whose features are levels, 0 or 1.
    """

    def __init__(self, columns: Sequence[str], texts: Collection[str], classes: int) -> None:
        self.columns, self.classes = list(dict.fromkeys(columns)), classes
        changes = [place for place, name in enumerate(columns) if not place or name != columns[place - 1]]
        self.bounds = np.array([*changes, len(columns)], dtype=np.int64)
        self.text = np.array([name in texts for name in self.columns], dtype=bool)
        shape = (classes, len(columns))
        self.low, self.high, self.count = np.full(shape, np.inf), np.full(shape, -np.inf), np.zeros(shape)
        self.ones = np.zeros(len(columns))

    def add(self, values: np.ndarray, target: np.ndarray) -> None:
        """Take in the next rows, float64 (rows, features) with NaN where absent, and their classes (rows,)."""
        for label in np.unique(target):
            own = values[target == label]
            absent = np.isnan(own)
            self.low[label] = np.minimum(self.low[label], np.where(absent, np.inf, own).min(axis=0))
            self.high[label] = np.maximum(self.high[label], np.where(absent, -np.inf, own).max(axis=0))
            self.count[label] += (~absent).sum(axis=0)
            self.ones += (own == 1).sum(axis=0)

    def findings(self) -> tuple[list[str], list[str]]:
        """Return the columns that are the classes again, and notes on those that say nearly all about them.

        The latter have a single value in each class, ranges that do not overlap between classes, or levels of which
        each is in one class alone, where chance would give fewer than `CHANCE` such columns.
        """
        determined = np.logical_and.reduceat((self.low == self.high).all(axis=0), self.bounds[:-1])
        # As many different rows of values as classes: each then stands for one class.
        copies = [self.columns[place] for place in np.flatnonzero(determined) if self._kinds(place) == self.classes]
        told = {
            "": determined,
            " (the ranges of the classes do not overlap)": ~determined & ~self.text & self._apart(),
            " (every level is in one class)": ~determined & self.text & self._pure(),
        }
        return copies, [f"{self.columns[place]}{why}" for why, found in told.items() for place in np.flatnonzero(found)]

    def _kinds(self, place: int) -> int:
        """Return how many different rows of values the classes have in a column."""
        return len(np.unique(self.low[:, self.bounds[place] : self.bounds[place + 1]], axis=0))

    def _apart(self) -> np.ndarray:
        """Say of which columns of numbers the classes' ranges do not overlap, bool (columns,)."""
        first = self.bounds[:-1]
        low, high, count = self.low[:, first], self.high[:, first], self.count[:, first]
        order = np.argsort(low, axis=0)
        low, high = np.take_along_axis(low, order, axis=0), np.take_along_axis(high, order, axis=0)
        separate = (low[1:] > high[:-1]).all(axis=0) & np.isfinite(low).all(axis=0)
        # That a random order of the rows puts all of a class side by side, with the classes in any order.
        chance = gammaln(self.classes + 1) + gammaln(count + 1).sum(axis=0) - gammaln(count.sum(axis=0) + 1)
        return separate & self._rare(chance, ~self.text)

    def _pure(self) -> np.ndarray:
        """Say of which columns of texts every level is in one class alone, bool (columns,)."""
        pure = np.logical_and.reduceat((self.high == 1).sum(axis=0) <= 1, self.bounds[:-1])
        # A feature for both levels would hide in the other what is not in it.
        pure &= np.diff(self.bounds) > 1
        shares = self.count.max(axis=1) / self.count.max(axis=1).sum()
        # That all rows of a level are in one class, were classes drawn row by row.
        chance = np.log((shares[:, None] ** np.maximum(self.ones, 1)).sum(axis=0))
        return pure & self._rare(np.add.reduceat(chance, self.bounds[:-1]), self.text)

    def _rare(self, chance: np.ndarray, among: np.ndarray) -> np.ndarray:
        return chance + np.log(max(1, among.sum())) < np.log(CHANCE)
