"""The test samples that are asked, and means over them with intervals that resample whole patients; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from consilience.attribution.selection import showcase_rows
from consilience.dataset import Dataset
from consilience.faithfulness.resampling import Resampling

ALL = "all"  # classes, heads, members

Interval = dict[str, float | None]


@dataclass(frozen=True)
class Asked:
    """Samples in an order that the dataset's does not change.

    All arrays are (samples, ...): `patients` are names of the groups that the split keeps together, `labels` the class
    with most votes, `votes` fractions (samples, classes), `weight` the number of votes. Intervals are of `resamples`
    resamples of whole patients; they are None for fewer than three patients.
    """

    ids: list[str]
    patients: np.ndarray
    labels: np.ndarray
    votes: np.ndarray
    weight: np.ndarray
    classes: list[str]
    resamples: int
    seed: int
    _drawn: dict[bytes, Resampling] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, dataset: Dataset, split: pd.DataFrame, rows: np.ndarray, resamples: int, seed: int) -> Asked:
        """Look up the samples at `rows`; `split` has the columns sample and group, rows in dataset order."""
        return cls(
            list(split["sample"].astype(str).to_numpy()[rows]),
            split["group"].astype(str).to_numpy()[rows],
            np.asarray(dataset.labels)[rows],
            dataset.target[rows],
            dataset.weight[rows],
            dataset.classes,
            resamples,
            seed,
        )

    @classmethod
    def choose(cls, dataset: Dataset, split: pd.DataFrame, samples: int, resamples: int, seed: int) -> Asked:
        """Choose up to `samples` of the test role by the seed and their ids, classes taking turns."""
        rows = showcase_rows(split, np.asarray(dataset.labels), samples, seed)
        return cls.of(dataset, split, rows, resamples, seed)

    def __len__(self) -> int:
        return len(self.ids)

    def targets(self) -> list[tuple[str, np.ndarray]]:
        """Return every class that has samples with their places, and all samples under `ALL`."""
        own = [(name, np.flatnonzero(self.labels == place)) for place, name in enumerate(self.classes)]
        return [*((name, places) for name, places in own if len(places)), (ALL, np.arange(len(self)))]

    def own_class(self, values: np.ndarray) -> np.ndarray:
        """Return from values of all targets (..., samples, targets) those of each sample's own class, (..., samples).

        Of two classes the one target is the log-odds of the second; of a sample of the first it is turned.
        """
        if values.shape[-1] == 1:
            return values[..., 0] * np.where(self.labels == 1, 1, -1)
        return values[..., np.arange(len(self)), self.labels]

    def resampling(self, places: np.ndarray) -> Resampling:
        """Return resamples of the patients of the samples at `places`."""
        key = np.asarray(places, np.int64).tobytes()
        if key not in self._drawn:
            self._drawn[key] = Resampling.of(self.patients[places], self.resamples, self.seed)
        return self._drawn[key]

    def mean(
        self, name: str, values: np.ndarray, places: np.ndarray | None = None, weight: np.ndarray | None = None
    ) -> dict[str, float | int | None]:
        """Return `samples`, the mean under `name`, `low` and `high`, over the samples at `places` (all where None).

        `values` (samples,) may be NaN, which is left out; the result is empty where nothing else is left. `weight`
        (samples,) says how much each sample counts.
        """
        places = np.arange(len(self)) if places is None else places
        places = places[np.isfinite(values[places])]
        if not len(places):
            return {}
        own = np.ones(len(places)) if weight is None else weight[places]
        resampling = self.resampling(places)
        found = resampling.interval(resampling.ratios(own * values[places], own))
        return {"samples": len(places)} | renamed(found, name)

    def share(self, part: np.ndarray, whole: np.ndarray, places: np.ndarray) -> Interval:
        """Return value, low and high of the sum of one variable (samples,) over that of another, at `places`."""
        resampling = self.resampling(places)
        return resampling.interval(resampling.ratios(part[places], whole[places]))


def renamed(found: Mapping[str, float | None], name: str, prefix: str = "") -> Interval:
    """Return an interval with its value under `name`, and `prefix` before low and high."""
    return {name: found["value"], f"{prefix}low": found["low"], f"{prefix}high": found["high"]}
