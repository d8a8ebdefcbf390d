"""What the report says of a study at a glance: its samples, its metrics beside the baselines, its weak points."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from consilience.attribution.names import TOLERANCE
from consilience.evaluation import LESS_IS_BETTER, number, with_interval
from consilience.overlap import NETWORKS
from consilience.study_results import StudyResults
from consilience.summary import SHOWN, recovered, warnings_of

# Drawn ranges are a little wider than the values, so that no point lies on an edge.
MARGIN = 0.06


@dataclass(frozen=True)
class Bar:
    """A line of the chart of metrics; positions in percent of its width, None where the metric is not defined."""

    name: str
    role: str
    text: str
    value: float | None
    low: float | None
    high: float | None


def metric_bars(study: StudyResults) -> list[Bar]:
    """Return the headline metric of every network, linear model and the best trivial predictor, on one scale.

    `role` is chosen (by validation), network, linear or trivial.
    """
    found = []
    for role, models in (("network", study.networks), ("linear", study.linear)):
        for model, metrics in models.items():
            chosen = role == "network" and model == study.network
            found.append((model, "chosen" if chosen else role, metrics["test"][study.headline]))
    name, value = study.trivial
    found.append((name, "trivial", {"value": value, "low": None, "high": None}))
    scale = _scale(part for _, _, metric in found for part in metric.values())
    return [
        Bar(name, role, with_interval(metric), *(scale(metric[part]) for part in ("value", "low", "high")))
        for name, role, metric in found
    ]


def _scale(values: Iterable[float | None]) -> Callable[[float | None], float | None]:
    """Return a function from a value to percent of the width between the least and the largest."""
    defined = [value for value in values if value is not None]
    low, high = (min(defined), max(defined)) if defined else (0.0, 1.0)
    reach = (high - low) or 1.0
    start, width = low - MARGIN * reach, (1 + 2 * MARGIN) * reach
    return lambda value: None if value is None else round(100 * (value - start) / width, 2)


# What a verdict on the network says, by what `StudyResults.against` found.
VERDICTS = {
    "better": "Better than {}",
    "open": "Not clearly better than {}",
    "worse": "Worse than {}",
    "untold": "Cannot be told from {}",
}


def verdicts(study: StudyResults) -> list[dict[str, str]]:
    """Return how the chosen network compares with the linear models and the best trivial predictor: state and text."""
    linear = study.against_linear
    found = [(state, " and ".join(linear[state])) for state in VERDICTS if state in linear]
    name, value = study.trivial
    found.append((study.against(value), name))
    return [{"state": state, "text": VERDICTS[state].format(name.replace("_", " "))} for state, name in found]


def funnel(audit: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the steps of the audit that changed a count, the first always: samples and features after each.

    `share` is that of the samples read, in percent.
    """
    read = max(1, int(audit["samples_before"].iloc[0]))
    rows = [row for index, row in enumerate(audit.to_dict("records")) if index == 0 or _changes(audit, index)]
    return [
        {
            "step": str(row["step"]),
            "rule": "" if pd.isna(row["rule"]) else str(row["rule"]),
            "samples": int(row["samples_after"]),
            "features": int(row["features_after"]),
            "share": round(100 * row["samples_after"] / read, 1),
        }
        for row in rows
    ]


def _changes(audit: pd.DataFrame, index: int) -> bool:
    """Say whether a row changes a count for good: one that explains a step (a keyword's share, say) does not."""
    row, kinds = audit.iloc[index], ("samples", "features")
    after = audit.iloc[index + 1] if index + 1 < len(audit) else None
    lasting = after is None or all(row[f"{kind}_after"] == after[f"{kind}_before"] for kind in kinds)
    return lasting and any(row[f"{kind}_after"] != row[f"{kind}_before"] for kind in kinds)


def shared(study: StudyResults) -> dict[str, Any]:
    """Return how many of the networks' drivers the linear model lists too, and how many chance gives."""
    pairs = study.shared_with_linear
    return {
        "shared": int(pairs["intersection"].sum()),
        "size": int(pairs[f"size_{NETWORKS}"].sum()),
        "expected": float(pairs["expected"].sum()),
    }


def metric_table(study: StudyResults) -> dict[str, Any]:
    """Return every test metric of every model and trivial predictor, as text: `names` of the metrics, and `rows`."""
    models = study.networks | study.linear
    names = [name for name, value in next(iter(models.values()))["test"].items() if isinstance(value, Mapping)]
    rows = [(model, [with_interval(metrics["test"][name]) for name in names]) for model, metrics in models.items()]
    trivial = next(iter(study.networks.values()))["trivial"]
    rows += [(name, [number(values.get(metric)) for metric in names]) for name, values in trivial.items()]
    return {"names": names, "rows": rows}


def chances(study: StudyResults) -> dict[str, float]:
    """Return the average precision of chance by method, averaged as `recovered` is; empty without a truth."""
    if study.recovery is None:
        return {}
    chosen = study.recovery[(study.recovery["effect"] == "all") & (study.recovery["scope"] == "consensus")]
    return chosen["chance"].groupby(chosen["method"], sort=False).mean().to_dict()


def overview(study: StudyResults, domain: str) -> dict[str, Any]:
    """Return what both the first page and the study's own tell of it."""
    return {
        "name": study.base.name,
        "domain": domain,
        "targets": study.targets,
        "samples": study.samples,
        "total": sum(study.samples.values()),
        "features": int(study.drivers["feature"].nunique()),
        "models": len(study.networks),
        "voters": len(study.voters),
        "method": study.method,
        "listed": len(study.top),
        "overlap": shared(study),
        "drivers": {target: study.strongest(target, SHOWN) for target in study.targets},
        "funnel": funnel(study.audit),
        **_performance(study),
        **_trust(study),
    }


def _performance(study: StudyResults) -> dict[str, Any]:
    """Return how well the models predict."""
    return {
        "metric": study.headline,
        "less_is_better": study.headline in LESS_IS_BETTER,
        "bars": metric_bars(study),
        "verdicts": verdicts(study),
        "headline": {
            "network": study.networks[study.network]["test"][study.headline]["value"],
            "linear": study.linear[study.linear_kind]["test"][study.headline]["value"],
            "trivial": study.trivial[1],
        },
    }


def _trust(study: StudyResults) -> dict[str, Any]:
    """Return how far the drivers can be trusted; `findings` are what the domain's analysis says."""
    gaps = [gap for gap in study.gaps.values() if not math.isnan(gap)]
    found = recovered(study)
    return {
        "gap": max(gaps, default=None),
        "tolerance": TOLERANCE,
        "simulated": study.recovery is not None,
        "recovered": found,
        "recovery": found.get(study.method),
        "chance": chances(study).get(study.method),
        "notes": warnings_of(study),
        "findings": list(study.own_notes),
    }
