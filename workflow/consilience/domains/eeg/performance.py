"""How far predicted probabilities can be taken at their word, and what one modality alone is worth; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from consilience.calibration import reliability
from consilience.domains.eeg.asked import Asked, renamed
from consilience.domains.eeg.montage import BRANCHES
from consilience.votes import divergence

CALIBRATION_COLUMNS = ("class", "bin", "samples", "mean_probability", "vote_fraction")
ABLATION_COLUMNS = (
    "modalities", "samples", "kl_divergence", "low", "high", "against", "difference", "difference_low",
    "difference_high",
)  # fmt: skip
ROUNDING = 1e-9


def predicted(table: pd.DataFrame, asked: Asked) -> np.ndarray:
    """Return the probabilities (samples, classes) of a model's predictions.tsv."""
    own = table.pivot(index="sample", columns="target", values="predicted")
    return own.loc[asked.ids, asked.classes].to_numpy(np.float64)


def nearest_member(probabilities: np.ndarray) -> int:
    """Return the place of the member that predicts most like the mean of all, from (members, samples, classes).

    By the sum of squared differences; the first of equals, as two members always are but for rounding.
    """
    distances = ((probabilities - probabilities.mean(axis=0)) ** 2).sum(axis=(1, 2))
    return int(np.argmax(distances <= distances.min() * (1 + ROUNDING)))


def calibration_rows(probabilities: np.ndarray, asked: Asked) -> list[dict[str, Any]]:
    """Return the reliability curve of every class, a row a bin; see `calibration.reliability`."""
    table = reliability(asked.votes, probabilities, asked.classes)
    return table.rename(columns={"mean_fraction": "vote_fraction"}).to_dict("records")


def ablation_rows(
    probabilities: Mapping[str, np.ndarray],
    modalities: Mapping[str, Sequence[str]],
    metrics: Mapping[str, Mapping[str, Any]],
    shown: str,
    asked: Asked,
) -> list[dict[str, Any]]:
    """Return a row a model: its divergence as metrics.json has it, and how much that is above the shown model's.

    All arguments but the last two are by model; `asked` are all test samples. The difference is paired over samples,
    and weighted by votes: positive where the shown model does better.
    """
    base, rows = divergence(asked.votes, probabilities[shown]), []
    for model, own in probabilities.items():
        read = [name for name in BRANCHES if name in modalities[model]]
        row = {"model": model, "modalities": " + ".join(read), "samples": len(asked)}
        row |= renamed(metrics[model]["test"]["kl_divergence"], "kl_divergence") | {"against": shown}
        if model != shown:
            found = asked.mean("value", divergence(asked.votes, own) - base, weight=asked.weight)
            row |= renamed(found, "difference", "difference_")
        rows.append(row)
    return rows
