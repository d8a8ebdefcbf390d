"""Weights as the earlier systems kept them: a torch file with a state dict of tensors, for torch's own layers.

Such files are written here, and never read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from consilience.training.ensemble import Ensemble


def first_member(path: str | Path) -> tuple[Ensemble, dict[str, Tensor]]:
    """Read an ensemble, and the state of its first member on real labels."""
    ensemble = Ensemble.load(path).on_real_labels()
    return ensemble, {name: torch.from_numpy(np.array(values[0])) for name, values in ensemble.states.items()}


def perceptron(state: Mapping[str, Tensor], prefix: str, batchnorm: bool, dropout: float) -> nn.Sequential:
    """Return a `MultilayerPerceptron` without skips as torch's own layers in a row, in eval mode.

    The layers are Linear, BatchNorm1d where `batchnorm`, ReLU and Dropout where `dropout`, and Linear at the end.
    """
    layers: list[nn.Module] = []
    count = len([name for name in state if name.startswith(f"{prefix}hidden.") and name.endswith(".linear.weight")])
    for place in range(count):
        layers.append(_linear(state, f"{prefix}hidden.{place}.linear"))
        if batchnorm:
            layers.append(_normalization(state, f"{prefix}hidden.{place}.normalization."))
        layers += [nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*layers, _linear(state, f"{prefix}output")).eval()


def _linear(state: Mapping[str, Tensor], name: str) -> nn.Linear:
    weight = state[f"{name}.weight"]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    # Before batch norm ours has no bias.
    bias = state.get(f"{name}.bias", torch.zeros(weight.shape[0]))
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def _normalization(state: Mapping[str, Tensor], prefix: str) -> nn.BatchNorm1d:
    own = {name.removeprefix(prefix): values for name, values in state.items() if name.startswith(prefix)}
    layer = nn.BatchNorm1d(len(own["weight"]))
    layer.load_state_dict(own)
    return layer


def save_state(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a state dict of tensors."""
    torch.save({name: values.detach().clone().contiguous() for name, values in state.items()}, path)
