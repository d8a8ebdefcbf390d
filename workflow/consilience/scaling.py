"""Scaling of inputs, branch by branch: fitted on the training role, stored with the weights.

Unscaled inputs cost more than any other choice: attribution then follows the features' variance. What is scaled
together is the branch's own property (`Branch.scaling`): `feature` scales every element by itself, `column` too, where
every element has a unit of its own, `band` every index of the last axis over all others, `scalar` the whole branch, and
`none` leaves it as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from consilience.dataset import Branch, Dataset
from consilience.errors import ConsilienceError
from consilience.moments import Moments, beyond_rounding

# Relative to the root mean square of the sds of a branch: an element that hardly varies in training is not blown up.
FLOOR = 0.05
BLOCK_BYTES = 2**24


@dataclass(frozen=True)
class Scaling:
    """The scaling of one branch: z = (x - center) / scale, all arrays float32.

    `center` and `scale` broadcast against the branch's shape. `spread` (*shape) is each element's standard deviation
    on the training role, what `direction` multiplies gradients by.
    """

    center: np.ndarray
    scale: np.ndarray
    spread: np.ndarray


def identity(shape: tuple[int, ...]) -> Scaling:
    """Return the scaling that changes nothing; its spread is one."""
    single = (1,) * len(shape)
    return Scaling(np.zeros(single, np.float32), np.ones(single, np.float32), np.ones(shape, np.float32))


def unit_of_noise(scaling: Scaling, kind: str) -> float:
    """Return what noise on a branch is measured in, in scaled units.

    That is the branch's standard deviation, the root mean square over its elements; 1, the inputs' own unit, where the
    branch's `kind` of scaling is none.
    """
    return 1.0 if kind == "none" else float(np.sqrt(np.mean((scaling.spread / scaling.scale) ** 2)))


def fit(dataset: Dataset, branch: str, rows: np.ndarray) -> Scaling:
    """Fit the scaling of `branch` on `rows` (sample indices), streaming; what is masked is left out.

    Standard deviations are those of the population (divided by n), with a floor of `FLOOR` times the root mean square
    of all of the branch; a branch that is constant altogether has scale 1. A `column` knows no floor, for no other has
    its unit; one that is constant has an infinite scale, so that it is 0 even where it varies. Raises ConsilienceError
    without rows.
    """
    if not len(rows):
        raise ConsilienceError(f"{dataset.path}: branch {branch}: no training rows to fit the scaling on")
    part = dataset.branches[branch]
    moments = _moments(dataset, part, np.sort(rows))
    spread = np.sqrt(moments.squares / np.maximum(moments.count, 1))
    if part.scaling == "none":
        unscaled = identity(part.shape)
        return Scaling(unscaled.center, unscaled.scale, spread.astype(np.float32))
    axes = {"band": tuple(range(len(part.shape) - 1)), "scalar": tuple(range(len(part.shape)))}
    center, deviation = _pool(moments, axes.get(part.scaling, ()))
    scale = floored(beyond_rounding(deviation, center), own_units=part.scaling == "column")
    return Scaling(center.astype(np.float32), scale.astype(np.float32), spread.astype(np.float32))


def floored(deviation: np.ndarray, own_units: bool) -> np.ndarray:
    """Return scales for the standard deviations of a branch; `own_units` where no two elements share a unit."""
    if own_units:
        return np.where(deviation > 0, deviation, np.inf)
    scale = np.maximum(deviation, FLOOR * np.sqrt(np.mean(deviation**2)))
    return np.where(scale > 0, scale, 1)


def _moments(dataset: Dataset, branch: Branch, rows: np.ndarray) -> Moments:
    """Return the moments of every element (*shape) over `rows`, without what is masked."""
    moments = Moments(branch.shape)
    for _, block, mask in _blocks(dataset, branch, rows):
        values = block.astype(np.float64)
        moments.add(values, np.ones(values.shape, bool) if mask is None else ~mask)
    return moments


def _blocks(
    dataset: Dataset, branch: Branch, rows: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray | None]]:
    """Yield consecutive parts of `rows` with their inputs and mask."""
    size = max(1, BLOCK_BYTES // (4 * branch.elements))
    for start in range(0, len(rows), size):
        part = slice(start, min(start + size, len(rows)))
        yield part, dataset.inputs(branch.name, rows[part]), dataset.mask(branch.name, rows[part])


def _pool(moments: Moments, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and standard deviation over `axes`, kept as axes of length one."""
    count, mean = moments.count, moments.mean
    total = np.maximum(count.sum(axis=axes, keepdims=True), 1)
    center = (count * mean).sum(axis=axes, keepdims=True) / total
    pooled = (moments.squares + count * (mean - center) ** 2).sum(axis=axes, keepdims=True)
    return center, np.sqrt(pooled / total)


def apply(scaling: Scaling, block: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Scale a block (rows, *shape) to float32; masked elements (true = absent) become exactly 0, the center."""
    scaled = np.subtract(block, scaling.center, dtype=np.float32)
    scaled /= scaling.scale
    if mask is not None:
        scaled[mask] = 0
    return scaled


def scaled_inputs(
    dataset: Dataset, scalings: dict[str, Scaling], rows: np.ndarray | None = None
) -> tuple[tuple[np.ndarray, ...], dict[str, np.ndarray]]:
    """Read what a network takes for `rows` (all where None): scaled branches, and auxiliary arrays by name.

    The branches are float32 (rows, *shape) in the dataset's order. Among the auxiliary arrays is a bool
    `mask_<branch>` (rows, *shape), true where absent, for every branch that has a mask.
    """
    rows = np.arange(len(dataset)) if rows is None else np.asarray(rows)
    inputs, auxiliary = [], dataset.auxiliary(rows)
    for name, branch in dataset.branches.items():
        scaled, masks = np.empty((len(rows), *branch.shape), np.float32), []
        # Block by block, so that the unscaled inputs are never in memory as a whole.
        for part, block, mask in _blocks(dataset, branch, rows):
            scaled[part] = apply(scalings[name], block, mask)
            masks += [] if mask is None else [mask]
        inputs.append(scaled)
        if masks:
            auxiliary[f"mask_{name}"] = np.concatenate(masks)
    return tuple(inputs), auxiliary
