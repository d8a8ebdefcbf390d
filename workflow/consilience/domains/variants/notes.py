"""What a user must know of a study of structural variants, a line each, from what `findings` tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from consilience.domains.variants.baseline_text import baseline_line
from consilience.domains.variants.dictionary_tables import COMPONENTS
from consilience.domains.variants.levels import DEAD, FALSE_SHARE, FAR_FROM_K
from consilience.domains.variants.performance import QUALITY, SIZE
from consilience.domains.variants.raw_recovery import ALL, LINEAR, MARGINAL, VOTERS
from consilience.domains.variants.wording import are, components, counted, interval_or_none, listed, of_all, percent
from consilience.evaluation import number

AGAIN = 0.5  # fewer atoms that come again from another random start are told as a weakness
UNLIKE = 0.5  # active atoms with and without a consensus that differ by a larger share are told
TESTED = "test"
NAMES = {LINEAR: "logistic regression on the same atoms", QUALITY: "QUAL alone", SIZE: "size alone"}
UNKNOWN = "not known (no QUAL in this source, or not of every call: audit.tsv)"


def note_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the notes of a study, what matters most first; `found` is summary.json."""
    lines = [headline(found["performance"]), *baseline_line(found["performance"]), *bias_lines(found["bias"])]
    lines.append(dictionary_line(found["dictionary"]))
    weak = list(weaknesses(found["dictionary"]))
    lines += [f"the dictionary is weak: {'; '.join(weak)}"] if weak else []
    lines.append(raw_line(found["raw_attributions"]["models"][VOTERS]))
    return [*lines, *recovery_line(found["recovery"] or [])]


def headline(performance: Mapping[str, Any]) -> str:
    """Tell the best network's area under the ROC curve beside a linear model of its atoms, QUAL, and size."""
    best = performance["networks"][performance["best"]]["roc_auc"]
    told = [f"{performance['best']}: test AUROC {interval_or_none(best)}"]
    close = []
    for name, words in NAMES.items():
        own = performance[name] and performance[name]["roc_auc"]
        told.append(f"{words} {interval_or_none(own) if own else UNKNOWN}")
        if own and not _clearly_above(best, own["value"]):
            close.append(words)
    end = f": the network is not clearly better than {listed(close)}" if close else ""
    return f"{', '.join(told)}{end}"


def _clearly_above(metric: Mapping[str, float | None], value: float | None) -> bool:
    low = metric["value"] if metric["low"] is None else metric["low"]
    return low is not None and (value is None or low > value)


def bias_lines(bias: Mapping[str, Any]) -> Iterator[str]:
    """Tell how many atoms true and false calls differ in, what strata leave, and how many the test role confirms."""
    untested = bias["alive"] - bias["tested"]
    few = f" ({untested} more {are(untested)} active in too few training calls)" if untested else ""
    if not bias["significant"]:
        yield f"no atom is biased toward true or false calls (q < 0.05) among {bias['tested']} tested{few}"
        return
    yield (
        f"{of_all(bias['significant'], bias['tested'])} tested atoms {are(bias['significant'])} biased (q < 0.05)"
        f"{few}: {bias['positive']} toward true and {bias['negative']} toward false calls; "
        f"{of_all(bias['confirmed'], bias['significant'])} {are(bias['confirmed'])} confirmed on calls of the test role"
    )
    left, turned, again = (bias[f"{name}within_strata"] for name in ("", "turned_", "confirmed_"))
    more = f", of which {turned} {are(turned)} reversed (leaning the other way there)" if turned else ""
    yield (
        "within strata of type, size, consensus and dataset (Cochran-Mantel-Haenszel, q < 0.05) "
        f"{of_all(left, bias['significant'])} biased atoms {'stays' if left == 1 else 'stay'} significant{more}"
        f"{f'; {of_all(again, left)} {are(again)} confirmed within those of the test role' if left else ''}"
    )
    if left:
        both = bias["confirmed_both"]
        hold = "holds" if both == 1 else "hold"
        yield (
            f"{of_all(both, bias['significant'])} biased atoms {hold} in every test: significant within strata too and "
            "confirmed by the test role, in all its calls and within strata, in one direction"
        )


