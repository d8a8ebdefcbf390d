"""Graphs of nodes that are joined, and the attention over them: all windows of all samples in one disjoint graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch_geometric.nn import GATConv


def directed(pairs: Sequence[tuple[str, str]], nodes: Sequence[str]) -> Tensor:
    """Return both directions of every pair of names as places among the nodes, int64 (2, 2 * pairs)."""
    place = {name: index for index, name in enumerate(nodes)}
    ends = torch.tensor([[place[first], place[second]] for first, second in pairs], dtype=torch.int64).T
    return torch.cat([ends, ends.flip(0)], dim=1)


def absent_nodes(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return which nodes have no band at all, bool (samples, windows, nodes), of values (..., nodes, bands)."""
    return torch.zeros_like(values[..., 0], dtype=torch.bool) if mask is None else mask.all(dim=-1)


def repeated(edges: Tensor, nodes: int, graphs: int) -> Tensor:
    """Return the edges (2, edges) of so many disjoint copies of a graph, int64 (2, graphs * edges).

    The copies stand as those of torch_geometric's `Batch` do: node n of copy g is g * nodes + n.
    """
    offsets = nodes * torch.arange(graphs, device=edges.device)
    return (edges[:, None, :] + offsets[None, :, None]).reshape(2, -1)


def weighted(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the edges of weighted graphs, (graphs, nodes, nodes) with 0 for none, as one disjoint graph.

    The first result is int64 (2, edges), from source to target; the second their weights (edges, 1).
    """
    graph, source, target = weights.nonzero(as_tuple=True)
    nodes = weights.shape[1]
    edges = torch.stack([graph * nodes + source, graph * nodes + target])
    return edges, weights[graph, source, target].unsqueeze(1)


class GraphEncoder(nn.Module):
    """Graph attention (Velickovic et al. 2018) over the nodes of every window, and what is read out of them.

    `channels` are those of each of the `heads`; but for the last, whose heads are averaged, layers put them side by
    side. Every layer is followed by layer norm, ELU and dropout. With `weights`, edges come with every sample.

    `readout` is `nodes`, a linear layer with weights of its own for every node, or `mean`, over the nodes. All nodes
    have the same weights in graph attention, and the montage is its own mirror image: a mean cannot tell left from
    right, nor one region of a spectrogram from another.
    """

    def __init__(
        self,
        bands: int,
        nodes: int,
        edges: Tensor,
        channels: int,
        heads: int,
        layers: int,
        dropout: float,
        weights: bool = False,
        readout: str = "nodes",
    ) -> None:
        super().__init__()
        self.nodes = nodes
        # No part of the state: it follows from the montage.
        self.register_buffer("edges", edges, persistent=False)
        widths = [bands, *[channels * heads] * (layers - 1)]
        last = layers - 1
        self.convolutions = nn.ModuleList(
            GATConv(
                width,
                channels,
                heads,
                concat=place < last,
                dropout=dropout,
                edge_dim=1 if weights else None,
                fill_value=1.0,  # a channel is coherent with itself
            )
            for place, width in enumerate(widths)
        )
        self.normalizations = nn.ModuleList(nn.LayerNorm(width) for width in [*widths[1:], channels])
        self.readout = nn.Linear(nodes * channels, channels) if readout == "nodes" else None
        self.activation = nn.ELU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor, absent: Tensor, weights: Tensor | None = None) -> Tensor:
        """Map (samples, windows, nodes, bands) to (samples, windows, channels).

        `absent`, bool (samples, windows, nodes), are nodes that send nothing and do not count in the mean; `weights`
        (samples, windows, nodes, nodes) has the attributes of the edges, 0 for none.
        """
        samples, windows = values.shape[:2]
        hidden = values.reshape(samples * windows * self.nodes, -1)
        if weights is None:
            edges, attributes = repeated(self.edges, self.nodes, samples * windows), None
        else:
            edges, attributes = weighted(weights.flatten(0, 1))
        sends = ~absent.reshape(-1)[edges[0]]
        edges, attributes = edges[:, sends], None if attributes is None else attributes[sends]
        for convolution, normalization in zip(self.convolutions, self.normalizations, strict=True):
            hidden = self.dropout(self.activation(normalization(convolution(hidden, edges, attributes))))
        hidden = hidden.reshape(samples, windows, self.nodes, -1)
        present = (~absent).unsqueeze(-1).to(hidden.dtype)
        if self.readout is not None:
            return self.readout((hidden * present).flatten(2))
        return (hidden * present).sum(dim=2) / present.sum(dim=2).clamp(min=1)
