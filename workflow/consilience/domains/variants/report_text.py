"""All that a study of structural variants found, as text: summary.txt, from what `findings` tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from consilience.domains.variants.notes import bias_lines, dictionary_line, headline, recovery_lines, signs, weaknesses
from consilience.domains.variants.performance import QUALITY, SIZE
from consilience.domains.variants.raw_recovery import LINEAR, VOTERS
from consilience.domains.variants.wording import counted, interval_or_none, of_all, percent
from consilience.evaluation import number

NAMES = {LINEAR: "logistic regression on the same atoms", QUALITY: "QUAL alone", SIZE: "size alone"}


def summary_text(study: str, found: Mapping[str, Any]) -> str:
    """Return summary.txt of a study; `found` is summary.json."""
    parts = {
        "Calls": _calls(found["calls"]),
        "Prediction": _prediction(found["performance"]),
        "Dictionary": _dictionary(found["dictionary"]),
        "Atoms that true and false calls differ in": _bias(found["bias"]),
        "Types": _types(found["types"]),
        "Atoms that are active together": _together(found["together"]),
        "Raw features": _raw(found["raw_attributions"]["models"]),
        "Planted raw features": _recovery(found["recovery"]),
    }
    blocks = ["\n".join([title, *(f"  {_sentence(line)}" for line in lines)]) for title, lines in parts.items()]
    return "\n\n".join([f"Structural variants: {study}", *blocks]) + "\n"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _calls(calls: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    for role, counts in calls.items():
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        yield f"the role {role} has {sum(counts.values())} calls: {told}"


def _prediction(performance: Mapping[str, Any]) -> Iterator[str]:
    yield f"chosen on validation is {headline(performance)}"
    for name, own in performance["networks"].items():
        yield f"the network {name} has {_metrics(own)} on the test role"
    for name, words in NAMES.items():
        if performance[name]:
            yield f"{words} has {_metrics(performance[name])} on the test role"


def _metrics(own: Mapping[str, Any]) -> str:
    names = {"roc_auc": "AUROC", "average_precision": "AUPRC", "matthews_corrcoef": "MCC", "precision": "precision",
             "recall": "recall", "specificity": "specificity"}  # fmt: skip
    return ", ".join(f"{words} {interval_or_none(own[name])}" for name, words in names.items())


def _dictionary(own: Mapping[str, Any]) -> Iterator[str]:
    yield dictionary_line(own)
    for role, found in own["by_role"].items():
        yield (
            f"on the role {role} it explains {percent(found['explained_variance'])} of the variance with "
            f"{found['l0']:.1f} atoms a call, and {percent(found['dead_share'])} of its {own['atoms']} atoms are "
            "active in no call"
        )
    for name, found in own["controls"].items():
        explained = percent(found["explained_variance"])
        yield f"beside it, {name.replace('_', ' ')} (k = {own['k']}): {explained} of the variance of test calls"
    by_size = sorted((int(size), count) for size, count in own["codes_by_batch_size"].items())
    sizes = ", ".join(f"{count:.1f} ({size})" for size, count in by_size)
    yield f"atoms a call by the number of calls that are encoded at once: {sizes}"
    if own["stability"]:
        again = own["stability"]
        yield (
            f"over {again['seeds']} random starts, {percent(again['matched_share'])} of its atoms come again with a "
            f"cosine of {again['cosine_of_one_atom']:g} or more; the mean cosine is {number(again['mean_cosine'])}"
        )
    if own["negative_share"]:
        yield f"{percent(own['negative_share'])} of the k largest pre-activations of test calls are not positive: 0 now"
    for weakness in weaknesses(own):
        yield f"weakness: {weakness}"


def _bias(bias: Mapping[str, Any]) -> Iterator[str]:
    yield from bias_lines(bias)
    if not bias["significant"]:
        return
    yield (
        f"confirmed are {of_all(bias['confirmed_positive'], bias['positive'])} toward true and "
        f"{of_all(bias['confirmed_negative'], bias['negative'])} toward false calls"
    )
    alike = bias["not_alike_in_strata"]
    yield (
        f"of those that stay so within strata, the odds ratio of {of_all(alike, bias['within_strata'])} differs from "
        "stratum to stratum (Breslow-Day, p < 0.05, not corrected)"
    )
    for name, words in (("strongest_positive", "true"), ("strongest_negative", "false")):
        told = "; ".join(_atom(row) for row in bias[name])
        yield f"strongest toward {words} calls: {told or 'no atom whose interval excludes 1'}"


def _atom(row: Mapping[str, Any]) -> str:
    confirmed = "" if row["confirmed"] else ", not confirmed"
    return (
        f"{row['feature']} odds ratio {row['odds']:.3g} [{row['odds_low']:.3g}, {row['odds_high']:.3g}] in "
        f"{counted(row['support'], 'training call', 'training calls')}{confirmed}"
    )


def _types(types: Mapping[str, Any]) -> Iterator[str]:
    yield f"{of_all(types['specialized'], types['atoms'])} tested atoms are special to a type (enriched, q < 0.05)"
    yield f"by type: {', '.join(f'{name} {count}' for name, count in types['by_type'].items())}"
    for row in types["strongest"]:
        yield (
            f"{row['feature']}: {percent(row['share'])} of its calls are {row['type']}, of all "
            f"{percent(row['base_rate'])}"
        )


def _together(together: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{of_all(together['significant'], together['pairs'])} pairs of the strongest atoms that are active together "
        "in 5 training calls or more are so more often than by chance (q < 0.05)"
    )
    for row in together["strongest"]:
        yield (
            f"atoms {row['atom_a']} and {row['atom_b']}: together in {row['together']} calls, {row['expected']:.3g} by "
            "chance"
        )


def _raw(models: Mapping[str, Any]) -> Iterator[str]:
    own = models[VOTERS]
    yield (
        f"integrated gradients from zero codes of {own['calls']} calls, pushed on to what the calls were encoded from; "
        f"parts and whole differ by {own['gap']:.2g} at most"
    )
    yield (
        f"what belongs to no raw feature (biases of the encoder, means of features) has a mean size of "
        f"{number(own['constant'])} in the mean of the networks, the whole attribution of a call {number(own['whole'])}"
    )
    for name, found in models.items():
        shares = ", ".join(f"{branch} {percent(share)}" for branch, share in found["branches"].items())
        yield f"by {name}, strongest are {', '.join(found['strongest']) or 'none'}; by branch {shares}"


def _recovery(rows: list[Mapping[str, Any]] | None) -> Iterator[str]:
    if not rows:
        yield "the data are not simulated: what truly drives the labels is not known"
        return
    yield from recovery_lines(rows)
    for row in rows:
        missing = f", {row['missing']} of them filtered out" if row["missing"] else ""
        slope = "" if row["slope_precision"] is None else f", by slope {number(row['slope_precision'])}"
        yield (
            f"by {row['model']}, of {row['signal']}: average precision {number(row['average_precision'])}{slope} "
            f"(chance {number(row['chance'])}), {signs(row)}, {row['planted']} planted{missing}"
        )
