"""What correct and wrong predictions, and samples of each class, look like: statistics of samples; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from consilience.domains.eeg.asked import ALL, Asked, renamed
from consilience.domains.eeg.attention import agreements
from consilience.domains.eeg.patterns import Maps, entropies, maxima
from consilience.metrics import LEAST_GROUPS
from consilience.votes import disagreement

OUTCOME_COLUMNS = (
    "statistic", "correct_samples", "incorrect_samples", "tied_samples", "correct", "incorrect", "difference", "low",
    "high",
)  # fmt: skip
PATTERN_COLUMNS = ("class", "statistic", "samples", "value", "low", "high")

Statistics = Mapping[str, np.ndarray]  # (samples,) by name; NaN where not defined


def statistics_of_predictions(probabilities: np.ndarray, asked: Asked) -> dict[str, np.ndarray]:
    """Return confidence, the probability of the predicted class, and vote_entropy, from 0 (all voted alike) to 1.

    `probabilities` are (samples, classes).
    """
    return {"confidence": probabilities.max(axis=1), "vote_entropy": disagreement(asked.votes)}


def statistics_of_attention(members: Sequence[Maps]) -> dict[str, np.ndarray]:
    """Return entropy and maximum of each direction, means over members, heads and queries, and the agreement of both.

    The largest weights have 1 / K as their least value, so that directions compare by entropies alone.
    """
    found = {}
    for name, measure in (("entropy", entropies), ("maximum", maxima)):
        for direction in members[0]:
            own = [measure(maps[direction]).mean(axis=1) for maps in members]
            found[f"{direction}_{name}"] = np.mean(own, axis=0)
    return found | {"agreement": np.mean([agreements(*maps.values()) for maps in members], axis=0)}


def outcome_rows(statistics: Statistics, correct: np.ndarray, asked: Asked) -> list[dict[str, Any]]:
    """Return a row a statistic that both correct and wrong predictions have, and the difference of both means.

    `correct` is bool (samples,). Samples whose most votes are tied are neither right nor wrong: they are left out, and
    `tied_samples` counts them. The interval resamples all patients at once, as one patient may have both; it is left
    out where either side has fewer than three patients.
    """
    rows, tied = [], (asked.votes == asked.votes.max(axis=1, keepdims=True)).sum(axis=1) > 1
    for name, values in statistics.items():
        known = np.isfinite(values) & ~tied
        sides = [np.where(known & side, values, np.nan) for side in (correct, ~correct)]
        places = [np.flatnonzero(np.isfinite(side)) for side in sides]
        if not all(map(len, places)):
            continue
        resampling = asked.resampling(np.flatnonzero(known))
        means = [resampling.means(side[known]) for side in sides]
        row = {"statistic": name, "correct_samples": len(places[0]), "incorrect_samples": len(places[1])}
        row["tied_samples"] = int((np.isfinite(values) & tied).sum())
        row |= {"correct": means[0][0], "incorrect": means[1][0]}
        row |= renamed(resampling.interval(means[0] - means[1]), "difference")
        if min(len(np.unique(asked.patients[own])) for own in places) < LEAST_GROUPS:
            row |= {"low": None, "high": None}
        rows.append(row)
    return rows


def class_rows(statistics: Statistics, asked: Asked) -> list[dict[str, Any]]:
    """Return a row a class and statistic that its samples have: the mean with its interval."""
    rows = []
    for target, places in asked.targets():
        for name, values in statistics.items():
            found = {} if target == ALL else asked.mean("value", values, places)
            if found:
                rows.append({"class": target, "statistic": name, **found})
    return rows
