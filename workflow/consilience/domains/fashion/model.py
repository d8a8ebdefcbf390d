"""The network of fashion: a k-sparse autoencoder, and a perceptron on its codes."""

from __future__ import annotations

from typing import Any

from torch import nn

from consilience.networks import Encoded, MultilayerPerceptron, NetworkContext
from consilience.sparse_autoencoder import Recipe, SparseAutoencoder


def build(specification: dict[str, Any], context: NetworkContext) -> nn.Module:
    """Build it from `atoms`, `k`, `activation`, the `autoencoder`'s recipe, and `hidden`, `dropout`, `batchnorm`."""
    atoms, recipe = specification["atoms"], Recipe(**specification["autoencoder"])
    encoder = SparseAutoencoder(context.elements, atoms, specification["k"], specification["activation"], recipe)
    hidden = {key: specification[key] for key in ("hidden", "dropout", "batchnorm")}
    return Encoded(encoder, MultilayerPerceptron(atoms, outputs=context.outputs, **hidden))
