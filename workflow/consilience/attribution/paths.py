"""Integrated gradients: the mean gradient on the straight line from a reference to a sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from consilience.attribution.function import Tensors
from consilience.attribution.names import DEFAULTS
from consilience.attribution.pieces import along, mean_slope, pieces, segments
from consilience.attribution.split import Auxiliary, Split, repeated

if TYPE_CHECKING:
    from consilience.attribution.batches import Batch

Positions = tuple[torch.Tensor, torch.Tensor]
TYPICAL_PIECES = 32


def integrated_gradients(batch: Batch, settings: Mapping[str, Any]) -> Tensors:
    """Return (z - z_ref) times the mean gradient between them (Sundararajan, Taly & Yan 2017, eq. 1).

    All branches move along one path. Piecewise-linear networks are integrated exactly, from bend to bend; others by a
    Gauss-Legendre quadrature with `steps` points. What is affine before the first nonlinearity is computed once a
    sample, not once a point. `internal_batch` bounds memory and changes the order of summation alone.
    """
    return batch.times_difference(path_gradients(batch, settings))


def path_gradients(batch: Batch, settings: Mapping[str, Any]) -> Tensors:
    """Return the mean gradient between the references and the samples, (members, targets, samples, *shape) a branch."""
    references = batch.checked_references()
    results = batch.empty()
    for members, split in batch.splits():
        here, there = split.project_ends(batch.inputs, references, batch.auxiliary)
        means = mean_gradients(split, here.cuts, there, batch.auxiliary, settings)
        for result, pulled in zip(results, here.pull(means), strict=True):
            result[members] = pulled
    return results


def mean_gradients(
    split: Split,
    here: Tensors,
    there: Tensors,
    auxiliary: Auxiliary,
    settings: Mapping[str, Any],
    typical: int = TYPICAL_PIECES,
) -> Tensors:
    """Return the mean gradient between the cuts of samples and references, (members, targets, samples, *shape).

    Samples are taken together as if a piecewise-linear path had `typical` pieces.
    """
    steps = int(settings.get("steps", DEFAULTS["steps"]))
    rows = split.rows_at_once(int(settings.get("internal_batch", DEFAULTS["internal_batch"])))
    layers = pieces(split, here, auxiliary) if settings.get("exact", True) else None
    points = steps if layers is None else typical
    size = max(1, rows // points)
    shape = (split.function.members, split.function.targets, here[0].shape[1])
    means = tuple(cut.new_zeros((*shape, *cut.shape[2:])) for cut in here)
    for first in range(0, shape[2], size):
        samples = slice(first, first + size)
        ends = rows_of(here, samples), rows_of(there, samples)
        own = {name: tensor[samples] for name, tensor in auxiliary.items()}
        nodes = quadrature(steps, here[0]) if layers is None else segments(split, layers, *ends, own)
        for positions, weights in _parts(nodes, max(1, rows // len(ends[0][0][0]))):
            parts = _weighted(split, ends, own, positions, weights, bending=layers is not None)
            for mean, part in zip(means, parts, strict=True):
                mean[:, :, samples] += part
    return means


def quadrature(steps: int, like: torch.Tensor) -> Positions:
    """Return the points and weights (1, 1, steps) of Gauss-Legendre quadrature on [0, 1], as `like` in type."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return tuple(like.new_tensor(part).reshape(1, 1, -1) for part in ((nodes + 1) / 2, weights / 2))


def rows_of(cuts: Tensors, samples: slice) -> Tensors:
    """Return some samples of cuts (members, samples or 1, *shape); a single row stands for every sample."""
    return tuple(cut if cut.shape[1] == 1 else cut[:, samples] for cut in cuts)


def _parts(nodes: Positions, points: int) -> Iterator[Positions]:
    positions, weights = nodes
    return zip(positions.split(points, dim=2), weights.split(points, dim=2), strict=True)


def _weighted(
    split: Split,
    ends: tuple[Tensors, Tensors],
    auxiliary: Auxiliary,
    positions: torch.Tensor,
    weights: torch.Tensor,
    bending: bool,
) -> Tensors:
    """Return the weighted sum of the gradients at the positions, (members, targets, samples, *shape).

    With `bending` positions and weights are the middles and lengths of pieces.
    """
    shape = ends[0][0].shape[:2]
    positions = positions.expand(*shape, -1)
    weights = weights.expand(*shape, -1)
    count = positions.shape[2]

    def reduce(gradients: Tensors) -> Tensors:
        return tuple(
            torch.einsum("mnp,mnpx->mnx", weights, gradient.reshape(*shape, count, -1)).reshape(
                *shape, *gradient.shape[2:]
            )
            for gradient in gradients
        )

    points, auxiliary = along(*ends, positions), repeated(auxiliary, count)
    if not bending:
        return split.gradients(points, auxiliary, reduce)
    moves = tuple((sample - reference).abs() for sample, reference in zip(*ends, strict=True))
    widths = along(moves, tuple(torch.zeros_like(move[:, :1]) for move in moves), weights)
    return split.gradients(points, auxiliary, reduce, mean_slope, beside=widths)
