"""The table of drivers: for every feature and target how strongly, in which direction and how steadily it is called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from consilience.consensus.lists import (
    ModelAttribution,
    consensus_of,
    descending_rank,
    ensemble,
    listed,
    voting,
)
from consilience.errors import ConsilienceError

COLUMNS = (
    "feature",
    "target",
    "rank",
    "direction",
    "average_attribution",
    "total_positive",
    "total_negative",
    "total_models",
    "stability_score",
    "directional_confidence",
    "confidence_score",
    "sign_probability",
    "linear_coefficient",
    "linear_rank",
    "in_overlap",
)


def member_lists(models: Sequence[ModelAttribution], top: int, direction: str) -> np.ndarray:
    """Give the share of members that list a feature, averaged over models with equal weight (targets, features)."""
    return np.mean([listed(model.average_attribution, top, direction).mean(axis=0) for model in models], axis=0)


def sign_probability(models: Sequence[ModelAttribution], sign: np.ndarray) -> np.ndarray:
    """Give the share of members whose direction has this sign (targets, features), models weighted equally.

    Zero where the consensus itself has no sign: there is nothing to agree with.
    """
    shares = np.mean([(np.sign(model.direction) == sign).mean(axis=0) for model in models], axis=0)
    return np.where(sign == 0, 0.0, shares)


def drivers(
    models: Sequence[ModelAttribution], coefficients: np.ndarray, top: int, minimum_models: int
) -> pd.DataFrame:
    """Score every feature for every target; `coefficients` are the linear model's (targets, features).

    A row a (target, feature), by target and then rank:

    - average_attribution: sign(mean over models of direction) x mean over models of magnitude, each model being the
      mean over its members. rank: by its absolute value from 1, ties in feature order. direction: its sign; `none`
      where it is zero (a feature the networks do not use), which no list holds.
    - total_positive, total_negative: in how many models' lists of `top` features of that sign the feature is;
      total_models: their sum (a model lists a feature on one side at most).
    - stability_score, 0..1: does retraining find it again? The share of a model's members whose own list of either
      sign holds the feature, averaged over models.
    - directional_confidence, 0..1: do those member lists agree on the side? |P - N| / (P + N), P and N the shares of
      members that list it as positive and as negative, averaged over models; 0 where no member lists it.
    - confidence_score: stability_score x directional_confidence = |P - N|.
    - sign_probability, 0..1: do all members agree on the sign, listed or not? The share of members whose direction
      has the consensus' sign, averaged over models; 0 for direction `none`.
    - linear_coefficient, linear_rank: the linear model's, by absolute value from 1, ties in feature order.
    - in_overlap: at least `minimum_models` models list it on a side on which it is among the linear model's `top`.

    Raises where `minimum_models` exceeds the models that vote: nothing could be called.
    """
    chosen = voting(models)
    targets, features = chosen[0].targets, chosen[0].features
    _check(coefficients, (len(targets), len(features)), minimum_models, len(chosen))
    average = consensus_of(chosen).average_attribution
    scores = {"average_attribution": average, "sign_probability": sign_probability(chosen, np.sign(average))}
    scores |= _list_scores(chosen, coefficients, top, minimum_models)
    scores |= {"linear_coefficient": coefficients, "linear_rank": descending_rank(np.abs(coefficients)) + 1}
    scores |= {"rank": descending_rank(np.abs(average)) + 1}
    scores |= {"direction": np.select([average > 0, average < 0], ["positive", "negative"], "none").astype(object)}
    scores["target"] = np.repeat(np.array(targets, object)[:, None], len(features), axis=1)
    scores["feature"] = np.repeat(np.array(features, object)[None], len(targets), axis=0)
    order = np.argsort(scores["rank"], axis=1, kind="stable")
    return pd.DataFrame({name: np.take_along_axis(scores[name], order, axis=1).ravel() for name in COLUMNS})


def _list_scores(
    chosen: Sequence[ModelAttribution], coefficients: np.ndarray, top: int, minimum_models: int
) -> dict[str, np.ndarray]:
    totals, shares, overlap = {}, {}, np.zeros(coefficients.shape, bool)
    for direction in ("positive", "negative"):
        lists = [listed(ensemble(model).average_attribution, top, direction) for model in chosen]
        totals[direction] = np.sum(lists, axis=0)
        shares[direction] = member_lists(chosen, top, direction)
        overlap |= (totals[direction] >= minimum_models) & listed(coefficients, top, direction)
    either = shares["positive"] + shares["negative"]
    net = np.abs(shares["positive"] - shares["negative"])
    return {
        "total_positive": totals["positive"],
        "total_negative": totals["negative"],
        "total_models": totals["positive"] + totals["negative"],
        "stability_score": either,
        "directional_confidence": np.divide(net, either, out=np.zeros_like(net), where=either > 0),
        "confidence_score": net,
        "in_overlap": overlap,
    }


def _check(coefficients: np.ndarray, shape: tuple[int, int], minimum_models: int, models: int) -> None:
    if coefficients.shape != shape:
        raise ConsilienceError(f"consensus: coefficients of shape {coefficients.shape}; expected {shape}")
    if not 1 <= minimum_models <= models:
        raise ConsilienceError(
            f"consensus.minimum_models: {minimum_models}; expected 1 to {models}, the number of models that vote"
        )


def top_drivers(table: pd.DataFrame, top: int, minimum_models: int) -> pd.DataFrame:
    """Choose the drivers to show: for every target the `top` positive, then the `top` negative ones, best first.

    A driver of a direction is a feature with that consensus direction which at least `minimum_models` models list on
    that side; `table` is `drivers`', whose columns are kept.
    """
    parts = []
    for _, rows in table.groupby("target", sort=False):
        for direction in ("positive", "negative"):
            called = (rows["direction"] == direction) & (rows[f"total_{direction}"] >= minimum_models)
            parts.append(rows[called].sort_values("rank", kind="stable").head(top))
    return pd.concat(parts, ignore_index=True)
