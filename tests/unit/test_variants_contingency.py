"""Tables and tests of all atoms at once, against scipy, statsmodels, scikit-learn and whole numbers, one by one."""

from decimal import Decimal, localcontext
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.stats import chi2, chi2_contingency, fisher_exact
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import StratifiedTable, Table2x2

from consilience.domains.variants.contingency import (
    FALSE,
    TRUE,
    Tables,
    auroc,
    chi_square,
    fisher,
    least_expected,
    mantel_haenszel,
    odds_ratio,
    tables,
)
from consilience.errors import ConsilienceError


def of_cells(cells):
    """Tables (1, 2, atoms) of cells (atoms, 4), a b c d, whose atoms share a + c and b + d."""
    a, b, c, d = np.asarray(cells).T
    assert len({*(a + c)}) == len({*(b + d)}) == 1
    return Tables(np.stack([b, a])[None], np.array([[b[0] + d[0], a[0] + c[0]]]))


def drawn(random, false, true, atoms):
    """Cells (atoms, 4) with any number of calls on."""
    b, a = random.integers(false + 1, size=atoms), random.integers(true + 1, size=atoms)
    return np.stack([a, b, true - a, false - b], axis=1)


def square(cells):
    a, b, c, d = (int(cell) for cell in cells)
    return np.array([[a, b], [c, d]])


def stratified(random, strata, atoms, most=40, ratio=1.0):
    """Tables whose atoms true calls have on `ratio` times as often, in odds; the last stratum lacks false calls."""
    totals = random.integers(2, most, size=(strata, 2))
    totals[-1, FALSE] = 0
    share = random.uniform(0.1, 0.6, size=(strata, atoms))
    odds = share / (1 - share) * ratio
    on = [random.binomial(totals[:, [0]], share), random.binomial(totals[:, [1]], odds / (1 + odds))]
    return Tables(np.stack(on, axis=1), totals)


def informed_strata(counts, atom):
    """The 2 x 2 x strata array of statsmodels, without strata whose margins are empty."""
    squares = [square([cell[stratum, atom] for cell in counts.cells]) for stratum in range(len(counts.totals))]
    kept = [one for one in squares if one.sum(axis=0).all() and one.sum(axis=1).all()]
    return np.dstack(kept).astype(float)


def exact_p(cells):
    """Fisher's p as the ratio of whole numbers."""
    a, b, c, d = (int(cell) for cell in cells)
    true, false, support = a + c, b + d, a + b
    ways = [comb(true, x) * comb(false, support - x) for x in range(max(0, support - false), min(support, true) + 1)]
    own = comb(true, a) * comb(false, b)
    return float(Fraction(sum(way for way in ways if way <= own), sum(ways)))


def drawn_codes(random, calls=300, atoms=12, levels=6):
    """Sparse codes with many ties, (calls, atoms) float32, and labels."""
    values = random.integers(levels, size=(calls, atoms)) * (random.random((calls, atoms)) < 0.3) / levels
    return values.astype(np.float32), random.integers(2, size=calls)


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix])
def test_counts_are_those_of_a_loop_over_strata_classes_and_atoms(kind):
    random = np.random.default_rng(0)
    codes, labels = drawn_codes(random)
    strata = random.choice([0, 1, 4], size=len(labels))
    counts = tables(kind(codes), labels, strata)
    assert counts.on.shape == (5, 2, codes.shape[1])
    for stratum, label in np.ndindex(5, 2):
        own = codes[(strata == stratum) & (labels == label)]
        assert counts.totals[stratum, label] == len(own)
        assert counts.on[stratum, label].tolist() == (own > 0).sum(axis=0).tolist()
    assert counts.pooled.on.tolist() == tables(codes > 0, labels).on.tolist()


def test_a_stored_zero_is_off():
    stored = csr_matrix((np.array([0.0, 2.0, 3.0]), np.array([0, 1, 0]), np.array([0, 2, 3])), (2, 2))
    assert tables(stored, [0, 1]).on.tolist() == [[[0, 1], [1, 0]]]
    assert stored.nnz == 3


