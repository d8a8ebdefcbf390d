"""Whether a network holds one sequence against the other: tests of interactions at complementary windows.

Plain arrays; nothing here needs torch.
"""

from __future__ import annotations

import numpy as np


def p_value(null: np.ndarray, value: float) -> float:
    """Return (1 + those as large) / (1 + all); rounding makes nothing smaller."""
    return float((1 + np.count_nonzero(null >= value - 1e-12 * abs(value))) / (1 + len(null)))


def centered_strands(
    values: np.ndarray, complementary: np.ndarray, parallel: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of a map (miRNA windows, site windows) over complementary and over parallel windows, and counts.

    Both are (2,). The map is centered by its mean at windows that are neither, so that both strands are treated alike.
    """
    neither = ~(complementary | parallel)
    level = values[neither].mean() if neither.any() else 0.0
    masks = complementary, parallel
    return np.array([(values[own] - level).sum() for own in masks]), np.array([own.sum() for own in masks])


def strand_p_value(
    sums: np.ndarray, counts: np.ndarray, families: np.ndarray, permutations: int, random: np.random.Generator
) -> float:
    """Test whether complementary windows interact more than windows of the same letters on parallel strands.

    `sums` and `counts` (pairs, 2) are those of `centered_strands`, `families` (pairs,) numbers. A network that reads
    what the windows are made of, but does not hold one against the other, cannot know how they lie. The statistic is
    the difference of the means over all windows; the null swaps both strands of a family with probability 1/2, which is
    exact where it does not matter how they lie. NaN without parallel windows.
    """
    if not counts[:, 1].any():
        return float("nan")
    names, codes = np.unique(families, return_inverse=True)
    by_family = np.zeros((2, len(names), 2))
    for place, values in enumerate((sums, counts)):
        np.add.at(by_family[place], codes, values)
    swapped = random.random((permutations, len(names))) < 0.5
    total = by_family.sum(axis=1)
    # What a swap moves from one strand to the other.
    moved = np.einsum("pf,vf->vp", swapped, by_family[:, :, 1] - by_family[:, :, 0])
    return p_value(_difference(total[:, 0, None] + moved, total[:, 1, None] - moved), _difference(*total.T)[()])


def _difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the difference of two means; both are sums and counts (2, ...), and without windows a mean is 0."""
    means = [sums / np.maximum(counts, 1) for sums, counts in (first, second)]
    return means[0] - means[1]
