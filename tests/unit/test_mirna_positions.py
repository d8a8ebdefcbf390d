"""What each nucleotide has of an attribution, against loops over text; the enrichment test under its null."""

import numpy as np
import pytest
from scipy import stats

from consilience.domains.mirna.fcgr import pixels
from consilience.domains.mirna.positions import (
    AFTER,
    BEFORE,
    NO_MATCH,
    aligned,
    enrichment,
    inside_windows,
    match_regions,
    per_nucleotide,
    per_window,
    seed_region,
    without_ends,
)
from consilience.domains.mirna.sequences import encode
from consilience.faithfulness.resampling import Resampling
from tests.unit.mirna_examples import drawn_sequence, partner, valid_kmers, walked

K = 3
SEQUENCES = ["AAAAAAAAAA", "ACGTACGTNACGTAC", "ACG", "TTNTTTNTTTTGCA", "GATTACAGATTACAG"]


def shares_by_hand(image, sequence, width):
    """A k-mer's value, divided by how often it occurs, at each of its places."""
    found, kmers = np.full(width, np.nan), valid_kmers(sequence, K)
    for start, kmer in kmers:
        found[start] = image[walked(kmer)] / sum(kmer == other for _, other in kmers)
    return found


@pytest.fixture(scope="module")
def maps():
    return np.random.default_rng(0).normal(size=(2, len(SEQUENCES), 4**K))


@pytest.fixture(scope="module")
def shares(maps):
    return per_window(maps, pixels(encode(SEQUENCES), K))


def test_windows_have_their_part_of_their_kmers(maps, shares):
    width = max(map(len, SEQUENCES)) - K + 1
    assert shares.shape == (2, len(SEQUENCES), width)
    for method, sample in np.ndindex(2, len(SEQUENCES)):
        image = maps[method, sample].reshape(2**K, 2**K)
        np.testing.assert_allclose(shares[method, sample], shares_by_hand(image, SEQUENCES[sample], width))
    # All of a homopolymer's windows have an eighth of its one k-mer.
    assert shares[0, 0, :8] == pytest.approx([maps[0, 0, 0] / 8] * 8)
    assert np.isfinite(shares[:, 2]).sum() == 2


def test_what_the_present_kmers_have_is_neither_lost_nor_doubled(maps, shares):
    nucleotides = per_nucleotide(shares, K)
    for method, sample in np.ndindex(2, len(SEQUENCES)):
        image = maps[method, sample].reshape(2**K, 2**K)
        total = sum(image[walked(kmer)] for kmer in {kmer for _, kmer in valid_kmers(SEQUENCES[sample], K)})
        assert np.nansum(shares[method, sample]) == pytest.approx(total)
        assert np.nansum(nucleotides[method, sample]) == pytest.approx(total)


def test_nucleotides_have_what_the_kmers_that_cover_them_give(shares):
    nucleotides = per_nucleotide(shares, K)
    assert nucleotides.shape == (2, len(SEQUENCES), max(map(len, SEQUENCES)))
    for method, sample in np.ndindex(2, len(SEQUENCES)):
        expected = np.full(nucleotides.shape[2], np.nan)
        for start, _ in valid_kmers(SEQUENCES[sample], K):
            for place in range(start, start + K):
                expected[place] = np.nansum([expected[place], shares[method, sample, start] / K])
        np.testing.assert_allclose(nucleotides[method, sample], expected, rtol=1e-12)
    # N, what lies too near to it for a k-mer, and what is beyond the end.
    unknown = "".join("N" if np.isnan(value) else "." for value in nucleotides[0, 3])
    assert unknown == "NNN...N.......N"


def test_windows_of_one_nucleotide_are_nucleotides():
    values = np.array([[1.0, np.nan, -2.0]])
    np.testing.assert_array_equal(per_nucleotide(values, 1), values)


# Regions


def test_the_seed_is_nucleotides_2_to_8():
    assert [place + 1 for place in np.flatnonzero(seed_region(22))] == [2, 3, 4, 5, 6, 7, 8]
    assert seed_region(6).tolist() == [False] + [True] * 5


