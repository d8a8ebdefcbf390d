"""Occlusion: how much the prediction falls when a feature goes to its reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from consilience.attribution.function import Tensors
from consilience.attribution.names import DEFAULTS
from consilience.attribution.split import Split, repeated
from consilience.errors import ConsilienceError

if TYPE_CHECKING:
    from consilience.attribution.batches import Batch

# Numbers of the matrix that a front is, beyond which features are occluded in the inputs themselves.
MATRIX_NUMBERS = 2**26


def occlusion(batch: Batch, settings: Mapping[str, Any]) -> Tensors:
    """Return F(z) - F(z with all elements of the feature at the reference), spread evenly over these elements.

    Zeiler & Fergus 2014, section 4.2, with features in place of patches. Elements of no feature get 0.
    """
    if batch.sums is None:
        raise ConsilienceError("occlusion needs to know which elements belong to which feature; no units were given")
    references = batch.checked_references()
    internal = int(settings.get("internal_batch", DEFAULTS["internal_batch"]))
    differences = tuple(tensor - reference for tensor, reference in zip(batch.inputs, references, strict=True))
    results = batch.empty()
    for members, split in batch.splits():
        matrix = front_matrix(split, batch)
        if matrix is None:
            split = split.whole()
        cuts = split.project(batch.inputs, batch.auxiliary).cuts
        values = split.values(cuts, batch.auxiliary)
        effects = values[:, :, None].repeat(1, 1, batch.sums.features, 1)
        for sample, features in _parts(len(batch.inputs[0]), batch.sums.features, split.rows_at_once(internal)):
            moved = tuple(difference[sample] for difference in differences)
            changes = (
                _moved_inputs(split, batch, moved, features)
                if matrix is None
                else _moved_cuts(matrix, batch, moved, features, cuts)
            )
            count = changes[0].shape[1]
            rows = tuple(cut[:, sample : sample + 1] - change for cut, change in zip(cuts, changes, strict=True))
            auxiliary = repeated({name: part[sample : sample + 1] for name, part in batch.auxiliary.items()}, count)
            effects[:, sample, features] -= split.values(rows, auxiliary)
        for result, part in zip(results, batch.sums.spread(effects.movedim(3, 1), batch.inputs), strict=True):
            result[members] = part
    return results


def front_matrix(split: Split, batch: Batch) -> torch.Tensor | None:
    """Return the front's matrix (members, elements of all cuts, elements of all inputs); None without, or too large.

    A front that gives more numbers than it takes, like a convolution's, is no shortcut.
    """
    elements = sum(shape.numel() for shape in split.shapes)
    if not split.has_front or split.width > elements:
        return None
    if split.function.members * split.width * elements > MATRIX_NUMBERS:
        return None
    zeros = tuple(tensor.new_zeros((split.width, *tensor.shape[1:])) for tensor in batch.inputs)
    projection = split.project(zeros, batch.auxiliary, graph=True)
    identity = torch.eye(split.width, dtype=zeros[0].dtype, device=zeros[0].device)
    sizes = [cut[0, 0].numel() for cut in projection.cuts]
    members = split.function.members
    directions = tuple(
        part.reshape(1, 1, split.width, *cut.shape[2:]).expand(members, 1, *cut.shape[1:])
        for part, cut in zip(identity.split(sizes, dim=1), projection.cuts, strict=True)
    )
    return torch.cat([part[:, 0].flatten(2) for part in projection.pull(directions)], dim=2)


def _parts(samples: int, features: int, rows: int) -> Iterator[tuple[int, slice]]:
    for sample in range(samples):
        for first in range(0, features, rows):
            yield sample, slice(first, min(first + rows, features))


def _moved_inputs(split: Split, batch: Batch, moved: Tensors, features: slice) -> Tensors:
    """Return by how much the inputs (1 or members, features, *shape) move for each of some features."""
    numbers = torch.arange(features.start, features.stop, device=moved[0].device)
    changes = []
    for part, units in zip(moved, batch.sums.by_branch, strict=True):
        chosen = units == numbers.reshape(-1, *[1] * units.ndim)
        changes.append(torch.where(chosen, part, 0).expand(split.function.members, *chosen.shape))
    return tuple(changes)


def _moved_cuts(matrix: torch.Tensor, batch: Batch, moved: Tensors, features: slice, cuts: Tensors) -> Tensors:
    """Return by how much the cuts (members, features, *shape) move for each of some features."""
    flat = torch.cat([part.flatten() for part in moved])
    units = torch.cat([part.flatten() for part in batch.sums.by_branch])
    chosen = ((units >= features.start) & (units < features.stop)).nonzero().squeeze(1)
    shares = (matrix[:, :, chosen] * flat[chosen]).movedim(2, 1)
    changes = shares.new_zeros((len(matrix), features.stop - features.start, shares.shape[2]))
    changes.index_add_(1, units[chosen] - features.start, shares)
    sizes = [cut[0, 0].numel() for cut in cuts]
    return tuple(
        part.reshape(*part.shape[:2], *cut.shape[2:])
        for part, cut in zip(changes.split(sizes, dim=2), cuts, strict=True)
    )
