"""Corrections of attributions to images of k-mers do what they say, and what they replace did what is said of it."""

import statistics

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import median_filter, sobel

from consilience.domains.mirna.corrections import filtered, normalized, tangent
from consilience.domains.mirna.fcgr import counts, frequencies, pixels
from consilience.domains.mirna.sequences import encode
from tests.unit.attribution_examples import drawn
from tests.unit.mirna_examples import counted, drawn_sequence, valid_kmers, walked

DOUBLE = torch.float64
SEQUENCES = ["ACGTTGCANGGATCA", "ACACACACAC", "GATTACAGATTACA", "ACGNACGNNTTTT", "ACG"]
SIDE = 8


def attributions(samples, side=SIDE, seed=0):
    """Random attributions of two members and two targets."""
    return drawn(seed, 2, 2, samples, side, side, dtype=DOUBLE)


def test_a_constant_on_all_kmers_changes_no_tangent():
    gradients = attributions(3)
    shifts = drawn(1, 2, 2, 3, 1, 1, dtype=DOUBLE)
    torch.testing.assert_close(tangent(gradients + 100 * shifts), tangent(gradients), rtol=0, atol=1e-11)
    assert tangent(gradients).sum(dim=(-2, -1)).abs().max() < 1e-12
    torch.testing.assert_close(tangent(torch.full((1, 1, 1, 8, 8), 3.0)), torch.zeros(1, 1, 1, 8, 8))


def test_a_tangent_is_the_slope_along_changes_of_one_kmer_for_another():
    gradients = attributions(1)
    before, after = gradients[0, 0, 0], tangent(gradients)[0, 0, 0]
    for one, other in (((0, 0), (7, 7)), ((3, 2), (3, 3))):
        assert after[one] - after[other] == pytest.approx(float(before[one] - before[other]))


def test_a_tangent_keeps_what_images_sum_to():
    ends = [torch.as_tensor(frequencies(encode(part), 3)).double() for part in (SEQUENCES, SEQUENCES[::-1])]
    difference = ends[0] - ends[1]
    gradients = attributions(len(SEQUENCES))
    before, after = ((difference * part).sum(dim=(-2, -1)) for part in (gradients, tangent(gradients)))
    assert before.abs().max() > 0.1
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)


def earlier_tangent(values, image):
    """What the earlier system did (read from its code): Sobel slopes of the image, 1e-8 against division by 0."""
    rows, columns = sobel(image, 0), sobel(image, 1)
    length = np.sqrt(rows**2 + columns**2) + 1e-8
    return (values * rows**2 + values * columns**2) / (length**2 + 1e-8)


def test_the_earlier_tangent_erased_isolated_kmers_and_kept_the_rest():
    """A single k-mer: its own pixel is on the flat top of the image, its empty neighbors are not."""
    image = np.zeros((SIDE, SIDE))
    image[4, 3] = 1 / 17
    values = np.random.default_rng(0).normal(size=(SIDE, SIDE)) + 3
    found = earlier_tangent(values, image)
    assert found[4, 3] == 0
    np.testing.assert_allclose(
        found[3:6, 2:5].ravel()[[0, 1, 2, 3, 5, 6, 7, 8]], np.delete(values[3:6, 2:5], 4), rtol=1e-4
    )
    assert tangent(torch.as_tensor(values)[None, None, None])[0, 0, 0, 4, 3] == pytest.approx(
        values[4, 3] - values.mean()
    )
    # It was no projection: a constant on all k-mers stays where the image has a slope.
    assert earlier_tangent(np.ones((SIDE, SIDE)), image).sum() == pytest.approx(8, rel=1e-3)


def test_normalized_is_per_occurrence():
    given = attributions(len(SEQUENCES))
    found = normalized(given, counts(encode(SEQUENCES), 3))
    for sample, sequence in enumerate(SEQUENCES):
        times = counted(sequence, 3)
        for row, column in np.ndindex(SIDE, SIDE):
            expected = (
                given[:, :, sample, row, column] / times[row, column] if times[row, column] else torch.zeros(2, 2)
            )
            torch.testing.assert_close(found[:, :, sample, row, column], expected.double(), rtol=0, atol=1e-14)
    assert counted("ACACACACAC", 3).max() == 4


def test_the_earlier_normalization_made_much_of_empty_pixels():
    image = frequencies(encode(["ACGTTGCA"]), 3)[0]
    values = np.full((SIDE, SIDE), 0.01)
    earlier = values / (np.abs(image) + 1e-8)
    assert earlier[image == 0].min() == pytest.approx(1e6)
    found = normalized(torch.as_tensor(values)[None, None, None], counts(encode(["ACGTTGCA"]), 3))[0, 0, 0].numpy()
    assert (found[image == 0] == 0).all()
    np.testing.assert_allclose(found[image > 0], 0.01)


