"""Training recipes by name. The recipe is part of the attribution: networks that predict as well may explain worse.

Where inputs outnumber rows, the data never touch most directions of the first layer, so that its initialization
survives into every gradient; and Adam's step per coordinate moves all inputs alike, whatever their signal. A small
first layer and plain gradient descent leave what was learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consilience.errors import ConsilienceError, nearest

OPTIMIZERS = ("sgd", "adam", "adamw")
STACKING = ("auto", "always", "never")
CLASS_WEIGHTS = ("none", "balanced")

# What no recipe decides.
COMMON: dict[str, Any] = {"seeds": 4, "maximum_samples": 20000, "stack": "auto", "class_weights": "none"}

RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "momentum": 0.9,
        "weight_decay": 0.01,
        "first_layer_scale": 0.1,
        "clip": 1.0,
        "epochs": 100,
        "batch_size": 64,
        "patience": 15,
    },
    # The earlier expression system's: default initialization, no weight decay, no clipping.
    "adam": {
        "optimizer": "adam",
        "learning_rate": 0.001,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "first_layer_scale": 1.0,
        "clip": None,
        "epochs": 50,
        "batch_size": 32,
        "patience": 10,
    },
    "adamw": {
        "optimizer": "adamw",
        "learning_rate": 0.001,
        "momentum": 0.9,
        "weight_decay": 1.0,
        "first_layer_scale": 0.1,
        "clip": None,
        "epochs": 100,
        "batch_size": 64,
        "patience": 15,
    },
}

KEYS = ("recipe", *COMMON, *RECIPES["sgd"])


def resolve(training: Mapping[str, Any]) -> dict[str, Any]:
    """Fill what `training` leaves out from its recipe (`sgd` where it names none); explicit keys win.

    `momentum` is SGD's, and Adam's first decay rate. `clip` is the largest norm of a member's gradient, None for no
    limit. Raises ConsilienceError for an unknown key, recipe, optimizer, `stack` or `class_weights`.
    """
    name = training.get("recipe", "sgd")
    _one_of("recipe", name, RECIPES)
    for key in training:
        if key not in KEYS:
            raise ConsilienceError(
                f"training.{key}: unknown key{nearest(key, KEYS) or '; expected ' + ', '.join(KEYS)}"
            )
    resolved = {"recipe": name, **COMMON, **RECIPES[name], **training}
    _one_of("optimizer", resolved["optimizer"], OPTIMIZERS)
    _one_of("stack", resolved["stack"], STACKING)
    _one_of("class_weights", resolved["class_weights"], CLASS_WEIGHTS)
    return resolved


def _one_of(key: str, value: Any, choices: Any) -> None:
    if value not in choices:
        raise ConsilienceError(
            f"training.{key}: {value!r} is not one of {', '.join(choices)}{nearest(str(value), choices)}"
        )
