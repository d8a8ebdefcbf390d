"""The peers of the attribution benchmark: captum and shap, called member by member as people call them.

A peer is `peer(module, case) -> attribute(inputs) -> (samples, *shape)`; explainers are built before the clock starts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import shap
import torch
from attribution_cases import ROWS, Case
from captum import attr
from torch import nn

STEPS, MANY_STEPS, DRAWS = 50, 1000, 25
Attribute = Callable[[torch.Tensor], torch.Tensor]
Peer = Callable[[nn.Module, Case], Attribute]


def integrated_gradients(module: nn.Module, case: Case, steps: int = STEPS) -> Attribute:
    """captum over the whole batch."""
    explainer = attr.IntegratedGradients(module)
    return lambda inputs: explainer.attribute(inputs, case.reference, n_steps=steps, internal_batch_size=ROWS)


def integrated_gradients_one_by_one(module: nn.Module, case: Case) -> Attribute:
    """captum called with one sample after another."""
    explainer = attr.IntegratedGradients(module)
    return lambda inputs: torch.cat(
        [explainer.attribute(one, case.reference, n_steps=STEPS) for one in inputs.split(1)]
    )


def accurate_integrated_gradients(module: nn.Module, case: Case) -> Attribute:
    """captum with many steps."""
    return integrated_gradients(module, case, MANY_STEPS)


def gradients(explainer: Any) -> Peer:
    """captum's saliency and input x gradient."""

    def peer(module: nn.Module, _case: Case) -> Attribute:
        own = explainer(module)
        return lambda inputs: own.attribute(inputs.clone().requires_grad_()).detach()

    return peer


def deeplift(module: nn.Module, case: Case) -> Attribute:
    """captum's DeepLift."""
    explainer = attr.DeepLift(module)
    return lambda inputs: explainer.attribute(inputs, case.reference).detach()


def deeplift_shap(module: nn.Module, case: Case) -> Attribute:
    """captum's DeepLiftShap."""
    explainer = attr.DeepLiftShap(module)
    return lambda inputs: explainer.attribute(inputs, case.background).detach()


def smoothgrad(module: nn.Module, _case: Case) -> Attribute:
    """captum's NoiseTunnel over gradients with their sign."""
    explainer = attr.NoiseTunnel(attr.Saliency(module))
    return lambda inputs: explainer.attribute(
        inputs, nt_type="smoothgrad", nt_samples=DRAWS, nt_samples_batch_size=1, stdevs=0.15, abs=False
    ).detach()


def gradient_shap(module: nn.Module, case: Case) -> Attribute:
    """captum's GradientShap with as many draws as there are background samples."""
    explainer = attr.GradientShap(module)
    return lambda inputs: explainer.attribute(inputs, case.background, n_samples=len(case.background)).detach()


def feature_ablation(module: nn.Module, case: Case) -> Attribute:
    """captum's FeatureAblation, several features at a time."""
    explainer = attr.FeatureAblation(module)

    def attribute(inputs: torch.Tensor) -> torch.Tensor:
        reference = case.reference.expand_as(inputs)
        return explainer.attribute(inputs, reference, perturbations_per_eval=max(1, ROWS // len(inputs)))

    return attribute


def deep_explainer(single: bool) -> Peer:
    """shap's DeepExplainer on the background, or on the reference alone."""

    def peer(module: nn.Module, case: Case) -> Attribute:
        explainer = shap.DeepExplainer(module, case.reference if single else case.background)
        return lambda inputs: as_tensor(explainer.shap_values(inputs, check_additivity=False), inputs)

    return peer


def gradient_explainer(module: nn.Module, case: Case) -> Attribute:
    """shap's GradientExplainer with as many draws as there are background samples."""
    explainer = shap.GradientExplainer(module, case.background)
    return lambda inputs: as_tensor(explainer.shap_values(inputs, nsamples=len(case.background)), inputs)


def as_tensor(values: Any, like: torch.Tensor) -> torch.Tensor:
    """Return shap's array (samples, *shape, 1) as a tensor (samples, *shape)."""
    return torch.as_tensor(values[0] if isinstance(values, list) else values).reshape(like.shape).to(like)
