"""Which types of calls the strongest atoms stand for."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from consilience.domains.variants.levels import FALSE_SHARE
from consilience.domains.variants.marks import atom_name, color_of, doublings, percent, plural
from consilience.domains.variants.specialization import LEAST_LIFT
from consilience.figures.style import BLACK, GRAY, GREEN, PURPLE, empty_figure, entitle, new_figure, styled

# Lifts are no directions of a prediction, so their colors are others; white: as often as in all calls.
LIFT_COLORS = LinearSegmentedColormap.from_list("lift", [PURPLE, "#F7F7F7", GREEN])
MISSING = "#E6E6E6"
SHOWN = 12  # atoms of either direction
BAR = 0.014  # width of the bars that tell directions, relative to the heat map
FURTHEST = 3.0  # doublings of a lift at which colors end


def atoms_by_direction(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the `count` atoms of either direction whose intervals leave out 1, those of true calls first.

    Where there are none, those of most support, whichever way they lean.
    """
    found = pd.concat([table[sign * table["near_end"] > 0].head(count) for sign in (1, -1)])
    return found if len(found) else table.sort_values(["support", "atom"], ascending=[False, True]).head(2 * count)


@styled
def type_specialization(specialization: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Draw how many times more often than in all calls an atom's calls are of a type, for the strongest atoms.

    `specialization` is specialization.tsv, `table` sae_feature_bias_analysis.csv.
    """
    title = "Which types of calls the atoms stand for"
    if specialization.empty:
        return empty_figure(title, "No atom is on in enough training calls to be tested.")
    atoms = atoms_by_direction(table, SHOWN)
    types = list(
        specialization.drop_duplicates("type").sort_values(["base_rate", "type"], ascending=[False, True])["type"]
    )
    grid = specialization.set_index(["atom", "type"]).loc[lambda own: own.index.get_level_values(0).isin(atoms["atom"])]
    figure = new_figure(1.9 + max(3.2, 0.85 * len(types)) + 0.9, 1.9 + 0.235 * max(len(atoms), 7))
    axes = figure.subplots()
    lifts = grid["lift"].unstack("type").reindex(index=atoms["atom"], columns=types)
    values = np.clip(doublings(lifts), -FURTHEST, FURTHEST)
    image = axes.imshow(
        np.ma.masked_invalid(values),
        cmap=LIFT_COLORS,
        vmin=-FURTHEST,
        vmax=FURTHEST,
        aspect="auto",
        interpolation="none",
    )
    axes.set_facecolor(MISSING)
    _cells(axes, grid, atoms, types, values)
    _name_atoms(axes, atoms, len(types))
    rates = specialization.drop_duplicates("type").set_index("type")["base_rate"]
    axes.set_xticks(range(len(types)), [f"{name}\n{percent(rates[name])}" for name in types])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    _lift_bar(figure, axes, image)
    entitle(figure, _of_types(specialization, atoms), _type_caption(atoms))
    return figure


def _cells(axes: Axes, grid: pd.DataFrame, atoms: pd.DataFrame, types: list[str], values: np.ndarray) -> None:
    for line, atom in enumerate(atoms["atom"]):
        for column, name in enumerate(types):
            row = grid.loc[(atom, name)]
            clear = row["q_value"] < FALSE_SHARE
            dark = abs(values[line, column]) > 0.62 * FURTHEST
            axes.text(
                column, line, percent(row["share"]), ha="center", va="center", fontsize=6.5,
                color="white" if dark else BLACK if clear else GRAY, fontweight="bold" if clear else "normal",
            )  # fmt: skip


def _name_atoms(axes: Axes, atoms: pd.DataFrame, columns: int) -> None:
    """Name the lines, and tell their directions by a bar in its color left of them: gray, where not significant."""
    axes.set_yticks(range(len(atoms)), [atom_name(atom) for atom in atoms["atom"]])
    width = BAR * columns
    for line, (direction, significant) in enumerate(zip(atoms["direction"], atoms["significant"], strict=True)):
        color = color_of(direction if significant else "none")
        bar = Rectangle((-0.5, line - 0.5), -width, 1, color=color, linewidth=0, clip_on=False)
        axes.add_patch(bar)
    axes.tick_params(axis="y", pad=7)
    change = int((atoms["direction"] == "positive").sum())
    if 0 < change < len(atoms) and (atoms["near_end"] != 0).all():
        axes.axhline(change - 0.5, color="white", linewidth=3)


def _lift_bar(figure: Figure, axes: Axes, image: object) -> None:
    places = np.arange(-int(FURTHEST), int(FURTHEST) + 1)
    bar = figure.colorbar(image, ax=axes, fraction=0.05, aspect=24, pad=0.02, ticks=places)
    bar.ax.set_yticklabels([str(2**place) if place >= 0 else f"1/{2**-place}" for place in places])
    bar.set_label("lift: share among the atom's calls,\nrelative to all calls")
    bar.outline.set_visible(False)


def _of_types(specialization: pd.DataFrame, atoms: pd.DataFrame) -> str:
    clear = specialization[(specialization["q_value"] < FALSE_SHARE) & (specialization["lift"] >= LEAST_LIFT)]
    if specialization["type"].nunique() < 2:
        return "All calls are of one type, so no atom can stand for another"
    count = int(atoms["atom"].isin(clear["atom"]).sum())
    if not count:
        return f"None of {plural(len(atoms), 'strong atom')} prefers a type of call for certain"
    return (
        f"{count} of the {plural(len(atoms), 'strongest atom')} {'prefers' if count == 1 else 'prefer'} a type of call"
    )


def _type_caption(atoms: pd.DataFrame) -> str:
    biased = bool((atoms["near_end"] != 0).all())
    which = "The strongest atoms" if biased else "No atom is biased for certain: those of most support"
    return (
        f"{which}; bars at the left: on more in true (orange) or false (blue) calls; gray: not significant. In a "
        "cell: the share of the type among the training calls that have the atom on; below the type's name its share "
        f"among all. Bold: q < {FALSE_SHARE} over all atoms and types (hypergeometric test).\nIt looks bad where all "
        "atoms of one direction prefer one type: then the bias may be the type's alone; the bias within types tells."
    )
