"""Corrections of attributions to FCGR images, each for a fault that comes with the representation.

An image is a share of k-mers: it sums to 1, is empty but for a few pixels, and its neighboring pixels are k-mers that
end alike, which no sequence brings together. Arrays are torch tensors (members, targets, samples, 2^k, 2^k).
"""

from __future__ import annotations

import numpy as np
import torch

WINDOW = 3


def tangent(gradients: torch.Tensor) -> torch.Tensor:
    """Return gradients less their mean over the image: their part along the simplex sum f = 1.

    Fixes: no sequence can move all frequencies up together, so that a network's gradient in that direction is whatever
    training left there, and adds the same number to every k-mer. What is left is the slope along changes that
    sequences can make: one k-mer for another. Since a sample and its reference both sum to 1, the sum of (f - f')
    times the gradient stays as it was, and integrated gradients stay complete. (The earlier system's `tangent`
    multiplied by 1 wherever the image's Sobel gradient was not 0, and set isolated k-mers to 0.)
    """
    return gradients - gradients.mean(dim=(-2, -1), keepdim=True)


def normalized(attributions: torch.Tensor, occurrences: np.ndarray) -> torch.Tensor:
    """Return attributions per occurrence: divided by how often a k-mer occurs, 0 where it does not.

    Fixes: a k-mer that stands twice in a sequence has twice the attribution, so that repeats rank first.
    `occurrences` are counts (samples, 2^k, 2^k). (The earlier system divided by |f| + 1e-8, which made 1e8 of
    whatever lay on empty pixels.)
    """
    counts = torch.as_tensor(occurrences).to(attributions)
    return torch.where(counts > 0, attributions / counts.clamp(min=1), 0)


def filtered(attributions: torch.Tensor, windows: np.ndarray) -> torch.Tensor:
    """Return attributions smoothed along the sequence: to each k-mer the median of three that start side by side.

    Fixes: noise on single k-mers. A motif of k + 2 nucleotides or more makes a run of three k-mers and stays; a k-mer
    that stands alone goes. `windows` (samples, positions) are the pixels of the k-mers in the order of the sequence, -1
    for none; at its ends, and beside N, the median is of those there are (of two: their mean). What a k-mer has is
    divided over its occurrences first, and added up again. Where it does not occur it is 0. (The earlier system took
    the median over neighboring pixels, which are no neighbors in any sequence, and erased every isolated pixel.)
    """
    flat = attributions.flatten(-2)
    result = torch.zeros_like(flat)
    for sample, own in enumerate(windows):
        starts = np.flatnonzero(own >= 0)
        pixels, occurrences = own[starts], np.bincount(own[starts], minlength=flat.shape[-1])
        shares = flat[:, :, sample][..., pixels] / torch.as_tensor(occurrences[pixels]).to(flat)
        along = torch.full((*shares.shape[:2], len(own) + 2), torch.nan, dtype=shares.dtype, device=shares.device)
        along[..., 1 + starts] = shares
        smooth = along.unfold(-1, WINDOW, 1).nanquantile(0.5, dim=-1)[..., starts]
        result[:, :, sample].index_add_(-1, torch.as_tensor(pixels, device=flat.device), smooth)
    return result.unflatten(-1, attributions.shape[-2:])
