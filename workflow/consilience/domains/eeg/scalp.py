"""The head as it is drawn: from above, nose up, the left side on the left; MNE's maps of the scalp, and regions."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Circle, Rectangle

from consilience.domains.eeg.attention_plots import COLORS
from consilience.domains.eeg.montage import CHANNELS, REGIONS
from consilience.figures.style import BLACK, GRAY

MONTAGE = "colin27_1020"
LEVEL = ("Fpz", "Oz", "T7", "T8")  # around the head, at the height of the lowest channels
RIM = 0.88  # of the head's radius, where the outermost channel lies
OUTSIDE = 1.2  # radii that nose and ears need
RESOLUTION = 64  # pixels of a map
BESIDE = 1.85  # sides of a region, above and below: a block half as wide as a head is then as high
# Regions as they lie: left and right, the lateral chains above the parasagittal ones.
REGION_PLACES = {"LL": (-0.5, 0.5), "RL": (0.5, 0.5), "LP": (-0.5, -0.5), "RP": (0.5, -0.5)}


@functools.cache
def positions() -> Mapping[str, tuple[float, float]]:
    """Return where channels lie, x to the right and y to the nose, in radii of the head.

    Angles from the vertex of MNE's template become distances from the center (azimuthal equidistant projection).
    """
    # Heavy, and there only with the workflow's own libraries.
    import mne

    places = mne.channels.make_standard_montage(MONTAGE).get_positions()["ch_pos"]
    around = np.array([places[name] for name in LEVEL])
    middle = (around.min(axis=0) + around.max(axis=0)) / 2
    own = np.array([places[name] for name in CHANNELS]) - middle
    angle = np.arccos(own[:, 2] / np.linalg.norm(own, axis=1))
    flat = own[:, :2] * (angle / np.linalg.norm(own[:, :2], axis=1))[:, None]
    flat -= (flat.min(axis=0) + flat.max(axis=0)) / 2
    flat *= RIM / np.linalg.norm(flat, axis=1).max()
    return MappingProxyType({name: (float(x), float(y)) for name, (x, y) in zip(CHANNELS, flat, strict=True)})


def draw_head(axes: Axes, color: str = "#4D4D4D") -> None:
    """Draw the outline of a head with nose and ears, and nothing around it."""
    axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=color, linewidth=0.9, zorder=4))
    axes.plot([-0.17, 0, 0.17], [0.985, 1.16, 0.985], color=color, linewidth=0.9, zorder=4, solid_joinstyle="round")
    turn = np.linspace(-0.24, 0.24, 21)
    bulge = 0.11 * np.sqrt(1 - (turn / 0.24) ** 2)
    for side in (-1, 1):
        axes.plot(side * (np.sqrt(1 - turn**2) + bulge), turn, color=color, linewidth=0.9, zorder=4)
    axes.set(xlim=(-OUTSIDE, OUTSIDE), ylim=(-1.06, OUTSIDE), aspect="equal")
    axes.set_axis_off()


def draw_map(axes: Axes, values: Sequence[float], limit: float) -> AxesImage:
    """Draw a value a channel (in the order of `CHANNELS`) as MNE's map of the scalp, from -limit to limit."""
    from mne.viz import plot_topomap

    places = np.array([positions()[name] for name in CHANNELS])
    image, _ = plot_topomap(
        np.asarray(values, float), places, axes=axes, show=False, sensors=False, contours=0, outlines=None,
        sphere=(0.0, 0.0, 0.0, 1.0), extrapolate="head", res=RESOLUTION, cmap=COLORS, vlim=(-limit, limit),
    )  # fmt: skip
    # MNE's picture is square.
    image.set_clip_path(Circle((0, 0), 1, transform=axes.transData))
    draw_head(axes)
    return image


def draw_regions(axes: Axes, values: Mapping[str, float], limit: float) -> dict[str, Rectangle]:
    """Draw a value a region as a block of four, named, in colors from -limit to limit."""
    cells = {}
    for name in REGIONS:
        x, y = REGION_PLACES[name]
        color = COLORS((values[name] / limit + 1) / 2)
        cells[name] = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=color, edgecolor=GRAY, linewidth=0.6)
        axes.add_patch(cells[name])
        write(axes, x, y, name, fontsize=6, color=ink(values[name], limit))
    axes.set(xlim=(-1.05, 1.05), ylim=(-BESIDE, BESIDE), aspect="equal")
    axes.set_axis_off()
    return cells


def ink(value: float, limit: float) -> str:
    """Return the color of text that can be read on a value's color."""
    return "white" if abs(value) > 0.38 * limit else BLACK


def write(axes: Axes, x: float, y: float, text: str, **settings: object) -> None:
    """Write a text in the middle of a place inside the axes; the layout need not measure it, which takes long."""
    axes.text(x, y, text, ha="center", va="center", **settings).set_in_layout(False)
