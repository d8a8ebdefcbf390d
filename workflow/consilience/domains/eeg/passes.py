"""Networks run in two steps, tokens and then outputs, so that what a question leaves as it is is computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from consilience.attribution.batches import Batch
from consilience.domains.eeg.graphs import absent_nodes
from consilience.domains.eeg.montage import BRANCHES, COHERENCE, NODES
from consilience.domains.eeg.surgery import without_edge, without_weight

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


def joined(batch: Batch, branch: str, first: str, second: str, weighted: bool) -> Tensor:
    """Return in which samples both nodes are there and joined, in a window or more, bool (samples,)."""
    one, other = (NODES[branch].index(name) for name in (first, second))
    place = BRANCHES.index(branch)
    absent = absent_nodes(batch.inputs[place], batch.masks[place])
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
    place = BRANCHES.index(branch)
    absent = absent_nodes(batch.inputs[place], batch.masks[place])[rows]
    other = functional_call(encoder, changed, (batch.inputs[place][rows], absent, weights))
    kept = {name: (own[rows], gone[rows]) for name, (own, gone) in tokens.items()}
    return outputs_of(network, kept | {branch: other})
