"""The lists of each model: its top features of either sign, and the matrix of who lists what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from consilience.errors import ConsilienceError

if TYPE_CHECKING:
    from consilience.attribution.store import Attributions

DIRECTIONS = {"positive": 1, "negative": -1}


@dataclass(frozen=True)
class ModelAttribution:
    """What one model attributes to every feature, member by member.

    `magnitude` and `direction` are (members, targets, features); `consensus` says whether the model votes. Refuses
    arrays of other shapes and values that are not finite, naming model, target and feature.
    """

    model: str
    features: list[str]
    targets: list[str]
    magnitude: np.ndarray
    direction: np.ndarray
    consensus: bool = True

    def __post_init__(self) -> None:
        expected = (len(self.targets), len(self.features))
        for name in ("magnitude", "direction"):
            values = getattr(self, name)
            if values.ndim != 3 or values.shape[1:] != expected or not len(values):
                raise ConsilienceError(
                    f"model {self.model}: {name} has shape {values.shape}; expected (members, targets, features) = "
                    f"(at least 1, {expected[0]}, {expected[1]})"
                )
            bad = np.argwhere(~np.isfinite(values))
            if len(bad):
                member, target, feature = bad[0]
                raise ConsilienceError(
                    f"model {self.model}: the {name} of feature {self.features[feature]!r} for target "
                    f"{self.targets[target]!r} is {values[member, target, feature]} in member {member}; "
                    "expected a finite number"
                )

    @classmethod
    def of(cls, attributions: Attributions, consensus: bool = True) -> ModelAttribution:
        """Take the members that were trained on real labels, over the samples that speak for a target.

        Magnitudes are over the samples of the class itself where there are three classes or more, and over all
        explained samples for a regression and for two classes, whose one log-odds concerns both. Directions are over
        all of them always: at samples of its own class a network is often sure, where gradients vanish and turn.
        """
        own = attributions.own_class is not None and len(attributions.targets) >= 3
        magnitudes = attributions.own_class if own else attributions.all
        real = attributions.real
        if not real.any():
            raise ConsilienceError(f"model {attributions.model}: no member was trained on real labels")
        return cls(
            attributions.model,
            list(attributions.features["name"]),
            list(attributions.targets),
            np.asarray(magnitudes["magnitude"])[real],
            np.asarray(attributions.all["direction"])[real],
            consensus,
        )

    @property
    def average_attribution(self) -> np.ndarray:
        """Sign of the direction times the magnitude of every member, float64 (members, targets, features)."""
        return np.sign(self.direction) * np.asarray(self.magnitude, np.float64)


@dataclass(frozen=True)
class Summary:
    """Magnitude, direction and average attribution of an ensemble or a consensus, each (targets, features)."""

    magnitude: np.ndarray
    direction: np.ndarray

    @property
    def average_attribution(self) -> np.ndarray:
        """Sign of the direction times the magnitude."""
        return np.sign(self.direction) * self.magnitude


def ensemble(attribution: ModelAttribution) -> Summary:
    """Average magnitude and direction over the members of a model, in float64."""
    return Summary(
        attribution.magnitude.mean(axis=0, dtype=np.float64), attribution.direction.mean(axis=0, dtype=np.float64)
    )


def consensus_of(models: Sequence[ModelAttribution]) -> Summary:
    """Average the ensembles of the models that vote, each model with the same weight whatever its members."""
    ensembles = [ensemble(model) for model in voting(models)]
    return Summary(
        np.mean([one.magnitude for one in ensembles], axis=0), np.mean([one.direction for one in ensembles], axis=0)
    )


def voting(models: Sequence[ModelAttribution]) -> list[ModelAttribution]:
    """Return the models that take part in the consensus; refuses none, repeated names and differing features."""
    chosen = [model for model in models if model.consensus]
    if not chosen:
        raise ConsilienceError(f"consensus: none of the {len(models)} models takes part; expected at least one")
    names = [model.model for model in chosen]
    if len(set(names)) < len(names):
        raise ConsilienceError(f"consensus: model names repeat: {', '.join(names)}")
    for model in chosen[1:]:
        for name in ("targets", "features"):
            if getattr(model, name) != getattr(chosen[0], name):
                raise ConsilienceError(
                    f"consensus: models {chosen[0].model} and {model.model} do not see the same {name} in the same "
                    "order; a model that lacks some takes `consensus: false`"
                )
    return chosen


def descending_rank(values: np.ndarray) -> np.ndarray:
    """Rank (..., features) from 0 for the largest; equal values rank in feature order."""
    order = np.argsort(-np.asarray(values, np.float64), axis=-1, kind="stable")
    return np.argsort(order, axis=-1, kind="stable")


def listed(scores: np.ndarray, top: int, direction: str) -> np.ndarray:
    """Say which features (..., features) are among the `top` largest scores of one sign; zero has no sign."""
    signed = DIRECTIONS[direction] * np.asarray(scores, np.float64)
    return (descending_rank(signed) < top) & (signed > 0)


def top_cells(scores: np.ndarray, top: int, direction: str) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Find the top features of one sign in (targets, features): their (target, feature) indices and ranks from 1."""
    rank = descending_rank(DIRECTIONS[direction] * np.asarray(scores, np.float64))
    target, feature = np.nonzero(listed(scores, top, direction))
    order = np.lexsort((rank[target, feature], target))
    cells = target[order], feature[order]
    return cells, rank[cells] + 1


