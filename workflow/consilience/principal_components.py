"""Principal components, what a dictionary is held against."""

from __future__ import annotations

import torch
from torch import Tensor

from consilience.reconstruction import Errors

ROWS = 4096


@torch.no_grad()
def directions(training: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (inputs,) of `training` (rows, inputs) and its principal directions, float64.

    The directions (inputs, components) are of length one, those of the largest variance first. There are no more than
    inputs, nor than rows less one: the training rows do not vary along any other.
    """
    center = training.double().mean(dim=0)
    covariance = sum((rows.double() - center).T @ (rows.double() - center) for rows in training.split(ROWS))
    count = min(training.shape[1], len(training) - 1)
    return center, torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, :count]


@torch.no_grad()
def errors_of(center: Tensor, vectors: Tensor, inputs: Tensor) -> dict[str, float | None]:
    """Return how far the components along `vectors` (inputs, components) miss rows (rows, inputs); see `directions`."""
    sums = Errors(center)
    for rows in inputs.split(ROWS):
        moved = rows.double() - center
        sums.add(rows, moved - moved @ vectors @ vectors.T)
    return sums.named()
