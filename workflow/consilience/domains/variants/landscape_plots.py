"""The landscape of biases: how many atoms lean which way, how far, and the strongest of them with their intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from consilience.domains.variants.bias_plots import NONE_TESTED, QUIET, counted
from consilience.domains.variants.levels import FALSE_SHARE
from consilience.domains.variants.marks import (
    COLORS,
    DIRECTIONS,
    HALO,
    NO_STRATUM,
    OF_CALLS,
    STRATA,
    atom_name,
    doublings,
    handle,
    key_panel,
    odds_ticks,
    plural,
    strongest,
    symmetric,
)
from consilience.figures.style import BLACK, GRAY, empty_figure, entitle, lighten, new_figure, say, styled

LISTED = 10  # atoms of either direction
WIDTH = 4.6  # inches: panels stand in one column, which a phone shows at a size that can be read
LINE = 0.24  # inches of an atom
AROUND = 5.0  # inches of all that stands around panels
WITHIN = "within strata"
SETS = {
    "significant": "significant",
    "significant_within": "significant\nwithin strata too",
    "confirmed": "confirmed on\ntest calls",
    "confirmed_within": "confirmed\nwithin strata",
}
# What is drawn of an atom, with its place in the line, its mark and the columns of its value and interval.
ESTIMATES = {
    "all training calls": (-0.24, "o", True, ("odds", "odds_low", "odds_high")),
    WITHIN: (0.0, "D", True, ("cmh_odds", "cmh_low", "cmh_high")),
    "test calls": (0.24, "o", False, ("test_odds", "test_low", "test_high")),
}


@styled
def bias_landscape(table: pd.DataFrame, landscape: pd.DataFrame) -> Figure:
    """Draw the odds ratios of all atoms, their numbers by evidence, and the strongest atoms of either direction.

    `table` is sae_feature_bias_analysis.csv, `landscape` landscape.tsv.
    """
    if table.empty:
        return empty_figure("The landscape of biased atoms", NONE_TESTED)
    lists = {name: strongest(table[table["direction"] == name], LISTED) for name in DIRECTIONS}
    heights = [1.5, 1.3, 0.1, *(LINE * max(2, len(rows)) for rows in lists.values())]
    figure = new_figure(WIDTH, sum(heights) + AROUND)
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    _histogram(figure.add_subplot(grid[0]), table)
    _counts(figure.add_subplot(grid[1]), landscape.set_index("set"))
    shown = pd.concat(lists.values())
    ends = [shown[name] for _, _, _, columns in ESTIMATES.values() for name in columns]
    reach = symmetric(np.clip(doublings(np.concatenate(ends)), -7, 7), 2, 1.04) if len(shown) else 2
    for place, (name, rows) in enumerate(lists.items(), start=3):
        forest(figure.add_subplot(grid[place]), rows, name, reach)
    found = [handle(name, BLACK, mark, full) for name, (_, mark, full, _) in ESTIMATES.items()]
    key_panel(figure.add_subplot(grid[2]), found)
    missed = int(landscape.loc[landscape["set"] == "not_tested", "atoms"].sum())
    untested = f"Not tested, for too little support: {plural(missed, 'further atom')}. " if missed else ""
    entitle(
        figure,
        counted(table),
        f"{_support(landscape)}{untested}Significant: q < {FALSE_SHARE} over all tested atoms. Below, the strongest "
        "first, ranked by the end of the interval that is nearest 1, with 95 % intervals; an arrow: the interval "
        f"goes on. Within strata, {STRATA}, are compared with each other alone.\nIt looks bad "
        "where diamonds stand on 1 while points do not, and where bars within strata are much shorter: then an atom "
        "knows no more than what makes strata.",
    )
    return figure


def _support(landscape: pd.DataFrame) -> str:
    """Say how many calls the tested atoms are on in."""
    row = landscape.set_index("set").loc["tested"]
    names = ("support_median", "support_minimum", "support_maximum")
    median, low, high = (f"{row[name]:,.0f}" for name in names)
    return f"Tested atoms are on in {low} to {high} training calls, median {median}. "


def _histogram(axes: Axes, table: pd.DataFrame) -> None:
    """Draw how many atoms have which odds ratio, in bins of half a doubling, what is not significant at the bottom."""
    values = doublings(table["odds"])
    reach = max(1.0, np.ceil(2 * np.abs(values).max()) / 2)
    bins = np.arange(-reach, reach + 0.25, 0.5)
    within = (table["cmh_q"] < FALSE_SHARE) & table["significant"] & ~table["reversed"]
    base = np.zeros(len(bins) - 1)
    for chosen, kind in ((~table["significant"], "none"), (table["significant"] & ~within, "light"), (within, "full")):
        counts = np.histogram(values[chosen.to_numpy()], bins)[0]
        colors = [_bar_color(kind, middle) for middle in (bins[:-1] + bins[1:]) / 2]
        axes.bar(bins[:-1], counts, 0.46, bottom=base, align="edge", color=colors)
        base = base + counts
    axes.axvline(0, color=BLACK, linewidth=0.8)
    axes.set_xlim(-reach - 0.1, reach + 0.1)
    odds_ticks(axes, "x", "odds ratio (log scale)")
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=6)
    axes.set_ylabel("atoms")
    axes.grid(axis="y")
    axes.set_title("Odds ratios of all atoms")
    found = [handle("not significant", QUIET, "s"), handle("significant", lighten(BLACK), "s")]
    found += [handle("within strata too", BLACK, "s")]
    axes.legend(handles=found, loc="upper left", handletextpad=0.1, borderpad=0, labelspacing=0.25)
    axes.set_ylim(0, 1.45 * max(1, base.max()))


def _bar_color(kind: str, middle: float) -> object:
    color = COLORS["positive" if middle > 0 else "negative"]
    return {"none": QUIET, "light": lighten(color), "full": color}[kind]


def _counts(axes: Axes, landscape: pd.DataFrame) -> None:
    """Draw how many atoms lean either way, and by more than a factor of two, by what is known of them."""
    most = 1
    for place, name in enumerate(SETS):
        row = landscape.loc[name].fillna(0)
        ends = {"positive": (row["above_1"], row["above_2"], 1), "negative": (row["below_1"], row["below_half"], -1)}
        for direction, (all_of_them, strong, sign) in ends.items():
            color = COLORS[direction]
            axes.barh(place, sign * all_of_them, color=lighten(color), height=0.62)
            axes.barh(place, sign * strong, color=color, height=0.62)
            axes.annotate(
                f"{all_of_them:.0f}", (sign * all_of_them, place), (3 * sign, 0), textcoords="offset points",
                ha="left" if sign > 0 else "right", va="center", fontsize=7,
            )  # fmt: skip
            most = max(most, all_of_them)
    axes.axvline(0, color=BLACK, linewidth=0.8)
    axes.set_xlim(-1.3 * most, 1.3 * most)
    axes.set_ylim(len(SETS) - 0.4, -0.6)
    axes.set_yticks(range(len(SETS)), list(SETS.values()))
    axes.tick_params(axis="y", length=0)
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
    axes.set_xlabel("atoms of false calls | of true calls\n(dark: odds ratio below 1/2, above 2)")
    axes.set_title("How many, by evidence")


def forest(axes: Axes, rows: pd.DataFrame, direction: str, reach: float) -> None:
    """Draw the odds ratios of atoms with their intervals, a line an atom; `reach` is in doublings from 1."""
    axes.set_title(f"Strongest for {OF_CALLS[direction]}")
    if rows.empty:
        say(axes, f"no atom is significant for {OF_CALLS[direction]}")
        return
    color = COLORS[direction]
    # An atom speaks one way; the other side has room for intervals that pass 1.
    ends = (-0.35 * reach, reach) if direction == "positive" else (-reach, 0.35 * reach)
    for line, (_, row) in enumerate(rows.iterrows()):
        if line % 2 == 0:
            axes.axhspan(line - 0.5, line + 0.5, color="#F5F5F5", linewidth=0, zorder=0)
        for shift, mark, full, (value, low, high) in ESTIMATES.values():
            face = color if full else "white"
            draw_estimate(axes, line + shift, row[[value, low, high]].to_numpy(float), ends, color, mark, face)
        if not row["strata"]:
            side = 1 if direction == "positive" else -1
            axes.annotate(
                NO_STRATUM, (0, line), (4 * side, 0), textcoords="offset points", va="center", fontsize=6, color=GRAY,
                ha="left" if side > 0 else "right", path_effects=HALO,
            )  # fmt: skip
    axes.axvline(0, color=GRAY, linewidth=0.8, zorder=1)
    axes.set_yticks(range(len(rows)), [atom_name(atom) for atom in rows["atom"]])
    axes.set_ylim(max(2, len(rows)) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(*ends)
    odds_ticks(axes, "x", "odds ratio (log scale)")


def draw_estimate(
    axes: Axes,
    place: float,
    told: np.ndarray,
    ends: tuple[float, float],
    color: object,
    mark: str,
    face: object,
    size: float = 3.6,
) -> None:
    """Draw a ratio with its interval, `told`; where either goes on beyond the `ends` of the axis stands an arrow."""
    if np.isnan(told[0]):
        return
    value, low, high = doublings(np.where(np.isnan(told), told[0], told))
    left, right = ends
    axes.plot(np.clip([low, high], left, right), [place, place], color=color, linewidth=1, zorder=2)
    for end, edge, arrow in ((low, left, "<"), (high, right, ">")):
        if (end < edge) if arrow == "<" else (end > edge):
            axes.plot(edge, place, arrow, color=color, markersize=3, clip_on=False, zorder=3)
    if left <= value <= right:
        axes.plot(value, place, mark, color=color, markerfacecolor=face, markersize=size, markeredgewidth=0.9, zorder=4)
