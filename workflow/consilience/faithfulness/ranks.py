"""Ranks of features within rows, many rows at once; a rank correlation is then a product of two rows."""

from __future__ import annotations

import numpy as np


def unit_ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks of (..., features) within each row, less their mean and divided by their length, float64.

    Equal values share their mean rank. The product of two such rows is Spearman's correlation. A row in which all
    values are the same has no ranks: it is NaN.
    """
    rows = values.reshape(-1, values.shape[-1])
    order = np.argsort(rows, axis=1)
    ordered = np.take_along_axis(rows, order, axis=1)
    ranks = np.empty(rows.shape)
    np.put_along_axis(ranks, order, _middles(ordered[:, 1:] != ordered[:, :-1]), axis=1)
    ranks -= (rows.shape[1] - 1) / 2
    length = np.sqrt(np.einsum("ij,ij->i", ranks, ranks))
    length[length == 0] = np.nan
    return (ranks / length[:, None]).reshape(values.shape)


def _middles(differs: np.ndarray) -> np.ndarray:
    """Return the mean place (rows, n) of the run of ties that each place of sorted rows is in.

    `differs` (rows, n - 1) says where a value differs from the one before.
    """
    rows, places = len(differs), np.arange(differs.shape[1] + 1)
    if differs.all():
        return np.broadcast_to(places.astype(np.float64), (rows, len(places)))
    edge = np.ones((rows, 1), dtype=bool)
    first = np.where(np.concatenate([edge, differs], axis=1), places, 0)
    last = np.where(np.concatenate([differs, edge], axis=1), places, len(places))
    first = np.maximum.accumulate(first, axis=1)
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    return (first + last) / 2


def correlations(ranks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation (...) of rows of `unit_ranks` (..., features); NaN where either has no ranks."""
    return np.einsum("...f,...f->...", ranks, others, dtype=np.float64)


def correlations_where_held(
    ranks: np.ndarray, held: np.ndarray, others: np.ndarray, held_by_others: np.ndarray
) -> np.ndarray:
    """Return Spearman's correlation (...) of rows of sizes over the features where at least one is not 0.

    `ranks` and `others` (..., features) are `unit_ranks` of sizes (0 or more), `held` (bool) where these are not 0;
    the shapes broadcast. Features of which both say nothing are ties that would make any two rows agree. NaN where
    either row is constant, or where fewer than three features are left of more.
    """
    found, either = correlations(ranks, others), held | held_by_others
    ranks, others = np.broadcast_to(ranks, either.shape), np.broadcast_to(others, either.shape)
    # A row that is constant over all features is so over some of them: it stays NaN.
    for row in map(tuple, np.argwhere(~either.all(axis=-1) & np.isfinite(found))):
        left = either[row]
        # Ranks of ranks are those of the values: order and ties are the same.
        pair = unit_ranks(np.stack([ranks[row][left], others[row][left]]))
        found[row] = correlations(*pair) if left.sum() > 2 else np.nan
    return found


def top(values: np.ndarray, count: int) -> np.ndarray:
    """Return which `count` values of (..., features) are the largest of their row, bool; of equal ones the first."""
    least = np.partition(values, -count, axis=-1)[..., -count, None]
    above, equal = values > least, values == least
    missing = count - above.sum(axis=-1, keepdims=True)
    return above | (equal & (np.cumsum(equal, axis=-1) <= missing))
