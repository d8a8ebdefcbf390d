"""How large the calls are that have the strongest atoms on, and whether these tell true from false at every size."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from consilience.domains.variants.calls import SIZE_BINS
from consilience.domains.variants.card_panels import size_name
from consilience.domains.variants.marks import LEANS, atom_name, color_of, handle, key_panel, plural
from consilience.figures.style import BLACK, GRAY, empty_figure, entitle, lighten, new_figure, styled

FEWEST = 5  # calls of a bin with the atom on, for its point to be full and for the title to count it
SMALL, LARGE = 2.6, 4.4  # points


@styled
def size_profile_panels(profiles: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Draw by size bin how many calls have an atom on, and how many of them are true, a panel an atom.

    `profiles` is size_profiles.tsv, `table` sae_feature_bias_analysis.csv.
    """
    title = "How large the calls are that have an atom on"
    if profiles.empty:
        return empty_figure(title, "No atom is on in enough training calls to be told of.")
    directions = table.set_index("atom")["direction"].loc[list(dict.fromkeys(profiles["atom"]))]
    columns = [list(directions.index[directions == name]) for name in ("positive", "negative", "none")]
    columns = [own for own in columns if own]
    lines = max(len(own) for own in columns)
    figure = new_figure(max(4.4, 3.3 * len(columns)), 1.5 * lines + 2.1)
    grid = figure.add_gridspec(lines + 1, len(columns), height_ratios=(0.12 if len(columns) > 1 else 0.3, *[1] * lines))
    for column, own in enumerate(columns):
        for line, atom in enumerate(own):
            axes = figure.add_subplot(grid[line + 1, column])
            told = profiles[profiles["atom"] == atom].set_index("size_bin").reindex(SIZE_BINS)
            size_profile(axes, told, directions[atom])
            axes.set_title(f"{atom_name(atom)}: {LEANS[directions[atom]]}")
            if line == len(own) - 1:
                axes.set_xlabel("size, base pairs")
            else:
                axes.set_xticklabels([])
    found = [
        handle("share with the atom on", lighten(BLACK, 0.35), "s"),
        handle("true calls among these", BLACK, "o"),
        handle(f"fewer than {FEWEST} of these", BLACK, "o", filled=False, markersize=3.4),
        handle("true calls among all", GRAY, "_", markeredgewidth=1.6, markersize=8),
    ]
    key_panel(figure.add_subplot(grid[0, :]), found, len(found) if len(columns) > 1 else 2)
    entitle(
        figure,
        _message(profiles, directions) or title,
        "Training calls by size; none: no size told (breakends have none). Bars: the share of a bin's calls that have "
        "the atom on. Points: how many of those are true calls; ticks: how many of all calls of the bin are. A point "
        f"above its tick speaks for true calls at that size. Small and hollow: a point of fewer than {FEWEST} calls, "
        "which the title does not count.\nIt looks bad where points lie on their ticks: then the atom tells the size, "
        "and no more.",
    )
    return figure


def _message(profiles: pd.DataFrame, directions: pd.Series) -> str:
    """Say in how many size bins atoms keep their direction; nothing where none can be told."""
    signs = profiles["atom"].map(directions).map({"positive": 1, "negative": -1})
    told = (profiles["on"] >= FEWEST) & signs.notna()
    kept = (signs * (profiles["true_share_on"] - profiles["true_share_all"]))[told] > 0
    if not len(kept):
        return ""
    return f"The strongest atoms keep their direction in {kept.sum()} of {plural(len(kept), 'size bin')}"


def size_profile(axes: Axes, own: pd.DataFrame, direction: str) -> None:
    """Draw one atom's profile; `own` holds calls, on, share, true_share_on and true_share_all by size bin."""
    places, color = np.arange(len(own)), color_of(direction)
    axes.bar(places, own["share"].fillna(0), color=lighten(color, 0.35), width=0.78)
    axes.plot(places, own["true_share_all"], "_", color=GRAY, markersize=13, markeredgewidth=1.6, zorder=3)
    told = own["on"].to_numpy() >= FEWEST
    for chosen, face, size in ((~told, "white", SMALL), (told, color, LARGE)):
        points, settings = own["true_share_on"].where(chosen), {"color": color, "markerfacecolor": face}
        axes.plot(places, points, "o", markersize=size, markeredgewidth=0.9, zorder=4, clip_on=False, **settings)
    for place in places[own["calls"].fillna(0).to_numpy() == 0]:
        axes.text(place, 0.02, "no calls", rotation=90, ha="center", va="bottom", fontsize=6, color=GRAY)
    axes.set_ylim(0, 1.03)
    axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axes.set_xticks(places, [size_name(name) for name in own.index])
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")
