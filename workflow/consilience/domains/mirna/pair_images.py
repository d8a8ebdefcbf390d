"""A folder of images of single pairs, as the earlier system had them: a method's map, all methods, Grad-CAM, clusters.

There are many, so that a figure is laid out once and used again: letters are drawn once, and pictures are put in as
whole pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.text import Text

from consilience.domains.mirna.clusters import by_place, chosen_places
from consilience.domains.mirna.colors import BRANCH_NAMES, FREQUENCIES, UNSIGNED, UNSIGNED_COLORS, frame, words
from consilience.domains.mirna.interaction_plots import draw_map
from consilience.domains.mirna.prepare import BRANCHES
from consilience.domains.mirna.shown import Shown
from consilience.figures.style import GRAY, new_figure, styled
from consilience.files import whole
from consilience.progress import following

DPI = 300
TILE = 576  # pixels of a tile's side, a multiple of every image's
SPACE = 66  # pixels beside a tile, for the letters of its corners
ABOVE = 72  # pixels above a tile, for its heading
HEAD, BELOW = 110, 40  # pixels above all, for the title, and below
LINE, OUTLINE = 3, (140, 140, 140, 255)
# By letter, from the upper left pixel of a tile: x and y.
CORNER_PLACES = {"A": (-30, 24), "C": (TILE + 30, 24), "G": (TILE + 30, TILE - 24), "T": (-30, TILE - 24)}
FAST = {"pil_kwargs": {"compress_level": 2}, "metadata": {"Software": None}}
RED_BLUE = matplotlib.colormaps["RdBu_r"]
TAB10 = matplotlib.colormaps["tab10"]
GRAD_CAM = "grad_cam"
PALE = 0.45
FEWEST = 2  # k-mers a cluster, on the average


def save_fast(path: Path, drawn: Figure | np.ndarray) -> None:
    """Write a figure, or its pixels (height, width, 4), as PNG at 300 dpi; drawn once and as large as it is."""
    if isinstance(drawn, Figure):
        drawn = pixels_of(drawn)
    with whole(path) as temporary:
        imsave(temporary, drawn, dpi=DPI, **FAST)


def pixels_of(figure: Figure) -> np.ndarray:
    """Draw a figure, and return its pixels, uint8 (height, width, 4)."""
    figure.set_dpi(DPI)
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())


@styled
def _empty(lines: int, columns: int) -> Figure:
    width, height = columns * (TILE + 2 * SPACE), HEAD + lines * (ABOVE + TILE) + BELOW
    figure = new_figure(width / DPI, height / DPI)
    figure.set_layout_engine("none")
    return figure


class Board:
    """Square tiles (lines, columns) under headings, that are filled again and again.

    The letters at their corners and their outlines are drawn once, titles and headings each time, tiles never: they
    are put in as pixels.
    """

    def __init__(self, lines: int, columns: int) -> None:
        self.shape = lines, columns
        self.figure = _empty(lines, columns)
        self.width, self.height = (round(size * DPI) for size in self.figure.get_size_inches())
        self.background = self._letters()
        self.title = self._text(24, HEAD // 2, "", fontsize=9, fontweight="bold")
        self.headings = [self._text(*self._above(place), "", fontsize=7.5) for place in range(lines * columns)]

    def place(self, number: int) -> tuple[int, int]:
        """Return the top and left pixel of a tile."""
        line, column = divmod(number, self.shape[1])
        return HEAD + ABOVE + line * (TILE + ABOVE), SPACE + column * (TILE + 2 * SPACE)

    def _above(self, number: int) -> tuple[int, int]:
        top, left = self.place(number)
        return left, top - ABOVE // 2 + 6

    def _text(self, x: int, y: int, text: str, **style: object) -> Text:
        """Add a text at a place in pixels from the upper left."""
        return self.figure.text(x / self.width, 1 - y / self.height, text, va="center", parse_math=False, **style)

    def _letters(self) -> np.ndarray:
        """Draw what never changes: the letters of the corners, and outlines; uint8 (height, width, 4)."""
        places, texts = [self.place(number) for number in range(self.shape[0] * self.shape[1])], []
        for top, left in places:
            for letter, (x, y) in CORNER_PLACES.items():
                texts.append(self._text(left + x, top + y, letter, fontsize=7, fontweight="bold", ha="center"))
        drawn = pixels_of(self.figure)
        for text in texts:
            text.remove()
        for top, left in places:
            drawn[top - LINE : top + TILE + LINE, left - LINE : left + TILE + LINE] = OUTLINE
        return drawn

    def fill(self, title: str, tiles: Sequence[np.ndarray], headings: Sequence[str]) -> np.ndarray:
        """Return the pixels with tiles, RGB (side, side, 3) from 0 to 1 each; where there are fewer, it is white."""
        self.title.set_text(title)
        for number, text in enumerate(self.headings):
            text.set_text(headings[number] if number < len(headings) else "")
        image = np.minimum(pixels_of(self.figure), self.background)
        for number in range(self.shape[0] * self.shape[1]):
            top, left = self.place(number)
            if number < len(tiles):
                times = TILE // len(tiles[number])
                stored = np.rint(255 * tiles[number]).astype(np.uint8).repeat(times, axis=0).repeat(times, axis=1)
                image[top : top + TILE, left : left + TILE, :3] = stored
            else:
                image[top - SPACE : top + TILE + LINE, left - SPACE : left + TILE + SPACE] = 255
        return image


def map_tiles(frequencies: np.ndarray, values: np.ndarray, signed: bool) -> tuple[list[np.ndarray], float]:
    """Return an image, a map and the map over the image, RGB (side, side, 3) each, and the end of the map's scale.

    The scale of a signed map is symmetric around 0.
    """
    most = float(np.abs(values).max()) or 1.0
    scaled = values / most
    gray = FREQUENCIES(frequencies / (frequencies.max() or 1))[..., :3]
    color = RED_BLUE((scaled + 1) / 2)[..., :3] if signed else UNSIGNED_COLORS(scaled)[..., :3]
    strong = (
        RED_BLUE(np.where(scaled >= 0, 0.9, 0.1))[..., :3] if signed else np.array(matplotlib.colors.to_rgb(UNSIGNED))
    )
    cover = np.abs(scaled)[..., None]
    return [gray, color, (1 - cover) * (1 - PALE * (1 - gray)) + cover * strong], most


def scale_of(most: float, signed: bool) -> str:
    """Write a scale."""
    return f"±{most:.2g}" if signed else f"0 to {most:.2g}"


def write_pairs(
    folder: Path, shown: Shown, chosen: Sequence[str], maps: Mapping[str, tuple], window: int, clusters: int
) -> int:
    """Write the images of every chosen pair, and return how many; `maps` are as in interaction_plots."""
    strip, columns = Board(1, 3), min(5, max(3, 1 + len(shown.maps)))
    every = Board(-(-(1 + len(shown.maps)) // columns), columns)
    cam = Board(2, 3) if GRAD_CAM in shown.maps else None
    for sample in following(chosen, "drawing", "pair"):
        row = shown.row(sample)
        for branch in BRANCHES:
            _write_methods(folder, shown, row, branch, strip, every)
            save_fast(folder / f"sample_{sample}_{branch}_clusters.png", pair_clusters(shown, row, branch, clusters))
        if cam:
            save_fast(folder / f"sample_{sample}_gradcam.png", grad_cam(cam, shown, row))
        if sample in maps:
            figure = interaction_heatmap(*maps[sample], window, shown.title(row))
            save_fast(folder / f"sample_{sample}_interaction_heatmap.png", figure)
    return len(list(folder.glob("*.png")))


def _write_methods(folder: Path, shown: Shown, row: int, branch: str, strip: Board, every: Board) -> None:
    """Write a branch's map by every method, and all of them together."""
    start, frequencies = f"sample_{shown.table['id'].iloc[row]}_{branch}", shown.frequencies[branch][row]
    tiles, headings = [map_tiles(frequencies, frequencies, False)[0][0]], ["frequencies"]
    for method, images in shown.maps.items():
        signed = shown.signed[method]
        own, most = map_tiles(frequencies, images[branch][row], signed)
        title = f"{shown.table['id'].iloc[row]}, {BRANCH_NAMES[branch]}: {words(method)} ({shown.model})"
        drawn = strip.fill(title, own, ["frequencies", f"attribution, {scale_of(most, signed)}", "both"])
        save_fast(folder / f"{start}_{method}.png", drawn)
        tiles.append(own[1])
        headings.append(f"{_short(method)}, {scale_of(most, signed)}")
    title = f"{shown.title(row)}: {BRANCH_NAMES[branch]}, all methods"
    save_fast(folder / f"{start}_comparison.png", every.fill(title, tiles, headings))


