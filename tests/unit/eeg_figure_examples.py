"""Tables as the analysis writes them, and what a figure shows of them, for the tests of the EEG slice's figures."""

from __future__ import annotations

import pandas as pd

from consilience.domains.eeg.tables import COLUMNS
from tests.unit.figure_examples import everything

CLASSES = ("seizure", "lpd", "gpd")
NAN = float("nan")


def table_of(name, rows):
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS[name]))


def points(axes, marker="o"):
    """The places of all single points, as (x, y)."""
    lines = [line for line in axes.get_lines() if line.get_marker() == marker]
    return [tuple(map(float, place)) for line in lines for place in zip(*line.get_data(), strict=True)]


def bars(axes):
    """The ends of all intervals along x, by the line that they lie on."""
    lines = [line for line in axes.get_lines() if line.get_linewidth() == 1.1 and len(line.get_xdata()) == 2]
    return {float(line.get_ydata()[0]): tuple(map(float, line.get_xdata())) for line in lines}


def titled(figure, title):
    return next(axes for axes in figure.axes if axes.get_title(loc="left").startswith(title))


def written(figure):
    return " ".join(" ".join(everything(figure)).split())


def ablations_table(difference=0.1, low=0.05):
    rows = [
        {"model": "small", "modalities": "eeg + spectrogram", "kl_divergence": 0.3, "low": 0.2, "high": 0.4},
        {"model": "alone", "modalities": "eeg", "kl_divergence": 0.4, "low": 0.3, "high": 0.5},
    ]
    rows[1] |= {"difference": difference, "difference_low": low, "difference_high": 2 * difference - low}
    return table_of("ablations", [row | {"samples": 9, "against": "small"} for row in rows])


def linear_metrics():
    trivial = {"class_prior": {"kl_divergence": 0.9}, "amplitude": {"accuracy": 0.1}}
    found = {"value": 0.5, "low": 0.4, "high": 0.6}
    return {
        "logistic": {"test": {"kl_divergence": found, "n": 9}, "trivial": trivial},
        "ridge": {"test": {"n": 9}, "trivial": trivial},
    }
