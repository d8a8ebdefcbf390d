"""Attributions as colors, letters as shapes, and what every FCGR panel shares: corners, outlines, one scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from consilience.domains.mirna.prepare import BRANCHES
from consilience.figures.style import BLACK, BLUE, GREEN, NEGATIVE, ORANGE, POSITIVE, VERMILLION

UNSIGNED = "#4B2A70"  # what has a size and no sign
# An odd number of colors, so that 0 is white.
SIGNED_COLORS = LinearSegmentedColormap.from_list(
    "signed", ["#00304D", NEGATIVE, "#FFFFFF", POSITIVE, "#5C2400"], N=257
)
UNSIGNED_COLORS = LinearSegmentedColormap.from_list("unsigned", ["#FFFFFF", "#B79AD3", UNSIGNED, "#1B0B30"])
FREQUENCIES = LinearSegmentedColormap.from_list("frequencies", ["#FFFFFF", "#9A9A9A", "#3A3A3A", "#000000"])
LETTER_COLORS = {"A": GREEN, "C": BLUE, "G": ORANGE, "T": VERMILLION, "N": "#8C8C8C"}
LABEL_COLORS = {"pair": POSITIVE, "no pair": NEGATIVE}
BRANCH_NAMES = dict(zip(BRANCHES, ("miRNA", "site"), strict=True))
BRANCH_TITLES = dict(zip(BRANCHES, ("miRNA", "Site"), strict=True))
PERCENTILE = 99  # of sizes, which a scale ends at
# By corner of the image: place in axes coordinates, alignment.
CORNERS = {
    "A": (-0.015, 1, "right", "top"),
    "C": (1.015, 1, "left", "top"),
    "G": (1.015, 0, "left", "bottom"),
    "T": (-0.015, 0, "right", "bottom"),
}
ON_CORNERS = (
    "A k-mer stands in the quadrant of its last nucleotide (letters at the corners), within it in that of the one "
    "before, and so on."
)
_FONT = FontProperties(family="DejaVu Sans", weight="bold")


def words(name: str) -> str:
    """Return the name of a method or model in words."""
    return name.replace("_", " ")


def limit(values: np.ndarray) -> float:
    """Return where the scale of an array ends: the 99th percentile of |a|, the largest where that is 0, else 1."""
    sizes = np.abs(values[np.isfinite(values)])
    if not sizes.size:
        return 1.0
    return float(np.percentile(sizes, PERCENTILE) or sizes.max() or 1.0)


def scale(values: np.ndarray, signed: bool) -> dict[str, object]:
    """Return color map and limits for `imshow`: around 0 where there is a sign, else from 0."""
    most = limit(values)
    return {
        "cmap": SIGNED_COLORS if signed else UNSIGNED_COLORS,
        "vmin": -most if signed else 0.0,
        "vmax": most,
        "interpolation": "nearest",
    }


def sign_colors(values: Iterable[float], signed: bool) -> list[str]:
    """Return a color for every value, by its sign where there is one."""
    return [(POSITIVE if value >= 0 else NEGATIVE) if signed else UNSIGNED for value in values]


def show_kmers(axes: Axes, values: np.ndarray, signed: bool = False, **own: object) -> None:
    """Draw an image (side, side) of k-mers with a letter at each corner; `own` settings take the place of `scale`'s."""
    axes.imshow(values, **{**scale(values, signed), **own})
    frame(axes)


def frame(axes: Axes) -> None:
    """Leave of the axes of an image its outline, and the letters of its corners."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#8C8C8C")
    for letter, (x, y, across, up) in CORNERS.items():
        axes.text(x, y, letter, ha=across, va=up, transform=axes.transAxes, fontsize=7, fontweight="bold")


def outlines(mask: np.ndarray) -> np.ndarray:
    """Return the edges (edges, 2 ends, x and y) around the true pixels of a mask (rows, columns)."""
    padded = np.pad(mask, 1).astype(np.int8)
    row, column = np.nonzero(np.diff(padded, axis=0))
    across = np.stack([np.stack([column - 1.5 + end, row - 0.5], axis=-1) for end in (0, 1)], axis=1)
    row, column = np.nonzero(np.diff(padded, axis=1))
    down = np.stack([np.stack([column - 0.5, row - 1.5 + end], axis=-1) for end in (0, 1)], axis=1)
    return np.concatenate([across, down]).astype(float)


def outline(axes: Axes, mask: np.ndarray, color: str = BLACK, width: float = 0.8) -> None:
    """Draw a line around the true pixels of a mask."""
    if mask.any():
        axes.add_collection(LineCollection(outlines(mask), colors=color, linewidths=width), autolim=False)


def _letter(letter: str) -> Path:
    """Return a letter's shape in the square from 0 to 1; narrow ones stay narrow."""
    shape = TextPath((0, 0), letter, size=1, prop=_FONT)
    # Not the least and largest vertices: those that close a shape stand at (0, 0).
    ends = shape.get_extents()
    return Path((shape.vertices - ends.get_points().mean(axis=0)) / max(ends.size) + 0.5, shape.codes)


def write_letters(
    axes: Axes,
    texts: Iterable[tuple[str, float, float]],
    width: float,
    height: float,
    colors: dict[str, str] | None = None,
) -> None:
    """Write texts as shapes in data coordinates, (text, x of the first letter's middle, y of the middle) each.

    A letter fills most of `width` by `height`, and stands upright if the limits of the axes are set before; one patch a
    letter of the alphabet, however long the texts.
    """
    own = colors or LETTER_COLORS
    places: dict[str, list[tuple[float, float]]] = {}
    for text, x, y in texts:
        for place, letter in enumerate(text):
            places.setdefault(letter, []).append((x + place * width, y))
    size = np.array([0.8 * width, (-0.8 if axes.yaxis_inverted() else 0.8) * height])
    for letter in sorted(places):
        shape = _letter(letter)
        copies = [Path((shape.vertices - 0.5) * size + place, shape.codes) for place in places[letter]]
        patch = PathPatch(Path.make_compound_path(*copies), facecolor=own.get(letter, BLACK), linewidth=0)
        axes.add_patch(patch)


def counted(samples: Sequence[object] | np.ndarray | int, noun: str = "test pair") -> str:
    """Write a number of samples with its noun."""
    number = samples if isinstance(samples, int) else len(samples)
    return f"{number} {noun}{'' if number == 1 else 's'}"
