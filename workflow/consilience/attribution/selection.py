"""Which samples are explained, and which are shown whole; by id, so that the order of samples changes neither."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from consilience.attribution.names import ROLES, check_name
from consilience.dataset import Dataset
from consilience.errors import ConsilienceError


def explained_rows(split: pd.DataFrame, roles: Sequence[str], maximum: int, seed: int) -> np.ndarray:
    """Return the ascending indices of the samples to explain: those of `roles`, or a seeded choice of `maximum`.

    `split` has the columns sample and role, rows in dataset order.
    """
    for role in roles:
        check_name("attribution role", role, ROLES)
    rows = np.flatnonzero(split["role"].isin(list(roles)))
    if not len(rows):
        raise ConsilienceError(f"no sample has a role among {', '.join(roles)}: there is nothing to explain")
    return np.sort(_shuffled(split, rows, seed)[:maximum])


def showcase_rows(
    split: pd.DataFrame, labels: np.ndarray | None, count: int, seed: int, suited: np.ndarray | None = None
) -> np.ndarray:
    """Return up to `count` indices of the test role, in a seeded order, taking turns over the classes.

    `labels` (samples,) are the classes, None for a regression; `suited` are indices to choose among, all of the role
    where None. Fewer come back where there are fewer.
    """
    rows = np.flatnonzero(split["role"] == "test") if suited is None else suited
    rows = _shuffled(split, rows, seed)
    if labels is None:
        return rows[:count]
    own = pd.Series(labels[rows])
    turns = np.lexsort((own, own.groupby(own).cumcount()))
    return rows[turns][:count]


def check_split(dataset: Dataset, split: pd.DataFrame) -> None:
    """Refuse a split whose samples are not the dataset's, in its order."""
    ids = dataset.samples["id"].astype(str).to_numpy()
    own = split["sample"].astype(str).to_numpy()
    if len(ids) != len(own):
        raise ConsilienceError(f"{dataset.path} has {len(ids)} samples, the split {len(own)}")
    wrong = np.flatnonzero(ids != own)
    if len(wrong):
        row = wrong[0]
        raise ConsilienceError(f"row {row} is sample {ids[row]!r} in {dataset.path}, and {own[row]!r} in the split")


def _shuffled(split: pd.DataFrame, rows: np.ndarray, seed: int) -> np.ndarray:
    """Order rows by a hash of seed and sample id."""
    ids = split["sample"].to_numpy()[rows]
    keys = [(hashlib.sha256(f"{seed}/{sample}".encode()).digest(), str(sample)) for sample in ids]
    return rows[sorted(range(len(rows)), key=keys.__getitem__)]
