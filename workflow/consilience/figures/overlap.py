"""Venn diagrams of the networks' lists, the linear model's and one further list, with their chance level."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib_venn import venn2, venn3
from matplotlib_venn.layout.venn2 import DefaultLayoutAlgorithm as Layout2
from matplotlib_venn.layout.venn3 import DefaultLayoutAlgorithm as Layout3

from consilience.errors import ConsilienceError
from consilience.figures.style import BLUE, GREEN, ORANGE, entitle, number, panel_grid, shorten, styled
from consilience.overlap import SEPARATOR

NAMED = 12  # shared features that are named below a diagram
COLORS = (BLUE, ORANGE, GREEN)


@styled
def venn_diagrams(
    sets: Mapping[tuple[str, str], Mapping[str, Sequence[str]]], overlaps: pd.DataFrame, direction: str
) -> Figure:
    """Draw the sets of one direction, a panel a target, with counts in the circles and shared features below.

    `sets` are `named_sets` and `overlaps` their table. Two or three sets can be drawn. Circles have one size: the
    counts tell, and an empty list or one that lies within another stays readable.
    """
    targets = [target for target, one in sets if one == direction]
    names = list(sets[targets[0], direction])
    if len(names) not in (2, 3):
        raise ConsilienceError(f"venn: {len(names)} lists ({', '.join(names)}); two or three can be drawn")
    single = len(targets) == 1
    figure, panels = panel_grid(len(targets), min(5, len(targets)), 5.2 if single else 3.0, 3.4 if single else 3.0)
    for target, axes in zip(targets, panels, strict=True):
        _diagram(axes, sets[target, direction])
        rows = overlaps[(overlaps["target"] == target) & (overlaps["direction"] == direction)]
        axes.set_title(shorten(target), loc="center")
        axes.set_xlabel(_below(rows, 70 if single else 46), fontsize=7, linespacing=1.3)
    universe = int(overlaps["universe"].iloc[0])
    entitle(
        figure,
        f"{direction.capitalize()} drivers: {', '.join(names[:-1])} and {names[-1]}",
        f"Chance: shared by lists of these sizes drawn at random from {universe} features; p: the chance of as many.\n"
        "Lists made from the same rows follow the same noise: a small p is no independent evidence.",
    )
    return figure


def _diagram(axes: Axes, sets: Mapping[str, Sequence[str]]) -> None:
    members = [set(one) for one in sets.values()]
    labels = [f"{shorten(name, 16)} ({len(one)})" for name, one in sets.items()]
    equal = (1,) * (2 ** len(members) - 1)
    draw, layout = (venn2, Layout2) if len(members) == 2 else (venn3, Layout3)
    diagram = draw(
        _regions(members),
        labels,
        set_colors=COLORS[: len(members)],
        alpha=0.45,
        ax=axes,
        layout_algorithm=layout(fixed_subset_sizes=equal),
    )
    for label in diagram.subset_labels:
        label.set(fontsize=9)
    for label in diagram.set_labels:
        label.set(fontsize=8)
    # The diagram hides its axes; the layout needs their label to keep room for the text below.
    axes.set_axis_on()
    axes.set_facecolor("none")
    axes.spines[:].set_visible(False)
    axes.set(xticks=[], yticks=[])


def _regions(members: Sequence[set[str]]) -> dict[str, int]:
    """Count the features of every region by its code: `10` in the first set alone, `11` in both."""
    everything = set().union(*members)
    codes = ["".join("1" if feature in one else "0" for one in members) for feature in everything]
    whole = [format(code, f"0{len(members)}b") for code in range(1, 2 ** len(members))]
    return {code: codes.count(code) for code in whole}


def _below(rows: pd.DataFrame, width: int) -> str:
    """Write shared count, chance level and p of every combination, and name the features all sets share."""
    lines = []
    for row in rows.itertuples():
        name = f"{row.sets.replace(SEPARATOR, ' ∩ ')}: " if len(rows) > 1 else ""
        lines.append(
            f"{name}{row.intersection} shared (chance {number(row.expected, '.2g')}, p {number(row.p_value, '.2g')})"
        )
    shared = rows["features"].iloc[-1].split(SEPARATOR) if rows["features"].iloc[-1] else []
    names = [shorten(feature, 20) for feature in shared[:NAMED]]
    more = f" + {len(shared) - NAMED} more" if len(shared) > NAMED else ""
    if names:
        lines.append(textwrap.fill(", ".join(names) + more, width, break_long_words=False))
    return "\n".join(lines)
