"""When in a segment attributions lie, and how far probabilities can be taken at their word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from consilience.calibration import BINS
from consilience.domains.eeg.asked import ALL
from consilience.domains.eeg.marks import BRANCH_COLORS, interval_text, is_clear, plural, rows_of, targets_of, words
from consilience.domains.eeg.montage import BRANCHES
from consilience.domains.eeg.notes import TOO_FEW, middle_windows, verdict
from consilience.domains.eeg.windows import WINDOW_OCCLUSION, central
from consilience.domains.eeg.wording import HEADINGS, NAMES
from consilience.figures.style import BLACK, BLUE, GRAY, empty_figure, entitle, lighten, new_figure, panel_grid, styled

MIDDLE = "#F0EBDD"  # behind the windows in the middle
MOST_POINTS = 40  # windows that are drawn as points


@styled
def time_courses(windows: pd.DataFrame, model: str) -> Figure:
    """Draw each window's share of what is lost without single ones, a line a modality and a column a class.

    `windows` is windows.tsv.
    """
    rows = rows_of(windows, model=model, method=WINDOW_OCCLUSION)
    if rows.empty:
        reason = f"no sample of {model} loses anything without a window"
        return empty_figure("On which windows predictions rest", reason)
    branches = [name for name in BRANCHES if (rows["branch"] == name).any()]
    targets = [ALL, *targets_of(rows)]
    figure = new_figure(1.1 + 1.55 * max(len(targets), 4), 2.0 * len(branches) + 1.4)
    panels = figure.subplots(len(branches), len(targets), squeeze=False, sharey="row", sharex="row")
    for line, branch in zip(panels, branches, strict=True):
        for axes, target in zip(line, targets, strict=True):
            _course(axes, rows_of(rows, branch=branch, target=target), BRANCH_COLORS[branch])
        line[0].set_ylabel(f"{HEADINGS[branch]}:\nshare of the loss")
        line[0].yaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
        line[0].set_ylim(bottom=0)
        for axes in line:
            axes.set_xlabel("seconds")
    for axes, target in zip(panels[0], targets, strict=True):
        axes.set_title("All classes" if target == ALL else words(target))
    caption = (
        f"{model}: each window's part of what the logit of a sample's own class loses (in size) when one window of the "
        "modality is at the reference, at the window's center, from the start of the modality's own segment; n test "
        "samples. Bands: 95 % intervals, resampling patients. Gray: the same networks before training; filled: the "
        "difference from them is clear, paired over samples. Dashed: even. Shaded: the middle, which HMS labels."
    )
    entitle(figure, _middles(rows, model), caption)
    return figure


def _course(axes: Axes, rows: pd.DataFrame, color: str) -> None:
    """Draw one class of one modality."""
    if rows.empty:
        axes.text(0.5, 0.5, "no sample", ha="center", va="center", transform=axes.transAxes, color=GRAY)
        return
    rows = rows.sort_values("window")
    middle = rows[rows["window"].isin(central(int(rows["window"].max()) + 1))]
    axes.axvspan(middle["start_seconds"].min(), middle["stop_seconds"].max(), color=MIDDLE, linewidth=0, zorder=0)
    centers = ((rows["start_seconds"] + rows["stop_seconds"]) / 2).to_numpy()
    axes.plot(centers, rows["chance"], color=BLACK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=2)
    low, high = (rows[name].to_numpy(float) for name in ("low", "high"))
    axes.fill_between(centers, low, high, color=lighten(color, 0.3), linewidth=0, zorder=1)
    axes.plot(centers, rows["share"], color=color, linewidth=1.2, zorder=3)
    axes.plot(centers, rows["untrained"], color=GRAY, linewidth=1.0, zorder=2)
    if len(rows) <= MOST_POINTS:
        clear = [is_clear(*ends) for ends in zip(rows["beyond_low"], rows["beyond_high"], strict=True)]
        for kept, face in ((np.array(clear), color), (~np.array(clear), "white")):
            points = {"marker": "o", "linestyle": "", "markerfacecolor": face, "markersize": 3.4, "zorder": 4}
            axes.plot(centers[kept], rows["share"][kept], color=color, **points)
    told = f"n = {rows['samples'].iloc[0]:.0f}"
    axes.text(0.97, 0.96, told, ha="right", va="top", transform=axes.transAxes, fontsize=7)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="y")


def _middles(rows: pd.DataFrame, model: str) -> str:
    """Say whether the middle has more of the losses than before training."""
    told = []
    for row in middle_windows(rows, model):
        beyond = {"low": row["beyond_low"], "high": row["beyond_high"]}
        said = verdict(beyond, "more than", "less than", "not clearly more than")
        before = f"{said if said == TOO_FEW else f'{said} before training'}, {percent(row['untrained'])}"
        place = f"{NAMES[row['branch']]}'s {row['start_seconds']:g}–{row['stop_seconds']:g} s"
        told.append(f"{percent(row['share'])} in the {place} ({before})")
    said = f"of what windows are worth lie {' and '.join(told)}" if told else "a single window has all"
    return f"{model}: {said}"


def percent(share: float) -> str:
    """Write a share in percent."""
    return f"{100 * share:.2g} %" if share < 0.095 else f"{100 * share:.0f} %"


@styled
def calibration_curves(calibration: pd.DataFrame, metrics: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw mean votes against mean probabilities by bin, a panel a model: every class, and all of them together.

    `calibration` is calibration.tsv, `metrics` metrics.json by model.
    """
    figure, panels = panel_grid(len(metrics), 4, max(2.5, 5.5 / len(metrics)), 2.9, sharex=True, sharey=True)
    for axes, (model, one) in zip(panels, metrics.items(), strict=True):
        rows = rows_of(calibration, model=model)
        _curve(axes, rows, pooled(rows))
        axes.set_title(f"{model}\nerror {interval_text(one['test']['expected_calibration_error'], 'value')}")
        axes.set(xlabel="mean predicted probability", ylabel="mean share of votes")
    first = next(iter(metrics.values()))["test"]
    classes = plural(calibration["class"].nunique(), "class", "classes")
    caption = (
        f"{plural(first['n'], 'test sample')} of {plural(first.get('groups', first['n']), 'patient')}, ten bins of a "
        f"class's probability. Dark: all {classes} together, n below (a sample counts once a class); light: single "
        "classes; areas grow with n. Dashed: equality; below it probabilities are too high. Error: expected "
        "calibration error of the predicted class, 95 % interval, resampling patients."
    )
    entitle(figure, _calibrated(metrics), caption)
    return figure


