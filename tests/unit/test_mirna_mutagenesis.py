"""In-silico mutagenesis against loops over texts, letter by letter."""

import numpy as np
import pandas as pd
import pytest
import torch

from consilience.domains.mirna.mutagenesis import (
    complementary,
    interactions,
    mutated,
    position_effects,
    scaled_images,
    sequences_of,
    side_and_k,
    spread_over_kmers,
    substitutions,
)
from consilience.domains.mirna.sequences import PADDING, decode, encode
from consilience.errors import ConsilienceError
from tests.unit.attribution_examples import drawn
from tests.unit.mirna_examples import (
    BRANCHES,
    DOUBLE,
    PAIRS,
    TINY,
    Product,
    Sum,
    batch_of_pairs,
    drawn_sequence,
    inputs_of,
    log_odds,
    network,
    partner,
    replaced,
    slow_effects,
    slowly_spread,
)

K = 3


@pytest.fixture(scope="module")
def modules():
    return [network(K, seed, DOUBLE, **TINY) for seed in (0, 1)]


@pytest.mark.parametrize("internal_batch", [7, 500])
def test_position_effects_are_mean_falls(modules, internal_batch):
    batch = batch_of_pairs(modules)
    found = position_effects(batch, internal_batch)
    for branch, effects in enumerate(found):
        assert effects.shape == (2, 1, len(PAIRS), max(len(pair[branch]) for pair in PAIRS))
        for member, module in enumerate(modules):
            for sample, pair in enumerate(PAIRS):
                expected = slow_effects(module, pair, branch, K)
                own = effects[member, 0, sample]
                assert torch.isnan(own[len(expected) :]).all(), "beyond the sequence's end"
                for value, fall in zip(own[: len(expected)], expected, strict=True):
                    assert torch.isnan(value) if fall is None else float(value) == pytest.approx(fall, abs=1e-6)
    assert max(float(effects.nan_to_num().abs().max()) for effects in found) > 0.01


def test_substitutions_are_every_other_letter_at_every_place():
    codes = encode(["ACNG", "ACGTACGT"])[0]
    mutants, places = substitutions(codes)
    expected = {
        (place, replaced("ACNG", place, other))
        for place, letter in enumerate("ACNG")
        if letter != "N"
        for other in "ACGT"
        if other != letter
    }
    assert {(int(place), decode(mutant)) for place, mutant in zip(places, mutants, strict=True)} == expected
    assert len(mutants) == 9
    assert (mutants[:, 4:] == PADDING).all()
    assert places.tolist() == [0, 0, 0, 1, 1, 1, 3, 3, 3]


@pytest.mark.parametrize("k", [3, 4, 6])
def test_effects_are_divided_over_the_kmers_that_cover_them(k):
    sequences = ["ACGTTGCANGGATCAGG", "ACACACACACACAC", "GGGNACGTACGT"]
    codes = encode(sequences)
    effects = drawn(1, 2, 2, 3, codes.shape[1], dtype=DOUBLE)
    effects[..., torch.as_tensor(codes > 3)[None, None].expand(2, 2, -1, -1)[0, 0]] = torch.nan
    found = spread_over_kmers(effects, codes, k)
    assert found.shape == (2, 2, 3, 2**k, 2**k)
    for member, target, sample in np.ndindex(2, 2, 3):
        own = effects[member, target, sample]
        clean = torch.where(torch.isnan(own), 0, own)
        expected = slowly_spread(clean, sequences[sample], k)
        np.testing.assert_allclose(found[member, target, sample], expected, atol=1e-12)
    # Nothing is lost where every letter is in some k-mer.
    torch.testing.assert_close(found[:, :, 1].sum(dim=(-2, -1)), effects[:, :, 1, :14].sum(dim=-1))


def test_what_no_kmer_covers_is_lost():
    codes = encode(["ACGNAGNACG", "NNNNNNNNNN"])
    found = spread_over_kmers(torch.ones(1, 1, 2, 10, dtype=DOUBLE), codes, 3)
    assert found[0, 0].sum(dim=(-2, -1)).tolist() == pytest.approx([6, 0])


