"""What stands beside the chain's drivers and metrics: who holds a k-mer, its mean attribution, every predictor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from consilience.attribution.store import MEAN, Attributions
from consilience.dataset import Dataset
from consilience.domains.mirna.prepare import BRANCHES

METRICS = ("matthews_corrcoef", "f1", "roc_auc", "average_precision", "accuracy", "specificity")
METRIC_COLUMNS = ("predictor", "kind", "metric", "value", "low", "high")
DRIVER_COLUMNS = (
    "feature", "branch", "direction", "average_attribution", "mean_attribution", "signs_agree", "holders", "samples",
    "mean_of_holders",
)  # fmt: skip
ROWS = 2048


def metric_rows(networks: Mapping[str, Any], linear: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row a predictor and metric of the test role, from the contents of metrics.json by model.

    Networks, linear models and predictors that use no feature stand beside each other; the last have no interval.
    """
    rows = []
    for kind, models in (("network", networks), ("linear", linear)):
        for model, content in models.items():
            rows += [{"predictor": model, "kind": kind, "metric": name, **content["test"][name]} for name in METRICS]
    for predictor, values in next(iter(networks.values()))["trivial"].items():
        rows += [
            {"predictor": predictor, "kind": "trivial", "metric": name, "value": values.get(name)} for name in METRICS
        ]
    return rows


def holders(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return how many of the samples at `rows` hold each k-mer, int64 (features,)."""
    counts = np.zeros(len(dataset.features), np.int64)
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        for branch in BRANCHES:
            held = (dataset.inputs(branch, part) > 0).sum(axis=0).ravel()
            np.add.at(counts, dataset.branches[branch].units.ravel(), held)
    return counts


def driver_rows(dataset: Dataset, drivers: pd.DataFrame, attributions: Sequence[Attributions]) -> list[dict[str, Any]]:
    """Return a row a driver of top_drivers.csv; `attributions` are the voters', by the primary method.

    `direction` is the side of the mean gradient, over pairs that hold the k-mer or not; `mean_attribution` the mean
    over the explained pairs, with its sign, and `mean_of_holders` over those of the `samples` that hold it, the
    `holders`. `signs_agree` says whether both have one sign: else what the k-mer says depends on what else is there.
    """
    counts = holders(dataset, dataset.rows_of(attributions[0].samples))
    mean = np.mean([one.all[MEAN][one.real, 0].mean(axis=0) for one in attributions], axis=0)
    features = dataset.features.set_index("name")
    column = {name: number for number, name in enumerate(dataset.features["name"])}
    rows = []
    for driver in drivers.itertuples():
        number = column[driver.feature]
        value, held, total = float(mean[number]), int(counts[number]), len(attributions[0].samples)
        rows.append(
            {
                "feature": driver.feature,
                "branch": features.loc[driver.feature, "branch"],
                "direction": driver.direction,
                "average_attribution": driver.average_attribution,
                "mean_attribution": value,
                "signs_agree": bool(value) and (value > 0) == (driver.direction == "positive"),
                "holders": held,
                "samples": total,
                "mean_of_holders": value * total / held if held else float("nan"),
            }
        )
    return rows