def _short(method: str) -> str:
    return words(method).replace("integrated gradients", "IG")


def grad_cam(board: Board, shown: Shown, row: int) -> np.ndarray:
    """Draw image, Grad-CAM and both of them, a line a branch."""
    tiles, headings = [], []
    for branch in BRANCHES:
        own, most = map_tiles(shown.frequencies[branch][row], shown.maps[GRAD_CAM][branch][row], shown.signed[GRAD_CAM])
        tiles += own
        scale = scale_of(most, shown.signed[GRAD_CAM])
        headings += [f"{BRANCH_NAMES[branch]}: frequencies", f"Grad-CAM, {scale}", "both"]
    return board.fill(f"{shown.title(row)}: Grad-CAM", tiles, headings)


@styled
def interaction_heatmap(values: np.ndarray, complementary: np.ndarray, window: int, title: str) -> Figure:
    """Draw the interactions of one pair (miRNA windows, site windows)."""
    figure = new_figure(6.0, 3.0)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.12, 0.17, 0.75, 0.68))
    image = draw_map(axes, values, complementary, window)
    figure.colorbar(image, cax=figure.add_axes((0.89, 0.17, 0.02, 0.68)), extend="both")
    said = "complementary outlined" if complementary.any() else "no complementary windows"
    axes.set_title(f"{title}\ninteractions of windows ({said})", fontsize=8)
    return figure


