"""Writes one row a study, and the same as text for the terminal.

It says where a network loses to the linear model, and where to look next.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from consilience.evaluation import HEADLINE, LESS_IS_BETTER, best_trivial, number, with_interval
from consilience.files import read_json, read_table, whole, write_table
from consilience.jobs import job
from consilience.splits import ROLES

SHOWN = 5


def summarize(
    base: Path, study: str, models: Sequence[str], voters: Sequence[str], recovered: bool
) -> tuple[dict[str, Any], list[str]]:
    """Return the row and the lines of text of one study whose results lie in `base`."""
    split = read_json(base / "split.json")["roles"]
    audit = read_table(base / "audit.tsv")
    drivers, top = read_table(base / "drivers.csv"), read_table(base / "top_drivers.csv")
    metrics = {model: read_json(base / "models" / model / "metrics.json") for model in models}
    metrics |= read_json(base / "linear" / "metrics.json")
    headline = HEADLINE[metrics[models[0]]["task"]]
    trivial, trivial_value = best_trivial(metrics[models[0]])
    targets = list(drivers["target"].unique())
    roles = {role: split[role]["samples"] for role in ROLES}
    row: dict[str, Any] = {"study": study, "targets": ";".join(targets), "metric": headline, **roles}
    row["features"] = drivers["feature"].nunique()
    row |= {"trivial": trivial, "trivial_value": trivial_value}
    best_model, best_linear = (best(metrics, headline, linear, models) for linear in (False, True))
    for kind, name in (("network", best_model), ("linear", best_linear)):
        interval = metrics[name]["test"][headline]
        row |= {kind: name, f"{kind}_value": interval["value"]}
        row |= {f"{kind}_low": interval["low"], f"{kind}_high": interval["high"]}
    lines = [
        f"{study}: {', '.join(targets)}; {sum(roles.values())} samples "
        f"({', '.join(f'{count} {role}' for role, count in roles.items())}) of {audit['samples_before'].iloc[0]} read, "
        f"{row['features']} features",
        *metric_lines(metrics, headline, trivial, trivial_value),
    ]
    if not better(metrics, best_model, best_linear, headline):
        lines.append(f"  note       no network predicts better than {best_linear} here")
    for target in targets:
        shown = driver_texts(top[top["target"] == target], len(voters))
        row[f"top_drivers_{target}" if len(targets) > 1 else "top_drivers"] = ";".join(shown)
        lines.append(f"  drivers    {f'{target}: ' if len(targets) > 1 else ''}{', '.join(shown) or 'none'}")
    lines += overlap_lines(read_table(base / "overlap.csv"), len(targets))
    if recovered:
        found = recovery_of(read_table(base / "recovery.tsv"))
        row |= {f"recovery_{name}": value for name, value in found.items()}
        text = ", ".join(f"{name} {number(value)}" for name, value in found.items())
        lines.append(f"  recovery   average precision of the planted drivers: {text}")
    lines.append(f"  look at    {base}/top_drivers.csv, drivers.csv, overlap.csv, audit.tsv, figures/")
    return row, lines


def best(metrics: dict[str, Any], headline: str, linear: bool, models: Sequence[str]) -> str:
    """Return the name of the best network, or of the best linear model."""
    sign = -1 if headline in LESS_IS_BETTER else 1
    names = [name for name in metrics if (name not in models) == linear]
    values = {name: metrics[name]["test"][headline]["value"] for name in names}
    return max(names, key=lambda name: float("-inf") if values[name] is None else sign * values[name])


def better(metrics: dict[str, Any], one: str, other: str, headline: str) -> bool:
    """Say whether `one` has the better headline metric."""
    first, second = (metrics[name]["test"][headline]["value"] for name in (one, other))
    if first is None or second is None:
        return False
    return first < second if headline in LESS_IS_BETTER else first > second


def metric_lines(metrics: dict[str, Any], headline: str, trivial: str, value: float | None) -> list[str]:
    """Return a line for every model with its test metric and interval, the trivial predictor last."""
    width = max(len(name) for name in [*metrics, trivial])
    rows = [f"{name:<{width}}  {with_interval(document['test'][headline])}" for name, document in metrics.items()]
    rows.append(f"{trivial:<{width}}  {number(value)} (uses no feature)")
    label = f"test {headline}"
    return [f"  {label if index == 0 else '':<{max(10, len(label))}} {row}" for index, row in enumerate(rows)]


def driver_texts(top: pd.DataFrame, models: int) -> list[str]:
    """Return the strongest drivers of one target with sign and the models that list them."""
    strongest = top.sort_values("rank", kind="stable").head(SHOWN)
    signs = strongest["direction"].map({"positive": "+", "negative": "-"})
    return [
        f"{sign}{feature} ({count}/{models})"
        for sign, feature, count in zip(signs, strongest["feature"], strongest["total_models"], strict=True)
    ]


def overlap_lines(overlaps: pd.DataFrame, targets: int) -> list[str]:
    """Return how much the networks and the linear model share, beside chance, summed over targets."""
    pair = overlaps[overlaps["sets"] == "networks;linear"]
    parts = [
        f"{rows['intersection'].sum()} {direction} of {rows['size_networks'].sum()} "
        f"(chance {rows['expected'].sum():.2g})"
        for direction, rows in pair.groupby("direction", sort=False)
    ]
    where = f", over {targets} targets" if targets > 1 else ""
    return [f"  overlap    networks and linear share {' and '.join(parts)}{where}"]


def recovery_of(recovery: pd.DataFrame) -> dict[str, float]:
    """Return the average precision of the consensus by method and of the linear models, averaged over targets."""
    chosen = recovery[(recovery["effect"] == "all") & recovery["scope"].isin(["consensus", "linear"])]
    names = chosen["method"].where(chosen["scope"] == "consensus", chosen["name"])
    return chosen["average_precision"].groupby(names, sort=False).mean().to_dict()


if "snakemake" in globals():
    with job(snakemake) as log:
        studies = snakemake.params.studies
        recovered = {Path(path).parent.name for path in snakemake.input.recoveries}
        parts = [
            summarize(Path("results") / name, name, study["models"], study["voters"], name in recovered)
            for name, study in studies.items()
        ]
        write_table(snakemake.output.table, pd.DataFrame([row for row, _ in parts]))
        text = "\n\n".join("\n".join(lines) for _, lines in parts)
        with whole(snakemake.output.text) as temporary:
            temporary.write_text(f"\n{text}\n\nAll studies: results/summary.tsv\n", encoding="utf-8")
        log.info("%d studies", len(parts))
