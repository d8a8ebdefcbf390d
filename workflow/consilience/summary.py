"""What a person reads first of a study: a row of numbers, and the same as lines for the terminal."""

from __future__ import annotations

from typing import Any

import pandas as pd

from consilience.attribution.names import TOLERANCE
from consilience.evaluation import number, with_interval
from consilience.overlap import LINEAR, NETWORKS
from consilience.study_results import StudyResults

SHOWN = 5
FEW_GROUPS = 20
# The area under the ROC curve of a ranking that knows nothing.
CHANCE = 0.5


def summary_row(study: StudyResults) -> dict[str, Any]:
    """Return the row of summary.tsv."""
    trivial, trivial_value = study.trivial
    row: dict[str, Any] = {"study": study.base.name, "targets": ";".join(study.targets), **study.samples}
    row |= {"features": study.drivers["feature"].nunique(), "metric": study.headline}
    for kind, name, metrics in (
        ("network", study.network, study.networks),
        ("linear", study.linear_kind, study.linear),
    ):
        row[kind] = name
        row |= {f"{kind}_{part}": value for part, value in metrics[name]["test"][study.headline].items()}
    row |= {"trivial": trivial, "trivial_value": trivial_value}
    row["completeness_gap"] = pd.Series(study.gaps).max()
    several = len(study.targets) > 1
    texts = (f"{f'{target}: ' if several else ''}{';'.join(driver_texts(study, target))}" for target in study.targets)
    row["top_drivers"] = " | ".join(texts)
    return row | {f"recovery_{name}": value for name, value in recovered(study).items()}


def summary_lines(study: StudyResults) -> list[str]:
    """Return the lines for the terminal."""
    roles = ", ".join(f"{count} {role}" for role, count in study.samples.items())
    lines = [
        f"{study.base.name}: {', '.join(study.targets)}; {sum(study.samples.values())} samples ({roles}) of "
        f"{study.audit['samples_before'].iloc[0]} read, {study.drivers['feature'].nunique()} features",
        *excluded_lines(study),
        *metric_lines(study),
        *(f"  note       {note}" for note in notes_of(study)),
    ]
    for target in study.targets:
        label = f"{target}: " if len(study.targets) > 1 else ""
        lines.append(f"  drivers    {label}{', '.join(driver_texts(study, target)) or 'none'}")
    lines.append(overlap_line(study))
    found = ", ".join(f"{name} {number(value)}" for name, value in recovered(study).items())
    if study.recovery is not None:
        found = found or "none is among the features"
        lines.append(f"  recovery   average precision of the planted drivers: {found}")
    return [*lines, *look_lines(study)]


def look_lines(study: StudyResults) -> list[str]:
    """Return where to look next: the page of the report, and the tables that say most."""
    page = study.base.parent / "report" / f"{study.base.name}.html"
    return [
        f"  look at    {page}",
        f"             {study.base}/top_drivers.csv, drivers.csv, overlap.csv, audit.tsv, figures/",
    ]


def excluded_lines(study: StudyResults) -> list[str]:
    """Return how many rows the split left out, and for which columns; no line where it left out none."""
    if not study.excluded:
        return []
    columns = " or ".join(f"{column} ({count})" for column, count in study.excluded.items())
    count = sum(study.excluded.values())
    return [f"  left out   {count} samples whose {columns} also stands in validation or test (split.apart)"]


def metric_lines(study: StudyResults) -> list[str]:
    """Return a line for every model with its test metric and interval, the best trivial predictor last."""
    name, value = study.trivial
    rows = {model: with_interval(one["test"][study.headline]) for model, one in (study.networks | study.linear).items()}
    rows[name] = f"{number(value)} (uses no feature)"
    width, label = max(map(len, rows)), f"test {study.headline}"
    indent = max(10, len(label))
    return [
        f"  {label if index == 0 else '':<{indent}} {model:<{width}}  {text}"
        for index, (model, text) in enumerate(rows.items())
    ]


def notes_of(study: StudyResults) -> list[str]:
    """Return what a reader should know before trusting the drivers, what the domain adds last."""
    return [*warnings_of(study), *study.own_notes]


def warnings_of(study: StudyResults) -> list[str]:
    """Return what speaks against the models and their drivers, whatever the domain."""
    return [*comparison_notes(study), *chance_notes(study), *data_notes(study), *trust_notes(study)]


def comparison_notes(study: StudyResults) -> list[str]:
    """Return which predictors the network is not shown to be better than."""
    chosen, (name, value) = f"{study.network} (chosen on validation)", study.trivial
    trivial = f"{name}, which uses no feature: distrust the drivers"
    linear = {state: ", ".join(kinds) for state, kinds in study.against_linear.items()}
    found = {
        "worse": ("{} predicts worse than {}", "{} predicts worse than {}"),
        "open": ("{} is not clearly better than {}", "{} does not predict clearly better than {}"),
        "untold": ("{} cannot be told from {}", "{} cannot be told from {}"),
    }
    notes = [words.format(chosen, trivial) for state, (words, _) in found.items() if study.against(value) == state]
    return notes + [words.format(chosen, linear[state]) for state, (_, words) in found.items() if state in linear]


