"""The networks of a model, asked about test samples: what they predict and attend to, and what parts of them do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from consilience.attribution.batches import Batch, BatchReader
from consilience.attribution.explain import checked_reader
from consilience.attribution.methods import Own
from consilience.dataset import Dataset
from consilience.devices import choose_device
from consilience.domains.eeg.asked import ALL
from consilience.domains.eeg.attention_weights import AttentionWeights, checked_maps
from consilience.domains.eeg.fusion import DIRECTIONS
from consilience.domains.eeg.model import build
from consilience.domains.eeg.montage import BRANCHES, EDGES, NODES
from consilience.domains.eeg.passes import encoded, joined, outputs_of, outputs_without
from consilience.domains.eeg.surgery import KINDS, heads_changed, without_window
from consilience.training.ensemble import Ensemble, build_network
from consilience.training.members import member_seed

BOTH = "both"  # directions of attention
# What the nodes of all windows send each other in one layer, in numbers: bounds memory, and changes no result.
MESSAGES_AT_ONCE = 2**24

Knockout = tuple[str, int | str, str]  # direction, head (or ALL) and kind


@dataclass(frozen=True)
class Predicted:
    """What members say: F as `logits`, float64 (members, samples, targets), and probabilities alike, a class each.

    Logits are less their mean over classes; of two classes there is one, the log-odds of the second.
    """

    logits: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Edges:
    """`pairs` of nodes that are joined (branch, first, second), and F without each of them.

    `logits` are float64 (pairs, members, samples, targets), NaN for samples in which the pair is joined nowhere.
    """

    pairs: list[tuple[str, str, str]]
    logits: np.ndarray


@dataclass(frozen=True)
class Networks:
    """The members of a model that were trained on real labels, and a reader of samples with their references."""

    ensemble: Ensemble
    reader: BatchReader
    seed: int

    @classmethod
    def load(
        cls,
        dataset: Dataset,
        split: pd.DataFrame,
        path: str,
        attribution: Mapping[str, Any],
        seed: int,
        device: str = "cpu",
    ) -> Networks:
        """Load an ensemble; `attribution` and `seed` are the study's."""
        ensemble = Ensemble.load(path).on_real_labels()
        network, place = ensemble.network(build), str(choose_device(device))
        reader = checked_reader(dataset, split, ensemble, network, [], attribution, seed, place, Own(), reference=True)
        return cls(ensemble, reader, seed)

    @property
    def modalities(self) -> list[str]:
        """The modalities that the networks read."""
        return self.members[0].modalities

    @property
    def fused(self) -> bool:
        """Whether there is attention between modalities."""
        return len(self.modalities) > 1

    @property
    def heads(self) -> int:
        """The heads of each direction of attention between modalities."""
        return self.members[0].fusion.heads

    @property
    def numbers(self) -> list[int]:
        """The numbers of the members in their ensemble."""
        return [member.member for member in self.ensemble.members]

    @cached_property
    def members(self) -> list[nn.Module]:
        """A network for every member, in eval mode."""
        return [self.reader.function.member_module(place) for place in range(self.reader.function.members)]

    @cached_property
    def untrained(self) -> list[nn.Module]:
        """Every member as it was before training, but for `first_layer_scale`."""
        of = self.ensemble
        seeds = [member_seed(self.seed, of.model, member, "initialization") for member in of.members]
        modules = [build_network(build, of.specification, of.context, seed) for seed in seeds]
        return [module.to(self.reader.device).eval() for module in modules]

    def predictions(self, samples: Sequence[str]) -> Predicted:
        """Return what the members say of the samples, as they are."""
        return self._predicted(
            [
                torch.stack([outputs_of(network, encoded(network, batch.inputs, batch)) for network in self.members])
                for batch in self._batches(samples)
            ]
        )

    def attention(self, samples: Sequence[str], untrained: bool = False) -> list[dict[str, AttentionWeights]]:
        """Return every member's attention by direction, or that of the `untrained` ones; see `AttentionWeights`."""
        found: list[dict[str, AttentionWeights]] = []
        for network in self.untrained if untrained else self.members:
            weights: dict[str, list[Tensor]] = {name: [] for name in DIRECTIONS}
            absent: dict[str, list[Tensor]] = {name: [] for name in BRANCHES}
            for batch in self._batches(samples):
                both = encoded(network, batch.inputs, batch)
                tokens, windows = zip(*both.values(), strict=True)
                with torch.no_grad():
                    maps = network.fusion(*tokens, *windows, return_attention=True)[1]
                for name in DIRECTIONS:
                    weights[name].append(maps[name].cpu())
                for name, own in zip(BRANCHES, windows, strict=True):
                    absent[name].append(own.cpu())
            maps, missing = ({name: torch.cat(parts) for name, parts in own.items()} for own in (weights, absent))
            found.append(checked_maps(maps, self.heads, missing))
        return found

    def windows(self, samples: Sequence[str], untrained: bool = False) -> dict[str, np.ndarray]:
        """Return by modality what F loses without each window, float64 (windows, members, samples, targets).

        All nodes and bands of a window, in that modality alone, are set to the reference; what is masked stays so.
        With `untrained` the networks are asked as they were before training.
        """
        networks = self.untrained if untrained else self.members
        parts: dict[str, list[np.ndarray]] = {name: [] for name in self.modalities}
        for batch in self._batches(samples):
            references = batch.keep_masked(batch.checked_references())
            tokens = [encoded(network, batch.inputs, batch) for network in networks]
            pairs = list(zip(networks, tokens, strict=True))
            whole = self._predicted([torch.stack([outputs_of(*pair) for pair in pairs])]).logits
            for name in self.modalities:
                place, falls = BRANCHES.index(name), []
                for window in range(batch.inputs[place].shape[1]):
                    inputs = list(batch.inputs)
                    inputs[place] = without_window(inputs[place], references[place], window)
                    outputs = [
                        outputs_of(network, own | {name: encoded(network, inputs, batch)[name]})
                        for network, own in pairs
                    ]
                    falls.append(whole - self._predicted([torch.stack(outputs)]).logits)
                parts[name].append(np.stack(falls))
        return {name: np.concatenate(own, axis=2) for name, own in parts.items()}

    def coalitions(self, samples: Sequence[str]) -> dict[frozenset[str], np.ndarray]:
        """Return F (members, samples, targets) with every set of modalities as they are, all others at the reference.

        Only modalities that the networks read are players. What is masked, and auxiliary, is always the sample's own.
        """
        sets = [frozenset(own) for size in range(len(BRANCHES) + 1) for own in combinations(self.modalities, size)]
        parts: dict[frozenset[str], list[Tensor]] = {own: [] for own in sets}
        for batch in self._batches(samples):
            references = tuple(
                part.expand_as(tensor) for part, tensor in zip(batch.checked_references(), batch.inputs, strict=True)
            )
            tokens = [
                (encoded(network, batch.inputs, batch), encoded(network, references, batch)) for network in self.members
            ]
            for own in sets:
                outputs = [
                    outputs_of(network, {name: (present if name in own else away)[name] for name in self.modalities})
                    for network, (present, away) in zip(self.members, tokens, strict=True)
                ]
                parts[own].append(torch.stack(outputs))
        return {own: self._predicted(outputs).logits for own, outputs in parts.items()}

    def knockouts(self, samples: Sequence[str]) -> dict[Knockout, Predicted]:
        """Return what the members say with every head removed or made uniform, all of a direction, and all of both."""
        changes: list[Knockout] = [
            (direction, head, kind) for direction in DIRECTIONS for head in (*range(self.heads), ALL) for kind in KINDS
        ]
        changes += [(BOTH, ALL, kind) for kind in KINDS]
        parts: dict[Knockout, list[Tensor]] = {change: [] for change in changes}
        for batch in self._batches(samples):
            tokens = [encoded(network, batch.inputs, batch) for network in self.members]
            for change in changes:
                pairs = zip(self.members, tokens, strict=True)
                outputs = [outputs_of(network, own, self._changed(network, change)) for network, own in pairs]
                parts[change].append(torch.stack(outputs))
        return {change: self._predicted(outputs) for change, outputs in parts.items()}

    def _changed(self, network: nn.Module, change: Knockout) -> dict[str, Tensor]:
        direction, head, kind = change
        heads = range(self.heads) if head == ALL else [head]
        changed: dict[str, Tensor] = {}
        for name in DIRECTIONS if direction == BOTH else [direction]:
            changed |= heads_changed(network.fusion, name, heads, kind)
        return changed

    def edges(self, samples: Sequence[str]) -> Edges:
        """Return F without every edge, in both directions and in all windows; only edges that are there somewhere."""
        pairs = [(branch, *pair) for branch in self.modalities for pair in self._pairs(branch)]
        shape = (len(self.members), len(samples), self.reader.function.targets)
        found, done = np.full((len(pairs), *shape), np.nan), 0
        for batch in self._batches(samples):
            tokens = [encoded(network, batch.inputs, batch) for network in self.members]
            for place, pair in enumerate(pairs):
                weighted = self._weighted(pair[0])
                rows = joined(batch, *pair, weighted).nonzero()[:, 0]
                if len(rows):
                    outputs = [
                        outputs_without(network, own, batch, pair, rows, weighted)
                        for network, own in zip(self.members, tokens, strict=True)
                    ]
                    found[place][:, done + rows.cpu().numpy()] = self._predicted([torch.stack(outputs)]).logits
            done += len(batch.inputs[0])
        there = np.isfinite(found).any(axis=(1, 2, 3))
        return Edges([pair for pair, own in zip(pairs, there, strict=True) if own], found[there])

    def _weighted(self, branch: str) -> bool:
        return self.members[0].weights and branch == BRANCHES[0]

    def _pairs(self, branch: str) -> Sequence[tuple[str, str]]:
        return list(combinations(NODES[branch], 2)) if self._weighted(branch) else EDGES[branch]

    def _predicted(self, parts: Sequence[Tensor]) -> Predicted:
        """Return what raw outputs (members, samples, outputs), in parts, say."""
        outputs = torch.cat(list(parts), dim=1)
        logits = self.reader.function.targets_of(outputs).cpu().numpy()
        return Predicted(logits, self.ensemble.predictions(outputs.cpu().numpy()))

    def _batches(self, samples: Sequence[str]) -> Iterator[Batch]:
        rows = self.reader.dataset.rows_of(samples)
        # cuDNN's TF32 has three digits.
        with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
            for part in self.reader.batches(rows):
                for start in range(0, len(part), self._at_once):
                    yield self.reader.read(part[start : start + self._at_once])

    @cached_property
    def _at_once(self) -> int:
        """How many samples' messages fit in memory."""
        return max(1, MESSAGES_AT_ONCE // max(self._messages(branch) for branch in self.modalities))

    def _messages(self, branch: str) -> int:
        """Return how many numbers the nodes of one sample send each other, and themselves, in the widest layer."""
        nodes, graph = len(NODES[branch]), self.members[0].encoders[branch].graph
        edges = nodes**2 if self._weighted(branch) else nodes + 2 * len(EDGES[branch])
        width = max(layer.heads * layer.out_channels for layer in graph.convolutions)
        return self.reader.dataset.branches[branch].shape[0] * edges * width
