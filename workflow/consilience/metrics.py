"""Metrics of predictions with intervals that resample whole groups, and the predictors that use no feature.

Names and point values are scikit-learn's (`spearman`, `pearson`: SciPy's). A metric is computed here as a function of
how often each group counts, for many resamples at once; the point value is the case in which every group counts once,
so that a value and its interval cannot come apart. A resample gives what scikit-learn gives on the resampled rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtrit

from consilience.calibration import confidence_gaps, expected_calibration_error, recentred
from consilience.errors import ConsilienceError
from consilience.ranking import class_rankings, spearman
from consilience.trivial import trivial_predictions
from consilience.votes import divergence

CALIBRATION = "expected_calibration_error"
METRICS = {
    "regression": ("r2", "pearson", "spearman", "mean_squared_error"),
    "classification": (
        "accuracy",
        "balanced_accuracy",
        "f1_macro",
        "roc_auc",
        "average_precision",
        "matthews_corrcoef",
        "log_loss",
    ),
    "votes": ("kl_divergence", "accuracy", "f1_macro", "roc_auc", CALIBRATION),
}
# What a classification of two classes has besides: scores of the second, and `specificity`, the recall of the first.
TWO_CLASSES = ("f1", "precision", "recall", "specificity")
LEAST_GROUPS = 3
LEVEL = 95.0
BLOCK_ELEMENTS = 2**21
# A variance below this share of the sum of squares is rounding: the values are constant.
CONSTANT = 1e-13

Values = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Resamples:
    """How often each group counts (groups, resamples), and each group's number of samples; samples lie by group."""

    counts: np.ndarray
    sizes: np.ndarray

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum values (samples, columns) over every resample; (columns, resamples)."""
        totals = np.add.reduceat(values, np.cumsum(self.sizes) - self.sizes, axis=0)
        return totals.T @ self.counts

    @property
    def weights(self) -> np.ndarray:
        """How often each sample counts (samples, resamples)."""
        return np.repeat(self.counts, self.sizes, axis=0)


def evaluate(
    task: str,
    target: np.ndarray,
    prediction: np.ndarray,
    weight: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    classes: Sequence[str],
    bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, float | None]]:
    """Return `value`, `low` and `high` of every metric of `METRICS[task]`.

    regression: target and prediction (samples,). classification: target (samples,) class indices, prediction
    (samples, classes) probabilities. votes: target and prediction (samples, classes) fractions; `accuracy`, `f1_macro`
    and `roc_auc` take the class with most votes as the target. `weight` (samples,) enters `kl_divergence` alone, the
    mean over samples of Σ t log(t/p); every other metric counts each sample once. With more than two classes,
    `roc_auc` is the macro mean of one against the rest, as is `average_precision`; with two, of the second class. A
    classification of two classes has those of `TWO_CLASSES` too. `expected_calibration_error` holds the highest
    probability, in ten bins, against the share of votes of its class: votes predicted exactly have none, however the
    raters disagree. Its resamples are moved (`recentred`).

    A metric that is not defined is None: a correlation of constants, `r2` of a constant target, a ranking without both
    classes, `matthews_corrcoef` without two classes on both sides, `precision` where none is called positive, `recall`
    where none is, `f1` where neither, `specificity` without negatives. low and high are the percentile bootstrap's
    95 % interval: `bootstrap` resamples of as many groups, whole, drawn with replacement (Davison & Hinkley 1997,
    section 3.8), over those resamples in which the metric is defined. The percentiles are widened for few groups
    (`percentiles`). They are None with fewer than three groups, where half of the resamples or more leave the metric
    undefined, and for `bootstrap=0`.
    """
    target, prediction = np.asarray(target), np.asarray(prediction, dtype=np.float64)
    _check(task, target, prediction, groups, len(classes))
    names, codes, sizes = np.unique(np.asarray(groups, dtype=str), return_inverse=True, return_counts=True)
    order = np.argsort(codes, kind="stable")
    target, prediction, weight = target[order], prediction[order], np.asarray(weight, dtype=np.float64)[order]
    if task == "regression":
        metrics = _regression(target.astype(np.float64), prediction)
    elif task == "classification":
        metrics = _classification(target, prediction)
    else:
        metrics = _votes(target, prediction, weight)
    point = metrics(_Resamples(np.ones((len(names), 1)), sizes))
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in point}
    if len(names) >= LEAST_GROUPS:
        for counts in draws(len(names), len(target), bootstrap, seed):
            for name, values in metrics(_Resamples(counts, sizes)).items():
                drawn[name].append(values)
    if drawn.get(CALIBRATION):
        drawn[CALIBRATION] = [recentred(point[CALIBRATION][0], drawn[CALIBRATION])]
    return {name: interval(values[0], drawn[name], len(names)) for name, values in point.items()}


def _check(task: str, target: np.ndarray, prediction: np.ndarray, groups: Sequence[str], classes: int) -> None:
    if len(groups) != len(target):
        raise ConsilienceError(f"metrics of a {task}: {len(groups)} groups for {len(target)} samples")
    shape = (len(target),) if task == "regression" else (len(target), classes)
    if not len(target) or prediction.shape != shape:
        raise ConsilienceError(f"predictions of a {task}: shape {prediction.shape}, expected {shape} and a sample")
    if not np.isfinite(prediction).all():
        row = int(np.flatnonzero(~np.isfinite(prediction.reshape(len(prediction), -1)).all(axis=1))[0])
        raise ConsilienceError(f"predictions of a {task}: row {row} is {prediction[row]}, expected finite numbers")


def draws(groups: int, samples: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each group counts, float64 (groups, block of resamples).

    Blocks bound the memory of (samples, block) arrays, and no more.
    """
    generator = np.random.default_rng(seed)
    size = max(1, BLOCK_ELEMENTS // samples)
    for start in range(0, resamples, size):
        block = min(size, resamples - start)
        drawn = generator.integers(groups, size=(block, groups)) + groups * np.arange(block)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=groups * block).reshape(block, groups)
        yield np.ascontiguousarray(counts.T, dtype=np.float64)


