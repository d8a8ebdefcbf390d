"""What every head of the attention between modalities is like, what it is worth, and whether both directions agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from consilience.domains.eeg.asked import ALL
from consilience.domains.eeg.attention_weights import MODALITIES
from consilience.domains.eeg.marks import UNCLEAR, handle, interval_text, is_clear, key_row, rows_of, whisker
from consilience.domains.eeg.notes import NEARLY_UNIFORM, SIGNIFICANT, TOO_FEW, clear_heads, verdict
from consilience.domains.eeg.wording import TITLES
from consilience.figures.style import (
    BLACK,
    BLUE,
    GRAY,
    PURPLE,
    VERMILLION,
    empty_figure,
    entitle,
    new_figure,
    number,
    say,
    styled,
)

KINDS = {"removed": ("o", True, -0.17), "uniform": ("s", False, 0.17)}  # marker, filled, shift
BOTH = "both"
MOST_MEMBERS = 3
LEAST_SPAN = 0.1  # of an axis of entropies or agreements: what hardly differs should look so

Line = tuple[str, str, str, float]  # direction, head, member, place


def lines_of(rows: pd.DataFrame) -> tuple[list[Line], int]:
    """Return the lines of a model's rows of attention.tsv or knockouts.tsv from above, and how many members there are.

    By direction they are the heads of the first members, then all of them; last, all heads of both directions.
    """
    single = rows[rows["head"].astype(str) != ALL]
    members = list(dict.fromkeys(single["member"].astype(str)))
    heads = list(dict.fromkeys(single["head"].astype(str)))
    lines, place = [], 1.0
    for direction in (name for name in MODALITIES if (rows["direction"] == name).any()):
        for member in members[:MOST_MEMBERS]:
            lines += [(direction, head, member, place + shift) for shift, head in enumerate(heads)]
            place += len(heads) + 0.4
        lines.append((direction, ALL, ALL, place))
        place += 2.4  # with room for the name of the next direction
    return [*lines, (BOTH, ALL, ALL, place - 1.0)], len(members)


@styled
def head_panels(attention: pd.DataFrame, knockouts: pd.DataFrame, agreement: pd.DataFrame, model: str) -> Figure:
    """Draw a model's heads: entropy, distance and what a prediction loses without; and the agreement of all models.

    The tables are those of these names.
    """
    rows, lost = rows_of(attention, model=model), rows_of(knockouts, model=model)
    if lost.empty:
        return empty_figure("What heads of attention are worth", f"{model} has no attention between modalities")
    lines, members = lines_of(lost)
    height, low = 0.15 * lines[-1][-1] + 0.6, 0.5 + 0.26 * max(len(agreement), 1)
    figure = new_figure(9.6, height + low + 2.4)
    grid = figure.add_gridspec(3, 3, height_ratios=(height, 0.15, low), width_ratios=(1.15, 0.8, 1.15))
    first = figure.add_subplot(grid[0, 0])
    others = [figure.add_subplot(grid[0, place], sharey=first) for place in (1, 2)]
    _entropies(first, rows, lines)
    _distances(others[0], rows, lines)
    _losses(others[1], lost, lines)
    for axes in others:
        axes.tick_params(labelleft=False)
    _keys(figure.add_subplot(grid[1, :]))
    _agreements(figure.add_subplot(grid[2, :]), agreement)
    entitle(figure, _message(lost, model), _caption(model, members))
    return figure


def _name(axes: Axes, lines: Sequence[Line]) -> None:
    """Write the names of lines, and that of each direction above its own."""
    several = len({member for _, _, member, _ in lines if member != ALL}) > 1
    names = [
        f"member {member}, head {head}" if several and head != ALL else f"head {head}" if head != ALL else "all heads"
        for _, head, member, _ in lines
    ]
    names[-1] = "all heads, both directions"
    heads = {TITLES[name]: min(place for own, *_, place in lines if own == name) - 1 for name, *_ in lines[:-1]}
    axes.set_yticks([*(place for *_, place in lines), *heads.values()], [*names, *heads], fontsize=6.5)
    for label in axes.get_yticklabels()[len(lines) :]:
        label.set_fontweight("bold")
    axes.set_ylim(lines[-1][-1] + 0.7, -0.6)


def _finish(axes: Axes, lines: Sequence[Line]) -> None:
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    for _, head, _, place in lines:
        if head == ALL:
            axes.axhspan(place - 0.5, place + 0.5, color="#F2F2F2", linewidth=0, zorder=0)


def _found(rows: pd.DataFrame, line: Line) -> pd.DataFrame:
    direction, head, member, _ = line
    return rows_of(rows, direction=direction, head=head, member=member)


def _entropies(axes: Axes, rows: pd.DataFrame, lines: Sequence[Line]) -> None:
    """Draw entropies with those before training; above, the specialization."""
    _name(axes, lines)
    _finish(axes, lines)
    if rows.empty:
        settings = {"ha": "center", "va": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.5, "not defined for a single window", color=GRAY, **settings)
    for line in lines:
        for row in _found(rows, line).itertuples():
            axes.plot(row.untrained_entropy, line[-1], "D", color=GRAY, markerfacecolor="none", markersize=4, zorder=2)
            whisker(axes, row.entropy, line[-1], (row.entropy_low, row.entropy_high), PURPLE)
    values = rows[["entropy", "entropy_low", "untrained_entropy"]].to_numpy(float)
    least = min(1 - LEAST_SPAN, float(np.nanmin(values)) - 0.02) if np.isfinite(values).any() else 0.0
    axes.axvspan(max(least, NEARLY_UNIFORM), 1, color="#EFEFEF", linewidth=0, zorder=0)
    axes.set_xlim(least, 1 + 0.03 * (1 - least))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("entropy (1: uniform)")
    above = axes.secondary_xaxis("top", functions=(lambda value: 1 - value, lambda value: 1 - value))
    above.set_xlabel("specialization (1 less entropy)", fontsize=7)
    above.xaxis.set_major_locator(MaxNLocator(4))
    above.tick_params(labelsize=7)


def _distances(axes: Axes, rows: pd.DataFrame, lines: Sequence[Line]) -> None:
    """Draw how far each head's mean map lies from the others'."""
    _finish(axes, lines)
    for line in lines:
        for distance in _found(rows, line)["distance"]:
            axes.plot([0, distance], [line[-1]] * 2, color=BLUE, linewidth=1.1)
            axes.plot(distance, line[-1], "o", color=BLUE, markersize=4)
    most = float(np.nanmax(rows["distance"].to_numpy(float), initial=LEAST_SPAN))
    axes.set_xlim(0, 1.08 * most)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("distance from other heads\n(0: same map, 1: nothing in common)")


def _losses(axes: Axes, rows: pd.DataFrame, lines: Sequence[Line]) -> None:
    """Draw what the Kullback-Leibler divergence rises by without each head."""
    _finish(axes, lines)
    axes.axvline(0, color=BLACK, linewidth=0.7, zorder=1)
    for line in lines:
        for row in _found(rows, line).itertuples():
            marker, filled, shift = KINDS[row.kind]
            color = UNCLEAR if not is_clear(row.low, row.high) else VERMILLION if row.kl_change > 0 else BLUE
            point = {"marker": marker, "markerfacecolor": color if filled else "white", "markersize": 3.4}
            whisker(axes, row.kl_change, line[-1] + shift, (row.low, row.high), color, **point)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("rise of the KL divergence from the votes\n(right: the head helps)")


def _keys(axes: Axes) -> None:
    handles = [handle("trained", PURPLE), handle("before training", GRAY, "D", filled=False)]
    handles += [handle(f"head {name}", BLACK, marker, filled) for name, (marker, filled, _) in KINDS.items()]
    key_row(axes, handles)


def _agreements(axes: Axes, agreement: pd.DataFrame) -> None:
    """Draw how far both directions agree in every model, beside other patients' samples."""
    axes.set_title("Do both directions name the same pairs of windows? (diamonds: in different patients)")
    if agreement.empty:
        say(axes, "not defined")
        return
    axes.axvline(0, color=BLACK, linewidth=0.7, zorder=1)
    for place, row in enumerate(agreement.to_dict("records")):
        clear = row["p_value"] < SIGNIFICANT
        whisker(axes, row["agreement"], place, (row["low"], row["high"]), PURPLE if clear else UNCLEAR)
        axes.plot(row["shuffled"], place, "D", color=GRAY, markerfacecolor="none", markersize=4, zorder=2)
        said = f"p = {number(row['p_value'], '.2g')}"
        axes.text(1.01, place, said, va="center", fontsize=7, transform=axes.get_yaxis_transform())
    axes.set_yticks(range(len(agreement)), list(agreement["model"]))
    axes.set_ylim(len(agreement) - 0.4, -0.6)
    ends = np.nan_to_num(agreement[["agreement", "low", "high", "shuffled"]].to_numpy(float))
    reach = 1.1 * float(np.abs(ends).max(initial=LEAST_SPAN))
    axes.set_xlim(-reach, reach)
    axes.set_xlabel("correlation of both directions")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _message(lost: pd.DataFrame, model: str) -> str:
    """Say what is lost and gained without single heads, beside what chance gives, and without all of them."""
    removed = rows_of(lost, kind="removed")
    count, worse, better, chance = clear_heads(removed[removed["head"].astype(str) != ALL])
    whole = rows_of(removed, head=ALL, direction=BOTH).iloc[0]
    single = f"a clear loss without {worse} of {count} heads, a clear gain without {better}"
    single = f"{single} ({chance:.1f} each by chance)" if count else f"single heads: {TOO_FEW}"
    said = verdict(whole, "a loss", "a gain", "no loss shown")
    change = interval_text(whole, "kl_change", form=".3f")
    return f"{model}: {single}; without all of them KL divergence changes by {change}, {said}"


def _caption(model: str, members: int) -> str:
    some = f" (the first {MOST_MEMBERS} of {members})" if members > MOST_MEMBERS else ""
    return (
        f"Above: {model}; each head is that of one member{some}, which is judged alone; all heads are taken from all "
        "members, whose mean is judged. Removed: what the head adds is gone; uniform: it reads all windows alike. "
        "Bars: 95 % intervals, resampling patients; losses are gray where the interval holds 0 or is not known, orange "
        "where a head helps, blue where it harms. Shaded: entropies from "
        f"{NEARLY_UNIFORM}, nearly uniform. Below: purple where p < {SIGNIFICANT} (two-sided, exchanging whole "
        "patients)."
    )
