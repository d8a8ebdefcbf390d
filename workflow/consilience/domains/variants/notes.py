"""What a user must know of a study of structural variants, a line each, from what `findings` tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from consilience.domains.variants.dictionary_tables import COMPONENTS
from consilience.domains.variants.performance import QUALITY, SIZE
from consilience.domains.variants.raw_recovery import ALL, LINEAR, MARGINAL, VOTERS
from consilience.domains.variants.wording import counted, interval_or_none, of_all, percent
from consilience.evaluation import number

DEAD = 0.05
FAR_FROM_K = 0.10
AGAIN = 0.5  # fewer atoms that come again from another random start are told as a weakness
CERTAIN = 0.05
NAMES = {QUALITY: "QUAL alone", SIZE: "size alone"}


def note_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the notes of a study; `found` is summary.json."""
    lines = [headline(found["performance"]), *bias_lines(found["bias"]), dictionary_line(found["dictionary"])]
    weak = list(weaknesses(found["dictionary"]))
    lines += [f"the dictionary is weak: {'; '.join(weak)}"] if weak else []
    strongest = found["raw_attributions"]["models"][VOTERS]["strongest"]
    lines.append(f"strongest raw features (mean of the networks): {', '.join(strongest) or 'none'}")
    return [*lines, *recovery_lines(found["recovery"] or [])]


def headline(performance: Mapping[str, Any]) -> str:
    """Tell the best network's area under the ROC curve beside those that know QUAL, or size, alone."""
    best = performance["networks"][performance["best"]]["roc_auc"]
    told = [f"{performance['best']}: test AUROC {interval_or_none(best)}"]
    close = []
    for name, words in NAMES.items():
        own = performance[name] and performance[name]["roc_auc"]
        told.append(f"{words} {interval_or_none(own)}")
        if own and not _clearly_above(best, own["value"]):
            close.append(words)
    end = f": the network is not clearly better than {' and '.join(close)}" if close else ""
    return f"{', '.join(told)}{end}"


def _clearly_above(metric: Mapping[str, float | None], value: float | None) -> bool:
    low = metric["value"] if metric["low"] is None else metric["low"]
    return low is not None and (value is None or low > value)


def bias_lines(bias: Mapping[str, Any]) -> Iterator[str]:
    """Tell how many atoms true and false calls differ in, how many held-out calls confirm, and what strata leave."""
    untested = bias["alive"] - bias["tested"]
    few = f" ({untested} more are active in too few training calls)" if untested else ""
    if not bias["significant"]:
        yield f"no atom is biased toward true or false calls (q < 0.05) among {bias['tested']} tested{few}"
        return
    yield (
        f"{of_all(bias['significant'], bias['tested'])} tested atoms are biased (q < 0.05){few}: {bias['positive']} "
        f"toward true and {bias['negative']} toward false calls; {of_all(bias['confirmed'], bias['significant'])} are "
        "confirmed on calls of the test role"
    )
    left = f"{of_all(bias['within_strata'], bias['significant'])} biased atoms stay so"
    turned = bias["turned_within_strata"]
    more = f", {counted(turned, 'of them turns round', 'of them turn round')}" if turned else ""
    yield f"within strata of type, size and dataset (Cochran-Mantel-Haenszel, q < 0.05) {left}{more}"


def dictionary_line(own: Mapping[str, Any]) -> str:
    """Tell how good the dictionary is, beside principal components."""
    test = own["by_role"]["test"]
    again = own["stability"]
    more = f", {percent(again['matched_share'])} of its atoms come again from another random start" if again else ""
    return (
        f"dictionary {own['name']}{' (imported)' if own['imported'] else ''}: it explains "
        f"{percent(test['explained_variance'])} of the variance of test calls ({own['k']} principal components "
        f"{percent(own['controls'][COMPONENTS]['explained_variance'])}) with {test['l0']:.1f} atoms a call (k = "
        f"{own['k']}){more}"
    )


def weaknesses(own: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is weak about a dictionary."""
    train, test = own["by_role"]["train"], own["by_role"]["test"]
    if train["dead_share"] > DEAD:
        yield f"no training call excites {percent(train['dead_share'])} of its atoms"
    if abs(test["l0"] - own["k"]) > FAR_FROM_K * own["k"]:
        yield f"test calls excite {test['l0']:.1f} atoms rather than {own['k']}"
    explained, components = test["explained_variance"], own["controls"][COMPONENTS]["explained_variance"]
    if explained is not None and components is not None and explained < components:
        yield f"it explains less than {own['k']} principal components do"
    again = own["stability"]
    if again and again["matched_share"] < AGAIN:
        yield (
            f"{percent(1 - again['matched_share'])} of its atoms do not come again from another random start (cosine "
            f"below {again['cosine_of_one_atom']:g}): what single atoms say is of this start"
        )


def recovery_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Tell how well planted raw features are found, and how well single features tell them without any network."""
    chosen = {row["model"]: row for row in rows if row["signal"] == ALL}
    if not chosen:
        return
    told = [
        f"{name} {number(chosen[name]['average_precision'])}, by slope {number(chosen[name]['slope_precision'])} "
        f"({signs(chosen[name])})"
        for name in (VOTERS, LINEAR)
    ]
    told.append(f"difference of class means, without atoms {number(chosen[MARGINAL]['average_precision'])}")
    chance = number(chosen[VOTERS]["chance"])
    yield f"planted raw features, average precision (chance {chance}): {'; '.join(told)}"
    own = [row for row in rows if row["model"] == VOTERS and row["signal"] != ALL]
    lost = [row["signal"] for row in own if not (_certain(row["p_value"]) or _certain(row["slope_p_value"]))]
    if lost:
        yield f"planted signals whose raw features rank no higher than others in the networks: {', '.join(lost)}"


def signs(row: Mapping[str, Any]) -> str:
    """Tell how many planted features have the right sign, where they have one."""
    return "without signs" if row["sign_accuracy"] is None else f"signs right: {percent(row['sign_accuracy'])}"


def _certain(p_value: float | None) -> bool:
    return p_value is not None and p_value < CERTAIN
