"""The networks of tables: multilayer perceptrons over columns."""

from __future__ import annotations

from typing import Any

from torch import nn

from consilience.networks import MultilayerPerceptron, NetworkContext


def build(specification: dict[str, Any], context: NetworkContext) -> nn.Module:
    """Build a perceptron from `hidden` (widths; none = linear), `dropout`, `batchnorm` and `residual`."""
    return MultilayerPerceptron(context.elements, outputs=context.outputs, **specification)
