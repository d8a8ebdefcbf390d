"""Pairs by what they are and what is predicted: which k-mers speak otherwise in one group than in the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

OUTCOMES = ("true positive", "false positive", "true negative", "false negative")
COMPARISONS = ("positive less negative", "correct less wrong")
FEWEST = 5  # families that a test needs
COMPARISON_COLUMNS = ("comparison", "feature", "difference", "t", "p_value", "q_value", "families")
OUTCOME_COLUMNS = ("method", "branch", "outcome", "samples", "mean_attribution", "mean_absolute_attribution", "share")


def outcomes(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the outcome of every pair, text (samples,); `predicted` are probabilities of a pair."""
    positive = predicted > 0.5
    places = np.where(labels == 1, np.where(positive, 0, 3), np.where(positive, 1, 2))
    return np.array(OUTCOMES, dtype=object)[places]


def in_turn(outcome: np.ndarray, count: int) -> np.ndarray:
    """Return up to `count` places, the outcomes taking turns, each in the order that is given."""
    own = pd.Series(pd.Categorical(outcome, OUTCOMES).codes)
    turns = np.lexsort((own, own.groupby(own).cumcount()))
    return turns[:count]


def outcome_rows(maps: np.ndarray, method: str, branches: np.ndarray, outcome: np.ndarray) -> list[dict[str, Any]]:
    """Return a row a branch and outcome: the mean of a pair's summed attribution and of its summed absolute one.

    `maps` are (samples, features), `branches` (features,) names. `share` is the branch's part of the absolute one.
    """
    absolute = np.abs(maps).sum(axis=1)
    rows = []
    for branch in dict.fromkeys(branches):
        part = maps[:, branches == branch]
        for name in OUTCOMES:
            own = outcome == name
            if not own.any():
                continue
            size = np.abs(part[own]).sum(axis=1)
            rows.append(
                {
                    "method": method,
                    "branch": branch,
                    "outcome": name,
                    "samples": int(own.sum()),
                    "mean_attribution": float(part[own].sum(axis=1).mean()),
                    "mean_absolute_attribution": float(size.mean()),
                    "share": float(size.sum() / absolute[own].sum()) if absolute[own].sum() > 0 else float("nan"),
                }
            )
    return rows


def comparison_rows(
    maps: np.ndarray, features: np.ndarray, labels: np.ndarray, predicted: np.ndarray, families: np.ndarray
) -> list[dict[str, Any]]:
    """Return for every k-mer how its attribution differs between two groups of pairs, within families of miRNAs.

    A family's difference is that of its means; families, not pairs, are what is independent: a one-sample t test over
    those that have both groups (`FEWEST` at least), and Benjamini & Hochberg's q over the k-mers that as many families
    hold. `maps` are (samples, features).
    """
    correct = (predicted > 0.5) == (labels == 1)
    rows = []
    for comparison, first in zip(COMPARISONS, (labels == 1, correct), strict=True):
        differences = _differences(maps, first, families)
        if len(differences) < FEWEST:
            continue
        seen = np.flatnonzero((differences != 0).sum(axis=0) >= FEWEST)
        if not len(seen):
            continue
        with np.errstate(invalid="ignore", divide="ignore"):
            tested = stats.ttest_1samp(differences[:, seen], 0)
        p_values = np.nan_to_num(tested.pvalue, nan=1.0)
        q_values = stats.false_discovery_control(p_values)
        for place, column in enumerate(seen):
            rows.append(
                {
                    "comparison": comparison,
                    "feature": features[column],
                    "difference": float(differences[:, column].mean()),
                    "t": float(tested.statistic[place]),
                    "p_value": float(p_values[place]),
                    "q_value": float(q_values[place]),
                    "families": len(differences),
                }
            )
    return sorted(rows, key=lambda row: (COMPARISONS.index(row["comparison"]), row["p_value"], row["feature"]))


def _differences(maps: np.ndarray, first: np.ndarray, families: np.ndarray) -> np.ndarray:
    """Return the difference of the means of both groups by family, (families, features); those that have both."""
    found = []
    for family in np.unique(families):
        own = families == family
        if (own & first).any() and (own & ~first).any():
            found.append(maps[own & first].mean(axis=0) - maps[own & ~first].mean(axis=0))
    return np.asarray(found, dtype=np.float64).reshape(len(found), maps.shape[1])