@pytest.mark.parametrize("sizes", [(9, 14), (300, 500), (30_000, 50_000)])
def test_chi_square_is_that_of_scipy(sizes):
    cells = drawn(np.random.default_rng(1), *sizes, 30)
    statistic, p = chi_square(of_cells(cells))
    for atom, own in enumerate(cells):
        if (own[0] + own[1]) and (own[2] + own[3]):
            theirs = chi2_contingency(square(own), correction=False)
            assert statistic[atom] == pytest.approx(theirs.statistic, rel=1e-10, abs=1e-10)
            assert p[atom] == pytest.approx(theirs.pvalue, rel=1e-10, abs=0)


def test_a_tiny_p_keeps_its_digits():
    cells = [[1200, 300, 800, 1700], [2000, 1100, 0, 900]]
    p = chi_square(of_cells(cells))[1]
    assert p == pytest.approx(
        [chi2_contingency(square(own), correction=False).pvalue for own in cells], rel=1e-10, abs=0
    )
    exact = fisher(of_cells(cells))
    assert exact == pytest.approx([exact_p(own) for own in cells], rel=1e-10, abs=0)
    assert (p < 1e-150).all() and (exact < 1e-150).all()


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 40), st.integers(0, 40), st.data())
def test_fisher_is_that_of_whole_numbers_for_any_table(false, true, data):
    cells = [(a, b, true - a, false - b) for a, b in data.draw(
        st.lists(st.tuples(st.integers(0, true), st.integers(0, false)), min_size=1, max_size=5)
    )]  # fmt: skip
    assert fisher(of_cells(cells)) == pytest.approx([exact_p(own) for own in cells], rel=1e-12, abs=0)


@pytest.mark.parametrize("sizes", [(12, 12), (5, 900), (700, 500)])
def test_fisher_is_that_of_scipy(sizes):
    cells = drawn(np.random.default_rng(2), *sizes, 40)
    theirs = [fisher_exact(square(own)).pvalue for own in cells]
    assert fisher(of_cells(cells)) == pytest.approx(theirs, rel=1e-10, abs=0)
    chosen = np.array([31, 4])
    assert fisher(of_cells(cells), chosen) == pytest.approx(np.array(theirs)[chosen], rel=1e-10, abs=0)


def test_fisher_does_not_depend_on_which_atoms_share_a_block(monkeypatch):
    counts = of_cells(drawn(np.random.default_rng(3), 60, 90, 50))
    whole = fisher(counts)
    monkeypatch.setattr("consilience.domains.variants.contingency.CELLS", 100)
    assert fisher(counts) == pytest.approx(whole, rel=1e-14, abs=0)


def test_the_least_expected_count_is_that_of_scipy():
    cells = drawn(np.random.default_rng(4), 20, 35, 20) + 1
    theirs = [chi2_contingency(square(own)).expected_freq.min() for own in cells]
    assert least_expected(of_cells(cells)) == pytest.approx(theirs, rel=1e-12, abs=0)


def test_odds_ratios_are_those_of_statsmodels_with_half_a_call_more():
    cells = np.append(drawn(np.random.default_rng(5), 30, 45, 20), [[7, 0, 38, 30], [45, 29, 0, 1]], axis=0)
    odds = odds_ratio(of_cells(cells))
    for atom, own in enumerate(cells):
        theirs = Table2x2(square(own) + 0.5)
        assert odds.ratio[atom] == pytest.approx(theirs.oddsratio, rel=1e-10, abs=0)
        assert odds.logarithm[atom] == pytest.approx(theirs.log_oddsratio, rel=1e-10, abs=1e-12)
        assert odds.error[atom] == pytest.approx(theirs.log_oddsratio_se, rel=1e-10, abs=0)
        assert (odds.low[atom], odds.high[atom]) == pytest.approx(theirs.oddsratio_confint(), rel=1e-10, abs=0)


