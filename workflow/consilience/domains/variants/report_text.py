"""All that a study of structural variants found, as text: summary.txt, from what `findings` tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from consilience.domains.variants import baseline_text
from consilience.domains.variants.dictionary_tables import COMPONENTS
from consilience.domains.variants.levels import FALSE_SHARE
from consilience.domains.variants.notes import (
    NAMES,
    UNKNOWN,
    bias_lines,
    counted_or_no,
    dictionary_line,
    headline,
    is_lost,
    raw_line,
    recovery_line,
    signs,
    weaknesses,
)
from consilience.domains.variants.performance import GAIN
from consilience.domains.variants.raw_recovery import ALL, LINEAR, MARGINAL, VOTERS
from consilience.domains.variants.specialization import LEAST_LIFT
from consilience.domains.variants.wording import are, components, counted, interval_or_none, of_all, percent
from consilience.evaluation import number, with_interval

MODELS = {
    VOTERS: "the mean of the networks",
    LINEAR: "logistic regression",
    MARGINAL: "the difference of class means, without atoms",
}


def summary_text(study: str, found: Mapping[str, Any]) -> str:
    """Return summary.txt of a study; `found` is summary.json."""
    parts = {
        "Calls": _calls(found["calls"]),
        "Prediction": _prediction(found["performance"]),
        "Dictionary": _dictionary(found["dictionary"]),
        "Atoms that true and false calls differ in": _bias(found["bias"], found["dictionary"]["stability"]),
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
        yield f"the role {role} has {counted(sum(counts.values()), 'call', 'calls')}: {told}"


def _prediction(performance: Mapping[str, Any]) -> Iterator[str]:
    yield f"chosen on validation is {headline(performance)}"
    for name, own in performance["networks"].items():
        yield f"the network {name} has {_metrics(own)} on the test role"
    for name, words in NAMES.items():
        told = f"has {_metrics(performance[name])} on the test role" if performance[name] else f"is {UNKNOWN}"
        yield f"{words} {told}"
    best = performance["best"]
    for name, own in performance["baselines"].items():
        yield (
            f"without a dictionary, {baseline_text.NAMES[name]}: {_metrics(own)} on the test role; AUROC of {best} "
            f"less this {with_interval(own[GAIN])}"
        )
    yield from baseline_text.baseline_line(performance)


def _metrics(own: Mapping[str, Any]) -> str:
    names = {"roc_auc": "AUROC", "average_precision": "AUPRC", "matthews_corrcoef": "MCC", "precision": "precision",
             "recall": "recall", "specificity": "specificity"}  # fmt: skip
    return ", ".join(f"{words} {interval_or_none(own[name])}" for name, words in names.items())


def _dictionary(own: Mapping[str, Any]) -> Iterator[str]:
    yield dictionary_line(own)
    for role, found in own["by_role"].items():
        yield (
            f"on the role {role} it explains {percent(found['explained_variance'])} of the variance with "
            f"{found['l0']:.1f} atoms a call; {_active(found['dead_share'], own['atoms'])}"
        )
    for name, found in own["controls"].items():
        explained = percent(found["explained_variance"])
        words = components(own["k"]) if name == COMPONENTS else f"a {name.replace('_', ' ')} (k = {own['k']})"
        yield f"beside it, {words}: {explained} of the variance of test calls"
    for role, counts in (own["codes_by_sequence"] or {}).items():
        yield (
            f"on the role {role}, calls with a consensus have {counts['with']:.1f} active atoms, calls without "
            f"{counts['without']:.1f}"
        )
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


def _active(dead_share: float, atoms: int) -> str:
    dead = round(dead_share * atoms)
    if not dead:
        return f"all {atoms} atoms are active"
    return f"{of_all(dead, atoms)} atoms {are(dead)} active in none of its calls"


def _bias(bias: Mapping[str, Any], again: Mapping[str, Any] | None) -> Iterator[str]:
    yield from bias_lines(bias)
    if not bias["significant"]:
        return
    yield (
        f"confirmed {are(bias['confirmed'])} {of_all(bias['confirmed_positive'], bias['positive'])} toward true and "
        f"{of_all(bias['confirmed_negative'], bias['negative'])} toward false calls"
    )
    if bias["several_strata"]:
        alike = bias["not_alike_in_strata"]
        have = "has" if alike == 1 else "have"
        yield (
            "of those that stay significant within strata, and of which two strata or more tell, "
            f"{of_all(alike, bias['several_strata'])} {have} an odds ratio that differs from stratum to "
            "stratum (Breslow-Day, p < 0.05, not corrected)"
        )
    for name, words in (("strongest_positive", "true"), ("strongest_negative", "false")):
        for row in bias[name]:
            yield f"strong toward {words} calls is {_atom(row, again)}"
        if not bias[name]:
            yield f"strong toward {words} calls is no atom: none is significant with an interval that excludes 1"


def _atom(row: Mapping[str, Any], again: Mapping[str, Any] | None) -> str:
    told = [
        f"{row['feature']}: odds ratio {_ratio(row, 'odds', 'odds_low', 'odds_high')} in "
        f"{counted(row['support'], 'training call', 'training calls')}, {'' if row['confirmed'] else 'not '}confirmed",
        _within(row),
    ]
    if again and row["stability"] is not None:
        one = again["seeds"] == 2
        others = "its partner from another random start" if one else "its partners from other random starts"
        told.append(f"{'' if one else 'mean '}cosine {row['stability']:.2f} with {others}")
    return "; ".join(told)


def _within(row: Mapping[str, Any]) -> str:
    """Tell an atom's odds ratio within strata, and what follows from it."""
    if not row["strata"]:
        return "no stratum tells"
    clear = row["cmh_q"] is not None and row["cmh_q"] < FALSE_SHARE
    end = ", the other way" if row["reversed"] else "" if clear else ", not significant"
    return f"within strata {_ratio(row, 'cmh_odds', 'cmh_low', 'cmh_high')}{end}"


