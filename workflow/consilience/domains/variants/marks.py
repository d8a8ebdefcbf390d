"""What the slice's figures share: colors by direction, odds on a scale of doublings, and labels that stay apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from consilience.figures.style import BLACK, GRAY, NEGATIVE, POSITIVE, lighten, number

MINUS = "\u2212"
DIRECTIONS = ("positive", "negative")
COLORS = {"positive": POSITIVE, "negative": NEGATIVE}
OF_CALLS = {"positive": "true calls", "negative": "false calls", "none": "neither"}
LEANS = {"positive": "leans to true calls", "negative": "leans to false calls", "none": "leans to neither"}
STRATA = "calls of one type, size bin and dataset, all with or all without a consensus sequence"
WIDEST = 2.0**10  # odds ratios beyond are drawn at the edge
NO_STRATUM = "no stratum tells"
TINY = 1e-300  # a p of 0 is drawn as this
POINT = 4  # dots around the middle of a point that no name may touch
HALO = [withStroke(linewidth=1.6, foreground="white")]
# Where a label may stand, in points right of and above its point, with its alignment; the first that is free.
_NEAR = ((6, 0, "left", "center"), (-6, 0, "right", "center"), (0, 6, "center", "bottom"), (0, -6, "center", "top"))
PLACES = (
    *_NEAR,
    *(
        (x * step, y * step, "left" if x > 0 else "right", "bottom" if y > 0 else "top")
        for step in (5, 11, 18, 26)
        for y in (1, -1)
        for x in (1, -1)
    ),
    *((x, y, "left" if x > 0 else "right", "center") for x in (26, -26) for y in (0, 12, -12, 22, -22)),
)


def doublings(odds: pd.Series | np.ndarray) -> np.ndarray:
    """Return the logarithm to base 2 of odds ratios; those beyond `WIDEST`, or infinite, are at the edge."""
    return np.log2(np.clip(np.asarray(odds, float), 1 / WIDEST, WIDEST))


def strength(p: pd.Series | np.ndarray) -> np.ndarray:
    """Return -log10 of p, bounded where p is 0."""
    return -np.log10(np.maximum(np.asarray(p, float), TINY))


def color_of(direction: str, clear: bool = True) -> str | tuple[float, float, float]:
    """Return the color of a direction, light where the evidence leaves it open, gray for none."""
    color = COLORS.get(direction, GRAY)
    return color if clear else lighten(color)


def atom_name(atom: object) -> str:
    """Return the short name of an atom."""
    return f"atom {atom}"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """Write a number with its noun, whose plural is with an s unless given."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def ratio(value: float) -> str:
    """Write an odds ratio or a lift: two digits, and none behind the point from 10 on."""
    if np.isposinf(value):
        return "∞"
    return number(value, ",.0f" if value >= 10 else ".2g" if value < 1 else ".1f")


def interval(value: float, low: float, high: float) -> str:
    """Write a ratio with its interval."""
    return f"{ratio(value)} [{ratio(low)}–{ratio(high)}]"


def probability(value: float) -> str:
    """Write p or q: two digits, as a power of ten where it is small."""
    if not np.isfinite(value):
        return "not tested"
    if value < TINY:
        return "< 1e−300"
    return f"{value:.2g}" if value >= 0.001 else f"{value:.0e}".replace("e-0", "e-").replace("-", MINUS)


def percent(share: float) -> str:
    """Write a share in percent."""
    if not np.isfinite(share):
        return "undefined"
    return f"{100 * share:.1f} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


