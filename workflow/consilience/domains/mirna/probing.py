"""The networks of a model, asked about single pairs: mutants, pairs of windows, what the first convolution sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from consilience.attribution.batches import BatchReader
from consilience.attribution.explain import checked_reader
from consilience.attribution.methods import Method, Own, method_named
from consilience.dataset import Dataset
from consilience.devices import choose_device
from consilience.domains.mirna import explain
from consilience.domains.mirna.model import build
from consilience.domains.mirna.mutagenesis import Interactions, interactions, position_effects
from consilience.domains.mirna.prepare import BRANCHES
from consilience.training.ensemble import Ensemble


@dataclass(frozen=True)
class Networks:
    """The members of a model that were trained on real labels, and a reader of pairs for them."""

    reader: BatchReader
    target: str
    methods: list[Method]

    @classmethod
    def load(
        cls,
        dataset: Dataset,
        split: pd.DataFrame,
        path: str,
        attribution: Mapping[str, Any],
        facts: Mapping[str, Mapping[str, Any]],
        seed: int,
        device: str = "cpu",
        methods: Sequence[str] = (),
    ) -> Networks:
        """Load an ensemble; `attribution` and `seed` are the study's, `facts` those of the slice's methods by name.

        `methods` name the attribution methods that will be asked for.
        """
        ensemble, own = Ensemble.load(path).on_real_labels(), Own.of(explain, facts)
        chosen = [method_named(name, own) for name in methods]
        network, place = ensemble.network(build), str(choose_device(device))
        reader = checked_reader(dataset, split, ensemble, network, chosen, attribution, seed, place, own)
        return cls(reader, dataset.targets[0], chosen)

    def falls(self, samples: Sequence[str]) -> dict[str, np.ndarray]:
        """Return by branch the mean fall under the substitutions of every nucleotide, (samples, longest)."""
        parts: dict[str, list[np.ndarray]] = {branch: [] for branch in BRANCHES}
        rows = self.reader.dataset.rows_of(samples)
        for part in self.reader.batches(rows):
            effects = position_effects(self.reader.read(part), self.reader.settings["internal_batch"])
            for branch, values in zip(BRANCHES, effects, strict=True):
                parts[branch].append(values.mean(dim=0)[0].cpu().numpy())
        return {branch: _padded(own) for branch, own in parts.items()}

    def interactions(self, samples: Sequence[str], width: int, draws: int) -> dict[str, Interactions]:
        """Return the interactions of every sample by its id."""
        found: list[Interactions] = []
        for part in self.reader.batches(self.reader.dataset.rows_of(samples)):
            batch = self.reader.read(part)
            found += interactions(batch, width, draws, self.reader.settings["internal_batch"])
        return dict(zip(samples, found, strict=True))

    @torch.no_grad()
    def activations(self, samples: Sequence[str]) -> dict[str, np.ndarray]:
        """Return by branch what the first convolution of the first member gives, (samples, channels, side, side)."""
        batch = self.reader.read(self.reader.dataset.rows_of(samples))
        network = self.reader.function.member_module(0)
        return {
            branch: getattr(network, branch).first(images.unsqueeze(1)).cpu().numpy()
            for branch, images in zip(BRANCHES, batch.inputs, strict=True)
        }


def _padded(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Put arrays (rows, lengths of their own) below each other, NaN at the ends of shorter ones."""
    longest = max(part.shape[1] for part in parts)
    return np.concatenate(
        [np.pad(part, ((0, 0), (0, longest - part.shape[1])), constant_values=np.nan) for part in parts]
    )