def test_planted_matches_are_where_they_were_planted():
    planted = [1, -1, 8, 0, 12]
    mirnas, sites = ["ACGTACGTACGT"] * 5, ["ACGTACGTACGT" + partner("CGTACGTA")] * 5
    starts, inside, kind = match_regions(mirnas, sites, planted, 14)
    assert kind == "planted match"
    assert starts.tolist() == [0, NO_MATCH, 7, NO_MATCH, 11]
    marked = ["".join(".M"[value] for value in row) for row in inside.astype(int)]
    assert marked == ["MMMMMMM.......", "." * 14, ".......MMMMMMM", "." * 14, "...........MMM"]


def test_without_planted_ones_matches_of_six_are_found_by_text():
    random = np.random.default_rng(3)
    mirnas = [drawn_sequence(random, 20) for _ in range(300)]
    sites = [drawn_sequence(random, 30) for _ in range(300)]
    for row in range(0, 300, 4):
        place = int(random.integers(25))
        sites[row] = sites[row][:place] + partner(mirnas[row][1:7]) + sites[row][place + 6 :]
    starts, inside, kind = match_regions(mirnas, sites, [-1] * 300, 30)
    assert kind == "6-mer seed match"
    for start, marks, mirna, site in zip(starts, inside, mirnas, sites, strict=True):
        expected = site.find(partner(mirna[1:7]))
        # The place opposite nucleotide 8, one before the match of nucleotides 2 to 7.
        assert start == (expected - 1 if expected >= 0 else NO_MATCH)
        assert np.flatnonzero(marks).tolist() == (list(range(expected, expected + 6)) if expected >= 0 else [])
    assert 75 <= (starts > NO_MATCH).sum() < 150
    assert (starts == -1).any()


def test_unknown_and_absent_nucleotides_match_nothing():
    """N is not N's partner, and a miRNA that ends before nucleotide 7 has no seed."""
    mirnas = ["AACGNGTTTTTT", "AAC", "A", "AACGTCTTTTTT"]
    sites = ["TTTACNCGTTTT", "GTTTTTTTTTTT", "CCCCCCCCCCCC", "CC" + partner("ACGTCT") + "CCCC"]
    starts, inside, _ = match_regions(mirnas, sites, [-1] * 4, 12)
    assert starts.tolist() == [NO_MATCH, NO_MATCH, NO_MATCH, 1]
    assert inside.sum(axis=1).tolist() == [0, 0, 0, 6]


def test_profiles_are_aligned_at_their_matches():
    random = np.random.default_rng(0)
    values = random.normal(size=(2, 4, 15))
    starts = np.array([-1, 14, NO_MATCH, 6])
    found = aligned(values, starts)
    assert found.shape == (2, 4, BEFORE + 7 + AFTER)
    for method, sample, column in np.ndindex(found.shape):
        place = starts[sample] + column - BEFORE
        if starts[sample] > NO_MATCH and 0 <= place < 15:
            assert found[method, sample, column] == values[method, sample, place]
        else:
            assert np.isnan(found[method, sample, column])


def test_windows_lie_in_a_region_as_far_as_their_nucleotides_do():
    region = np.random.default_rng(0).random((3, 11)) < 0.5
    found = inside_windows(region, 4)
    assert found.shape == (3, 8)
    for row, start in np.ndindex(3, 8):
        assert found[row, start] == pytest.approx(sum(region[row, start : start + 4]) / 4)


def test_the_ends_of_what_is_known_are_left_out():
    values = np.array([[1.0, 2, 3, 4, 5, 6], [np.nan, 1, np.nan, 2, 3, np.nan], [1, 2, np.nan, np.nan, np.nan, np.nan]])
    none = np.nan
    expected = [[none, 2, 3, 4, 5, none], [none, none, none, 2, none, none], [none] * 6]
    np.testing.assert_array_equal(without_ends(values, 1), expected)
    np.testing.assert_array_equal(without_ends(values, 0), values)


# Enrichment


