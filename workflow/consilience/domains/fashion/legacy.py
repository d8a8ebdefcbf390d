"""Writes the earlier system's four files of weights from the first member of a model."""

from __future__ import annotations

from torch import Tensor

from consilience.legacy.make import Output
from consilience.legacy.weights import first_member, perceptron, save_state


def _encoder(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return W and c - W b, so that the layer takes pictures as they are."""
    weight = state["encoder.encoder.weight"]
    shift = weight.double() @ state["encoder.bias"].double()
    return {"weight": weight, "bias": (state["encoder.encoder.bias"].double() - shift).float()}


def _decoder(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"weight": state["encoder.decoder.weight"], "bias": state["encoder.bias"]}


def _state(output: Output) -> dict[str, Tensor]:
    return first_member(output.sources[0])[1]


def encoder(output: Output) -> None:
    """Write the layer from pixels to pre-activations."""
    save_state(output.path(), _encoder(_state(output)))


def decoder(output: Output) -> None:
    """Write the layer from codes to pixels."""
    save_state(output.path(), _decoder(_state(output)))


def autoencoder(output: Output) -> None:
    """Write both layers."""
    state = _state(output)
    parts = {"encoder": _encoder(state), "decoder": _decoder(state)}
    save_state(output.path(), {f"{part}.{name}": own[name] for part, own in parts.items() for name in own})


def classifier(output: Output) -> None:
    """Write the perceptron from codes to logits."""
    ensemble, state = first_member(output.sources[0])
    specification = ensemble.specification
    layers = perceptron(state, "head.", specification["batchnorm"], specification["dropout"])
    save_state(output.path(), layers.state_dict())
