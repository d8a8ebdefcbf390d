"""Predictors that use no feature: the mean or class prior, and one per `trivial_*` column of the samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from consilience.errors import ConsilienceError

PREFIX = "trivial_"


def trivial_predictions(
    task: str,
    samples: pd.DataFrame,
    target: np.ndarray,
    weight: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    classes: Sequence[str],
) -> dict[str, np.ndarray]:
    """Fit every trivial predictor on the rows `train`; return its predictions on the rows `test` by name.

    `mean` (regression; (test,)) or `class_prior` (classification, votes; (test, classes), the weighted share of each
    class), then one predictor per column `trivial_<name>` of `samples`, named `<name>`: least squares or multinomial
    logistic regression on that column alone, standardized on `train`. The logistic fit has scikit-learn's default
    penalty, half the squared coefficients beside the summed loss, so that a column which separates the classes has a
    finite fit. `target`, `weight` and `samples` have a row a sample; `weight` counts where classes do.
    Raises ConsilienceError for a column that is not finite numbers.
    """
    columns = {name.removeprefix(PREFIX): _numbers(samples, name) for name in samples if name.startswith(PREFIX)}
    if task == "regression":
        y = np.asarray(target, dtype=np.float64)[train]
        predictions = {"mean": np.full(len(test), y.mean())}
        return predictions | {name: _least_squares(x[train], y, x[test]) for name, x in columns.items()}
    fractions = np.asarray(target, dtype=np.float64) if task == "votes" else np.eye(len(classes))[np.asarray(target)]
    fractions = fractions[train] * np.asarray(weight, dtype=np.float64)[train, None]
    prior = fractions.sum(axis=0) / fractions.sum()
    predictions = {"class_prior": np.tile(prior, (len(test), 1))}
    return predictions | {name: _logistic(x[train], fractions, x[test]) for name, x in columns.items()}


def _numbers(samples: pd.DataFrame, name: str) -> np.ndarray:
    values = pd.to_numeric(samples[name], errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ConsilienceError(
            f"samples: column {name}, row {bad[0]}: {samples[name].iloc[bad[0]]!r}; expected a finite number"
        )
    return values


def _standardized(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardize by the training rows; a column that is constant there becomes zero, and predicts nothing."""
    center, scale = train.mean(), train.std() if np.ptp(train) > 0 else np.inf
    return (train - center) / scale, (test - center) / scale


def _least_squares(train: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    x, x_test = _standardized(train, test)
    return y.mean() + x_test * np.mean(x * (y - y.mean()))


def _logistic(train: np.ndarray, weighted: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Fit `weighted` (train, classes) weights of each class on one variable; probabilities (test, classes)."""
    # Imported here: half a CPU-second that only studies with classes and such a column need.
    from scipy.optimize import minimize

    x, x_test = _standardized(train, test)
    # Two classes have one logit, whose only coefficient is penalized; more have one each.
    free = slice(1, None) if weighted.shape[1] == 2 else slice(None)
    total, share = weighted.sum(), weighted.sum(axis=1)

    def logits(parameters: np.ndarray, values: np.ndarray) -> np.ndarray:
        out = np.zeros((len(values), weighted.shape[1]))
        intercepts, slopes = parameters.reshape(2, -1)
        out[:, free] = intercepts + np.outer(values, slopes)
        return out - out.max(axis=1, keepdims=True)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scores = logits(parameters, x)
        exponentials = np.exp(scores)
        normalizer = exponentials.sum(axis=1)
        slopes = parameters.reshape(2, -1)[1]
        value = (share * np.log(normalizer)).sum() - (weighted * scores).sum() + slopes @ slopes / 2
        residual = (share[:, None] * exponentials / normalizer[:, None] - weighted)[:, free]
        return value / total, np.concatenate([residual.sum(axis=0), x @ residual + slopes]) / total

    start = np.zeros(2 * len(range(weighted.shape[1])[free]))
    fitted = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-8})
    exponentials = np.exp(logits(fitted.x, x_test))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
