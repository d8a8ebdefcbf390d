"""What each modality gives the predictions: Shapley values by class, and how networks of one modality alone do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from consilience.domains.eeg.asked import ALL
from consilience.domains.eeg.marks import (
    BRANCH_COLORS,
    BRANCH_MARKERS,
    UNCLEAR,
    handle,
    interval_text,
    is_clear,
    key_row,
    rows_of,
    targets_of,
    whisker,
    words,
)
from consilience.domains.eeg.modalities import INTERACTION
from consilience.domains.eeg.montage import BRANCHES
from consilience.domains.eeg.notes import TOO_FEW
from consilience.domains.eeg.wording import NAMES
from consilience.figures.style import BLACK, GRAY, PALETTE, entitle, grid_shape, new_figure, say, styled

MOST_COLUMNS = 3
COLORS = BRANCH_COLORS | {INTERACTION: PALETTE[1]}
MARKERS = BRANCH_MARKERS | {INTERACTION: "D"}
SHIFTS = dict(zip((*BRANCHES, INTERACTION), (-0.24, 0.0, 0.24), strict=True))
METRIC = "kl_divergence"


@styled
def modality_panels(
    modalities: pd.DataFrame, ablations: pd.DataFrame, linear: Mapping[str, Mapping[str, Any]], shown: str
) -> Figure:
    """Draw the values of both modalities by class and model, and the divergence of every model from the votes.

    `modalities` and `ablations` are the tables of these names, `linear` linear/metrics.json, `shown` the model that
    others are compared with.
    """
    models = list(dict.fromkeys(modalities["model"]))
    targets = [*targets_of(modalities), ALL]
    lines, columns = grid_shape(max(len(models), 1), MOST_COLUMNS)
    compared = predictors(ablations, linear)
    height = 0.42 * max(len(targets), 3) if models else 0.4
    heights = [*[height] * lines, 0.15, 0.7 + 0.24 * len(compared)]
    figure = new_figure(max(9.0, 3.4 * columns), sum(heights) + 0.45 * lines + 2.0)
    grid = figure.add_gridspec(lines + 2, 2 * columns, height_ratios=heights)
    axes = None
    for place, model in enumerate(models):
        line, column = divmod(place, columns)
        axes = figure.add_subplot(grid[line, 2 * column : 2 * column + 2], sharex=axes)
        _values(axes, rows_of(modalities, model=model), targets)
        axes.set_title(f"{model}: logit of a sample's own class")
    if models:
        handles = [handle(NAMES.get(name, name), color, MARKERS[name]) for name, color in COLORS.items()]
        key_row(figure.add_subplot(grid[lines, :]), handles)
    else:
        say(figure.add_subplot(grid[:lines, :]), "no network reads both modalities")
    _divergences(figure.add_subplot(grid[lines + 1, :columns]), compared, ablations, shown)
    _differences(figure.add_subplot(grid[lines + 1, columns:]), compared, ablations, shown)
    entitle(figure, _message(modalities, ablations, shown), _caption(shown))
    return figure


def predictors(ablations: pd.DataFrame, linear: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return a row a predictor (name, value, low, high): networks, linear models, and those that use no features."""
    rows = [(row["model"], row[METRIC], row["low"], row["high"]) for _, row in ablations.iterrows()]
    for name, one in linear.items():
        if METRIC in one["test"]:
            found = one["test"][METRIC]
            rows.append((f"{name} (linear)", found["value"], found.get("low"), found.get("high")))
    trivial = {name: own for one in linear.values() for name, own in one["trivial"].items() if METRIC in own}
    rows += [(f"{words(name)} (trivial)", own[METRIC], None, None) for name, own in trivial.items()]
    return pd.DataFrame(rows, columns=["name", "value", "low", "high"]).astype({"low": float, "high": float})


