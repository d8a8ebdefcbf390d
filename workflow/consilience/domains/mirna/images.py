"""Images of k-mers: frequencies, mean attributions and drivers, and what the first convolution looks for and sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from consilience.domains.mirna.colors import (
    BRANCH_TITLES,
    FREQUENCIES,
    ON_CORNERS,
    UNSIGNED,
    limit,
    outline,
    scale,
    show_kmers,
    words,
)
from consilience.domains.mirna.fcgr import kmers
from consilience.domains.mirna.prepare import BRANCHES
from consilience.domains.mirna.shown import Images, Shown
from consilience.figures.style import BLACK, NEGATIVE, POSITIVE, entitle, new_figure, styled

LABELS = {"pair": 1, "no pair": 0}
NAMED = 8  # k-mers beside an average
CHANNELS, PER_LINE = 16, 4  # of the first convolution
SPACING = 1.22  # of a channel's side, from one to the next
MARKS = {"positive": "^", "negative": "v"}


def mask_of(features: Sequence[str], branch: str, k: int) -> np.ndarray:
    """Return which pixels (side, side) of a branch are among features such as site:ACCGA."""
    own = [name.partition(":")[2] for name in features if name.startswith(f"{branch}:")]
    return np.isin(kmers(k).astype(str), own)


@styled
def kmer_maps(shown: Shown, drivers: pd.DataFrame, top: pd.DataFrame, truth: pd.DataFrame | None) -> Figure:
    """Draw for both branches the mean frequencies, the mean attributions by label and the consensus.

    `drivers` is drivers.csv (its average_attribution is drawn), `top` top_drivers.csv (marked), `truth` the planted
    k-mers, which are outlined.
    """
    figure = new_figure(11.4, 6.6)
    panels = figure.subplots(2, 4, squeeze=False)
    signed, labels = shown.signed[shown.primary], shown.table["label"].to_numpy()
    counts = {name: int((labels == value).sum()) for name, value in LABELS.items()}
    for line, branch in zip(panels, BRANCHES, strict=True):
        mean = shown.frequencies[branch].mean(axis=0)
        show_kmers(line[0], mean, cmap=FREQUENCIES)
        _tell_scale(line[0], limit(mean), signed=False)
        line[0].set_ylabel(BRANCH_TITLES[branch], fontsize=10, fontweight="bold", labelpad=12)
        own = shown.maps[shown.primary][branch]
        parts = {name: own[labels == value].mean(axis=0) for name, value in LABELS.items() if counts[name]}
        shared = scale(np.stack(list(parts.values())), signed)
        for axes, name in zip(line[1:3], LABELS, strict=True):
            _attribution(axes, parts.get(name), signed, shared)
        _consensus(line[3], drivers, top, branch, shown.k)
        if truth is not None:
            for axes in line[1:]:
                outline(axes, mask_of(list(truth["feature"]), branch, shown.k))
    panels[0, 0].set_title(f"Mean frequency\n{len(labels)} test pairs")
    for axes, name in zip(panels[0, 1:3], LABELS, strict=True):
        axes.set_title(f"{words(shown.primary).capitalize()}: {name}\nmean over {counts[name]}")
    panels[0, 3].set_title("Consensus of the models\naverage attribution")
    _keys(figure, signed, truth is not None, len(top) > 0)
    caption = (
        f"{shown.model}, test pairs whose whole maps are kept. {ON_CORNERS} Scales end at the 99th percentile of "
        "sizes; both labels share one. Consensus: average_attribution of drivers.csv; triangles: the drivers of "
        f"top_drivers.csv ({len(top)} of both branches)."
    )
    caption += " Outlined: what was planted." if truth is not None else ""
    entitle(figure, f"Which k-mers speak for a pair ({shown.model})", caption)
    return figure


def _tell_scale(axes: Axes, most: float, signed: bool) -> None:
    axes.set_xlabel(f"{'±' if signed else '0 to '}{most:.2g}", fontsize=7, labelpad=2)


def _attribution(axes: Axes, values: np.ndarray | None, signed: bool, shared: Mapping[str, object]) -> None:
    if values is None:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no such test pair", ha="center", va="center", transform=axes.transAxes)
        return
    show_kmers(axes, values, signed, **shared)
    _tell_scale(axes, float(shared["vmax"]), signed)


def _consensus(axes: Axes, drivers: pd.DataFrame, top: pd.DataFrame, branch: str, k: int) -> None:
    values = drivers.set_index("feature")["average_attribution"]
    names = np.char.add(f"{branch}:", kmers(k).astype(str))
    image = values.reindex(names.ravel()).fillna(0).to_numpy(float).reshape(names.shape)
    show_kmers(axes, image, signed=True)
    _tell_scale(axes, limit(image), signed=True)
    size = 110 / 2**k
    for direction, mark in MARKS.items():
        row, column = np.nonzero(mask_of(list(top.loc[top["direction"] == direction, "feature"]), branch, k))
        if len(row):
            axes.plot(column, row, mark, color="white", markersize=size, markeredgewidth=0.6, markeredgecolor=BLACK)


def _keys(figure: Figure, signed: bool, planted: bool, drivers: bool) -> None:
    handles = [
        Line2D([], [], marker="s", linestyle="", color=color, label=text)
        for color, text in ((POSITIVE, "speaks for a pair"), (NEGATIVE, "speaks against it"))
    ]
    if not signed:
        handles.append(Line2D([], [], marker="s", linestyle="", color=UNSIGNED, label="size, no sign"))
    if drivers:
        handles += [
            Line2D([], [], marker=mark, linestyle="", color="white", markeredgecolor=BLACK, label=f"{name} driver")
            for name, mark in MARKS.items()
        ]
    if planted:
        outlined = {"markerfacecolor": "none", "markeredgecolor": BLACK, "markeredgewidth": 1}
        handles.append(Line2D([], [], marker="s", linestyle="", label="planted", **outlined))
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), handletextpad=0.2)


@styled
def average_attribution(method: str, means: Images, signed: bool, model: str, explained: str) -> Figure:
    """Draw a method's mean attributions of both branches (side, side), and name the k-mers that have most."""
    figure = new_figure(8.8, 4.35)
    figure.set_layout_engine("none")
    names = kmers(means[BRANCHES[0]].shape[0].bit_length() - 1)
    for left, branch in zip((0.03, 0.53), BRANCHES, strict=True):
        axes = figure.add_axes((left, 0.175, 0.33, 0.33 * 8.8 / 4.35))
        values = means[branch]
        show_kmers(axes, values, signed)
        ends = f"{'±' if signed else '0 to '}{scale(values, signed)['vmax']:.2g}"
        axes.set_title(f"{BRANCH_TITLES[branch]}, {ends}")
        _name_most(axes, values, names, signed)
    what = "Mean attributions" if signed else "Mean sizes of attributions (no sign)"
    colors = "Orange speaks for a pair, blue against it. " if signed else ""
    caption = (
        f"Means over {explained} and over the members. {colors}{ON_CORNERS} The scale ends at the 99th percentile of "
        "sizes. Circled and listed: the largest sizes."
    )
    entitle(figure, f"{what} by {words(method)} ({model})", caption)
    return figure


