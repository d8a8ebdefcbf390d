"""Pictures and maps as colors, side by side in one array, so that a whole panel is drawn as a single image."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from consilience.attribution.names import TOLERANCE
from consilience.figures.style import NEGATIVE, POSITIVE, number

GAP = 2  # white pixels between tiles
COLUMN, LINE = 13, 20  # characters in a line of the names above columns and beside lines
UNSIGNED = "#4B2A70"  # what has a size and no sign
# An odd number of colors, so that 0 is white.
SIGNED_COLORS = LinearSegmentedColormap.from_list(
    "signed", ["#00304D", NEGATIVE, "#FFFFFF", POSITIVE, "#5C2400"], N=257
)
UNSIGNED_COLORS = LinearSegmentedColormap.from_list("unsigned", ["#FFFFFF", "#B79AD3", UNSIGNED, "#1B0B30"])
PALE = 0.45  # how dark a picture is beneath a map
PERCENTILE = 99
# What the signs say of drivers, and of attributions.
DIRECTIONS = ("brighter speaks for the class", "darker speaks for it")
CONTRIBUTIONS = ("speaks for the class", "speaks against it")
ATOMS = ("an atom brightens", "an atom darkens")
# Methods whose sign is that of a slope.
SLOPES = ("decoder_weighted",)
OF_SLOPES = "Of decoder weighted, the colors say whether a brighter or a darker pixel speaks for the class."
SMALLEST_GAP = 1e-4  # below, how small it is says nothing
ABOVE_TOLERANCE = "#B3001B"


def of_slopes(names: Sequence[str]) -> str:
    """Return the sentence on slopes where one of the methods is one, with a space before it."""
    return f" {OF_SLOPES}" if any(name in SLOPES for name in names) else ""


def misses(gap: float | None) -> str:
    """Write a completeness gap, relative to the change, in percent that no line break takes apart."""
    if gap is None:
        return ""
    if gap < SMALLEST_GAP:
        return f"<\u00a0{100 * SMALLEST_GAP:g}\u00a0%"
    return f"{100 * gap:{'.1g' if gap < TOLERANCE else '.0f'}}\u00a0%"


def limit(values: np.ndarray) -> np.ndarray:
    """Return what counts as the largest value of maps (..., rows, columns): the 99th percentile of |a|, (..., 1, 1).

    The largest where that is 0, and 1 where all are.
    """
    sizes = np.abs(values)
    found = np.percentile(sizes, PERCENTILE, axis=(-2, -1), keepdims=True)
    found = np.where(found > 0, found, sizes.max(axis=(-2, -1), keepdims=True))
    return np.where(found > 0, found, 1.0)


def gray(pictures: np.ndarray) -> np.ndarray:
    """Return pictures (..., rows, columns), 0 to 1, as RGB (..., 3), dark on white."""
    return np.repeat(1 - np.clip(pictures, 0, 1)[..., None], 3, axis=-1)


def colored(maps: np.ndarray, signed: bool) -> np.ndarray:
    """Return maps (..., rows, columns) as RGB (..., 3), each on its own scale; white is 0."""
    scaled = np.clip(maps / limit(maps), -1, 1)
    return SIGNED_COLORS((scaled + 1) / 2)[..., :3] if signed else UNSIGNED_COLORS(np.abs(scaled))[..., :3]


def overlaid(maps: np.ndarray, pictures: np.ndarray, signed: bool) -> np.ndarray:
    """Return maps over pale pictures as RGB (..., 3): the larger a value, the more its color covers the picture."""
    scaled = np.clip(maps / limit(maps), -1, 1)
    color = np.where(scaled[..., None] >= 0, to_rgb(POSITIVE), to_rgb(NEGATIVE)) if signed else to_rgb(UNSIGNED)
    cover = np.abs(scaled)[..., None]
    return (1 - cover) * gray(PALE * np.clip(pictures, 0, 1)) + cover * color


def assemble(tiles: np.ndarray, gap: int = GAP, below: int = 0) -> np.ndarray:
    """Return tiles (lines, columns, height, width, 3), 0 to 1, as one image of RGBA in uint8, white between them.

    `below` further pixels stay white under every tile, for a label.
    """
    lines, columns, height, width, _ = tiles.shape
    # Bytes of four channels are drawn several times faster than floats, or three.
    image = np.full((lines, height + gap + below, columns, width + gap, 4), 255, np.uint8)
    image[:, :height, :, :width, :3] = np.rint(255 * np.clip(tiles, 0, 1)).transpose(0, 2, 1, 3, 4)
    return image.reshape(lines * (height + gap + below), columns * (width + gap), 4)[: -(gap + below) or None, :-gap]


def show(
    axes: Axes,
    tiles: np.ndarray,
    lines: Sequence[str],
    columns: Sequence[str],
    below: int = 0,
    repeat: int = 1,
) -> None:
    """Draw tiles (lines, columns, height, width, 3) with a name to the left of every line and above every column.

    Every pixel is stored `repeat` times either way, for viewers of PDF that smooth what they enlarge.
    """
    height, width = tiles.shape[2:4]
    image = assemble(tiles, below=below)
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    axes.imshow(image.repeat(repeat, axis=0).repeat(repeat, axis=1), interpolation="none", extent=extent)
    places = np.arange(len(columns)) * (width + GAP) + (width - 1) / 2
    axes.set_xticks(places, [broken(name, COLUMN) for name in columns])
    places = np.arange(len(lines)) * (height + GAP + below) + (height - 1) / 2
    axes.set_yticks(places, [broken(name, LINE) for name in lines])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=3)
    axes.spines[:].set_visible(False)


def broken(name: str, width: int) -> str:
    """Return a name in words, broken over lines."""
    return textwrap.fill(name.replace("_", " "), width, break_on_hyphens=False)


def key(figure: Figure, meanings: tuple[str, str] | None, unsigned: bool, place: str = "outside upper right") -> None:
    """Say what the colors mean: `meanings` of positive and negative, None where nothing is signed."""
    colors = (POSITIVE, NEGATIVE) if meanings else ()
    handles = [Patch(color=color, label=text) for color, text in zip(colors, meanings or (), strict=True)]
    handles += [Patch(color=UNSIGNED, label="size, no sign")] if unsigned else []
    figure.legend(handles=handles, loc=place, ncols=len(handles), handlelength=1.2, handleheight=0.9)


def two_digits(value: float) -> str:
    """Write a number with two digits, without the sign of a zero."""
    return number(round(value, 2) + 0.0, ".2f")
