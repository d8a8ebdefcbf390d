"""Bars of the top features of a model, and of the drivers that models agree on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from consilience.figures.style import (
    BLACK,
    GRAY,
    SIGN_COLORS,
    entitle,
    grid_shape,
    lighten,
    new_figure,
    panel_grid,
    shorten,
    styled,
)

BAR = 0.155  # inches a bar, which keeps labels of 7 points apart
SHOWN = 8  # bars a panel where there are several targets


def shown_bars(targets: Sequence[str], top: int) -> int:
    """Return how many bars a list gets: all of one target's, eight where there are several targets."""
    return top if len(targets) == 1 else min(top, SHOWN)


def _bars(axes: Axes, labels: Sequence[str], widths: pd.Series, colors: Sequence[object], slots: int) -> None:
    """Draw horizontal bars, the first on top; a short list leaves slots empty, so that panels line up."""
    axes.barh(range(len(labels)), widths, color=colors, height=0.78)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(max(slots, 1) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="x")
    if not len(labels):
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center", color=GRAY)
        axes.set_xticks([])


@styled
def signed_bars(
    lists: Mapping[str, pd.DataFrame],
    targets: Sequence[str],
    top: int,
    heading: str,
    caption: str,
    value: str = "average_attribution",
    label: str = "average attribution",
) -> Figure:
    """Draw the top negative and positive features back to back, a pair of panels a target, each pair on one scale.

    `lists` maps positive and negative to tables of target, rank, feature and the column named `value`, whose axis is
    named `label`; whiskers show `{value}_sd` where the table has it.
    """
    shown = shown_bars(targets, top)
    rows, columns = grid_shape(len(targets), 2)
    figure = new_figure(7.0 if columns == 1 else 4.8 * columns, rows * (BAR * shown + 0.7) + 0.7)
    axes = figure.subplots(rows, 2 * columns, squeeze=False).reshape(-1, 2)
    for unused in axes[len(targets) :].ravel():
        unused.set_axis_off()
    for index, (target, pair) in enumerate(zip(targets, axes[: len(targets)], strict=True)):
        counts = []
        for direction, panel in zip(("negative", "positive"), pair, strict=True):
            one = lists[direction]
            one = one[one["target"] == target].sort_values("rank", kind="stable")
            counts.append(_count(min(shown, len(one)), len(one), direction, top))
            _signed_panel(panel, one.head(shown), value, direction, shown, 26 if columns == 1 else 16)
            # Under the last pair of a column the label serves all above it.
            panel.set_xlabel(label if index + columns >= len(targets) else "")
        _mirror(pair)
        _name_pair(pair, target, counts, len(targets))
    entitle(figure, heading, caption)
    return figure


def _name_pair(pair: Sequence[Axes], target: str, counts: Sequence[str], targets: int) -> None:
    if targets == 1:
        for panel, count in zip(pair, counts, strict=True):
            panel.set_title(count)
    else:
        for panel in pair:
            panel.locator_params(axis="x", nbins=3)
        pair[0].set_title(shorten(target))
        pair[1].set_title(", ".join(counts), loc="right", fontsize=6.5, fontweight="normal")


def _count(shown: int, listed: int, direction: str, top: int) -> str:
    """Say how many bars there are, and why fewer than the list or than its full length."""
    if shown < listed:
        return f"{shown} of {listed} {direction}"
    return f"{listed} {direction}" + (f" (no more of {top})" if listed < top else "")


def _signed_panel(axes: Axes, rows: pd.DataFrame, value: str, direction: str, slots: int, length: int) -> None:
    labels = [shorten(feature, length) for feature in rows["feature"]]
    _bars(axes, labels, rows[value], [SIGN_COLORS[direction]] * len(rows), slots)
    if f"{value}_sd" in rows and rows[f"{value}_sd"].notna().any():
        spread = rows[f"{value}_sd"]
        axes.errorbar(rows[value], range(len(rows)), xerr=spread, fmt="none", ecolor=BLACK, elinewidth=0.6)


def _mirror(pair: Sequence[Axes]) -> None:
    """Put both panels on one scale, zero in the middle, the negative one with its labels on the right."""
    reach = max(abs(limit) for axes in pair for limit in axes.get_xlim())
    pair[0].set_xlim(-reach, 0)
    pair[1].set_xlim(0, reach)
    pair[0].yaxis.tick_right()
    pair[0].tick_params(axis="y", length=0)
    pair[0].spines["left"].set_visible(False)
    pair[0].spines["right"].set_visible(True)


@styled
def driver_bars(drivers: pd.DataFrame, direction: str, targets: Sequence[str], top: int, models: int) -> Figure:
    """Draw the top drivers of one direction by average attribution, a panel a target, labelled `JUN (6)`.

    `drivers` is the table of top drivers; the number in a label is total_models. Full color marks what the linear
    model calls on the same side too (in_overlap).
    """
    chosen = drivers[drivers["direction"] == direction]
    most = int(chosen["target"].value_counts().max()) if len(chosen) else 1
    shown = min(shown_bars(targets, top), most)
    figure, panels = panel_grid(len(targets), 2, 5.0 if len(targets) == 1 else 4.2, BAR * shown + 0.7)
    color = SIGN_COLORS[direction]
    for target, axes in zip(targets, panels, strict=True):
        rows = chosen[chosen["target"] == target].sort_values("rank", kind="stable")
        axes.set_title(f"{shorten(target)}: {_count(min(shown, len(rows)), len(rows), direction, 0)}")
        rows = rows.head(shown)
        labels = [f"{shorten(row.feature)} ({row.total_models})" for row in rows.itertuples()]
        colors = [color if both else lighten(color) for both in rows["in_overlap"]]
        _bars(axes, labels, rows["average_attribution"], colors, shown)
        axes.set_xlabel("average attribution")
        if direction == "negative":
            axes.invert_xaxis()
    handles = [Patch(color=color, label="linear model too"), Patch(color=lighten(color), label="networks only")]
    figure.legend(handles=handles, loc="outside upper right", ncols=2)
    entitle(
        figure,
        f"Top {direction} drivers",
        f"Bars: average attribution of the consensus of {models} models. In brackets: models that list the feature.",
    )
    return figure
