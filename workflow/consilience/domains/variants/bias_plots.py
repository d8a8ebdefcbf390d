"""Which atoms true calls have on more often than false ones: volcano, support, and what held-out calls say of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from scipy.stats import spearmanr

from consilience.domains.variants.levels import FALSE_SHARE
from consilience.domains.variants.marks import (
    COLORS,
    DIRECTIONS,
    MINUS,
    OF_CALLS,
    STRATA,
    doublings,
    handle,
    key_row,
    label_points,
    odds_ticks,
    plural,
    strength,
    strongest,
    survives,
    symmetric,
)
from consilience.figures.style import BLACK, GRAY, empty_figure, entitle, lighten, new_figure, styled

NAMED = 8  # atoms of either direction that are named
WITHIN = 0.95  # of unbiased atoms lie in the band of chance
NORMAL = 1.96  # standard deviations that hold as many of a normal variable
QUIET = "#BDBDBD"  # atoms without evidence
CHANCE = "#EDEDED"
NONE_TESTED = "No atom is on in enough training calls to be tested."
SIZES = (12, 130)  # areas of points, in square points, of FEW atoms
FEW = 200


def sizes_of(support: pd.Series) -> np.ndarray:
    """Return the areas of points: they rise with the calls that an atom is on in, and fall where atoms are many."""
    share = support.to_numpy(float) / max(1, support.max())
    return (SIZES[0] + (SIZES[1] - SIZES[0]) * share) * np.sqrt(min(1, FEW / max(1, len(support))))


def scatter_atoms(axes: Axes, table: pd.DataFrame, along: np.ndarray, across: np.ndarray) -> None:
    """Draw a point an atom: gray without evidence, else in the color of its direction.

    Full where the test role confirms it within strata too, light where in all its calls only, empty elsewhere.
    """
    within, confirmed = survives(table), table["confirmed"]
    areas, significant = sizes_of(table["support"]), table["significant"].to_numpy(bool)
    quiet = ~significant
    axes.scatter(along[quiet], across[quiet], s=areas[quiet], color=QUIET, alpha=0.6, linewidths=0, zorder=2)
    # Small points last, so that no large one hides them.
    order = np.argsort(-areas, kind="stable")
    for direction, color in COLORS.items():
        faces = ((~confirmed, "white"), (confirmed & ~within, lighten(color)), (within, color))
        for of_them, face in faces:
            chosen = significant & (table["direction"] == direction) & of_them
            rows = order[chosen.to_numpy()[order]]
            axes.scatter(
                along[rows],
                across[rows],
                s=areas[rows],
                facecolor=face,
                edgecolor=color,
                alpha=0.85,
                linewidths=1,
                zorder=3,
            )


def keys(axes: Axes, table: pd.DataFrame, columns: int = 3) -> None:
    """Write the keys of points above the axes; only what the figure holds."""
    shown = table[table["significant"]]
    found = [
        handle(f"on more in {OF_CALLS[name]}", COLORS[name])
        for name in DIRECTIONS
        if (shown["direction"] == name).any()
    ]
    if (shown["confirmed"] & ~survives(shown)).any():
        found.append(handle("confirmed, not within strata", BLACK, markerfacecolor=lighten(BLACK)))
    if not shown["confirmed"].all():
        found.append(handle("not confirmed on test calls", BLACK, filled=False))
    if (~table["significant"]).any():
        found.append(handle("not significant", QUIET))
    key_row(axes, found, columns)


def name_strongest(axes: Axes, table: pd.DataFrame, along: np.ndarray, across: np.ndarray, count: int = NAMED) -> None:
    """Name the strongest significant atoms of either direction, as far as there is room."""
    rows = strongest(table.reset_index(drop=True), count).index.to_numpy()
    points = np.column_stack([along, across])
    label_points(axes, points[rows], [str(atom) for atom in table["atom"].to_numpy()[rows]], points)


def counted(table: pd.DataFrame) -> str:
    """Say how many atoms are significant, by direction."""
    counts = table[table["significant"]]["direction"].value_counts()
    if not len(counts):
        return f"None of {plural(len(table), 'atom')} tells true calls from false ones"
    told = [f"{counts.get(name, 0)} to {OF_CALLS[name]}" for name in DIRECTIONS]
    return (
        f"{counts.sum()} of {plural(len(table), 'atom')} {'leans' if counts.sum() == 1 else 'lean'}: {', '.join(told)}"
    )


@styled
def volcano(table: pd.DataFrame) -> Figure:
    """Draw q against the odds ratio of every tested atom; `table` is sae_feature_bias_analysis.csv."""
    if table.empty:
        return empty_figure("Which atoms are biased", NONE_TESTED)
    figure = new_figure(6.4, 4.9)
    axes = figure.subplots()
    along, across = doublings(table["odds"]), strength(table["fdr_corrected"])
    _null_lines(axes, -np.log10(FALSE_SHARE))
    scatter_atoms(axes, table, along, across)
    axes.set_xlim(-symmetric(along), symmetric(along))
    axes.set_ylim(-0.03 * across.max() - 0.05, 1.1 * max(across.max(), 2))
    odds_ticks(axes, "x", "odds ratio of a true call, atom on against off (log scale)")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel(f"{MINUS}log10 q (Benjamini–Hochberg)")
    axes.annotate(
        f"q = {FALSE_SHARE}", (1, -np.log10(FALSE_SHARE)), (-2, 2), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha="right", fontsize=6.5, color=GRAY,
    )  # fmt: skip
    keys(axes, table)
    entitle(
        figure,
        counted(table),
        "A point is an atom, by the calls of the training role; the larger, the more of them have it on. Numbers "
        "name the strongest atoms. Right: on more often in true calls, left: in false ones. Full: the test role "
        f"confirms it within strata too ({STRATA}).\nIt looks bad where all points lie below the dashed line, or where "
        "few of the colored ones are full.",
    )
    name_strongest(axes, table, along, across)
    return figure


def _null_lines(axes: Axes, level: float) -> None:
    axes.axvline(0, color=GRAY, linewidth=0.7, zorder=1)
    axes.axhline(level, color=GRAY, linewidth=0.8, linestyle="--", zorder=1)


def chance_band(table: pd.DataFrame, support: np.ndarray) -> np.ndarray:
    """Return how many doublings an unbiased atom's odds ratio may lie from 1, by support (points,): 95 % of them.

    Woolf's error of the log odds ratio at the counts that are expected, with 0.5 added to each.
    """
    first = table.iloc[0]
    true, false = first["TP_on"] + first["TP_off"], first["FP_on"] + first["FP_off"]
    share = support / (true + false)
    cells = (true * share, false * share, true * (1 - share), false * (1 - share))
    return NORMAL * np.sqrt(sum(1 / (cell + 0.5) for cell in cells)) / np.log(2)


@styled
def bias_support(table: pd.DataFrame) -> Figure:
    """Draw the odds ratio against the number of calls that have an atom on, with what chance gives."""
    title = "How much support the biased atoms have"
    if table.empty:
        return empty_figure(title, NONE_TESTED)
    figure = new_figure(6.4, 4.7)
    axes = figure.subplots()
    along, across = table["support"].to_numpy(float), doublings(table["odds"])
    ends = along.min() / 1.25, along.max() * 1.35
    places = np.geomspace(*ends, 200)
    calls = table.iloc[0][["TP_on", "TP_off", "FP_on", "FP_off"]].sum()
    band = chance_band(table, np.minimum(places, calls))
    axes.fill_between(places, -band, band, color=CHANCE, linewidth=0, zorder=0)
    axes.axhline(0, color=GRAY, linewidth=0.7, zorder=1)
    scatter_atoms(axes, table, along, across)
    axes.set_xscale("log")
    axes.set_xlim(*ends)
    reach = symmetric(across, 1.5)
    axes.set_ylim(-reach, reach)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(f"training calls that have the atom on (of {calls:,.0f}; log scale)")
    odds_ticks(axes, "y", "odds ratio of a true call (log scale)")
    keys(axes, table)
    outside = int((np.abs(across) > chance_band(table, along)).sum())
    entitle(
        figure,
        f"{outside} of {plural(len(table), 'atom')} {'lies' if outside == 1 else 'lie'} outside the band of chance "
        f"({(1 - WITHIN) * len(table):.0f} expected)",
        "Gray band: where 95 % of atoms would lie that have nothing to do with the class; the fewer calls have an "
        "atom on, the wider it is. Large ratios at small support are the least certain: lists are ranked by the end "
        "of the interval that is nearest 1.\nIt looks bad where colored points crowd at the left edge, or where no "
        "more than one in twenty lie outside.",
    )
    name_strongest(axes, table, along, across)
    return figure


@styled
def confirmation(table: pd.DataFrame) -> Figure:
    """Draw the odds ratio of the test role, with its interval, against that of the training role."""
    title = "Do held-out calls confirm the bias?"
    if table.empty:
        return empty_figure(title, NONE_TESTED)
    figure = new_figure(5.6, 5.6)
    axes = figure.subplots()
    along, across = doublings(table["odds"]), doublings(table["test_odds"])
    reach = symmetric(np.concatenate([along, across]), 1.5)
    axes.plot([-reach, reach], [-reach, reach], color=GRAY, linewidth=0.8, linestyle="--", zorder=1)
    for place in (axes.axhline, axes.axvline):
        place(0, color=GRAY, linewidth=0.7, zorder=1)
    shown = table[table["significant"]]
    low, high = (np.clip(doublings(shown[name]), -reach, reach) for name in ("test_low", "test_high"))
    colors = [lighten(COLORS.get(name, GRAY)) for name in shown["direction"]]
    axes.vlines(along[table["significant"].to_numpy(bool)], low, high, colors=colors, linewidth=0.9, zorder=2)
    scatter_atoms(axes, table, along, across)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", anchor="W")
    odds_ticks(axes, "x", "odds ratio, training role (log scale)")
    odds_ticks(axes, "y", "odds ratio, test role (log scale)")
    keys(axes, table, 2)
    entitle(figure, _confirmed(table), _agreement(table, along, across))
    name_strongest(axes, table, along, across, NAMED // 2)
    return figure


def _confirmed(table: pd.DataFrame) -> str:
    significant = int(table["significant"].sum())
    if not significant:
        return "No atom is significant: there is none to confirm"
    confirmed = int(table["confirmed"].sum())
    within = int(survives(table).sum())
    told = f"Held-out calls confirm {confirmed} of {plural(significant, 'significant atom')}"
    return f"{told}, {within} of them within strata too" if confirmed else told


def _agreement(table: pd.DataFrame, along: np.ndarray, across: np.ndarray) -> str:
    rows = table["significant"].to_numpy(bool)
    same = int((np.sign(along[rows]) == np.sign(across[rows])).sum())
    told = f"Of those significant in training, {same} of {rows.sum()} have the same direction. " if rows.any() else ""
    known = len(table) > 2 and np.ptp(along) > 0 and np.ptp(across) > 0
    correlation = f"{spearmanr(along, across).statistic:.2f}".replace("-", MINUS) if known else "undefined"
    return (
        f"{told}Spearman's correlation over all {plural(len(table), 'atom')}: {correlation}. Lines: 95 % intervals "
        "of the test role; dashed: the same in both roles. Confirmed: the same direction, and q < 0.05 over the "
        f"atoms tested again; full: within strata too ({STRATA}). Points nearer the horizontal line than the dashed "
        "one are what choosing the largest does: winners shrink.\nIt looks bad where colored points lie on the "
        "horizontal line, or in the quadrants of the other direction."
    )