@styled
def pair_clusters(shown: Shown, row: int, branch: str, clusters: int) -> Figure:
    """Draw a pair's most important k-mers in k-means clusters of their places; too few k-mers are said."""
    figure = new_figure(4.4, 3.2)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.05, 0.03, 0.62, 0.85))
    frequencies, values = shown.frequencies[branch][row], shown.maps[shown.primary][branch][row]
    places = chosen_places(np.abs(values).ravel(), "image", 0)
    points = np.column_stack(np.unravel_index(places, values.shape))
    if len(points) < FEWEST * clusters:
        labels = np.ones(len(points), int)
        note = f"{len(points)} k-mers only:\ntoo few for {clusters} clusters"
    else:
        labels = by_place(points, clusters)
        note = f"{len(points)} k-mers,\n|a| in the upper quarter\nof those that are not 0"
    image = np.where(frequencies[..., None] > 0, 0.84, np.ones(3))
    image[tuple(points.T)] = TAB10((labels - 1) % 10)[:, :3]
    axes.imshow(image, interpolation="nearest")
    frame(axes)
    _name_clusters(axes, points, labels, centers=len(points) >= FEWEST * clusters)
    figure.text(0.72, 0.08, note, fontsize=7, color=GRAY, va="bottom")
    title = f"{shown.table['id'].iloc[row]}, {BRANCH_NAMES[branch]}: clusters by {words(shown.primary)}"
    figure.text(0.03, 0.95, title, fontsize=8, fontweight="bold", va="center")
    return figure


def _name_clusters(axes: Axes, points: np.ndarray, labels: np.ndarray, centers: bool) -> None:
    """Tell the clusters of points (row, column) by their colors, and draw red crosses at the centers."""
    for label in np.unique(labels):
        own = points[labels == label]
        name = f"cluster {label} ({len(own)})" if centers else f"k-mers ({len(own)})"
        axes.plot([], [], "s", color=TAB10((label - 1) % 10), markersize=5, label=name)
        if centers:
            axes.plot(own[:, 1].mean(), own[:, 0].mean(), "x", color="red", markersize=6, markeredgewidth=1.4)
    if len(points):
        axes.legend(loc="upper left", bbox_to_anchor=(1.06, 1), borderaxespad=0)