def strongest(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the first `count` significant atoms of either direction; the table has the strongest first."""
    rows = table[table["significant"]]
    return rows[rows["direction"].isin(DIRECTIONS)].groupby("direction", sort=False).head(count)


def survives(table: pd.DataFrame) -> pd.Series:
    """Say of which confirmed atoms (atoms,) the test role confirms the same direction within strata too."""
    return table["confirmed"] & table["confirmed_within"] & ~table["reversed"]


def odds_ticks(axes: Axes, which: str = "x", label: str = "odds ratio") -> None:
    """Label an axis of doublings by the odds ratios themselves."""
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    step = max(1, int(np.ceil((high - low) / 8)))
    exponents = [place for place in range(-10, 11) if place % step == 0 and low <= place <= high]
    names = [str(2**place) if place >= 0 else f"1/{2**-place}" for place in exponents]
    if which == "x":
        axes.set_xticks(exponents, names)
        axes.set_xlabel(label)
    else:
        axes.set_yticks(exponents, names)
        axes.set_ylabel(label)


def symmetric(values: Sequence[float] | np.ndarray, least: float = 1.0, room: float = 1.12) -> float:
    """Return how far an axis around 0 must reach to hold the values; `room` is a factor."""
    finite = np.abs(np.asarray(values, float))
    return room * float(max(least, finite[np.isfinite(finite)].max(initial=0)))


def handle(label: str, color: object, marker: str = "o", filled: bool = True, **own: object) -> Line2D:
    """Return a key of a legend: a point."""
    settings = {"linestyle": "", "markersize": 5, "markerfacecolor": color if filled else "white"} | own
    return Line2D([], [], color=color, marker=marker, label=label, **settings)


def key_row(axes: Axes, handles: Sequence[Line2D], columns: int | None = None) -> None:
    """Write keys in a line above the axes, or in so many columns."""
    settings = {"columnspacing": 1.2, "handletextpad": 0.4, "borderpad": 0, "borderaxespad": 0.2}
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.01), ncols=columns or len(handles), **settings)


def key_panel(axes: Axes, handles: Sequence[Line2D], columns: int | None = None) -> None:
    """Give axes over to keys in one line, or in so many columns."""
    axes.set(xticks=[], yticks=[])
    axes.set_axis_off()
    settings = {"columnspacing": 1.4, "handletextpad": 0.3, "borderpad": 0}
    axes.legend(handles=handles, loc="center left", ncols=columns or len(handles), **settings)


def label_points(
    axes: Axes, places: np.ndarray, texts: Sequence[str], others: np.ndarray | None = None, size: float = 6.5
) -> list[Annotation]:
    """Name points at `places` (points, 2), in data units, the first ones first; a name that finds no room is left out.

    Names keep off each other, off these points and `others` (points, 2) and within the axes; those that stand apart
    have a line to their point. Call it last: the layout of the figure is settled here.
    """
    figure = axes.figure
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    places = np.asarray(places, float).reshape(-1, 2)
    points = axes.transData.transform(places if others is None else np.concatenate([places, others]))
    taken = np.concatenate([points - POINT, points + POINT], axis=1)
    inside, named = axes.get_window_extent(renderer), []
    for text, place in zip(texts, places, strict=True):
        for x, y, across, along in PLACES:
            far = max(abs(x), abs(y)) > 8
            note = axes.annotate(
                text, place, (x, y), textcoords="offset points", ha=across, va=along, fontsize=size, color=BLACK,
                arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": GRAY, "shrinkA": 0, "shrinkB": 2}
                if far else None,
            )  # fmt: skip
            note.set_in_layout(False)
            note.set_path_effects(HALO)
            box = _text_box(note, renderer)
            if _within(box, inside) and not _overlaps(box, taken):
                taken = np.vstack([taken, box.extents])
                named.append(note)
                break
            note.remove()
    return named


def _text_box(note: Annotation, renderer: object) -> Bbox:
    """Return the extent of the text alone, without the line to its point."""
    note.update_positions(renderer)
    return Text.get_window_extent(note, renderer).padded(1)


def _overlaps(box: Bbox, taken: np.ndarray) -> bool:
    """Say whether a box overlaps any of `taken` (boxes, 4): left, bottom, right, top."""
    beside = (box.x1 < taken[:, 0]) | (taken[:, 2] < box.x0)
    return bool((~(beside | (box.y1 < taken[:, 1]) | (taken[:, 3] < box.y0))).any())


def _within(box: Bbox, other: Bbox) -> bool:
    return box.x0 >= other.x0 and box.x1 <= other.x1 and box.y0 >= other.y0 and box.y1 <= other.y1
