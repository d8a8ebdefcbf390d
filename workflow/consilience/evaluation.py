"""Test metrics of a model beside the trivial predictors, as metrics.json holds them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.dataset import Dataset
from consilience.files import read_table
from consilience.metrics import document, evaluate, trivial_metrics

HEADLINE = {"regression": "r2", "classification": "roc_auc", "votes": "kl_divergence"}
LESS_IS_BETTER = ("kl_divergence", "log_loss", "mean_squared_error", "expected_calibration_error")


def evaluate_test_role(
    dataset: Dataset, split: pd.DataFrame, name: str, predicted: np.ndarray, seed: int
) -> dict[str, Any]:
    """Return metrics.json's content for predictions (test samples,) or probabilities (test samples, classes).

    The intervals resample the split's groups; trivial predictors are fitted on the training role.
    """
    train, test = (np.flatnonzero((split["role"] == role).to_numpy()) for role in ("train", "test"))
    groups, weight, target = split["group"].to_numpy()[test], dataset.weight[test], dataset.target[test]
    metrics = evaluate(dataset.task, target, predicted, weight, groups, dataset.classes, seed=seed)
    trivial = trivial_metrics(
        dataset.task, dataset.samples, dataset.target, dataset.weight, train, test, dataset.classes
    )
    return document(dataset.task, name, metrics, trivial, len(test), len(set(groups)))


def describe(metrics: Mapping[str, Any]) -> str:
    """Say the headline metric with its interval, and the best trivial predictor, in one line."""
    headline = HEADLINE[metrics["task"]]
    test = metrics["test"][headline]
    name, value = best_trivial(metrics)
    return f"test {headline} {with_interval(test)} on {metrics['test']['n']} samples; {name} {number(value)}"


def best_trivial(metrics: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return the trivial predictor with the best headline metric, and its value."""
    headline = HEADLINE[metrics["task"]]
    sign = -1 if headline in LESS_IS_BETTER else 1
    values = {name: values.get(headline) for name, values in metrics["trivial"].items()}
    defined = {name: value for name, value in values.items() if value is not None}
    if not defined:
        return next(iter(values), "trivial"), None
    return max(defined.items(), key=lambda item: sign * item[1])


def best_loss(path: str | Path) -> float:
    """Return the mean of the members' validation losses at their best epochs; infinite where there are none.

    `path` is a model's history.tsv.
    """
    history = read_table(path, ("validation_loss", "best"))
    losses = history.loc[history["best"].astype(bool), "validation_loss"]
    return float(losses.mean()) if len(losses) else float("inf")


def with_interval(metric: Mapping[str, float | None]) -> str:
    """Write a value with its interval, such as 0.61 [0.52, 0.69]."""
    if metric["low"] is None:
        return number(metric["value"])
    return f"{number(metric['value'])} [{number(metric['low'])}, {number(metric['high'])}]"


def number(value: float | None) -> str:
    """Write a metric with three decimals, no zero below zero, or say that it is not defined."""
    return "undefined" if value is None else f"{value:z.3f}"