def top_list(attribution: ModelAttribution, top: int, direction: str) -> pd.DataFrame:
    """List the top features of one sign for every target, best first.

    Columns: target, rank (from 1), feature, average_attribution, direction and magnitude of the ensemble, and the
    standard deviation of average_attribution over members (empty for a single one). Fewer than `top` rows for a
    target mean that fewer features have that sign.
    """
    mean = ensemble(attribution)
    scores, members = mean.average_attribution, attribution.average_attribution
    spread = members.std(axis=0, ddof=1) if len(members) > 1 else np.full(scores.shape, np.nan)
    cells, rank = top_cells(scores, top, direction)
    return pd.DataFrame(
        {
            "target": np.array(attribution.targets, object)[cells[0]],
            "rank": rank,
            "feature": np.array(attribution.features, object)[cells[1]],
            "average_attribution": scores[cells],
            "direction": mean.direction[cells],
            "magnitude": mean.magnitude[cells],
            "average_attribution_sd": spread[cells],
        }
    )


def short_lists(lists: pd.DataFrame, targets: Sequence[str], top: int) -> dict[str, int]:
    """Count the rows of every target whose list is shorter than `top`, for logs and titles."""
    counts = lists["target"].value_counts()
    return {target: int(counts.get(target, 0)) for target in targets if counts.get(target, 0) < top}


def top_matrix(models: Sequence[ModelAttribution], top: int) -> pd.DataFrame:
    """Build the matrix of lists: a row for every target and feature that at least one voting model lists.

    Columns: target, feature, then for each model 0/1 `{model}_negative` and `{model}_positive`, total_negative,
    total_positive (their sums) and average_attribution, the consensus' as in the table of drivers. Rows by target,
    then by the size of that attribution, ties in feature order.
    """
    chosen = voting(models)
    average = consensus_of(chosen).average_attribution
    flags = {
        f"{model.model}_{direction}": listed(ensemble(model).average_attribution, top, direction)
        for model in chosen
        for direction in ("negative", "positive")
    }
    target, feature = np.nonzero(np.any(list(flags.values()), axis=0))
    order = np.lexsort((descending_rank(np.abs(average))[target, feature], target))
    cell = target[order], feature[order]
    matrix = pd.DataFrame(
        {
            "target": np.array(chosen[0].targets, object)[cell[0]],
            "feature": np.array(chosen[0].features, object)[cell[1]],
            **{name: flag[cell].astype(np.int64) for name, flag in flags.items()},
        }
    )
    for direction in ("negative", "positive"):
        matrix[f"total_{direction}"] = sum(matrix[f"{model.model}_{direction}"] for model in chosen)
    return matrix.assign(average_attribution=average[cell])
