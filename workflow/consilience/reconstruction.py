"""How far reconstructions of rows miss them."""

from __future__ import annotations

import torch
from torch import Tensor


class Errors:
    """Sums over rows, from which errors follow, float64; `center` (inputs,) is the mean of the training rows."""

    def __init__(self, center: Tensor) -> None:
        self.center = center.double()
        self.rows = 0
        # Of rows less the center, and of what is missed.
        self.squares = torch.zeros(2, dtype=torch.float64, device=center.device)
        self.totals = torch.zeros(2, len(center), dtype=torch.float64, device=center.device)

    def add(self, inputs: Tensor, missed: Tensor) -> None:
        """Add rows (rows, inputs) and what their reconstruction misses of them."""
        moved, missed = inputs.double() - self.center, missed.double()
        self.rows += len(inputs)
        self.squares += torch.stack([moved.square().sum(), missed.square().sum()])
        self.totals += torch.stack([moved.sum(dim=0), missed.sum(dim=0)])

    def named(self) -> dict[str, float | None]:
        """Return the errors by name, as `sparse_autoencoder.quality` tells; None for what is not defined."""
        spread, squared = self.squares.tolist()
        varied, left = (self.squares - self.totals.square().sum(dim=1) / self.rows).tolist()
        # What rounding leaves of rows that are all the same is no variance.
        varies = varied > 1e-12 * spread
        return {
            "mean_squared_error": squared / (self.rows * len(self.center)),
            "normalized_mean_squared_error": squared / spread if spread > 0 else None,
            "explained_variance": 1 - left / varied if varies else None,
        }