def _name_most(axes: Axes, values: np.ndarray, names: np.ndarray, signed: bool) -> None:
    """Mark the pixels with most, and list their k-mers beside the image."""
    flat = values.ravel()
    order = np.argsort(-np.abs(flat), kind="stable")[:NAMED]
    order = order[np.abs(flat[order]) > 0]
    rows, columns = np.unravel_index(order, values.shape)
    size = 200 / len(values) + 3
    style = {"markerfacecolor": "none", "markeredgecolor": BLACK, "markeredgewidth": 0.8, "clip_on": False}
    axes.plot(columns, rows, "o", markersize=size, **(style | {"markeredgecolor": "white", "markeredgewidth": 2}))
    axes.plot(columns, rows, "o", markersize=size, **style)
    text = "\n".join(f"{names.ravel()[place]} {flat[place]:{'+' if signed else ''}#.2g}" for place in order)
    style = {"va": "top", "fontsize": 7, "family": "DejaVu Sans Mono", "linespacing": 1.6, "transform": axes.transAxes}
    axes.text(1.1, 1, text.replace("-", "\u2212") or "all are 0", **style)


@styled
def channels(images: np.ndarray, title: str, caption: str) -> Figure:
    """Draw up to 16 images (channels, rows, columns) in viridis as one, four a line, each on its own scale."""
    shown = images[:CHANNELS]
    lines = -(-len(shown) // PER_LINE)
    width, height = 4.6, 1.2 * lines + 0.8
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.03, 0.42 / height, 0.94, 1.2 * lines / height))
    rows, columns = shown.shape[1:]
    across, down = columns * SPACING, rows * SPACING
    for place, image in enumerate(shown):
        y, x = down * (place // PER_LINE), across * (place % PER_LINE)
        extent = (x, x + columns, y + rows, y)
        axes.imshow(image, cmap="viridis", interpolation="nearest", extent=extent)
        axes.text(x + columns / 2, y - 0.03 * rows, _range(place, image), ha="center", va="bottom", fontsize=6)
    axes.set(xlim=(0, across * PER_LINE - (across - columns)), ylim=(down * lines - (down - rows), -0.2 * rows))
    axes.set_axis_off()
    entitle(figure, title, caption)
    return figure


def _range(place: int, image: np.ndarray) -> str:
    return f"{place + 1}: {image.min() + 0.0:.2g} to {image.max() + 0.0:.2g}".replace("-", "\u2212")
