"""Where along the sequences methods look, and which of them say what mutagenesis says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from consilience.domains.mirna.colors import BRANCH_TITLES, LABEL_COLORS, SIGNED_COLORS, words
from consilience.domains.mirna.notes import SIGNIFICANT
from consilience.domains.mirna.positions import NUCLEOTIDE_FALLS
from consilience.domains.mirna.prepare import BRANCHES
from consilience.figures.style import BLACK, GRAY, METHOD_COLORS, entitle, new_figure, number, styled

MUTAGENESIS = "mutagenesis"
REGION = "#F0EBDD"  # behind the seed and its match
# In the site, where position 1 lies opposite nucleotide 8 of the miRNA, and 7 opposite its second.
OPPOSITE_SEED = range(1, 8)
FIRST_OF_MATCH = {"planted match": 1, "6-mer seed match": 2}
SPREAD = 0.6  # of a line, over which models stand apart


def colors_of(models: Sequence[str]) -> dict[str, str]:
    """Return a color for every model."""
    return {model: METHOD_COLORS[place % len(METHOD_COLORS)] for place, model in enumerate(models)}


def shifts_of(models: int) -> np.ndarray:
    """Return how far from the middle of a line models stand, the first above."""
    return np.linspace(-SPREAD / 2, SPREAD / 2, models) if models > 1 else np.zeros(models)


def _own(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    """Return the rows that hold these values."""
    return table[np.logical_and.reduce([table[column] == value for column, value in wanted.items()])]


@styled
def position_profiles(positions: pd.DataFrame, enrichment: pd.DataFrame, shown: str, primary: str) -> Figure:
    """Draw profiles along the miRNA and around the match, and the enrichment of both regions by method and model.

    `positions` and `enrichment` are the tables of these names.
    """
    ratios = _own(enrichment, label="pair")
    methods = list(dict.fromkeys(ratios["method"]))
    figure = new_figure(9.6, 5.4 + 0.24 * max(len(methods), 2))
    lines = figure.subplots(3, 2, height_ratios=(2, 2, 0.6 + 0.24 * max(len(methods), 2)), sharex=False)
    shapes = enrichment.loc[enrichment["branch"] == "site", "region"]
    region = shapes.iloc[0] if len(shapes) else "planted match"
    for line, method in zip(lines[:2], (NUCLEOTIDE_FALLS, primary), strict=True):
        for axes, branch in zip(line, BRANCHES, strict=True):
            _profile(axes, _own(positions, model=shown, method=method, branch=branch), branch, region)
            axes.set_title(f"{BRANCH_TITLES[branch]}: {words(method)}")
        line[0].set_ylabel("per nucleotide")
    models = colors_of(list(dict.fromkeys(enrichment["model"])))
    for axes, branch, name in zip(
        lines[2], BRANCHES, ("nucleotides 2–8", region if len(shapes) else "the match"), strict=True
    ):
        _ratios(axes, _own(ratios, branch=branch), methods, models)
        axes.set_title(f"Share of {name}, relative to chance")
    lines[2, 1].set_yticklabels([])
    _keys(figure, models)
    caption = (
        f"Profiles: {shown}, attributions with their sign, means over test pairs; bands: 95 % intervals, resampling "
        "families. Shaded: the seed, and its match in the site, where the numbers are those of the miRNA's nucleotides "
        "that lie opposite. Ratios: positives only; the region's share of absolute attribution by what it would have "
        f"were it moved along the sequences (dashed: 1, chance). Filled: p < {SIGNIFICANT} (permutations). "
        f"Planned beforehand: nucleotides 2–8, {words(NUCLEOTIDE_FALLS)}, {shown}; all other ratios describe, "
        "uncorrected."
    )
    entitle(figure, "Do the networks look at the seed and its match?", caption)
    return figure


def _profile(axes: Axes, rows: pd.DataFrame, branch: str, region: str) -> None:
    first, last = (2, 8) if branch == "mirna" else (FIRST_OF_MATCH[region], OPPOSITE_SEED[-1])
    axes.axvspan(first - 0.5, last + 0.5, color=REGION, zorder=0, linewidth=0)
    axes.axhline(0, color=GRAY, linewidth=0.6, zorder=1)
    for label, color in LABEL_COLORS.items():
        own = _own(rows, label=label)
        if len(own):
            axes.fill_between(own["position"], own["low"], own["high"], color=color, alpha=0.2, linewidth=0, zorder=2)
            name = f"{label} (n = {own['samples'].max():.0f})"
            axes.plot(own["position"], own["value"], color=color, marker="o", markersize=2.5, label=name, zorder=3)
    if rows.empty:
        axes.text(0.5, 0.5, "no pair with a match", transform=axes.transAxes, ha="center", va="center", color=GRAY)
        axes.set(xticks=[], yticks=[])
        return
    axes.legend(loc="best", handlelength=1.2)
    axes.grid(axis="y")
    _number(axes, rows["position"], branch)


def _number(axes: Axes, positions: pd.Series, branch: str) -> None:
    """Write numbers below nucleotides; opposite the seed, those of the miRNA."""
    start, end = int(positions.min()), int(positions.max())
    axes.set_xlim(start - 0.6, end + 0.6)
    if branch == "mirna":
        ticks = [place for place in range(start, end + 1) if place in (1, 2, 8) or place % 4 == 0]
        axes.set_xticks(ticks)
        axes.set_xlabel("nucleotide of the miRNA, from its 5' end")
        return
    first, last = OPPOSITE_SEED[0], OPPOSITE_SEED[-1]
    outside = [place for place in range(start, end + 1) if place not in OPPOSITE_SEED]
    beside = {place: place - (first if place < first else last) for place in outside}
    names = {place: str(last + 2 - place) for place in OPPOSITE_SEED}
    names |= {place: f"{away:+d}".replace("-", "\u2212") for place, away in beside.items() if away % 5 == 0}
    axes.set_xticks(list(names), list(names.values()))
    axes.set_xlabel("nucleotide of the miRNA that lies opposite; beside them the distance")


def _ratios(axes: Axes, rows: pd.DataFrame, methods: Sequence[str], models: Mapping[str, str]) -> None:
    axes.axvline(1, color=BLACK, linewidth=0.8, linestyle="--", zorder=1)
    shifts = shifts_of(len(models))
    for shift, (model, color) in zip(shifts, models.items(), strict=True):
        for row in _own(rows, model=model).itertuples():
            place = methods.index(row.method) + shift
            axes.plot([row.low, row.high], [place, place], color=color, linewidth=1, zorder=2)
            filled = color if row.p_value < SIGNIFICANT else "white"
            axes.plot(row.ratio, place, "o", color=color, markerfacecolor=filled, markersize=3.6, zorder=3)
    axes.set_yticks(range(len(methods)), [words(name) for name in methods])
    axes.set_ylim(max(len(methods), 1) - 0.45, -0.55)
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("ratio, 95 % interval")
    axes.grid(axis="x")
    if rows.empty:
        axes.text(0.5, 0.5, "no pair to tell from", transform=axes.transAxes, ha="center", va="center", color=GRAY)


def _keys(figure: Figure, models: Mapping[str, str]) -> None:
    handles = [Line2D([], [], color=color, marker="o", markersize=3.6, label=model) for model, color in models.items()]
    handles += [
        Line2D([], [], marker="o", linestyle="", markersize=3.6, color=BLACK, markerfacecolor=fill, label=text)
        for fill, text in ((BLACK, f"p < {SIGNIFICANT}"), ("white", "not significant"))
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), columnspacing=1.2)


def ordered_methods(rows: pd.DataFrame) -> list[str]:
    """Return the methods of agreement.tsv, mutagenesis first, then by how far they agree with it (or the first)."""
    names = list(dict.fromkeys([*rows["method"], *rows["other"]]))
    first = MUTAGENESIS if MUTAGENESIS in names else names[0]
    with_first = rows[(rows[["method", "other"]] == first).any(axis=1)]
    other = with_first["other"].where(with_first["method"] == first, with_first["method"])
    means = with_first["value"].groupby(other, sort=False).mean()
    return [first, *means.sort_values(ascending=False, kind="stable").index]


@styled
def agreement_matrix(table: pd.DataFrame) -> Figure:
    """Draw Spearman's correlations of methods on single pairs, and those with mutagenesis by model.

    `table` is agreement.tsv; the matrix holds means over models.
    """
    rows = table[table["metric"] == "spearman"]
    if rows.empty:
        figure = new_figure(6, 1.6)
        entitle(figure, "Do methods say the same of a pair?", "One method: there is none to compare it with.")
        return figure
    names, models = ordered_methods(rows), list(dict.fromkeys(rows["model"]))
    side = 0.38 * max(len(names), 6)
    figure = new_figure(side + 5.6, side + 1.5)
    left, right = figure.subplots(1, 2, width_ratios=(side, 2.6), sharey=True)
    _matrix(left, rows, names)
    left.set_title("Spearman's correlation, mean over models")
    _with_first(right, rows, names, colors_of(models))
    caption = (
        f"On the k-mers of either sequence, pair by pair; means over {int(rows['samples'].iloc[0])} test pairs and "
        f"{len(models)} model{'' if len(models) == 1 else 's'}. With their signs where both methods have one, else "
        "(slanted) by their sizes. Right: 95 % intervals, resampling families; gray ticks: chance, one method's "
        "attributions permuted over a pair's k-mers within each branch."
    )
    entitle(figure, "Do methods say the same of a pair?", caption)
    return figure


def matrix_of(rows: pd.DataFrame, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the means over models (methods, methods), NaN on the diagonal, and which are of signed attributions."""
    values, signed = np.full((len(names), len(names)), np.nan), np.zeros((len(names), len(names)), bool)
    grouped = rows.groupby(["method", "other"], sort=False).agg({"value": "mean", "signed": "first"})
    for (method, other), row in grouped.iterrows():
        places = names.index(method), names.index(other)
        for place in (places, places[::-1]):
            values[place], signed[place] = row["value"], row["signed"]
    return values, signed


