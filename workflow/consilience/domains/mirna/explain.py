"""References and methods of attribution that know sequences, and what a frequency image can and cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from consilience.attribution.function import Tensors, full_precision
from consilience.attribution.names import DEFAULTS
from consilience.attribution.paths import path_gradients
from consilience.dataset import Dataset
from consilience.domains.mirna.corrections import filtered, normalized, tangent
from consilience.domains.mirna.fcgr import counts, frequencies, pixels
from consilience.domains.mirna.mutagenesis import (
    mutated,
    position_effects,
    scaled_images,
    sequences_of,
    side_and_k,
    spread_over_kmers,
)
from consilience.domains.mirna.prepare import BRANCHES
from consilience.domains.mirna.sequences import dinucleotide_shuffle as shuffled
from consilience.domains.mirna.sequences import encode
from consilience.training.members import stable_seed

if TYPE_CHECKING:
    from consilience.attribution.batches import Batch


def dinucleotide_shuffle(dataset: Dataset, rows: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return each sample's own sequences with their dinucleotides shuffled, drawn by its id, as images.

    A reference on the data manifold: sequences of the same length and composition, without what they say.
    """
    k = int(dataset.branches[BRANCHES[0]].shape[0]).bit_length() - 1
    return shuffled_images(dataset.samples.iloc[rows], k, seed)


