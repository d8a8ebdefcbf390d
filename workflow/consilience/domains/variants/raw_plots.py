"""What the attributions of atoms mean for raw features that they are pushed on to, by direction and branch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from consilience.domains.variants.marks import COLORS, handle, key_panel, percent
from consilience.domains.variants.raw_recovery import ALL, LINEAR, MARGINAL, VOTERS
from consilience.figures.lists import BAR
from consilience.figures.style import BLACK, GRAY, empty_figure, entitle, lighten, new_figure, say, shorten, styled

LISTED = 15  # raw features of either direction
WIDTH = 4.6  # inches: panels stand in one column, which a phone shows at a size that can be read
MARKS, OF_LINEAR = ("o", "s", "^", "v", "P", "X", "*", "h"), "D"
AROUND = 4.4  # inches of all that stands around panels
ROOM = 0.04  # of an axis, between its marks and its ends
KEYS = 30  # letters of names in one line
EMBEDDING = "embedding"  # the branch of dimensions, which have no words of their own
TITLE = "What the atoms' attributions mean for raw features"
SIDES = {"positive": 1, "negative": -1}


@styled
def raw_attribution_bars(
    table: pd.DataFrame, branches: pd.DataFrame, voters: Sequence[str], recovery: pd.DataFrame | None = None
) -> Figure:
    """Draw the raw features of largest attribution, those that speak for true calls beside those for false ones.

    `table` is raw_attributions.tsv, `branches` raw_branches.tsv, `recovery` raw_recovery.tsv where the truth is known.
    """
    mean = table[table["model"] == VOTERS]
    if mean.empty or not (mean["magnitude"] > 0).any():
        return empty_figure(TITLE, "No raw feature has an attribution.")
    lists = {
        name: mean[sign * mean["average_attribution"] > 0].nlargest(LISTED, "magnitude", keep="first")
        for name, sign in SIDES.items()
    }
    branches = branches[branches["model"] == VOTERS].reset_index(drop=True)
    marks = {name: MARKS[place % len(MARKS)] for place, name in enumerate(voters)} | {LINEAR: OF_LINEAR}
    keys = _keys(marks, _planted(mean).any())
    columns = max(1, len(keys) * KEYS // max(KEYS, sum(len(key.get_label()) for key in keys)))
    bars = [1.15 * BAR * max(2, len(rows)) for rows in lists.values()]
    heights = [0.15 * -(-len(keys) // columns), *bars, 0.22 * len(branches)]
    figure = new_figure(WIDTH, sum(heights) + AROUND)
    grid = figure.add_gridspec(4, 1, height_ratios=heights)
    key_panel(figure.add_subplot(grid[0]), keys, columns)
    for place, (name, rows) in enumerate(lists.items(), start=1):
        _bars(figure.add_subplot(grid[place]), rows, table, marks, name)
    panels = [axes for axes in figure.axes[1:] if axes.patches]
    ends = np.array([axes.dataLim.intervalx for axes in panels])
    low, high = ends.min(), ends.max()
    for axes in panels:
        axes.set_xlim(low - ROOM * (high - low), high + ROOM * (high - low))
    _branches(figure.add_subplot(grid[3]), branches)
    entitle(figure, _message(mean, recovery), _caption(recovery, EMBEDDING in set(mean["branch"])))
    return figure


def _planted(rows: pd.DataFrame) -> pd.Series:
    return rows["planted"].fillna(0).astype(float) != 0


def _keys(marks: dict[str, str], planted: bool) -> list[Line2D]:
    found = [handle(name, BLACK if name != LINEAR else GRAY, mark, name != LINEAR) for name, mark in marks.items()]
    return [*found, handle("✓ planted", BLACK, "")] if planted else found


def _bars(axes: Axes, rows: pd.DataFrame, table: pd.DataFrame, marks: dict[str, str], direction: str) -> None:
    """Draw the mean over voters as bars, and every model's own as marks; a model of the other sign stands left of 0."""
    axes.set_title(f"For {'true' if direction == 'positive' else 'false'} calls")
    if rows.empty:
        say(axes, "no raw feature speaks for these calls")
        return
    color, planted = COLORS[direction], _planted(rows).to_numpy()
    axes.barh(range(len(rows)), rows["magnitude"], color=lighten(color, 0.55), height=0.74)
    for model, mark in marks.items():
        own = table[table["model"] == model].set_index("feature")["average_attribution"].reindex(rows["feature"])
        own = SIDES[direction] * own.to_numpy(float)
        face, edge = ("white", GRAY) if model == LINEAR else (color, color)
        axes.plot(own, range(len(rows)), mark, color=edge, markerfacecolor=face, markersize=3.2, linestyle="", zorder=3)
    names = [f"{shorten(name, 26)}{' ✓' if mark else ''}" for name, mark in zip(rows["feature"], planted, strict=True)]
    axes.set_yticks(range(len(rows)), names)
    for label, mark in zip(axes.get_yticklabels(), planted, strict=True):
        label.set_fontweight("bold" if mark else "normal")
    axes.set_ylim(max(2, len(rows)) - 0.4, -0.6)
    axes.axvline(0, color=BLACK, linewidth=0.7)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x")
    axes.set_xlabel("mean contribution, with the sign of its slope\n(log-odds of TP)")


