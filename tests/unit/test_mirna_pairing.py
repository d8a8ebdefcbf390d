"""Whether networks hold sequences against each other: the test by strands, against all swaps, and under composition."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from consilience.domains.mirna.fcgr import kmers
from consilience.domains.mirna.mutagenesis import Interactions, complementary, interactions
from consilience.domains.mirna.pairing import centered_strands, p_value, strand_p_value
from consilience.domains.mirna.sequences import encode
from tests.unit.mirna_examples import CENTERS, SCALES, batch_of_pairs, drawn_sequence, partner, walked

PERMUTATIONS = 199


def p_of(found, families, permutations=PERMUTATIONS, seed=0):
    strands = [centered_strands(one.map, one.complementary, one.parallel) for one in found]
    sums, counts = (np.array(part) for part in zip(*strands, strict=True))
    return strand_p_value(sums, counts, np.array(families), permutations, np.random.default_rng(seed))


def test_p_counts_as_large_ones():
    assert p_value(np.array([1.0, 2.0, 3.0, 3.0 - 1e-15]), 3.0) == 3 / 5


def test_sums_are_above_the_mean_of_windows_of_neither_strand():
    random = np.random.default_rng(0)
    values, one, other = random.normal(size=(6, 9)), random.random((6, 9)) < 0.2, random.random((6, 9)) < 0.3
    places = list(np.ndindex(values.shape))
    level = np.mean([values[place] for place in places if not one[place] and not other[place]])
    sums, counts = centered_strands(values, one, other)
    for mask, total, count in zip((one, other), sums, counts, strict=True):
        own = [values[place] for place in places if mask[place]]
        assert (total, count) == (pytest.approx(sum(own) - level * len(own)), len(own))


def test_p_is_that_of_all_swaps_of_whole_families():
    random = np.random.default_rng(1)
    sums, counts = random.normal(0.5, 2, size=(9, 2)), random.integers(0, 5, size=(9, 2))
    sums[counts == 0] = 0
    families = np.array([7, 7, 3, 3, 3, 4, 5, 5, 9])
    differences = []
    for swaps in product([False, True], repeat=5):
        swapped = dict(zip(sorted(set(families)), swaps, strict=True))
        order = [[1, 0] if swapped[family] else [0, 1] for family in families]
        strands = [
            sum(sums[row, own[strand]] for row, own in enumerate(order))
            / sum(counts[row, own[strand]] for row, own in enumerate(order))
            for strand in (0, 1)
        ]
        differences.append(strands[0] - strands[1])
    exact = np.mean(np.array(differences) >= differences[0] - 1e-9)
    found = strand_p_value(sums, counts, families, 20000, np.random.default_rng(0))
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20000) + 1e-4)
    assert 0.03 < exact < 0.97


def test_without_parallel_windows_nothing_is_told():
    assert np.isnan(strand_p_value(np.ones((3, 2)), np.array([[2, 0]] * 3), np.arange(3), 9, np.random.default_rng(0)))


# Composition

WIDTH = 4


def composition_study(random, families=8, pairs=2):
    """F = share of G and C in the miRNA x that in the site: the interaction of two windows is a product of both falls."""
    found, names = [], []
    for family in range(families):
        mirna = drawn_sequence(random, 22)
        for _ in range(pairs):
            codes = [encode([sequence])[0] for sequence in (mirna, drawn_sequence(random, 50))]
            # A window of G and C alone loses 2/3 of them, one of A and T gains as many.
            falls = [
                np.convolve(np.isin(own, (1, 2)) * 4 / 3 - 2 / 3, np.ones(WIDTH), "valid") / len(own) for own in codes
            ]
            masks = (complementary(*codes, WIDTH, parallel=parallel) for parallel in (False, True))
            found.append(Interactions(np.multiply.outer(*falls), *masks))
            names.append(family)
    return found, names


def test_composition_is_more_than_other_windows_but_not_than_parallel_strands():
    others, strands = [], []
    for seed in range(150):
        random = np.random.default_rng(seed)
        found, names = composition_study(random)
        parts = [one.at_complementary(PERMUTATIONS, random) for one in found if one.complementary.any()]
        others.append(p_value(sum(part[1] for part in parts), sum(part[0] for part in parts)))
        strands.append(p_of(found, names, seed=seed))
    assert np.mean(np.array(others) <= 0.05) > 0.8
    assert np.count_nonzero(np.array(strands) <= 0.05) <= stats.binom.ppf(0.995, 150, 0.05)
    assert np.count_nonzero(np.array(strands) <= 0.3) >= stats.binom.ppf(0.005, 150, 0.3)


def test_families_that_are_alike_are_one_witness():
    """Copies of a pair in a family swap with it; each by itself, they would make p small by chance alone."""
    together, apart = [], []
    for seed in range(150):
        found, names = composition_study(np.random.default_rng(seed), families=6, pairs=1)
        copies, of = found * 6, names * 6
        together.append(p_of(copies, of, seed=seed))
        apart.append(p_of(copies, range(len(copies)), seed=seed))
    bound = stats.binom.ppf(0.995, 150, 0.05)
    assert np.count_nonzero(np.array(together) <= 0.05) <= bound < np.count_nonzero(np.array(apart) <= 0.05)


class Pairing(nn.Module):
    """F = how many k-mers of the site pair with how many of the miRNA, on strands against each other, by shares."""

    def __init__(self, k, weight=100.0):
        super().__init__()
        names = kmers(k).ravel()
        self.order = [row * 2**k + column for row, column in (walked(partner(name)) for name in names)]
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))
        self.eval()

    def forward(self, mirna, site):
        shares = [
            (images * scale + center).flatten(1)
            for images, center, scale in zip((mirna, site), CENTERS, SCALES, strict=True)
        ]
        value = self.weight * (shares[0] * shares[1][:, self.order]).sum(dim=1)
        return torch.stack([-value, value], dim=1) / 2


def test_a_network_of_complementary_kmers_holds_strands_against_each_other():
    random, k, texts = np.random.default_rng(5), 4, []
    for _ in range(8):
        mirna, site = drawn_sequence(random, 20), drawn_sequence(random, 36)
        texts.append((mirna, site[:10] + partner(mirna[1:9]) + site[18:]))
    found = list(interactions(batch_of_pairs([Pairing(k)], texts, k=k), k, 2, 512))
    assert sum(int(one.parallel.sum()) for one in found) > 5
    assert p_of(found, range(8)) <= 0.02
    # Of strands that run side by side it is the other way round.
    turned = [Interactions(one.map, one.parallel, one.complementary) for one in found]
    assert p_of(turned, range(8)) > 0.9
