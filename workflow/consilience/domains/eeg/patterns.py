"""What each head of attention between modalities does: how sharp, how unlike the others, and where; needs no torch.

Heads of different members have nothing in common but their number: only `ALL` of them are averaged over members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import entr

from consilience.domains.eeg.asked import ALL, Asked, renamed
from consilience.domains.eeg.attention_weights import MODALITIES, AttentionWeights

ATTENTION_COLUMNS = (
    "direction", "head", "member", "samples", "entropy", "entropy_low", "entropy_high", "maximum", "maximum_low",
    "maximum_high", "specialization", "untrained_entropy", "distance", "top_query", "top_key", "top_weight",
)  # fmt: skip

Maps = Mapping[str, AttentionWeights]  # by direction


def entropies(own: AttentionWeights) -> np.ndarray:
    """Return the mean over queries of H(w) / ln K, (samples, heads), 1 for uniform; NaN for samples with one key."""
    return _over_queries(own, own.entropies())


def maxima(own: AttentionWeights) -> np.ndarray:
    """Return the mean over queries of the largest weight, (samples, heads); NaN for samples with one key."""
    return _over_queries(own, own.values.max(axis=-1))


def _over_queries(own: AttentionWeights, values: np.ndarray) -> np.ndarray:
    """Return the mean of (samples, heads, queries) over the queries that are there."""
    counted = (own.informative[:, None] & own.queries)[:, None]
    total, count = np.where(counted, values, 0).sum(axis=-1), counted.sum(axis=-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def head_maps(own: AttentionWeights, places: np.ndarray | None = None) -> np.ndarray:
    """Return every head's mean over the samples at `places` (all where None), (heads, queries, keys).

    A weight's mean is over the samples in which both windows are there; NaN where they are in none.
    """
    places = np.arange(len(own.values)) if places is None else places
    chosen = AttentionWeights(own.values[places], own.queries[places], own.keys[places])
    return np.stack([chosen.head(head).mean_map() for head in range(own.values.shape[1])])


def distances(maps: np.ndarray) -> np.ndarray:
    """Return how far each head's map lies from the mean of the others', (heads,), from 0 (the same) to 1.

    `maps` are (heads, queries, keys). It is the mean over queries of the Jensen-Shannon distance, the root of the
    divergence in bits (Lin 1991, section IV; Endres & Schindelin 2003); NaN for a single head.
    """
    heads = len(maps)
    if heads < 2:
        return np.full(heads, np.nan)
    own = np.nan_to_num(maps)
    first, second = (_rows_to_one(part) for part in (own, own.sum(axis=0) - own))
    divergence = _entropy((first + second) / 2) - (_entropy(first) + _entropy(second)) / 2
    known = np.isfinite(maps).any(axis=(0, 2))
    return np.sqrt(np.clip(divergence, 0, 1))[:, known].mean(axis=1)


def _rows_to_one(maps: np.ndarray) -> np.ndarray:
    total = maps.sum(axis=-1, keepdims=True)
    return np.divide(maps, total, out=np.zeros_like(maps), where=total > 0)


def _entropy(maps: np.ndarray) -> np.ndarray:
    """Return the entropy of every row in bits."""
    return entr(maps).sum(axis=-1) / np.log(2)


def attention_rows(
    members: Sequence[Maps], numbers: Sequence[int], untrained: Sequence[Maps], asked: Asked
) -> list[dict[str, Any]]:
    """Return a row a direction and head of a member, and one for all of them; nothing where no sample has two keys.

    `members` are the attention of every member with the `numbers` that members have; `untrained` is that of the same
    networks before training: `untrained_entropy` is what the architecture gives without having learned anything.
    """
    rows = []
    for direction in MODALITIES:
        own, blank = [maps[direction] for maps in members], [maps[direction] for maps in untrained]
        sharp, largest = (np.stack([measure(one) for one in own]) for measure in (entropies, maxima))
        before = np.stack([entropies(one) for one in blank])
        if not np.isfinite(sharp).any():
            continue
        maps = np.stack([head_maps(one) for one in own])
        apart = np.stack([distances(one) for one in maps])
        for member, head in np.ndindex(*maps.shape[:2]):
            facts = {"direction": direction, "head": head, "member": numbers[member]}
            found = sharp[member, :, head], largest[member, :, head], before[member, :, head]
            rows.append(facts | _row(*found, apart[member, head], maps[member, head], asked))
        means = (part.mean(axis=(0, 2)) for part in (sharp, largest, before))
        facts = {"direction": direction, "head": ALL, "member": ALL}
        rows.append(facts | _row(*means, apart.mean(), maps.mean(axis=(0, 1)), asked))
    return rows


def _row(
    sharp: np.ndarray, largest: np.ndarray, before: np.ndarray, distance: float, mean: np.ndarray, asked: Asked
) -> dict[str, Any]:
    """Return a row's numbers; the first three are (samples,), `mean` is a map (queries, keys)."""
    found = asked.mean("value", sharp)
    query, key = np.unravel_index(np.nanargmax(mean), mean.shape)
    return {
        "samples": found.pop("samples"),
        **renamed(found, "entropy", "entropy_"),
        **renamed(asked.mean("value", largest), "maximum", "maximum_"),
        "specialization": 1 - found["value"],
        "untrained_entropy": asked.mean("value", before)["value"],
        "distance": float(distance),
        "top_query": int(query),
        "top_key": int(key),
        "top_weight": float(mean[query, key]),
    }
