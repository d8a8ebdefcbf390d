"""What the Python API returns: attributions of arrays, the table of features, and the completeness gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from consilience.attribution.batches import Batch
from consilience.attribution.function import Tensors
from consilience.attribution.methods import Method
from consilience.attribution.space import InputSpace
from consilience.attribution.statistics import Direction, Magnitude, SampleMeans


@dataclass(frozen=True)
class Attribution:
    """The attributions of some samples by one method.

    `arrays` holds, by branch, the mean over members (targets, samples, *shape), or each of them (members, targets,
    samples, *shape) where that was asked for. `magnitude`, `direction` and `mean` are float64 (members, targets,
    features): the mean over samples of |attribution of the feature|; of the gradient times the sd of its elements; and
    of the attribution with its sign. `gap` has a row a member, target and sample: `gap` = |sum of attributions -
    change|, and `change` = |F(x) - F(what it is compared with)|; None where the method promises no completeness.
    `classes` are the samples' classes that a rule by sample explained, else None.
    """

    method: str
    compared_with: str
    targets: list[str]
    features: pd.DataFrame
    samples: list[str]
    arrays: dict[str, np.ndarray]
    magnitude: np.ndarray
    direction: np.ndarray
    mean: np.ndarray
    gap: pd.DataFrame | None
    classes: list[str] | None

    def table(self, top: int | None = None) -> pd.DataFrame:
        """Return the features by target and rank, of means over members; the first `top` of each target, or all.

        The rank goes by magnitude; `average_attribution` is sign(direction) x magnitude, as in the workflow's lists.
        `mean_attribution` keeps the sign of the attributions, which is no direction: a feature may add to the
        prediction both where it is high and where it is low. The workflow's lists of three classes or more speak of
        each class's own samples: attribute these alone, by `TrueClass`.
        """
        magnitude, direction, mean = (part.mean(axis=0) for part in (self.magnitude, self.direction, self.mean))
        columns = {
            "magnitude": magnitude,
            "direction": direction,
            "average_attribution": np.sign(direction) * magnitude,
            "mean_attribution": mean,
        }
        frames = []
        for place, target in enumerate(self.targets):
            order = np.argsort(-magnitude[place], kind="stable")[:top]
            frame = self.features.iloc[order].rename(columns={"name": "feature"}).reset_index(drop=True)
            frame.insert(0, "target", target)
            frame.insert(1, "rank", np.arange(1, len(order) + 1))
            frames.append(frame.assign(**{name: values[place, order] for name, values in columns.items()}))
        return pd.concat(frames, ignore_index=True)


class Gathered:
    """Collects the attributions of samples, part by part, in any order."""

    def __init__(self, space: InputSpace, members: int, targets: int, samples: int, per_member: bool) -> None:
        self.space = space
        self.per_member = per_member
        self.shape = (members, targets, samples)
        self.arrays: dict[str, np.ndarray] = {}
        self.magnitude = Magnitude(space.sums, 0)
        self.direction = Direction(space.sums, 0, space.rises)
        self.mean = SampleMeans(0)
        self.gap, self.change = np.zeros(self.shape), np.zeros(self.shape)
        self.labels: np.ndarray | None = None

    def add(self, places: np.ndarray, label: int | None, batch: Batch, method: Method, settings: Mapping) -> None:
        """Attribute the samples of `batch`, which lie at `places` among all and are explained as of class `label`."""
        attributions = batch.attribute(method, settings)
        self._keep(places, attributions)
        self.magnitude.add(attributions, None)
        self.mean.add(self.space.sums(attributions), None)
        self.direction.add(batch.values_and_gradients[1], None)
        if method.complete:
            self.gap[:, :, places], self.change[:, :, places] = batch.gap(method, attributions)
        if label is not None:
            self.labels = np.zeros(self.shape[2], np.int64) if self.labels is None else self.labels
            self.labels[places] = label

    def _keep(self, places: np.ndarray, attributions: Tensors) -> None:
        for name, tensor in zip(self.space.shapes, attributions, strict=True):
            kept = (tensor if self.per_member else tensor.mean(dim=0)).cpu().numpy()
            leading = self.shape if self.per_member else self.shape[1:]
            if name not in self.arrays:
                self.arrays[name] = np.empty((*leading, *tensor.shape[3:]), kept.dtype)
            self.arrays[name][..., places, *[slice(None)] * (tensor.ndim - 3)] = kept

    def result(
        self, method: Method, compared_with: str, targets: list[str], classes: Sequence[str], samples: list[str]
    ) -> Attribution:
        """Return what was collected; `classes` are the names of all classes."""
        return Attribution(
            method=method.name,
            compared_with=compared_with,
            targets=targets,
            features=self.space.features,
            samples=samples,
            arrays=self.arrays,
            magnitude=self.magnitude.means()[0],
            direction=self.direction.means()[0],
            mean=self.mean.means()[0],
            gap=self._gap_table(targets, samples) if method.complete else None,
            classes=None if self.labels is None else [classes[label] for label in self.labels],
        )

    def _gap_table(self, targets: list[str], samples: list[Any]) -> pd.DataFrame:
        names = {"member": range(self.shape[0]), "target": targets, "sample": samples}
        frame = pd.MultiIndex.from_product(names.values(), names=names.keys()).to_frame(index=False)
        return frame.assign(gap=self.gap.ravel(), change=self.change.ravel())
