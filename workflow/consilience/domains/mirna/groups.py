"""Pairs by what they are and what is predicted: which k-mers speak otherwise in one group than in the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

OUTCOMES = ("true positive", "false positive", "true negative", "false negative")
POSITIVES = OUTCOMES[0], OUTCOMES[3]  # of label 1
COMPARISONS = ("positive less negative", "correct less wrong")
FEWEST = 5  # families that a test needs
COMPARISON_COLUMNS = ("comparison", "feature", "difference", "t", "p_value", "q_value", "families")
OUTCOME_COLUMNS = ("method", "branch", "outcome", "samples", "mean_attribution", "mean_absolute_attribution", "share")


def outcomes(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the outcome of every pair, text (samples,); `predicted` are probabilities of a pair."""
    positive = predicted > 0.5
    places = np.where(labels == 1, np.where(positive, 0, 3), np.where(positive, 1, 2))
    return np.array(OUTCOMES, dtype=object)[places]


def probabilities(predictions: pd.DataFrame, samples: Sequence[str], target: str) -> np.ndarray:
    """Return the predicted probability of a pair of each sample; `predictions` is predictions.tsv."""
    own = predictions[predictions["target"] == target].set_index("sample")["predicted"]
    return own.loc[list(samples)].to_numpy(np.float64)


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
    maps: np.ndarray,
    present: np.ndarray,
    features: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
    families: np.ndarray,
) -> list[dict[str, Any]]:
    """Return for every k-mer how its attribution differs between two groups of pairs, within families of miRNAs.

    A family's difference is that of its means over the pairs that hold the k-mer: where it stands says nothing of what
    it says. Families, not pairs, are what is independent: a one-sample t test over those that hold it in both groups
    (`FEWEST` at least), and Benjamini & Hochberg's q over the k-mers. `maps` are (samples, features), `present` bool
    alike: the k-mers of each pair.
    """
    correct = (predicted > 0.5) == (labels == 1)
    rows = []
    for comparison, first in zip(COMPARISONS, (labels == 1, correct), strict=True):
        differences = _differences(maps, present, first, families)
        seen = np.flatnonzero(np.isfinite(differences).sum(axis=0) >= FEWEST)
        if not len(seen):
            continue
        found = _t_tests(differences[:, seen])
        q_values = stats.false_discovery_control(found["p_value"])
        for place, column in enumerate(seen):
            row = {"comparison": comparison, "feature": features[column], "q_value": float(q_values[place])}
            own = {name: float(values[place]) for name, values in found.items()}
            rows.append(row | own | {"families": int(found["families"][place])})
    return sorted(rows, key=lambda row: (COMPARISONS.index(row["comparison"]), row["p_value"], row["feature"]))


def _differences(maps: np.ndarray, present: np.ndarray, first: np.ndarray, families: np.ndarray) -> np.ndarray:
    """Return the difference of both groups' means over holders, by family, (families, features); else NaN."""
    held = np.where(present, maps, 0).astype(np.float64)
    found = []
    for family in np.unique(families):
        means = []
        for own in (first, ~first):
            rows = (families == family) & own
            times = present[rows].sum(axis=0)
            means.append(np.divide(held[rows].sum(axis=0), times, out=np.full(len(times), np.nan), where=times > 0))
        found.append(means[0] - means[1])
    # What rounding leaves of equal means is no difference.
    least = 1e-12 * np.abs(held).max(axis=0, initial=0)
    return np.where(np.abs(found) <= least, 0, found)


def _t_tests(differences: np.ndarray) -> dict[str, np.ndarray]:
    """Return difference, t, p and number of families of every feature; `differences` (families, features), or NaN."""
    count = np.isfinite(differences).sum(axis=0)
    mean, error = np.nanmean(differences, axis=0), np.nanstd(differences, axis=0, ddof=1) / np.sqrt(count)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = mean / error
    # Without any difference in any family, nothing speaks against chance.
    p_values = np.nan_to_num(2 * stats.t.sf(np.abs(t), count - 1), nan=1.0)
    return {"difference": mean, "t": t, "p_value": p_values, "families": count}
