"""What takes a part out of a network: tensors that stand in for its own while it runs; the network stays as it is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from consilience.domains.eeg.fusion import CrossModalFusion

KINDS = ("removed", "uniform")


def heads_changed(fusion: CrossModalFusion, direction: str, heads: Sequence[int], kind: str) -> dict[str, Tensor]:
    """Return parameters of the fusion by name, under which some heads of a direction are `removed` or `uniform`.

    A multi-head attention is the sum over heads of W_h A_h V_h, and a bias (Vaswani et al. 2017, section 3.2.2, with
    the output's matrix cut into columns W_h). Removed heads have W_h = 0: exactly what they give is gone. Uniform ones
    have queries 0, so that A_h is the same for all keys that are there: what they read is left, where they look is not.
    """
    attention = getattr(fusion, direction)
    if kind == "removed":
        weight = attention.out_proj.weight.detach().clone()
        weight[:, _places(attention, heads)] = 0
        return {f"{direction}.out_proj.weight": weight}
    weight, bias = attention.in_proj_weight.detach().clone(), attention.in_proj_bias.detach().clone()
    # Queries come first of queries, keys and values.
    weight[_places(attention, heads)] = 0
    bias[_places(attention, heads)] = 0
    return {f"{direction}.in_proj_weight": weight, f"{direction}.in_proj_bias": bias}


def _places(attention: torch.nn.MultiheadAttention, heads: Sequence[int]) -> list[int]:
    size = attention.head_dim
    return [place for head in heads for place in range(head * size, (head + 1) * size)]


def without_edge(edges: Tensor, first: int, second: int) -> Tensor:
    """Return edges (2, edges) without both directions of a pair of nodes."""
    ends = {(first, second), (second, first)}
    kept = [column for column, pair in enumerate(map(tuple, edges.T.tolist())) if pair not in ends]
    return edges[:, kept]


def without_weight(weights: Tensor, first: int, second: int) -> Tensor:
    """Return the edges' attributes (..., nodes, nodes) with both directions of a pair of nodes at 0, which is none."""
    weights = weights.clone()
    weights[..., first, second] = weights[..., second, first] = 0
    return weights


def without_window(values: Tensor, reference: Tensor, window: int) -> Tensor:
    """Return values (samples, windows, nodes, bands) with one window at the reference, (samples or 1, ...)."""
    changed = values.clone()
    changed[:, window] = reference.expand_as(values)[:, window]
    return changed