def shuffled_images(pairs: pd.DataFrame, k: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the images of shuffled sequences, float32 (pairs, 2^k, 2^k) by branch.

    `pairs` have the columns mirna, site and id; the id, with the seed, draws the shuffle. N stays where it is, and what
    lies between is shuffled by itself, so that there are as many k-mers as before.
    """
    images = {}
    for branch in BRANCHES:
        drawn = (np.random.default_rng(stable_seed(seed, "shuffle", branch, str(name))) for name in pairs["id"])
        copies = [
            "N".join(shuffled(part, random) for part in sequence.split("N"))
            for sequence, random in zip(pairs[branch], drawn, strict=True)
        ]
        images[branch] = frequencies(encode(copies), k)
    return images


def mutagenesis(batch: Batch, settings: Mapping[str, Any]) -> Tensors:
    """Return in-silico mutagenesis: each nucleotide's mean fall of F under its three substitutions, by k-mer.

    It is divided evenly over the k-mers that cover the nucleotide, so that an image sums to the falls of all.
    """
    k, codes = side_and_k(batch), sequences_of(batch)
    effects = position_effects(batch, _internal(settings))
    return tuple(
        spread_over_kmers(part, own, k).to(like) for part, own, like in zip(effects, codes, batch.inputs, strict=True)
    )


def mutation_smoothgrad(batch: Batch, settings: Mapping[str, Any]) -> Tensors:
    """Return the mean gradient over `draws` mutated copies of the sequences, each nucleotide replaced at rate `noise`.

    SmoothGrad (Smilkov et al. 2017, eq. 1) whose noise is that of sequences: every copy is an image that a sequence
    has, where Gaussian noise fills the empty pixels and takes frequencies below 0.
    """
    draws, rate = (settings.get(key, DEFAULTS[key]) for key in ("draws", "noise"))
    codes = sequences_of(batch)
    randoms = [[np.random.default_rng([key, place]) for key in batch.keys] for place in range(len(codes))]
    totals = tuple(result.zero_() for result in batch.empty())
    for _ in range(int(draws)):
        copies = [
            np.stack([mutated(*pair, random) for *pair, random in ((row, rate, own) for row, own in rows)])
            for rows in (zip(branch, own, strict=True) for branch, own in zip(codes, randoms, strict=True))
        ]
        inputs = tuple(scaled_images(batch, place, copy) for place, copy in enumerate(copies))
        for total, gradient in zip(totals, batch.function.gradients(inputs, batch.auxiliary)[1], strict=True):
            total.add_(gradient, alpha=1 / int(draws))
    return totals


def tangent_integrated_gradients(batch: Batch, settings: Mapping[str, Any]) -> Tensors:
    """Return integrated gradients with gradients on the simplex sum f = 1 (`corrections.tangent`); complete."""
    return batch.times_difference(tuple(tangent(part) for part in _path_gradients(batch, settings)))


def normalized_integrated_gradients(batch: Batch, settings: Mapping[str, Any]) -> Tensors:
    """Return integrated gradients per occurrence of a k-mer (`corrections.normalized`); no share of F."""
    k = side_and_k(batch)
    attributions = batch.times_difference(_path_gradients(batch, settings))
    pairs = zip(attributions, sequences_of(batch), strict=True)
    return tuple(normalized(part, counts(codes, k)) for part, codes in pairs)


def filtered_integrated_gradients(batch: Batch, settings: Mapping[str, Any]) -> Tensors:
    """Return integrated gradients smoothed along the sequence (`corrections.filtered`); no share of F."""
    k = side_and_k(batch)
    attributions = batch.times_difference(_path_gradients(batch, settings))
    pairs = zip(attributions, sequences_of(batch), strict=True)
    return tuple(filtered(part, pixels(codes, k)) for part, codes in pairs)


def _path_gradients(batch: Batch, settings: Mapping[str, Any]) -> Tensors:
    """Return the mean gradient from reference to sample, computed once a batch for the methods that correct it."""
    if "path_gradients" not in batch.shared:
        batch.shared["path_gradients"] = path_gradients(batch, settings)
    return batch.shared["path_gradients"]


def grad_cam(batch: Batch, _settings: Mapping[str, Any]) -> Tensors:
    """Return Grad-CAM of each branch (Selvaraju et al. 2017, eq. 1 and 2): relu(sum_c w_c A_c), spread over the image.

    A are the outputs of the branch's last convolution behind batch norm and ReLU, w_c the mean gradient of F on channel
    c. It is coarse, of either branch by itself, without a sign, and not rescaled, so that samples can be compared.
    """
    results = batch.empty()
    targets = batch.function.target_map
    for member in range(batch.function.members):
        network = batch.function.member_module(member)
        layers = [getattr(network, branch).third.activation for branch in BRANCHES]
        # By layer: the network may call its branches in another order.
        seen: dict[torch.nn.Module, torch.Tensor] = {}

        def keep(layer: torch.nn.Module, _inputs: Any, output: torch.Tensor, into: dict = seen) -> None:
            into[layer] = output

        for layer in layers:
            layer.register_forward_hook(keep)
        with torch.enable_grad(), full_precision(batch.inputs[0]):
            outputs = network(*(tensor.detach().requires_grad_() for tensor in batch.inputs), **batch.auxiliary)
        found = [seen[layer] for layer in layers]
        for target in range(len(targets)):
            cotangent = targets[target].to(outputs.dtype).expand_as(outputs)
            with full_precision(outputs):
                slopes = torch.autograd.grad(outputs, found, cotangent, retain_graph=True)
            for result, activations, slope in zip(results, found, slopes, strict=True):
                weights = slope.mean(dim=(2, 3), keepdim=True)
                maps = (weights * activations.detach()).sum(dim=1, keepdim=True).relu()
                size = result.shape[-2:]
                result[member, target] = functional.interpolate(maps, size, mode="bilinear", align_corners=False)[:, 0]
    return results


def _internal(settings: Mapping[str, Any]) -> int:
    return int(settings.get("internal_batch", DEFAULTS["internal_batch"]))


references = {"dinucleotide_shuffle": dinucleotide_shuffle}
methods = {
    "mutagenesis": mutagenesis,
    "mutation_smoothgrad": mutation_smoothgrad,
    "tangent_integrated_gradients": tangent_integrated_gradients,
    "normalized_integrated_gradients": normalized_integrated_gradients,
    "filtered_integrated_gradients": filtered_integrated_gradients,
    "grad_cam": grad_cam,
}
