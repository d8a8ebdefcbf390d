"""The mean attention of every head as maps over both modalities' windows, in multiples of uniform attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import h5py
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from consilience.domains.eeg.asked import ALL
from consilience.domains.eeg.attention_plots import ABSENT, COLORS
from consilience.domains.eeg.attention_weights import MODALITIES
from consilience.domains.eeg.marks import rows_of
from consilience.domains.eeg.notes import NEARLY_UNIFORM
from consilience.domains.eeg.wording import NAMES, TITLES
from consilience.figures.style import BLACK, empty_figure, entitle, new_figure, number, styled

LEAST_REACH = 0.25  # of a multiple: what differs less from uniform stays pale
MOST_HEADS = 8  # beside each other

Maps = Mapping[str, np.ndarray]  # by direction: (members, heads, queries, keys)
Times = tuple[float, float]  # seconds of a window, and from one to the next


def read_means(file: h5py.File, model: str) -> dict[str, np.ndarray]:
    """Return the mean maps of a model by direction, (members, heads, query, key); nothing where it has none."""
    return {name: file[f"{model}/{name}/mean"][...] for name in MODALITIES if f"{model}/{name}/mean" in file}


def multiples(maps: np.ndarray) -> np.ndarray:
    """Return weights (..., queries, keys) in multiples of their query's mean weight, NaN where no sample has both.

    The mean is 1 / K of K windows that all samples have; of windows that some lack, what they give where they are.
    """
    known = np.isfinite(maps)
    count = known.sum(axis=-1, keepdims=True)
    mean = np.where(known, maps, 0).sum(axis=-1, keepdims=True) / np.maximum(count, 1)
    return np.divide(maps, mean, out=np.full(maps.shape, np.nan), where=known & (mean > 0))


@styled
def attention_maps(means: Mapping[str, np.ndarray], attention: pd.DataFrame, model: str, times: Times) -> Figure:
    """Draw the mean maps of all heads together and of the first member's heads, a line a direction.

    `means` are those of `read_means`, `attention` is attention.tsv, `times` the seconds of a window and from one to the
    next.
    """
    rows = rows_of(attention, model=model)
    drawn = {name: maps for name, maps in means.items() if (rows["direction"] == name).any()}
    if not drawn:
        reason = f"{model} attends to no other modality, or to one that has a single window"
        return empty_figure("Attention between modalities", reason)
    heads = next(iter(drawn.values())).shape[1]
    shown = min(heads, MOST_HEADS)
    maps = {name: multiples(_together(own, shown)) for name, own in drawn.items()}
    reach = max(LEAST_REACH, *(float(np.nanmax(np.abs(own - 1))) for own in maps.values()))
    figure = new_figure(2.0 + 1.32 * (shown + 1), 1.95 * len(maps) + 1.3)
    panels = figure.subplots(len(maps), shown + 1, squeeze=False, sharex="row", sharey="row")
    for line, (direction, own) in zip(panels, maps.items(), strict=True):
        entropies = _entropies(rows_of(rows, direction=direction), shown)
        for axes, values, (name, entropy) in zip(line, own, entropies, strict=True):
            _map(axes, values, times, reach)
            axes.set_title(f"{name}\nentropy {number(entropy, '.3f')}", fontweight="normal", fontsize=7.5)
        _label(line, direction)
    colors = ScalarMappable(CenteredNorm(1, reach), COLORS)
    bar = figure.colorbar(colors, ax=panels, fraction=0.02, pad=0.01, label="times uniform")
    bar.ax.set_ylim(max(0, 1 - reach), 1 + reach)
    entitle(figure, _message(rows, model), _caption(rows, heads, shown))
    return figure


def _together(maps: np.ndarray, shown: int) -> np.ndarray:
    """Return the mean over members and heads, and below it the first member's heads, (1 + shown, queries, keys)."""
    return np.concatenate([maps.mean(axis=(0, 1))[None], maps[0, :shown]])


def _entropies(rows: pd.DataFrame, shown: int) -> list[tuple[str, float]]:
    """Return a name and the entropy of all heads together, and of the first member's heads."""
    single = rows[rows["head"].astype(str) != ALL]
    own = rows_of(single, member=single["member"].iloc[0])
    found = [("all heads", rows_of(rows, head=ALL)["entropy"].iloc[0])]
    return found + [(f"head {head}", rows_of(own, head=head)["entropy"].iloc[0]) for head in range(shown)]


def _map(axes: Axes, values: np.ndarray, times: Times, reach: float) -> None:
    """Draw a map (queries, keys) in seconds, its largest value outlined, and where both windows have the same time."""
    seconds, stride = times
    start = (seconds - stride) / 2
    (top, bottom), (left, right) = ((start, start + stride * count) for count in values.shape)
    axes.set_facecolor(ABSENT)
    axes.imshow(
        np.ma.masked_invalid(values), cmap=COLORS, norm=CenteredNorm(1, reach), extent=(left, right, bottom, top),
        aspect="auto", interpolation="nearest",
    )  # fmt: skip
    query, key = np.unravel_index(np.nanargmax(values), values.shape)
    corner = left + stride * key, top + stride * query
    axes.add_patch(Rectangle(corner, stride, stride, fill=False, edgecolor=BLACK, linewidth=0.9, zorder=3))
    # The shorter segment lies in the middle of the longer.
    later = stride * (values.shape[1] - values.shape[0]) / 2
    axes.plot([top + later, bottom + later], [top, bottom], color=BLACK, linewidth=0.8, linestyle=":", zorder=2)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True))


def _label(line: Sequence[Axes], direction: str) -> None:
    queries, keys = (NAMES[name] for name in MODALITIES[direction])
    line[0].set_ylabel(f"{queries} window\n(query, seconds)")
    for axes in line:
        axes.set_xlabel(f"{keys} window\n(key, seconds)")


def _message(rows: pd.DataFrame, model: str) -> str:
    """Say how sharp attention is."""
    together = rows_of(rows, head=ALL)
    flat = together["entropy"] > NEARLY_UNIFORM
    verdict = "nearly uniform" if flat.all() else "nearly uniform in one direction" if flat.any() else "not uniform"
    told = (
        f"{number(entropy, '.3f')} {TITLES[direction]}"
        for direction, entropy in zip(together["direction"], together["entropy"], strict=True)
    )
    return f"Attention of {model} is {verdict}: entropy {', '.join(told)} (1: uniform)"


def _caption(rows: pd.DataFrame, heads: int, shown: int) -> str:
    some = f" (the first {shown} of {heads})" if shown < heads else ""
    return (
        f"Means over {rows['samples'].max():.0f} test samples: all heads of all members together, and the heads of the "
        f"first member{some}; heads of other members have nothing in common with them. Entropy: 1 where all windows "
        "are attended to alike. Rows are queries, whose weights sum to 1 over keys; windows by their centers, in "
        "seconds from the start of the modality's own segment. White: uniform; outlined: the largest; "
        "dotted: the same time in both. Attention tells where values are read from, not what a prediction rests on."
    )
