"""What is checked: the members on real labels as one function, some samples of the test role, and the methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from consilience.attribution.batches import Batch, BatchReader
from consilience.attribution.explain import checked_reader
from consilience.attribution.function import EnsembleFunction
from consilience.attribution.methods import Method, Own, method_named
from consilience.attribution.selection import showcase_rows
from consilience.attribution.store import Attributions
from consilience.dataset import Dataset
from consilience.errors import ConsilienceError
from consilience.training.ensemble import Ensemble

# Attributions of features held for all samples, in numbers: beyond, fewer samples are taken.
HELD_NUMBERS = 2**25
# The same for the samples that are worked on at once.
BATCH_NUMBERS = 2**23


@dataclass(frozen=True)
class Subject:
    """The trained network and the samples to explain, in a seeded order that the dataset's order does not change.

    `ids` and `groups` (samples,) are those of `rows`, the samples' indices in the dataset; `units` are the unit maps,
    int64 (*shape) a branch.
    """

    model: str
    reader: BatchReader
    methods: list[Method]
    rows: np.ndarray
    ids: np.ndarray
    groups: np.ndarray
    units: list[torch.Tensor]

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        split: pd.DataFrame,
        ensemble: Ensemble,
        module: torch.nn.Module,
        methods: Sequence[str],
        settings: Mapping[str, Any],
        samples: int,
        seed: int,
        device: str = "cpu",
        own: Own | None = None,
    ) -> Subject:
        """Choose up to `samples` of the test role, classes taking turns; arguments are those of `explain_model`.

        Fewer are taken where the attributions of so many features, members and methods would not fit in memory.
        """
        own = own or Own()
        if len(dataset.features) < 2:
            raise ConsilienceError(f"{dataset.path}: {len(dataset.features)} feature; a ranking needs two or more")
        chosen = [method_named(name, own) for name in methods]
        real = ensemble.on_real_labels()
        reader = checked_reader(dataset, split, real, module, chosen, settings, seed, device, own, reference=True)
        labels = None if dataset.task == "regression" else np.asarray(dataset.labels)
        lines = len(chosen) * (reader.function.members + 1) * reader.function.targets
        fitting = HELD_NUMBERS // (lines * len(dataset.features))
        rows = showcase_rows(split, labels, max(1, min(samples, fitting)), seed)
        if not len(rows):
            raise ConsilienceError("no sample has the role test: faithfulness is measured on samples held out")
        ids, groups = (split[column].astype(str).to_numpy()[rows] for column in ("sample", "group"))
        units = [branch.units.astype(np.int64) for branch in dataset.branches.values()]
        units = [torch.as_tensor(unit, device=device) for unit in units]
        return cls(ensemble.model, reader, chosen, rows, ids, groups, units)

    @property
    def function(self) -> EnsembleFunction:
        """The trained members."""
        return self.reader.function

    @property
    def features(self) -> int:
        """The number of features."""
        return self.reader.sums.features

    def batches(self, samples: int, function: EnsembleFunction | None = None) -> Iterator[tuple[slice, Batch]]:
        """Yield the first `samples` in batches that fit in memory, with their places among `rows`.

        `function` takes the place of the trained one.
        """
        # What a reader keeps of a network is that of its own function.
        reader = self.reader if function is None else replace(self.reader, function=function, _split=None)
        lines = len(self.methods) * self.function.members * self.function.targets
        most, done = max(1, BATCH_NUMBERS // (lines * self.features)), 0
        for part in reader.batches(self.rows[:samples]):
            for start in range(0, len(part), most):
                rows = part[start : start + most]
                yield slice(done, done + len(rows)), reader.read(rows)
                done += len(rows)

    def by_feature(self, batch: Batch, method: Method) -> np.ndarray:
        """Return a method's attributions, float64 (members, targets, samples, features)."""
        return self.reader.sums(batch.attribute(method, self.reader.settings)).double().cpu().numpy()


def check_attributions(subject: Subject, attributions: Sequence[Attributions], known: pd.Index) -> None:
    """Refuse attribution files of another model, other features, or samples that are not among the `known`."""
    features = list(subject.reader.dataset.features["name"])
    for one in attributions:
        if one.model != subject.model:
            raise ConsilienceError(f"attributions by {one.method} are of model {one.model}; expected {subject.model}")
        if list(one.features["name"]) != features:
            raise ConsilienceError(
                f"attributions by {one.method} are of other features than {subject.reader.dataset.path}"
            )
        foreign = next((sample for sample in one.samples if str(sample) not in known), None)
        if foreign is not None:
            raise ConsilienceError(f"attributions by {one.method} explain sample {foreign!r}, which the split lacks")
