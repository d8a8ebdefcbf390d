"""Attention between windows in numbers: statistics, strongest pairs, heads, and whether both directions agree.

Attention says where values are read from, not what the prediction rests on (Jain & Wallace 2019; Serrano & Smith 2019).
Attention over a single token is uninformative, and has no numbers. Names and keys are those of the earlier
documentation; where a formula differs from what it told, the docstring says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from consilience.domains.eeg.attention_weights import (
    AttentionWeights,
    checked,
    checked_maps,
    checked_pair,
)
from consilience.errors import ConsilienceError

SPARSE = 0.1  # of the uniform weight
CONSTANT = 1e-5  # relative to the largest weight: a map that varies less holds rounding
PAIRS_OF_HEAD = 3

Pairs = list[tuple[int, int, float]]


@dataclass(frozen=True)
class AttentionStatistics:
    """What `AttentionAnalyzer.analyze_attention_weights` finds; every number is None where attention is uninformative.

    `std` is that of the population; `entropy` lies between 0 (one key) and 1 (uniform); `sparsity` is in percent.
    """

    mean: float | None = None
    std: float | None = None
    max: float | None = None
    min: float | None = None
    entropy: float | None = None
    sparsity: float | None = None
    informative: bool = False

    def __str__(self) -> str:
        if not self.informative:
            return "uninformative: attention over a single token is 1, whatever the network learned"
        return (
            f"mean={self.mean:.4f}, std={self.std:.4f}, max={self.max:.4f}, min={self.min:.4f}, "
            f"entropy={self.entropy:.4f}, sparsity={self.sparsity:.2f}%"
        )


@dataclass(frozen=True)
class AttentionAnalyzer:
    """Numbers of weights (samples, heads, queries, keys) of `num_heads` heads, torch or NumPy.

    `absent` and `absent_queries` are bool (samples, keys) and (samples, queries), true where a window is absent, which
    does not count. Methods raise ConsilienceError for weights that are none (see `attention_weights.checked`).
    """

    num_heads: int = 8

    def analyze_attention_weights(
        self, weights: Any, name: str = "attention", absent: Any = None, absent_queries: Any = None
    ) -> AttentionStatistics:
        """Return the statistics of all weights that count; `name` is how errors call them.

        `mean` is 1 / K whatever the network learned. `entropy` is the mean over queries of H(w) / ln K, with K the keys
        that are present (attention entropy: Clark et al. 2019, section 3.3; over ln K: Pielou 1966), where the earlier
        one was of all weights of a batch at once. `sparsity` is the share of weights below a tenth of the uniform
        weight 1 / K; the earlier limit, 0.1 whatever K, calls a uniform attention over 119 windows sparse.
        """
        own = checked(weights, self.num_heads, name, absent, absent_queries)
        if not own.informative.any():
            return AttentionStatistics()
        counted = np.broadcast_to(own.counted[:, None], own.values.shape)
        values = own.values[counted]
        few = (own.values < SPARSE * own.uniform[:, None, None, None])[counted]
        return AttentionStatistics(
            mean=float(values.mean()),
            std=float(values.std()),
            max=float(values.max()),
            min=float(values.min()),
            entropy=_mean(own.entropies()),
            sparsity=float(100 * few.mean()),
            informative=True,
        )

    def get_top_attention_pairs(
        self, weights: Any, top_k: int = 5, absent: Any = None, absent_queries: Any = None
    ) -> Pairs:
        """Return the `top_k` pairs (query, key, weight) of the largest mean weight over samples and heads, in order.

        There are none where attention is uninformative.
        """
        if top_k < 1:
            raise ConsilienceError(f"top_k: {top_k}; expected at least 1")
        mean = checked(weights, self.num_heads, "attention", absent, absent_queries).mean_map()
        known = int(np.isfinite(mean).sum())
        order = np.argsort(-mean, axis=None, kind="stable")[: min(top_k, known)]
        places = zip(*np.unravel_index(order, mean.shape), strict=True)
        return [(int(query), int(key), float(mean[query, key])) for query, key in places]

    def compute_attention_entropy(
        self, weights: Any, per_head: bool = False, absent: Any = None, absent_queries: Any = None
    ) -> float | dict[int, float | None] | None:
        """Return the mean over queries of H(w) / ln K, 0 to 1, or that of every head by its number.

        None where attention is uninformative. The earlier one per head was that of the mean attention, in nats.
        """
        own = checked(weights, self.num_heads, "attention", absent, absent_queries)
        if per_head:
            return {head: _mean(own.head(head).entropies()) for head in range(self.num_heads)}
        return _mean(own.entropies())

    def compare_modality_agreement(
        self,
        eeg_to_spec_weights: Any,
        spec_to_eeg_weights: Any,
        eeg_absent: Any = None,
        spectrogram_absent: Any = None,
    ) -> float | None:
        """Return the mean over samples of how far both directions agree; None where it is defined for none of them.

        That of a sample is Pearson's correlation, over all pairs of an EEG and a spectrogram window, of the mean over
        heads of eeg_to_spec (samples, heads, EEG, spectrogram) with that of spec_to_eeg *transposed*, so that like
        pairs are compared (the earlier one compared unlike ones, of means over the batch). It is not defined where
        either direction has one key, or is constant.
        """
        absent = {"eeg": eeg_absent, "spectrogram": spectrogram_absent}
        both = {"eeg_to_spec": eeg_to_spec_weights, "spec_to_eeg": spec_to_eeg_weights}
        return _mean(agreements(*checked_maps(both, self.num_heads, absent).values()))


def agreements(eeg_to_spec: AttentionWeights, spec_to_eeg: AttentionWeights) -> np.ndarray:
    """Return for every sample what `compare_modality_agreement` means over, (samples,); NaN where it is not defined."""
    checked_pair(eeg_to_spec, spec_to_eeg)
    found = np.full(len(eeg_to_spec.values), np.nan)
    for sample in np.flatnonzero(eeg_to_spec.informative & spec_to_eeg.informative):
        present = np.ix_(eeg_to_spec.queries[sample], eeg_to_spec.keys[sample])
        forward, backward = eeg_to_spec.values[sample].mean(axis=0), spec_to_eeg.values[sample].mean(axis=0).T
        pairs = np.stack([forward[present].ravel(), backward[present].ravel()])
        if (np.ptp(pairs, axis=1) > CONSTANT * pairs.max(axis=1)).all():
            found[sample] = np.clip(np.corrcoef(pairs)[0, 1], -1, 1)
    return found


def extract_attention_statistics(
    attention_dict: Mapping[str, Any], num_heads: int = 8, absent: Mapping[str, Any] | None = None
) -> dict[str, AttentionStatistics]:
    """Return the statistics of both directions.

    `absent` holds bool (samples, windows) by modality, `eeg` and `spectrogram`; `AttentionMaps` bring their own.
    """
    analyzer = AttentionAnalyzer(num_heads)
    maps = checked_maps(attention_dict, num_heads, absent)
    return {direction: analyzer.analyze_attention_weights(own) for direction, own in maps.items()}


def compute_modality_alignment(
    attention_dict: Mapping[str, Any], num_heads: int = 8, absent: Mapping[str, Any] | None = None
) -> dict[str, float | None]:
    """Return how far both directions agree, the entropy of either, and how far these lie apart.

    The keys are modality_agreement, eeg_to_spec_entropy, spec_to_eeg_entropy and entropy_difference.
    """
    maps = checked_maps(attention_dict, num_heads, absent)
    entropies = {f"{direction}_entropy": _mean(own.entropies()) for direction, own in maps.items()}
    first, second = entropies.values()
    difference = None if first is None or second is None else abs(first - second)
    return {"modality_agreement": _mean(agreements(*maps.values()))} | entropies | {"entropy_difference": difference}


def head_wise_attention_analysis(
    attention_dict: Mapping[str, Any], num_heads: int = 8, absent: Mapping[str, Any] | None = None
) -> dict[str, dict[int, dict[str, Any]]]:
    """Return by direction and head: `statistics`, the three `top_pairs`, and a `specialization_score`.

    The score is 1 - entropy: 0 where the head attends to all keys alike, 1 where every query attends to one key (the
    earlier one was the entropy itself, lower for a specialized head); None if uninformative.
    """
    maps, one = checked_maps(attention_dict, num_heads, absent), AttentionAnalyzer(1)
    return {
        direction: {head: _of_head(own.head(head), one) for head in range(num_heads)} for direction, own in maps.items()
    }


def _of_head(own: AttentionWeights, analyzer: AttentionAnalyzer) -> dict[str, Any]:
    statistics = analyzer.analyze_attention_weights(own)
    return {
        "statistics": statistics,
        "top_pairs": analyzer.get_top_attention_pairs(own, PAIRS_OF_HEAD),
        "specialization_score": None if statistics.entropy is None else 1 - statistics.entropy,
    }


def _mean(values: np.ndarray) -> float | None:
    """Return the mean of what is no NaN; None where there is nothing."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None
