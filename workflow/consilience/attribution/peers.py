"""shap's own explainers, as independent references: slow, off by default, for the networks that shap can explain."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from consilience.attribution.function import EnsembleFunction, Tensors
from consilience.attribution.interception import Call, UnsupportedError
from consilience.errors import ConsilienceError

if TYPE_CHECKING:
    from consilience.attribution.batches import Batch


class MemberTargets(nn.Module):
    """One member of an ensemble as a module from inputs to targets (samples, targets), in eval mode."""

    def __init__(self, function: EnsembleFunction, member: int) -> None:
        super().__init__()
        self.network = function.member_module(member)
        self.register_buffer("target_map", function.target_map)
        self.register_buffer("offset", function.offset)
        self.eval()

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Map branches (samples, *shape) to F (samples, targets)."""
        outputs = self.network(*inputs)
        return outputs @ self.target_map.T.to(outputs.dtype) + self.offset.to(outputs.dtype)


def shap_deep_explainer(batch: Batch, _settings: Mapping[str, Any]) -> Tensors:
    """Return shap.DeepExplainer's values (Lundberg & Lee 2017); refuses networks that its hooks do not see whole."""
    shap = _shap()
    _check_hooks(batch)
    return _by_member(
        batch,
        lambda module: shap.DeepExplainer(module, list(batch.background)).shap_values(
            list(batch.inputs), check_additivity=False
        ),
    )


def shap_gradient_explainer(batch: Batch, _settings: Mapping[str, Any]) -> Tensors:
    """Return shap.GradientExplainer's values: expected gradients with 4 random points a background sample."""
    shap = _shap()
    _check_inputs(batch)

    def explain(module: nn.Module) -> list[np.ndarray] | np.ndarray:
        explainer = shap.GradientExplainer(module, list(batch.background))
        draws = 4 * len(batch.background[0])
        # One by one, so that a sample's random numbers are its own.
        each = [
            explainer.shap_values([tensor[row : row + 1] for tensor in batch.inputs], nsamples=draws, rseed=key % 2**32)
            for row, key in enumerate(batch.keys)
        ]
        return [np.concatenate(parts) for parts in zip(*(_as_list(one) for one in each), strict=True)]

    return _by_member(batch, explain)


def _shap() -> ModuleType:
    try:
        return importlib.import_module("shap")
    except ImportError as error:
        raise ConsilienceError(f"shap's explainers need the package shap ({error}); pip install shap") from None


def _as_list(values: list[np.ndarray] | np.ndarray) -> list[np.ndarray]:
    return values if isinstance(values, list) else [values]


def _by_member(batch: Batch, explain: Callable[[nn.Module], Any]) -> Tensors:
    """Explain member by member; shap's arrays are (samples, *shape, targets), without targets where there is one."""
    results = batch.empty()
    for member in range(batch.function.members):
        module = MemberTargets(batch.function, member).to(batch.inputs[0].device)
        for result, values in zip(results, _as_list(explain(module)), strict=True):
            shaped = torch.as_tensor(np.asarray(values)).reshape(*result.shape[2:], batch.function.targets)
            result[member] = shaped.movedim(-1, 0).to(result)
    return results


def _check_inputs(batch: Batch) -> None:
    if batch.auxiliary:
        raise ConsilienceError(
            f"shap's explainers take no auxiliary tensors; the network reads {', '.join(sorted(batch.auxiliary))}"
        )
    if batch.background is None:
        raise ConsilienceError("a background of training samples is needed; none was given")


def _check_hooks(batch: Batch) -> None:
    """Refuse a network with nonlinear functions that are no modules of their own, or modules that are called twice."""
    _check_inputs(batch)
    calls: list[str] = []
    function = batch.function.part(slice(0, 1))

    def count(call: Call) -> Any:
        calls.append(call.name)
        return call.run()

    split = batch.split.of(function)
    cuts = split.project(tuple(tensor[:1] for tensor in batch.inputs), {}).cuts
    try:
        split.outputs(cuts, {}, count)
    except UnsupportedError as error:
        raise ConsilienceError(f"shap_deep_explainer cannot explain this network: {error}") from None
    modules = sum(isinstance(part, ACTIVATIONS) for part in function.module.modules())
    if len(calls) != modules:
        raise ConsilienceError(
            f"shap_deep_explainer cannot explain this network: it calls {len(calls)} nonlinear functions "
            f"({', '.join(dict.fromkeys(calls))}) and has {modules} activation modules; functional or reused "
            "activations escape shap's hooks"
        )


ACTIVATIONS = (
    nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softmax,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d,
)  # fmt: skip
