"""Curves and matrices of a study: what dictionaries are worth, what is lost without atoms, and which methods agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from consilience.domains.fashion.mosaics import broken, two_digits
from consilience.figures.style import BLACK, BLUE, GRAY, METHOD_COLORS, VERMILLION, entitle, new_figure, number, styled
from consilience.figures.training import CONFUSION_COLORS

ORDERS = {"selective": VERMILLION, "active": BLUE, "random": GRAY}
RESULTS = {"true_class_logit": "logit of the true class", "recall": "recall of the class"}
METRICS = {
    "pearson": "Pearson's correlation",
    "spearman": "Spearman's correlation",
    "jaccard_top_1_percent": "Jaccard index of the top 1 %",
}
ROLE_MARKERS = {"train": "o", "validation": "s", "test": "D"}


@styled
def ablation_curves(table: pd.DataFrame) -> Figure:
    """Draw logit and recall against the atoms that are set to 0, a column a model; thin lines are classes."""
    models = list(table["model"].unique())
    figure = new_figure(1.2 + 2.6 * len(models), 5.4)
    panels = figure.subplots(2, len(models), squeeze=False, sharex=True, sharey="row")
    for column, model in enumerate(models):
        rows = table[table["model"] == model]
        panels[0, column].set_title(model)
        for axes, (result, label) in zip(panels[:, column], RESULTS.items(), strict=True):
            _ablation(axes, rows, result)
            if column == 0:
                axes.set_ylabel(label)
        panels[1, column].set_xlabel("atoms set to 0")
    handles = [Line2D([], [], color=color, linewidth=2.2, label=f"{order} atoms") for order, color in ORDERS.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(ORDERS))
    most = int(table["samples"].max())
    caption = (
        f"Test pictures of a class, up to {most}; orders are those of the training role. Selective: the most "
        "selective for the class first. Active: the largest mean code in the class first. Random: drawn in proportion "
        "to the mean code, a mean of five draws. Thick: mean over classes; thin: classes. Logits are less "
        "their mean over classes."
    )
    entitle(figure, "What is lost without atoms", caption)
    return figure


def _ablation(axes: Axes, rows: pd.DataFrame, result: str) -> None:
    # Thick lines last, so that no thin line hides them.
    for width, opacity in ((0.6, 0.45), (2.2, 1.0)):
        for order, color in ORDERS.items():
            part = rows[rows["order"] == order]
            if width > 1:
                mean = part.groupby("removed")[result].mean()
                axes.plot(mean.index, mean, color=color, linewidth=width, zorder=4)
            else:
                for _, one in part.groupby("class", sort=False):
                    axes.plot(one["removed"], one[result], color=color, linewidth=width, alpha=opacity, zorder=2)
    axes.axhline(0, color=GRAY, linewidth=0.5, zorder=1)
    axes.grid()


@styled
def dictionary_panels(table: pd.DataFrame, curves: Mapping[str, Sequence[float]]) -> Figure:
    """Draw error, sparsity and dead atoms of every model and role beside PCA, and the error by epoch.

    `table` is dictionary.tsv; `curves` the normalized error of the validation rows after every epoch by model, none for
    imported weights.
    """
    models = list(table["model"].unique())
    colors = dict(zip(models, [METHOD_COLORS[place % len(METHOD_COLORS)] for place in range(len(models))], strict=True))
    figure = new_figure(9.2, 5.6)
    panels = figure.subplots(2, 2)
    _errors(panels[0, 0], table, models, colors)
    own = table[table["encoder"] == "autoencoder"]
    values = {"codes that are not 0, by k": own["l0"] / own["size"], "share of dead atoms": own["dead_share"]}
    for axes, (label, column) in zip((panels[1, 0], panels[1, 1]), values.items(), strict=True):
        for place, model in enumerate(models):
            for shift, (role, marker) in zip((-0.2, 0, 0.2), ROLE_MARKERS.items(), strict=True):
                value = column[(own["model"] == model) & (own["role"] == role)]
                axes.plot(
                    place + shift, value, marker=marker, color=colors[model], linestyle="", markersize=5, clip_on=False
                )
        _name_models(axes, models, label)
    panels[1, 0].axhline(1, color=GRAY, linewidth=0.8, linestyle="--", zorder=1)
    panels[1, 0].set(title="Sparsity", ylim=(0, max(1.2, 1.1 * values["codes that are not 0, by k"].max())))
    panels[1, 1].set(title="Dead atoms", ylim=(0, max(0.1, 1.15 * own["dead_share"].max())))
    _epochs(panels[0, 1], table, curves, colors)
    handles = [
        Line2D([], [], color=BLACK, marker=mark, linestyle="", label=role) for role, mark in ROLE_MARKERS.items()
    ]
    handles += [
        Line2D([], [], color=GRAY, marker=mark, linestyle="", label=f"PCA, {name}") for name, mark in PCA.items()
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), columnspacing=1.2)
    caption = (
        "Normalized error: squared error relative to that of the mean of the training pictures. PCA is fitted on "
        "training pictures, with k components and with 50. A dead atom is one that no picture of the role excites: "
        "small roles excite fewer. By epoch: validation pictures; dashed, PCA with k components on them."
    )
    entitle(figure, "What the dictionaries are worth", caption)
    return figure


PCA = {"k components": "_", "50 components": "x"}


def _errors(axes: Axes, table: pd.DataFrame, models: Sequence[str], colors: Mapping[str, str]) -> None:
    for place, model in enumerate(models):
        rows = table[table["model"] == model]
        for shift, (role, marker) in zip((-0.2, 0, 0.2), ROLE_MARKERS.items(), strict=True):
            part = rows[rows["role"] == role].set_index("encoder")["normalized_mean_squared_error"]
            axes.plot(
                place + shift, part["autoencoder"], marker=marker, color=colors[model], linestyle="", markersize=5
            )
            pca = np.atleast_1d(part["pca"])
            for value, mark in zip((pca[0], pca[-1]), PCA.values(), strict=True):
                axes.plot(
                    place + shift,
                    value,
                    marker=mark,
                    color=GRAY,
                    markersize=6,
                    markeredgewidth=1.5,
                    linestyle="",
                    zorder=1,
                )
    axes.set(title="Error", ylim=(0, 1.1 * table["normalized_mean_squared_error"].max()))
    _name_models(axes, models, "normalized error")


def _name_models(axes: Axes, models: Sequence[str], label: str) -> None:
    axes.set_xticks(range(len(models)), models)
    axes.set_xlim(-0.6, len(models) - 0.4)
    axes.set_ylabel(label)
    axes.grid(axis="y")


def _epochs(axes: Axes, table: pd.DataFrame, curves: Mapping[str, Sequence[float]], colors: Mapping[str, str]) -> None:
    pca = table[(table["encoder"] == "pca") & (table["role"] == "validation")].drop_duplicates("model")
    for model, values in curves.items():
        axes.plot(np.arange(1, len(values) + 1), values, color=colors[model], label=model)
        level = pca.loc[pca["model"] == model, "normalized_mean_squared_error"].iloc[0]
        axes.axhline(level, color=colors[model], linewidth=0.9, linestyle="--", zorder=1)
    axes.set(title="Error by epoch", xlabel="epoch of the dictionary", ylabel="normalized error")
    axes.set_ylim(bottom=0)
    axes.grid()
    if curves:
        axes.legend(loc="upper right")


@styled
def agreement_matrices(table: pd.DataFrame) -> Figure:
    """Draw how far methods agree picture by picture, a matrix a metric; `table` is agreement.tsv.

    The means over models of the set `test`, values printed.
    """
    rows = table[table["set"] == "test"]
    if rows.empty:
        figure = new_figure(6, 1.6)
        entitle(figure, "Do methods point at the same pixels?", "One method: there is none to compare it with.")
        return figure
    names = list(dict.fromkeys([*rows["method"], *rows["other"]]))
    side = 0.36 * max(len(names), 7)
    figure = new_figure(2.2 + 3 * side, side + 1.8)
    panels = figure.subplots(1, len(METRICS), sharey=True)
    for axes, (metric, title) in zip(panels, METRICS.items(), strict=True):
        part = rows[rows["metric"] == metric]
        _matrix(axes, matrix_of(part, names), names)
        axes.set_title(title)
        unrelated, elsewhere = part["chance"].mean(), part["other_picture_of_class"].mean()
        levels = {"unrelated maps": unrelated, "other pictures of the class": elsewhere}
        axes.set_xlabel("\n".join(f"{name}: {number(level, '.2g')}" for name, level in levels.items()))
    samples, models = int(rows["samples"].iloc[0]), list(rows["model"].unique())
    caption = (
        f"Absolute attributions to the true class, compared picture by picture on {samples} test pictures; means over "
        f"pictures and over {', '.join(models)}. Other pictures of the class: two methods on different pictures "
        "of one class, the mean over pairs: maps that tell the class alone agree as much."
    )
    entitle(figure, "Do methods point at the same pixels?", caption)
    return figure


def matrix_of(rows: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Return the mean over models of the values (methods, methods) of one metric, NaN on the diagonal."""
    matrix = np.full((len(names), len(names)), np.nan)
    for (method, other), value in rows.groupby(["method", "other"], sort=False)["value"].mean().items():
        first, second = names.index(method), names.index(other)
        matrix[first, second] = matrix[second, first] = value
    return matrix


def _matrix(axes: Axes, matrix: np.ndarray, names: Sequence[str]) -> None:
    axes.imshow(np.nan_to_num(matrix), cmap=CONFUSION_COLORS, vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(matrix):
        if row != column:
            color = "white" if value > 0.5 else BLACK
            axes.text(column, row, two_digits(value), ha="center", va="center", fontsize=6, color=color)
    axes.set_xticks(range(len(names)), [str(place) for place in range(1, len(names) + 1)])
    axes.set_yticks(range(len(names)), [f"{broken(name, 24)}  {place}" for place, name in enumerate(names, start=1)])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
