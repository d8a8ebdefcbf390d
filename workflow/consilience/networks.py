"""What every network of every slice is built from, and the networks that several slices share.

A slice's `model.py` has `build(specification, context) -> torch.nn.Module`. The module is called as
`module(*inputs, **auxiliary)` with scaled inputs in branch order, and returns raw outputs (samples, outputs). Two
optional attributes tell the training engine what it may do:

    stackable     bool; members may be stacked by torch.func. Such a module draws no random number of its own: it uses
                  `Dropout` from here, whose masks the engine supplies.
    first_layers  names of the submodules whose `weight` (or an LSTM's `weight_ih_l0`) touches an input branch: the
                  recipe's `first_layer_scale` multiplies them.

What changes while a module is trained is kept in checkpoints if it is a parameter, a buffer or torch's random state: a
module that counts in attributes, or draws from NumPy, would not go on as if it had never been interrupted.

A module that is `Encoded` is trained in two steps: its encoder without labels, then its head on what the encoder gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from consilience.resume import Part


@dataclass(frozen=True)
class NetworkContext:
    """What a network has to fit: the shapes of one sample's branches in order, and the number of outputs.

    `outputs` is 1 for a regression and the number of classes otherwise (two for two classes).
    """

    branches: dict[str, tuple[int, ...]]
    outputs: int
    auxiliary: dict[str, tuple[int, ...]]
    features: int

    @property
    def elements(self) -> int:
        """The number of input elements of all branches."""
        return sum(prod(shape) for shape in self.branches.values())


class Dropout(nn.Module):
    """Dropout by a mask that is given, so that members draw from their own generators, stacked or not.

    `keep` (samples, *shape), or (1,) where none was given, multiplies the activations in training mode; its entries are
    0 with probability `rate` and 1 / (1 - rate) otherwise. A `shape` of (channels, 1, 1) drops whole channels.
    """

    def __init__(self, rate: float, shape: Sequence[int]) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"a dropout rate lies in [0, 1), not {rate}")
        self.rate = rate
        self.shape = tuple(shape)
        # A buffer, because torch.func replaces buffers by name; not persistent, because it is no part of the state.
        self.register_buffer("keep", torch.ones(1), persistent=False)

    def draw(self, samples: int, generator: torch.Generator) -> Tensor:
        """Draw masks (samples, *shape) on the generator's device."""
        kept = torch.empty(samples, *self.shape, device=generator.device)
        return kept.bernoulli_(1 - self.rate, generator=generator).div_(1 - self.rate)

    def forward(self, activations: Tensor) -> Tensor:
        """Multiply by the mask in training mode."""
        return activations * self.keep if self.training else activations


def dropouts(module: nn.Module) -> Iterator[tuple[str, Dropout]]:
    """Yield the name and module of every `Dropout` that drops anything, in order."""
    for name, part in module.named_modules():
        if isinstance(part, Dropout) and part.rate > 0:
            yield name, part


class HiddenLayer(nn.Module):
    """Linear, batch norm, ReLU and dropout, with a skip around all of them where `residual`.

    The skip is the identity, or a linear projection without bias where the widths differ. The linear layer has no bias
    before batch norm, which would take it out again: its gradient is rounding, and Adam makes steps of full size of it.
    """

    def __init__(self, width: int, outputs: int, dropout: float, batchnorm: bool, residual: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(width, outputs, bias=not batchnorm)
        self.normalization = nn.BatchNorm1d(outputs) if batchnorm else nn.Identity()
        # A module rather than a function, so that hooks, of shap's explainers say, find it.
        self.activation = nn.ReLU()
        self.dropout = Dropout(dropout, (outputs,)) if dropout else nn.Identity()
        self.skip = None
        if residual:
            self.skip = nn.Identity() if width == outputs else nn.Linear(width, outputs, bias=False)

    def forward(self, activations: Tensor) -> Tensor:
        """Map (samples, width) to (samples, outputs)."""
        hidden = self.dropout(self.activation(self.normalization(self.linear(activations))))
        return hidden if self.skip is None else hidden + self.skip(activations)


class MultilayerPerceptron(nn.Module):
    """A perceptron over the flattened, concatenated branches.

    `inputs` is the number of elements of all branches, `hidden` the widths of the hidden layers: any number of them,
    none for a linear model.
    """

    stackable = True

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        dropout: float = 0.0,
        batchnorm: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        widths = [inputs, *hidden]
        self.hidden = nn.Sequential(
            *(HiddenLayer(before, after, dropout, batchnorm, residual) for before, after in pairwise(widths))
        )
        self.output = nn.Linear(widths[-1], outputs)

    @property
    def first_layers(self) -> list[str]:
        """The layers that touch the inputs: the first linear one, and the projection of its skip."""
        if not len(self.hidden):
            return ["output"]
        return ["hidden.0.linear", *(["hidden.0.skip"] if isinstance(self.hidden[0].skip, nn.Linear) else [])]

    def forward(self, *inputs: Tensor, **auxiliary: Tensor) -> Tensor:  # noqa: ARG002 (part of the interface)
        """Map branches (samples, *shape) to raw outputs (samples, outputs); auxiliary tensors are not used."""
        return self.output(self.hidden(flattened(inputs)))


def flattened(inputs: Sequence[Tensor]) -> Tensor:
    """Return branches (samples, *shape) side by side, (samples, elements)."""
    flat = [branch.flatten(1) for branch in inputs]
    return flat[0] if len(flat) == 1 else torch.cat(flat, dim=1)


class Encoder(Protocol):
    """A module from flat inputs (samples, elements) to codes (samples, codes) that learns from inputs alone.

    `epochs` says how often `fit` calls `tick`; `fit` returns what metrics.json tells of the fitted encoder, keeps what
    it has come to in `part`, and continues an earlier try.
    """

    epochs: int

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the codes."""

    def fit(
        self, training: Tensor, validation: Tensor, seed: int, tick: Callable[[], None], part: Part | None
    ) -> dict[str, Any]:
        """Learn from inputs of both roles."""


class Encoded(nn.Module):
    """A head behind an encoder, which is fitted once for all members that see the same rows, and then left as it is."""

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    @property
    def stackable(self) -> bool:
        """Whether members may be stacked: the head decides, as the encoder draws no random number."""
        return bool(getattr(self.head, "stackable", False))

    @property
    def first_layers(self) -> list[str] | None:
        """The first layers that are trained on labels: the head's."""
        names = getattr(self.head, "first_layers", None)
        return None if names is None else [f"head.{name}" for name in names]

    def forward(self, *inputs: Tensor, **auxiliary: Tensor) -> Tensor:
        """Map branches (samples, *shape) to raw outputs (samples, outputs); auxiliary tensors go to the head."""
        return self.head(self.encoder(flattened(inputs)), **auxiliary)
