"""What correct predictions have other than wrong ones, and what each class looks like, statistic by statistic."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from consilience.domains.eeg.marks import UNCLEAR, is_clear, plural, rows_of, targets_of, whisker, words
from consilience.domains.eeg.notes import TOO_FEW
from consilience.figures.style import BLACK, BLUE, GRAY, VERMILLION, empty_figure, entitle, panel_grid, styled

WRONG, CORRECT, LINE, FIRST_CLASS = 0, 1.3, 2.15, 3  # places along a panel
STATISTICS = {
    "confidence": "Confidence (probability)",
    "vote_entropy": "Disagreement of the experts",
    "eeg_to_spec_entropy": "Entropy, EEG to spectrogram",
    "spec_to_eeg_entropy": "Entropy, spectrogram to EEG",
    "eeg_to_spec_maximum": "Largest weight, EEG to spectrogram",
    "spec_to_eeg_maximum": "Largest weight, spectrogram to EEG",
    "agreement": "Agreement of both directions",
    "eeg_share": "EEG's share (Shapley values)",
    "eeg_central_share": "Middle's share of the EEG",
    "spectrogram_central_share": "Middle's share of the spectrogram",
}


@styled
def outcome_panels(outcomes: pd.DataFrame, patterns: pd.DataFrame, model: str) -> Figure:
    """Draw statistics of samples, a panel each: correct and wrong predictions, and every class.

    `outcomes` is outcomes.tsv, `patterns` class_patterns.tsv.
    """
    compared, by_class = rows_of(outcomes, model=model), rows_of(patterns, model=model)
    statistics = list(dict.fromkeys([*by_class["statistic"], *compared["statistic"]]))
    if not statistics:
        return empty_figure("What wrong predictions have", f"no statistic of {model} is known")
    classes = targets_of(by_class, "class")
    figure, panels = panel_grid(len(statistics), 3, 1.5 + 0.34 * max(len(classes), 4), 1.75)
    for axes, statistic in zip(panels, statistics, strict=True):
        _statistic(axes, rows_of(compared, statistic=statistic), rows_of(by_class, statistic=statistic), classes)
        axes.set_title(STATISTICS.get(statistic, words(statistic)))
    caption = (
        f"{model}: means over test samples. Left of the line: wrong predictions and correct ones, with their numbers; "
        "the bar is the 95 % interval of the difference, laid around the dashed level of the wrong ones: orange where "
        "it leaves out no difference, gray where it holds it; no bar where either side has fewer than three patients. "
        "Samples whose top votes tie are neither, and left out there. Right: classes (most votes), 95 % intervals. "
        "All resample patients. Of many statistics some differ clearly by chance."
    )
    entitle(figure, _message(compared, model), caption)
    return figure


def _statistic(axes: Axes, compared: pd.DataFrame, by_class: pd.DataFrame, classes: Sequence[str]) -> None:
    """Draw one statistic: wrong and correct predictions to the left, classes to the right."""
    names = ["wrong", "correct", *map(words, classes)]
    for row in compared.itertuples():
        color = VERMILLION if is_clear(row.low, row.high) else UNCLEAR
        level = [WRONG - 0.4, CORRECT + 0.4], [row.incorrect] * 2
        axes.plot(*level, color=BLACK, linewidth=0.7, linestyle=(0, (3, 2)), zorder=1)
        axes.plot(WRONG, row.incorrect, "o", color=BLACK, markersize=4, zorder=3)
        whisker(axes, row.correct, CORRECT, (row.incorrect + row.low, row.incorrect + row.high), color, upright=True)
        names[:2] = f"wrong\n{row.incorrect_samples:.0f}", f"correct\n{row.correct_samples:.0f}"
    if compared.empty:
        settings = {"ha": "center", "va": "center", "transform": axes.get_xaxis_transform()}
        axes.text(CORRECT / 2, 0.5, "only one\nof both", color=GRAY, fontsize=7, **settings)
    columns = ("class", "value", "low", "high")
    for name, value, low, high in zip(*(by_class[column] for column in columns), strict=True):
        place = FIRST_CLASS + classes.index(str(name))
        whisker(axes, value, place, (low, high), BLUE, upright=True)
    axes.axvline(LINE, color="#D0D0D0", linewidth=0.8)
    axes.set_xticks([WRONG, CORRECT, *range(FIRST_CLASS, FIRST_CLASS + len(classes))], names, fontsize=6)
    axes.margins(y=0.12)
    axes.set_xlim(WRONG - 0.7, FIRST_CLASS + len(classes) - 0.4)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y")


def _message(compared: pd.DataFrame, model: str) -> str:
    """Say how many statistics differ clearly, and whether confidence does."""
    if compared.empty:
        return f"{model}: all predictions are correct, or all are wrong: nothing to compare"
    clear = [is_clear(low, high) for low, high in zip(compared["low"], compared["high"], strict=True)]
    wrong = plural(int(compared["incorrect_samples"].max()), "wrong prediction")
    if compared["low"].isna().all():
        return f"{model}: {wrong}; {TOO_FEW} what differs"
    said = f"{sum(clear)} of {plural(len(compared), 'statistic')} differ{'s' * (sum(clear) == 1)}"
    said = said if any(clear) else "no statistic differs"
    sure = compared.loc[compared["statistic"] == "confidence", ["low", "high"]].to_numpy(float)
    if len(sure):
        verb = "is" if (sure[0, 0] > 0) else "is not clearly"
        return f"{model}: {wrong}; {said} clearly, and confidence {verb} higher where it is right"
    return f"{model}: {wrong}; {said} clearly"
