"""Fits the linear models of a study on its training role and evaluates them on its test role, once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from consilience.dataset import Dataset
from consilience.errors import ConsilienceError
from consilience.evaluation import evaluate_test_role
from consilience.linear import least_squares
from consilience.linear.features import Standardization, feature_table, standardize
from consilience.linear.folds import group_folds
from consilience.linear.gram import CenteredGram
from consilience.splits import sampled

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Training:
    """What a fit sees: standardized X (rows, features), target (rows,) or (rows, classes), weight and group (rows,)."""

    X: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    groups: np.ndarray
    settings: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class _Kind:
    """One linear model: coefficients (targets, features) on the standardized scale, test predictions, and facts."""

    coefficients: np.ndarray
    prediction: np.ndarray
    facts: dict[str, Any]


def fit_linear(
    dataset: Dataset, split: pd.DataFrame, settings: Mapping[str, Any], seed: int
) -> tuple[pd.DataFrame, dict[str, dict[str, Any]], pd.DataFrame]:
    """Fit minimum norm and ridge (regression), or logistic regression and ridge on the classes (classification, votes).

    `split` has `sample, group, role` in the order of the dataset. `settings`: `selection` (group_folds or
    leave_one_out), `folds`, `maximum_samples`. Features are standardized, and models fitted, on the training role, or
    on a seeded sample of `maximum_samples` of it; the penalty is chosen by errors on folds of groups inside it, or on
    single samples left out (logistic regression, which has no closed form for that: on folds of samples).
    Sample weights count in logistic regression; least squares counts each sample once. Ridge on classes predicts the
    share of each; a softmax of these scores, whose one factor has the least log loss on held-out training rows, stands
    for probabilities.

    Returns three parts. Coefficients: `feature, target, kind, coefficient`, in feature order within kind and target,
    per standard deviation of the feature, in the target's unit, as centered logits or the log-odds, or (ridge on
    classes) as centered shares or the share of the second of two classes. Metrics of
    each kind: metrics.json's content with `training`, how the fit came about. Predictions of the test role:
    `sample, role, kind, target, observed, predicted`, a row a sample in regression; with classes a row a sample and
    class, whose name is `target`, with the observed fraction (0 or 1 without votes) and the predicted probability.
    """
    _check(dataset, split)
    roles = split["role"].to_numpy()
    available, test = np.flatnonzero(roles == "train"), np.flatnonzero(roles == "test")
    train = sampled(available, int(settings["maximum_samples"]), seed)
    if len(train) < len(available):
        told = "linear model: a sample of %d of %d training rows (maximum_samples)"
        logger.info(told, len(train), len(available))
    groups = split["group"].to_numpy().astype(str)
    table = feature_table(dataset, train)
    own_units = [name for name, branch in dataset.branches.items() if branch.scaling == "column"]
    standardization = standardize(table, dataset.features["branch"].to_numpy(), own_units)
    X, X_test = standardization.apply(table), standardization.apply(feature_table(dataset, test))
    regression = dataset.task == "regression"
    target = dataset.target if regression else _fractions(dataset)
    training = _Training(X, target[train], dataset.weight[train], groups[train], settings, seed)
    kinds = _fit_regression(training, X_test) if regression else _fit_classes(training, X_test)
    counts = {"n": len(train), "available": len(available), "groups": len(np.unique(groups[train]))}
    metrics = {
        name: evaluate_test_role(dataset, split, name, kind.prediction, seed) | {"training": counts | kind.facts}
        for name, kind in kinds.items()
    }
    return _coefficients(dataset, kinds, standardization), metrics, _predictions(dataset, kinds, test)


def _check(dataset: Dataset, split: pd.DataFrame) -> None:
    ids = dataset.samples["id"].to_numpy().astype(str)
    if len(split) != len(ids) or (split["sample"].to_numpy().astype(str) != ids).any():
        raise ConsilienceError(
            f"{dataset.path}: the split has {len(split)} samples that are not the dataset's {len(ids)} in their order"
        )


def _fit_regression(training: _Training, X_test: np.ndarray) -> dict[str, _Kind]:
    X, y, settings = training.X, training.target, training.settings
    folds = None
    if settings["selection"] == "group_folds":
        folds = group_folds(training.groups, int(settings["folds"]), training.seed)
    gram = CenteredGram(X)
    intercept, coefficients = least_squares.minimum_norm(X, y, gram)
    ridge = least_squares.ridge_path(X, y, groups=folds, gram=gram)
    if ridge.at_edge:
        logger.warning("ridge: the best penalty, %.3g, lies at the edge of those tried", ridge.penalty)
    facts = {
        "selection": settings["selection"],
        "penalty": ridge.penalty,
        "relative_penalty": ridge.penalty / (gram.scale or 1.0),
        "at_edge": ridge.at_edge,
        "held_out_mean_squared_error": float(ridge.errors.min()),
    }
    return {
        "ridge": _Kind(ridge.coefficients[None], X_test @ ridge.coefficients + ridge.intercept, facts),
        "minimum_norm": _Kind(coefficients[None], X_test @ coefficients + intercept, {}),
    }


def _fit_classes(training: _Training, X_test: np.ndarray) -> dict[str, _Kind]:
    # Imported here: scikit-learn is more than a CPU-second, which a regression need not spend.
    from consilience.linear import logistic

    settings, groups = training.settings, training.groups
    if settings["selection"] == "leave_one_out":
        groups = np.arange(len(groups))
    fitted = logistic.fit(training.X, training.target, training.weight, groups, training.seed, int(settings["folds"]))
    if fitted.at_edge:
        logger.warning("logistic: the best C, %.3g, lies at the edge of those tried", fitted.C)
    facts = {
        "selection": settings["selection"],
        "C": fitted.C,
        "at_edge": fitted.at_edge,
        "held_out_log_loss": float(fitted.losses.min()),
    }
    kind = _Kind(fitted.coefficients, fitted.probabilities(X_test), facts)
    return {"logistic": kind, "ridge": _fit_shares(training, X_test)}


def _fit_shares(training: _Training, X_test: np.ndarray) -> _Kind:
    """Fit ridge regression to the share of each class, or to that of the second of two."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax, softmax

    X, settings, two = training.X, training.settings, training.target.shape[1] == 2
    folds = None
    if settings["selection"] == "group_folds":
        folds = group_folds(training.groups, int(settings["folds"]), training.seed)
    gram = CenteredGram(X)
    ridge = least_squares.ridge_path(X, training.target[:, 1:] if two else training.target, groups=folds, gram=gram)

    if ridge.at_edge.any():
        logger.warning("ridge: the best penalty of a class lies at the edge of those tried")

    def scores(shares: np.ndarray) -> np.ndarray:
        return np.column_stack([1 - shares, shares]) if two else shares

    # Not on what was fitted: with few rows that is nearly the classes themselves, whose best factor is endless.
    held_out = scores(ridge.held_out)
    factor = minimize_scalar(
        lambda log_factor: -np.mean((training.target * log_softmax(np.exp(log_factor) * held_out, axis=1)).sum(axis=1)),
        bounds=(-5, 10), method="bounded",
    )  # fmt: skip
    facts = {
        "selection": settings["selection"],
        "relative_penalties": (ridge.penalty / (gram.scale or 1.0)).tolist(),
        "at_edge": bool(ridge.at_edge.any()),
        "held_out_mean_squared_error": float(ridge.errors.min(axis=1).mean()),
        "softmax_factor": float(np.exp(factor.x)),
    }
    coefficients = ridge.coefficients if two else ridge.coefficients - ridge.coefficients.mean(axis=0)
    shares = X_test @ ridge.coefficients.T + ridge.intercept
    return _Kind(coefficients, softmax(facts["softmax_factor"] * scores(shares), axis=1), facts)


