"""Draws simulated calls: what they are, where they lie, how well they are supported, and which signals they carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

CHROMOSOMES = (*(f"chr{number}" for number in range(1, 23)), "chrX", "chrY")
SPANNING = ("DEL", "DUP", "INV")  # the types whose sequence stands in the reference
# Types of the calls that are no inversions.
OTHER_TYPES = {"DEL": 0.61, "INS": 0.23, "DUP": 0.09, "BND": 0.07}
BASE_RATES = 0.3  # standard deviation of the chromosomes' log-odds of a true call
SMALLEST, SMALL, LARGEST = 50, 90, 20_000  # base pairs
ALU, LINE = 310, 6_000  # base pairs, the sizes of the two most active mobile elements
ALU_SHARE, LINE_SHARE = 0.35, 0.05
IMPRECISE_SHARE = 0.2
# The longest allele that is written out, and the share of those no longer that are.
LONGEST_EXPLICIT, EXPLICIT_SHARE = 2_000, 0.85
MARGIN = 1_000  # bases of a contig before the first call and after the last
NEAREST, FARTHEST = 450, 900  # bases between calls, so that the flank of one holds no sequence of another
SUPPORT = 0.28  # standard deviations by which the support of true calls lies above the mean, and of false ones below
LOW_QUALITY = 150


@dataclass(frozen=True)
class Signal:
    """A property that the label depends on, and the share of true and of false calls that have it at strength 1."""

    in_true: float
    in_false: float

    @property
    def log_odds(self) -> float:
        """The log of the odds ratio of a true call at strength 1."""
        return _logit(self.in_true) - _logit(self.in_false)

    def rates(self, true: np.ndarray, strength: float) -> np.ndarray:
        """Return the chance of the property for calls (calls,); at strength 0 it is the same for all."""
        middle = (_logit(self.in_true) + _logit(self.in_false)) / 2
        return 1 / (1 + np.exp(-(middle + np.where(true, 0.5, -0.5) * strength * self.log_odds)))


SIGNALS = {
    "element": Signal(0.62, 0.08),
    "microsatellite": Signal(0.06, 0.54),
    "size": Signal(0.10, 0.38),
    "inversion": Signal(0.05, 0.18),
}


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


def draw_calls(source: dict[str, Any], random: np.random.Generator) -> pd.DataFrame:
    """Return a row a call, in the order of the genome.

    Columns: id, chromosome, position (before the event, from 1), end (its last base; the position where the type spans
    none), type, length (base pairs; 0 for BND), true, precise, explicit (whether the allele is written out), a boolean
    for each of SIGNALS, quality, filter, PE, SR, MAPQ, SRMAPQ, HOMLEN.
    """
    count = source["calls"]
    true = random.permutation(np.arange(count) < round(count * source["true_share"]))
    carried = {name: random.random(count) < signal.rates(true, source["strength"]) for name, signal in SIGNALS.items()}
    others = random.choice(list(OTHER_TYPES), count, p=list(OTHER_TYPES.values()))
    types = np.where(carried["inversion"], "INV", others)
    small = carried["size"] & (types != "BND")
    lengths = np.where(
        types == "BND", 0, np.where(small, random.integers(SMALLEST, SMALL + 1, count), _large(count, random))
    )
    precise = random.random(count) >= IMPRECISE_SHARE
    explicit = precise & np.isin(types, ["INS", "DEL"]) & (lengths <= LONGEST_EXPLICIT)
    explicit &= random.random(count) < EXPLICIT_SHARE
    # A call carries only what it has a place for.
    held = precise | np.isin(types, SPANNING)
    calls = pd.DataFrame(
        {
            "chromosome": _chromosomes(true, source["chromosomes"], random), "type": types, "length": lengths,
            "true": true, "precise": precise, "explicit": explicit, "element": carried["element"] & held,
            "microsatellite": carried["microsatellite"] & precise, "size": small, "inversion": carried["inversion"],
            **_support(true, precise, source["strength"], random),
        }
    )  # fmt: skip
    return _placed(calls.sort_values("chromosome", kind="stable", ignore_index=True), random)


def _large(count: int, random: np.random.Generator) -> np.ndarray:
    """Return lengths (count,) above SMALL: a broad distribution with a peak for each mobile element."""
    broad = SMALL + 1 + random.lognormal(np.log(250), 1.3, count)
    kind = random.random(count)
    peaks = np.where(kind < ALU_SHARE, random.normal(ALU, 12, count), random.normal(LINE, 150, count))
    return np.minimum(np.where(kind < ALU_SHARE + LINE_SHARE, peaks, broad), LARGEST).astype(int)


def _chromosomes(true: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Return the place in CHROMOSOMES of calls; the first have more calls, and each has a base rate of its own."""
    sizes = np.linspace(1.5, 0.5, count)
    offsets = random.normal(0, BASE_RATES, count)
    chosen = np.empty(len(true), int)
    for label in (True, False):
        chances = sizes * np.exp(offsets / (2 if label else -2))
        chosen[true == label] = random.choice(count, np.count_nonzero(true == label), p=chances / chances.sum())
    return chosen


def _support(
    true: np.ndarray, precise: np.ndarray, strength: float, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return the fields of a caller that tell how well a call is supported, which is a little better for true calls."""
    count = len(true)
    support = random.standard_normal(count) + SUPPORT * strength * np.where(true, 1, -1)
    quality = np.clip(np.round(np.exp(6.2 + 0.9 * support)), 20, 10_000).astype(int)
    reads = [random.poisson(np.exp(2 + 0.35 * (support + random.standard_normal(count)))) for _ in range(2)]
    mapping = [60 - np.minimum(random.exponential(8, count), 60).astype(int) for _ in range(2)]
    # No call is made of nothing: an imprecise one has pairs, a precise one split reads.
    pairs = np.maximum(reads[0], np.where(precise, 0, 2))
    return {
        "quality": quality,
        "filter": np.where(quality < LOW_QUALITY, "LowQual", "PASS"),
        "PE": pairs,
        "SR": np.maximum(reads[1], 2),
        "MAPQ": np.where(pairs > 0, mapping[0], 0),  # as Delly does; a precise call always has split reads
        "SRMAPQ": mapping[1],
        "HOMLEN": random.geometric(0.15, count) - 1,
    }


def _placed(calls: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Lay calls, sorted by chromosome, one behind the other, and name them in that order."""
    gaps = random.integers(NEAREST, FARTHEST + 1, len(calls))
    spans = np.where(calls["type"].isin(SPANNING), calls["length"], 0)
    ends = pd.Series(gaps + spans).groupby(calls["chromosome"]).cumsum() + MARGIN
    names = [f"{kind}{number:08d}" for number, kind in enumerate(calls["type"], 1)]
    chromosomes = np.array(CHROMOSOMES, object)[calls["chromosome"]]
    return calls.assign(id=names, chromosome=chromosomes, position=ends - spans, end=ends)
