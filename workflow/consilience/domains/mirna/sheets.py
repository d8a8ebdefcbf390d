"""A sheet a pair: both sequences laid against each other, what nucleotides and k-mers have, and all methods' maps."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from consilience.domains.mirna.colors import (
    FREQUENCIES,
    ON_CORNERS,
    limit,
    scale,
    sign_colors,
    words,
    write_letters,
)
from consilience.domains.mirna.fcgr import kmers, positions
from consilience.domains.mirna.pairs import SEED
from consilience.domains.mirna.plots import REGION
from consilience.domains.mirna.positions import NUCLEOTIDE_FALLS
from consilience.domains.mirna.prepare import BRANCHES
from consilience.domains.mirna.shown import Images, Shown
from consilience.figures.pages import write_pages
from consilience.figures.style import BLACK, GRAY, PURPLE, new_figure, styled

WIDTH, HEIGHT = 11.7, 8.3  # inches: A4 on its side
TOP = 5  # k-mers of each branch
REPEAT = 4  # times a pixel is stored either way, for viewers of PDF that smooth what they enlarge
GAP = 3  # white pixels between tiles
WATSON_CRICK = {("A", "T"), ("T", "A"), ("C", "G"), ("G", "C")}
WOBBLE = {("G", "T"), ("T", "G")}


@dataclass(frozen=True)
class Duplex:
    """Both sequences laid against each other: the site from 5' to 3', below it the miRNA from 3' to 5'.

    Nucleotide i of the miRNA (from 0) stands below the site's nucleotide `first` - i, which may lie beside the site.
    """

    mirna: str
    site: str
    first: int
    matched: bool

    @classmethod
    def of(cls, mirna: str, site: str, planted: int = -1) -> Duplex:
        """Lay the seed on a planted match (`planted` counts from 1), else where most of nucleotides 2-8 pair."""
        if planted > 0:
            return cls(mirna, site, planted - 1 + SEED.stop - 1, True)
        seed = range(SEED.start, min(SEED.stop, len(mirna)))
        lasts = range(len(seed), len(site) + 1)
        counts = [sum(_pairs(mirna[i], site, last - i) == 1 for i in seed) for last in lasts]
        if not counts:
            return cls(mirna, site, len(site) - 1, False)
        place = int(np.argmax(counts))
        return cls(mirna, site, lasts[place], counts[place] >= SEED.stop - SEED.start - 1)

    def bonds(self) -> dict[int, float]:
        """Return by the miRNA's nucleotide 1 for one that pairs, 0.5 for G with U; no others."""
        found = {i: _pairs(letter, self.site, self.first - i) for i, letter in enumerate(self.mirna)}
        return {i: value for i, value in found.items() if value}


def _pairs(letter: str, site: str, place: int) -> float:
    if not 0 <= place < len(site):
        return 0.0
    pair = (letter, site[place])
    return 1.0 if pair in WATSON_CRICK else 0.5 if pair in WOBBLE else 0.0


@styled
def sheet(
    shown: Shown, row: int, falls: Mapping[str, np.ndarray], windows: np.ndarray | None = None, window: int = 1
) -> Figure:
    """Draw one pair; `falls` by branch (longest,) are those of the mutagenesis of nucleotides.

    `windows` bool (miRNA windows, site windows) are the complementary ones of interactions, `window` nucleotides each;
    None where none were asked for.
    """
    figure = new_figure(WIDTH, HEIGHT)
    figure.set_layout_engine("none")  # every page has the same places, which need no solving
    pair = shown.table.iloc[row]
    duplex = Duplex.of(pair["mirna"], pair["site"], int(pair["planted_position"]))
    _sequences(figure, shown, row, duplex, falls, in_windows(windows, window))
    for left, branch, name in zip((0.05, 0.53), BRANCHES, ("miRNA", "Site"), strict=True):
        _table(figure.add_axes((left, 0.30, 0.44, 0.125)), shown, branch, row, name)
    _tiles(figure, shown, row)
    figure.text(0.03, 0.972, f"{shown.title(row)}, {shown.model}", fontsize=11, fontweight="bold", va="top")
    figure.text(0.03, 0.014, textwrap.fill(_caption(shown, duplex, windows), 205), fontsize=7, color="#4D4D4D")
    return figure


def _caption(shown: Shown, duplex: Duplex, windows: np.ndarray | None) -> str:
    laid = "on its match" if duplex.matched else "where most of nucleotides 2–8 pair (there is no match)"
    sizes = "" if shown.signed[shown.primary] else " (sizes)"
    asked = " Purple: nucleotides in windows that are complementary, wherever they lie."
    asked = asked if windows is not None and windows.any() else ""
    return (
        f"The miRNA, from its 3' end, is laid below the site {laid}; lines: base pairs, dots: G with U. Shaded: "
        f"nucleotides 2–8 and what lies across.{asked} Bars: how far the log-odds of a pair fall under mutation of a "
        f"nucleotide, and {words(shown.primary)}{sizes} divided over nucleotides; orange speaks for a pair, blue "
        f"against it. Means over members. Images: {ON_CORNERS[0].lower()}{ON_CORNERS[1:]} Each has its own scale."
    )


