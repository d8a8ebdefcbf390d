"""What methods say by outcome, and which k-mers speak otherwise in one group of pairs than in another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from consilience.domains.mirna.colors import BRANCH_NAMES, words
from consilience.domains.mirna.groups import COMPARISONS, FEWEST, OUTCOMES
from consilience.domains.mirna.notes import SIGNIFICANT
from consilience.domains.mirna.prepare import BRANCHES
from consilience.domains.mirna.shown import Shown
from consilience.figures.style import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    NEGATIVE,
    ORANGE,
    POSITIVE,
    PURPLE,
    SKY,
    VERMILLION,
    entitle,
    lighten,
    new_figure,
    number,
    styled,
)

BRANCH_COLORS = dict(zip(BRANCHES, (PURPLE, GREEN), strict=True))
OUTCOME_COLORS = dict(zip(OUTCOMES, (VERMILLION, ORANGE, BLUE, SKY), strict=True))
BARS = 10


@styled
def outcome_panels(outcomes: pd.DataFrame, comparison: pd.DataFrame, shown: Shown) -> Figure:
    """Draw attributions by outcome, and the k-mers of both comparisons; the tables are of these names."""
    own = outcomes[outcomes["model"] == shown.model]
    methods = list(dict.fromkeys(own["method"]))
    figure = new_figure(9.8, 5.2 + 0.14 * len(methods))
    top = figure.subplots(2, 2, height_ratios=(0.9 + 0.09 * len(methods), 1.3))
    _summed(top[0, 0], own[own["method"] == shown.primary], shown)
    _shares(top[0, 1], own, methods)
    rows = comparison[(comparison["model"] == shown.model) & (comparison["method"] == shown.primary)]
    for axes, name in zip(top[1], COMPARISONS, strict=True):
        _differences(axes, rows[rows["comparison"] == name], name)
    caption = (
        f"{shown.model}, {len(shown.table)} test pairs; {words(shown.primary)} where no method is named. Points: "
        "pairs; lines: means. Differences of means over the pairs that hold a k-mer, within families of miRNAs; tested "
        f"where both groups of {FEWEST} families hold it (t test over families); dark: q < {SIGNIFICANT} (Benjamini & "
        f"Hochberg). {said_of(rows)}"
    )
    entitle(figure, f"What is attributed, by outcome ({shown.model})", caption)
    return figure


def said_of(rows: pd.DataFrame) -> str:
    """Say whether any k-mer of comparison.tsv differs."""
    if rows.empty:
        return f"Nothing is tested: no k-mer is held by both groups of {FEWEST} families."
    count = int((rows["q_value"] < SIGNIFICANT).sum())
    return f"{count} k-mer{'' if count == 1 else 's'} significant." if count else "No k-mer is significant."


def _summed(axes: Axes, rows: pd.DataFrame, shown: Shown) -> None:
    """Draw the summed attribution of every pair by outcome and branch, with the table's mean."""
    here = [name for name in OUTCOMES if name in set(rows["outcome"])]
    for shift, branch in zip((-0.2, 0.2), BRANCHES, strict=True):
        sums = shown.maps[shown.primary][branch].reshape(len(shown.table), -1).sum(axis=1)
        for place, name in enumerate(here):
            values = np.sort(sums[shown.table["outcome"] == name])
            spread = 0.13 * np.linspace(-1, 1, len(values)) if len(values) > 1 else np.zeros(1)
            order = np.argsort(np.arange(len(values)) * 0.618 % 1, kind="stable")
            axes.plot(
                place + shift + spread[order], values, "o", color=lighten(BRANCH_COLORS[branch], 0.5), markersize=2.6
            )
            mean = rows.loc[(rows["outcome"] == name) & (rows["branch"] == branch), "mean_attribution"]
            if len(mean):
                axes.plot(
                    [place + shift - 0.16, place + shift + 0.16],
                    [mean.iloc[0]] * 2,
                    color=BRANCH_COLORS[branch],
                    lw=2.2,
                )
    counts = rows.drop_duplicates("outcome").set_index("outcome")["samples"]
    axes.set_xticks(range(len(here)), [f"{name.replace(' ', chr(10))}\n(n = {counts[name]})" for name in here])
    axes.axhline(0, color=GRAY, linewidth=0.6, zorder=0)
    axes.set(title="Summed attribution of a pair", ylabel=words(shown.primary))
    handles = [Line2D([], [], color=color, lw=2.2, label=BRANCH_NAMES[name]) for name, color in BRANCH_COLORS.items()]
    axes.legend(handles=handles, loc="best")


def _shares(axes: Axes, rows: pd.DataFrame, methods: Sequence[str]) -> None:
    """Draw the miRNA's share of every method's absolute attribution, by outcome."""
    own = rows[rows["branch"] == BRANCHES[0]]
    axes.axvline(0.5, color=GRAY, linewidth=0.8, linestyle="--", zorder=1)
    for shift, (name, color) in zip((-0.24, -0.08, 0.08, 0.24), OUTCOME_COLORS.items(), strict=True):
        part = own[own["outcome"] == name]
        places = [methods.index(method) + shift for method in part["method"]]
        axes.plot(part["share"], places, "o", color=color, markersize=3.4, label=name)
    axes.set_yticks(range(len(methods)), [words(name) for name in methods])
    axes.set(xlim=(0, 1), ylim=(len(methods) - 0.4, -0.6), title="The miRNA's share of absolute attribution")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.legend(loc="best", handletextpad=0.1, labelspacing=0.25)


def _differences(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    first, other = name.split(" less ")
    axes.set_title(f"{first.capitalize()} less {other} pairs")
    if rows.empty:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        text = f"not tested: no k-mer is held\nby both groups of {FEWEST} families"
        axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=GRAY)
        return
    listed = rows.sort_values(["p_value", "feature"], kind="stable").head(BARS)
    colors = [
        (POSITIVE if row.difference > 0 else NEGATIVE)
        if row.q_value < SIGNIFICANT
        else lighten(POSITIVE if row.difference > 0 else NEGATIVE)
        for row in listed.itertuples()
    ]
    axes.barh(range(len(listed)), listed["difference"], color=colors, height=0.72)
    axes.set_yticks(range(len(listed)), listed["feature"])
    axes.set_ylim(max(len(listed), 4) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.axvline(0, color=BLACK, linewidth=0.6)
    axes.grid(axis="x")
    most = float(listed["difference"].abs().max()) or 1.0
    axes.set_xlim(-1.15 * most, 1.6 * most)
    for place, value in enumerate(listed["q_value"]):
        axes.text(1.58 * most, place, f"q = {number(value, '.2g')}", ha="right", va="center", fontsize=7)
    count = int((rows["q_value"] < SIGNIFICANT).sum())
    said = f"{count} of {len(rows)} significant" if count else f"none of {len(rows)} significant"
    few, many = rows["families"].min(), rows["families"].max()
    families = f"{few} families" if few == many else f"{few} to {many} families"
    axes.set_xlabel(f"difference of mean attributions, {families}; {said}")
