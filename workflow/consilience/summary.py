"""What a person reads first of a study: a row of numbers, and the same as lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from consilience.attribution.names import TOLERANCE
from consilience.attribution.store import read
from consilience.consensus.linear import CONSENSUS_KINDS
from consilience.evaluation import HEADLINE, LESS_IS_BETTER, best_loss, best_trivial, number, with_interval
from consilience.files import read_json, read_table
from consilience.overlap import LINEAR, NETWORKS, SEPARATOR
from consilience.splits import ROLES

SHOWN = 5
FEW_GROUPS = 20
# The area under the ROC curve of a ranking that knows nothing.
CHANCE = 0.5
CHECK_COLUMNS = ("check", "method", "metric", "value", "high")
Metrics = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class StudyResults:
    """The tables and metrics of a finished study.

    By model: `validation` is the mean of the members' best validation losses (infinite for imported weights); of the
    explained ones, `checks` is the table of faithfulness and `remarks` what attribution says of the network. `method`
    is the one whose lists form the consensus. `shared` counts the split's own groups that stand in two roles.
    `own_notes` are those of the slice. `excluded` counts the rows that the split left out by column of split.apart, and
    `apart` the values of each that stand in two roles all the same.
    """

    base: Path
    method: str
    voters: Sequence[str]
    networks: Metrics
    linear: Metrics
    validation: dict[str, float]
    samples: dict[str, int]
    shared: dict[str, int]
    audit: pd.DataFrame
    drivers: pd.DataFrame
    top: pd.DataFrame
    overlap: pd.DataFrame
    recovery: pd.DataFrame | None
    checks: dict[str, pd.DataFrame]
    remarks: dict[str, list[str]]
    own_notes: Sequence[str] = ()
    excluded: Mapping[str, int] = field(default_factory=dict)
    apart: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        base: Path,
        models: Sequence[str],
        explained: Sequence[str],
        voters: Sequence[str],
        method: str,
        simulated: bool,
        notes: Sequence[str] = (),
    ) -> StudyResults:
        """Read the results in the folder `base`; `notes` are texts of the slice, a note a line."""
        split = read_json(base / "split.json")
        return cls(
            base=base,
            method=method,
            voters=voters,
            networks={model: read_json(base / "models" / model / "metrics.json") for model in models},
            linear=read_json(base / "linear" / "metrics.json"),
            validation={model: best_loss(base / "models" / model / "history.tsv") for model in models},
            samples={role: split["roles"][role]["samples"] for role in ROLES},
            shared=_positive(split["shared"].get("group", {})),
            audit=read_table(base / "audit.tsv"),
            drivers=read_table(base / "drivers.csv"),
            top=read_table(base / "top_drivers.csv"),
            overlap=read_table(base / "overlap.csv"),
            recovery=read_table(base / "recovery.tsv") if simulated else None,
            checks={model: read_table(base / "faithfulness" / f"{model}.tsv", CHECK_COLUMNS) for model in explained},
            remarks={model: read(base / "attributions" / model / f"{method}.h5").remarks for model in explained},
            own_notes=[line for path in notes for line in Path(path).read_text(encoding="utf-8").splitlines()],
            excluded=_positive(split["excluded"]),
            apart={column: _positive(split["shared"][column]) for column in split["apart"]},
        )

    @property
    def headline(self) -> str:
        """The metric that stands for a model."""
        return HEADLINE[next(iter(self.networks.values()))["task"]]

    @property
    def trivial(self) -> tuple[str, float | None]:
        """The best trivial predictor and its headline metric."""
        return best_trivial(next(iter(self.networks.values())))

    @property
    def targets(self) -> list[str]:
        """What is attributed."""
        return list(self.drivers["target"].unique())

    @property
    def network(self) -> str:
        """The voting network with the least validation loss: the test role chooses nothing."""
        return min(self.voters, key=self.validation.__getitem__)

    @property
    def linear_kind(self) -> str:
        """The linear model that the consensus uses."""
        return next(kind for kind in CONSENSUS_KINDS if kind in self.linear)

    def check(self, model: str, check: str, metric: str, bound: str = "value") -> float:
        """Return a number of the consensus' method from a model's table of faithfulness; NaN where it has none."""
        table = self.checks[model]
        rows = table[(table["check"] == check) & (table["method"] == self.method) & (table["metric"] == metric)]
        return float(rows[bound].iloc[0]) if len(rows) else float("nan")

    @property
    def gaps(self) -> dict[str, float]:
        """The relative completeness gaps by model; NaN where the method promises none."""
        return {model: self.check(model, "completeness", "relative_gap") for model in self.checks}

    def beats(self, value: float | None) -> bool:
        """Say whether the whole interval of the network's headline metric is better than `value`."""
        metric = self.networks[self.network]["test"][self.headline]
        less = self.headline in LESS_IS_BETTER
        near = metric["high" if less else "low"]
        near = metric["value"] if near is None else near
        if near is None or value is None:
            return value is None
        return near < value if less else near > value


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
    return [*lines, f"  look at    {study.base}/top_drivers.csv, drivers.csv, overlap.csv, audit.tsv, figures/"]


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
    """Return what a reader should know before trusting the drivers."""
    notes = []
    linear, test = study.linear[study.linear_kind], study.networks[study.network]["test"]
    name, value = study.trivial
    chosen = f"{study.network} (chosen on validation)"
    if not study.beats(value):
        notes.append(f"{chosen} is not clearly better than {name}, which uses no feature: distrust the drivers")
    if not study.beats(linear["test"][study.headline]["value"]):
        notes.append(f"{chosen} does not predict clearly better than {study.linear_kind}")
    notes += [*chance_notes(study), *sample_notes(study)]
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
    for model, gap in study.gaps.items():
        if gap > TOLERANCE:
            notes.append(f"the attributions of {model} miss {gap:.1%} of the change they explain (median)")
    notes += [f"{model}: {remark}" for model, remarks in study.remarks.items() for remark in remarks]
    # The whole interval below 0: what is not defined, with few groups say, is not shown to be better.
    unfaithful = [
        model for model in study.voters if not study.check(model, "deletion", "area_minus_random", "high") < 0
    ]
    notes += [
        f"taking away what {study.method} ranks first in {model} is not clearly worse than at random"
        f"{'' if study.check(model, 'deletion', 'area_minus_random', 'high') >= 0 else ' (too few groups to tell)'}"
        for model in unfaithful
    ]
    return [*notes, *study.own_notes]


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
    """Return the strongest drivers of a target with sign and the share of models that list them."""
    rows = study.top[study.top["target"] == target].sort_values("rank", kind="stable").head(SHOWN)
    signs = rows["direction"].map({"positive": "+", "negative": "-"})
    return [
        f"{sign}{feature} ({count}/{len(study.voters)})"
        for sign, feature, count in zip(signs, rows["feature"], rows["total_models"], strict=True)
    ]


def overlap_line(study: StudyResults) -> str:
    """Return how much the networks and the linear model share, beside chance, summed over targets."""
    pairs = study.overlap[study.overlap["sets"] == SEPARATOR.join((NETWORKS, LINEAR))]
    parts = [
        f"{rows['intersection'].sum()} {direction} of {rows[f'size_{NETWORKS}'].sum():.0f} "
        f"(chance {rows['expected'].sum():.2g})"
        for direction, rows in pairs.groupby("direction", sort=False)
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


def _positive(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}
