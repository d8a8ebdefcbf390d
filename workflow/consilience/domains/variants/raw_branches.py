"""How much of the attributions each branch of raw features has, its features taken together."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

COLUMNS = ("model", "branch", "features", "magnitude", "share", "auroc")


class BranchSums:
    """The contributions of each branch to each call, gathered block by block; `branches` (features,) are names."""

    def __init__(self, branches: np.ndarray) -> None:
        self.names, self.starts = list(dict.fromkeys(branches)), np.flatnonzero(_changes(branches))
        self.counts = np.diff(np.append(self.starts, len(branches)))
        self.blocks: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []

    def add(self, contributions: np.ndarray, labels: np.ndarray) -> None:
        """Add contributions (calls, features) and the classes (calls,), 0 or 1."""
        self.blocks.append(np.add.reduceat(contributions, self.starts, axis=1))
        self.labels.append(labels)

    def rows(self, model: str) -> pd.DataFrame:
        """Return a row a branch: model, branch, features, magnitude, share, auroc.

        `magnitude` is the mean over calls of |sum of the branch's contributions|: what features of a branch say one
        against the other cancels, so that many of them do not weigh more than few. `share` is that of all branches.
        `auroc` is that of the signed sum, for true calls; NaN for calls of one class.
        """
        sums, labels = np.concatenate(self.blocks), np.concatenate(self.labels)
        magnitude = np.abs(sums).mean(axis=0)
        found = {
            "branch": self.names,
            "features": self.counts,
            "magnitude": magnitude,
            "share": magnitude / max(float(magnitude.sum()), np.finfo(float).tiny),
            "auroc": [_auroc(column, labels == 1) for column in sums.T],
        }
        return pd.DataFrame(found).assign(model=model)[list(COLUMNS)]


def _changes(branches: np.ndarray) -> np.ndarray:
    return np.append(True, branches[1:] != branches[:-1])


def _auroc(scores: np.ndarray, true: np.ndarray) -> float:
    """Return the area under the ROC curve from ranks, ties averaged (Hanley & McNeil 1982)."""
    positives = np.count_nonzero(true)
    pairs = positives * (len(true) - positives)
    if not pairs:
        return np.nan
    return float((rankdata(scores)[true].sum() - positives * (positives + 1) / 2) / pairs)