def test_images_are_scaled_like_the_inputs(modules):
    batch = batch_of_pairs(modules)
    for branch, codes in enumerate(sequences_of(batch)):
        torch.testing.assert_close(scaled_images(batch, branch, codes), batch.inputs[branch], rtol=0, atol=1e-6)
    assert side_and_k(batch) == K


@pytest.mark.parametrize("about", [None, pd.DataFrame({"mirna": ["ACGT"] * 3}), pd.DataFrame({"id": ["a", "b", "c"]})])
def test_samples_without_sequences_are_one_line(modules, about):
    batch = batch_of_pairs(modules, about=about)
    with pytest.raises(ConsilienceError, match=r"^this method reads sequences; give them as `about`, .* mirna, site$"):
        sequences_of(batch)
    with pytest.raises(ConsilienceError, match="^this method reads sequences"):
        sequences_of(batch_of_pairs(modules, scaled=None))


def test_mutated_replaces_with_the_rate_by_any_other_letter():
    random = np.random.default_rng(0)
    codes = encode(["ACGTN" * 2000, "A" * 10010])[0]
    copy = mutated(codes, 0.3, random)
    assert copy.dtype == np.int8
    assert (codes == encode(["ACGTN" * 2000, "A" * 10010])[0]).all(), "the sequence itself stays"
    known = codes < 4
    np.testing.assert_array_equal(copy[~known], codes[~known])
    changed = copy != codes
    assert abs(changed[known].mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 8000)
    for letter in range(4):
        others = np.bincount(copy[changed & (codes == letter)], minlength=4)
        assert others[letter] == 0
        share = np.delete(others, letter) / others.sum()
        assert np.abs(share - 1 / 3).max() < 4 * np.sqrt(2 / 9 / others.sum())
    np.testing.assert_array_equal(mutated(codes, 0.0, random), codes)
    assert (mutated(codes, 1.0, random)[known] != codes[known]).all()


def test_padding_changes_no_mutation():
    short = "ACGTACGGTNACCA"
    alone, padded = encode([short])[0], encode([short, "A" * 40])[0]
    randoms = [np.random.default_rng(4) for _ in range(2)]
    for _ in range(5):
        copies = [decode(mutated(codes, 0.4, random)) for codes, random in zip((alone, padded), randoms, strict=True)]
        assert copies[0] == copies[1]


@pytest.mark.parametrize("width", [1, 3, 6])
def test_windows_are_complementary_where_their_texts_are(width):
    mirna = "TGAGGTAGTAGG"
    for site in ("AAACTACCTCATT", "NACTACNTCA", partner(mirna)):
        found = complementary(*(encode([sequence])[0] for sequence in (mirna, site)), width)
        for row, column in np.ndindex(len(mirna) - width + 1, len(site) - width + 1):
            windows = mirna[row : row + width], site[column : column + width]
            assert found[row, column] == (partner(windows[0]) == windows[1]), windows
        assert found.any() or width == 6
        assert found.shape == (len(mirna) - width + 1, len(site) - width + 1)


@pytest.mark.parametrize("width", [2, 4])
def test_parallel_windows_have_the_same_letters_the_other_way_round(width):
    mirna, site = "TGAGGTAGTNGG", "AAACTCCATCATTACTCC"
    codes = [encode([sequence])[0] for sequence in (mirna, site)]
    found = complementary(*codes, width, parallel=True)
    for row, column in np.ndindex(found.shape):
        windows = mirna[row : row + width], site[column : column + width]
        assert found[row, column] == ("N" not in windows[0] and partner(windows[0])[::-1] == windows[1]), windows
    assert found.any()
    assert (found != complementary(*codes, width)).any()


def test_a_strand_is_complementary_along_the_diagonal():
    codes = [encode([sequence])[0] for sequence in ("TGAGGTAGTAGG", partner("TGAGGTAGTAGG"))]
    np.testing.assert_array_equal(complementary(*codes, 6), np.eye(7, dtype=bool)[::-1])


def test_n_pairs_with_nothing():
    codes = [encode([sequence])[0] for sequence in ("NNNN", "NNNNN")]
    assert not complementary(*codes, 2).any()


