"""What the attributions of atoms mean for k-mers and attributes: pushed on to raw features, by direction and branch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from consilience.domains.variants.marks import COLORS, empty_figure, handle, key_panel, percent, say
from consilience.figures.lists import BAR
from consilience.figures.style import BLACK, GRAY, entitle, lighten, new_figure, shorten, styled

LISTED = 15  # raw features of either direction
VOTERS, LINEAR = "voters", "logistic"
MARKS = ("o", "s", "^", "v", "P", "X", "*", "h")
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
    lines = max(4, *(len(rows) for rows in lists.values()))
    branches = branches[branches["model"] == VOTERS].reset_index(drop=True)
    below = 0.65 + 0.22 * len(branches)
    figure = new_figure(7.2, 0.9 + 1.15 * BAR * lines + below + 1.4)
    grid = figure.add_gridspec(3, 2, height_ratios=(0.1, 1.15 * BAR * lines + 0.5, below))
    marks = dict(zip([*voters, LINEAR], MARKS, strict=False))
    _keys(figure.add_subplot(grid[0, :]), marks, _planted(mean).any())
    reach = 1.06 * table[table["feature"].isin(pd.concat(lists.values())["feature"])]["magnitude"].max()
    for place, (name, rows) in enumerate(lists.items()):
        _bars(figure.add_subplot(grid[1, place]), rows, table, marks, name, lines, reach)
    _branches(figure.add_subplot(grid[2, :]), branches)
    entitle(figure, _message(mean, recovery), _caption(recovery))
    return figure


def _planted(rows: pd.DataFrame) -> pd.Series:
    return rows["planted"].fillna(0).astype(float) != 0


def _keys(axes: Axes, marks: dict[str, str], planted: bool) -> None:
    found = [handle(name, BLACK if name != LINEAR else GRAY, mark, name != LINEAR) for name, mark in marks.items()]
    found += [handle("✓ planted", BLACK, "")] if planted else []
    key_panel(axes, found)


def _bars(
    axes: Axes, rows: pd.DataFrame, table: pd.DataFrame, marks: dict[str, str], direction: str, lines: int, reach: float
) -> None:
    """Draw the mean over voters as bars, and every model's own as marks; a model of the other sign stands left of 0."""
    axes.set_title(f"For {'true' if direction == 'positive' else 'false'} calls")
    if rows.empty:
        say(axes, "no raw feature speaks\nfor these calls")
        return
    color, planted = COLORS[direction], _planted(rows).to_numpy()
    axes.barh(range(len(rows)), rows["magnitude"], color=lighten(color, 0.55), height=0.74)
    for model, mark in marks.items():
        own = table[table["model"] == model].set_index("feature")["average_attribution"].reindex(rows["feature"])
        own = SIDES[direction] * own.to_numpy(float)
        face, edge = ("white", GRAY) if model == LINEAR else (color, color)
        axes.plot(own, range(len(rows)), mark, color=edge, markerfacecolor=face, markersize=3.2, linestyle="", zorder=3)
    names = [f"{shorten(name, 22)}{' ✓' if mark else ''}" for name, mark in zip(rows["feature"], planted, strict=True)]
    axes.set_yticks(range(len(rows)), names)
    for label, mark in zip(axes.get_yticklabels(), planted, strict=True):
        label.set_fontweight("bold" if mark else "normal")
    axes.set_ylim(lines - 0.4, -0.6)
    axes.axvline(0, color=BLACK, linewidth=0.7)
    axes.set_xlim(min(0, 1.06 * axes.dataLim.x0), reach)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x")
    axes.set_xlabel("mean |contribution| (log-odds of TP)")


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
    axes.set_xlim(0, 1.25 * max(share.max(), expected.max()))
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_title("Share of the attribution, by branch, each summed first (mark: share of the features)")


def _message(mean: pd.DataFrame, recovery: pd.DataFrame | None) -> str:
    first = mean.loc[mean["magnitude"].idxmax(), "feature"]
    if recovery is None or recovery.empty:
        return f"Pushed on to raw features, most attribution has {first}"
    row = recovery[(recovery["model"] == VOTERS) & (recovery["signal"] == "all")]
    if row.empty or not np.isfinite(row["average_precision"].iloc[0]):
        return f"Pushed on to raw features, most attribution has {first}"
    found, chance = row["average_precision"].iloc[0], row["chance"].iloc[0]
    return f"How raw attributions find what was planted: average precision {found:.2f} (chance: {chance:.2f})"


def _caption(recovery: pd.DataFrame | None) -> str:
    known = "; ✓: planted in the simulated calls" if recovery is not None else ""
    return (
        "Integrated gradients of the networks, from no atom on, pushed through the dictionary's encoder on to "
        "k-mers and attributes. Bars: mean over voting networks, marks: each, and the logistic model of "
        f"atoms{known}. The sign is that of the mean slope. Below, a branch's contributions to a call are summed "
        "first; AUROC is of that sum, over all calls explained. k-mers are shares of a sequence: where one rises "
        "others fall.\nIt looks bad where the marks of networks lie far apart, and where bars are all alike: then "
        "atoms are of everything at once."
    )
