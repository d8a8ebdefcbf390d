"""Arrays as people give them, of any number of branches: taken apart, and checked with one-line errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from consilience.errors import ConsilienceError, nearest

# An array or tensor (samples, *shape) where there is one branch; else one for each, in order or by name.
Arrays = Any
Shapes = Mapping[str, tuple[int, ...]]


def named(arrays: Arrays) -> dict[str, Any]:
    """Return arrays by branch; what has no name is `inputs`, or `inputs_0`, `inputs_1`... where there are several."""
    if isinstance(arrays, Mapping):
        return dict(arrays)
    if isinstance(arrays, tuple | list):
        return {f"inputs_{place}": array for place, array in enumerate(arrays)}
    return {"inputs": arrays}


def in_order(what: str, arrays: Arrays, names: Sequence[str]) -> list[Any]:
    """Return the arrays in the order of the branches `names`; refuses other branches, and another number of them."""
    if isinstance(arrays, Mapping):
        check_names(what, "branch", arrays, names)
        return [arrays[name] for name in names]
    given = list(arrays) if isinstance(arrays, tuple | list) else [arrays]
    if len(given) != len(names):
        raise ConsilienceError(f"{what}: {len(given)} given; the networks take {len(names)}: {', '.join(names)}")
    return given


def check_names(what: str, kind: str, given: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse names that are not among `names`, and a lack of one."""
    known = ", ".join(names) or "none"
    for name in given:
        if name not in names:
            raise ConsilienceError(f"{what}: no {kind} {name!r}; the networks take: {known}{nearest(name, names)}")
    for name in names:
        if name not in given:
            raise ConsilienceError(f"{what}: {kind} {name} is missing; the networks take: {known}")


def tensor_of(what: str, array: Any) -> torch.Tensor:
    """Return an array or tensor of numbers as a tensor on the CPU, without its history."""
    if not isinstance(array, torch.Tensor):
        array = np.asarray(array)
        if array.dtype.kind not in "biuf":
            raise ConsilienceError(f"{what} holds {array.dtype}; expected an array of numbers")
        array = torch.as_tensor(array)
    return array.detach().cpu()


def check_shape(what: str, tensor: torch.Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a tensor that is not (samples, *shape)."""
    if tensor.ndim == 0 or tuple(tensor.shape[1:]) != tuple(shape):
        expected = ", ".join(map(str, ("samples", *shape)))
        raise ConsilienceError(f"{what} has shape {tuple(tensor.shape)}; expected ({expected})")


def check_finite(what: str, tensor: torch.Tensor, mask: torch.Tensor | None = None) -> None:
    """Refuse NaN and infinities, where they are not masked."""
    bad = ~tensor.isfinite()
    if mask is not None and mask.shape == tensor.shape:
        bad &= ~mask
    if bad.any():
        place = bad.nonzero()[0].tolist()
        raise ConsilienceError(
            f"{what}: sample {place[0]} has {tensor[tuple(place)].item()} at {place[1:]}; expected finite numbers"
        )


def samples_of(what: str, tensors: Mapping[str, torch.Tensor]) -> int:
    """Return how many samples all tensors hold; refuses different numbers, and none."""
    counts = {name: len(tensor) for name, tensor in tensors.items()}
    if len(set(counts.values())) > 1:
        raise ConsilienceError(f"{what}: as many samples in each are expected; given: {counts}")
    if not next(iter(counts.values())):
        raise ConsilienceError(f"{what}: no samples")
    return next(iter(counts.values()))


def unit_maps(shapes: Shapes, units: Arrays | None) -> list[np.ndarray]:
    """Return the unit maps, int64 (*shape) a branch: each element is its own feature where `units` is None."""
    if units is None:
        sizes = [int(np.prod(shape)) for shape in shapes.values()]
        starts = np.cumsum([0, *sizes[:-1]])
        return [
            np.arange(size).reshape(shape) + start
            for size, start, shape in zip(sizes, starts, shapes.values(), strict=True)
        ]
    maps = [np.asarray(part) for part in in_order("units", units, list(shapes))]
    for (name, shape), part in zip(shapes.items(), maps, strict=True):
        if part.shape != shape or part.dtype.kind not in "iu":
            raise ConsilienceError(
                f"units: branch {name} has {part.dtype} of shape {part.shape}; expected whole numbers of shape {shape}"
            )
    return [part.astype(np.int64) for part in maps]


def feature_table(shapes: Shapes, units: Sequence[np.ndarray], names: Sequence[str] | None) -> pd.DataFrame:
    """Return the table of features, `name` and `branch` (the first that has it); the numbers of features are names.

    Refuses names that repeat, another number of names than of features, and a feature without elements.
    """
    branches: dict[int, str] = {}
    for branch, part in zip(shapes, units, strict=True):
        branches |= {number: branch for number in np.unique(part).tolist() if number not in branches}
    numbers = sorted(number for number in branches if number >= 0)
    count = len(names) if names is not None else len(numbers)
    if numbers != list(range(count)):
        raise ConsilienceError(
            f"features: {count} names; the units number {len(numbers)} features, up to {numbers[-1] if numbers else -1}"
        )
    frame = pd.DataFrame({"name": numbers if names is None else list(names), "branch": [branches[n] for n in numbers]})
    repeated = frame["name"][frame["name"].duplicated()]
    if len(repeated):
        raise ConsilienceError(f"features: names must be unique; {repeated.iloc[0]!r} repeats")
    return frame.astype({"name": str})