def _ratio(row: Mapping[str, Any], *names: str) -> str:
    """Write an odds ratio with its interval; null, in JSON, is what has no bound."""
    value, low, high = ("infinite" if row[name] is None else f"{row[name]:.3g}" for name in names)
    return f"{value} [{low}, {high}]"


def _types(types: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{of_all(types['specialized'], types['atoms'])} tested atoms {are(types['specialized'])} special to a type "
        f"(at least {LEAST_LIFT:g} times its share of all calls, q < 0.05)"
    )
    yield f"atoms by the type they are special to: {', '.join(f'{name} {n}' for name, n in types['by_type'].items())}"
    for row in types["strongest"]:
        yield (
            f"{row['feature']}: {percent(row['share'])} of its calls are {row['type']}, {row['lift']:.3g} times "
            f"the share of all calls ({percent(row['base_rate'])})"
        )


def _together(together: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{of_all(together['significant'], together['pairs'])} pairs of the strongest atoms that are active together "
        f"in 5 training calls or more {are(together['significant'])} so more often than by chance (q < 0.05)"
    )
    for row in together["strongest"]:
        yield (
            f"atoms {row['atom_a']} and {row['atom_b']}: together in {row['together']} calls, {row['expected']:.3g} by "
            "chance"
        )


def _raw(models: Mapping[str, Any]) -> Iterator[str]:
    own = models[VOTERS]
    yield (
        f"integrated gradients from zero codes of {counted(own['calls'], 'call', 'calls')}, "
        "pushed on to what the calls were encoded from; "
        f"parts and whole differ by {own['gap']:.2g} at most"
    )
    yield (
        f"what belongs to no raw feature (biases of the encoder, means of features) has a mean size of "
        f"{number(own['constant'])} in the mean of the networks, the whole attribution of a call {number(own['whole'])}"
    )
    yield raw_line(own)
    for name, found in models.items():
        words = MODELS.get(name, name)
        yield f"by {words}, strongest are {', '.join(found['strongest']) or 'none'}"
        for branch in found["branches"]:
            yield (
                f"by {words}, the branch {branch['branch']} ({counted(branch['features'], 'feature', 'features')}) has "
                f"a mean size of {number(branch['magnitude'])}, {percent(branch['share'])} of all branches; its sum "
                f"tells true calls with AUROC {number(branch['auroc'])}"
            )


def _recovery(rows: list[Mapping[str, Any]] | None) -> Iterator[str]:
    if not rows:
        yield "the data are not simulated: what truly drives the labels is not known"
        return
    yield from recovery_line(rows)
    for row in rows:
        if row["model"] == VOTERS and row["signal"] != ALL:
            yield f"{counted_or_no(row['atoms'])} {'stand' if row['atoms'] > 1 else 'stands'} for {row['signal']}"
    for row in (row for row in rows if row["model"] in MODELS):
        missing = f", {row['missing']} of them filtered out" if row["missing"] else ""
        lost = ", no higher than others" if is_lost(row) else ""
        slope = "" if row["slope_precision"] is None else f", by slope {number(row['slope_precision'])}"
        precision = f"average precision {number(row['average_precision'])}{slope}"
        yield (
            f"by {MODELS[row['model']]}, of {row['signal']}: {precision} "
            f"(chance {number(row['chance'])}), {signs(row)}, {row['planted']} planted{missing}{lost}"
        )
