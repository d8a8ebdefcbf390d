"""Attention between windows as figures: maps of both directions, how heads differ, and whether directions agree.

Colors tell more (orange) and less (blue) than the uniform weight 1/K, which is white; limits are those of the data. The
functions return figures that no window manager knows: `figure.savefig` works, `figure.show` does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from consilience.domains.eeg.attention import CONSTANT, AttentionAnalyzer, agreements
from consilience.domains.eeg.attention_weights import MODALITIES, AttentionWeights, as_array, checked, checked_maps
from consilience.errors import ConsilienceError
from consilience.figures.style import BLACK, GRAY, NEGATIVE, POSITIVE, PURPLE, entitle, lighten, new_figure, styled
from consilience.files import save_figure

SUFFIXES = (".png", ".pdf", ".svg")
COLORS = LinearSegmentedColormap.from_list("attention", ["#00304D", NEGATIVE, "#FFFFFF", POSITIVE, "#5C2400"], N=257)
ABSENT = "#D9D9D9"
TITLES = {"eeg_to_spec": "EEG attends to spectrogram", "spec_to_eeg": "Spectrogram attends to EEG"}
WINDOWS = {"eeg": "EEG window", "spectrogram": "spectrogram window"}
SINGLE = "uninformative: one token\n(attention over a single window\nis 1, whatever the network learned)"
READING = (
    "A row is a query, and its weights sum to 1 over keys; white is the uniform weight 1/K, orange more, blue less. "
    "Windows in the order of time, from 0. Attention tells where values are read from, not what a prediction rests on."
)
ROUNDING = 1e-6  # what single precision leaves of the entropy and the weights of uniform attention
MINUS = "\u2212"
Size = tuple[float, float]


@styled
def plot_cross_modal_attention(
    attention_dict: Mapping[str, Any],
    sample_idx: int = 0,
    head_idx: int | None = None,
    figsize: Size = (10, 4.6),
    save_path: str | Path | None = None,
    absent: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw the attention of a sample in both directions, of one head or the mean over heads.

    `attention_dict` holds weights (samples, heads, query, key) by direction; `absent` is bool (samples, windows) by
    modality, by default what `AttentionMaps` know. The figure is also written to `save_path` (.png, .pdf or .svg).
    Raises ConsilienceError for weights that are none, a sample or head that is not there, and another suffix.
    """
    maps = _maps(attention_dict, absent)
    maps = {direction: _one(own, sample_idx, head_idx) for direction, own in maps.items()}
    figure = new_figure(*figsize)
    for axes, (direction, own) in zip(figure.subplots(1, 2), maps.items(), strict=True):
        queries, keys = MODALITIES[direction]
        entropy = AttentionAnalyzer(own.values.shape[1]).compute_attention_entropy(own)
        axes.set_title(TITLES[direction] + ("" if entropy is None else f": entropy {entropy:.3f}"))
        _draw(figure, axes, own, f"{WINDOWS[queries]} (query)", f"{WINDOWS[keys]} (key)")
    caption = f"{READING} Entropy: 1 where all keys are attended to alike.{_gray(maps['eeg_to_spec'])}"
    entitle(figure, f"Attention between modalities, sample {sample_idx}, {_of_heads(head_idx)}", caption)
    return _saved(figure, save_path)


@styled
def plot_attention_heatmap(
    attention_weights: Any,
    title: str = "Attention weights",
    sample_idx: int = 0,
    head_idx: int | None = None,
    figsize: Size = (7, 4.6),
    save_path: str | Path | None = None,
    absent: Any = None,
    absent_queries: Any = None,
) -> Figure:
    """Draw the attention of a sample in one direction, of one head or the mean over heads.

    `attention_weights` are (samples, heads, query, key); `absent` bool (samples, keys), `absent_queries` (samples,
    queries). Written and refused as `plot_cross_modal_attention` does.
    """
    shape = as_array(attention_weights).shape
    own = checked(attention_weights, shape[1] if len(shape) > 1 else 0, "attention_weights", absent, absent_queries)
    chosen = _one(own, sample_idx, head_idx)
    figure = new_figure(*figsize)
    axes = figure.subplots()
    axes.set_title(f"Sample {sample_idx}, {_of_heads(head_idx)}")
    _draw(figure, axes, chosen, "query window", "key window")
    entitle(figure, title, READING + _gray(chosen))
    return _saved(figure, save_path)