def _branches(axes: Axes, branches: pd.DataFrame) -> None:
    """Draw the share of the attribution that every branch has, beside its share of the features."""
    share, expected = branches["share"], branches["features"] / branches["features"].sum()
    axes.barh(range(len(branches)), share, color="#8FBFA8", height=0.66)
    axes.plot(expected, range(len(branches)), "|", color=BLACK, markersize=11, markeredgewidth=1.4, linestyle="")
    for place, (value, area) in enumerate(zip(share, branches["auroc"], strict=True)):
        axes.annotate(
            f"{percent(value)}, AUROC {'undefined' if np.isnan(area) else f'{area:.2f}'}",
            (max(value, expected.iloc[place]), place),
            (5, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    names = [f"{row.branch} ({row.features:,})" for row in branches.itertuples()]
    axes.set_yticks(range(len(branches)), names)
    axes.set_ylim(len(branches) - 0.4, -0.6)
    axes.set_xlim(0, 1.6 * max(share.max(), expected.max()))
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_title("By branch, each summed first")
    axes.set_xlabel("share of the attribution (mark: of the features)")


def _message(mean: pd.DataFrame, recovery: pd.DataFrame | None) -> str:
    first = mean.loc[mean["magnitude"].idxmax(), "feature"]
    if recovery is None or recovery.empty:
        return f"Pushed on to raw features, most attribution has {first}"
    row = recovery[(recovery["model"] == VOTERS) & (recovery["signal"] == ALL)]
    if row.empty or not np.isfinite(row["average_precision"].iloc[0]):
        return f"Pushed on to raw features, most attribution has {first}"
    found, chance = row["average_precision"].iloc[0], row["chance"].iloc[0]
    alone = recovery[(recovery["model"] == MARGINAL) & (recovery["signal"] == ALL)]["average_precision"]
    beside = f"; class means of single features: {alone.iloc[0]:.2f}" if (alone > found).any() else ""
    return f"How raw attributions find what was planted: average precision {found:.2f} (chance: {chance:.2f}{beside})"


def _caption(recovery: pd.DataFrame | None, embedding: bool) -> str:
    known = "; ✓: planted in the simulated calls" if recovery is not None else ""
    named = "the dimensions of the embedding" if embedding else "k-mers and attributes"
    shares = "" if embedding else " k-mers are shares of a sequence: where one rises others fall."
    return (
        "Integrated gradients of the networks, from no atom on, pushed through the dictionary's encoder on to "
        f"{named}. Bars: mean over voting networks, marks: each, and the logistic model of atoms{known}. Sizes are "
        "means of |contribution|, signs those of the mean slope: a mark left of 0 disagrees in sign. Below, a "
        "branch's contributions to a call are summed first; AUROC is of that sum, over all calls explained."
        f"{shares}\nIt looks bad where the marks of networks lie far apart, and where bars are all alike: then "
        "atoms are of everything at once."
    )
