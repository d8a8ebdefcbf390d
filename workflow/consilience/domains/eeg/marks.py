"""What the slice's figures share: colors and names, points with intervals, and what is said where nothing is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from consilience.domains.eeg.asked import ALL
from consilience.domains.eeg.montage import BRANCHES
from consilience.figures.style import GRAY, GREEN, NEGATIVE, POSITIVE, PURPLE, lighten, number

BRANCH_COLORS = dict(zip(BRANCHES, (PURPLE, GREEN), strict=True))
BRANCH_MARKERS = dict(zip(BRANCHES, ("o", "s"), strict=True))
UNCLEAR = GRAY  # an interval that holds what chance gives, or none at all
Ends = tuple[float, float]
MINUS = "\u2212"


def words(name: str) -> str:
    """Return the name of a method, class or statistic in words."""
    return str(name).replace("_", " ")


def rows_of(table: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """Return the rows that hold these values, which are compared as texts."""
    kept = np.ones(len(table), bool)
    for column, value in wanted.items():
        kept &= (table[column].astype(str) == str(value)).to_numpy()
    return table[kept]


def targets_of(table: pd.DataFrame, column: str = "target") -> list[str]:
    """Return the classes that a table has rows of, in its order, without `all`."""
    return [name for name in dict.fromkeys(table[column].astype(str)) if name != ALL]


def is_clear(low: float, high: float, null: float = 0.0) -> bool:
    """Say whether an interval leaves out what chance gives; one that is not known does not."""
    return bool(low > null or high < null)


def signed_color(value: float, clear: bool) -> str | tuple[float, float, float]:
    """Return the color of a sign, lighter where the interval leaves it open."""
    color = POSITIVE if value > 0 else NEGATIVE
    return color if clear else lighten(color)


def whisker(
    axes: Axes, value: float, place: float, ends: Ends, color: object, upright: bool = False, **point: object
) -> None:
    """Draw a value with its interval, along x unless `upright`; ends that are not known are left out."""
    if np.isfinite(ends).all():
        along, across = list(ends), [place, place]
        axes.plot(*((across, along) if upright else (along, across)), color=color, linewidth=1.1, zorder=2)
    settings = {"marker": "o", "markersize": 4, "linestyle": "", "color": color, "zorder": 3} | point
    axes.plot(*((place, value) if upright else (value, place)), **settings)


def handle(label: str, color: object, marker: str = "o", filled: bool = True, **own: object) -> Line2D:
    """Return a key of a legend: a point."""
    face = color if filled else "white"
    settings = {"linestyle": "", "markersize": 4} | own
    return Line2D([], [], color=color, marker=marker, markerfacecolor=face, label=label, **settings)


def key_row(axes: Axes, handles: Sequence[Line2D]) -> None:
    """Give axes over to a legend in one line."""
    axes.set_axis_off()
    settings = {"columnspacing": 1.4, "handlelength": 1.2, "borderpad": 0}
    axes.legend(handles=handles, loc="center left", ncols=len(handles), **settings)


def interval_text(row: Mapping[str, float], value: str, low: str = "low", high: str = "high", form: str = ".2f") -> str:
    """Write a value with its interval where there is one."""
    ends = [row.get(low), row.get(high)]
    said = number(row[value], form)
    # In tables an end that is not known is NaN, in metrics.json it is null or left out.
    known = f" [{number(ends[0], form)}, {number(ends[1], form)}]" if pd.notna(ends).all() else ""
    return f"{said}{known}".replace("-", MINUS)


def plural(count: int, noun: str, many: str | None = None) -> str:
    """Write a number with its noun, whose plural is with an s unless given."""
    return f"{count} {noun if count == 1 else many or noun + 's'}"