def _values(axes: Axes, rows: pd.DataFrame, targets: Sequence[str]) -> None:
    """Draw the Shapley values of both modalities and their interaction, a line a class."""
    axes.axvline(0, color=BLACK, linewidth=0.7, zorder=1)
    for row in rows.itertuples():
        place = targets.index(str(row.target)) + SHIFTS[row.player]
        color = COLORS[row.player]
        face = color if is_clear(row.low, row.high) else "white"
        point = {"marker": MARKERS[row.player], "markerfacecolor": face}
        whisker(axes, row.value, place, (row.low, row.high), color, **point)
    axes.set_yticks(range(len(targets)), ["all classes" if name == ALL else words(name) for name in targets])
    axes.set_ylim(len(targets) - 0.4, -0.6)
    if len(targets) > 1:
        axes.axhspan(len(targets) - 1.5, len(targets) - 0.4, color="#F2F2F2", linewidth=0, zorder=0)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="x")
    axes.set_xlabel("Shapley value (logit)")


def _color(name: str, ablations: pd.DataFrame) -> str:
    """Return black for networks of both modalities, the modality's color for those of one, gray for all others."""
    own = rows_of(ablations, model=name)["modalities"]
    return GRAY if own.empty else BRANCH_COLORS.get(own.iloc[0], BLACK)


def _divergences(axes: Axes, compared: pd.DataFrame, ablations: pd.DataFrame, shown: str) -> None:
    """Draw every predictor's divergence from the votes."""
    for place, row in enumerate(compared.itertuples()):
        whisker(axes, row.value, place, (row.low, row.high), _color(row.name, ablations))
    axes.set_yticks(range(len(compared)), list(compared["name"]))
    for label, name in zip(axes.get_yticklabels(), compared["name"], strict=True):
        label.set_fontweight("bold" if name == shown else "normal")
    axes.set_ylim(len(compared) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set(title="Every predictor (lower is better)", xlabel="KL divergence from the votes")


def _differences(axes: Axes, compared: pd.DataFrame, ablations: pd.DataFrame, shown: str) -> None:
    """Draw by how much each network's divergence lies above the shown one's, on the lines of `_divergences`."""
    axes.set_title(f"Above that of {shown}, paired over samples")
    if len(ablations) == 1:
        say(axes, "there is no other network")
        return
    axes.axvline(0, color=BLACK, linewidth=0.7, zorder=1)
    names = list(compared["name"])
    for _, row in ablations[ablations["model"] != shown].iterrows():
        ends = row["difference_low"], row["difference_high"]
        color = _color(row["model"], ablations) if is_clear(*ends) else UNCLEAR
        whisker(axes, row["difference"], names.index(row["model"]), ends, color)
    axes.set_yticks(range(len(names)), [])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="x")
    axes.set_xlabel("difference of KL divergences")


def _message(modalities: pd.DataFrame, ablations: pd.DataFrame, shown: str) -> str:
    """Say what the EEG's share is, and whether one modality alone does clearly worse."""
    own = rows_of(modalities, model=shown, target=ALL, player=BRANCHES[0])
    alone = ablations[(ablations["model"] != shown) & ablations["modalities"].isin(BRANCHES)]
    if own.empty:
        best = ablations.loc[ablations[METRIC].idxmin()]
        return f"{best['model']} comes nearest to the votes, by a KL divergence of {interval_text(best, METRIC)}"
    share = interval_text(own.iloc[0], "share", "share_low", "share_high")
    share = f"EEG has a share of {share} in {shown}'s predictions"
    if alone.empty:
        return share
    worse = [NAMES[row["modalities"]] for _, row in alone.iterrows() if row["difference_low"] > 0]
    if worse:
        return f"{share}; {' and '.join(worse)} alone clearly worse"
    if alone["difference_low"].isna().all():
        return f"{share}; {TOO_FEW} whether one modality does worse"
    names = dict.fromkeys(NAMES[name] for name in alone["modalities"])
    return f"{share}; {' or '.join(names)} alone not clearly worse"


def _caption(shown: str) -> str:
    return (
        "Above: both modalities as two players, each as it is or at the study's reference; means over test samples of "
        "a class. Their values sum to the logit less that of the reference; interaction: what both together say beyond "
        "each alone, of which either value holds half. Hollow: the interval holds 0 or is not known. Below: predictors "
        f"of the test role (black: both modalities; gray: no networks; bold: {shown}); differences are gray where the "
        "interval holds 0 or is not known. Bars: 95 % intervals, resampling patients."
    )
