"""Resamples of whole groups of samples, the same for every check of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from consilience.metrics import LEAST_GROUPS, LEVEL, draws, interval


@dataclass(frozen=True)
class Resampling:
    """How often each group counts, float64 (1 + resamples, groups), and the group of each sample, int (samples,).

    The first row is the data themselves, every group once: a value and its interval come from one computation. There
    are no resamples of fewer than three groups.
    """

    codes: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, groups: Sequence[str] | np.ndarray, resamples: int, seed: int) -> Resampling:
        """Draw as many groups as there are, with replacement, `resamples` times; `groups` (samples,) are names."""
        names, codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
        blocks = [np.ones((len(names), 1))]
        if len(names) >= LEAST_GROUPS:
            blocks += draws(len(names), len(codes), resamples, seed)
        return cls(codes, np.concatenate(blocks, axis=1).T.copy())

    @property
    def groups(self) -> int:
        """The number of groups."""
        return self.counts.shape[1]

    def by_group(self, values: np.ndarray) -> np.ndarray:
        """Sum (samples, ...) over the samples of each group; float64 (groups, ...)."""
        member = (self.codes == np.arange(self.groups)[:, None]).astype(np.float64)
        return np.tensordot(member, np.asarray(values, np.float64), axes=1)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum (samples, ...) over the samples of each resample; float64 (1 + resamples, ...)."""
        return np.tensordot(self.counts, self.by_group(values), axes=1)

    def ratios(self, numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
        """Divide the sum of one variable (samples,) by that of another; NaN where the latter is not above 0."""
        above, below = self.sums(numerators), self.sums(denominators)
        return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)

    def means(self, values: np.ndarray) -> np.ndarray:
        """Return the means (1 + resamples,) of a variable (samples,); samples whose value is NaN are left out."""
        defined = np.isfinite(values)
        return self.ratios(np.where(defined, values, 0), defined)

    def interval(self, values: np.ndarray) -> dict[str, float | None]:
        """Return value, low and high (95 %; see `metrics.percentiles`) of a statistic (1 + resamples,)."""
        return interval(values[0], [values[1:]], self.groups)

    def spread_interval(self, values: np.ndarray, least: float, most: float) -> dict[str, float | None]:
        """Return value, low and high of a statistic (1 + resamples,) whose resamples lie beside it, within its range.

        A resample repeats groups, so that its means are noisier than those of the data, and two lines agree less:
        percentiles may leave the value itself out. Their spread says how far it may move nevertheless: value ± t(0.975;
        n - 1) times their standard deviation, widened by sqrt(n / (n - 1)) for n groups (the t interval with a
        bootstrap standard error, Hesterberg 2015, as `metrics.percentiles`).
        """
        found = self.interval(values)
        if found["low"] is None:
            return found
        quantile = stdtrit(self.groups - 1, 0.5 + LEVEL / 200) * np.sqrt(self.groups / (self.groups - 1))
        half = float(quantile * np.nanstd(values[1:], ddof=1))
        value = found["value"]
        return {"value": value, "low": max(least, value - half), "high": min(most, value + half)}
