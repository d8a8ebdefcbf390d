"""A sheet a picture: its maps by every method, alone and over the picture, their sizes and how far they agree."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from consilience.attribution.names import TOLERANCE
from consilience.domains.fashion.agreement import STATISTICS, agreements, statistics
from consilience.domains.fashion.mosaics import (
    ABOVE_TOLERANCE,
    CONTRIBUTIONS,
    broken,
    colored,
    gray,
    key,
    misses,
    of_slopes,
    overlaid,
    show,
    two_digits,
)
from consilience.figures.pages import write_pages
from consilience.figures.style import BLACK, new_figure, number, styled
from consilience.figures.training import CONFUSION_COLORS

WIDTH, HEIGHT = 11.7, 6.8  # inches: as wide as A4 on its side
REPEAT = 4
CAPTION = (
    "Attributions to the true class, means over members. Every map has its own scale, to the 99th percentile of its "
    "sizes; white is 0. The picture is a negative: dark is bright. Misses: of the change that attributions should sum "
    "to, the median over all explained pictures; red above 1 %. Below the diagonal Pearson's, above it Spearman's "
    "correlation of absolute values."
)
NAMES = {"mean": "mean", "max": "largest", "sd": "sd", "percentile_99": "99th percentile"}


@styled
def sheet(
    picture: np.ndarray,
    maps: Mapping[str, np.ndarray],
    signed: Mapping[str, bool],
    title: str,
    gaps: Mapping[str, float],
) -> Figure:
    """Draw one picture (rows, columns) with its maps (rows, columns) by method, attributions to the true class.

    `gaps` says how much of the change methods miss that promise to be complete.
    """
    figure = new_figure(WIDTH, HEIGHT)
    figure.set_layout_engine("none")  # every page has the same places, which need no solving
    values = np.stack(list(maps.values()))
    tiles = np.ones((2, 1 + len(maps), *picture.shape, 3))
    tiles[0, 0] = gray(picture)
    for column, (name, one) in enumerate(maps.items(), start=1):
        tiles[:, column] = colored(one, signed[name]), overlaid(one, picture, signed[name])
    mosaic = figure.add_axes((0.075, 0.5, 0.905, 0.34))
    show(mosaic, tiles, ["alone", "overlaid"], ["picture", *maps], repeat=REPEAT)
    mosaic.set_anchor("N")
    flat = values.reshape(len(values), 1, -1)
    _table(figure.add_axes((0.03, 0.07, 0.47, 0.38)), list(maps), statistics(flat[:, 0]), gaps)
    _matrix(figure.add_axes((0.62, 0.1, 0.34, 0.35)), agreements(flat))
    figure.text(0.03, 0.965, title, fontsize=11, fontweight="bold", va="top")
    key(figure, CONTRIBUTIONS if any(signed.values()) else None, not all(signed.values()), "upper right")
    figure.text(
        0.03,
        0.018,
        textwrap.fill(CAPTION + of_slopes(list(maps)), 200),
        fontsize=7,
        color="#4D4D4D",
    )
    return figure


def _table(axes: Axes, names: list[str], values: Mapping[str, np.ndarray], gaps: Mapping[str, float]) -> None:
    """Write the statistics of every method, a text a column, so that few texts are laid out."""
    axes.set_axis_off()
    axes.set_title("Size of the attributions |a| over the pixels")
    columns = {"method": [f"{place}  {broken(name, 60)}" for place, name in enumerate(names, start=1)]}
    columns |= {NAMES[name]: [number(value, ".3g") for value in values[name]] for name in STATISTICS}
    bad = [gaps.get(name, 0) > TOLERANCE for name in names]
    told = [misses(gaps.get(name)) for name in names]
    columns["misses"] = ["" if red else text for text, red in zip(told, bad, strict=True)]
    places = (0, 0.52, 0.63, 0.73, 0.89, 1.0)
    for place, (head, cells) in zip(places, columns.items(), strict=True):
        _column(axes, place, head, cells, BLACK)
    _column(axes, places[-1], "", [text if red else "" for text, red in zip(told, bad, strict=True)], ABOVE_TOLERANCE)


def _column(axes: Axes, place: float, head: str, cells: list[str], color: str) -> None:
    style = {"ha": "right" if place else "left", "va": "top", "fontsize": 7, "transform": axes.transAxes}
    axes.text(place, 0.97, head, color="#4D4D4D", **style)
    # A text of spaces alone has no height: what stands below would move up.
    axes.text(place, 0.90, "\n".join(cell or "\u00a0" for cell in cells), linespacing=1.55, color=color, **style)


def _matrix(axes: Axes, found: Mapping[str, np.ndarray]) -> None:
    pearson, spearman = found["pearson"][0], found["spearman"][0]
    matrix, names = np.where(np.tri(len(pearson), dtype=bool), pearson, spearman), range(1, len(pearson) + 1)
    np.fill_diagonal(matrix, np.nan)
    axes.imshow(np.nan_to_num(matrix), cmap=CONFUSION_COLORS, vmin=0, vmax=1, aspect="auto", interpolation="none")
    for (row, column), value in np.ndenumerate(matrix):
        if row != column:
            color = "white" if value > 0.5 else BLACK
            axes.text(column, row, two_digits(value), ha="center", va="center", fontsize=5.5, color=color)
    axes.set_xticks(range(len(names)), [str(place) for place in names])
    axes.set_yticks(range(len(names)), [str(place) for place in names])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("Agreement of the methods on this picture")


def write_sheets(path: str | Path, sheets: Iterable[Figure]) -> None:
    """Write sheets as the pages of one PDF; without any, one page that says so."""
    write_pages(
        path, sheets, WIDTH, HEIGHT, "No test picture was kept whole: attribution.showcase, showcase_confidence."
    )