def data_notes(study: StudyResults) -> list[str]:
    """Return what speaks against the test role and the fits: samples, groups, leaks, penalties, imported weights."""
    linear, test = study.linear[study.linear_kind], study.networks[study.network]["test"]
    notes = sample_notes(study)
    if test["groups"] < FEW_GROUPS:
        notes.append(f"the test role has {test['groups']} groups: its intervals are rough")
    values = {f"values of {column}": shared for column, shared in study.apart.items()}
    for what, shared in {"groups": study.shared, **values}.items():
        if shared:
            counts = ", ".join(f"{count} in {roles}" for roles, count in shared.items())
            notes.append(f"{what} stand in two roles ({counts}): test metrics may flatter")
    if linear.get("training", {}).get("at_edge"):
        notes.append(f"{study.linear_kind} took a penalty at the edge of its grid")
    for model, metrics in study.networks.items():
        if "checkpoint" in metrics.get("training", {}):
            notes.append(f"the weights of {model} were imported, and may have seen the test role")
    return notes


def trust_notes(study: StudyResults) -> list[str]:
    """Return what speaks against the attributions: gaps, remarks on networks, rankings no better than at random."""
    notes = []
    for model, gap in study.gaps.items():
        if gap > TOLERANCE:
            notes.append(f"the attributions of {model} miss {100 * gap:.1f} % of the change they explain (median)")
    notes += [f"{model}: {remark}" for model, remarks in study.remarks.items() for remark in remarks]
    # The whole interval below 0: what is not defined, with few groups say, is not shown to be better.
    unfaithful = [
        model for model in study.voters if not study.check(model, "deletion", "area_minus_random", "high") < 0
    ]
    return notes + [
        f"taking away what {study.method} ranks first in {model} is not clearly worse than at random"
        f"{'' if study.check(model, 'deletion', 'area_minus_random', 'high') >= 0 else ' (too few groups to tell)'}"
        for model in unfaithful
    ]


def chance_notes(study: StudyResults) -> list[str]:
    """Return which linear models rank worse than chance: the whole interval of their test roc_auc is below 0.5.

    The best trivial predictor never does, for class_prior is one of them.
    """
    found = {kind: metrics["test"].get("roc_auc", {}) for kind, metrics in study.linear.items()}
    return [
        f"{kind} ranks worse than chance (roc_auc {with_interval(ranking)}): to beat it says nothing"
        for kind, ranking in found.items()
        if ranking.get("high") is not None and ranking["high"] < CHANCE
    ]


def sample_notes(study: StudyResults) -> list[str]:
    """Return what saw but a sample of its rows, and the setting that says so; what all networks saw once."""
    found = []
    for facts in (metrics.get("training", {}) for metrics in study.networks.values()):
        for rows, done in (("train_samples", "trained"), ("validation_samples", "validated")):
            found.append((f"the networks were {done}", facts.get(rows), facts.get(f"{rows}_available"), "training"))
    facts = study.linear[study.linear_kind].get("training", {})
    found.append(("the linear models were fitted", facts.get("n"), facts.get("available"), "linear"))
    return [
        f"{what} on a seeded sample of {used} of {available} rows ({part}.maximum_samples)"
        for what, used, available, part in dict.fromkeys(found)
        if used != available
    ]


def driver_texts(study: StudyResults, target: str) -> list[str]:
    """Return the strongest drivers of a target with sign and the share of models that list them on that side."""
    return [
        f"{'+' if one['direction'] == 'positive' else '-'}{one['feature']} ({one['models']}/{len(study.voters)})"
        for one in study.strongest(target, SHOWN)
    ]


def overlap_line(study: StudyResults) -> str:
    """Return how much the networks and the linear model share, beside chance, summed over targets."""
    parts = [
        f"{rows['intersection'].sum()} {direction} of {rows[f'size_{NETWORKS}'].sum():.0f} "
        f"(chance {rows['expected'].sum():.2g})"
        for direction, rows in study.shared_with_linear.groupby("direction", sort=False)
    ]
    where = f", over {len(study.targets)} targets" if len(study.targets) > 1 else ""
    return f"  overlap    networks and {LINEAR} share {' and '.join(parts)}{where}"


def recovered(study: StudyResults) -> dict[str, float]:
    """Return the average precision of the consensus by method and of the linear models; empty without a truth."""
    if study.recovery is None:
        return {}
    chosen = study.recovery[(study.recovery["effect"] == "all") & study.recovery["scope"].isin(["consensus", "linear"])]
    names = chosen["method"].where(chosen["scope"] == "consensus", chosen["name"])
    return chosen["average_precision"].groupby(names, sort=False).mean().to_dict()