def percentiles(groups: int) -> tuple[float, float]:
    """Return the two percentiles of resamples that bound the 95 % interval with so many groups.

    Plain percentiles (2.5 and 97.5) are too narrow with few groups: a resample varies by sqrt((n - 1) / n) too little
    and by a normal's quantile where a t's is due. Both are put right by percentiles further out: Phi(-sqrt(n / (n - 1))
    t(0.975; n - 1)) (Hesterberg 2015, "What teachers should know about the bootstrap", section 3.6, expanded).
    """
    quantile = stdtrit(groups - 1, 0.5 + LEVEL / 200)
    low = 100 * ndtr(-np.sqrt(groups / (groups - 1)) * quantile)
    return float(low), float(100 - low)


def interval(point: float, blocks: Sequence[np.ndarray], groups: int) -> dict[str, float | None]:
    """Return `value`, and the `low` and `high` that `percentiles` takes from the values of resamples, in blocks.

    None is what is not finite; low and high also where half of the resamples or more are not, or there are none.
    """
    value = float(point) if np.isfinite(point) else None
    values = np.concatenate(blocks) if blocks else np.empty(0)
    defined = values[np.isfinite(values)]
    if value is None or 2 * len(defined) <= len(values):
        return {"value": value, "low": None, "high": None}
    low, high = np.percentile(defined, percentiles(groups))
    return {"value": value, "low": float(low), "high": float(high)}


def _regression(target: np.ndarray, prediction: np.ndarray) -> Callable[[_Resamples], Values]:
    y, p = _centered(target), _centered(prediction)
    error = (target - prediction) ** 2
    products = np.column_stack([np.ones_like(y), y, p, y * y, p * p, y * p, error])

    def metrics(resamples: _Resamples) -> Values:
        count, y_sum, p_sum, yy, pp, yp, squared = resamples.sums(products)
        y_variance = _variance(yy, y_sum**2 / count)
        p_variance = _variance(pp, p_sum**2 / count)
        return {
            "r2": 1 - squared / y_variance,
            "pearson": np.clip((yp - y_sum * p_sum / count) / np.sqrt(y_variance * p_variance), -1, 1),
            "spearman": spearman(target, prediction, resamples.weights),
            "mean_squared_error": squared / count,
        }

    return metrics


def _centered(values: np.ndarray) -> np.ndarray:
    """Center without leaving rounding behind where the values are constant."""
    shifted = values - values[0]
    return shifted - shifted.mean()


