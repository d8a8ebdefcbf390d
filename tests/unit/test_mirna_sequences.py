"""Codes, strands, and shuffles that keep every pair of neighbors."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from consilience.domains.mirna.sequences import (
    PADDING,
    decode,
    dinucleotide_shuffle,
    encode,
    normalized,
    reverse_complement,
)
from consilience.errors import ConsilienceError
from tests.unit.mirna_examples import neighbors, partner


def test_codes_know_rna_and_dna_in_any_case():
    codes = encode(["ACGTUN", "acgtun", "GA"])
    assert codes.dtype == np.int8
    assert codes.tolist() == [[0, 1, 2, 3, 3, 4]] * 2 + [[2, 0] + [PADDING] * 4]
    assert encode([]).shape == (0, 0)
    assert encode(["", ""]).shape == (2, 0)


@pytest.mark.parametrize("letter", ["X", "-", " ", "É", "*", "\n"])
def test_other_letters_are_refused(letter):
    with pytest.raises(ConsilienceError, match=r"^sequence 2 \(counted from 0\) holds .* expected A, C, G, T, U or N$"):
        encode(["ACGT", "", f"AC{letter}GT", "ACGT"])


@given(sequences=st.lists(st.text("ACGTUNacgtun", max_size=12), min_size=1, max_size=5))
def test_decoding_gives_the_normalized_sequence(sequences):
    assert [decode(row) for row in encode(sequences)] == [normalized(sequence) for sequence in sequences]
    assert all(set(normalized(sequence)) <= set("ACGTN") for sequence in sequences)


@given(sequence=st.text("ACGTN", max_size=20))
def test_the_reverse_complement_pairs_letter_by_letter(sequence):
    assert reverse_complement(sequence) == partner(sequence)
    assert reverse_complement(reverse_complement(sequence)) == sequence


def test_the_seed_of_let_7_finds_its_match():
    assert reverse_complement(normalized("GAGGUAG")) == "CTACCTC"


@given(sequence=st.text("ACGTN", max_size=40), seed=st.integers(0, 2**32))
def test_a_shuffle_keeps_every_pair_of_neighbors_and_both_ends(sequence, seed):
    shuffled = dinucleotide_shuffle(sequence, np.random.default_rng(seed))
    assert neighbors(shuffled) == neighbors(sequence)
    assert Counter(shuffled) == Counter(sequence)
    assert (shuffled[:1], shuffled[-1:]) == (sequence[:1], sequence[-1:])


@pytest.mark.parametrize("sequence", ["", "A", "N", "AC", "AA", "AAAAAAA", "NNNN", "ACACACA", "ACGT"])
def test_what_has_one_order_alone_stays(sequence):
    assert dinucleotide_shuffle(sequence, np.random.default_rng(0)) == sequence


@pytest.mark.parametrize("sequence", ["ACAGATA", "ACGCATCA", "AACAGAC", "AANACNA", "TACCATTGTA"])
def test_every_possible_shuffle_is_as_likely(sequence):
    possible = {"".join(letters) for letters in permutations(sequence)}
    possible = sorted(
        other
        for other in possible
        if neighbors(other) == neighbors(sequence) and (other[0], other[-1]) == (sequence[0], sequence[-1])
    )
    assert len(possible) > 2
    random = np.random.default_rng(5)
    found = Counter(dinucleotide_shuffle(sequence, random) for _ in range(400 * len(possible)))
    assert set(found) == set(possible)
    assert stats.chisquare([found[other] for other in possible]).pvalue > 0.001


def test_one_generator_gives_one_series_of_shuffles():
    sequence = "ACGTTGCAACGGTACCATGC" * 3
    first, again = (
        [dinucleotide_shuffle(sequence, random) for _ in range(5)]
        for random in (np.random.default_rng(3), np.random.default_rng(3))
    )
    assert first == again
    assert len(set(first)) == 5
