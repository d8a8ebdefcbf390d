"""Spectra count canonical k-mers as a loop over the letters does, whichever strand and however much at once."""

from itertools import product

import numpy as np
import pytest

from consilience.domains.variants import spectrum
from consilience.domains.variants.spectrum import kmers, spectra
from tests.unit.variants_examples import drawn_sequence, partner

KNOWN = {3: 32, 4: 136, 5: 512, 6: 2080}


def slow_spectrum(sequence, k):
    """Shares by canonical k-mer, letter by letter; empty where there is no k-mer."""
    sequence, counts = sequence.upper().replace("U", "T"), {}
    for start in range(len(sequence) - k + 1):
        word = sequence[start : start + k]
        if set(word) <= set("ACGT"):
            first = min(word, partner(word))
            counts[first] = counts.get(first, 0) + 1
    return {word: count / sum(counts.values()) for word, count in counts.items()}


def drawn_sequences(seed=0, count=40):
    random = np.random.default_rng(seed)
    letters = ["ACGT", "ACGTN", "acgtACGTRN", "ACGU", "A", "AT", "N"]
    return [
        "",
        "A",
        *(drawn_sequence(random, random.integers(0, 60), letters[row % len(letters)]) for row in range(count)),
    ]


@pytest.mark.parametrize(("k", "count"), KNOWN.items())
def test_canonical_kmers_are_the_first_of_both_strands_in_order(k, count):
    words = map("".join, product("ACGT", repeat=k))
    assert list(kmers(k)) == sorted({min(word, partner(word)) for word in words})
    assert len(kmers(k)) == count


@pytest.mark.parametrize("k", KNOWN)
def test_shares_are_those_of_a_loop(k):
    sequences = drawn_sequences(k)
    shares, empty = spectra(sequences, k)
    assert shares.dtype == np.float32
    for sequence, row, none in zip(sequences, shares, empty, strict=True):
        expected = slow_spectrum(sequence, k)
        np.testing.assert_array_equal(row, np.asarray([expected.get(word, 0) for word in kmers(k)], np.float32))
        assert none == (not expected)
    assert 0 < empty.sum() < len(sequences)


def test_the_other_strand_has_the_same_spectrum():
    sequences = [sequence.upper().replace("U", "T").replace("R", "N") for sequence in drawn_sequences(3)]
    ours, theirs = (spectra(strands, 4)[0] for strands in (sequences, [partner(one) for one in sequences]))
    np.testing.assert_array_equal(ours, theirs)


def test_no_kmer_spans_a_break_or_two_sequences():
    words = set(np.asarray(kmers(4))[spectra(["ACGTNTTTTTNCCC"], 4)[0][0] > 0])
    assert words == {"ACGT", "AAAA"}
    together, alone = spectra(["AAC", "GTT", "ACGTA"], 4), spectra(["ACGTA"], 4)
    assert together[1].tolist() == [True, True, False]
    np.testing.assert_array_equal(together[0][2], alone[0][0])


@pytest.mark.parametrize("bases", [1, 7, 64])
def test_how_much_is_counted_at_once_changes_nothing(monkeypatch, bases):
    sequences = [*drawn_sequences(5), drawn_sequence(np.random.default_rng(1), 500), ""]
    expected = spectra(sequences, 4)
    monkeypatch.setattr(spectrum, "BASES", bases)
    for one, other in zip(spectra(sequences, 4), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_sequences_have_no_spectra():
    shares, empty = spectra([], 4)
    assert (shares.shape, empty.shape) == ((0, 136), (0,))
