"""What members are trained on: the samples of the roles in memory, scaled, and every member's rows and labels."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from consilience.dataset import Dataset
from consilience.errors import ConsilienceError
from consilience.networks import NetworkContext
from consilience.scaling import Scaling, fit, scaled_inputs
from consilience.splits import sampled
from consilience.training.engine import Job, Labels, Samples
from consilience.training.members import Member, permutation, select_rows, stable_seed

LOG = logging.getLogger(__name__)


def context_of(dataset: Dataset) -> NetworkContext:
    """Return what a network for this dataset has to fit."""
    branches = {name: branch.shape for name, branch in dataset.branches.items()}
    outputs = 1 if dataset.task == "regression" else len(dataset.classes)
    return NetworkContext(branches, outputs, dataset.auxiliary_shapes, len(dataset.features))


def feature_axis(dataset: Dataset) -> str:
    """Return the SHA-256 of the names of the features in order."""
    return hashlib.sha256("\n".join(dataset.features["name"].astype(str)).encode()).hexdigest()


def rows_by_role(dataset: Dataset, split: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the positions of the samples of every role; refuses a split of other samples, and a role without any."""
    if list(split["sample"].astype(str)) != list(dataset.samples["id"].astype(str)):
        raise ConsilienceError(f"{dataset.path}: the split's samples are not the dataset's, in its order")
    roles = split["role"].to_numpy()
    rows = {role: np.flatnonzero(roles == role) for role in ("train", "validation", "test")}
    for role, least in (("train", 2), ("validation", 1), ("test", 1)):
        if len(rows[role]) < least:
            raise ConsilienceError(
                f"{dataset.path}: {len(rows[role])} samples in the {role} role; training needs at least {least}"
            )
    return rows


@dataclass(frozen=True)
class TrainingData:
    """The roles train and validation on a device, with the scalings fitted on the training role.

    `rows` are the positions in the dataset of the samples that are used, at most the recipe's `maximum_samples` a
    role; `available` says how many the roles have. `target` is standardized for a regression.
    """

    scalings: dict[str, Scaling]
    center: float
    scale: float
    rows: dict[str, np.ndarray]
    available: dict[str, int]
    groups: dict[str, np.ndarray]
    samples: dict[str, Samples]
    labels: dict[str, Labels]

    @classmethod
    def read(
        cls,
        dataset: Dataset,
        split: pd.DataFrame,
        roles: dict[str, np.ndarray],
        maximum_samples: int,
        seed: int,
        device: torch.device,
        class_weights: str = "none",
    ) -> TrainingData:
        """Fit the scalings on all training rows, and read what is trained and validated on.

        `class_weights` is none or balanced: rows of both roles weigh n / (classes × rows of their class) besides their
        own weight, counted on the training rows that are used, as scikit-learn's `balanced` does. Raises
        ConsilienceError for balanced where samples have no single class, or none of the training rows has one that
        validation has.
        """
        scalings = {branch: fit(dataset, branch, roles["train"]) for branch in dataset.branches}
        center, scale = _target_scaling(dataset, roles["train"])
        rows = {
            role: sampled(roles[role], maximum_samples, stable_seed(seed, "sample", role))
            for role in ("train", "validation")
        }
        for role, used in rows.items():
            if len(used) < len(roles[role]):
                LOG.info("a seeded sample of %d of the %d %s rows", len(used), len(roles[role]), role)
        weights = _balanced(dataset, rows) if class_weights == "balanced" else None
        return cls(
            scalings=scalings,
            center=center,
            scale=scale,
            rows=rows,
            available={role: len(roles[role]) for role in rows},
            groups={role: split["group"].to_numpy()[used] for role, used in rows.items()},
            samples={role: _samples(dataset, scalings, used, device) for role, used in rows.items()},
            labels={role: _labels(dataset, used, center, scale, weights, device) for role, used in rows.items()},
        )

    def job(self, member: Member, seed: int) -> Job:
        """Return what one member is trained on: its rows by group, its labels by its permutation."""
        rows = torch.from_numpy(select_rows(self.groups["train"], member.rows, seed))
        if len(rows) < 2:
            raise ConsilienceError(f"rows: {member.rows!r} leaves {len(rows)} training rows; expected at least 2")
        labels = {role: _permute(self.labels[role], self.groups[role], member, seed, role) for role in self.labels}
        return Job(member, rows, labels["train"], labels["validation"])


def _target_scaling(dataset: Dataset, rows: np.ndarray) -> tuple[float, float]:
    """Return the mean and standard deviation (divided by n) of a regression's target; 0 and 1 for classes."""
    if dataset.task != "regression":
        return 0.0, 1.0
    target = dataset.target[rows]
    center, scale = float(target.mean()), float(target.std())
    if scale <= 1e-12 * max(1.0, abs(center)):
        raise ConsilienceError(
            f"{dataset.path}: the target {dataset.target_name} is {center:g} in all {len(rows)} training samples"
        )
    return center, scale


def _samples(dataset: Dataset, scalings: dict[str, Scaling], rows: np.ndarray, device: torch.device) -> Samples:
    inputs, auxiliary = scaled_inputs(dataset, scalings, rows)
    return Samples(
        tuple(torch.from_numpy(branch).to(device) for branch in inputs),
        {name: torch.from_numpy(values).to(device) for name, values in auxiliary.items()},
    )


def _balanced(dataset: Dataset, rows: dict[str, np.ndarray]) -> np.ndarray:
    """Return the weight of every class (classes,) by its rows in the training role; NaN where it has none."""
    if dataset.task != "classification":
        raise ConsilienceError(
            f"training.class_weights: balanced needs a classification, but {dataset.target_name} is a target of task "
            f"{dataset.task}; use none"
        )
    counts = np.bincount(dataset.target[rows["train"]], minlength=len(dataset.classes))
    lacking = sorted(set(dataset.target[rows["validation"]]) - set(np.flatnonzero(counts)))
    if lacking:
        raise ConsilienceError(
            f"training.class_weights: balanced, but none of the {len(rows['train'])} training rows that are used is of "
            f"the class {dataset.classes[lacking[0]]}, as validation is; use none, or raise training.maximum_samples"
        )
    present = np.where(counts > 0, counts, np.nan)
    return len(rows["train"]) / (np.count_nonzero(counts) * present)


def _labels(
    dataset: Dataset,
    rows: np.ndarray,
    center: float,
    scale: float,
    class_weights: np.ndarray | None,
    device: torch.device,
) -> Labels:
    """Return the labels of `rows`; weights are divided by their mean, and left out where all are the same.

    So the loss over a whole role is that of torch's CrossEntropyLoss with `weight`, where samples have none of their
    own; over a batch, torch divides by the batch's own weights, and here every row counts alike in all batches.
    """
    target = dataset.target[rows]
    if dataset.task == "regression":
        target = (target - center) / scale
    kind = torch.int64 if dataset.task == "classification" else torch.float32
    weight = dataset.weight[rows] if class_weights is None else dataset.weight[rows] * class_weights[target]
    uniform = bool((weight == weight[0]).all())
    return Labels(
        torch.as_tensor(target).to(device, kind),
        None if uniform else torch.as_tensor(weight / weight.mean()).to(device, torch.float32),
    )


def _permute(labels: Labels, groups: np.ndarray, member: Member, seed: int, role: str) -> Labels:
    """Return the labels, with their weights, in the order of the member's permutation."""
    if member.permuted == 0:
        return labels
    order = permutation(groups, member.permuted, seed, role)
    return labels.take(torch.from_numpy(order).to(labels.target.device))
