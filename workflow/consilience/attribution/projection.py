"""Samples as they leave the affine front of a network, with the way back to the inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from consilience.attribution.function import Tensors, full_precision


@dataclass
class Projection:
    """Samples in the front's outputs.

    `cuts` are detached, (members, rows, *shape) each. `front` and `leaves` hold the graph that leads back to the
    inputs, where one was asked for; without a front both are empty and the cuts are the inputs. Leaves may have more
    rows, at their end.
    """

    cuts: Tensors
    front: Tensors = ()
    leaves: Tensors = ()

    def pull(self, gradients: Tensors) -> Tensors:
        """Take gradients with respect to the cuts, (members, targets, rows, *shape), back to the inputs."""
        if not self.leaves:
            return gradients
        rows = gradients[0].shape[2]
        with full_precision(self.leaves[0]):
            per_target = [
                torch.autograd.grad(
                    self.front,
                    self.leaves,
                    [gradient[:, target] for gradient in gradients],
                    retain_graph=True,
                    allow_unused=True,
                    materialize_grads=True,
                )
                for target in range(gradients[0].shape[1])
            ]
        return tuple(stacked(tensors)[:, :, :rows] for tensors in zip(*per_target, strict=True))


def stacked(targets: Tensors) -> torch.Tensor:
    """Return tensors (members, rows, *shape), one a target, as one (members, targets, rows, *shape); one is no copy."""
    return torch.stack(targets, dim=1) if len(targets) > 1 else targets[0].unsqueeze(1)
