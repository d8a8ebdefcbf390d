"""The features of samples as one table, made from the inputs of every branch, and its standardization."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from consilience.dataset import Branch, Dataset
from consilience.moments import beyond_rounding
from consilience.scaling import floored

BLOCK_BYTES = 2**25


def feature_table(dataset: Dataset, rows: np.ndarray | None = None, block: int | None = None) -> np.ndarray:
    """Return float32 (rows, features): of each feature the mean or sum of its elements, as its branch's `reduce` says.

    `rows` are sample indices in any order (all where None); `block` samples are read at a time (by default as many as
    fill 32 MiB). Elements that a mask covers are left out of a mean or sum; a feature all of whose elements are absent
    from a sample is NaN there. Sums run in float64 and are rounded once, so that a feature of one element is that
    element exactly.
    """
    rows = np.arange(len(dataset)) if rows is None else np.asarray(rows)
    # Each chunk of the file is then decompressed once.
    order = np.argsort(rows, kind="stable")
    table = np.full((len(rows), len(dataset.features)), np.nan, dtype=np.float32)
    for branch in dataset.branches.values():
        reduction = _Reduction(branch)
        size = block or max(1, BLOCK_BYTES // (8 * branch.elements))
        for start in range(0, len(rows), size):
            part = order[start : start + size]
            inputs = dataset.inputs(branch.name, rows[part]).reshape(len(part), -1)
            mask = dataset.mask(branch.name, rows[part])
            reduction.fill(table, part, inputs, None if mask is None else mask.reshape(len(part), -1))
    return table


class _Reduction:
    """Reduces the elements (rows, elements) of a branch to its features."""

    def __init__(self, branch: Branch) -> None:
        units = branch.units.ravel()
        elements = np.argsort(units, kind="stable")[np.count_nonzero(units < 0) :]
        self.features, self.starts, sizes = np.unique(units[elements], return_index=True, return_counts=True)
        self.mean = branch.reduce == "mean"
        self.single = bool((sizes == 1).all())
        # Where the elements lie by feature already, nothing is gathered; where features are neighbors, nothing spread.
        self.elements = None if np.array_equal(elements, np.arange(len(units))) else elements
        neighbors = bool((np.diff(self.features) == 1).all())
        self.columns = slice(*self.features[[0, -1]] + [0, 1]) if len(elements) and neighbors else self.features

    def fill(self, table: np.ndarray, rows: np.ndarray, inputs: np.ndarray, mask: np.ndarray | None) -> None:
        """Write the features of `inputs` into `rows` of the table."""
        inputs = inputs if self.elements is None else inputs[:, self.elements]
        if mask is not None and self.elements is not None:
            mask = mask[:, self.elements]
        values = self._single(inputs, mask) if self.single else self._sums(inputs, mask)
        if isinstance(self.columns, slice):
            table[rows, self.columns] = values
        else:
            table[np.ix_(rows, self.columns)] = values

    def _single(self, inputs: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        return inputs if mask is None else np.where(mask, np.float32(np.nan), inputs)

    def _sums(self, inputs: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        present = np.ones((1, inputs.shape[1]), bool) if mask is None else ~mask
        sums = np.add.reduceat(np.where(present, inputs, 0), self.starts, axis=1, dtype=np.float64)
        counts = np.add.reduceat(present, self.starts, axis=1, dtype=np.int64)
        return np.where(counts > 0, sums / np.maximum(counts, 1) if self.mean else sums, np.nan)


@dataclass(frozen=True)
class Standardization:
    """Center and scale (features,) of a feature table, and the standard deviations, all float64.

    `scale` is the deviation with the floor that networks have (`scaling.fit`): what hardly varies in training is not
    blown up. A coefficient on the standardized scale times
    `deviation / scale` is per standard deviation of the feature, and zero for one that is constant.
    """

    center: np.ndarray
    scale: np.ndarray
    deviation: np.ndarray

    def apply(self, table: np.ndarray) -> np.ndarray:
        """Standardize a table (rows, features) in place, and return it; NaN becomes 0, the training mean."""
        for start in range(0, len(table), _height(table)):
            part = table[start : start + _height(table)]
            scaled = (part - self.center) / self.scale
            part[...] = np.where(np.isnan(scaled), 0, scaled)
        return table


def _height(table: np.ndarray) -> int:
    return max(1, BLOCK_BYTES // (8 * table.shape[1]))


def standardize(table: np.ndarray, branches: np.ndarray, own_units: Collection[str] = ()) -> Standardization:
    """Fit a standardization on a table (rows, features), whose features are of `branches` (features,) names.

    The features of branches among `own_units` have no unit in common (scaling `column`), and so no floor.
    Deviations are those of the population; NaN is left out, and a feature that is NaN throughout is constant.
    """
    count = np.zeros(table.shape[1])
    total, squares = np.zeros_like(count), np.zeros_like(count)
    for start in range(0, len(table), _height(table)):
        part = table[start : start + _height(table)]
        count += np.isfinite(part).sum(axis=0)
        total += np.nansum(part, axis=0, dtype=np.float64)
    center = total / np.maximum(count, 1)
    for start in range(0, len(table), _height(table)):
        squares += np.nansum((table[start : start + _height(table)] - center) ** 2, axis=0)
    deviation = beyond_rounding(np.sqrt(squares / np.maximum(count, 1)), center)
    scale = np.empty_like(deviation)
    for name in np.unique(branches):
        own = branches == name
        scale[own] = floored(deviation[own], name in own_units)
    return Standardization(center, scale, deviation)