@styled
def plot_head_contributions(
    attention_dict: Mapping[str, Any],
    num_heads: int = 8,
    figsize: Size = (9, 5.4),
    save_path: str | Path | None = None,
    absent: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw how heads differ, over all samples: how far from uniform they attend, and the largest weight of a query.

    The first is the `specialization_score` 1 - entropy. The mean weight of a head, which the earlier figure showed, is
    1/K for every head and network, since rows sum to 1. `absent`, files and errors are those of
    `plot_cross_modal_attention`.
    """
    maps = checked_maps(attention_dict, num_heads, absent)
    figure = new_figure(*figsize)
    panels = figure.subplots(2, 2, sharex=True, squeeze=False)
    for column, (direction, own) in zip(panels.T, maps.items(), strict=True):
        column[0].set_title(TITLES[direction])
        column[1].set_xlabel("head")
        _heads(column[0], _over_queries(1 - own.entropies()), 0)
        _heads(column[1], _over_queries(_peaks(own)), 1)
    panels[0, 0].set_ylabel(f"1 {MINUS} entropy / ln K\n(0: all keys alike, 1: one key)")
    panels[1, 0].set_ylabel("largest weight of a query, times K\n(1: all keys alike)")
    samples = len(maps["eeg_to_spec"].values)
    caption = (
        f"Dots: {samples} sample{'' if samples == 1 else 's'}, means over queries; bars: means over samples. Axes "
        "begin where attention is uniform. That a head attends sharply does not say that the prediction rests on it. "
        "Its mean weight is 1/K by construction."
    )
    entitle(figure, "How sharply heads attend", caption)
    return _saved(figure, save_path)


@styled
def plot_modality_alignment(
    attention_dict: Mapping[str, Any],
    sample_idx: int = 0,
    figsize: Size = (9.6, 6.2),
    save_path: str | Path | None = None,
    absent: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw whether both directions of a sample agree: their correlation by head, and both maps over the same axes.

    Rows of the maps are EEG windows and columns spectrogram windows, so that the second direction is transposed, as it
    is for the correlation. `absent`, files and errors are those of `plot_cross_modal_attention`.
    """
    maps = {direction: _one(own, sample_idx) for direction, own in _maps(attention_dict, absent).items()}
    figure = new_figure(*figsize)
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.3))
    agreement = _agreements(figure.add_subplot(grid[0, :]), maps)
    for place, (direction, own) in enumerate(maps.items()):
        axes = figure.add_subplot(grid[1, place])
        axes.set_title(f"{TITLES[direction]}, mean over heads")
        transposed = direction == "spec_to_eeg"
        roles = ("key", "query") if transposed else ("query", "key")
        labels = [f"{WINDOWS[name]} ({role})" for name, role in zip(("eeg", "spectrogram"), roles, strict=True)]
        _draw(figure, axes, own, *labels, transposed=transposed)
    told = "not defined" if agreement is None else _two_digits(agreement)
    caption = (
        "Pearson's correlation of both directions over all pairs of an EEG and a spectrogram window. By chance it is "
        "what samples paired at random give, which this figure does not know; no value shows by itself that modalities "
        "agree on a class. Maps: white is the uniform weight 1/K, orange more, blue less."
    )
    entitle(figure, f"Agreement of the directions, sample {sample_idx}: {told}", caption + _gray(maps["eeg_to_spec"]))
    return _saved(figure, save_path)


def _maps(attention_dict: Mapping[str, Any], absent: Mapping[str, Any] | None) -> dict[str, AttentionWeights]:
    """Check maps of however many heads."""
    shape = as_array(attention_dict.get("eeg_to_spec", ())).shape
    return checked_maps(attention_dict, shape[1] if len(shape) > 1 else 0, absent)


def _one(own: AttentionWeights, sample: int, head: int | None = None) -> AttentionWeights:
    """Return one sample, of one head or all."""
    for name, place, count in (("sample_idx", sample, len(own.values)), ("head_idx", head, own.values.shape[1])):
        if place is not None and not 0 <= place < count:
            raise ConsilienceError(f"{name}: {place}; the attention has 0 to {count - 1}")
    chosen = own.sample(sample)
    return chosen if head is None else chosen.head(head)


def _gray(own: AttentionWeights) -> str:
    return "" if own.queries.all() and own.keys.all() else " Gray: windows that are absent."