def _matrix(axes: Axes, rows: pd.DataFrame, names: Sequence[str]) -> None:
    values, signed = matrix_of(rows, names)
    axes.imshow(np.ma.masked_invalid(values), cmap=SIGNED_COLORS, vmin=-1, vmax=1, aspect="auto")
    axes.set_facecolor("#E6E6E6")
    for (row, column), value in np.ndenumerate(values):
        if row != column:
            color, slant = "white" if abs(value) > 0.6 else BLACK, "normal" if signed[row, column] else "italic"
            text = number(round(value, 2) + 0.0, ".2f").replace("-", "\u2212")
            axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=color, fontstyle=slant)
    axes.set_xticks(range(len(names)), [str(place) for place in range(1, len(names) + 1)])
    axes.set_yticks(range(len(names)), [f"{words(name)}  {place}" for place, name in enumerate(names, start=1)])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _with_first(axes: Axes, rows: pd.DataFrame, names: Sequence[str], models: Mapping[str, str]) -> None:
    axes.axvline(0, color=GRAY, linewidth=0.8, zorder=1)
    shifts = shifts_of(len(models))
    chosen = rows[(rows[["method", "other"]] == names[0]).any(axis=1)]
    for shift, (model, color) in zip(shifts, models.items(), strict=True):
        for row in _own(chosen, model=model).itertuples():
            place = names.index(row.other if row.method == names[0] else row.method) + shift
            axes.plot([row.low, row.high], [place, place], color=color, linewidth=1)
            axes.plot(row.chance, place, "|", color=GRAY, markersize=5, markeredgewidth=1.2)
            axes.plot(row.value, place, "o", color=color, markersize=3.6)
    axes.set_xlim(min(-0.1, axes.get_xlim()[0]), 1)
    axes.set_title(f"With {words(names[0])}, by model")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    handles = [Line2D([], [], color=color, marker="o", markersize=3.6, label=model) for model, color in models.items()]
    axes.legend(handles=handles, loc="upper right")
