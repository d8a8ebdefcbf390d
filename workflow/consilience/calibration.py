"""How far probabilities can be taken at their word: the expected calibration error, and reliability curves.

Bins of equal width hold their upper edge, not their lower one, as those of Guo et al. (2017), "On calibration of modern
neural networks", and of scikit-learn's `calibration_curve` do; the first holds 0 besides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

BINS = 10


def bin_of(probabilities: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return the index of the bin of every probability, of so many bins of equal width."""
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probabilities)


def confidence_gaps(fractions: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return each sample's confidence less the share of votes of the class it is called, (samples, bins).

    The confidence is the highest of the sample's `probabilities` (samples, classes); of equal ones the first class is
    called. `fractions` (samples, classes) are the shares of votes. A gap stands in the column of its confidence's bin.
    """
    confidence, called = probabilities.max(axis=1), probabilities.argmax(axis=1)
    gaps = confidence - fractions[np.arange(len(fractions)), called]
    return gaps[:, None] * np.eye(bins)[bin_of(confidence, bins)]


def expected_calibration_error(gaps: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the error (resamples,) from sums over samples: `confidence_gaps` (bins, resamples), how many there are.

    It is equation 5 of Guo et al. (2017) with the share of votes in place of the share right: the mean over bins, by
    samples, of |mean confidence - mean share of votes of the called class|. A bin's samples cancel, and what is left is
    the sum of its gaps. Predicting the votes themselves scores 0, however the raters disagree; where they never do,
    it is the error of Guo et al.
    """
    return np.abs(gaps).sum(axis=0) / count


def recentred(error: float, resamples: Sequence[np.ndarray]) -> np.ndarray:
    """Return the errors of resamples, given in blocks, moved to have `error` as their mean; none falls below 0.

    Noise makes a sum of absolute values greater, so that the error of a finite sample lies above that of the
    population, and its resamples lie above it by as much again: percentiles of them as they are leave out a small
    error itself. What is left in the interval is the first excess, which any predictor has on the same samples.
    """
    drawn = np.concatenate(resamples)
    return np.maximum(drawn - drawn.mean() + error, 0)


def reliability(
    fractions: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], bins: int = BINS
) -> pd.DataFrame:
    """Return the reliability curve of every class: a row for each bin of its probability that has samples.

    `fractions` and `probabilities` are (samples, classes). Columns: class, bin (from 1), samples, and the means over
    the bin's samples `mean_probability` and `mean_fraction`, which are equal where the class is calibrated.
    """
    rows = []
    for index, name in enumerate(classes):
        predicted, observed = probabilities[:, index], fractions[:, index]
        places = bin_of(predicted, bins)
        for place in np.unique(places):
            inside = places == place
            means = {"mean_probability": predicted[inside].mean(), "mean_fraction": observed[inside].mean()}
            rows.append({"class": name, "bin": place + 1, "samples": inside.sum(), **means})
    return pd.DataFrame(rows, columns=["class", "bin", "samples", "mean_probability", "mean_fraction"])