def slowly_filtered(values, sequence, k=3):
    """The median of three k-mers side by side, for one map (2^k, 2^k), by plain lists."""
    kmers = dict(valid_kmers(sequence, k))
    times = counted(sequence, k)
    share = {start: float(values[walked(kmer)]) / times[walked(kmer)] for start, kmer in kmers.items()}
    result = np.zeros((2**k, 2**k))
    for start, kmer in kmers.items():
        result[walked(kmer)] += statistics.median(
            [share[near] for near in (start - 1, start, start + 1) if near in share]
        )
    return result


@pytest.mark.parametrize("k", [3, 4])
def test_filtered_is_a_median_along_the_sequence(k):
    sequences = [sequence for sequence in SEQUENCES if len(sequence) >= k and valid_kmers(sequence, k)]
    given = attributions(len(sequences), 2**k)
    found = filtered(given, pixels(encode(sequences), k))
    for member, target, sample in np.ndindex(2, 2, len(sequences)):
        expected = slowly_filtered(given[member, target, sample], sequences[sample], k)
        np.testing.assert_allclose(found[member, target, sample], expected, atol=1e-12)


@given(sequence=st.text("ACGTN", max_size=25), seed=st.integers(0, 100))
def test_filtered_is_a_median_along_any_sequence(sequence, seed):
    # Longer company, that pads the sequence.
    given = attributions(2, seed=seed)
    found = filtered(given, pixels(encode([sequence, "ACGT" * 7]), 3))[0, 1, 0]
    np.testing.assert_allclose(found, slowly_filtered(given[0, 1, 0], sequence), atol=1e-12)


def filtered_along(values, sequence):
    """Filter values given for the k-mers of a sequence in order, all different, and read them in order."""
    places = [walked(kmer) for _, kmer in valid_kmers(sequence, 3)]
    assert len(set(places)) == len(values)
    image = torch.zeros(1, 1, 1, SIDE, SIDE)
    for place, value in zip(places, values, strict=True):
        image[0, 0, 0, place[0], place[1]] = value
    found = filtered(image, pixels(encode([sequence]), 3))[0, 0, 0]
    assert np.count_nonzero(found) <= len(values)
    return [float(found[place]) for place in places]


def test_a_run_of_three_stays_and_a_lone_kmer_goes():
    sequence = "ACGTTGCAGA"
    assert filtered_along([0, 0, 0, 5, 0, 0, 0, 0], sequence) == [0] * 8
    assert filtered_along([0, 0, -5, 0, 5, 0, -5, -5], sequence) == [0, 0, 0, 0, 0, 0, -5, -5]
    assert filtered_along([0, 0, 5, 5, 5, 0, 0, 0], sequence) == [0, 0, 5, 5, 5, 0, 0, 0]
    assert filtered_along([0, 0, -2, -2, -2, 0, 0, 0], sequence) == [0, 0, -2, -2, -2, 0, 0, 0]
    assert filtered_along([0, 0, 4, 7, 5, 0, 0, 0], sequence) == [0, 0, 4, 5, 5, 0, 0, 0]


def test_at_ends_and_beside_n_the_median_is_of_those_there_are():
    assert filtered_along([4, 0, 0, 0, 0, 2], "ACGTTGCA") == [2, 0, 0, 0, 0, 1]
    assert filtered_along([1, 3, 7, 9], "ACGTNTGCA") == [2, 2, 8, 8]
    assert filtered_along([5], "NNACGNN") == [5]


def test_a_kmer_that_repeats_has_its_share_at_each_place():
    # ACA stands twice, CAC once: shares 3, 8, 3 along ACACA, medians 5.5, 3, 5.5.
    image = torch.zeros(1, 1, 1, SIDE, SIDE)
    for kmer, value in (("ACA", 6.0), ("CAC", 8.0)):
        image[0, 0, 0][walked(kmer)] = value
    found = filtered(image, pixels(encode(["ACACA"]), 3))[0, 0, 0]
    assert float(found[walked("ACA")]) == 11
    assert float(found[walked("CAC")]) == 3


def test_the_earlier_filter_erased_every_isolated_kmer():
    """Even where neighbors in the sequence agree: on the image they are far apart."""
    sequence = drawn_sequence(np.random.default_rng(4), 22)
    image = frequencies(encode([sequence]), 6)[0]
    assert (median_filter(image, size=3) == 0).all()
    found = filtered(torch.as_tensor(image)[None, None, None], pixels(encode([sequence]), 6))[0, 0, 0]
    torch.testing.assert_close(found, torch.as_tensor(image))


def test_values_keep_their_type():
    for dtype in (torch.float32, DOUBLE):
        given = attributions(1).to(dtype)
        found = (
            tangent(given),
            normalized(given, counts(encode(["ACGTA"]), 3)),
            filtered(given, pixels(encode(["ACGTA"]), 3)),
        )
        assert {part.dtype for part in found} == {dtype}
        assert {part.shape for part in found} == {given.shape}