def in_windows(windows: np.ndarray | None, window: int) -> dict[str, np.ndarray]:
    """Return by branch the nucleotides, from 0, that lie in a complementary window."""
    if windows is None:
        return {branch: np.empty(0, int) for branch in BRANCHES}
    starts = (np.flatnonzero(windows.any(axis=1 - axis)) for axis in (0, 1))
    return {branch: np.unique(own[:, None] + np.arange(window)) for branch, own in zip(BRANCHES, starts, strict=True)}


def _sequences(
    figure: Figure,
    shown: Shown,
    row: int,
    duplex: Duplex,
    falls: Mapping[str, np.ndarray],
    marked: Mapping[str, np.ndarray],
) -> None:
    """Draw bars, letters and bonds; all panels share the site's positions, from 1."""
    mirna_places = duplex.first + 1 - np.arange(len(duplex.mirna))
    site_places = 1 + np.arange(len(duplex.site))
    ends = min(mirna_places.min(), 1) - 1.5, max(mirna_places.max(), len(duplex.site)) + 1.5
    shaded = duplex.first + 1 - (SEED.stop - 1) - 0.5, duplex.first + 1 - SEED.start + 0.5
    names = {NUCLEOTIDE_FALLS: falls, shown.primary: None}
    own = {"site": site_places, "mirna": mirna_places}
    for branch, bottoms in (("site", (0.845, 0.76)), ("mirna", (0.565, 0.48))):
        for bottom, (name, values) in zip(bottoms, names.items(), strict=True):
            found = shown.nucleotides(name, branch, row) if values is None else values[branch]
            axes = figure.add_axes((0.115, bottom, 0.865, 0.07))
            signed = shown.signed.get(name, True)
            _bars(axes, own[branch], np.nan_to_num(found[: len(own[branch])]), ends, shaded, signed)
            axes.set_ylabel(textwrap.fill(words(name), 15), rotation=0, ha="right", va="center", fontsize=7)
            axes.yaxis.set_label_coords(-0.035, 0.5)
    axes = figure.add_axes((0.115, 0.645, 0.865, 0.105))
    _letters(axes, duplex, mirna_places, site_places, ends, shaded)
    for branch, y in (("site", 2.72), ("mirna", -0.72)):
        lines = [[(place - 0.5, y), (place + 0.5, y)] for place in own[branch][marked[branch]]]
        axes.add_collection(LineCollection(lines, colors=PURPLE, linewidths=2.4), autolim=False)


def _bars(axes: Axes, places: np.ndarray, values: np.ndarray, ends: tuple, shaded: tuple, signed: bool) -> None:
    axes.axvspan(*shaded, color=REGION, linewidth=0, zorder=0)
    axes.bar(places, values, color=sign_colors(values, signed), width=0.8)
    axes.axhline(0, color=GRAY, linewidth=0.6)
    axes.set(xlim=ends, xticks=[])
    axes.spines["bottom"].set_visible(False)
    axes.locator_params(axis="y", nbins=3)
    axes.margins(y=0.1)


def _letters(axes: Axes, duplex: Duplex, mirna: np.ndarray, site: np.ndarray, ends: tuple, shaded: tuple) -> None:
    axes.add_patch(Rectangle((shaded[0], -2), shaded[1] - shaded[0], 6, facecolor=REGION, linewidth=0, zorder=0))
    ratio = 0.865 * WIDTH / (ends[1] - ends[0]) / (0.105 * HEIGHT / 5)
    height = min(1.1, 1.15 * ratio)  # letters about as high as wide
    write_letters(axes, [(duplex.site, 1.0, 2.1)], 1.0, height)
    write_letters(axes, [(duplex.mirna[::-1], float(mirna.min()), -0.1)], 1.0, height)
    bonds = duplex.bonds()
    lines = [[(mirna[i], 0.62), (mirna[i], 1.38)] for i, value in bonds.items() if value == 1]
    axes.add_collection(LineCollection(lines, colors=BLACK, linewidths=1.1), autolim=False)
    wobbles = [mirna[i] for i, value in bonds.items() if value < 1]
    axes.plot(wobbles, np.ones(len(wobbles)), "o", color=BLACK, markersize=2.2)
    style = {"fontsize": 6, "ha": "center", "color": "#4D4D4D"}
    for place in site[[0, *range(4, len(site), 5)]]:
        axes.text(place, 2.85, str(place), va="bottom", **style)
    for i in (i for i in range(len(mirna)) if i in (0, 1, 7) or i % 5 == 4):
        axes.text(mirna[i], -0.88, str(i + 1), va="top", **style)
    for name, y, places, ends_of in (("site", 2.1, site, "5'3'"), ("miRNA", -0.1, mirna, "3'5'")):
        axes.text(-0.012, y, name, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8)
        for x, text in ((places.min() - 1, ends_of[:2]), (places.max() + 1, ends_of[2:])):
            axes.text(x, y, text, ha="center", va="center", fontsize=8)
    axes.set(xlim=ends, ylim=(-1.5, 3.5))
    axes.set_axis_off()


