"""What a user must know of a miRNA study, a line each: how good the best model is, and whether it looks at the seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from consilience.domains.mirna.positions import NUCLEOTIDE_FALLS
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
    lines += _others(tables["metrics"])
    lines += _signs(tables["drivers"], primary)
    lines += _seed(tables["enrichment"], list(metrics))
    lines += _mutagenesis(tables["agreement"])
    lines += _interactions(tables["interactions"], shown)
    lines += _clusters(tables["cluster_stability"], primary)
    return lines


def _others(table: pd.DataFrame) -> Iterator[str]:
    """Tell the same metrics of what the networks are held against; the class prior says nothing by them."""
    rows = table[(table["kind"] != "network") & (table["predictor"] != "class_prior")]
    for predictor, own in rows.groupby("predictor", sort=False):
        values = own.set_index("metric")[["value", "low", "high"]]
        told = {name: {key: _known(part) for key, part in values.loc[name].items()} for name in TOLD}
        yield f"{predictor}: {', '.join(f'{NAMES[name]} {with_interval(told[name])}' for name in TOLD)}"


def _signs(table: pd.DataFrame, primary: str) -> Iterator[str]:
    """Tell of how many drivers the mean attribution has another sign than the direction they are listed with."""
    for branch, own in table.groupby("branch", sort=False):
        other = int((~own["signs_agree"].astype(bool)).sum())
        if other:
            yield (
                f"{other} of {len(own)} {branch} drivers have a mean attribution ({primary}) of the other sign than "
                "their direction (analysis/drivers.tsv): what they say depends on what else is there"
            )


def _seed(table: pd.DataFrame, models: Sequence[str]) -> Iterator[str]:
    """Tell whether nucleotides 2-8 of the miRNA have more than chance, by the mutagenesis of nucleotides."""
    rows = table[(table["method"] == NUCLEOTIDE_FALLS) & (table["label"] == "pair")]
    for branch, name in (("mirna", "nucleotides 2-8 of the miRNA"), ("site", "the site's match of the seed")):
        own = rows[rows["branch"] == branch].set_index("model")
        told = [_enriched(own.loc[model], model) for model in models if model in own.index]
        if told:
            pairs = own["samples"].max()
            yield f"{name}, share of what mutations change by what their place gives ({pairs} pairs): {'; '.join(told)}"


def _enriched(row: pd.Series, model: str) -> str:
    said, p = against_chance(row)
    interval = with_interval(
        {name: _known(row[key]) for name, key in (("value", "ratio"), ("low", "low"), ("high", "high"))}
    )
    return f"{model} {interval}, {said} (p = {p:.2g})"


def against_chance(row: pd.Series) -> tuple[str, float]:
    """Say whether a row of enrichment.tsv has more than chance, or less, and the p that tells it."""
    if row["p_value"] < SIGNIFICANT:
        return "more than chance", row["p_value"]
    if pd.notna(row["high"]) and row["high"] < 1:
        return "less than chance", row["p_value_less"]
    return "no more than chance", row["p_value"]


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
    by_chance = ~(rows["low"].fillna(rows["value"]) > rows["chance"]).groupby(other).any().loc[means.index]
    chance = rows.groupby(other)["chance"].mean()
    low = means.index[~(means >= LOW) | by_chance]
    if len(low):
        named = (f"{name} (chance {number(_known(chance[name]))})" if by_chance[name] else name for name in low)
        yield f"these hardly agree with mutagenesis (below {LOW}, or no more than the chance told): {', '.join(named)}"


def _list(values: pd.Series) -> str:
    return ", ".join(f"{name} {number(_known(value))}" for name, value in values.items())


def _interactions(table: pd.DataFrame, shown: str) -> Iterator[str]:
    rows = table[table["sample"] == "all"]
    if rows.empty:
        yield "no pair has complementary windows: interactions are not tested"
        return
    row = rows.iloc[0]
    yield (
        f"complementary windows of miRNA and site in {shown} interact {compared(row)}; {row['at_complementary']:.3g} "
        f"beside {row['elsewhere']:.3g}{_parallel(row)}, {row['complementary']:.0f} pairs"
    )


def compared(row: pd.Series) -> str:
    """Say what the row "all" of interactions.tsv tells: more than others, and than on parallel strands, or not."""
    more = f"more than others (p = {row['p_value']:.2g})"
    if not row["p_value"] < SIGNIFICANT:
        return f"no {more}"
    if pd.isna(row["parallel_p_value"]):
        return f"{more}; none are complementary on parallel strands, which would tell pairing from composition"
    parallel = f"than the same letters on parallel strands (p = {row['parallel_p_value']:.2g})"
    if row["parallel_p_value"] < SIGNIFICANT:
        return f"{more} and more {parallel}: the network holds the sequences against each other"
    return f"{more}, but not clearly more {parallel}: composition could explain it"


def _parallel(row: pd.Series) -> str:
    return "" if pd.isna(row["at_parallel"]) else f", {row['at_parallel']:.3g} on parallel strands"


def _clusters(table: pd.DataFrame, primary: str) -> Iterator[str]:
    weak = table[~(table["low"] > table["chance"])]
    if len(weak):
        named = (
            f"{row.branch} by {row.kind} {number(_known(row.stability))} (chance {number(_known(row.chance))}, up to "
            f"{number(_known(row.chance_high))})"
            for row in weak.itertuples()
        )
        yield (
            f"clusters of k-mers ({primary}) that come out again not clearly more than unrelated ones (adjusted Rand "
            f"index): {', '.join(named)}"
        )
