"""What the edges of the graphs are worth to each class, on the scalp, and how far members differ in it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from consilience.domains.eeg.asked import ALL
from consilience.domains.eeg.edges import FALSE_SHARE, can_be_clear, clear_edges
from consilience.domains.eeg.marks import key_row, plural, rows_of, signed_color, targets_of, whisker, words
from consilience.domains.eeg.montage import CHANNELS, REGIONS
from consilience.domains.eeg.notes import TOO_FEW
from consilience.domains.eeg.scalp import REGION_PLACES, draw_head, positions, write
from consilience.figures.style import (
    BLACK,
    GRAY,
    NEGATIVE,
    POSITIVE,
    empty_figure,
    entitle,
    grid_shape,
    lighten,
    new_figure,
    styled,
)

MOST_WIDTH = 5.0  # points of the strongest edge
LISTED = 14  # edges whose spread over members is drawn
BLOCK = (1.62, -0.6, 0.28)  # middle of the regions beside a head, and half their distance


@styled
def edge_maps(edges: pd.DataFrame, model: str) -> Figure:
    """Draw what removing edges costs, a head a class, and the strongest edges with interval and spread.

    `edges` is edges.tsv.
    """
    rows = rows_of(edges, model=model)
    title = "What edges of the graphs are worth"
    if rows.empty:
        return empty_figure(title, f"{model}: no edge is there in the asked samples")
    targets = [*targets_of(rows), ALL]
    lines, columns = grid_shape(len(targets), 4)
    figure = new_figure(2.5 * columns + 3.4, 1.95 * max(lines, 2) + 1.7)
    grid = figure.add_gridspec(
        lines + 1, columns + 1, height_ratios=[*[1.0] * lines, 0.1], width_ratios=[*[2.5] * columns, 3.2]
    )
    most = float(rows["effect"].abs().max()) or 1.0
    for place, target in enumerate(targets):
        axes = figure.add_subplot(grid[divmod(place, columns)])
        own = rows_of(rows, target=target)
        _head(axes, own, most)
        axes.set_title(f"{'All classes' if target == ALL else words(target)} (n = {own['samples'].max():.0f})")
    _strongest(figure.add_subplot(grid[:lines, columns]), strongest(rows))
    _keys(figure.add_subplot(grid[lines, :columns]), most)
    entitle(figure, _message(rows, model), _caption(model))
    return figure


def strongest(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the edges of single classes that cost most without their sign, strongest first."""
    own = rows[rows["target"].astype(str) != ALL]
    return own.loc[own["effect"].abs().nlargest(LISTED).index]


def widths(effects: np.ndarray, most: float) -> np.ndarray:
    """Return the widths of lines in points, in proportion to what is lost."""
    return MOST_WIDTH * np.abs(effects) / most


def node_places() -> dict[str, tuple[float, float]]:
    """Return where channels and, beside the head, regions lie."""
    x, y, side = BLOCK
    regions = {name: (x + 2 * side * own[0], y + 2 * side * own[1]) for name, own in REGION_PLACES.items()}
    return dict(positions()) | regions


def _head(axes: Axes, rows: pd.DataFrame, most: float) -> None:
    """Draw the edges of both graphs, the weakest below."""
    draw_head(axes, color=GRAY)
    axes.set(xlim=(-1.2, BLOCK[0] + 1.7 * BLOCK[2]))
    places, rows = node_places(), rows.sort_values("size")
    segments = [[places[first], places[second]] for first, second in zip(rows["first"], rows["second"], strict=True)]
    colors = [signed_color(effect, known) for effect, known in zip(rows["effect"], clear_edges(rows), strict=True)]
    axes.add_collection(
        LineCollection(segments, colors=colors, linewidths=widths(rows["effect"], most), capstyle="round", zorder=5)
    )
    used = [name for name in (*CHANNELS, *REGIONS) if name in set(rows["first"]) | set(rows["second"])]
    for name in used:
        x, y = places[name]
        axes.plot(x, y, "o", color="white", markeredgecolor=GRAY, markeredgewidth=0.5, markersize=8.5, zorder=6)
        write(axes, x, y, name, fontsize=4.8, zorder=7)


def _strongest(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the strongest edges with their intervals, and how far members differ."""
    axes.axvline(0, color=BLACK, linewidth=0.7, zorder=1)
    names = []
    for place, (row, clear) in enumerate(zip(rows.to_dict("records"), clear_edges(rows), strict=True)):
        color = signed_color(row["effect"], clear)
        if np.isfinite(row["spread"]):
            ends = row["effect"] - row["spread"], row["effect"] + row["spread"]
            axes.plot(ends, [place, place], color="#DDDDDD", linewidth=6, solid_capstyle="butt", zorder=1)
        whisker(axes, row["effect"], place, (row["low"], row["high"]), color)
        target = "" if str(row["target"]) == ALL else f"{words(row['target'])}: "
        names.append(f"{target}{row['first']}–{row['second']}")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(max(len(names), 4) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set(title="The strongest, and members' spread", xlabel="loss of the logit without the edge")


def _keys(axes: Axes, most: float) -> None:
    colors = {
        "speaks for the class": POSITIVE,
        "speaks against it": NEGATIVE,
        "for it, not clearly": lighten(POSITIVE),
        "against it, not clearly": lighten(NEGATIVE),
    }
    handles = [Line2D([], [], color=color, linewidth=3, label=label) for label, color in colors.items()]
    handles.append(Line2D([], [], color=BLACK, linewidth=MOST_WIDTH, label=f"width of a loss of {most:.2g}"))
    key_row(axes, handles)


def _message(rows: pd.DataFrame, model: str) -> str:
    """Say how many edges matter clearly, and whether members agree on the strongest."""
    single = rows[rows["target"].astype(str) != ALL]
    clear = int(clear_edges(single).sum())
    top = strongest(rows)
    apart = int((top["spread"] >= top["effect"].abs()).sum())
    agreed = "members agree on" if not apart else f"members differ as much as the effect in {apart} of"
    counted = f"{clear} of {plural(len(single), 'edge')} by class matter clearly (q < {FALSE_SHARE})"
    counted += "" if can_be_clear(rows) else f", {TOO_FEW}"
    return f"{model}: {counted}; {agreed} the {len(top)} strongest"


def _caption(model: str) -> str:
    return (
        f"{model}: what the logit of a sample's own class loses without an edge, in both directions and all windows, "
        "means over test samples that have it; width in proportion, one scale for all. Heads from above, nose up; "
        "beside them the regions of the spectrogram. Right: 95 % intervals, resampling patients; gray bars: one "
        "standard deviation of members to either side (none for one member). Edges are taken out one by one: of two "
        f"that stand in for each other neither shows. Clear: q < {FALSE_SHARE} over all of the model's edges (turning "
        "whole patients' signs), and all members of one sign. Intervals are over patients, and ignore members' seeds."
    )
