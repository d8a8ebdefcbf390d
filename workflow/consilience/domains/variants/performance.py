"""The predictors of a study side by side on the test role: networks, linear models, and those that use no feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from consilience.dataset import Dataset
from consilience.metrics import evaluate
from consilience.trivial import trivial_predictions

METRICS = ("roc_auc", "average_precision", "matthews_corrcoef", "balanced_accuracy", "f1", "precision", "recall",
           "specificity", "log_loss")  # fmt: skip
COLUMNS = ("predictor", "kind", "metric", "value", "low", "high")
QUALITY, SIZE = "quality", "size"  # predictors that know a call's QUAL alone, and its size alone


def trivial_intervals(dataset: Dataset, split: pd.DataFrame, seed: int) -> dict[str, dict[str, Any]]:
    """Return value, low and high of the metrics of every predictor that uses no feature, by its name.

    Values are those of metrics.json; intervals resample the split's groups, as for networks.
    """
    train, test = (np.flatnonzero((split["role"] == role).to_numpy()) for role in ("train", "test"))
    known = dataset.samples, dataset.target, dataset.weight
    predicted = trivial_predictions(dataset.task, *known, train, test, dataset.classes)
    own = dataset.target[test], dataset.weight[test], split["group"].to_numpy()[test]
    target, weight, groups = own
    return {
        name: evaluate(dataset.task, target, values, weight, groups, dataset.classes, seed=seed)
        for name, values in predicted.items()
    }


def metrics_table(
    networks: Mapping[str, Mapping[str, Any]],
    linear: Mapping[str, Mapping[str, Any]],
    trivial: Mapping[str, Mapping[str, Any]],
) -> pd.DataFrame:
    """Return metrics.tsv, a row a predictor and metric, what is not defined being empty.

    `networks` and `linear` are contents of metrics.json by name, `trivial` what `trivial_intervals` returns.
    """
    found = {"network": networks, "linear": linear, "trivial": {name: {"test": one} for name, one in trivial.items()}}
    rows = [
        (name, kind, metric, *(one["test"][metric][part] for part in ("value", "low", "high")))
        for kind, predictors in found.items()
        for name, one in predictors.items()
        for metric in METRICS
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"value": float, "low": float, "high": float})


def metric(table: pd.DataFrame, predictor: str, kind: str, name: str = "roc_auc") -> dict[str, float | None] | None:
    """Return value, low and high of a predictor of `metrics_table`, None where it has none; and None without it."""
    rows = table[(table["predictor"] == predictor) & (table["kind"] == kind) & (table["metric"] == name)]
    if rows.empty:
        return None
    return {part: None if pd.isna(rows[part].iloc[0]) else float(rows[part].iloc[0]) for part in COLUMNS[3:]}
