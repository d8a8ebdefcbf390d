"""The predictors of a study side by side on the test role: networks of atoms, and those that know no dictionary."""

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
TREES, LOGISTIC = "trees", "logistic"  # predictors without a dictionary, each on either set of features
RAW, ATTRIBUTES = "raw features", "attributes"
GAIN = "network_roc_auc_gain"  # of the network chosen on validation over a baseline


def baseline_name(model: str, features: str) -> str:
    """Name a predictor without a dictionary, such as trees (raw features)."""
    return f"{model} ({features})"


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
    baselines: Mapping[str, Mapping[str, Any]],
    trivial: Mapping[str, Mapping[str, Any]],
) -> pd.DataFrame:
    """Return metrics.tsv, a row a predictor and metric, what is not defined being empty.

    `networks` and `linear` are contents of metrics.json by name, `baselines` what `baseline_metrics` returns, which
    alone have the metric `GAIN`, and `trivial` what `trivial_intervals` does.
    """
    found = {
        "network": {name: one["test"] for name, one in networks.items()},
        "linear": {name: one["test"] for name, one in linear.items()},
        "baseline": baselines,
        "trivial": trivial,
    }
    rows = [
        (name, kind, metric, *(one[metric][part] for part in ("value", "low", "high")))
        for kind, predictors in found.items()
        for name, one in predictors.items()
        for metric in (*METRICS, *[GAIN] * (kind == "baseline"))
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"value": float, "low": float, "high": float})


def metric(table: pd.DataFrame, predictor: str, kind: str, name: str = "roc_auc") -> dict[str, float | None] | None:
    """Return value, low and high of a predictor of `metrics_table`, None where it has none; and None without it."""
    rows = table[(table["predictor"] == predictor) & (table["kind"] == kind) & (table["metric"] == name)]
    if rows.empty:
        return None
    return {part: None if pd.isna(rows[part].iloc[0]) else float(rows[part].iloc[0]) for part in COLUMNS[3:]}
