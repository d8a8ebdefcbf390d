"""What a card tells of a driver: its rank in every model and method, and all that lists it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.attribution.store import read
from consilience.consensus.lists import DIRECTIONS, ModelAttribution, descending_rank, ensemble
from consilience.overlap import named_sets

# So many cards stand open on the page, over all targets and one of each while they last; the table opens the others.
OPEN = 12
# Rows of the page's table of drivers, each with a card: some hundred bytes a row and model, and what a browser sorts at
# once. The table's copy has all.
ROWS = 1000
# So many targets' ranks stand on a card, the strongest.
TARGETS = 12


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


def signed_ranks(path: str | Path, kept: Collection[str]) -> Ranks:
    """Rank the features of an attribution file by the size of the ensemble's average attribution, ties in order.

    Those of the features in `kept` are returned.
    """
    attributions = read(path)
    average = ensemble(ModelAttribution.of(attributions)).average_attribution
    signed = np.sign(average).astype(np.int64) * (descending_rank(np.abs(average)) + 1)
    names = attributions.features["name"]
    chosen = names.isin(kept).to_numpy()
    features = names[chosen].tolist()
    return Ranks(attributions.model, attributions.method, attributions.targets, features, signed[:, chosen])


def strongest(top: pd.DataFrame, targets: Sequence[str]) -> pd.DataFrame:
    """Return the top drivers by target and rank: at most `ROWS`, then the strongest of every target."""
    place = top["target"].map(_index(targets)).astype(int)
    ordered = top.assign(place=place).sort_values(["place", "rank"], kind="stable")
    ordered["turn"] = ordered.groupby("place").cumcount()
    kept = ordered.sort_values(["turn", "place"], kind="stable").head(ROWS)
    return kept.sort_values(["place", "turn"], kind="stable").drop(columns=["place", "turn"]).reset_index(drop=True)


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
    """Return a card for every row of `top`, in its order.

    `drivers` and `matrix` are tables of the consensus, `ranks` those of every model and method, `consensus` the study's
    settings (top, minimum_models), `extra` the further lists of the overlap by name, `truth` the table of planted
    features. A card holds `ROW`; `models`, for each its signed ranks in the order of its methods; `lists`, 1 or -1 for
    each voting model that lists it on that side; `sets`, whether each set of the Venn diagram holds it; `targets`, the
    place of each target and its signed rank there in the consensus, the `TARGETS` strongest, where there are several;
    `planted`, sign and effect, where the truth names it.
    """
    sets = named_sets(drivers, consensus["top"], consensus["minimum_models"], extra)
    members = {key: {name: set(features) for name, features in one.items()} for key, one in sets.items()}
    lists, known, targets = _lists(matrix), _truth(truth), _targets(drivers, set(top["feature"]))
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
                "targets": _strongest_targets(targets[feature]),
                "planted": known.get((target, feature)),
            }
        )
    return found


def first_cards(found: Sequence[Mapping[str, Any]], targets: Sequence[str]) -> list[int]:
    """Return the places of the cards that stand open: the strongest of every target, in the order of targets.

    `OPEN` at most, so that of more targets the first have one.
    """
    each = max(1, OPEN // len(targets))
    own = {target: [place for place, card in enumerate(found) if card["target"] == target] for target in targets}
    first = [place for places in own.values() for place in sorted(places, key=lambda one: found[one]["rank"])[:each]]
    return first[:OPEN]


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


def _targets(drivers: pd.DataFrame, kept: Collection[str]) -> dict[str, list[int]]:
    """Give the kept features' signed ranks in the order of targets; 0 where the consensus gives one no direction."""
    drivers = drivers[drivers["feature"].isin(kept)]
    signed = drivers["direction"].map(DIRECTIONS).fillna(0).astype(int) * drivers["rank"]
    return {feature: ranks.tolist() for feature, ranks in signed.groupby(drivers["feature"], sort=False)}


def _strongest_targets(ranks: Sequence[int]) -> list[list[int]]:
    """Return place and signed rank of the strongest targets in order, those without a direction last to be chosen."""
    if len(ranks) == 1:
        return []
    strength = sorted(range(len(ranks)), key=lambda place: (ranks[place] == 0, abs(ranks[place])))
    return [[place, ranks[place]] for place in sorted(strength[:TARGETS])]


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