WIDTH, WINDOWS = 5, 18  # of miRNAs of 22 nucleotides
SEED_WINDOWS = inside_windows(seed_region(WIDTH + WINDOWS - 1), WIDTH)


def seeds_of(samples):
    return np.tile(SEED_WINDOWS, (samples, 1))


def families(count, copies=1, resamples=0):
    return Resampling.of(np.repeat([f"f{number:02d}" for number in range(count)], copies), resamples, 0)


def smooth_scores(random, samples):
    noise = random.normal(size=(samples, WINDOWS + WIDTH - 1))
    return np.abs(np.mean([noise[:, place : place + WINDOWS] for place in range(WIDTH)], axis=0))


def share_by_hand(scores, inside):
    known = [(score, part) for score, part in zip(scores, inside, strict=True) if score == score]
    return sum(score * part for score, part in known) / sum(score for score, _ in known)


def test_an_importance_within_the_region_is_found():
    scores = np.where(seeds_of(12) == 1, 2.0, 0.0)
    found = enrichment(scores, seeds_of(12), families(12, resamples=100), 499, 0)
    assert (found.p_value, found.p_value_less) == (1 / 500, 1)
    assert found.share == pytest.approx(1)
    # On the average over all turns, the region has its part of the windows.
    assert found.expected == pytest.approx(SEED_WINDOWS.mean())
    assert found.ratio["value"] == pytest.approx(1 / SEED_WINDOWS.mean())
    assert found.samples == 12


def test_an_importance_outside_of_the_region_is_not():
    scores = np.where(seeds_of(12) == 0, 2.0, 0.0)
    found = enrichment(scores, seeds_of(12), families(12), 99, 0)
    assert (found.p_value, found.p_value_less) == (1, 1 / 100)
    assert found.share == 0
    assert found.ratio["value"] == 0


def test_a_uniform_importance_is_as_chance_gives():
    found = enrichment(np.full((9, WINDOWS), 0.3), seeds_of(9), families(9, resamples=50), 99, 0)
    assert found.p_value == found.p_value_less == 1
    assert [found.ratio[key] for key in ("value", "low", "high")] == pytest.approx([1, 1, 1])
    assert found.share == pytest.approx(SEED_WINDOWS.mean())


def test_shares_are_means_over_samples_and_p_that_of_all_turns():
    random = np.random.default_rng(5)
    scores = smooth_scores(random, 2)
    scores[:, 3:8] += 0.4
    inside = seeds_of(2)
    found = enrichment(scores, inside, Resampling.of(["one", "one"], 0, 0), 20000, 0)
    turns = [[share_by_hand(np.roll(row, turn), SEED_WINDOWS) for turn in range(WINDOWS)] for row in scores]
    assert found.share == pytest.approx(np.mean([own[0] for own in turns]))
    assert found.expected == pytest.approx(np.mean(turns))
    assert found.ratio["value"] == pytest.approx(found.share / found.expected)
    # The samples of one family turn together: there are as many turns as windows.
    together = np.sum(turns, axis=0)
    exact = np.mean(together >= together[0] - 1e-12)
    assert 1 / WINDOWS <= exact < 0.5
    assert found.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20000))
    less = np.mean(together <= together[0] + 1e-12)
    assert found.p_value_less == pytest.approx(less, abs=4 * np.sqrt(less * (1 - less) / 20000) + 1e-4)


def test_turns_leave_out_what_has_no_window():
    """A short sequence, and one with N: the scores that there are turn among themselves."""
    random = np.random.default_rng(1)
    scores = smooth_scores(random, 3)
    scores[0, 12:] = np.nan
    scores[1, 4:9] = np.nan
    found = enrichment(scores, seeds_of(3), families(3), 99, 0)
    expected = []
    for row in scores:
        known = np.isfinite(row)
        own, region = row[known], SEED_WINDOWS[known]
        expected.append(np.mean([share_by_hand(np.roll(own, turn), region) for turn in range(len(own))]))
    assert found.expected == pytest.approx(np.mean(expected))
    assert found.share == pytest.approx(np.mean([share_by_hand(row, SEED_WINDOWS) for row in scores]))


