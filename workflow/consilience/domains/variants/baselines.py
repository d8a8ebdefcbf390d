"""Predictors that know what calls were encoded from, without a dictionary: what networks of atoms are held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from consilience.dataset import Dataset
from consilience.domains.variants.performance import ATTRIBUTES, GAIN, LOGISTIC, RAW, TREES, baseline_name
from consilience.errors import ConsilienceError
from consilience.linear.features import feature_table, standardize
from consilience.metrics import LEAST_GROUPS, draws, evaluate, interval
from consilience.ranking import class_rankings
from consilience.splits import sampled

MOST_CALLS = 20_000  # of the training role; a seeded sample beyond
BLOCK = 4096  # test calls whose features are in memory at once
RESAMPLES = 1000
Predict = Callable[[np.ndarray], np.ndarray]  # features (calls, columns) to probabilities (calls, classes)


def baseline_predictions(raw: Dataset, split: pd.DataFrame, seed: int) -> dict[str, np.ndarray]:
    """Fit on the training role and return probabilities (test calls, classes) by the name of the predictor.

    Boosted trees are scikit-learn's histogram gradient boosting as it comes, all its 100 rounds, and know which
    features a call lacks. Logistic regression is the chain's own, its penalty chosen over folds of groups; what a call
    lacks is the training mean there. Each is fitted on all features, and on the branch `attributes` alone where there
    are others beside it. `raw` has a row a call, in the order of `split`.
    """
    roles, groups = split["role"].to_numpy(str), split["group"].to_numpy(str)
    train, test = sampled(np.flatnonzero(roles == "train"), MOST_CALLS, seed), np.flatnonzero(roles == "test")
    known, branches, labels = feature_table(raw, train), raw.features["branch"].to_numpy(str), raw.labels[train]
    found: dict[str, tuple[np.ndarray, Predict]] = {}
    for features, columns in _sets(branches).items():
        own = known[:, columns]
        found[baseline_name(TREES, features)] = columns, _trees(own, labels, seed)
        found[baseline_name(LOGISTIC, features)] = (
            columns,
            _logistic(own, branches[columns], labels, groups[train], seed),
        )
    predicted: dict[str, list[np.ndarray]] = {name: [] for name in found}
    for start in range(0, len(test), BLOCK):
        asked = feature_table(raw, test[start : start + BLOCK])
        for name, (columns, predict) in found.items():
            predicted[name].append(predict(asked[:, columns]))
    return {name: np.concatenate(parts) for name, parts in predicted.items()}


def _sets(branches: np.ndarray) -> dict[str, np.ndarray]:
    alone = branches == ATTRIBUTES
    everything = {RAW: np.ones(len(branches), bool)}
    return everything | {ATTRIBUTES: alone} if alone.any() and not alone.all() else everything


def _trees(known: np.ndarray, labels: np.ndarray, seed: int) -> Predict:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    # Binning needs a value: a feature that no training call has tells nothing.
    there = ~np.isnan(known).all(axis=0)
    # Three threads and more sum gradients in whatever order they come, so that bytes would differ from run to run.
    with threadpool_limits(1):
        fitted = HistGradientBoostingClassifier(early_stopping=False, random_state=seed).fit(known[:, there], labels)
    return lambda asked: fitted.predict_proba(asked[:, there])


def _logistic(known: np.ndarray, branches: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> Predict:
    from consilience.linear import logistic

    standardization = standardize(known, branches)
    fitted = logistic.fit(standardization.apply(known), labels, np.ones(len(labels)), groups, seed)
    return lambda asked: fitted.probabilities(standardization.apply(asked))


def baseline_metrics(
    dataset: Dataset, split: pd.DataFrame, predicted: Mapping[str, np.ndarray], network: np.ndarray, seed: int
) -> dict[str, dict[str, Any]]:
    """Return value, low and high of the metrics of every baseline on the test role, by its name.

    `predicted` are `baseline_predictions`, `network` the same of a network, whose `gain` over each is `GAIN`. Intervals
    resample the split's groups, as for networks.
    """
    test = np.flatnonzero((split["role"] == "test").to_numpy())
    target, weight, groups = dataset.target[test], dataset.weight[test], split["group"].to_numpy(str)[test]
    return {
        name: evaluate(dataset.task, target, values, weight, groups, dataset.classes, seed=seed)
        | {GAIN: gain(target, network, values, groups, seed)}
        for name, values in predicted.items()
    }


def gain(
    labels: np.ndarray, network: np.ndarray, other: np.ndarray, groups: np.ndarray, seed: int
) -> dict[str, float | None]:
    """Return by how much the area under the ROC curve of `network` is above that of `other`: value, low and high.

    Both (calls, 2) are probabilities of the same calls. The interval is of the difference: in each resample of whole
    groups both predict the same calls (the paired bootstrap; `metrics.evaluate` tells how percentiles are taken).
    """
    names, codes = np.unique(groups, return_inverse=True)

    def difference(counts: np.ndarray) -> np.ndarray:
        first, second = (class_rankings(labels, values, counts[codes])[0] for values in (network, other))
        return first - second

    resamples = draws(len(names), len(labels), RESAMPLES if len(names) >= LEAST_GROUPS else 0, seed)
    return interval(difference(np.ones((len(names), 1)))[0], [difference(counts) for counts in resamples], len(names))


def network_probabilities(path: str, table: pd.DataFrame, samples: np.ndarray, classes: int) -> np.ndarray:
    """Return a network's probabilities (test calls, classes) from its predictions.tsv, `table`, read from `path`.

    `samples` are the ids of the test calls; raises ConsilienceError for a table that is not of these.
    """
    if len(table) != classes * len(samples) or (table["sample"].to_numpy(str) != np.repeat(samples, classes)).any():
        raise ConsilienceError(
            f"{path}: {len(table)} rows that are not of the {len(samples)} calls of the test role in their order"
        )
    return table["predicted"].to_numpy(np.float64).reshape(-1, classes)
