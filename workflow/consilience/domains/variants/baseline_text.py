"""What is said of predictors without a dictionary: whether networks of atoms tell more than these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from consilience.domains.variants.performance import (
    ATTRIBUTES,
    GAIN,
    LOGISTIC,
    RAW,
    TREES,
    baseline_name,
)
from consilience.domains.variants.wording import interval_or_none
from consilience.evaluation import with_interval

MODELS = {TREES: "boosted trees", LOGISTIC: "logistic regression"}
FEATURES = {RAW: "the raw features", ATTRIBUTES: "the attributes alone"}
NAMES = {
    baseline_name(model, features): f"{words} on {known}"
    for model, words in MODELS.items()
    for features, known in FEATURES.items()
}


def baseline_line(performance: Mapping[str, Any]) -> Iterator[str]:
    """Tell the best predictor without a dictionary on either set of features, and what the network adds to the best."""
    chosen = list(_best_of_sets(performance["baselines"]))
    if not chosen:
        return
    told = ", ".join(f"{NAMES[name]} {interval_or_none(own['roc_auc'])}" for name, own in chosen)
    yield f"the best without a dictionary: {told}; {_verdict(performance['best'], chosen)}"


def _best_of_sets(baselines: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and metrics of the one of largest area on all raw features, then on the attributes alone."""
    for features in FEATURES:
        own = [name for name in (baseline_name(model, features) for model in MODELS) if name in baselines]
        if own:
            name = max(own, key=lambda name: _area(baselines[name]))
            yield name, baselines[name]


def _area(own: Mapping[str, Any]) -> float:
    value = own["roc_auc"]["value"]
    return -1 if value is None else value


def _verdict(network: str, chosen: list[tuple[str, Mapping[str, Any]]]) -> str:
    name, best = max(chosen, key=lambda one: _area(one[1]))
    gain, (last, alone) = best[GAIN], chosen[-1]
    if _above(gain):
        return f"{network} is better than {NAMES[name]}, by {with_interval(gain)}"
    also = "" if last == name or _above(alone[GAIN]) else f"; it {_against(last, alone[GAIN])}"
    if _above(_turned(gain)):
        return f"atoms lose some of what calls tell: {network} {_against(name, gain)}{also}"
    return f"nothing shows that atoms tell more: {network} {_against(name, gain)}{also}"


def _against(name: str, gain: Mapping[str, float | None]) -> str:
    if _above(_turned(gain)):
        return f"is worse than {NAMES[name]}, by {with_interval(_turned(gain))}"
    return f"is not clearly better than {NAMES[name]} (difference {with_interval(gain)})"


def _turned(gain: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the gain of the other over the network."""
    value, low, high = (gain[part] if gain[part] is None else -gain[part] for part in ("value", "high", "low"))
    return {"value": value, "low": low, "high": high}


def _above(gain: Mapping[str, float | None]) -> bool:
    return gain["low"] is not None and gain["low"] > 0
