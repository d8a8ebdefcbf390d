"""The optimizers' steps, by torch.optim's own functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

SECOND_MOMENT = 0.999
EPSILON = 1e-8


class Optimizer:
    """SGD, Adam or AdamW by torch.optim's own functions, fused: one pass over memory a step.

    Its classes do the same, but building one imports torch's compiler, which takes as long as importing torch.
    """

    def __init__(self, module: nn.Module, recipe: Mapping[str, Any]) -> None:
        self.parameters = list(module.parameters())
        self.recipe = recipe
        self.momenta = [torch.zeros_like(values) for values in self.parameters]
        adaptive = recipe["optimizer"] != "sgd"
        self.squares = [torch.zeros_like(values) for values in self.parameters if adaptive]
        self.steps = [torch.zeros((), device=values.device) for values in self.parameters if adaptive]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What a step changes beside the parameters."""
        kinds = {"momenta": self.momenta, "squares": self.squares, "steps": self.steps}
        return {f"{kind}/{place}": own for kind, values in kinds.items() for place, own in enumerate(values)}

    @torch.no_grad()
    def step(self) -> None:
        """Clip the parameters' gradients together, and take a step."""
        for values in self.parameters:
            if values.grad is None:  # it takes no part in the outputs
                values.grad = torch.zeros_like(values)
        recipe, gradients = self.recipe, [values.grad for values in self.parameters]
        if recipe["clip"] is not None:
            nn.utils.clip_grad_norm_(self.parameters, recipe["clip"])
        shared = {"lr": recipe["learning_rate"], "weight_decay": recipe["weight_decay"]}
        shared |= {"maximize": False, "fused": True}
        if recipe["optimizer"] == "sgd":
            rule = {"momentum": recipe["momentum"], "dampening": 0.0, "nesterov": False}
            sgd(self.parameters, gradients, self.momenta, **shared, **rule)
            return
        kind = {"adam": adam, "adamw": adamw}[recipe["optimizer"]]
        rule = {"beta1": recipe["momentum"], "beta2": SECOND_MOMENT, "eps": EPSILON, "amsgrad": False}
        kind(self.parameters, gradients, self.momenta, self.squares, [], self.steps, **shared, **rule)
