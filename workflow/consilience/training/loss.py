"""Losses by task: mean squared error, cross-entropy, and the divergence from vote fractions; weighted by sample."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def sample_losses(task: str, outputs: Tensor, target: Tensor) -> Tensor:
    """Return the loss of every sample (samples,).

    regression: squared error of outputs (samples, 1) against the standardized target (samples,).
    classification: cross-entropy of logits (samples, classes) against class indices (samples,).
    votes: Kullback-Leibler divergence of softmax(logits) from vote fractions (samples, classes), in nats.
    """
    if task == "regression":
        return (outputs.squeeze(1) - target).square()
    if task == "classification":
        return functional.cross_entropy(outputs, target, reduction="none")
    logarithms = functional.log_softmax(outputs, dim=1)
    return (torch.xlogy(target, target) - target * logarithms).sum(dim=1)


def batch_loss(task: str, outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Return the mean of weight x loss over a batch; weights average one over their role, None is one each."""
    losses = sample_losses(task, outputs, target)
    return losses.mean() if weight is None else (losses * weight).mean()
