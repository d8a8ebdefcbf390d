"""Principal components, what a dictionary is held against."""

from __future__ import annotations

import torch
from torch import Tensor

from consilience.reconstruction import Errors

ROWS = 4096


@torch.no_grad()
def principal_components(training: Tensor, inputs: Tensor, count: int) -> dict[str, float | None]:
    """Return how far the first `count` principal components of `training` (rows, inputs) miss the rows of `inputs`."""
    center = training.double().mean(dim=0)
    covariance = sum((rows.double() - center).T @ (rows.double() - center) for rows in training.split(ROWS))
    directions = torch.linalg.eigh(covariance).eigenvectors[:, -count:]
    sums = Errors(center)
    for rows in inputs.split(ROWS):
        moved = rows.double() - center
        sums.add(rows, moved - moved @ directions @ directions.T)
    return sums.named()
