"""The network of eeg: graph attention over channels, an LSTM over windows, attention between EEG and spectrogram."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from consilience.domains.eeg.fusion import AttentionPooling, CrossModalFusion
from consilience.domains.eeg.graphs import GraphEncoder, absent_nodes, directed
from consilience.domains.eeg.montage import BRANCHES, COHERENCE, EDGES, NODES
from consilience.errors import ConsilienceError
from consilience.networks import NetworkContext

OF_ATTENTION = 2 / 3  # of the dropout of graph and classifier, as documented: 0.2 of 0.3


def build(specification: dict[str, Any], context: NetworkContext) -> nn.Module:
    """Build it from the keys of a model in the slice's schema."""
    width, heads = 2 * specification["recurrent_width"], specification["heads"]
    if width % heads:
        raise ConsilienceError(
            f"models: heads is {heads}, which does not divide {width}, twice recurrent_width; "
            f"expected one of {', '.join(str(count) for count in range(1, width + 1) if width % count == 0)}"
        )
    return CrossModalNetwork(context, specification)


class CrossModalNetwork(nn.Module):
    """Log band powers of EEG (windows, channels, bands) and spectrogram (windows, regions, bands) to raw outputs.

    Each modality has a `ModalityEncoder` of its own, which gives a token a window. `CrossModalFusion` makes one vector
    of both sequences; where there is but one modality, attention pooling does. With the default keys it is the
    network documented for the HMS competition.
    """

    stackable = False

    def __init__(self, context: NetworkContext, specification: dict[str, Any]) -> None:
        super().__init__()
        dropout = specification["dropout"]
        self.modalities = [name for name in BRANCHES if name in specification["modalities"]]
        self.weights = COHERENCE in context.auxiliary
        self.encoders = nn.ModuleDict(
            {
                name: ModalityEncoder(
                    name, context.branches[name][-1], specification, self.weights and name == BRANCHES[0]
                )
                for name in self.modalities
            }
        )
        width = 2 * specification["recurrent_width"]
        if len(self.modalities) > 1:
            self.fusion = CrossModalFusion(width, specification["heads"], dropout * OF_ATTENTION)
        else:
            self.pool = AttentionPooling(width)
        widths = [width * len(self.modalities), *specification["hidden"]]
        self.classifier = nn.Sequential(
            *(_dense(before, after, dropout) for before, after in pairwise(widths)),
            nn.Linear(widths[-1], context.outputs),
        )

    @property
    def first_layers(self) -> list[str]:
        """The layers that touch the inputs."""
        return [f"encoders.{name}.graph.convolutions.0.lin" for name in self.modalities]

    def forward(self, eeg: Tensor, spectrogram: Tensor, **auxiliary: Tensor) -> Tensor:
        """Map inputs (samples, windows, nodes, bands) to raw outputs (samples, outputs).

        `auxiliary` may hold `mask_eeg` and `mask_spectrogram`, bool of the inputs' shapes, true where absent (0, the
        center, is read there, and a node without any band is no part of its graph), and holds
        `coherence` (samples, windows, channels, channels) where the network was built for it.
        """
        return self.classifier(self.pooled(eeg, spectrogram, **auxiliary)[0])

    def tokens(self, eeg: Tensor, spectrogram: Tensor, **auxiliary: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Return a token a window (samples, windows, width) of every modality that is read, and which are absent."""
        found = {}
        for name, values in zip(BRANCHES, (eeg, spectrogram), strict=True):
            if name not in self.encoders:
                continue
            mask = auxiliary.get(f"mask_{name}")
            seen = values if mask is None else values.masked_fill(mask, 0)
            weights = auxiliary[COHERENCE] if self.weights and name == BRANCHES[0] else None
            found[name] = self.encoders[name](seen, absent_nodes(values, mask), weights)
        return found

    def pooled(
        self, eeg: Tensor, spectrogram: Tensor, return_attention: bool = False, **auxiliary: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what the classifier reads (samples, width), and the attention by direction where it is asked for."""
        tokens, absent = zip(*self.tokens(eeg, spectrogram, **auxiliary).values(), strict=True)
        if len(tokens) == 1:
            return self.pool(tokens[0], absent[0]), {}
        fused = self.fusion(*tokens, *absent, return_attention=return_attention)
        return fused if return_attention else (fused, {})


class ModalityEncoder(nn.Module):
    """Graph attention over the nodes of every window, layer norm, and a bidirectional LSTM over the windows."""

    def __init__(self, name: str, bands: int, specification: dict[str, Any], weights: bool) -> None:
        super().__init__()
        channels, dropout = specification["graph_channels"], specification["dropout"]
        nodes, layers = NODES[name], specification["recurrent_layers"]
        self.graph = GraphEncoder(
            bands,
            len(nodes),
            directed(EDGES[name], nodes),
            channels,
            specification["graph_heads"],
            specification["graph_layers"],
            dropout,
            weights,
            specification["readout"],
        )
        self.normalization = nn.LayerNorm(channels)
        self.recurrent = nn.LSTM(
            channels,
            specification["recurrent_width"],
            layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout * OF_ATTENTION if layers > 1 else 0.0,
        )

    def forward(self, values: Tensor, nodes_absent: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map (samples, windows, nodes, bands) to a token a window (samples, windows, width).

        `nodes_absent` is bool (samples, windows, nodes); the second result says which windows are absent.
        """
        absent = nodes_absent.all(dim=-1)
        windows = self.normalization(self.graph(values, nodes_absent, weights))
        return self.recurrent(windows.masked_fill(absent.unsqueeze(-1), 0))[0], absent


def _dense(width: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, outputs), nn.LayerNorm(outputs), nn.ELU(), nn.Dropout(dropout))
