"""From k-mers back to the sequence: what each nucleotide has of an attribution, and whether a region has its share.

Plain arrays; nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from consilience.domains.mirna.pairs import SEED, SIX_MER, seed_match
from consilience.domains.mirna.sequences import reverse_complement
from consilience.faithfulness.resampling import Resampling

NUCLEOTIDE_FALLS = "mutagenesis of nucleotides"  # in tables, the method that asks sequences directly
BEFORE, AFTER = 10, 10  # nucleotides shown beside a match in the site
NO_MATCH = -100  # below every start of a match


def per_window(maps: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Return the share that each k-mer of a sequence has of its k-mer's attribution, (..., samples, windows).

    `maps` are (..., samples, 4^k), `windows` (samples, windows) the pixels in the order of the sequence, -1 for none,
    which is NaN. A k-mer that occurs c times has a c-th of its attribution at each place.
    """
    valid = windows >= 0
    times = ((windows[:, :, None] == windows[:, None, :]) & valid[:, None, :]).sum(axis=2)
    places = np.broadcast_to(np.where(valid, windows, 0), (*maps.shape[:-1], valid.shape[1]))
    chosen = np.take_along_axis(maps, places, -1)
    return np.where(valid, chosen / np.maximum(times, 1), np.nan)


def per_nucleotide(shares: np.ndarray, k: int) -> np.ndarray:
    """Divide the shares of windows (..., windows) evenly over their k nucleotides: (..., windows + k - 1), same total.

    A nucleotide has the sum of what the k-mers that cover it give; NaN where none does.
    """
    length = shares.shape[-1] + k - 1
    total, covered = np.zeros((*shares.shape[:-1], length)), np.zeros((*shares.shape[:-1], length), bool)
    for place in range(k):
        part = slice(place, place + shares.shape[-1])
        total[..., part] += np.nan_to_num(shares) / k
        covered[..., part] |= np.isfinite(shares)
    return np.where(covered, total, np.nan)


def seed_region(length: int) -> np.ndarray:
    """Return which of a miRNA's nucleotides are the seed, 2 to 8, bool (length,)."""
    region = np.zeros(length, bool)
    region[SEED] = True
    return region


def match_regions(
    mirnas: Sequence[str], sites: Sequence[str], planted: Sequence[int], length: int
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return where each site matches its miRNA's seed: starts (samples,), and nucleotides, bool (samples, length).

    A start is the place, from 0, of the nucleotide opposite the miRNA's eighth, -1 where the site begins behind it, and
    `NO_MATCH`. It is where a match was planted; where none was anywhere, the first that pairs with nucleotides 2 to 7,
    of which alone the match then consists. The third part says which of both.
    """
    starts, first, kind = np.asarray(planted, int) - 1, 0, "planted match"
    starts = np.where(starts < 0, NO_MATCH, starts)
    if (starts == NO_MATCH).all():
        first, kind = SEED.stop - SIX_MER.stop, "6-mer seed match"
        found = [
            site.find(reverse_complement(mirna[SIX_MER])) - first if seed_match(mirna, site) else NO_MATCH
            for mirna, site in zip(mirnas, sites, strict=True)
        ]
        starts = np.asarray(found)
    places, size = np.arange(length), SEED.stop - SEED.start
    inside = (places >= starts[:, None] + first) & (places < starts[:, None] + size)
    return starts, inside, kind


def aligned(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return values (..., samples, length) around each sample's start, (..., samples, BEFORE + 7 + AFTER); else NaN."""
    wide = np.full((*values.shape[:-1], values.shape[-1] + 2 * (BEFORE + AFTER) + 7), np.nan)
    # One more in front, as a start may be -1.
    wide[..., BEFORE + 1 : BEFORE + 1 + values.shape[-1]] = values
    matched = starts > NO_MATCH
    places = 1 + np.where(matched, starts, 0)[:, None] + np.arange(BEFORE + 7 + AFTER)
    chosen = np.take_along_axis(wide, np.broadcast_to(places, (*values.shape[:-1], places.shape[1])), -1)
    return np.where(matched[:, None], chosen, np.nan)


def without_ends(values: np.ndarray, count: int) -> np.ndarray:
    """Return values (samples, length) with the first and last `count` known ones of every row made unknown."""
    known = np.isfinite(values)
    before, behind = np.cumsum(known, axis=1), np.cumsum(known[:, ::-1], axis=1)[:, ::-1]
    return np.where((before > count) & (behind > count), values, np.nan)


def inside_windows(region: np.ndarray, k: int) -> np.ndarray:
    """Return the share of every window's nucleotides that lie in the region, (..., length - k + 1)."""
    windows = region.shape[-1] - k + 1
    return np.mean([region[..., place : place + windows] for place in range(k)], axis=0)


@dataclass(frozen=True)
class Enrichment:
    """The share of an importance that a region has, beside what its place would give by chance.

    `ratio` has value, low and high; `p_value` is one-sided, for more than chance, and `p_value_less` for less.
    """

    share: float
    expected: float
    ratio: dict[str, float | None]
    p_value: float
    p_value_less: float
    samples: int


def enrichment(
    scores: np.ndarray, inside: np.ndarray, resampling: Resampling, permutations: int, seed: int
) -> Enrichment | None:
    """Test whether a region has more of the importance than if it were moved along the sequences; None without any.

    `scores` (samples, windows) are absolute, NaN where there is no window; `inside` (samples, windows) is the share of
    a window that lies in the region. The null turns the scores of a sequence by a random number of windows, end to
    start: it keeps their runs, and how many windows cover a place. Samples of a group turn together, since those of one
    miRNA look alike. p = (1 + those as large, or as small) / (1 + permutations); the ratio's interval resamples groups.
    """
    weight = np.nansum(scores, axis=1)
    used = np.flatnonzero(weight > 0)
    if not len(used):
        return None
    turned = [_turns(scores[row], inside[row]) for row in used]
    share, expected = np.full((2, len(scores)), np.nan)
    share[used], expected[used] = [own[0] for own in turned], [own.mean() for own in turned]
    groups = resampling.codes[used]
    drawn = np.random.default_rng(seed).random((permutations, resampling.groups))
    null = np.zeros(permutations)
    for own, group in zip(turned, groups, strict=True):
        null += own[(drawn[:, group] * len(own)).astype(int)]
    observed = sum(own[0] for own in turned)
    as_large = np.count_nonzero(null >= observed * (1 - 1e-12))
    as_small = np.count_nonzero(null <= observed * (1 + 1e-12))
    ratio = resampling.ratios(np.nan_to_num(share), np.nan_to_num(expected))
    return Enrichment(
        float(np.nanmean(share)),
        float(np.nanmean(expected)),
        resampling.interval(ratio),
        (1 + as_large) / (1 + permutations),
        (1 + as_small) / (1 + permutations),
        len(used),
    )


def _turns(scores: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the region's share after every turn of the scores, (windows,); the first is that of no turn."""
    valid = np.isfinite(scores)
    own, region = scores[valid], inside[valid]
    return np.array([np.roll(own, turn) @ region for turn in range(len(own))]) / own.sum()