def _variance(squares: np.ndarray, share_of_mean: np.ndarray) -> np.ndarray:
    variance = squares - share_of_mean
    return np.where(variance > CONSTANT * squares, variance, np.nan)


def _classification(labels: np.ndarray, probabilities: np.ndarray) -> Callable[[_Resamples], Values]:
    tiny = np.finfo(np.float64).eps
    losses = -np.log(np.clip(probabilities, tiny, 1 - tiny)[np.arange(len(labels)), labels])
    columns = np.column_stack([losses, np.ones_like(losses)])

    def metrics(resamples: _Resamples) -> Values:
        loss, count = resamples.sums(columns)
        roc_auc, average_precision = class_rankings(labels, probabilities, resamples.weights)
        return {
            **_confusion(labels, probabilities, resamples),
            "roc_auc": roc_auc,
            "average_precision": average_precision,
            "log_loss": loss / count,
        }

    return metrics


def _votes(fractions: np.ndarray, probabilities: np.ndarray, weight: np.ndarray) -> Callable[[_Resamples], Values]:
    labels = fractions.argmax(axis=1)
    losses = divergence(fractions, probabilities)
    columns = [weight * losses, weight, np.ones_like(weight), confidence_gaps(fractions, probabilities)]

    def metrics(resamples: _Resamples) -> Values:
        weighted, total, count, *gaps = resamples.sums(np.column_stack(columns))
        confusion = _confusion(labels, probabilities, resamples)
        return {
            "kl_divergence": weighted / total,
            "accuracy": confusion["accuracy"],
            "f1_macro": confusion["f1_macro"],
            "roc_auc": class_rankings(labels, probabilities, resamples.weights)[0],
            CALIBRATION: expected_calibration_error(np.array(gaps), count),
        }

    return metrics


def _confusion(labels: np.ndarray, probabilities: np.ndarray, resamples: _Resamples) -> Values:
    """Metrics of the confusion matrix; Matthews correlation of several classes by Gorodkin (2004)."""
    classes = probabilities.shape[1]
    cells = labels * classes + probabilities.argmax(axis=1)
    matrix = resamples.sums(np.eye(classes**2)[cells]).reshape(classes, classes, -1)
    right, true, called = np.einsum("iij->ij", matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    total = true.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = (total**2 - (true**2).sum(axis=0)) * (total**2 - (called**2).sum(axis=0))
        correlation = (right.sum(axis=0) * total - (true * called).sum(axis=0)) / np.sqrt(spread)
        metrics = {
            "accuracy": right.sum(axis=0) / total,
            "balanced_accuracy": np.nanmean(right / true, axis=0),
            "f1_macro": np.nanmean(2 * right / (true + called), axis=0),
            "matthews_corrcoef": correlation,
        }
        if classes == 2:
            shares = (2 * right[1] / (true + called)[1], right[1] / called[1], right[1] / true[1], right[0] / true[0])
            metrics |= dict(zip(TWO_CLASSES, shares, strict=True))
        return metrics


def trivial_metrics(
    task: str,
    samples: pd.DataFrame,
    target: np.ndarray,
    weight: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    classes: Sequence[str],
) -> dict[str, dict[str, float | None]]:
    """Fit the trivial predictors on `train` and return their metrics on `test` (both row indices), without intervals.

    The arguments are those of `trivial_predictions`; `{name: {metric: value}}` is the `trivial` part of metrics.json.
    """
    predictions = trivial_predictions(task, samples, target, weight, train, test, classes)
    groups = np.zeros(len(test))
    return {
        name: {
            metric: entry["value"]
            for metric, entry in evaluate(task, target[test], prediction, weight[test], groups, classes, 0).items()
        }
        for name, prediction in predictions.items()
    }


def document(
    task: str,
    name: str,
    test: Mapping[str, Mapping[str, float | None]],
    trivial: Mapping[str, Mapping[str, float | None]],
    n: int,
    groups: int,
) -> dict[str, Any]:
    """Return the content of metrics.json for the model or linear kind `name`.

    `test` is what `evaluate` gives on `n` samples of `groups` groups, `trivial` what `trivial_metrics` gives.
    """
    return {
        "task": task,
        "model": name,
        "test": {"n": int(n), "groups": int(groups), **test},
        "trivial": dict(trivial),
    }
