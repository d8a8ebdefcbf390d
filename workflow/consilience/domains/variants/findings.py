"""What a study of structural variants found, in numbers: summary.json, from which its texts are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from consilience.domains.variants.dictionary_tables import DICTIONARY, QUALITY
from consilience.domains.variants.levels import FALSE_SHARE
from consilience.domains.variants.performance import GAIN, METRICS, SIZE, metric
from consilience.domains.variants.performance import QUALITY as QUAL
from consilience.domains.variants.raw_recovery import LINEAR, VOTERS, strongest
from consilience.domains.variants.specialization import LEAST_LIFT

SHOWN = 5
BIASED = ("feature", "odds", "odds_low", "odds_high", "support", "confirmed", "strata", "cmh_odds", "cmh_low",
          "cmh_high", "cmh_q", "reversed", "stability")  # fmt: skip


@dataclass(frozen=True)
class Results:
    """What the findings are of: the tables of the analysis by name, `bias` the first, and facts beside them.

    `encoded` is encoded.json, `pushed` the facts of raw attributions by model, `best` the network with the least
    validation loss, `calls` counts calls by role and class, `alive` atoms of the encoding.
    """

    tables: Mapping[str, pd.DataFrame]
    encoded: Mapping[str, Any]
    pushed: Mapping[str, Mapping[str, float]]
    best: str
    calls: Mapping[str, Mapping[str, int]]
    alive: int


def findings(results: Results) -> dict[str, Any]:
    """Return summary.json; what is not known, or not defined, is null."""
    tables = results.tables
    return {
        "calls": {role: dict(counts) for role, counts in results.calls.items()},
        "performance": _performance(tables["metrics"], results.best),
        "bias": _bias(tables["bias"], tables["atoms"], results.alive),
        "types": _types(tables["specialization"]),
        "together": _together(tables["coactivation"]),
        "dictionary": _dictionary(tables["dictionary"], results.encoded),
        "raw_attributions": _raw(tables["raw_attributions"], tables["raw_branches"], results.pushed),
        "recovery": _plain(tables["raw_recovery"]) if "raw_recovery" in tables else None,
    }


def _performance(table: pd.DataFrame, best: str) -> dict[str, Any]:
    def of(predictor: str, kind: str, names: Sequence[str] = METRICS) -> dict[str, Any] | None:
        found = {name: metric(table, predictor, kind, name) for name in names}
        return None if all(one is None for one in found.values()) else found

    def named(kind: str) -> list[str]:
        return list(table[table["kind"] == kind]["predictor"].unique())

    return {
        "best": best,
        "networks": {name: of(name, "network") for name in named("network")},
        "baselines": {name: of(name, "baseline", (*METRICS, GAIN)) for name in named("baseline")},
        LINEAR: of(LINEAR, "linear"),
        QUAL: of(QUAL, "trivial"),
        SIZE: of(SIZE, "trivial"),
    }


def _bias(table: pd.DataFrame, atoms: pd.DataFrame, alive: int) -> dict[str, Any]:
    significant = table[table["significant"].astype(bool)]
    within = significant[significant["cmh_q"] < FALSE_SHARE]
    confirmed = significant["confirmed"].astype(bool)
    again = within["confirmed_within"].astype(bool)
    joint = again & within["confirmed"].astype(bool) & ~within["reversed"].astype(bool)
    listed = significant.assign(stability=significant["atom"].map(atoms.set_index("atom")["stability"]))
    return {
        "alive": alive,
        "tested": len(table),
        "significant": len(significant),
        "positive": int((significant["odds"] > 1).sum()),
        "negative": int((significant["odds"] < 1).sum()),
        "confirmed": int(confirmed.sum()),
        "confirmed_positive": int((confirmed & (significant["odds"] > 1)).sum()),
        "confirmed_negative": int((confirmed & (significant["odds"] < 1)).sum()),
        "within_strata": len(within),
        "confirmed_within_strata": int(again.sum()),
        "confirmed_both": int(joint.sum()),
        "turned_within_strata": int(within["reversed"].astype(bool).sum()),
        "several_strata": int(within["homogeneity_p"].notna().sum()),
        "not_alike_in_strata": int((within["homogeneity_p"] < FALSE_SHARE).sum()),
        "strongest_positive": _plain(listed[listed["near_end"] > 0][list(BIASED)].head(SHOWN)),
        "strongest_negative": _plain(listed[listed["near_end"] < 0][list(BIASED)].head(SHOWN)),
    }


def _types(table: pd.DataFrame) -> dict[str, Any]:
    special = table[(table["q_value"] < FALSE_SHARE) & (table["lift"] >= LEAST_LIFT)]
    counts = special.groupby("type")["atom"].nunique()
    types = sorted(table["type"].unique())
    return {
        "atoms": int(table["atom"].nunique()),
        "specialized": int(special["atom"].nunique()),
        "by_type": {name: int(counts.get(name, 0)) for name in types},
        "strongest": _plain(special[["feature", "type", "share", "base_rate", "lift"]].head(SHOWN)),
    }


def _together(table: pd.DataFrame) -> dict[str, Any]:
    joint = table[table["q_value"] < FALSE_SHARE]
    columns = ["atom_a", "atom_b", "together", "expected", "lift"]
    return {"pairs": len(table), "significant": len(joint), "strongest": _plain(joint[columns].head(SHOWN))}


def _dictionary(table: pd.DataFrame, encoded: Mapping[str, Any]) -> dict[str, Any]:
    own = table[table["encoder"] == DICTIONARY].set_index("role")
    controls = table[table["encoder"] != DICTIONARY].set_index("encoder")
    return {
        "name": encoded["dictionary"],
        "imported": bool(encoded["imported"]),
        "atoms": int(encoded["atoms"]),
        "k": int(encoded["k"]),
        "inputs": int(encoded["inputs"]),
        "by_role": {role: _row(row, QUALITY) for role, row in own.iterrows()},
        "controls": {str(name): _row(row, QUALITY) for name, row in controls.iterrows()},
        "stability": encoded.get("stability"),
        "negative_share": encoded.get("negative_share"),
        "codes_by_batch_size": encoded["codes_by_batch_size"],
        "codes_by_sequence": encoded.get("codes_by_sequence"),
    }


def _raw(table: pd.DataFrame, branches: pd.DataFrame, pushed: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Tell of every model; branches stand in the order of their size in the mean of the networks."""
    order = list(
        branches[branches["model"] == VOTERS].sort_values("magnitude", ascending=False, kind="stable")["branch"]
    )
    ordered = branches.assign(place=branches["branch"].map(order.index)).sort_values("place").drop(columns="place")
    return {
        "models": {
            str(model): {
                **pushed[model],
                "strongest": list(strongest(table, model, SHOWN)),
                "branches": _plain(ordered[ordered["model"] == model].drop(columns="model")),
            }
            for model in table["model"].unique()
        }
    }


def _row(row: pd.Series, names: Sequence[str]) -> dict[str, float | None]:
    return {name: None if pd.isna(row[name]) else float(row[name]) for name in names}


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as JSON holds them: what is not finite is null."""
    return [
        {name: _json(value) for name, value in row.items()} for row in table.astype(object).to_dict(orient="records")
    ]


def _json(value: Any) -> Any:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value
