"""References: the inputs that an attribution method compares a sample with, in scaled units."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.ndimage import gaussian_filter

from consilience.attribution.names import REFERENCE_NAMES, check_name
from consilience.dataset import Dataset
from consilience.errors import ConsilienceError
from consilience.scaling import Scaling, apply, scaled_inputs
from consilience.training.members import stable_seed

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
    blur: float = 0.1,
) -> ReferenceSource:
    """Return the references called `name`: `zero`, `mean`, `blurred`, `sample`, or one of the slice's `own`.

    `training` are the indices of the training role; `blur` is the blur's sd as a share of an axis. An unknown name is
    refused with the nearest ones.
    """
    own = own or {}
    check_name("attribution reference", name, (*REFERENCE_NAMES, *own))
    if name in own:
        return lambda rows: _scale_own(name, own[name](dataset, rows, seed), dataset, scalings, len(rows))
    if name == "blurred":
        _check_blur(dataset)
        return lambda rows: tuple(blurred(dataset, scalings, branch, rows, blur) for branch in dataset.branches)
    if name == "sample":
        return lambda rows: _scaled(dataset, scalings, partners(dataset, rows, training, seed))
    make = {"zero": zero, "mean": mean}[name]
    fixed = tuple(make(dataset, scalings, branch, training)[None] for branch in dataset.branches)
    return lambda _rows: fixed


def background(
    dataset: Dataset, scalings: Mapping[str, Scaling], training: np.ndarray, count: int, seed: int
) -> tuple[np.ndarray, ...]:
    """Return a seeded sample of `count` training samples (all, where there are fewer), scaled, (rows, *shape) a branch.

    Which are drawn follows from their ids, so that the order of samples changes nothing.
    """
    ids = dataset.samples["id"].astype(str).to_numpy()[training]
    order = sorted(range(len(training)), key=lambda place: (stable_seed(seed, "background", ids[place]), ids[place]))
    return _scaled(dataset, scalings, training[order[:count]])


def partners(dataset: Dataset, rows: np.ndarray, training: np.ndarray, seed: int) -> np.ndarray:
    """Return a training sample for each of `rows` (indices), drawn by the ids of both; never the sample itself."""
    ids = dataset.samples["id"].astype(str).to_numpy()
    training = training[np.argsort(ids[training])]
    if len(training) < 2:
        raise ConsilienceError("reference 'sample' needs two training samples or more")
    chosen = []
    for row in rows:
        others = training[training != row]
        chosen.append(others[stable_seed(seed, "reference", ids[row]) % len(others)])
    return np.asarray(chosen)


def blurred(
    dataset: Dataset, scalings: Mapping[str, Scaling], branch: str, rows: np.ndarray, share: float
) -> np.ndarray:
    """Return float32 (rows, *shape): the samples at `rows` blurred, and scaled; see `blur`."""
    return blur(scalings[branch], dataset.inputs(branch, rows), dataset.mask(branch, rows), share)


def blur(scaling: Scaling, block: np.ndarray, mask: np.ndarray | None, share: float) -> np.ndarray:
    """Return a block (rows, *shape) under a Gaussian blur over the last two axes in its own unit, scaled, float32.

    The sd is `share` of each axis. What is masked is left out of the blur (normalized convolution, Knutsson & Westin
    1993), and is 0, the center.
    """
    inputs = block.astype(np.float64)
    sd = [0.0] * (inputs.ndim - 2) + [share * length for length in inputs.shape[-2:]]
    if mask is None:
        return apply(scaling, gaussian_filter(inputs, sd, mode="nearest"))
    weight = gaussian_filter((~mask).astype(np.float64), sd, mode="nearest")
    smooth = gaussian_filter(np.where(mask, 0, inputs), sd, mode="nearest")
    return apply(scaling, np.where(mask, 0, smooth / np.where(weight > 0, weight, 1)), mask)


def _check_blur(dataset: Dataset) -> None:
    for name, branch in dataset.branches.items():
        if len(branch.shape) < 2:
            raise ConsilienceError(
                f"attribution.reference: blurred needs branches with two axes or more; {name} has shape {branch.shape}"
            )


def _scaled(dataset: Dataset, scalings: Mapping[str, Scaling], rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Read samples at any indices, in their order, scaled."""
    unique, places = np.unique(rows, return_inverse=True)
    arrays, _ = scaled_inputs(dataset, scalings, unique)
    return tuple(array[places] for array in arrays)


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
