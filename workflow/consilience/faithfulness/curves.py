"""Deletion and insertion: whether the prediction follows the features that a method ranks first.

Petsiuk, Das & Saenko (2018), "RISE", section 4.3; Samek et al. (2017), "Evaluating the visualization of what a deep
neural network has learned", section III. A feature is deleted by setting all its elements to the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from consilience.attribution.function import Tensors
from consilience.training.members import stable_seed

SHARES = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1)
KINDS = ("deletion", "insertion")
RANDOM, MAGNITUDE = "random", "magnitude_of_input"
CONTROLS = (RANDOM, MAGNITUDE)
DRAWS = 5

# From inputs, a tensor (samples, *shape) a branch, to the explained value of each sample, float64 (samples,).
Value = Callable[[Tensors], np.ndarray]


def counts_of(features: int) -> np.ndarray:
    """Return how many features are replaced at each point of a curve: `SHARES` rounded up, each number once."""
    # The product of a share such as 0.07 may lie a rounding above the whole number that is meant.
    return np.unique(np.ceil(np.asarray(SHARES) * features - 1e-9).astype(np.int64))


def places_of(scores: np.ndarray) -> np.ndarray:
    """Return the place (samples, features) of each feature in its sample's ranking, 0 the highest score.

    Equal scores keep the order of features.
    """
    return _inverse(np.argsort(-scores, axis=1, kind="stable"))


def random_places(samples: Sequence[str], features: int, draw: int, seed: int) -> np.ndarray:
    """Return places (samples, features) of a random ranking, which depends on each sample's id and no other."""
    orders = [
        np.random.default_rng(stable_seed(seed, "random ranking", sample, draw)).permutation(features)
        for sample in samples
    ]
    return np.stack(orders)


def _inverse(order: np.ndarray) -> np.ndarray:
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(order.shape[1])[None], axis=1)
    return places


def replaced(start: Tensors, end: Tensors, units: Sequence[torch.Tensor], places: torch.Tensor, count: int) -> Tensors:
    """Return `start` with the elements of the first `count` features as they are in `end`.

    `units` are the unit maps, int (*shape) a branch; elements of no feature (-1) stay as in `start`.
    """
    chosen = torch.nn.functional.pad(places < count, (0, 1), value=False)
    return tuple(torch.where(chosen[:, unit], new, old) for old, new, unit in zip(start, end, units, strict=True))


def curves(
    value: Value,
    inputs: Tensors,
    references: Tensors,
    units: Sequence[torch.Tensor],
    places: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
) -> dict[str, np.ndarray]:
    """Return s (F(x_k) - F(reference)) of `KINDS`, float64 (samples, points), at the points of `counts_of`.

    s is the sign of F(x) - F(reference). Deletion starts at the sample and sets the features at the first places to
    the reference; insertion starts at the reference and sets them to the sample. Elements of no feature go last of
    all, so that both curves end where the other starts. `ends` are F(x) and F(reference), (samples,).
    """
    points = counts_of(places.shape[1])
    before = torch.as_tensor(places, device=inputs[0].device)
    sides = {"deletion": (inputs, references, *ends), "insertion": (references, inputs, *ends[::-1])}
    result = {}
    for kind, (start, end, first, last) in sides.items():
        between = [value(replaced(start, end, units, before, int(count))) for count in points[1:-1]]
        values = np.stack([first, *between, last], axis=1)
        result[kind] = np.sign(ends[0] - ends[1])[:, None] * (values - ends[1][:, None])
    return result


def areas(curve: np.ndarray, features: int) -> np.ndarray:
    """Return the area (...) under curves (..., points) over the share of features, by the trapezoidal rule."""
    return np.trapezoid(curve, counts_of(features) / features, axis=-1)