def _of_heads(head: int | None) -> str:
    return "mean over heads" if head is None else f"head {head}"


def _draw(figure: Figure, axes: Axes, own: AttentionWeights, rows: str, columns: str, transposed: bool = False) -> None:
    """Draw a sample's map with its color bar, or why there is none."""
    if not own.informative.any():
        _say(axes, SINGLE)
        return
    values = own.mean_map().T if transposed else own.mean_map()
    uniform = float(own.uniform[0])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    # Of attention that is uniform but for rounding, colors would show the rounding.
    reach = max(high - uniform, uniform - low)
    if reach <= CONSTANT * uniform:
        low, high, reach = 0.95 * uniform, 1.05 * uniform, 0.05 * uniform
        axes.text(0.5, 0.5, "uniform: every weight is 1/K", ha="center", va="center", transform=axes.transAxes)
    axes.set_facecolor(ABSENT)
    norm = CenteredNorm(uniform, reach)
    image = axes.imshow(np.ma.masked_invalid(values), cmap=COLORS, norm=norm, aspect="auto", interpolation="nearest")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.set(xlabel=columns, ylabel=rows)
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, label=f"weight (line: 1/K = {uniform:.3g})")
    bar.ax.yaxis.set_major_locator(MaxNLocator(6))
    bar.ax.set_ylim(low, high)
    bar.ax.axhline(uniform, color=BLACK, linewidth=1)


def _say(axes: Axes, text: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color="#4D4D4D")


def _over_queries(values: np.ndarray) -> np.ndarray:
    """Return means (samples, heads) of what is no NaN in (samples, heads, queries), of samples that have any."""
    known = np.isfinite(values)
    kept = known.any(axis=(1, 2))
    return np.where(known, values, 0).sum(axis=2)[kept] / known.sum(axis=2)[kept]


def _peaks(own: AttentionWeights) -> np.ndarray:
    """Return the largest weight of every query in uniform weights, (samples, heads, queries); NaN where none counts."""
    counts = own.counted.any(axis=2)[:, None, :]
    return np.where(counts, own.values.max(axis=3) / own.uniform[:, None, None], np.nan)


def _heads(axes: Axes, values: np.ndarray, uniform: float) -> None:
    """Draw values (samples, heads) from that of uniform attention on."""
    if not len(values):
        _say(axes, SINGLE)
        return
    heads = np.arange(values.shape[1])
    axes.bar(heads, values.mean(axis=0) - uniform, bottom=uniform, color=lighten(PURPLE, 0.5), width=0.7)
    for sample in values:
        axes.plot(heads, sample, "o", color=BLACK, markersize=2.2, alpha=0.5, clip_on=False)
    axes.set_xticks(heads)
    reach = float(values.max()) - uniform
    axes.set_ylim(uniform, uniform + (1.08 * reach if reach > ROUNDING else 1))
    axes.grid(axis="y")


def _agreements(axes: Axes, maps: Mapping[str, AttentionWeights]) -> float | None:
    """Draw the correlation of both directions of every head of a sample; return that of their means."""
    first, second = maps.values()
    count = first.values.shape[1]
    values = [float(agreements(first.head(head), second.head(head))[0]) for head in range(count)]
    mean = AttentionAnalyzer(count).compare_modality_agreement(first, second)
    axes.set_title("Correlation of both directions, by head")
    if not (first.informative & second.informative).any():
        _say(axes, SINGLE)
        return mean
    axes.bar(
        range(count), np.nan_to_num(values), color=[POSITIVE if value > 0 else NEGATIVE for value in values], width=0.7
    )
    for head in np.flatnonzero(np.isnan(values)):
        axes.text(head, 0.04, "not\ndefined", ha="center", fontsize=6, color=GRAY)
    axes.axhline(0, color=BLACK, linewidth=0.7)
    if mean is not None:
        axes.axhline(
            mean, color=BLACK, linewidth=0.9, linestyle="--", label=f"of the means over heads: {_two_digits(mean)}"
        )
        axes.legend(loc="upper right")
    axes.set(xticks=range(count), xlabel="head", ylabel="correlation", ylim=(-1, 1))
    axes.grid(axis="y")
    return mean


def _two_digits(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", MINUS)


def _saved(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        if Path(path).suffix not in SUFFIXES:
            raise ConsilienceError(f"save_path: {path}; expected a name that ends in {', '.join(SUFFIXES)}")
        save_figure(path, figure)
    return figure
