"""Whether the networks see pairing: interactions of windows of both sequences, at complementary ones and elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from consilience.domains.mirna.colors import outline, scale
from consilience.domains.mirna.groups import POSITIVES
from consilience.domains.mirna.notes import compared
from consilience.figures.style import BLACK, GRAY, POSITIVE, entitle, lighten, new_figure, number, styled

AROUND = 8  # windows beside a complementary one
MOST = 40  # pairs in the distribution
LEVEL = 14  # pairs whose names stand side by side

Maps = Mapping[str, tuple[np.ndarray, np.ndarray]]  # by pair: interactions, complementary (miRNA windows, site windows)


def mean_around(maps: Maps) -> tuple[np.ndarray | None, int]:
    """Return the mean interaction around complementary windows, (2 AROUND + 1,) * 2, each pair once, and their number.

    NaN where no pair has windows; None without complementary windows.
    """
    found = []
    for values, complementary in maps.values():
        wide = np.pad(values.astype(float), AROUND, constant_values=np.nan)
        parts = [
            wide[row : row + 2 * AROUND + 1, column : column + 2 * AROUND + 1]
            for row, column in np.argwhere(complementary)
        ]
        if parts:
            found.append(_mean(np.array(parts)))
    return (_mean(np.array(found)), len(found)) if found else (None, 0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis of what is no NaN; NaN where all are."""
    known = np.isfinite(values).sum(axis=0)
    return np.where(known > 0, np.nansum(values, axis=0) / np.maximum(known, 1), np.nan)


def example(maps: Maps, table: pd.DataFrame, chosen: Sequence[str]) -> str:
    """Return the pair whose map is drawn: of those with sheets if one has complementary windows, the least p."""
    rows = table[table["sample"].isin(list(maps))].assign(own=lambda part: part["sample"].isin(chosen))
    rows = rows.assign(has=rows["complementary"] > 0)
    return rows.sort_values(["has", "own", "p_value"], ascending=[False, False, True], kind="stable")["sample"].iloc[0]


def draw_map(axes: Axes, values: np.ndarray, complementary: np.ndarray, window: int) -> object:
    """Draw a pair's interactions (miRNA windows, site windows), complementary windows outlined; returns the image."""
    ends = (0.5, values.shape[1] + 0.5, values.shape[0] + 0.5, 0.5)
    image = axes.imshow(values, extent=ends, aspect="auto", **scale(values, signed=True))
    # The extent counts from 1, outlines from 0.
    outline(axes, np.pad(complementary, ((1, 0), (1, 0))), width=0.9)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel=f"site window of {window}, first nucleotide", ylabel=f"miRNA window of {window},\nfirst nucleotide")
    return image


@styled
def interaction_panels(maps: Maps, table: pd.DataFrame, chosen: Sequence[str], window: int) -> Figure:
    """Draw the mean around complementary windows, a pair's map, and all pairs; `table` is interactions.tsv."""
    figure = new_figure(9.6, 6.2)
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 2.1), height_ratios=(1.15, 1))
    positive = table.loc[table["outcome"].isin(POSITIVES), "sample"]
    _around(figure, figure.add_subplot(grid[0, 0]), {name: maps[name] for name in maps if name in set(positive)})
    name, axes = example(maps, table, chosen), figure.add_subplot(grid[0, 1])
    image = draw_map(axes, *maps[name], window)
    figure.colorbar(image, ax=axes, fraction=0.03, pad=0.01, extend="both")
    row = table[table["sample"] == name].iloc[0]
    p = f", p = {row['p_value']:.2g}" if pd.notna(row["p_value"]) else ", no complementary windows"
    axes.set_title(f"{name} ({row['outcome']}{p})")
    _distribution(figure.add_subplot(grid[1, :]), maps, table)
    caption = (
        "Interaction of two windows: F(both replaced) - F(either replaced) - F(the other) + F(as they are), with F the "
        "log-odds of a pair; positive (orange) where two windows together say more than each alone. Outlined: windows "
        f"of {window} nucleotides that are complementary. p: whether they interact more than after random turns of the "
        "map. Parallel strands: windows that would be complementary were the site read backwards, the same letters, "
        f"which cannot pair. {len(maps)} test pairs; title and mean are of those with label 1."
    )
    entitle(figure, _title(table), caption)
    return figure


