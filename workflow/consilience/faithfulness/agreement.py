"""Whether methods, and the seeds of one method, name the same features: rank correlation and shared top lists."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from consilience.faithfulness.ranks import top, unit_ranks
from consilience.faithfulness.resampling import Resampling

# Means of features held at once, in numbers: bounds memory and changes no result.
BLOCK_NUMBERS = 2**21


def agreement(sums: np.ndarray, resampling: Resampling, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Spearman's correlation and the Jaccard index of every pair of lines, (1 + resamples, lines, lines) each.

    A line is a method or a member. `sums` (lines, targets, groups, features) are its absolute attributions, summed
    over the samples of each group; both measures compare the means over samples of two lines, the Jaccard index their
    `length` largest features, or all if they are fewer. Features to which no line attributes anything (`attributed`)
    are left out: their ties would make any two lines agree. Measures are those of each target, averaged over targets;
    NaN where a line is constant, and where no feature is left.
    """
    left = attributed(sums)
    sums = sums if left.all() else sums[..., left]
    lines, targets, _, features = sums.shape
    counts, length = resampling.counts, min(length, features)
    if not features:
        return np.full((len(counts), lines, lines), np.nan), np.full((len(counts), lines, lines), np.nan)
    spearman, jaccard = np.zeros((2, len(counts), lines, lines))
    size = max(1, BLOCK_NUMBERS // (lines * features))
    for start in range(0, len(counts), size):
        block = slice(start, start + size)
        for target in range(targets):
            # Means up to the number of samples of a resample, which no rank depends on.
            means = counts[block] @ sums[:, target]
            spearman[block] += _products(unit_ranks(means)) / targets
            shared = _products(top(means, length).astype(np.float64))
            jaccard[block] += shared / (2 * length - shared) / targets
    return np.clip(spearman, -1, 1), jaccard


def attributed(sums: np.ndarray) -> np.ndarray:
    """Return the features (bool) of (lines, targets, groups, features) that are not 0 everywhere."""
    return sums.any(axis=(0, 1, 2))


def _products(lines: np.ndarray) -> np.ndarray:
    """Multiply every pair of lines (lines, resamples, features): (resamples, lines, lines)."""
    first = lines.transpose(1, 0, 2)
    return first @ first.transpose(0, 2, 1)


def mean_over_pairs(measures: np.ndarray) -> np.ndarray:
    """Average (..., lines, lines) over the pairs of different lines: (...); there are two lines or more."""
    rows, columns = np.triu_indices(measures.shape[-1], k=1)
    return measures[..., rows, columns].mean(axis=-1)


def chance_jaccard(features: int, length: int) -> float:
    """Return the expected Jaccard index of two independent random lists of `length` among `features`.

    The number i of shared features is hypergeometric, and the index is i / (2 length - i). A `length` beyond the
    features means all of them; NaN without any.
    """
    length = min(length, features)
    if not length:
        return np.nan
    shared = np.arange(max(0, 2 * length - features), length + 1)
    others = features - length
    ways = _log_ways(length, shared) + _log_ways(others, length - shared) - _log_ways(features, length)
    return float(np.sum(np.exp(ways) * shared / (2 * length - shared)))


def _log_ways(total: int, chosen: np.ndarray | int) -> np.ndarray:
    """Return the logarithm of the number of ways to choose some of a total."""
    return gammaln(total + 1) - gammaln(np.asarray(chosen) + 1) - gammaln(total - np.asarray(chosen) + 1)
