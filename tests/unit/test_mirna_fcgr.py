"""Images of k-mers against chaos games that are walked step by step, and the way back to k-mers and positions."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.domains.mirna.fcgr import counts, frequencies, kmers, pixels, positions
from consilience.domains.mirna.sequences import encode
from tests.unit.mirna_examples import counted, drawn_sequence, image_of, valid_kmers, walked

SIZES = [3, 4, 5, 6]
LETTERS = st.text("ACGTUNacgtun", max_size=30)


@pytest.mark.parametrize("k", SIZES)
def test_the_corners_are_where_they_are_documented(k):
    side = 2**k - 1
    names = kmers(k)
    assert [names[0, 0], names[0, side], names[side, side], names[side, 0]] == ["A" * k, "C" * k, "G" * k, "T" * k]
    for letter, (row, column) in {"A": (0, 0), "C": (0, side), "G": (side, side), "T": (side, 0)}.items():
        assert np.argwhere(counts(encode([letter * k]), k)[0]).tolist() == [[row, column]]


def test_the_last_nucleotide_decides_the_quadrant():
    names = kmers(4)
    assert {name[-1] for name in names[:8, :8].ravel()} == {"A"}
    assert {name[-1] for name in names[:8, 8:].ravel()} == {"C"}
    assert {name[-1] for name in names[8:, 8:].ravel()} == {"G"}
    assert {name[-1] for name in names[8:, :8].ravel()} == {"T"}


@pytest.mark.parametrize("k", SIZES)
def test_every_kmer_has_its_own_pixel_and_every_pixel_its_kmer(k):
    names = kmers(k)
    assert names.shape == (2**k, 2**k)
    every = ["".join(letters) for letters in product("ACGT", repeat=k)]
    places = [walked(kmer) for kmer in every]
    assert len(set(places)) == 4**k
    assert [names[place] for place in places] == every
    found = pixels(encode(every), k)
    assert found.shape == (4**k, 1)
    assert found[:, 0].tolist() == [row * 2**k + column for row, column in places]


@pytest.mark.parametrize("k", SIZES)
def test_images_are_those_of_a_walk(k):
    random = np.random.default_rng(k)
    lengths = [k, k + 1, 22, 50, 50, 37, 120]
    sequences = [
        drawn_sequence(random, length, "ACGTN" if number % 2 else "ACGT") for number, length in enumerate(lengths)
    ]
    sequences = [sequence if valid_kmers(sequence, k) else "ACGTAC" + sequence for sequence in sequences]
    found, shares = counts(encode(sequences), k), frequencies(encode(sequences), k)
    assert shares.dtype == np.float32
    for sequence, own, image in zip(sequences, found, shares, strict=True):
        np.testing.assert_array_equal(own, counted(sequence, k))
        np.testing.assert_array_equal(image, image_of(sequence, k))


@pytest.mark.parametrize("k", SIZES)
def test_a_long_walk_ends_where_its_last_kmer_does(k):
    sequence = drawn_sequence(np.random.default_rng(9), 40)
    x = y = 0.5
    corners = {"A": (0, 0), "C": (1, 0), "G": (1, 1), "T": (0, 1)}
    found = pixels(encode([sequence]), k)[0]
    for place, letter in enumerate(sequence):
        x, y = (x + corners[letter][0]) / 2, (y + corners[letter][1]) / 2
        if place >= k - 1:
            assert found[place - k + 1] == int(y * 2**k) * 2**k + int(x * 2**k)


@given(sequences=st.lists(LETTERS, min_size=1, max_size=5), k=st.sampled_from(SIZES))
def test_sequences_of_any_letters_and_lengths(sequences, k):
    found, shares = counts(encode(sequences), k), frequencies(encode(sequences), k)
    names = kmers(k)
    for sequence, own, image in zip(sequences, found, shares, strict=True):
        plain = sequence.upper().replace("U", "T")
        windows = [kmer for _, kmer in valid_kmers(plain, k)]
        rows, columns = np.nonzero(own)
        assert sorted(np.repeat(names[rows, columns], own[rows, columns])) == sorted(windows)
        assert image.sum(dtype=np.float64) == pytest.approx(1 if windows else 0, abs=1e-6)
        np.testing.assert_array_equal(image > 0, own > 0)


@given(sequences=st.lists(LETTERS, min_size=2, max_size=5), k=st.sampled_from(SIZES))
def test_company_changes_no_image(sequences, k):
    together = frequencies(encode(sequences), k)
    for sequence, image in zip(sequences, together, strict=True):
        np.testing.assert_array_equal(frequencies(encode([sequence]), k)[0], image)


@given(sequence=LETTERS, k=st.sampled_from(SIZES))
def test_pixels_stand_in_the_order_of_the_sequence(sequence, k):
    plain = sequence.upper().replace("U", "T")
    found = pixels(encode([sequence]), k)[0]
    names = kmers(k).ravel()
    assert len(found) == max(0, len(sequence) - k + 1)
    assert [names[pixel] for pixel in found if pixel >= 0] == [kmer for _, kmer in valid_kmers(plain, k)]
    assert np.flatnonzero(found >= 0).tolist() == [start for start, _ in valid_kmers(plain, k)]


def test_short_sequences_beside_long_ones_end_where_they_end():
    found = pixels(encode(["ACGTACGT", "ACG", "AC", ""]), 3)
    assert (found >= 0).sum(axis=1).tolist() == [6, 1, 0, 0]
    shares = frequencies(encode(["ACGTACGT", "ACG", "AC", ""]), 3)
    assert shares.sum(axis=(1, 2)).tolist() == pytest.approx([1, 1, 0, 0])


def test_a_kmer_with_n_counts_neither_above_nor_below_the_line():
    (image,) = frequencies(encode(["ACGNACGA"]), 3)
    names = kmers(3)
    shares = {names[place]: float(image[place]) for place in map(tuple, np.argwhere(image))}
    assert shares == pytest.approx({"ACG": 2 / 3, "CGA": 1 / 3})


def test_positions_are_counted_from_the_start():
    assert positions("TTGACTTGAC", "TGAC").tolist() == [2, 7]
    assert positions("AAAAA", "AAA").tolist() == [1, 2, 3]
    assert positions("uugacNugac", "ugac").tolist() == [2, 7]
    assert positions("ACGT", "TTT").tolist() == []
    assert positions("AC", "ACG").tolist() == []
    assert positions("ACGNACG", "GNA").tolist() == [], "N is no nucleotide that could be found"


@given(sequence=st.text("ACGT", min_size=3, max_size=40), data=st.data())
def test_positions_are_found_where_the_text_is(sequence, data):
    k = data.draw(st.integers(3, min(6, len(sequence))))
    start = data.draw(st.integers(0, len(sequence) - k))
    kmer = sequence[start : start + k]
    expected = [place + 1 for place in range(len(sequence)) if sequence.startswith(kmer, place)]
    assert positions(sequence, kmer).tolist() == expected
