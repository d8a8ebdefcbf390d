"""Maps of pixels, class by class: what methods, atoms and the consensus point at, each a mosaic of small pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from consilience.attribution.names import TOLERANCE
from consilience.domains.fashion.mosaics import (
    ABOVE_TOLERANCE,
    ATOMS,
    CONTRIBUTIONS,
    DIRECTIONS,
    GAP,
    colored,
    gray,
    key,
    misses,
    of_slopes,
    overlaid,
    show,
)
from consilience.figures.style import BLACK, entitle, new_figure, styled

TILE = 0.66  # inches
MARGIN = 1.5  # for the names of lines
ABOVE = 1.45  # for title, names of columns and caption
LABEL = 9  # pixels under an atom
OWN_SCALE = (
    "Every map has its own scale, to the 99th percentile of its sizes; white is 0. Pictures are negatives: dark is "
    "bright."
)


def _mosaic_figure(lines: int, columns: int, below: int = 0) -> Figure:
    return new_figure(MARGIN + TILE * columns * (28 + GAP) / 28, ABOVE + TILE * lines * (28 + GAP + below) / 28)


@styled
def class_maps(
    pictures: np.ndarray,
    maps: Mapping[str, np.ndarray],
    signed: Mapping[str, bool],
    classes: Sequence[str],
    model: str,
    gaps: Mapping[str, float],
    of: str,
) -> Figure:
    """Draw the mean picture of every class, and below it what every method gives for the class.

    `pictures` (classes, rows, columns) are means, `maps` by method (classes, rows, columns) are means over the class's
    own samples and the members, of which `of` tells; `signed` says which methods have a sign, `gaps` how much of the
    change methods miss that promise to be complete.
    """
    tiles = np.stack([gray(pictures), *(colored(values, signed[name]) for name, values in maps.items())])
    caption = f"Means over each class's own among {of}.{of_slopes(list(maps))} {OWN_SCALE}"
    bad = {name for name, gap in gaps.items() if gap > TOLERANCE}
    if bad:
        caption += " Red: misses so much of the change it should sum to (median)."
    lines = ["mean picture", *(f"{name} (misses {misses(gaps[name])})" if name in bad else name for name in maps)]
    figure = _maps(tiles, lines, signed, classes, f"Pixels that tell classes, by method ({model})", caption)
    for label, name in zip(figure.axes[0].get_yticklabels(), ["", *maps], strict=True):
        label.set_color(ABOVE_TOLERANCE if name in bad else BLACK)
    return figure


@styled
def class_overlays(
    pictures: np.ndarray, maps: Mapping[str, np.ndarray], signed: Mapping[str, bool], classes: Sequence[str], model: str
) -> Figure:
    """Draw the maps of `class_maps` over the mean pictures."""
    tiles = np.stack([overlaid(values, pictures, signed[name]) for name, values in maps.items()])
    caption = (
        f"The maps of class_maps_{model}.png over the mean pictures (negatives: dark is bright): the larger a value, "
        f"the more it covers.{of_slopes(list(maps))}"
    )
    title = f"The same pixels over the mean pictures ({model})"
    return _maps(tiles, list(maps), signed, classes, title, caption)


def _maps(
    tiles: np.ndarray,
    lines: Sequence[str],
    signed: Mapping[str, bool],
    classes: Sequence[str],
    title: str,
    caption: str,
) -> Figure:
    figure = _mosaic_figure(len(lines), len(classes))
    show(figure.subplots(), tiles, lines, classes)
    key(figure, CONTRIBUTIONS if any(signed.values()) else None, not all(signed.values()))
    entitle(figure, title, caption)
    return figure


@styled
def class_atoms(
    pictures: np.ndarray,
    importance: np.ndarray,
    atoms: np.ndarray,
    table: pd.DataFrame,
    classes: Sequence[str],
    model: str,
) -> Figure:
    """Draw every class's mean picture, its importance map and its most selective atoms, a line a class.

    `pictures` and `importance` are (classes, rows, columns), `atoms` (atoms, rows, columns); `table` is atoms.tsv
    of the model. Under an atom stand its number and its correlation with the importance map.
    """
    count = int(table["rank"].max()) if len(table) else 0
    tiles = np.ones((len(classes), 2 + count, *pictures.shape[1:], 3))
    tiles[:, 0], tiles[:, 1] = gray(pictures), colored(importance, signed=False)
    places = {name: line for line, name in enumerate(classes)}
    lines, columns = table["class"].map(places).to_numpy(int), table["rank"].to_numpy(int) + 1
    tiles[lines, columns] = colored(atoms[table["atom"].to_numpy(int)], signed=True)
    figure = _mosaic_figure(*tiles.shape[:2], below=LABEL)
    axes = figure.subplots()
    names = ["mean picture", "importance", *(f"{place}." for place in range(1, count + 1))]
    medians = table.groupby("class")["median_correlation"].first()
    show(axes, tiles, classes, names, below=LABEL)
    height, width = tiles.shape[2:4]
    for line, column, row in zip(lines, columns, table.itertuples(), strict=True):
        x, y = column * (width + GAP) + (width - 1) / 2, line * (height + GAP + LABEL) + height + 0.5
        text = f"#{row.atom}  r {row.importance_correlation:.2f}"
        axes.text(x, y, text, ha="center", va="top", fontsize=5.5)
    for name, line in places.items():
        x, y = width + GAP + (width - 1) / 2, line * (height + GAP + LABEL) + height + 0.5
        axes.text(x, y, f"(r {medians[name]:.2f})" if name in medians else "", ha="center", va="top", fontsize=5.5)
    caption = (
        "Atoms in order of selectivity: the difference of the mean code between the class and the others, in standard "
        "deviations. r: correlation of the atom's absolute values with the importance map, the mean absolute "
        "attribution over the class; in brackets the median r of all atoms, which share the garments' outline. "
        + OWN_SCALE
    )
    key(figure, ATOMS, unsigned=True)
    entitle(figure, f"Atoms that are selective for a class ({model})", caption)
    return figure


@styled
def driver_maps(
    drivers: pd.DataFrame, places: Mapping[str, tuple[int, int]], pictures: np.ndarray, truth: pd.DataFrame | None
) -> Figure:
    """Draw consensus, linear coefficients and what both list as pictures, a column a class.

    `drivers` is drivers.csv, `places` the row and column of every feature, `pictures` (classes, rows, columns) are
    means; pixels planted in `truth` are outlined.
    """
    classes, side = list(drivers["target"].unique()), pictures.shape[1:]
    sign = drivers["direction"].map({"positive": 1.0, "negative": -1.0})
    values = {
        "consensus of the networks": drivers["average_attribution"],
        "logistic regression": drivers["linear_coefficient"],
        "listed by both": sign.where(drivers["in_overlap"].astype(bool), 0.0),
    }
    where = {name: column for column, name in enumerate(classes)}
    rows, columns = np.array([places[name] for name in drivers["feature"]]).T
    maps = np.zeros((len(values), len(classes), *side))
    for line, column in enumerate(values.values()):
        maps[line, drivers["target"].map(where), rows, columns] = column.fillna(0.0)
    figure = _mosaic_figure(len(values), len(classes))
    axes = figure.subplots()
    tiles = colored(maps, signed=True)
    tiles[-1] = overlaid(maps[-1], pictures, signed=True)
    show(axes, tiles, list(values), classes)
    key(figure, DIRECTIONS, unsigned=False)
    caption = (
        "average_attribution and linear_coefficient (per standard deviation of the pixel) of drivers.csv, and "
        f"in_overlap with its direction. {OWN_SCALE}"
    )
    if truth is not None:
        planted = np.zeros((len(classes), *side), bool)
        for feature, target in zip(truth["feature"], truth["target"], strict=True):
            planted[(where[target], *places[feature])] = True
        segments = [segment for line in range(len(values)) for segment in outlines(planted, line)]
        axes.add_collection(LineCollection(segments, colors=BLACK, linewidths=0.7))
        caption += " Outlined: the pixels that were planted for the class."
    entitle(figure, "Drivers on the pixels", caption)
    return figure


def outlines(masks: np.ndarray, line: int) -> np.ndarray:
    """Return the edges (edges, 2 ends, x and y) around the true pixels of masks (columns, rows, columns) in a mosaic.

    The masks are those of the mosaic's tiles in the given line.
    """
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    height, width = masks.shape[1:]
    found = []
    for axis, ends in ((1, ((0, 1), (0, 0))), (2, ((0, 0), (0, 1)))):
        tile, row, column = np.nonzero(np.diff(padded.astype(np.int8), axis=axis))
        # Along rows the padded column is one too far, and the other way round.
        row, column = (row, column - 1) if axis == 1 else (row - 1, column)
        x, y = column + tile * (width + GAP) - 0.5, row + line * (height + GAP) - 0.5
        across, down = np.array(ends)
        found.append(np.stack([np.stack([x + across[end], y + down[end]], axis=-1) for end in range(2)], axis=1))
    return np.concatenate(found)