def dictionary_line(own: Mapping[str, Any]) -> str:
    """Tell how good the dictionary is, beside principal components."""
    test = own["by_role"][TESTED]
    again = own["stability"]
    more = f", {percent(again['matched_share'])} of its atoms come again from another random start" if again else ""
    imported = " (imported: nobody here knows which calls it has seen, so that test numbers may be in-sample)"
    return (
        f"dictionary {own['name']}{imported if own['imported'] else ''}: it explains "
        f"{percent(test['explained_variance'])} of the variance of test calls ({components(own['k'])} "
        f"{percent(own['controls'][COMPONENTS]['explained_variance'])}) with {test['l0']:.1f} atoms a call (k = "
        f"{own['k']}){more}"
    )


def weaknesses(own: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is weak about a dictionary."""
    train, test = own["by_role"]["train"], own["by_role"][TESTED]
    if train["dead_share"] > DEAD:
        yield f"no training call excites {percent(train['dead_share'])} of its atoms"
    yield from _codes_off_k(train["l0"], test["l0"], own["k"])
    yield from _codes_by_sequence(own["codes_by_sequence"])
    explained, control = test["explained_variance"], own["controls"][COMPONENTS]["explained_variance"]
    if explained is not None and control is not None and explained < control:
        yield f"it explains less than {components(own['k'])} {'does' if own['k'] == 1 else 'do'}"
    again = own["stability"]
    if again and again["matched_share"] < AGAIN:
        yield (
            f"{percent(1 - again['matched_share'])} of its atoms do not come again from another random start (cosine "
            f"below {again['cosine_of_one_atom']:g}): what single atoms say depends on the random start of the fit"
        )


def _codes_off_k(train: float, test: float, k: int) -> Iterator[str]:
    most = FAR_FROM_K * k
    far = [f"{role} calls {l0:.1f}" for role, l0 in (("training", train), (TESTED, test)) if abs(l0 - k) > most]
    if far:
        apart = "denser" if train > test else "sparser"
        more = f" (codes are {apart} where networks learn than where they are tested: overfitting)"
        yield f"it gives {' and '.join(far)} atoms rather than {k}{more if abs(train - test) > most else ''}"


def _codes_by_sequence(found: Mapping[str, Mapping[str, float]] | None) -> Iterator[str]:
    counts = (found or {}).get(TESTED)
    if counts and abs(counts["with"] - counts["without"]) > UNLIKE * max(counts.values()):
        yield (
            f"calls with a consensus have {counts['with']:.1f} active atoms, calls without {counts['without']:.1f} "
            "(absent features count as average), so that an active atom partly says that a call has a consensus"
        )


def raw_line(own: Mapping[str, Any]) -> str:
    """Tell the strongest raw features, and how attribution falls to branches."""
    shares = ", ".join(f"{branch['branch']} {percent(branch['share'])}" for branch in own["branches"])
    strongest = ", ".join(own["strongest"]) or "none"
    return f"strongest raw features (mean of the networks): {strongest}; by branch, each summed first: {shares}"


def recovery_line(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Tell how well planted raw features are found, signal by signal, and how many atoms stand for each."""
    chosen = {row["model"]: row for row in rows if row["signal"] == ALL}
    if not chosen:
        return
    own = chosen[VOTERS]
    signals = [row for row in rows if row["model"] == VOTERS and row["signal"] != ALL]
    yield (
        f"planted raw features: average precision {number(own['average_precision'])} by magnitude, "
        f"{number(own['slope_precision'])} by slope (chance {number(own['chance'])}; difference of class means, "
        f"without atoms, {number(chosen[MARGINAL]['average_precision'])}), {signs(own)}; by signal, the better of "
        f"both, and how many atoms stand for it: {', '.join(map(_signal, signals))}"
    )


def _signal(row: Mapping[str, Any]) -> str:
    known = [row[name] for name in ("average_precision", "slope_precision") if row[name] is not None]
    lost = ", no higher than others" if is_lost(row) else ""
    return f"{row['signal']} {number(max(known, default=None))} ({counted_or_no(row['atoms'])}{lost})"


def counted_or_no(atoms: int) -> str:
    """Count atoms in words."""
    return counted(atoms, "atom", "atoms") if atoms else "no atom"


def is_lost(row: Mapping[str, Any]) -> bool:
    """Say whether a signal's raw features rank no higher than others, by magnitude or by slope.

    Either test may find it, so that p is corrected for both (Bonferroni).
    """
    known = [row[name] for name in ("p_value", "slope_p_value") if row[name] is not None]
    return not known or len(known) * min(known) >= FALSE_SHARE


def signs(row: Mapping[str, Any]) -> str:
    """Tell how many planted features have the right sign, where they have one."""
    return "without signs" if row["sign_accuracy"] is None else f"signs right: {percent(row['sign_accuracy'])}"
