"""What the attribution benchmark explains: ensembles of random networks, samples, and our own side of every contest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from consilience.attribution.batches import GRADIENT_NUMBERS, Batch
from consilience.attribution.function import EnsembleFunction, target_map
from consilience.attribution.methods import method_named
from consilience.attribution.split import Split
from consilience.attribution.statistics import UnitSums
from consilience.networks import MultilayerPerceptron

MEMBERS, BACKGROUND, ROWS = 12, 50, 512
SIDE = 28


class SmallConvolutional(nn.Module):
    """Two convolutions with batch norm and pooling over an image (1, 28, 28)."""

    stackable = True

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(16 * (SIDE // 4) ** 2, 1)),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map (samples, 1, 28, 28) to (samples, 1)."""
        return self.layers(image)


@dataclass
class Case:
    """The members of an ensemble, all as one function taken apart, and what they explain."""

    name: str
    modules: list[nn.Module]
    function: EnsembleFunction
    split: Split
    inputs: torch.Tensor
    reference: torch.Tensor
    background: torch.Tensor
    sums: UnitSums

    def ours(self, method: str, samples: int, settings: Mapping[str, Any], rows: int = ROWS) -> Iterator[torch.Tensor]:
        """Attribute some samples, (members, rows, *shape) a batch, in the batches that the workflow makes."""
        size = min(rows, GRADIENT_NUMBERS // (MEMBERS * self.inputs[0].numel()))
        for keys in torch.arange(samples).split(size):
            batch = Batch(
                self.function, (self.inputs[keys],),
                references=(self.reference,), background=(self.background,), deviations=[1.0],
                keys=keys.tolist(), sums=self.sums, split=self.split,
            )  # fmt: skip
            yield batch.attribute(method_named(method), {"internal_batch": ROWS, **settings})[0][:, 0]

    @property
    def flat(self) -> bool:
        """Whether samples are vectors."""
        return self.inputs.ndim == 2

    def gap(self, attributions: torch.Tensor, background: bool) -> float:
        """Return the largest |sum of attributions - (F(x) - F(reference))| of (members, samples, *shape)."""
        inputs = self.inputs[: attributions.shape[1]]
        base = self.function.values((self.background if background else self.reference,)).mean(dim=1, keepdim=True)
        rise = (self.function.values((inputs,)) - base)[..., 0]
        return float((attributions.flatten(2).double().sum(dim=2) - rise).abs().max())


def case_of(name: str, features: int, samples: int, device: torch.device) -> Case:
    """Make the perceptrons [64, 32] on so many features, or the small CNN for 0 features."""
    torch.manual_seed(0)
    modules = [SmallConvolutional() if not features else perceptron(features) for _ in range(MEMBERS)]
    for part in (part for module in modules for part in module.modules()):
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(part.weight, 0.7, 1.3)
            nn.init.normal_(part.bias, 0, 0.2)
    modules = [module.eval().to(device) for module in modules]
    states = {name: torch.stack([module.state_dict()[name] for module in modules]) for name in modules[0].state_dict()}
    function = EnsembleFunction(modules[0], states, *target_map("regression", 1))
    shape = (features,) if features else (1, SIDE, SIDE)
    inputs, reference, background = (torch.randn(rows, *shape).to(device) for rows in (samples, 1, BACKGROUND))
    units = np.arange(reference[0].numel()).reshape(shape)
    split = Split(function, (inputs[:1],), {})
    sums = UnitSums([units], units.size, str(device))
    return Case(name, modules, function, split, inputs, reference / 4, background, sums)


def perceptron(features: int) -> nn.Module:
    """Return a perceptron of one output."""
    return MultilayerPerceptron(features, [64, 32], 1, batchnorm=True)