@pytest.mark.parametrize(("strata", "ratio"), [(2, 3.0), (5, 0.4), (25, 1.5)])
def test_stratified_tests_are_those_of_statsmodels_without_empty_strata(strata, ratio):
    counts = stratified(np.random.default_rng(strata), strata + 1, 25, ratio=ratio)
    found = mantel_haenszel(counts)
    for atom in range(25):
        cubes = informed_strata(counts, atom)
        theirs = StratifiedTable(cubes)
        assert found.strata[atom] == cubes.shape[2] <= strata
        assert found.statistic[atom] == pytest.approx(theirs.test_null_odds().statistic, rel=1e-10, abs=1e-12)
        assert found.p[atom] == pytest.approx(chi2.sf(theirs.test_null_odds().statistic, 1), rel=1e-9, abs=0)
        assert found.odds.ratio[atom] == pytest.approx(theirs.oddsratio_pooled, rel=1e-10, abs=0)
        assert found.odds.error[atom] == pytest.approx(theirs.logodds_pooled_se, rel=1e-10, abs=0)
        ends = theirs.oddsratio_pooled_confint()
        assert (found.odds.low[atom], found.odds.high[atom]) == pytest.approx(ends, rel=1e-10, abs=0)
        if cubes.shape[2] > 1:
            alike = theirs.test_equal_odds()
            assert found.homogeneity[atom] == pytest.approx(alike.statistic, rel=1e-8, abs=1e-9)
            assert found.homogeneity_p[atom] == pytest.approx(alike.pvalue, rel=1e-8, abs=1e-10)
        else:
            assert np.isnan(found.homogeneity_p[atom])


def exact_homogeneity(cells):
    """Breslow and Day's statistic of tables (strata, 4) in numbers of 60 digits."""
    with localcontext(prec=60):
        cells = [[Decimal(int(cell)) for cell in own] for own in cells]
        ratio = sum(a * d / (a + b + c + d) for a, b, c, d in cells) / sum(
            b * c / (a + b + c + d) for a, b, c, d in cells
        )
        total = Decimal(0)
        for a, b, c, d in cells:
            square, line = 1 - ratio, ratio * (2 * a + b + c) + d - a
            root = (line**2 + 4 * square * ratio * (a + b) * (a + c)).sqrt()
            expected = (root - line) / (2 * square)
            others = (expected, a + b - expected, a + c - expected, d - a + expected)
            total += (a - expected) ** 2 * sum(1 / other for other in others)
        return float(total)


@pytest.mark.parametrize(
    "cells",
    [
        [[1, 5000, 4000, 3], [2, 7000, 9000, 1]],
        [[600, 1, 2, 700], [400, 3, 1, 900]],
        [[5000, 5001, 5001, 5002], [700, 701, 699, 700]],
        [[1, 50000, 40000, 1], [30, 10, 10, 0], [9, 4, 4, 0]],
    ],
)
def test_homogeneity_keeps_its_digits_where_ratios_are_extreme_or_near_one(cells):
    a, b, c, d = np.array(cells).T
    counts = Tables(np.stack([b, a], axis=1)[:, :, None], np.stack([b + d, a + c], axis=1))
    assert mantel_haenszel(counts).homogeneity[0] == pytest.approx(exact_homogeneity(cells), rel=1e-9, abs=1e-10)


def test_one_stratum_says_what_the_pooled_table_says():
    cells = drawn(np.random.default_rng(6), 40, 60, 20) + 1
    counts = of_cells(cells)
    found, n = mantel_haenszel(counts), cells[0].sum()
    assert found.statistic * n / (n - 1) == pytest.approx(chi_square(counts)[0], rel=1e-12, abs=0)
    a, b, c, d = cells.T
    assert found.odds.ratio == pytest.approx(a * d / (b * c), rel=1e-12, abs=0)
    assert np.isnan(found.homogeneity_p).all()


def test_strata_of_one_common_ratio_of_one_are_alike():
    counts = Tables(np.array([[[5], [10]], [[9], [3]]]), np.array([[10, 20], [27, 9]]))
    found = mantel_haenszel(counts)
    assert found.odds.ratio[0] == found.p[0] == 1
    assert found.homogeneity[0] == pytest.approx(0, abs=1e-20)


def test_strata_that_disagree_are_told_apart():
    counts = Tables(np.array([[[10], [40]], [[40], [10]]]), np.array([[50, 50], [50, 50]]))
    found = mantel_haenszel(counts)
    assert found.p[0] == pytest.approx(1)
    assert found.homogeneity_p[0] < 1e-15


