"""Looks for inputs that are the target again, and for rows that are others again, while a dataset is written."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from consilience.errors import ConsilienceError

# Apart from what rounding a copy in decimals leaves, such a column is the target in another unit.
COPY = 1 - 1e-9
# Worth a look: an answer under another name, more often than not.
STRONG = 0.99
SHOWN = 5


class Watch:
    """Takes in all rows; `columns` (features,) says which column a feature is of.

    In a regression it correlates every feature with the target; otherwise it keeps the range of every feature in each
    class: a feature with a single value in each says nothing that the class does not.
    """

    def __init__(self, columns: Sequence[str], target: np.ndarray, classes: int) -> None:
        self.columns, self.target, self.classes = list(columns), target, classes
        width = len(self.columns)
        self.count, self.mean, self.target_mean = np.zeros((3, width))
        self.squares, self.target_squares, self.products = np.zeros((3, width))
        self.low, self.high = np.full((classes, width), np.inf), np.full((classes, width), -np.inf)
        self.digests: list[np.ndarray] = []
        self.rows = 0

    def add(self, values: np.ndarray) -> None:
        """Take in the next rows, float64 (rows, features) with NaN where absent."""
        target = self.target[self.rows : self.rows + len(values)]
        self.rows += len(values)
        if self.classes:
            for label in np.unique(target):
                own = values[target == label]
                self.low[label] = np.fmin(self.low[label], np.where(np.isnan(own), np.inf, own).min(axis=0))
                self.high[label] = np.fmax(self.high[label], np.where(np.isnan(own), -np.inf, own).max(axis=0))
        elif len(values):
            self._add_moments(values, target)
        digests = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in values.astype(np.float32)]
        self.digests.append(np.frombuffer(b"".join(digests), np.uint64))

    def _add_moments(self, values: np.ndarray, target: np.ndarray) -> None:
        """Merge the moments of a block into those so far (Chan, Golub & LeVeque 1983, eq. 1.5), feature by feature."""
        present = ~np.isnan(values)
        count = present.sum(axis=0)
        known = np.where(present, values, 0)
        mean = known.sum(axis=0) / np.maximum(count, 1)
        target_mean = np.where(present, target[:, None], 0).sum(axis=0) / np.maximum(count, 1)
        apart = np.where(present, values - mean, 0)
        target_apart = np.where(present, target[:, None] - target_mean, 0)
        total = np.maximum(self.count + count, 1)
        weight, shift, target_shift = self.count * count / total, mean - self.mean, target_mean - self.target_mean
        self.squares += (apart**2).sum(axis=0) + weight * shift**2
        self.target_squares += (target_apart**2).sum(axis=0) + weight * target_shift**2
        self.products += (apart * target_apart).sum(axis=0) + weight * shift * target_shift
        self.mean += shift * count / total
        self.target_mean += target_shift * count / total
        self.count += count

    @property
    def repeated(self) -> int:
        """How many rows have the inputs, as float32 knows them, of an earlier one."""
        return self.rows - len(np.unique(np.concatenate(self.digests))) if self.digests else 0

    @property
    def correlation(self) -> np.ndarray:
        """Pearson's r of every feature with the target of a regression (features,); 0 where one is constant."""
        size = np.sqrt(self.squares * self.target_squares)
        return np.divide(self.products, size, out=np.zeros_like(size), where=size > 0)

    def check(self, place: str, target: str) -> str:
        """Refuse a column that is the target again; returns a note on those that say nearly all, "" without any."""
        copies, strong = self._of_classes() if self.classes else self._of_numbers()
        if copies:
            raise ConsilienceError(
                f"{place}: column {copies[0]} is {target} again ({len(copies)} such columns: "
                f"{', '.join(copies[:SHOWN])}); expected what is known without it, or the column under exclude"
            )
        return ", ".join(strong[:SHOWN]) + (f" and {len(strong) - SHOWN} more" if len(strong) > SHOWN else "")

    def _of_numbers(self) -> tuple[list[str], list[str]]:
        size = np.abs(self.correlation)
        copies = [self.columns[place] for place in np.flatnonzero(size >= COPY)]
        strong = [
            f"{self.columns[place]} (r {self.correlation[place]:.4f})" for place in np.flatnonzero(size >= STRONG)
        ]
        return copies, strong

    def _of_classes(self) -> tuple[list[str], list[str]]:
        fixed = (self.low == self.high).all(axis=0)
        columns = np.array(self.columns, dtype=object)
        determined = [name for name in dict.fromkeys(self.columns) if fixed[columns == name].all()]
        # As many different rows of values as classes: each then stands for one class.
        copies = [name for name in determined if len(np.unique(self.low[:, columns == name], axis=0)) == self.classes]
        return copies, determined
