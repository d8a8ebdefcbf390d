"""The one style of every figure: colors that color-blind readers can tell apart, sizes, grids of panels, labels.

Figures are made without pyplot, and their settings end with the function that makes them.
"""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Callable, Iterable
from typing import ParamSpec

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

Parameters = ParamSpec("Parameters")

# Okabe & Ito (2008), Color Universal Design; yellow is left out, which is too light for lines and text on white.
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, GRAY = "#E69F00", "#56B4E9", "#1A1A1A", "#8C8C8C"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, BLACK, GRAY)
# One color a method of attribution; further colors after Tol (2021), Colour schemes: muted. Gray is for controls.
METHOD_COLORS = (*PALETTE[:-1], "#882255", "#999933", "#332288", "#44AA99", "#AA4499")
POSITIVE, NEGATIVE = VERMILLION, BLUE
SIGN_COLORS = {"positive": POSITIVE, "negative": NEGATIVE}
LIGHT = 0.40  # the opacity of what stands behind: members, bars of less evidence

STYLE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same pixels everywhere
    "font.size": 8,
    "text.parse_math": False,  # names are text, whatever dollar signs they hold
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.edgecolor": "#4D4D4D",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.prop_cycle": matplotlib.cycler(color=PALETTE),
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": "#4D4D4D",
    "ytick.color": "#4D4D4D",
    "xtick.labelcolor": BLACK,
    "ytick.labelcolor": BLACK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "lines.linewidth": 1.4,
}


def styled(draw: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Run a drawing function under `STYLE` over matplotlib's own defaults, whatever the reader's matplotlibrc says."""

    @functools.wraps(draw)
    def inner(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Figure:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            figure = draw(*args, **kwargs)
            for axes in figure.axes:
                # The number of ticks is settled when the figure is saved, by the label size of then if none is set.
                axes.tick_params(labelsize=STYLE["xtick.labelsize"])
            return figure

    return inner


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches, laid out without overlaps, on the Agg canvas."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.1, hspace=0.03, wspace=0.03)
    return figure


def grid_shape(panels: int, columns: int) -> tuple[int, int]:
    """Return (rows, columns) of a grid for so many panels, at most `columns` wide and with even rows."""
    rows = math.ceil(panels / columns)
    return rows, math.ceil(panels / rows)


def panel_grid(panels: int, columns: int, width: float, height: float, **shared: bool) -> tuple[Figure, list[Axes]]:
    """Return a figure of so many panels, each about `width` by `height` inches, with room for title and caption."""
    rows, columns = grid_shape(panels, columns)
    figure = new_figure(width * columns, height * rows + 0.7)
    axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for unused in axes[panels:]:
        unused.set_axis_off()
    return figure, list(axes[:panels])


def entitle(figure: Figure, title: str, caption: str) -> None:
    """Write the title above and the caption below, wrapped to the figure; the layout keeps room for both."""
    # In inches: a bold character of 11 points takes about a tenth, one of 7 points a seventeenth.
    figure.suptitle(textwrap.fill(title, int(10 * figure.get_figwidth())), x=0.01, ha="left")
    lines = [textwrap.fill(line, int(17 * figure.get_figwidth())) for line in caption.split("\n")]
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7, fontweight="normal", color="#4D4D4D")


def say(axes: Axes, text: str) -> None:
    """Write in axes why there is nothing to draw."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=GRAY, wrap=True)


def empty_figure(title: str, reason: str) -> Figure:
    """Return a figure that says why it shows nothing."""
    figure = new_figure(6.4, 1.6)
    say(figure.subplots(), reason)
    entitle(figure, title, "")
    return figure


def legend_width(labels: Iterable[str]) -> float:
    """Return the inches that a column of a legend takes: the longest label, and its handle."""
    return 0.5 + 0.062 * max(len(label) for label in labels)


def shorten(name: str, length: int = 26) -> str:
    """Cut the middle out of a long name, so that labels stay apart; both ends often tell names apart."""
    name = str(name)
    keep = length - 1
    return name if len(name) <= length else f"{name[: keep - keep // 2]}…{name[-(keep // 2) :]}"


def number(value: float | None, form: str = ".3g") -> str:
    """Write a number in this format, and `undefined` for what is not one."""
    return format(value, form) if value is not None and math.isfinite(value) else "undefined"


def lighten(color: str, opacity: float = LIGHT) -> tuple[float, float, float]:
    """Mix a color with white, for what stands behind; unlike transparency it hides the grid."""
    red, green, blue = (1 - opacity * (1 - channel) for channel in to_rgb(color))
    return red, green, blue
