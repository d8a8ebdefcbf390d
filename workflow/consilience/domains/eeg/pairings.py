"""Whether both directions of attention agree on a sample more than on samples of other patients; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from math import factorial
from typing import Any

import numpy as np

from consilience.domains.eeg.asked import Asked
from consilience.domains.eeg.attention import CONSTANT
from consilience.domains.eeg.attention_weights import AttentionWeights
from consilience.domains.eeg.patterns import Maps

AGREEMENT_COLUMNS = ("samples", "agreement", "low", "high", "shuffled", "excess", "p_value", "least_p")
ROUNDING = 1e-12


def agreement_matrix(eeg_to_spec: AttentionWeights, spec_to_eeg: AttentionWeights) -> np.ndarray:
    """Return how far eeg_to_spec of each sample agrees with spec_to_eeg of each other, (samples, samples).

    Entry (i, j) is Pearson's correlation, over the pairs of an EEG and a spectrogram window that both samples have, of
    the mean over heads of sample i's eeg_to_spec with that of sample j's spec_to_eeg, transposed; the diagonal is
    `attention.agreements`. NaN where either is constant, or has one key.
    """
    there = eeg_to_spec.queries[:, :, None] & eeg_to_spec.keys[:, None, :]
    present = there.reshape(len(there), -1).astype(np.float64)
    maps = eeg_to_spec.values.mean(axis=1), spec_to_eeg.values.mean(axis=1).swapaxes(1, 2)
    first, second = (_centered(own.reshape(len(own), -1), present) for own in maps)
    count = present @ present.T
    sums = first @ present.T, present @ second.T
    squares = (first**2) @ present.T - sums[0] ** 2 / count, present @ (second**2).T - sums[1] ** 2 / count
    # NaN where a map is constant, or nothing is in common.
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (first @ second.T - sums[0] * sums[1] / count) / np.sqrt(squares[0] * squares[1])
    both = eeg_to_spec.informative & spec_to_eeg.informative
    return np.where(both[:, None] & both, np.clip(found, -1, 1), np.nan)


def _centered(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return values (samples, pairs) less their mean where present, 0 elsewhere; NaN for samples that are constant."""
    mean = (values * present).sum(axis=1, keepdims=True) / present.sum(axis=1, keepdims=True)
    centered = (values - mean) * present
    largest = np.where(present > 0, values, -np.inf).max(axis=1)
    spread = largest - np.where(present > 0, values, np.inf).min(axis=1)
    return np.where((spread > CONSTANT * largest)[:, None], centered, np.nan)


def agreement_rows(members: Sequence[Maps], asked: Asked, permutations: int) -> list[dict[str, Any]]:
    """Return one row, or none where agreement is defined for no sample: the mean over members and samples.

    `shuffled` is the mean agreement with samples of other patients: what all samples have in common, such as the
    position of windows, agrees there too; `excess` is what lies beyond it. See `p_value` for the test, and `least_p`
    for the smallest p that so few patients can give.
    """
    matrices = np.stack([agreement_matrix(*maps.values()) for maps in members])
    defined = np.isfinite(matrices).all(axis=0)
    used = np.flatnonzero(np.diag(defined))
    if not len(used):
        return []
    matrix = matrices.mean(axis=0)[np.ix_(used, used)]
    patients = asked.patients[used]
    others = np.isfinite(matrix) & (patients[:, None] != patients)
    foreign = np.where(others, matrix, 0).sum(axis=1)[others.any(axis=1)] / others.sum(axis=1)[others.any(axis=1)]
    found = asked.mean("agreement", _placed(np.diag(matrix), used, len(asked)))
    p = p_value(matrix, patients, permutations, np.random.default_rng(asked.seed))
    shuffled = float(foreign.mean()) if len(foreign) else float("nan")
    facts = {"shuffled": shuffled, "excess": found["agreement"] - shuffled, "p_value": p}
    return [found | facts | {"least_p": least_p(len(np.unique(patients)), permutations)}]


def least_p(patients: int, permutations: int) -> float:
    """Return the smallest p of so many patients, whose n! pairings hold the observed one, and so many draws."""
    return min(1.0, 2 * max(1 / factorial(patients), 1 / (1 + permutations)))


def _placed(values: np.ndarray, places: np.ndarray, length: int) -> np.ndarray:
    result = np.full(length, np.nan)
    result[places] = values
    return result


def p_value(matrix: np.ndarray, patients: np.ndarray, permutations: int, random: np.random.Generator) -> float:
    """Return p of the mean of a matrix's diagonal, two-sided: twice the smaller of both tails.

    A tail is (1 + pairings as large, or as small) / (1 + permutations).

    `matrix` is (samples, samples), `patients` (samples,). Samples of one patient look alike, so that patients are
    exchanged whole: all samples of one are paired, in order, with those of another, or with their own, starting anew
    where the other has fewer. The test is exact where all have as many. NaN for one patient.
    """
    names, codes, sizes = np.unique(patients, return_inverse=True, return_counts=True)
    if len(names) < 2:
        return float("nan")
    order = np.argsort(codes, kind="stable")
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(len(codes), np.int64)
    rank[order] = np.arange(len(codes)) - np.repeat(starts, sizes)
    value, as_large, as_small = float(np.diag(matrix).mean()), 0, 0
    for _ in range(permutations):
        other = random.permutation(len(names))[codes]
        partners = order[starts[other] + rank % sizes[other]]
        other_value = np.nanmean(matrix[np.arange(len(codes)), partners])
        as_large += other_value >= value - ROUNDING
        as_small += other_value <= value + ROUNDING
    return float(min(1, 2 * (1 + min(as_large, as_small)) / (1 + permutations)))