def test_atoms_that_are_always_or_never_on_say_nothing():
    counts = Tables(np.array([[[0, 4], [0, 6]], [[0, 3], [0, 9]]]), np.array([[4, 6], [3, 9]]))
    found = mantel_haenszel(counts)
    odds = odds_ratio(counts)
    assert [odds.ratio.tolist(), odds.low.tolist(), odds.high.tolist()] == [[1, 1], [0, 0], [np.inf, np.inf]]
    for unknown in (found.odds.ratio, found.odds.low, found.odds.high, found.homogeneity_p):
        assert np.isnan(unknown).all()
    for p in (chi_square(counts)[1], fisher(counts), found.p):
        assert p.tolist() == [1, 1]
    assert found.strata.tolist() == [0, 0]


def test_an_atom_of_one_class_only_has_an_infinite_ratio_within_strata_and_an_open_interval():
    counts = Tables(np.array([[[0, 20], [9, 0]], [[0, 11], [8, 0]]]), np.array([[20, 20], [20, 20]]))
    found = mantel_haenszel(counts)
    assert found.odds.ratio.tolist() == [np.inf, 0]
    assert found.odds.low.tolist() == [0, 0] and found.odds.high.tolist() == [np.inf, np.inf]
    assert (found.p < 1e-5).all() and found.homogeneity_p.tolist() == [1, 1]


def test_exchanging_the_classes_turns_the_ratio_over_and_keeps_the_tests():
    counts = stratified(np.random.default_rng(7), 6, 30, ratio=2.0)
    turned = Tables(counts.on[:, ::-1], counts.totals[:, ::-1])
    assert odds_ratio(turned).logarithm == pytest.approx(-odds_ratio(counts).logarithm, rel=1e-12, abs=1e-14)
    mine, other = mantel_haenszel(counts), mantel_haenszel(turned)
    assert other.odds.logarithm == pytest.approx(-mine.odds.logarithm, rel=1e-11, abs=1e-13)
    assert other.homogeneity == pytest.approx(mine.homogeneity, rel=1e-9, abs=0)
    for test in (chi_square, lambda own: (0, fisher(own)), lambda own: (0, mantel_haenszel(own).p)):
        assert test(turned)[1] == pytest.approx(test(counts)[1], rel=1e-11, abs=0)


def test_the_area_under_the_curve_is_that_of_scikit_learn_ties_and_all():
    codes, labels = drawn_codes(np.random.default_rng(8))
    codes[:, 0], codes[:, 1] = 0, 1
    everywhere, active = auroc(csr_matrix(codes), labels)
    assert everywhere[:2].tolist() == [0.5, 0.5]
    for atom, own in enumerate(codes.T):
        on = own > 0
        assert everywhere[atom] == pytest.approx(roc_auc_score(labels, own), rel=1e-12, abs=0)
        if on.any():
            assert active[atom] == pytest.approx(roc_auc_score(labels[on], own[on]), rel=1e-12, abs=0)
    assert np.isnan(active[0])


def test_an_atom_that_one_class_alone_has_on_ranks_it_first_but_not_within():
    everywhere, active = auroc(np.array([[0.0], [0.3], [0.0], [0.7]]), np.array([0, 1, 0, 1]))
    assert everywhere[0] == 1 and np.isnan(active[0])


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (lambda: tables(np.eye(3), [0, 1]), "tables: 3 calls with codes, 2 labels and 2 strata"),
        (lambda: tables(np.eye(3), [0, 1, 2]), "tables: label 2; expected 0 or 1"),
        (lambda: auroc(np.eye(3), [1, 1, 1]), "auroc: 3 true and 0 false calls; expected both, and codes of 0 or more"),
        (lambda: auroc(-np.eye(2), [1, 0]), "auroc: 1 true and 1 false calls; expected both, and codes of 0 or more"),
    ],
)
def test_what_cannot_be_counted_is_refused(work, told):
    with pytest.raises(ConsilienceError) as refused:
        work()
    assert str(refused.value) == told


def test_true_calls_have_the_second_place():
    counts = tables(np.array([[1.0], [1.0], [0.0]]), [1, 1, 0])
    assert counts.on[0, TRUE, 0] == 2 and counts.on[0, FALSE, 0] == 0
    assert odds_ratio(counts).ratio[0] > 1