def _fractions(dataset: Dataset) -> np.ndarray:
    """Return the share of each class (samples, classes) in every sample."""
    return dataset.target if dataset.task == "votes" else np.eye(len(dataset.classes))[dataset.target]


def _coefficients(dataset: Dataset, kinds: dict[str, _Kind], standardization: Standardization) -> pd.DataFrame:
    features, per_deviation = dataset.features["name"].to_numpy(), standardization.deviation / standardization.scale
    return pd.concat(
        [
            pd.DataFrame({"feature": features, "target": target, "kind": name, "coefficient": row * per_deviation})
            for name, kind in kinds.items()
            for target, row in zip(dataset.targets, kind.coefficients, strict=True)
        ],
        ignore_index=True,
    )


def _predictions(dataset: Dataset, kinds: dict[str, _Kind], test: np.ndarray) -> pd.DataFrame:
    names = [dataset.target_name] if dataset.task == "regression" else dataset.classes
    observed = dataset.target[:, None] if dataset.task == "regression" else _fractions(dataset)
    samples = np.repeat(dataset.samples["id"].to_numpy()[test], len(names))
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "sample": samples,
                    "role": "test",
                    "kind": name,
                    "target": np.tile(names, len(test)),
                    "observed": observed[test].ravel(),
                    "predicted": kind.prediction.ravel(),
                }
            )
            for name, kind in kinds.items()
        ],
        ignore_index=True,
    )
