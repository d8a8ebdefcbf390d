"""Batches as a network takes them, from arrays by name or from the graphs a window of the earlier layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.utils import to_dense_adj

from consilience.domains.eeg.montage import BRANCHES, COHERENCE, NODES
from consilience.errors import ConsilienceError

GRAPHS = {"eeg": "eeg_graphs", "spectrogram": "spec_graphs"}
MASKS = {name: f"mask_{name}" for name in BRANCHES}


@dataclass(frozen=True)
class Inputs:
    """What a network takes, where it lies: `eeg` and `spectrogram` (samples, windows, nodes, bands), and the rest.

    `absent` is bool (samples, windows) by modality, true for windows that are masked altogether; `targets` are classes
    (samples,) or None.
    """

    eeg: Tensor
    spectrogram: Tensor
    auxiliary: dict[str, Tensor]
    absent: dict[str, Tensor]
    targets: Tensor | None

    def __len__(self) -> int:
        return len(self.eeg)

    @classmethod
    def of(cls, batch: Mapping[str, Any], model: nn.Module) -> Inputs:
        """Check a batch (see `ExplainabilityCapture.explain_batch`) and bring it to where the model lies.

        In the earlier layout, `eeg_graphs` and `spec_graphs` are lists over windows of torch_geometric `Batch` objects,
        whose `x` is (samples * nodes, bands), and `target` may stand for `targets`. Edges come from the network's own
        montage; their `edge_attr` are taken for the `coherence` of a network that reads one. Raises ConsilienceError
        for a batch that does not fit the model.
        """
        like = next(model.parameters())
        values = {name: _values(batch, name, model.encoders[name]).to(like) for name in BRANCHES}
        auxiliary = {
            MASKS[name]: _mask(batch[MASKS[name]], values[name], name) for name in BRANCHES if MASKS[name] in batch
        }
        if model.weights:
            auxiliary[COHERENCE] = _coherence(batch, values["eeg"]).to(like)
        _check_batch(batch, values)
        absent = {name: auxiliary[MASKS[name]].flatten(2).all(dim=2) for name in BRANCHES if MASKS[name] in auxiliary}
        for name, windows in absent.items():
            if windows.all(dim=1).any():
                sample = int(windows.all(dim=1).nonzero()[0])
                raise ConsilienceError(
                    f"{MASKS[name]}: sample {sample} has no window that is there; nothing can attend"
                )
        return cls(values["eeg"], values["spectrogram"], auxiliary, absent, _targets(batch, model, len(values["eeg"])))

    def sample(self, place: int) -> Inputs:
        """Return one sample, as a batch of one."""
        rows = slice(place, place + 1)
        return Inputs(
            self.eeg[rows],
            self.spectrogram[rows],
            {name: values[rows] for name, values in self.auxiliary.items()},
            {name: windows[rows] for name, windows in self.absent.items()},
            None if self.targets is None else self.targets[rows],
        )


def _values(batch: Mapping[str, Any], name: str, encoder: nn.Module) -> Tensor:
    """Return the values of a modality (samples, windows, nodes, bands)."""
    if name in batch:
        values = torch.as_tensor(batch[name])
    elif GRAPHS[name] in batch:
        values = _stacked(batch[GRAPHS[name]], GRAPHS[name], len(NODES[name]))
    else:
        raise ConsilienceError(f"batch: neither {name} nor {GRAPHS[name]}; it has {', '.join(batch) or 'nothing'}")
    nodes, bands = len(NODES[name]), encoder.graph.convolutions[0].in_channels
    if values.ndim != 4 or values.shape[2:] != (nodes, bands) or 0 in values.shape:
        raise ConsilienceError(
            f"{name}: shape {tuple(values.shape)}; expected (samples, windows, {nodes}, {bands}), none of them 0"
        )
    if not values.isfinite().all():
        sample, window, node, _ = (~values.isfinite()).nonzero()[0].tolist()
        raise ConsilienceError(
            f"{name}: sample {sample}, window {window}, {NODES[name][node]} has a value that is not finite; "
            f"where something is absent expected 0, and true in {MASKS[name]}"
        )
    return values


def _stacked(graphs: Sequence[Any], name: str, nodes: int) -> Tensor:
    """Return the nodes' values (samples, windows, nodes, bands) of a disjoint graph a window."""
    if not len(graphs):
        raise ConsilienceError(f"{name}: no window; expected a list of graphs over windows")
    samples = getattr(graphs[0], "num_graphs", 1)
    for window, graph in enumerate(graphs):
        if graph.x.ndim != 2 or len(graph.x) != samples * nodes:
            raise ConsilienceError(
                f"{name}: window {window} has x of shape {tuple(graph.x.shape)}; expected {samples * nodes} rows, "
                f"{nodes} nodes for each of {samples} samples"
            )
    return torch.stack([graph.x.reshape(samples, nodes, -1) for graph in graphs], dim=1)


