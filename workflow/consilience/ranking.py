"""Rank statistics of rows that count several times, for many such weightings at once.

`weights` (samples, resamples) are whole numbers: how often each row of a bootstrap resample was drawn. A result is what
SciPy or scikit-learn give on the resampled rows; ties share their mean rank, and count half in an area.
"""

from __future__ import annotations

import numpy as np


def spearman(target: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the rank correlation (resamples,) of two variables (samples,); NaN where one is constant."""
    y, p = _ranks(target, weights), _ranks(prediction, weights)
    scale = np.sqrt(np.einsum("ij,ij,ij->j", weights, y, y) * np.einsum("ij,ij,ij->j", weights, p, p))
    with np.errstate(invalid="ignore"):
        return np.clip(np.einsum("ij,ij,ij->j", weights, y, p) / scale, -1, 1)


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mid-ranks (samples, resamples), less their mean, of values whose rows count `weights` times; ties share one."""
    inverse, order, starts = _ties(values)
    tied = np.add.reduceat(weights[order], starts, axis=0)
    through = np.cumsum(tied, axis=0)
    return (through - (tied + through[-1]) / 2)[inverse]


def _ties(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the tie of every sample, the samples in order of ties, and where each tie starts in that order."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return inverse, np.argsort(inverse, kind="stable"), np.cumsum(counts) - counts


def class_rankings(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return roc_auc and average_precision (resamples,): of the second of two classes, else the mean over classes."""
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    values = [_ranking(labels == index, probabilities[:, index], weights) for index in classes]
    roc_auc, average_precision = np.mean(values, axis=0)
    return roc_auc, average_precision


def _ranking(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return roc_auc and average_precision (resamples,); NaN where positives or negatives are absent."""
    if not positive.any():
        return np.full(weights.shape[1], np.nan), np.full(weights.shape[1], np.nan)
    inverse, order, starts = _ties(-score)
    weights, hit = weights[order], positive[order]
    # Both areas are sums over the scores that positives have: only those need a row, few where classes are many.
    held, hit_starts = np.unique(inverse[order][hit], return_index=True)
    above = _sums_before(weights, starts[held])
    through = _sums_before(weights, np.append(starts, len(score))[held + 1])
    hits = np.add.reduceat(weights[hit], hit_starts, axis=0)
    found = np.cumsum(hits, axis=0)
    positives, negatives = found[-1], weights.sum(axis=0) - found[-1]
    beaten = negatives - (above + through - 2 * found + hits) / 2
    precision = np.divide(found, through, out=np.zeros_like(found), where=through > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        roc_auc = np.einsum("ij,ij->j", hits, beaten) / (positives * negatives)
        average_precision = np.einsum("ij,ij->j", hits, precision) / positives
    return roc_auc, np.where(negatives > 0, average_precision, np.nan)


def _sums_before(weights: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the sums (places, resamples) of the rows before each of the increasing `places`."""
    sums = np.zeros((len(places), weights.shape[1]))
    empty = int(places[0] == 0)
    bounds = np.append(0, places[empty:])
    if len(bounds) > 1:
        np.cumsum(np.add.reduceat(weights[: bounds[-1]], bounds[:-1], axis=0), axis=0, out=sums[empty:])
    return sums
