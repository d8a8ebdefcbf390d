"""The network of mirna: a convolutional branch with an Inception block for each sequence, and a perceptron on both."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from consilience.domains.mirna.prepare import BRANCHES
from consilience.networks import Dropout, NetworkContext

# Where the documented head drops less, relative to `dropout`: on its layers of the widths 64 and 32.
HEAD_DROPOUT = {64: 0.6, 32: 0.3}


def build(specification: dict[str, Any], context: NetworkContext) -> nn.Module:
    """Build it from `channels`, the kernels by branch, `step`, `final_side`, `hidden`, and the rates of dropout."""
    own = {key: specification[key] for key in ("channels", "step", "final_side", "dropout", "inception_dropout")}
    side = context.branches[BRANCHES[0]][0]
    kernels = {name: specification[f"{name}_kernels"] for name in BRANCHES}
    return TwoBranches(side, kernels, specification["hidden"], context.outputs, **own)


class TwoBranches(nn.Module):
    """Two images of (side, side), miRNA and site, to raw outputs.

    Each goes through a branch of its own; a perceptron sees both, the site's first. With side 64, the default channels,
    kernels and hidden widths it is the network documented for k = 6, of 3,586,274 parameters. Its adaptive max pool,
    from 16 x 16 to 4 x 4, is a max pool of 4 x 4 here: the same function, for which DeepLIFT and SHAP have a rule.
    """

    first_layers = tuple(f"{name}.first.convolution" for name in BRANCHES)

    def __init__(
        self,
        side: int,
        kernels: dict[str, Sequence[int]],
        hidden: Sequence[int],
        outputs: int,
        channels: Sequence[int],
        dropout: float,
        **branches: Any,
    ) -> None:
        super().__init__()
        self.mirna, self.site = (
            Branch(side, channels, kernels[name], dropout=dropout, **branches) for name in BRANCHES
        )
        widths = [self.mirna.width + self.site.width, *hidden]
        self.head = nn.Sequential(*(_dense(*pair, dropout * HEAD_DROPOUT.get(pair[1], 1)) for pair in pairwise(widths)))
        self.output = nn.Linear(widths[-1], outputs)
        self.apply(_initialize)

    def forward(self, mirna: Tensor, site: Tensor) -> Tensor:
        """Map images (samples, side, side) to raw outputs (samples, outputs)."""
        return self.output(self.head(torch.cat([self.site(site), self.mirna(mirna)], dim=1)))


class Branch(nn.Module):
    """A convolution, an Inception block, two more convolutions; max pools bring the image to `final_side` on the way.

    `channels` are those of the first convolution, of each kernel of the block, and of the second and third convolution.
    The first convolution sees 3 x 3 pixels around every pixel, or with a `step` above 1 squares of so many pixels side
    by side: the k-mers of a square end alike, and no max pool hides which of them is there. The last dropout is left
    out behind a pool of 2 x 2, as documented for k = 5. `width` is the number of outputs.
    """

    def __init__(
        self,
        side: int,
        channels: Sequence[int],
        kernels: Sequence[int],
        step: int,
        final_side: int,
        dropout: float,
        inception_dropout: float,
    ) -> None:
        super().__init__()
        first, block, second, third = channels
        self.first = Convolution(1, first, 3 if step == 1 else step, step)
        side //= step
        self.inception = nn.ModuleList(Convolution(first, block, size, 1, inception_dropout) for size in kernels)
        self.pools = nn.ModuleList()
        # Of the documented images, those of 16 and more are halved here, then those of 8 and more.
        for least in (4 * final_side, 2 * final_side):
            self.pools.append(nn.MaxPool2d(2) if side >= least else nn.Identity())
            side = side // 2 if side >= least else side
        self.second = Convolution(block * len(kernels), second, 3, 1, dropout)
        self.third = Convolution(second, third, 3, 1, dropout)
        last = max(1, side // final_side)
        self.pools.append(nn.MaxPool2d(last) if last > 1 else nn.Identity())
        self.dropout = Dropout(dropout, (third, 1, 1)) if dropout and last != 2 else nn.Identity()
        self.width = third * (side // last) ** 2

    def forward(self, images: Tensor) -> Tensor:
        """Map (samples, side, side) to (samples, width)."""
        # Channels last is a third faster on a CPU, and passes through all that follows.
        found = self.first(images.unsqueeze(1)).contiguous(memory_format=torch.channels_last)
        found = self.pools[0](torch.cat([part(found) for part in self.inception], dim=1))
        found = self.third(self.pools[1](self.second(found)))
        return self.dropout(self.pools[2](found)).flatten(1)


class Convolution(nn.Module):
    """A convolution, batch norm, ReLU, and dropout of whole channels; the image keeps its size but for the `step`."""

    def __init__(self, channels: int, outputs: int, kernel: int, step: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        padding = kernel // 2 if step == 1 else 0
        self.convolution = nn.Conv2d(channels, outputs, kernel, step, padding)
        self.normalization = nn.BatchNorm2d(outputs)
        self.activation = nn.ReLU()
        self.dropout = Dropout(dropout, (outputs, 1, 1)) if dropout else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Map (samples, channels, side, side) to (samples, outputs, side, side)."""
        return self.dropout(self.activation(self.normalization(self.convolution(images))))


def _dense(width: int, outputs: int, dropout: float) -> nn.Sequential:
    drop = Dropout(dropout, (outputs,)) if dropout else nn.Identity()
    return nn.Sequential(nn.Linear(width, outputs), nn.BatchNorm1d(outputs), nn.ReLU(), drop)


def _initialize(module: nn.Module) -> None:
    """Initialize as documented: convolutions after He et al. (2015), linear layers after Glorot & Bengio (2010)."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.zeros_(module.bias)
