"""What a card tells of a driver: its rank in every model and method, and all that lists it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.attribution.store import read
from consilience.consensus.lists import DIRECTIONS, ModelAttribution, descending_rank, ensemble
from consilience.overlap import named_sets

# So many cards stand open on the page, over all targets and at least one of each; the table opens the others.
OPEN = 12


@dataclass(frozen=True)
class Ranks:
    """Signed ranks of one model by one method, int (targets, features): 1 is the strongest, the sign its direction.

    Zero where the feature has no direction.
    """

    model: str
    method: str
    targets: list[str]
    features: list[str]
    signed: np.ndarray


def signed_ranks(path: str | Path) -> Ranks:
    """Rank the features of an attribution file by the size of the ensemble's average attribution, ties in order."""
    attributions = read(path)
    average = ensemble(ModelAttribution.of(attributions)).average_attribution
    signed = np.sign(average).astype(np.int64) * (descending_rank(np.abs(average)) + 1)
    features = attributions.features["name"].tolist()
    return Ranks(attributions.model, attributions.method, attributions.targets, features, signed)


# What a card takes from its row of drivers.csv.
ROW = (
    "feature", "target", "rank", "direction", "average_attribution", "total_positive", "total_negative",
    "stability_score", "sign_probability", "linear_coefficient", "linear_rank", "in_overlap",
)  # fmt: skip


def cards(
    drivers: pd.DataFrame,
    top: pd.DataFrame,
    matrix: pd.DataFrame,
    ranks: Sequence[Ranks],
    consensus: Mapping[str, int],
    extra: Mapping[str, pd.DataFrame],
    truth: pd.DataFrame | None,
) -> list[dict[str, Any]]:
    """Return a card for every row of the table of top drivers, in its order.

    `drivers`, `top` and `matrix` are the tables of the consensus, `ranks` those of every model and method, `consensus`
    the study's settings (top, minimum_models), `extra` the further lists of the overlap by name, `truth` the table of
    planted features. A card holds `ROW`; `models`, for each its signed ranks in the order of its methods; `lists`, 1 or
    -1 for each voting model that lists it on that side; `sets`, whether each set of the Venn diagram holds it;
    `targets`, its signed ranks in the consensus for all targets in order, where there are several; `planted`, sign and
    effect, where the truth names it.
    """
    sets = named_sets(drivers, consensus["top"], consensus["minimum_models"], extra)
    members = {key: {name: set(features) for name, features in one.items()} for key, one in sets.items()}
    lists, known, targets = _lists(matrix), _truth(truth), _targets(drivers)
    places = [(one, _index(one.targets), _index(one.features)) for one in ranks]
    found = []
    for row in top.to_dict("records"):
        feature, target = row["feature"], row["target"]
        held = members[target, row["direction"]]
        found.append(
            {key: _plain(row[key]) for key in ROW}
            | {
                "models": _models(places, feature, target),
                "lists": lists.get((target, feature), {}),
                "sets": {name: feature in features for name, features in held.items()},
                "targets": targets[feature] if len(targets[feature]) > 1 else [],
                "planted": known.get((target, feature)),
            }
        )
    return found


def first_cards(found: Sequence[Mapping[str, Any]], targets: Sequence[str]) -> list[int]:
    """Return the places of the cards that stand open: the strongest of every target, in the order of targets."""
    each = max(1, OPEN // len(targets))
    own = {target: [place for place, card in enumerate(found) if card["target"] == target] for target in targets}
    return [place for places in own.values() for place in sorted(places, key=lambda one: found[one]["rank"])[:each]]


def _index(names: Sequence[str]) -> dict[str, int]:
    return {name: position for position, name in enumerate(names)}


def _models(
    places: Sequence[tuple[Ranks, Mapping[str, int], Mapping[str, int]]], feature: str, target: str
) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one, targets, features in places:
        found.setdefault(one.model, []).append(int(one.signed[targets[target], features[feature]]))
    return found


def _lists(matrix: pd.DataFrame) -> dict[tuple[str, str], dict[str, int]]:
    """Say on which side each model lists a (target, feature), from the matrix of lists."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for direction, sign in DIRECTIONS.items():
        ending = f"_{direction}"
        for column in (name for name in matrix if name.endswith(ending) and name != f"total{ending}"):
            rows = matrix.loc[matrix[column] == 1, ["target", "feature"]]
            for target, feature in rows.itertuples(index=False):
                found.setdefault((target, feature), {})[column.removesuffix(ending)] = sign
    return found


def _targets(drivers: pd.DataFrame) -> dict[str, list[int]]:
    """Give every feature's signed ranks in the order of targets; 0 where the consensus gives it no direction."""
    signed = drivers["direction"].map(DIRECTIONS).fillna(0).astype(int) * drivers["rank"]
    return {feature: ranks.tolist() for feature, ranks in signed.groupby(drivers["feature"], sort=False)}


def _truth(truth: pd.DataFrame | None) -> dict[tuple[str, str], dict[str, Any]]:
    if truth is None:
        return {}
    return {
        (str(row["target"]), str(row["feature"])): {"sign": int(row["sign"]), "effect": str(row["effect"])}
        for row in truth.to_dict("records")
    }


def _plain(value: Any) -> Any:
    """Return what JSON can hold: numbers rounded to four significant digits, None for what is missing."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.4g}") if np.isfinite(value) else None
    return str(value)
