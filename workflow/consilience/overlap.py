"""How far the networks' lists, the linear model's and any further list share features, beside the chance level.

A small p says that lists share more than lists drawn at random would. It does not say that they are right: lists made
from the same rows follow the same noise, and share features under shuffled labels too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import hypergeom

from consilience.consensus.lists import DIRECTIONS
from consilience.errors import ConsilienceError, nearest

NETWORKS, LINEAR = "networks", "linear"
SEPARATOR = ";"


def chance_level(sizes: Sequence[int], universe: int) -> float:
    """Give the expected intersection of k sets drawn at random from `universe` features: Π sizes / universe^(k-1)."""
    return float(np.prod(np.asarray(sizes, np.float64) / universe) * universe)


def overlap_probability(intersection: int, sizes: Sequence[int], universe: int) -> float:
    """Give the exact chance that sets of these sizes, drawn at random, share at least `intersection` features.

    For two sets this is the hypergeometric upper tail. A further set of size s meets the j features the former ones
    share in Hypergeometric(universe, j, s) features, so the law is carried on set by set, without permutations:
    P(X >= x) = Σ_j P(J = j) P(Hypergeometric(universe, j, s) >= x).
    """
    first, *middle, last = (int(size) for size in sizes)
    law = np.zeros(first + 1)
    law[first] = 1.0
    shared = np.arange(first + 1)
    for size in middle:
        law = law @ hypergeom.pmf(shared[None], universe, shared[:, None], size)
    return float(min(1.0, law @ hypergeom.sf(intersection - 1, universe, shared, last)))


def named_sets(
    table: pd.DataFrame, top: int, minimum_models: int, extra: Mapping[str, pd.DataFrame] | None = None
) -> dict[tuple[str, str], dict[str, list[str]]]:
    """Collect the sets of every (target, direction), in the order networks, linear, then the `extra` ones as given.

    `table` is that of drivers. networks: the features that at least `minimum_models` models list in that direction;
    linear: the `top` features of that sign by the linear coefficient; an extra list is a frame of feature, target and
    direction. Features are ordered by the consensus rank. Refuses extra lists that name what the table does not hold.
    """
    extra = extra or {}
    for name, rows in extra.items():
        _check_list(name, rows, table)
    sets = {}
    for target, rows in table.groupby("target", sort=False):
        by_coefficient = rows.sort_values("linear_rank", kind="stable")
        for direction, sign in DIRECTIONS.items():
            linear = by_coefficient.loc[sign * by_coefficient["linear_coefficient"] > 0, "feature"].head(top)
            one = {
                NETWORKS: rows.loc[rows[f"total_{direction}"] >= minimum_models, "feature"],
                LINEAR: linear,
                **{
                    name: more.loc[(more["target"] == target) & (more["direction"] == direction), "feature"]
                    for name, more in extra.items()
                },
            }
            sets[target, direction] = {
                name: rows.loc[rows["feature"].isin(members), "feature"].tolist() for name, members in one.items()
            }
    return sets


def _check_list(name: str, rows: pd.DataFrame, table: pd.DataFrame) -> None:
    if name in (NETWORKS, LINEAR) or SEPARATOR in name:
        raise ConsilienceError(f"overlap: {name!r} cannot name a further list")
    for column, known in (
        ("feature", table["feature"].unique()),
        ("target", table["target"].unique()),
        ("direction", list(DIRECTIONS)),
    ):
        if column not in rows:
            raise ConsilienceError(f"overlap: list {name}: no column {column}; it has {', '.join(rows.columns)}")
        foreign = rows.loc[~rows[column].isin(known), column]
        if len(foreign):
            raise ConsilienceError(
                f"overlap: list {name}: {column} {foreign.iloc[0]!r} is not one of the {len(known)} of this study"
                f"{nearest(foreign.iloc[0], known)}"
            )


def overlaps(
    table: pd.DataFrame, top: int, minimum_models: int, extra: Mapping[str, pd.DataFrame] | None = None
) -> pd.DataFrame:
    """Compare the lists: a row for every target, direction, and pair or triple of `named_sets`.

    Columns: target, direction, sets (names joined by `;`), size_{name} of each set that takes part, universe (the
    features any list can draw on), intersection, expected (`chance_level`), p_value (`overlap_probability`), and
    features: the shared ones joined by `;`, best consensus rank first.
    """
    universe = int(table.groupby("target", sort=False).size().iloc[0])
    rows = [
        {"target": target, "direction": direction} | _overlap(sets, names, universe)
        for (target, direction), sets in named_sets(table, top, minimum_models, extra).items()
        for count in (2, 3)
        for names in combinations(sets, count)
    ]
    frame = pd.DataFrame(rows)
    sizes = [f"size_{name}" for name in (NETWORKS, LINEAR, *(extra or {}))]
    columns = ["target", "direction", "sets", *sizes, "universe", "intersection", "expected", "p_value", "features"]
    return frame[columns].astype(dict.fromkeys(sizes, "Int64"))


def _overlap(sets: Mapping[str, list[str]], names: Sequence[str], universe: int) -> dict[str, object]:
    others = [set(sets[name]) for name in names[1:]]
    shared = [feature for feature in sets[names[0]] if all(feature in other for other in others)]
    sizes = [len(sets[name]) for name in names]
    return {
        "sets": SEPARATOR.join(names),
        **{f"size_{name}": size for name, size in zip(names, sizes, strict=True)},
        "universe": universe,
        "intersection": len(shared),
        "expected": chance_level(sizes, universe),
        "p_value": overlap_probability(len(shared), sizes, universe),
        "features": SEPARATOR.join(shared),
    }
