"""Attention that is drawn at random, and how far its directions agree, pair by pair."""

from __future__ import annotations

import numpy as np

from consilience.domains.eeg.attention_weights import AttentionMaps


def softmax(scores):
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def drawn(samples=3, heads=2, queries=4, keys=5, seed=0, absent=None, scale=2.0):
    """Weights (samples, heads, queries, keys), 0 on keys that are absent (samples, keys)."""
    scores = scale * np.random.default_rng(seed).normal(size=(samples, heads, queries, keys))
    if absent is not None:
        scores = np.where(absent[:, None, None, :], -np.inf, scores)
    return softmax(scores)


def masked_maps(samples=4, heads=2, windows=(4, 6), seed=3):
    """Both directions with windows absent at random, two of each modality there at least."""
    random = np.random.default_rng(seed)
    absent = {}
    for name, count in zip(("eeg", "spectrogram"), windows, strict=True):
        absent[name] = random.random((samples, count)) < 0.4
        absent[name][:, :2] = False
    return AttentionMaps(
        {
            "eeg_to_spec": drawn(samples, heads, *windows, seed=seed, absent=absent["spectrogram"]),
            "spec_to_eeg": drawn(samples, heads, *windows[::-1], seed=seed + 1, absent=absent["eeg"]),
        },
        absent,
    )


def slow_agreement(forward, backward, eeg_absent, spectrogram_absent):
    """Pearson's correlation over pairs of windows that are both there, pair by pair, a sample each."""
    found = []
    for sample in range(len(forward)):
        pairs = [
            (forward[sample, :, own, other].mean(), backward[sample, :, other, own].mean())
            for own in np.flatnonzero(~eeg_absent[sample])
            for other in np.flatnonzero(~spectrogram_absent[sample])
        ]
        found.append(np.corrcoef(np.array(pairs).T)[0, 1])
    return found
