"""Methods that average gradients over random points: SmoothGrad and expected gradients.

Random numbers belong to the sample: its key seeds them, so that neither batch nor order of samples changes a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from consilience.attribution.function import Tensors
from consilience.attribution.names import DEFAULTS
from consilience.attribution.pieces import along
from consilience.errors import ConsilienceError

if TYPE_CHECKING:
    from consilience.attribution.batches import Batch

NOISE, PLACES = 1, 2


def smoothgrad(batch: Batch, settings: Mapping[str, Any]) -> Tensors:
    """Return the mean gradient under Gaussian noise (Smilkov et al. 2017, eq. 1), with its sign.

    `noise` is the noise's sd relative to the branch's, `draws` the number of noisy copies of a sample.
    """
    draws = int(settings.get("draws", DEFAULTS["draws"]))
    noisy = noise(batch, float(settings.get("noise", DEFAULTS["noise"])), draws)
    results = batch.empty()
    for members, split in batch.splits():
        here = split.project(batch.inputs, batch.auxiliary, graph=True)
        means = tuple(
            cut.new_zeros((split.function.members, split.function.targets, *cut.shape[1:])) for cut in here.cuts
        )
        for draw in range(draws):
            cuts = split.project(tuple(part[:, draw] for part in noisy), batch.auxiliary).cuts
            for mean, gradient in zip(means, split.gradients(cuts, batch.auxiliary), strict=True):
                mean.add_(gradient, alpha=1 / draws)
        # The front is affine, so that gradients go back through it alike from every point.
        for result, pulled in zip(results, here.pull(means), strict=True):
            result[members] = pulled
    return results


def noise(batch: Batch, level: float, draws: int) -> Tensors:
    """Return noisy copies of the samples, (samples, draws, *shape) a branch; what is masked stays as it is."""
    _check_keys(batch)
    copies = tuple(tensor.new_empty((len(tensor), draws, *tensor.shape[1:])) for tensor in batch.inputs)
    for sample, key in enumerate(batch.keys):
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence([key, NOISE]).generate_state(1)[0]))
        for copy, tensor, deviation, mask in zip(copies, batch.inputs, batch.deviations, batch.masks, strict=True):
            drawn = torch.randn(copy.shape[1:], generator=generator, dtype=copy.dtype) * (level * deviation)
            drawn = drawn.to(copy.device)
            if mask is not None:
                drawn.masked_fill_(mask[sample], 0)
            copy[sample] = tensor[sample] + drawn
    return copies


def expected_gradients(batch: Batch, _settings: Mapping[str, Any]) -> Tensors:
    """Return the mean over a background of (z - z') times the gradient at a random point between z' and z.

    Erion et al. 2021, eq. 3, elsewhere called gradient SHAP; one point for each background sample, places stratified,
    so that they cover the path evenly. Complete in expectation: its gap is the error of so many points.
    """
    _check_keys(batch)
    drawn = torch.as_tensor(places(batch.keys, batch.background_rows))
    drawn = drawn.to(batch.inputs[0])
    results = batch.empty()
    for members, split in batch.splits():
        here = split.project(batch.inputs, batch.auxiliary, graph=True)
        for result in results:
            result[members] = 0
        for row, references in enumerate(batch.each_background()):
            there = split.project(references, batch.auxiliary)
            positions = drawn[None, :, row, None].expand(split.function.members, -1, -1)
            gradients = split.gradients(along(here.cuts, there.cuts, positions), batch.auxiliary)
            pulled = here.pull(gradients)
            for result, part, tensor, reference in zip(results, pulled, batch.inputs, references, strict=True):
                result[members].addcmul_(part, tensor - reference)
    return tuple(result.div_(len(batch.background[0])) for result in results)


def _check_keys(batch: Batch) -> None:
    if len(batch.keys) != len(batch.inputs[0]):
        raise ConsilienceError(
            f"random points need a key for each of {len(batch.inputs[0])} samples; given: {len(batch.keys)}"
        )


def places(keys: Any, count: int) -> np.ndarray:
    """Return a place in [0, 1) for every sample and background sample, (samples, count): one in each stratum."""
    drawn = np.empty((len(keys), count))
    for sample, key in enumerate(keys):
        random = np.random.default_rng([key, PLACES])
        drawn[sample] = (random.permutation(count) + random.random(count)) / count
    return drawn
