"""What methods that average over a background share: pairs of a sample and a background sample, many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from consilience.attribution.function import GRADIENT_NUMBERS, Tensors
from consilience.attribution.names import DEFAULTS
from consilience.attribution.projection import Projection
from consilience.attribution.split import Auxiliary, Split, repeated

if TYPE_CHECKING:
    from consilience.attribution.batches import Batch

Slopes = Callable[[Split, Tensors, Tensors, Auxiliary, slice], Tensors]


def mean_over_background(batch: Batch, settings: Mapping[str, Any], slopes: Slopes) -> Tensors:
    """Return the mean over the background of (z - z') times slopes, (members, targets, samples, *shape) a branch.

    `slopes(split, here, there, auxiliary, rows)` gives those of pairs at the cuts, (members, targets, pairs, *shape),
    for each sample beside each background sample of `rows`, the latter fastest; `there` is a single row where all
    pairs share it.
    """
    results = tuple(result.zero_() for result in batch.empty())
    samples, internal = len(batch.inputs[0]), int(settings.get("internal_batch", DEFAULTS["internal_batch"]))
    elements = sum(tensor[0].numel() for tensor in batch.inputs)
    for members, split in batch.splits():
        fitting = GRADIENT_NUMBERS // (split.function.members * split.function.targets * elements)
        size = max(1, min(split.rows_at_once(internal), fitting) // samples)
        here = Projection(())
        for rows, references, there in _groups(batch, split, size):
            count = rows.stop - rows.start
            if not here.cuts or here.cuts[0].shape[1] != samples * count:
                copies = tuple(tensor.repeat_interleave(count, dim=0) for tensor in batch.inputs)
                here = split.project(copies, batch.auxiliary, graph=True)
            pulled = here.pull(slopes(split, here.cuts, there, repeated(batch.auxiliary, count), rows))
            for result, part, copy, reference in zip(results, pulled, copies, references, strict=True):
                shares = part.unflatten(2, (samples, count)), (copy - reference).unflatten(0, (samples, count))
                for slope, move in zip(shares[0].unbind(3), shares[1].unbind(1), strict=True):
                    result[members].addcmul_(slope, move)
    return tuple(result.div_(batch.background_rows) for result in results)


def _groups(batch: Batch, split: Split, size: int) -> Iterator[tuple[slice, Tensors, Tensors]]:
    """Yield background rows, `size` at a time, with the references of their pairs and these references' cuts."""
    samples, masked = len(batch.inputs[0]), any(mask is not None for mask in batch.masks)
    each, first, cuts = batch.each_background(), 0, ()
    while parts := list(islice(each, size)):
        rows = slice(first, first + len(parts))
        first = rows.stop
        if not masked and not cuts:
            cuts = split.project(batch.background, batch.auxiliary).cuts
        if not masked and len(parts) == 1:
            yield rows, parts[0], tuple(cut[:, rows] for cut in cuts)
            continue
        references = tuple(
            torch.stack([part.expand_as(tensor) for part in branch], dim=1).flatten(0, 1)
            for tensor, branch in zip(batch.inputs, zip(*parts, strict=True), strict=True)
        )
        if masked:
            yield rows, references, split.project(references, batch.auxiliary).cuts
        else:
            yield rows, references, tuple(cut[:, rows].repeat(1, samples, *[1] * (cut.ndim - 2)) for cut in cuts)