def _mask(mask: Any, values: Tensor, name: str) -> Tensor:
    found = torch.as_tensor(mask)
    if found.dtype != torch.bool or found.shape != values.shape:
        raise ConsilienceError(
            f"{MASKS[name]}: {found.dtype} of shape {tuple(found.shape)}; expected bool of {tuple(values.shape)}"
        )
    return found.to(values.device)


def _coherence(batch: Mapping[str, Any], eeg: Tensor) -> Tensor:
    """Return the edges' attributes (samples, windows, channels, channels), 0 for none."""
    samples, windows, channels = eeg.shape[:3]
    graphs = batch.get(GRAPHS["eeg"], [])
    if COHERENCE in batch:
        found = torch.as_tensor(batch[COHERENCE])
    elif len(graphs) and all(getattr(graph, "edge_attr", None) is not None for graph in graphs):
        dense = [
            to_dense_adj(graph.edge_index, graph.get("batch"), graph.edge_attr.flatten(), channels, samples)
            for graph in graphs
        ]
        found = torch.stack(dense, dim=1)
    else:
        raise ConsilienceError("batch: no coherence, which the model was built for")
    if found.shape != (samples, windows, channels, channels):
        raise ConsilienceError(
            f"coherence: shape {tuple(found.shape)}; expected {(samples, windows, channels, channels)}"
        )
    return found


def _check_batch(batch: Mapping[str, Any], values: Mapping[str, Tensor]) -> None:
    """Refuse modalities of different samples, and masks of none."""
    counts = {name: len(own) for name, own in values.items()}
    if len(set(counts.values())) > 1:
        told = " and ".join(f"{count} samples of {name}" for name, count in counts.items())
        raise ConsilienceError(f"batch: {told}; expected as many of both")
    unknown = [name for name in batch if name.startswith("mask") and name not in MASKS.values()]
    if unknown:
        raise ConsilienceError(f"batch: no modality has a {unknown[0]}; expected {' or '.join(MASKS.values())}")


def _targets(batch: Mapping[str, Any], model: nn.Module, samples: int) -> Tensor | None:
    """Return the class of every sample (samples,), that with most votes where there are votes; None without any."""
    given = batch.get("targets", batch.get("target"))
    if given is None:
        return None
    targets, classes = torch.as_tensor(given), model.classifier[-1].out_features
    if targets.is_floating_point():
        if targets.shape != (samples, classes) or not targets.isfinite().all():
            raise ConsilienceError(
                f"targets: {tuple(targets.shape)} fractions; expected finite ones of {(samples, classes)}, or classes"
            )
        return targets.argmax(dim=1)
    if targets.shape != (samples,) or targets.dtype == torch.bool:
        raise ConsilienceError(
            f"targets: {targets.dtype} of shape {tuple(targets.shape)}; expected classes ({samples},)"
        )
    outside = (targets < 0) | (targets >= classes)
    if outside.any():
        sample = int(outside.nonzero()[0])
        raise ConsilienceError(
            f"targets: sample {sample} has class {int(targets[sample])}; expected 0 to {classes - 1}"
        )
    return targets.long()