def scrambled(sequence, width, random):
    """A copy for every window, its letters replaced; N stays. The letters are drawn as the library draws them."""
    steps = random.integers(1, 4, (len(sequence) - width + 1, width))
    copies = []
    for start, own in enumerate(steps):
        letters = list(sequence)
        for place, step in zip(range(start, start + width), own, strict=True):
            if letters[place] != "N":
                letters[place] = "ACGT"[("ACGT".index(letters[place]) + step) % 4]
        copies.append("".join(letters))
    return copies


def slow_interactions(modules, pair, key, width, draws):
    random, total = np.random.default_rng([key, width]), 0
    for _ in range(draws):
        mirnas, sites = (scrambled(sequence, width, random) for sequence in pair)
        own = np.zeros((len(mirnas), len(sites)))
        for module in modules:
            (neither,) = log_odds(module, [pair], K)
            one = log_odds(module, [(mirna, pair[1]) for mirna in mirnas], K)
            other = log_odds(module, [(pair[0], site) for site in sites], K)
            for row, mirna in enumerate(mirnas):
                both = log_odds(module, [(mirna, site) for site in sites], K)
                own[row] += both - one[row] - other + neither
        total = total + own / len(modules)
    return total / draws


SHORT = [("ACGTNACGTTG", "GGGACGTAC"), ("TTGACCA", "TGGTCAANTGGT")]


@pytest.mark.parametrize("internal_batch", [5, 512])
def test_interactions_are_what_two_windows_say_together(modules, internal_batch):
    found = list(interactions(batch_of_pairs(modules, SHORT), 3, 2, internal_batch))
    assert len(found) == 2
    for own, pair, key in zip(found, SHORT, (7, 8), strict=True):
        expected = slow_interactions(modules, pair, key, 3, 2)
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(own.map, expected, atol=1e-6)
        codes = [encode([sequence])[0] for sequence in pair]
        np.testing.assert_array_equal(own.complementary, complementary(*codes, 3))
        np.testing.assert_array_equal(own.parallel, complementary(*codes, 3, parallel=True))


def test_an_interaction_does_not_depend_on_company(modules):
    together = [own.map for own in interactions(batch_of_pairs(modules, SHORT), 2, 1, 512)]
    for sample in (0, 1):
        (alone,) = interactions(batch_of_pairs(modules, SHORT[sample : sample + 1], keys=[7 + sample]), 2, 1, 512)
        np.testing.assert_allclose(alone.map, together[sample], atol=1e-9)


def test_an_additive_network_has_no_interactions():
    torch.manual_seed(0)
    module = Sum(K)
    assert np.ptp(log_odds(module, SHORT, K)) > 0.05
    for own in interactions(batch_of_pairs([module], SHORT), 3, 2, 512):
        assert np.abs(own.map).max() < 1e-9


def test_a_product_of_two_kmers_interacts_where_both_are():
    random = np.random.default_rng(2)
    kmers = "GAC", "GTC"
    pair = [drawn_sequence(random, 14, "AT") + kmer + drawn_sequence(random, 9, "AT") for kmer in kmers]
    starts = [sequence.index(kmer) for sequence, kmer in zip(pair, kmers, strict=True)]
    width = 2
    (own,) = interactions(batch_of_pairs([Product(kmers)], [tuple(pair)]), width, 1, 512)
    for row, column in np.ndindex(own.map.shape):
        overlaps = all(start - width < place < start + 3 for start, place in zip(starts, (row, column), strict=True))
        if overlaps:
            # Both k-mers go: what is left of the product is 0 in three of four terms.
            shares = [1 / (len(sequence) - 2) for sequence in pair]
            assert own.map[row, column] == pytest.approx(50 * shares[0] * shares[1], rel=1e-4)
        else:
            assert abs(own.map[row, column]) < 1e-7
    assert int((np.abs(own.map) > 1e-7).sum()) == 4 * 4
    assert own.complementary[starts[0], starts[1] + 1], "GA pairs with TC"


def test_branches_are_those_of_the_table():
    assert list(batch_of_pairs([Sum(K)]).about) == list(BRANCHES)
    assert [part.shape[-1] for part in inputs_of(PAIRS, K)] == [8, 8]
