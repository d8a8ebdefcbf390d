"""Methods that average gradients over random points: SmoothGrad and expected gradients.

Random numbers belong to the sample: its key seeds them, so that neither batch nor order of samples changes a result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from consilience.attribution.background import mean_over_background
from consilience.attribution.function import Tensors
from consilience.attribution.names import DEFAULTS
from consilience.attribution.pieces import along
from consilience.attribution.split import Auxiliary, Split
from consilience.errors import ConsilienceError

if TYPE_CHECKING:
    from consilience.attribution.batches import Batch

NOISE, PLACES = 1, 2


def smoothgrad(batch: Batch, settings: Mapping[str, Any]) -> Tensors:
    """Return the mean gradient under Gaussian noise (Smilkov et al. 2017, eq. 1), with its sign.

    `noise` is the noise's sd relative to the branch's, `draws` the number of noisy copies of a sample.
    """
    draws, level = (settings.get(key, DEFAULTS[key]) for key in ("draws", "noise"))
    results = batch.empty()
    for members, split in batch.splits():
        here = split.project(batch.inputs, batch.auxiliary, graph=True)
        means = tuple(
            cut.new_zeros((split.function.members, split.function.targets, *cut.shape[1:])) for cut in here.cuts
        )
        for noisy in noise(batch, float(level), int(draws)):
            cuts = split.project(noisy, batch.auxiliary).cuts
            for mean, gradient in zip(means, split.gradients(cuts, batch.auxiliary), strict=True):
                mean.add_(gradient, alpha=1 / draws)
        # The front is affine, so that gradients go back through it alike from every point.
        for result, pulled in zip(results, here.pull(means), strict=True):
            result[members] = pulled
    return results


def noise(batch: Batch, level: float, draws: int) -> Iterator[Tensors]:
    """Yield noisy copies of the samples, (samples, *shape) a branch; what is masked stays as it is."""
    _check_keys(batch)
    seeds = [int(np.random.SeedSequence([key, NOISE]).generate_state(1)[0]) for key in batch.keys]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    for _ in range(draws):
        copies = []
        for tensor, deviation, mask in zip(batch.inputs, batch.deviations, batch.masks, strict=True):
            drawn = torch.stack(
                [torch.randn(tensor.shape[1:], generator=own, dtype=tensor.dtype) for own in generators]
            ).to(tensor.device)
            drawn *= level * deviation
            copies.append(tensor + (drawn if mask is None else drawn.masked_fill_(mask, 0)))
        yield tuple(copies)


def expected_gradients(batch: Batch, settings: Mapping[str, Any]) -> Tensors:
    """Return the mean over a background of (z - z') times the gradient at a random point between z' and z.

    Erion et al. 2021, eq. 3, elsewhere called gradient SHAP; one point for each background sample, places stratified,
    so that they cover the path evenly. Complete in expectation: its gap is the error of so many points.
    """
    _check_keys(batch)
    drawn = torch.as_tensor(places(batch.keys, batch.background_rows))
    drawn = drawn.to(batch.inputs[0])

    def slopes(split: Split, here: Tensors, there: Tensors, auxiliary: Auxiliary, rows: slice) -> Tensors:
        positions = drawn[:, rows].reshape(1, -1, 1).expand(split.function.members, -1, -1)
        return split.gradients(along(here, there, positions), auxiliary)

    return mean_over_background(batch, settings, slopes)


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