def top_kmers(shown: Shown, branch: str, row: int) -> list[tuple[str, float, list[int]]]:
    """Return the sequence's k-mers with most by the primary method: k-mer, attribution, positions from 1."""
    values, names = shown.maps[shown.primary][branch][row].ravel(), kmers(shown.k).ravel()
    sizes = np.where(shown.frequencies[branch][row].ravel() > 0, np.abs(values), 0)
    order = [place for place in np.argsort(-sizes, kind="stable")[:TOP] if sizes[place] > 0]
    sequence = shown.table[branch].iloc[row]
    return [(names[place], float(values[place]), positions(sequence, names[place]).tolist()) for place in order]


def _table(axes: Axes, shown: Shown, branch: str, row: int, name: str) -> None:
    """Write the k-mers with most, a text a column."""
    axes.set_axis_off()
    axes.set_title(f"{name}: k-mers with most ({words(shown.primary)})", fontsize=8.5)
    rows = top_kmers(shown, branch, row)
    columns = {
        "k-mer": [kmer for kmer, _, _ in rows] or ["none"],
        "attribution": [f"{value:{'+' if shown.signed[shown.primary] else ''}#.3g}" for _, value, _ in rows],
        "positions": [", ".join(map(str, found)) for _, _, found in rows],
    }
    for place, (head, cells) in zip((0, 0.3, 0.36), columns.items(), strict=True):
        style = {"ha": "right" if place == 0.3 else "left", "va": "top", "fontsize": 7, "transform": axes.transAxes}
        axes.text(place, 0.98, head, color="#4D4D4D", **style)
        axes.text(place, 0.80, "\n".join(cells), linespacing=1.5, family="DejaVu Sans Mono", **style)


def _tiles(figure: Figure, shown: Shown, row: int) -> None:
    """Draw both branches' images by every method as one image."""
    names = list(shown.maps)
    shown_tiles = [
        [
            colored(shown.frequencies[branch][row], FREQUENCIES, False),
            *(colored_map(shown.maps[name], branch, row, shown.signed[name]) for name in names),
        ]
        for branch in BRANCHES
    ]
    tiles = np.array(shown_tiles)
    lines, columns, side = *tiles.shape[:2], tiles.shape[2]
    image = np.ones((lines, side + GAP, columns, side + GAP, 3))
    image[:, :side, :, :side] = tiles.transpose(0, 2, 1, 3, 4)
    image = image.reshape(lines * (side + GAP), columns * (side + GAP), 3)[:-GAP, :-GAP]
    axes = figure.add_axes((0.06, 0.075, 0.92, 0.165))
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    stored = np.rint(255 * image).astype(np.uint8).repeat(REPEAT, axis=0).repeat(REPEAT, axis=1)
    axes.imshow(stored, interpolation="none", extent=extent)
    axes.set_xticks(
        np.arange(columns) * (side + GAP) + (side - 1) / 2, ["frequencies", *map(_broken, names)], fontsize=6
    )
    axes.set_yticks(np.arange(lines) * (side + GAP) + (side - 1) / 2, ["miRNA", "site"])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=3)
    axes.spines[:].set_visible(False)
    axes.set_anchor("NW")
    edges = [
        [(x, y), (x + side, y), (x + side, y + side), (x, y + side), (x, y)]
        for x in np.arange(columns) * (side + GAP) - 0.5
        for y in np.arange(lines) * (side + GAP) - 0.5
    ]
    axes.add_collection(LineCollection(edges, colors="#8C8C8C", linewidths=0.5, clip_on=False), autolim=False)


def _broken(name: str) -> str:
    return textwrap.fill(words(name), 12, break_on_hyphens=False)


def colored_map(maps: Images, branch: str, row: int, signed: bool) -> np.ndarray:
    """Return one pair's map as RGB (side, side, 3)."""
    return colored(maps[branch][row], scale(maps[branch][row], signed)["cmap"], signed)


def colored(values: np.ndarray, colors: object, signed: bool) -> np.ndarray:
    """Return values (side, side) as RGB (side, side, 3) on their own scale."""
    scaled = np.clip(values / limit(values), -1, 1)
    return colors((scaled + 1) / 2 if signed else scaled)[..., :3]


def write_sheets(path: str | Path, sheets: Iterable[Figure]) -> None:
    """Write sheets as the pages of one PDF; without any, one page that says so."""
    write_pages(path, sheets, WIDTH, HEIGHT, "No test pair was kept whole (attribution.showcase).")
