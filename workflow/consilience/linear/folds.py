"""Folds of whole groups inside the training role."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from consilience.errors import ConsilienceError


def group_folds(groups: Sequence[str] | np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the fold (rows,) of every row, 0 to at most `count` - 1: whole groups, folds of about equal size.

    Groups are dealt from the largest to the smallest, each to the fold that has fewest rows so far (the first of
    equals); groups of one size come in the order of SHA-256 of seed and name. The order of rows is of no consequence.
    Raises ConsilienceError with fewer than two groups.
    """
    names, codes, sizes = np.unique(np.asarray(groups, dtype=str), return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ConsilienceError(
            f"linear: folds of groups need two groups in the training role, which has {len(names)} "
            f"({', '.join(names)}); set `linear: {{selection: leave_one_out}}`"
        )
    order = sorted(
        range(len(names)), key=lambda index: (-sizes[index], hashlib.sha256(f"{seed}:{names[index]}".encode()).digest())
    )
    filled = np.zeros(min(count, len(names)), dtype=np.int64)
    folds = np.zeros(len(names), dtype=np.int64)
    for index in order:
        folds[index] = filled.argmin()
        filled[folds[index]] += sizes[index]
    return folds[codes]
