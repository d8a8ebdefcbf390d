"""How training went and what the networks predict: loss curves, predicted against observed, confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from consilience.figures.style import (
    BLACK,
    BLUE,
    GRAY,
    ORANGE,
    entitle,
    lighten,
    number,
    panel_grid,
    shorten,
    styled,
)

LOSSES = {"train_loss": ("training", BLUE), "validation_loss": ("validation", ORANGE)}
REGRESSION = {"r2": "R²", "pearson": "Pearson", "spearman": "Spearman"}
CLASSES = {
    "kl_divergence": "KL divergence",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1_macro": "macro F1",
    "matthews_corrcoef": "Matthews",
    "roc_auc": "ROC AUC",
    "expected_calibration_error": "calibration error",
}
CONFUSION_COLORS = LinearSegmentedColormap.from_list("share", ["#FFFFFF", "#9CC9E3", BLUE, "#00304D"])
INTERVALS = "Brackets: 95 % interval, resampling groups."


@styled
def loss_curves(history: pd.DataFrame, models: Sequence[str], loss: str = "loss") -> Figure:
    """Draw the losses of every member (thin) and their mean (thick), a panel a model.

    `history` has the columns model, member, epoch, train_loss, validation_loss and best (true in the epoch whose
    state was kept, which a point marks); a model without rows was imported. The mean ends with the first member that
    stopped: beyond, it would average others.
    """
    figure, panels = panel_grid(len(models), 3, 3.1, 2.4)
    for name, axes in zip(models, panels, strict=True):
        rows = history[history["model"] == name]
        members = rows["member"].nunique()
        if members:
            _curves(axes, rows)
            axes.set(xlabel="epoch", ylabel=loss)
        else:
            axes.text(0.5, 0.5, "imported, not trained here", transform=axes.transAxes, ha="center", color=GRAY)
            axes.set(xticks=[], yticks=[])
        axes.set_title(shorten(name) + (f" ({members} member{'s' * (members > 1)})" if members else ""))
    drawn = [axes for axes in panels if axes.lines]
    if drawn:
        drawn[0].legend(loc="upper right")
    entitle(
        figure,
        "Training and validation loss",
        "Thin: members. Thick: their mean, as far as all of them trained. Points: best epoch on the validation role, "
        "whose weights were kept.",
    )
    return figure


def _curves(axes: Axes, rows: pd.DataFrame) -> None:
    common = rows.groupby("member")["epoch"].max().min()
    for column, (label, color) in LOSSES.items():
        for _, one in rows.groupby("member"):
            axes.plot(one["epoch"], one[column], color=lighten(color), linewidth=0.7)
        mean = rows[rows["epoch"] <= common].groupby("epoch")[column].mean()
        axes.plot(mean.index, mean, color=color, linewidth=1.8, label=label, zorder=3)
    best = rows[rows["best"].astype(bool)]
    axes.plot(best["epoch"], best["validation_loss"], "o", color=BLACK, markersize=3, label="best epoch", zorder=4)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="y")


def _facts(label: str, metrics: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Write the label of an axis and, below it, n and the metrics of a role with their intervals, a line each."""
    lines = [label, "", f"n = {metrics['n']}" + (f" in {metrics['groups']} groups" if "groups" in metrics else "")]
    for key, name in names.items():
        if key in metrics:
            value, low, high = (metrics[key].get(part) for part in ("value", "low", "high"))
            interval = "" if low is None or high is None else f"  [{low:.2f}, {high:.2f}]"
            lines.append(f"{name} {number(value, '.3f')}{interval}")
    return "\n".join([*lines, ""])


@styled
def prediction_scatter(predictions: pd.DataFrame, metrics: Mapping[str, Mapping[str, Any]], target: str) -> Figure:
    """Draw predicted against observed values, a panel a model, with the line of equality.

    `predictions` has the columns model, observed, predicted (the target's own unit); `metrics` maps a model to the
    block of its metrics.json for the same samples: n, groups and metrics with value, low and high.
    """
    names = list(predictions["model"].unique())
    figure, panels = panel_grid(len(names), 3, 3.0, 3.9)
    span = predictions[["observed", "predicted"]].to_numpy()
    low, high = span.min(), span.max()
    margin = 0.05 * (high - low or 1.0)
    limits = (low - margin, high + margin)
    for name, axes in zip(names, panels, strict=True):
        rows = predictions[predictions["model"] == name]
        axes.plot(limits, limits, color=GRAY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        area = np.clip(3000 / len(rows), 2, 14)
        axes.scatter(rows["observed"], rows["predicted"], s=area, color=BLUE, alpha=0.5, linewidths=0)
        axes.set(xlim=limits, ylim=limits, aspect="equal", ylabel=f"predicted {target}")
        axes.set_xlabel(_facts(f"observed {target}", metrics[name], REGRESSION))
        axes.set_title(shorten(name))
    caption = f"A point a sample, predicted by the mean of the ensemble. Dashed: equality. {INTERVALS}"
    entitle(figure, f"Predicted and observed {target}, test role", caption)
    return figure


@styled
def confusion_matrices(
    predictions: pd.DataFrame, metrics: Mapping[str, Mapping[str, Any]], classes: Sequence[str]
) -> Figure:
    """Draw counts of true against predicted classes, a panel a model, shaded by the share of the true class.

    `predictions` has the columns model, observed and predicted: names of classes; `metrics` is as for
    `prediction_scatter`.
    """
    names = list(predictions["model"].unique())
    size = max(2.8, 1.3 + 0.34 * len(classes))
    figure, panels = panel_grid(len(names), 3, size, size + 0.5)
    for name, axes in zip(names, panels, strict=True):
        rows = predictions[predictions["model"] == name]
        counts = pd.crosstab(rows["observed"], rows["predicted"])
        _matrix(axes, counts.reindex(index=classes, columns=classes, fill_value=0))
        axes.set_title(shorten(name))
        axes.set_xlabel(_facts("predicted", metrics[name], CLASSES))
        axes.set_ylabel("true")
    caption = f"Numbers: samples. Shade: share of the true class (rows). {INTERVALS}"
    entitle(figure, "Predicted and true classes, test role", caption)
    return figure


def _matrix(axes: Axes, counts: pd.DataFrame) -> None:
    values = counts.to_numpy()
    totals = values.sum(axis=1, keepdims=True)
    share = np.divide(values, totals, out=np.zeros(values.shape), where=totals > 0)
    axes.imshow(share, cmap=CONFUSION_COLORS, vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(values):
        color = "white" if share[row, column] > 0.5 else BLACK if value else GRAY
        axes.text(column, row, str(value), ha="center", va="center", fontsize=7, color=color)
    labels = [shorten(name, 14) for name in counts.index]
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
