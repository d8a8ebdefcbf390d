"""References: the inputs that an attribution method compares a sample with, in scaled units."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from consilience.attribution.names import REFERENCE_NAMES, check_name
from consilience.dataset import Dataset
from consilience.errors import ConsilienceError
from consilience.scaling import Scaling, apply

# From sample indices (rows,) to a scaled float32 array (rows or 1, *shape) a branch.
ReferenceSource = Callable[[np.ndarray], tuple[np.ndarray, ...]]
# A slice's own reference: from the dataset, sample indices and a seed to unscaled (rows or 1, *shape) by branch.
OwnReference = Callable[[Dataset, np.ndarray, int], Mapping[str, np.ndarray]]

BLOCK_BYTES = 2**24


def reference_source(
    name: str,
    dataset: Dataset,
    scalings: Mapping[str, Scaling],
    training: np.ndarray,
    own: Mapping[str, OwnReference] | None = None,
    seed: int = 0,
) -> ReferenceSource:
    """Return the references called `name`: `zero`, `mean`, or one of the slice's `own`.

    `training` are the indices of the training role. An unknown name is refused with the nearest ones.
    """
    own = own or {}
    check_name("attribution reference", name, (*REFERENCE_NAMES, *own))
    if name in own:
        return lambda rows: _scale_own(name, own[name](dataset, rows, seed), dataset, scalings, len(rows))
    make = {"zero": zero, "mean": mean}[name]
    fixed = tuple(make(dataset, scalings, branch, training)[None] for branch in dataset.branches)
    return lambda _rows: fixed


def zero(dataset: Dataset, scalings: Mapping[str, Scaling], branch: str, _training: np.ndarray) -> np.ndarray:
    """Return float32 (*shape): zero in the inputs' own unit, which is -center / scale."""
    return apply(scalings[branch], np.zeros((1, *dataset.branches[branch].shape), np.float32))[0]


def mean(dataset: Dataset, scalings: Mapping[str, Scaling], branch: str, training: np.ndarray) -> np.ndarray:
    """Return float32 (*shape): the mean of the scaled training role; 0, the center, where an element is always masked.

    The training role is streamed whatever the scaling: that of imported weights was fitted elsewhere.
    """
    part = dataset.branches[branch]
    total, count = np.zeros(part.shape), np.zeros(part.shape)
    size = max(1, BLOCK_BYTES // (4 * part.elements))
    for start in range(0, len(training), size):
        rows = np.sort(training)[start : start + size]
        mask = dataset.mask(branch, rows)
        total += apply(scalings[branch], dataset.inputs(branch, rows), mask).sum(axis=0, dtype=np.float64)
        count += len(rows) if mask is None else (~mask).sum(axis=0)
    return (total / np.maximum(count, 1)).astype(np.float32)


def _scale_own(
    name: str, arrays: Mapping[str, np.ndarray], dataset: Dataset, scalings: Mapping[str, Scaling], rows: int
) -> tuple[np.ndarray, ...]:
    for branch, part in dataset.branches.items():
        shape = np.shape(arrays[branch]) if branch in arrays else None
        if shape not in ((1, *part.shape), (rows, *part.shape)):
            raise ConsilienceError(
                f"reference {name!r}: branch {branch} has {'no array' if shape is None else f'shape {shape}'}; "
                f"expected (1 or {rows}, *{part.shape})"
            )
        if not np.isfinite(arrays[branch]).all():
            raise ConsilienceError(f"reference {name!r}: branch {branch} has values that are not finite")
    return tuple(apply(scalings[branch], np.asarray(arrays[branch], np.float32)) for branch in dataset.branches)
