"""Weights of attention between windows, checked, and which windows are absent: what numbers and figures are made from.

Weights are torch tensors or NumPy arrays, of every head. A softmax over one key is 1 whatever the network learned: a
sample with one key is uninformative, and counts in nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import entr

from consilience.errors import ConsilienceError

# Whose windows are the queries of a direction, and whose the keys.
MODALITIES = {"eeg_to_spec": ("eeg", "spectrogram"), "spec_to_eeg": ("spectrogram", "eeg")}
SUM_TOLERANCE = 1e-3  # what half precision leaves of a sum that is 1


class AttentionMaps(dict[str, Any]):
    """The weights (samples, heads, queries, keys) by direction, with what is absent beside them.

    `absent` holds bool (samples, windows) by modality, `eeg` and `spectrogram`, true where a window is absent; of a
    modality that it lacks, every window is there.
    """

    def __init__(self, weights: Mapping[str, Any], absent: Mapping[str, Any] | None = None) -> None:
        super().__init__(weights)
        self.absent = dict(absent or {})


@dataclass(frozen=True)
class AttentionWeights:
    """Checked weights, float64 (samples, heads, queries, keys), and which `queries` and `keys` are there.

    Both are bool (samples, windows).
    """

    values: np.ndarray
    queries: np.ndarray
    keys: np.ndarray

    @property
    def informative(self) -> np.ndarray:
        """Which samples have several keys, bool (samples,)."""
        return self.keys.sum(axis=1) > 1

    @property
    def counted(self) -> np.ndarray:
        """Which weights count, bool (samples, queries, keys)."""
        return self.informative[:, None, None] & self.queries[:, :, None] & self.keys[:, None, :]

    @property
    def uniform(self) -> np.ndarray:
        """The weight of every key if all were alike, 1 / K, (samples,)."""
        return 1 / self.keys.sum(axis=1)

    def sample(self, place: int) -> AttentionWeights:
        """Return one sample."""
        rows = slice(place, place + 1)
        return AttentionWeights(self.values[rows], self.queries[rows], self.keys[rows])

    def head(self, head: int) -> AttentionWeights:
        """Return one head."""
        return AttentionWeights(self.values[:, head : head + 1], self.queries, self.keys)

    def entropies(self) -> np.ndarray:
        """Return the entropy of every query over ln K, (samples, heads, queries); NaN where it does not count."""
        counts = self.informative[:, None] & self.queries
        most = np.log(np.maximum(self.keys.sum(axis=1), 2))[:, None, None]
        return np.where(counts[:, None, :], np.clip(entr(self.values).sum(axis=-1) / most, 0, 1), np.nan)

    def mean_map(self) -> np.ndarray:
        """Return the mean over heads, and over the samples it counts in, (queries, keys); NaN where it is in none."""
        counts = self.counted.sum(axis=0)
        total = (self.values.mean(axis=1) * self.counted).sum(axis=0)
        return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def checked(
    weights: Any, num_heads: int, name: str = "attention", absent: Any = None, absent_queries: Any = None
) -> AttentionWeights:
    """Check weights (samples, heads, queries, keys); absent keys are bool (samples, keys), queries (samples, queries).

    Raises ConsilienceError for another shape or number of heads, for weights that are negative or not finite, rows that
    do not sum to 1, keys that have a weight although absent, and a sample of which everything is absent.
    """
    values = weights.values if isinstance(weights, AttentionWeights) else as_array(weights)
    if values.ndim != 4 or 0 in values.shape:
        raise ConsilienceError(
            f"{name}: weights of shape {values.shape}; expected (samples, heads, queries, keys), none of them 0"
        )
    if values.shape[1] != num_heads:
        raise ConsilienceError(f"{name}: weights of {values.shape[1]} heads, but num_heads is {num_heads}")
    if isinstance(weights, AttentionWeights):
        return weights
    values = values.astype(np.float64)
    _refuse(name, ~np.isfinite(values), values, "expected a finite weight")
    _refuse(name, values < 0, values, "expected no negative weight")
    sums = values.sum(axis=-1)
    off = np.abs(sums - 1) > SUM_TOLERANCE
    _refuse(name, off, sums, "the sum over keys; expected 1 (dropout changes it: use eval mode)")
    keys = _present(name, absent, values.shape[0], values.shape[3], "keys")
    queries = _present(name, absent_queries, values.shape[0], values.shape[2], "queries")
    _refuse(name, ~keys[:, None, None, :] & (values > 0), values, "expected 0, since the key is absent")
    return AttentionWeights(values, queries, keys)


def as_array(values: Any) -> np.ndarray:
    """Return a torch tensor, wherever it lies, or anything array-like as an array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        # NumPy has no bfloat16.
        values = values.double() if values.is_floating_point() else values
    return np.asarray(values)


def _refuse(name: str, bad: np.ndarray, values: np.ndarray, problem: str) -> None:
    if bad.any():
        place = tuple(int(index) for index in np.argwhere(bad)[0])
        axes = ("sample", "head", "query", "key")[: len(place)]
        where = ", ".join(f"{axis} {index}" for axis, index in zip(axes, place, strict=True))
        raise ConsilienceError(f"{name}: {where}: {values[place]:g}; {problem}")


def _present(name: str, absent: Any, samples: int, windows: int, what: str) -> np.ndarray:
    if absent is None:
        return np.ones((samples, windows), bool)
    mask = as_array(absent)
    if mask.shape != (samples, windows) or mask.dtype != bool:
        raise ConsilienceError(
            f"{name}: absent {what} are {mask.dtype} of shape {mask.shape}; expected bool of {(samples, windows)}"
        )
    if mask.all(axis=1).any():
        raise ConsilienceError(f"{name}: sample {int(mask.all(axis=1).argmax())}: all {what} are absent")
    return ~mask


def checked_maps(
    attention_dict: Mapping[str, Any], num_heads: int, absent: Mapping[str, Any] | None = None
) -> dict[str, AttentionWeights]:
    """Check both directions; what is absent, by modality, is that of `AttentionMaps` where it is not given.

    Raises ConsilienceError as `checked` does, for a direction that is missing, for two that do not fit together, and
    for absent windows of another modality.
    """
    missing = [direction for direction in MODALITIES if direction not in attention_dict]
    if missing:
        raise ConsilienceError(f"attention_dict: no {missing[0]}; it has {', '.join(attention_dict) or 'nothing'}")
    known = getattr(attention_dict, "absent", {}) if absent is None else absent
    unknown = [name for name in known if name not in MODALITIES["eeg_to_spec"]]
    if unknown:
        raise ConsilienceError(
            f"absent: no modality {unknown[0]!r}; expected {' and '.join(MODALITIES['eeg_to_spec'])}"
        )
    maps = {
        direction: checked(attention_dict[direction], num_heads, direction, known.get(keys), known.get(queries))
        for direction, (queries, keys) in MODALITIES.items()
    }
    checked_pair(*maps.values())
    return maps


def checked_pair(first: AttentionWeights, second: AttentionWeights) -> None:
    """Refuse weights of two directions that do not fit together."""
    if first.values.shape != second.values.swapaxes(2, 3).shape:
        raise ConsilienceError(
            f"eeg_to_spec is {first.values.shape} and spec_to_eeg {second.values.shape}; expected queries and keys of "
            "one to be keys and queries of the other, and the same samples and heads"
        )