def _title(table: pd.DataFrame) -> str:
    rows = table[table["sample"] == "all"]
    if rows.empty:
        return "Interactions of windows: no pair has complementary ones, nothing is tested"
    row = rows.iloc[0]
    pairs = f"{row['complementary']:.0f} pair{'' if row['complementary'] == 1 else 's'}"
    return f"Complementary windows ({pairs}) interact {compared(row)}"


def _around(figure: Figure, axes: Axes, maps: Maps) -> None:
    values, count = mean_around(maps)
    axes.set_title("Around complementary windows")
    if values is None:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no pair has\ncomplementary windows", ha="center", va="center", transform=axes.transAxes)
        return
    end = AROUND + 0.5
    settings = scale(values, signed=True)
    most = float(np.nanmax(np.abs(values))) or 1.0
    settings |= {"vmin": -most, "vmax": most}
    image = axes.imshow(values, extent=(-end, end, end, -end), **settings)
    outline(axes, np.ones((1, 1), bool), width=1.2)
    ticks = (-AROUND, -AROUND // 2, 0, AROUND // 2, AROUND)
    axes.set(xlabel="shift along the site", ylabel="shift along the miRNA", xticks=ticks, yticks=ticks)
    axes.set_title(f"Mean around complementary\nwindows ({count} pair{'' if count == 1 else 's'})")
    figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02)


def _distribution(axes: Axes, maps: Maps, table: pd.DataFrame) -> None:
    """Draw every pair's map as a box (elsewhere) with its complementary windows as points."""
    rows = table[table["sample"].isin(list(maps))]
    gain = rows["at_complementary"] - rows["elsewhere"]
    rows = rows.assign(gain=gain.fillna(-np.inf)).sort_values("gain", ascending=False, kind="stable").head(MOST)
    names, level = [], len(rows) <= LEVEL
    separator = "\n" if level else ", "
    for place, row in enumerate(rows.itertuples()):
        values, complementary = maps[row.sample]
        low, first, middle, third, high = np.percentile(values[~complementary], [2.5, 25, 50, 75, 97.5])
        axes.plot([place, place], [low, high], color="#C9C9C9", linewidth=1.2, zorder=1)
        axes.add_patch(_box(place, first, third))
        axes.plot([place - 0.28, place + 0.28], [middle, middle], color=GRAY, linewidth=1.4, zorder=3)
        own = values[complementary]
        axes.plot(np.full(len(own), place), own, "o", color=POSITIVE, markersize=3, alpha=0.75, zorder=4)
        if len(own):
            axes.plot(place, row.at_complementary, "D", color=BLACK, markersize=4, zorder=5)
        if pd.notna(row.at_parallel):
            axes.plot(place, row.at_parallel, "D", color=BLACK, markerfacecolor="white", markersize=4, zorder=5)
        names.append(row.sample + (f"{separator}p = {number(row.p_value, '.2g')}" if pd.notna(row.p_value) else ""))
    axes.axhline(0, color=GRAY, linewidth=0.6, zorder=0)
    turned = {} if level else {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(names)), names, fontsize=6, **turned)
    axes.set_xlim(-0.6, max(len(names), 3) - 0.4)
    axes.set(ylabel="interaction", title="Pair by pair: complementary windows beside all others")
    _legend(axes)


def _box(place: int, first: float, third: float) -> Rectangle:
    return Rectangle((place - 0.28, first), 0.56, third - first, facecolor=lighten(GRAY, 0.35), linewidth=0, zorder=2)


def _legend(axes: Axes) -> None:
    handles = [
        Line2D([], [], color=POSITIVE, marker="o", linestyle="", markersize=3, label="complementary windows"),
        Line2D([], [], color=BLACK, marker="D", linestyle="", markersize=4, label="their mean"),
        Line2D(
            [],
            [],
            color=BLACK,
            marker="D",
            linestyle="",
            markerfacecolor="white",
            markersize=4,
            label="mean on parallel strands",
        ),
        Line2D([], [], color="#C9C9C9", marker="s", linestyle="-", markersize=6, label="elsewhere: median, half, 95 %"),
    ]
    axes.legend(handles=handles, loc="upper right", ncols=4)
    axes.margins(y=0.18)
