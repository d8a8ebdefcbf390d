"""Counts and tests of 2 x 2 tables, atom on or off by true or false call, for all atoms of a dictionary at once.

In every table a is the number of true calls with the atom on, b of false calls with it on, c and d those with it off.
An odds ratio above 1, ad / bc, says that true calls have the atom on more often.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import chdtrc, ndtri

from consilience.errors import ConsilienceError

FALSE, TRUE = 0, 1  # the places of the classes in `Tables`
NORMAL = float(ndtri(0.975))  # of a 95 % interval
LEAST_EXPECTED = 5  # where a count is expected to be smaller, the chi-square law does not hold
CELLS = 2**20  # of the grid that exact tests fill at once
# Probabilities that differ by less are equal but for rounding: those of products of up to thousands of ratios.
TIE = 1e-12


@dataclass(frozen=True)
class Tables:
    """A 2 x 2 table of every atom within every stratum.

    `on` (strata, 2, atoms) counts the calls of a class that have the atom on, and `totals` (strata, 2) all calls of the
    class, both int64; the classes are FALSE and TRUE.
    """

    on: np.ndarray
    totals: np.ndarray

    @cached_property
    def pooled(self) -> Tables:
        """The tables of all strata together."""
        return Tables(self.on.sum(axis=0, keepdims=True), self.totals.sum(axis=0, keepdims=True))

    @property
    def cells(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The counts a, b, c and d, each float64 (strata, atoms)."""
        on, off = self.on.astype(np.float64), (self.totals[:, :, None] - self.on).astype(np.float64)
        return on[:, TRUE], on[:, FALSE], off[:, TRUE], off[:, FALSE]


@dataclass(frozen=True)
class Odds:
    """Odds ratios with 95 % intervals, and the natural logarithm of the ratio with its standard error; each (atoms,).

    An atom without information has the ratio 1 and an interval from 0 to infinity, and where it has none in any of
    several strata, NaN.
    """

    ratio: np.ndarray
    low: np.ndarray
    high: np.ndarray
    logarithm: np.ndarray
    error: np.ndarray

    @classmethod
    def of(cls, logarithm: np.ndarray, error: np.ndarray) -> Odds:
        """Give the normal interval; all of 0 to infinity where the error is infinite, NaN where the ratio is."""
        known = np.isfinite(error)
        width = np.where(known, NORMAL * error, np.where(np.isnan(logarithm), np.nan, np.inf))
        middle = np.where(known, logarithm, 0)
        low, high = middle - width, middle + width
        return cls(np.exp(logarithm), np.exp(low), np.exp(high), logarithm, error)


@dataclass(frozen=True)
class Stratified:
    """What the tables of all strata say together, each (atoms,): see `mantel_haenszel`."""

    statistic: np.ndarray
    p: np.ndarray
    odds: Odds
    homogeneity: np.ndarray
    homogeneity_p: np.ndarray
    strata: np.ndarray


def tables(active: csr_matrix | np.ndarray, labels: np.ndarray, strata: np.ndarray | None = None) -> Tables:
    """Count (calls, atoms), on where not 0, by class `labels` (calls,), 0 or 1, and stratum (calls,), from 0.

    The product of the matrix of classes and strata, (strata x 2, calls), with that of atoms: its ones are added where
    they belong, since neither matrix holds many.
    """
    active, labels = _sparse(active), np.asarray(labels)
    strata = np.zeros(len(labels), np.int64) if strata is None else np.asarray(strata)
    calls, atoms = active.shape
    if not calls == len(labels) == len(strata):
        raise ConsilienceError(f"tables: {calls} calls with codes, {len(labels)} labels and {len(strata)} strata")
    if not np.isin(labels, (FALSE, TRUE)).all():
        raise ConsilienceError(f"tables: label {labels[~np.isin(labels, (FALSE, TRUE))][0]}; expected 0 or 1")
    count = int(strata.max(initial=0)) + 1
    groups = 2 * strata.astype(np.int64) + labels
    cells = np.repeat(groups * atoms, np.diff(active.indptr)) + active.indices
    on = np.bincount(cells, minlength=2 * count * atoms).reshape(count, 2, atoms)
    return Tables(on, np.bincount(groups, minlength=2 * count).reshape(count, 2))


def chi_square(counts: Tables) -> tuple[np.ndarray, np.ndarray]:
    """Return Pearson's statistic and p, both (atoms,), without a correction for continuity; 0 and 1 without variation.

    (ad - bc)² n over the product of the four margins.
    """
    a, b, c, d = (cell[0] for cell in counts.pooled.cells)
    # In this order no product is too large for float64.
    spread = ((a + b) * (c + d)) * ((a + c) * (b + d))
    statistic = _ratio((a * d - b * c) ** 2 * (a + b + c + d), spread, 0)
    return statistic, chdtrc(1, statistic)


