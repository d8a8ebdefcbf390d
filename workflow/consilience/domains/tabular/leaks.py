"""Looks for inputs that are the target again, and for rows that are others again, while a dataset is written."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

import numpy as np

from consilience.domains.tabular.class_leaks import ClassRanges
from consilience.domains.tabular.rank_leaks import RankSample
from consilience.errors import ConsilienceError, listed
from consilience.moments import Moments

# Apart from what rounding a copy in decimals leaves, such a column is the target in another unit.
COPY = 1 - 1e-9
# Worth a look: an answer under another name, more often than not.
STRONG = 0.99
SHOWN = 5


class Watch:
    """Takes in all rows; `columns` (features,) says which column a feature is of, `texts` which of them hold levels.

    In a regression it correlates every feature with the target, and on a sample its ranks; otherwise it keeps the range
    of every feature in each class.
    """

    def __init__(
        self, columns: Sequence[str], target: np.ndarray, classes: int, texts: Collection[str] = frozenset()
    ) -> None:
        self.columns, self.target, self.classes = list(columns), target, classes
        width = len(self.columns)
        self.moments, self.target_moments, self.products = Moments((width,)), Moments((width,)), np.zeros(width)
        self.ranges, self.sample = ClassRanges(columns, texts, classes), RankSample(target, width)
        self.digests: list[np.ndarray] = []
        self.rows = 0

    def add(self, values: np.ndarray) -> None:
        """Take in the next rows, float64 (rows, features) with NaN where absent."""
        target = self.target[self.rows : self.rows + len(values)]
        if self.classes:
            self.ranges.add(values, target)
        else:
            self._add_products(values, target)
            self.sample.add(values, self.rows)
        self.rows += len(values)
        digests = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in values.astype(np.float32)]
        self.digests.append(np.frombuffer(b"".join(digests), np.uint64))

    def _add_products(self, values: np.ndarray, target: np.ndarray) -> None:
        """Merge the moments of a block into those so far, of features and target where a feature has a value."""
        present = ~np.isnan(values)
        apart, shift, weight = self.moments.add(values, present)
        repeated = np.broadcast_to(target[:, None], values.shape)
        target_apart, target_shift, _ = self.target_moments.add(repeated, present)
        self.products += (apart * target_apart).sum(axis=0) + weight * shift * target_shift

    @property
    def repeated(self) -> int:
        """How many rows have the inputs, as float32 knows them, of an earlier one."""
        return self.rows - len(np.unique(np.concatenate(self.digests))) if self.digests else 0

    @property
    def correlation(self) -> np.ndarray:
        """Pearson's r of every feature with the target of a regression (features,); 0 where one is constant."""
        size = np.sqrt(self.moments.squares * self.target_moments.squares)
        return np.divide(self.products, size, out=np.zeros_like(size), where=size > 0)

    def check(self, place: str, target: str) -> str:
        """Refuse a column that is the target again; returns a note on those that say nearly all, "" without any."""
        copies, strong = self.ranges.findings() if self.classes else self._of_numbers()
        if copies:
            raise ConsilienceError(
                f"{place}: column {copies[0]} is {target} again ({len(copies)} such columns: "
                f"{listed(copies, SHOWN)}); expected what is known without it, or the column under exclude"
            )
        return listed(strong, SHOWN)

    def _of_numbers(self) -> tuple[list[str], list[str]]:
        found, ranks = self.correlation, self.sample.correlation
        copies = [self.columns[place] for place in np.flatnonzero(np.abs(found) >= COPY)]
        linear = np.abs(found) >= STRONG
        curved = ~linear & (np.abs(ranks) >= STRONG)
        strong = [f"{self.columns[place]} (r {found[place]:.4f})" for place in np.flatnonzero(linear)]
        strong += [f"{self.columns[place]} (of ranks {ranks[place]:.4f})" for place in np.flatnonzero(curved)]
        return copies, strong
