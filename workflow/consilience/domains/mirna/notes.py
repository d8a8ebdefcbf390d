"""What a user must know of a miRNA study, a line each: how good the best model is, and whether it looks at the seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from consilience.evaluation import number, with_interval

SIGNIFICANT = 0.05
TOLD = ("matthews_corrcoef", "f1", "specificity", "average_precision")
NAMES = {"matthews_corrcoef": "MCC", "f1": "F1", "specificity": "specificity", "average_precision": "AUPRC"}
LOW = 0.3  # correlation with mutagenesis below which a method is named


def note_lines(
    tables: Mapping[str, pd.DataFrame], metrics: Mapping[str, Mapping[str, Any]], best: str, shown: str, primary: str
) -> list[str]:
    """Return the notes of a study.

    `tables` are those of the analysis by name, `metrics` the contents of metrics.json by model; `best` is the model
    with the least validation loss, `shown` the one that is drawn, `primary` the method whose lists form the consensus.
    """
    told = ", ".join(f"{NAMES[name]} {with_interval(metrics[best]['test'][name])}" for name in TOLD)
    lines = [f"{best}: {told}"]
    lines += _seed(tables["enrichment"], shown)
    lines += _mutagenesis(tables["agreement"])
    lines += _interactions(tables["interactions"], shown)
    lines += _clusters(tables["cluster_stability"], primary)
    return lines


def _seed(table: pd.DataFrame, shown: str) -> Iterator[str]:
    """Tell whether nucleotides 2-8 of the miRNA have more than chance, by the mutagenesis of nucleotides."""
    rows = table[(table["model"] == shown) & (table["method"] == "mutagenesis of nucleotides")]
    for branch, name in (("mirna", "nucleotides 2-8 of the miRNA"), ("site", "the site's match of the seed")):
        own = rows[(rows["branch"] == branch) & (rows["label"] == "pair")]
        if own.empty:
            continue
        row = own.iloc[0]
        said = "more than chance" if row["p_value"] < SIGNIFICANT else "no more than chance"
        value, low, high = (_known(row[name]) for name in ("ratio", "low", "high"))
        interval = with_interval({"value": value, "low": low, "high": high})
        yield (
            f"{name}: {100 * row['share']:.0f} % of what mutations change in {shown}, {interval} times what their "
            f"place gives, {said} (p = {row['p_value']:.2g}, {row['samples']} pairs)"
        )


def _known(value: float) -> float | None:
    return None if pd.isna(value) else float(value)


def _mutagenesis(table: pd.DataFrame) -> Iterator[str]:
    """Name the methods that say other than mutagenesis."""
    named = (table[["method", "other"]] == "mutagenesis").any(axis=1)
    rows = table[named & (table["metric"] == "spearman")]
    if rows.empty:
        return
    other = rows["other"].where(rows["method"] == "mutagenesis", rows["method"])
    means = rows.groupby(other)["value"].mean().sort_values(ascending=False)
    yield f"agree with mutagenesis (Spearman on a pair's own k-mers): {_list(means)}"
    low = means[~(means >= LOW)]
    if len(low):
        yield f"these hardly agree with mutagenesis (below {LOW}): {', '.join(low.index)}"


def _list(values: pd.Series) -> str:
    return ", ".join(f"{name} {number(_known(value))}" for name, value in values.items())


def _interactions(table: pd.DataFrame, shown: str) -> Iterator[str]:
    rows = table[table["sample"] == "all"]
    if rows.empty:
        yield "no pair has complementary windows: interactions are not tested"
        return
    row = rows.iloc[0]
    said = "more" if row["p_value"] < SIGNIFICANT else "no more"
    yield (
        f"complementary windows of miRNA and site interact {said} than others in {shown}: "
        f"{row['at_complementary']:.3g} beside {row['elsewhere']:.3g} (p = {row['p_value']:.2g}, "
        f"{row['complementary']:.0f} pairs)"
    )


def _clusters(table: pd.DataFrame, primary: str) -> Iterator[str]:
    weak = table[~(table["low"] > table["chance"])]
    if len(weak):
        named = (
            f"{row.branch} by {row.kind} {number(_known(row.stability))} (chance {number(_known(row.chance))})"
            for row in weak.itertuples()
        )
        yield (
            f"clusters of k-mers ({primary}) that come out again no more than unrelated ones (adjusted Rand index): "
            f"{', '.join(named)}"
        )