def least_expected(counts: Tables) -> np.ndarray:
    """Return the smallest of the four counts that independence lets expect, (atoms,)."""
    a, b, c, d = (cell[0] for cell in counts.pooled.cells)
    return np.minimum(a + b, c + d) * np.minimum(a + c, b + d) / np.maximum(a + b + c + d, 1)


def fisher(counts: Tables, atoms: np.ndarray | None = None) -> np.ndarray:
    """Return Fisher's exact p of both sides for `atoms` (all where None), in their order.

    The sum over all tables with the same margins that are no more probable. Probabilities are products of the ratios of
    neighbors, (K-x)(s-x) / ((x+1)(N-K-s+x+1)) for x of the K true calls among the s with the atom on, outwards from the
    most probable table, and divided by their sum; the ratios end in zeros of themselves where no table follows.
    """
    pooled = counts.pooled
    on = pooled.on[0] if atoms is None else pooled.on[0][:, atoms]
    support, found, (false, true) = on.sum(axis=0), on[TRUE], pooled.totals[0]
    mode = (support + 1) * (true + 1) // (true + false + 2)
    widths = np.array([np.minimum(support, true) - mode, mode - np.maximum(support - false, 0)])
    p = np.ones(len(found))
    # Tables of like width share a block, so that little of a grid is empty.
    order = np.argsort(widths.max(axis=0, initial=0), kind="stable")
    while len(order):
        rows = max(1, CELLS // max(1, int(widths[:, order[-1]].max()) * 2))
        block, order = order[-rows:], order[:-rows]
        p[block] = _two_sided(found[block], mode[block], support[block], int(true), int(false), widths[:, block])
    return p


def _two_sided(
    found: np.ndarray, mode: np.ndarray, support: np.ndarray, true: int, false: int, widths: np.ndarray
) -> np.ndarray:
    """Return p of tables (tables,), `widths` (2, tables) being the steps from `mode` to the largest and the least."""
    up, down = (int(width) for width in widths.max(axis=1))
    support = support[:, None].astype(np.float64)
    x = mode[:, None] + np.arange(up, dtype=np.float64)
    above = (true - x) * (support - x) / ((x + 1) * (false - support + x + 1))
    x = mode[:, None] - np.arange(down, dtype=np.float64)
    below = x * (false - support + x) / ((true - x + 1) * (support - x + 1))
    weights = [np.ones((len(found), 1)), np.cumprod(above, axis=1), np.cumprod(below, axis=1)]
    weights = np.abs(np.concatenate(weights, axis=1))  # a product that has ended may be -0
    steps = found - mode
    own = weights[np.arange(len(found)), np.where(steps >= 0, steps, up - steps)]
    extreme = np.where(weights <= own[:, None] * (1 + TIE), weights, 0).sum(axis=1)
    return np.minimum(extreme / weights.sum(axis=1), 1)


def odds_ratio(counts: Tables) -> Odds:
    """Return odds ratios of the pooled tables with 0.5 added to every cell, and Woolf's error of the logarithm.

    (Haldane 1956; Anscombe 1956; Woolf 1955.) An atom that is on in all calls or in none has no information.
    """
    pooled = counts.pooled
    informed = _informed(pooled)[0]
    a, b, c, d = (cell[0] + 0.5 for cell in pooled.cells)
    logarithm = np.where(informed, np.log(a * d / (b * c)), 0)
    return Odds.of(logarithm, np.where(informed, np.sqrt(1 / a + 1 / b + 1 / c + 1 / d), np.inf))


def mantel_haenszel(counts: Tables) -> Stratified:
    """Test, and pool, the odds ratio within strata.

    `statistic` and `p` are Cochran, Mantel and Haenszel's without a correction for continuity; `odds` is Mantel and
    Haenszel's ratio with the interval of Robins, Breslow and Greenland (Biometrics 42, 1986); `homogeneity` and
    `homogeneity_p` are Breslow and Day's test that strata share one ratio; p is NaN of fewer than two strata.

    `strata` counts those with information: both classes, and the atom on in some calls and off in others. Without any,
    p is 1, so that no correction needs to know, and the ratio with its interval NaN. Where no discordant pair is on one
    side, the ratio is 0 or infinite, its error, which is not defined, infinite, and strata are alike (0 and 1).
    """
    informed = _informed(counts)
    a, b, c, d = (np.where(informed, cell, 0) for cell in counts.cells)
    n, on, true = a + b + c + d, a + b, a + c
    variance = _ratio((on * (c + d)) * (true * (b + d)), n**2 * (n - 1), 0)
    statistic = _ratio((a - _ratio(on * true, n, 0)).sum(axis=0) ** 2, variance.sum(axis=0), 0)
    concordant, discordant = _ratio(a * d, n, 0), _ratio(b * c, n, 0)
    odds, defined = _pooled_odds(concordant, discordant, _ratio(a + d, n, 0))
    homogeneity = np.where(defined, _breslow_day(a, on, true, b + d, np.where(defined, odds.ratio, 1), informed), 0)
    strata = informed.sum(axis=0)
    homogeneity_p = np.where(strata > 1, chdtrc(np.maximum(strata - 1, 1), homogeneity), np.nan)
    return Stratified(statistic, chdtrc(1, statistic), odds, homogeneity, homogeneity_p, strata)


def _informed(counts: Tables) -> np.ndarray:
    """Say which tables have no empty margin, (strata, atoms)."""
    a, b, c, d = counts.cells
    return (a + b > 0) & (c + d > 0) & (a + c > 0) & (b + d > 0)


def _pooled_odds(concordant: np.ndarray, discordant: np.ndarray, alike: np.ndarray) -> tuple[Odds, np.ndarray]:
    """Return the ratio of Σ ad/n and Σ bc/n, (strata, atoms) each, and where it is neither 0 nor infinite nor NaN.

    `alike` is (a + d) / n.
    """
    above, below = concordant.sum(axis=0), discordant.sum(axis=0)
    defined = (above > 0) & (below > 0)
    mixed = alike * discordant + (1 - alike) * concordant
    variance = (
        _ratio((alike * concordant).sum(axis=0), above**2, 0)
        + _ratio(mixed.sum(axis=0), above * below, 0)
        + _ratio(((1 - alike) * discordant).sum(axis=0), below**2, 0)
    ) / 2
    extreme = np.where(above > 0, np.inf, np.where(below > 0, -np.inf, np.nan))
    logarithm = np.where(defined, np.log(_ratio(above, below, 1), where=defined, out=np.zeros_like(above)), extreme)
    return Odds.of(logarithm, np.where(defined, np.sqrt(variance), np.inf)), defined


def _breslow_day(
    a: np.ndarray, on: np.ndarray, true: np.ndarray, false: np.ndarray, ratio: np.ndarray, informed: np.ndarray
) -> np.ndarray:
    """Return Breslow and Day's statistic (atoms,) of tables (strata, atoms), given their common odds `ratio` (atoms,).

    The expected count e solves e (false - on + e) = ratio (on - e) (true - e); of the two forms of the root, that
    without a difference of near numbers is taken.
    """
    slope = ratio * (on + true) + false - on
    root = np.sqrt(slope**2 + 4 * (1 - ratio) * ratio * on * true)
    expected = np.where(
        slope > 0, _ratio(2 * ratio * on * true, slope + root, 0), _ratio(root - slope, 2 * (1 - ratio), 0)
    )
    cells = (expected, on - expected, true - expected, false - on + expected)
    precision = sum(_ratio(np.ones_like(a), np.where(informed, cell, 0), 0) for cell in cells)
    return np.where(informed, (a - expected) ** 2 * precision, 0).sum(axis=0)


def auroc(codes: csr_matrix | np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how well the codes of every atom rank true calls above false ones, over all calls and where it is on.

    Both (atoms,): the share of pairs of a true and a false call in which the true one has the larger code, ties counted
    half (Mann and Whitney 1947). The second is NaN for an atom that is on in calls of one class only. Refuses labels
    (calls,) of one class and codes below 0.
    """
    codes, labels = _sparse(codes), np.asarray(labels)
    counts = tables(codes, labels)
    (false, true), (false_on, true_on) = counts.totals[0], counts.on[0].astype(np.float64)
    if not (false and true) or codes.data.min(initial=0) < 0:
        raise ConsilienceError(f"auroc: {true} true and {false} false calls; expected both, and codes of 0 or more")
    by_atom = codes.tocsc()
    atom = np.repeat(np.arange(codes.shape[1]), np.diff(by_atom.indptr))
    order = np.lexsort((by_atom.data, atom))
    value = by_atom.data[order]
    first = np.flatnonzero(np.r_[True, (np.diff(atom) != 0) | (np.diff(value) != 0)][: len(value)])
    sizes = np.diff(np.r_[first, len(value)])
    # Ranks from 1 within the atom; equal codes share the mean of theirs.
    rank = np.repeat(first + (sizes + 1) / 2, sizes) - by_atom.indptr[atom]
    own = labels[by_atom.indices[order]] == TRUE
    sums = np.bincount(atom[own], rank[own], minlength=codes.shape[1])
    won = sums - true_on * (true_on + 1) / 2
    over_silent = (true_on + (true - true_on) / 2) * (false - false_on)
    return (won + over_silent) / (int(true) * int(false)), _ratio(won, true_on * false_on, np.nan)


def _sparse(values: csr_matrix | np.ndarray) -> csr_matrix:
    """Return (calls, atoms) without stored zeros."""
    matrix = csr_matrix(values)
    if not matrix.data.all():
        matrix = matrix.copy()
        matrix.eliminate_zeros()
    return matrix


def _ratio(above: np.ndarray, below: np.ndarray, otherwise: float) -> np.ndarray:
    """Divide, and give `otherwise` where the divisor is 0."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, where=below != 0, out=np.full(below.shape, otherwise, np.float64))
