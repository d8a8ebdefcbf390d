"""Networks run in two steps, tokens and then outputs, so that what a question leaves as it is is computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from consilience.attribution.batches import Batch
from consilience.domains.eeg.montage import BRANCHES, NODES
from consilience.domains.eeg.surgery import without_edge, without_weight

COHERENCE = "coherence"

Encoded = tuple[Tensor, Tensor]  # tokens (samples, windows, width), and which windows are absent


@torch.no_grad()
def encoded(network: nn.Module, inputs: Sequence[Tensor], batch: Batch) -> dict[str, Encoded]:
    """Return the tokens of every modality that the network reads; masks and auxiliary tensors are the batch's.

    `inputs` are scaled, (samples, windows, nodes, bands) a branch.
    """
    return network.tokens(*inputs, **batch.auxiliary)


@torch.no_grad()
def outputs_of(
    network: nn.Module, tokens: Mapping[str, Encoded], changed: Mapping[str, Tensor] | None = None
) -> Tensor:
    """Return the raw outputs (samples, outputs) for tokens; `changed` are tensors of the fusion that stand in."""
    own, absent = zip(*tokens.values(), strict=True)
    if len(own) == 1:
        return network.classifier(network.pool(own[0], absent[0]))
    return network.classifier(functional_call(network.fusion, dict(changed or {}), (*own, *absent)))


def absent_nodes(batch: Batch, branch: str) -> Tensor:
    """Return which nodes are absent, bool (samples, windows, nodes)."""
    place = BRANCHES.index(branch)
    mask = batch.masks[place]
    return torch.zeros_like(batch.inputs[place][..., 0], dtype=torch.bool) if mask is None else mask.all(dim=-1)


def joined(batch: Batch, branch: str, first: str, second: str, weighted: bool) -> Tensor:
    """Return in which samples both nodes are there and joined, in a window or more, bool (samples,)."""
    one, other = (NODES[branch].index(name) for name in (first, second))
    absent = absent_nodes(batch, branch)
    there = ~(absent[..., one] | absent[..., other])
    if weighted:
        weights = batch.auxiliary[COHERENCE]
        there &= (weights[..., one, other] != 0) | (weights[..., other, one] != 0)
    return there.any(dim=1)


@torch.no_grad()
def outputs_without(
    network: nn.Module,
    tokens: Mapping[str, Encoded],
    batch: Batch,
    pair: tuple[str, str, str],
    rows: Tensor,
    weighted: bool,
) -> Tensor:
    """Return the raw outputs for the samples at `rows` without an edge; the other modality keeps its tokens."""
    branch, *names = pair
    ends, encoder = [NODES[branch].index(name) for name in names], network.encoders[branch]
    weights = without_weight(batch.auxiliary[COHERENCE][rows], *ends) if weighted else None
    changed = {} if weighted else {"graph.edges": without_edge(encoder.graph.edges, *ends)}
    values = batch.inputs[BRANCHES.index(branch)][rows]
    other = functional_call(encoder, changed, (values, absent_nodes(batch, branch)[rows], weights))
    kept = {name: (own[rows], absent[rows]) for name, (own, absent) in tokens.items()}
    return outputs_of(network, kept | {branch: other})
