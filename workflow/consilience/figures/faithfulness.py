"""How far the attributions of a model can be trusted: a page of panels, drawn from its two tables."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from consilience.attribution.names import METHOD_FACTS, TOLERANCE
from consilience.figures.style import (
    BLACK,
    GRAY,
    METHOD_COLORS,
    entitle,
    legend_width,
    new_figure,
    number,
    shorten,
    styled,
)
from consilience.figures.training import CONFUSION_COLORS

CONTROLS = {"random": (0, (4, 2)), "magnitude_of_input": (0, (1, 1.2))}
KINDS = {"deletion": "change that is left", "insertion": "change that is reached"}
# The axis of a curve is the square root of the share: what matters happens among the first few features.
SHARES = {0: "0", 0.01: "1 %", 0.1: "10 %", 0.3: "30 %", 0.5: "50 %", 1: "100 %"}
DASHED = (0, (4, 3))
CROWDED = 8  # methods, beyond which columns of the matrix have numbers for names
FAR = 2.5  # values that an axis shows beyond 1 before it becomes logarithmic there
WIDTH = 10.4  # inches
UNSIGNED = tuple(name for name, facts in METHOD_FACTS.items() if not facts.signed)


@styled
def faithfulness_panels(
    scores: pd.DataFrame, curves: pd.DataFrame, model: str, unsigned: Collection[str] = UNSIGNED
) -> Figure:
    """Draw deletion, insertion and randomization curves, their gain over chance, and agreement; a color a method.

    `scores` and `curves` are the tables of `faithfulness.measure`; `unsigned` methods tell sizes alone.
    """
    methods = list(curves.loc[curves["curve"] == "randomization", "method"].unique())
    colors = dict(zip(methods, cycle(METHOD_COLORS))) | dict.fromkeys(CONTROLS, GRAY)
    columns = max(1, int((WIDTH - 0.4) / legend_width(colors)))
    lines = math.ceil(len(colors) / columns)
    figure = new_figure(WIDTH, 6.6 + 0.2 * (lines + max(0, len(methods) - 4)))
    top, panels = _rooms(figure, lines)
    for axes, (kind, label) in zip(panels[0, : len(KINDS)], KINDS.items(), strict=True):
        _curves(axes, curves[curves["curve"] == kind], colors)
        axes.set(title=kind.capitalize(), xlabel="features replaced, in the method's order", ylabel=label)
    _randomization(panels[0, 2], curves[curves["curve"] == "randomization"], scores, colors)
    _gain(panels[1, 0], scores, colors, unsigned)
    _methods(panels[1, 1], scores[scores["check"] == "methods"], methods)
    _seeds(panels[1, 2], scores[scores["check"] == "seeds"], methods, colors)
    handles = [
        Line2D([], [], color=color, linestyle=CONTROLS.get(name, "-"), label=_plain(name))
        for name, color in colors.items()
    ]
    top.legend(handles=handles, loc="center left", ncols=columns, handlelength=2.2, borderaxespad=0)
    entitle(figure, f"How far the attributions of {model} can be trusted", _caption(scores))
    return figure


def _rooms(figure: Figure, lines: int) -> tuple[Axes, np.ndarray]:
    """Return room for a legend of so many lines over all panels, and two rows of three panels."""
    grid = figure.add_gridspec(3, 3, height_ratios=[0.06 * lines, 1, 1])
    top = figure.add_subplot(grid[0, :])
    top.set_axis_off()
    return top, np.array([[figure.add_subplot(grid[row, column]) for column in range(3)] for row in (1, 2)])


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _curves(axes: Axes, rows: pd.DataFrame, colors: Mapping[str, str]) -> None:
    for (name, color), width in zip(colors.items(), _widths(len(colors)), strict=True):
        line = rows[rows["method"] == name]
        control = name in CONTROLS
        axes.plot(
            np.sqrt(line["position"]),
            line["value"],
            color=color,
            linestyle=CONTROLS.get(name, "-"),
            marker="" if control else "o",
            linewidth=1.4 if control else width,
            markersize=1.7 * width,
            markeredgewidth=0,
            zorder=2 if control else 3,
        )
    _compress(axes.yaxis, rows["value"])
    for level in (0, 1):
        axes.axhline(level, color=GRAY, linewidth=0.5, zorder=1)
    axes.set_xticks(np.sqrt(list(SHARES)), list(SHARES.values()))
    axes.grid()


def _widths(lines: int) -> np.ndarray:
    """Return falling widths, so that a line which another covers still shows on both sides."""
    return np.linspace(2.6, 1.0, lines)


def _randomization(axes: Axes, rows: pd.DataFrame, scores: pd.DataFrame, colors: Mapping[str, str]) -> None:
    """Draw the correlation after each stage; beside the last one its interval, and what the input alone gives."""
    last = scores[scores["check"] == "randomization"].set_index("method")
    stages = rows.drop_duplicates("position")
    end = stages["position"].max()
    for name, width in zip(last.index, _widths(len(colors))[: len(last)], strict=True):
        line, color = rows[rows["method"] == name], colors[name]
        style = {"linewidth": width, "marker": "o", "markersize": 1.7 * width, "markeredgewidth": 0}
        axes.plot(line["position"], line["value"], color=color, zorder=3, **style)
        axes.vlines(end, last["low"][name], last["high"][name], color=color, linewidth=2.4, zorder=3)
        level = last["chance"][name]
        axes.plot(end + 1, level, color=color, marker="o", markersize=4.5, markerfacecolor="none", zorder=3)
    axes.axvline(end + 0.5, color="#4D4D4D", linewidth=0.7)
    axes.axhline(0, color=GRAY, linewidth=0.5, zorder=1)
    labels = [shorten(label, 20) for label in stages["label"]]
    places = [*stages["position"], end + 1]
    axes.set_xticks(places, [*labels, "input alone"], rotation=30, ha="right", rotation_mode="anchor")
    axes.set(title="Randomized parameters", ylabel="rank correlation", xlim=(-0.3, end + 1.4))
    axes.grid(axis="y")


def _gain(axes: Axes, scores: pd.DataFrame, colors: Mapping[str, str], unsigned: Collection[str]) -> None:
    """Draw by how much each ranking is better than a random one."""
    rows = scores[scores["metric"] == "area_minus_random"]
    names = list(rows["method"].unique())
    for kind, sign, marker, shift in (("deletion", -1, "o", -0.15), ("insertion", 1, "D", 0.15)):
        part = rows[rows["check"] == kind].set_index("method").loc[names]
        _dots(axes, sign * part[["value", "low", "high"]], [colors[name] for name in names], marker, shift)
    axes.update_datalim([(0, 0)], updatey=False)
    axes.autoscale_view()
    _compress(axes.xaxis, rows[["value", "low", "high"]])
    axes.axvline(0, color=GRAY, linewidth=0.9, linestyle=DASHED, zorder=1)
    axes.set(
        title="Gain over a random ranking", xlabel="difference of areas, right is better:\n● deletion   ◆ insertion"
    )
    # A ranking that knows which way features push compares only with others that do.
    _name_rows(axes, [f"{name} (by size)" if name in unsigned else name for name in names])


def _methods(axes: Axes, rows: pd.DataFrame, methods: list[str]) -> None:
    """Draw a matrix: rank correlation below the diagonal, Jaccard index above it."""
    axes.set_title("Agreement among methods")
    if rows.empty:
        _say(axes, "one method: none to agree with")
        return
    matrix = np.full((len(methods), len(methods)), np.nan)
    for row in rows.itertuples():
        first, second = sorted((methods.index(row.method), methods.index(row.other)))
        place = (second, first) if row.metric == "spearman" else (first, second)
        matrix[place] = row.value
    axes.imshow(np.nan_to_num(matrix), cmap=CONFUSION_COLORS, vmin=0, vmax=1, aspect="auto")
    crowded = len(methods) > CROWDED
    for (row, column), value in np.ndenumerate(matrix):
        text = "" if row == column else number(value, ".2f")
        # Without the leading zero, three characters fit in a narrow cell.
        text = text.replace("0.", ".", 1) if crowded else text
        size = 7 if len(methods) < 7 else 5.5 if not crowded else 5
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color="white" if value > 0.5 else BLACK)
    names = [shorten(_plain(name), 22) for name in methods]
    if crowded:
        axes.set_xticks(range(len(names)), [str(place) for place in range(1, len(names) + 1)])
        names = [f"{name}  {place}" for place, name in enumerate(names, start=1)]
    else:
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    jaccard = rows[rows["metric"] != "spearman"].iloc[0]
    top = jaccard["metric"].rpartition("_")[2]
    axes.set_xlabel(
        f"below the diagonal: rank correlation\n"
        f"above: Jaccard of the top {top} (chance {number(jaccard['chance'], '.2g')})"
    )


def _seeds(axes: Axes, rows: pd.DataFrame, methods: list[str], colors: Mapping[str, str]) -> None:
    axes.set_title("Agreement among members")
    if rows.empty:
        _say(axes, "one member: none to agree with")
        return
    jaccard = next(metric for metric in rows["metric"] if metric != "spearman")
    for metric, marker, shift in (("spearman", "o", -0.15), (jaccard, "D", 0.15)):
        part = rows[rows["metric"] == metric].set_index("method").loc[methods]
        _dots(axes, part[["value", "low", "high"]], [colors[name] for name in methods], marker, shift)
    chance = rows.loc[rows["metric"] == jaccard, "chance"].iloc[0]
    axes.axvline(chance, color=GRAY, linewidth=0.9, linestyle=DASHED, zorder=1)
    axes.set_xlim(min(-0.03, rows["low"].min() - 0.03), 1.03)
    axes.set_xlabel(
        f"mean over pairs of members:\n● rank correlation   ◆ Jaccard of the top {jaccard.rpartition('_')[2]}"
    )
    _name_rows(axes, methods)


def _dots(axes: Axes, rows: pd.DataFrame, colors: list[str], marker: str, shift: float) -> None:
    """Draw value and interval of every row, from top to bottom."""
    for place, (row, color) in enumerate(zip(rows.itertuples(), colors, strict=True)):
        axes.plot([row.low, row.high], [place + shift] * 2, color=color, linewidth=1.2, solid_capstyle="butt", zorder=2)
        axes.plot(row.value, place + shift, marker=marker, color=color, markersize=4.5, markeredgewidth=0, zorder=3)


def _name_rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), [shorten(_plain(name), 22) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _compress(axis: Axis, values: pd.DataFrame | pd.Series) -> None:
    """Make an axis logarithmic beyond 1 either way, where values go far beyond: signed methods dwarf the others."""
    largest = np.nanmax(np.abs(values.to_numpy()), initial=0)
    if largest <= FAR:
        return
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if tick <= 1.2 * largest]
    getattr(axis.axes, f"set_{axis.axis_name}scale")("symlog", linthresh=1, linscale=0.8)
    axis.set_major_locator(FixedLocator([*(-tick for tick in ticks[::-1]), 0, *ticks]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GRAY)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _percent(share: float) -> str:
    """Write a share with two digits, and no exponent where it is large."""
    return f"{number(100 * share, '.0f' if share > 0.1 else '.2g')} %"


def _caption(scores: pd.DataFrame) -> str:
    """Say what was measured on what, and how far sums of attributions miss what they promise."""
    sizes = scores.drop_duplicates("check").set_index("check")[["samples", "groups"]].to_dict("index")
    curves, randomized = sizes["deletion"], sizes["randomization"]
    lines = [
        f"{curves['samples']} test samples of {curves['groups']} groups (randomization: {randomized['samples']} of "
        f"{randomized['groups']}); bars are 95 % intervals, resampling groups. 1 is F(x) - F(reference), oriented; "
        "curves leave 0 to 1 where features that push the other way go last. Signed methods are ranked by what pushes "
        "the way the prediction went, the others by size: the two kinds do not compare. Horizontal axis of the curves: "
        "square root of the share. "
        "Beyond 1, axes may be logarithmic.",
    ]
    complete = scores[scores["check"] == "completeness"]
    # Of a network that ignores its inputs no relative gap is defined; a pivot_table would leave the column out.
    gaps = complete.pivot(index="method", columns="metric", values="value").loc[complete["method"].unique()]
    parts = [
        f"{_plain(name)} {_percent(row.relative_gap)} ({_percent(row.worst_relative_gap)})"
        f"{' ABOVE TOLERANCE' if row.relative_gap > TOLERANCE else ''}"
        for name, row in zip(gaps.index, gaps.itertuples(), strict=True)
    ]
    if parts:
        lines.append(
            "Completeness, the gap between the sum and F(x) - F(reference) over the median change, median (95th "
            f"percentile): {'; '.join(parts)}."
        )
    return "\n".join(lines)