def test_samples_without_any_importance_change_nothing():
    random = np.random.default_rng(2)
    scores = smooth_scores(random, 8)
    groups = np.array([f"f{number}" for number in range(8)])
    alone = enrichment(scores, seeds_of(8), Resampling.of(groups, 50, 0), 99, 0)
    empty = np.vstack([np.zeros(WINDOWS), np.full(WINDOWS, np.nan)])
    padded = np.vstack([scores[:3], empty, scores[3:]])
    places = np.concatenate([groups[:3], groups[:2], groups[3:]])
    beside = enrichment(padded, seeds_of(10), Resampling.of(places, 50, 0), 99, 0)
    assert beside.samples == alone.samples == 8
    assert beside.p_value == alone.p_value
    assert [beside.share, beside.expected] == pytest.approx([alone.share, alone.expected])
    assert beside.ratio["value"] == pytest.approx(alone.ratio["value"])
    assert enrichment(empty, seeds_of(2), families(2), 99, 0) is None


@pytest.mark.parametrize(("count", "present"), [(1, False), (2, False), (3, True), (6, True)])
def test_there_is_an_interval_from_three_families_on(count, present):
    scores = smooth_scores(np.random.default_rng(0), 2 * count)
    ratio = enrichment(scores, seeds_of(2 * count), families(count, 2, resamples=100), 9, 0).ratio
    assert ratio["value"] > 0
    assert (ratio["low"] is not None) == (ratio["high"] is not None) == present
    if present:
        assert ratio["low"] <= ratio["value"] <= ratio["high"]


def each_by_itself(scores, copies, permutations, seed):
    """The plain test that takes every copy of a sample for an independent one."""
    random = np.random.default_rng(seed)
    turns = np.array([[np.roll(row, turn) @ SEED_WINDOWS / row.sum() for turn in range(WINDOWS)] for row in scores])
    turns = np.repeat(turns, copies, axis=0)
    drawn = random.integers(WINDOWS, size=(permutations, len(turns)))
    null = turns[np.arange(len(turns)), drawn].sum(axis=1)
    return (1 + np.count_nonzero(null >= turns[:, 0].sum())) / (1 + permutations)


@pytest.fixture(scope="module")
def null_p_values():
    """p values of 200 draws of random smooth scores: families of one sample, and of nine that are the same."""
    found = {"single": [], "copies": [], "less": [], "each by itself": []}
    for seed in range(200):
        random = np.random.default_rng(seed)
        found["single"].append(enrichment(smooth_scores(random, 20), seeds_of(20), families(20), 59, seed).p_value)
        scores = smooth_scores(random, 4)
        copies = enrichment(np.repeat(scores, 9, axis=0), seeds_of(36), families(4, 9), 59, seed)
        found["copies"].append(copies.p_value)
        found["less"].append(copies.p_value_less)
        found["each by itself"].append(each_by_itself(scores, 9, 59, seed))
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize("kind", ["single", "copies", "less"])
def test_random_importances_are_enriched_as_seldom_as_p_says(null_p_values, kind):
    p_values = null_p_values[kind]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    for level in (0.05, 0.2, 0.5):
        assert np.count_nonzero(p_values <= level) <= stats.binom.ppf(0.995, len(p_values), level)
    # Nor does it hold back: a test that never rejects is no test.
    assert np.count_nonzero(p_values <= 0.2) >= stats.binom.ppf(0.005, len(p_values), 0.2)


def test_copies_that_turn_each_by_itself_would_be_enriched_too_often(null_p_values):
    p_values = null_p_values["each by itself"]
    assert np.count_nonzero(p_values <= 0.05) > stats.binom.ppf(0.99999, len(p_values), 0.05)
    assert stats.kstest(p_values, "uniform").pvalue < 1e-3


def test_the_result_follows_from_the_seed():
    scores = smooth_scores(np.random.default_rng(4), 10)
    p_values = [enrichment(scores, seeds_of(10), families(10), 9999, seed).p_value for seed in (0, 0, 1)]
    assert p_values[0] == p_values[1] != p_values[2]