def pooled(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the bins of all classes of a model together, by bin: samples, mean_probability and vote_fraction."""
    columns = ["mean_probability", "vote_fraction"]
    sums = rows[columns].mul(rows["samples"], axis=0).assign(bin=rows["bin"], samples=rows["samples"])
    sums = sums.groupby("bin").sum()
    return sums[columns].div(sums["samples"], axis=0).assign(samples=sums["samples"])


def _curve(axes: Axes, rows: pd.DataFrame, together: pd.DataFrame) -> None:
    """Draw the bins of single classes and of all together, with the numbers of samples below."""
    most = together["samples"].max()
    axes.plot([0, 1], [0, 1], color=GRAY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    joined = together["mean_probability"], together["vote_fraction"]
    axes.plot(*joined, color=lighten(BLUE, 0.6), linewidth=0.9, zorder=2)
    for own, color, size in ((rows, lighten(BLUE, 0.35), 40), (together, BLUE, 70)):
        areas = 6 + size * np.sqrt(own["samples"] / most)
        axes.scatter(own["mean_probability"], own["vote_fraction"], s=areas, color=color, linewidths=0, zorder=3)
    axes.axhline(-0.07, color="#E3E3E3", linewidth=0.8)
    for place, count in together["samples"].items():
        axes.text((place - 0.5) / BINS, -0.125, f"{count:.0f}", ha="center", va="center", fontsize=6)
    axes.text(-0.03, -0.125, "n", ha="right", va="center", fontsize=6, fontstyle="italic")
    axes.set(xlim=(-0.08, 1.05), ylim=(-0.18, 1.06), xticks=np.linspace(0, 1, 6), yticks=np.linspace(0, 1, 6))
    axes.grid()


def _calibrated(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Say by how much probabilities are off, of the best and the worst model."""
    errors = {model: one["test"]["expected_calibration_error"]["value"] for model, one in metrics.items()}
    least, most = min(errors, key=errors.get), max(errors, key=errors.get)
    up_to = f" to {errors[most]:.2f} ({most})" if len(errors) > 1 else ""
    return f"Probabilities are off by {errors[least]:.2f} ({least}){up_to} on average"
