"""Clusters of k-mers, against loops over text and scikit-learn."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score

from consilience.domains.mirna.clusters import (
    CHANCES,
    CLUSTER_COLUMNS,
    KINDS,
    LEAST_COMMON,
    PERCENTILE,
    SHIFTS,
    STABILITY_COLUMNS,
    by_place,
    by_sequence,
    chance_stability,
    chosen_places,
    cluster_rows,
    clustered,
    distances,
    labeled,
    mismatches,
    motif,
    stability,
)
from consilience.domains.mirna.fcgr import kmers
from tests.unit.mirna_examples import drawn_sequence, walked

K = 4
NAMES = kmers(K)


def place_of(kmer):
    row, column = walked(kmer)
    return row * 2 ** len(kmer) + column


def mismatches_by_hand(one, other, shift):
    """Lay letter i of the other on letter i + shift of the one."""
    differ = [one[i + shift] != letter for i, letter in enumerate(other) if 0 <= i + shift < len(one)]
    return sum(differ) + abs(shift)


@pytest.mark.parametrize("k", [3, 6])
def test_mismatches_are_those_of_letters_laid_on_each_other(k):
    random = np.random.default_rng(k)
    first, second = ([drawn_sequence(random, k) for _ in range(count)] for count in (7, 5))
    found = mismatches(first, second)
    assert found.shape == (2 * SHIFTS + 1, 7, 5)
    for place, shift in enumerate(range(-SHIFTS, SHIFTS + 1)):
        for row, column in np.ndindex(7, 5):
            assert found[place, row, column] == mismatches_by_hand(first[row], second[column], shift)


def test_distances_are_the_least_over_shifts():
    random = np.random.default_rng(0)
    names = [drawn_sequence(random, 5) for _ in range(12)]
    found = distances(names)
    for one, other in np.ndindex(12, 12):
        shifts = range(-SHIFTS, SHIFTS + 1)
        assert found[one, other] == min(mismatches_by_hand(names[one], names[other], shift) for shift in shifts)
    np.testing.assert_array_equal(found, found.T)
    assert (np.diag(found) == 0).all()
    assert distances(["ACGTA", "CGTAC"])[0, 1] == 1
    assert distances(["ACGTA", "GTACC"])[0, 1] == 2


MOTIFS = {"GAGGTAG": ["GAGGT", "AGGTA", "GGTAG"], "CTTCACT": ["CTTCA", "TTCAC", "TCACT"]}


def test_shifted_kmers_of_two_motifs_are_told_apart():
    names = [*MOTIFS["GAGGTAG"], *MOTIFS["CTTCACT"]]
    order = [3, 0, 4, 1, 5, 2]
    labels = by_sequence([names[place] for place in order], 2)
    first = {labels[row] for row, place in enumerate(order) if place < 3}
    second = {labels[row] for row, place in enumerate(order) if place >= 3}
    assert len(first) == len(second) == 1
    assert first != second
    assert sorted(first | second) == [1, 2]


@pytest.mark.parametrize("spelled", list(MOTIFS))
def test_a_motif_is_what_shifted_kmers_spell(spelled):
    assert motif([spelled[:5], spelled[1:6]]) == spelled[:6]
    assert motif([spelled[1:6], spelled[:5]]) == spelled[:6]
    assert motif([spelled[:5], spelled[2:]]) == spelled
    # One of three alone reaches either end.
    assert motif([spelled[1:6], spelled[:5], spelled[2:]]) == spelled[1:6]


def test_a_motif_has_n_where_kmers_differ_and_ends_with_what_most_reach():
    assert motif(["ACGTA"]) == "ACGTA"
    assert motif(["ACGTA", "ACCTA", "ACATA"]) == "ACNTA"
    # Half is enough.
    assert motif(["ACGTA", "ACGTA", "ACATA", "ACTTA"]) == "ACGTA"
    # Of four one reaches beyond: its letter is no part of what they share.
    assert motif(["ACGTA", "ACGTA", "ACGTA", "CGTAC"]) == "ACGTA"
    assert motif(["ACGTA", "ACGTA", "CGTAC", "CGTAC"]) == "ACGTAC"


@pytest.mark.parametrize("kmer_list", [[], ["ACGT"], ["ACGT", "ACGA"], ["ACGT", "TTTT", "CCCC"]])
def test_few_kmers_are_in_clusters_too(kmer_list):
    labels = by_sequence(kmer_list, 5)
    assert sorted(labels) == list(range(1, len(kmer_list) + 1))


def test_pixels_are_clustered_as_scikit_learn_does():
    random = np.random.default_rng(0)
    centers = np.array([[2, 2], [3, 13], [13, 8]])
    points = np.concatenate([center + random.integers(-1, 2, (12, 2)) for center in centers])
    labels = by_place(points, 3)
    expected = KMeans(3, n_init=10, random_state=0).fit_predict(points.astype(float))
    assert adjusted_rand_score(labels, expected) == 1
    assert adjusted_rand_score(labels, np.repeat(range(3), 12)) == 1
    assert set(labels) == {1, 2, 3}
    assert set(by_place(np.array([[1, 1], [1, 1], [5, 5]]), 4)) == {1, 2}


# What is clustered


def test_the_most_important_kmers_or_those_above_the_percentile_are_chosen():
    importance = np.random.default_rng(1).random(4**K)
    importance[::3] = 0
    order = sorted(range(4**K), key=lambda place: (-importance[place], place))
    assert chosen_places(importance, "sequence", 20).tolist() == order[:20]
    least = np.percentile([value for value in importance if value > 0], PERCENTILE)
    found = chosen_places(importance, "image", 20)
    assert found.tolist() == [place for place in order if importance[place] >= least]
    assert len(found) == pytest.approx((importance > 0).sum() / 4, abs=1)


def test_kmers_without_importance_are_not_clustered():
    importance = np.zeros(4**K)
    for kind in KINDS:
        assert clustered(importance, NAMES, kind, 20, 3) == {}
    importance[[5, 9, 200]] = [1.0, 3.0, 2.0]
    assert list(clustered(importance, NAMES, "sequence", 20, 3)) == [9, 200, 5]
    # The earlier system's 75th percentile of a map that is mostly empty was 0, and all pixels were clustered.
    assert set(clustered(importance, NAMES, "image", 20, 3)) == {9}


def motif_importance():
    importance = np.full(4**K, 0.01)
    for level, kmer in zip((9, 8, 7, 3, 2, 1), ("GAGG", "AGGT", "GGTA", "CTTC", "TTCA", "TCAC"), strict=True):
        importance[place_of(kmer)] = level
    return importance


def test_rows_tell_clusters_in_the_order_of_their_importance():
    importance = motif_importance()
    signed = np.where(np.arange(4**K) % 2, 1, -1) * importance / 2
    found = clustered(importance, NAMES, "sequence", 6, 2)
    rows = cluster_rows(importance, signed, NAMES, "sequence", found)
    assert set().union(*rows) | {"branch"} == set(CLUSTER_COLUMNS)
    table = pd.DataFrame(rows)
    assert table.groupby("cluster")["kmer"].apply(list).to_dict() == {
        1: ["GAGG", "AGGT", "GGTA"], 2: ["CTTC", "TTCA", "TCAC"],
    }  # fmt: skip
    assert table.groupby("cluster")["motif"].unique().apply(list).to_dict() == {1: ["AGGT"], 2: ["TTCA"]}
    for row in rows:
        assert (row["row"], row["column"]) == walked(row["kmer"])
        assert row["attribution"] == signed[place_of(row["kmer"])]
    places = cluster_rows(importance, signed, NAMES, "image", clustered(importance, NAMES, "image", 6, 2))
    assert {row["motif"] for row in places} == {""}


# Stability


def stable(resampled, kind, top, clusters, found):
    return stability([clustered(one, NAMES, kind, top, clusters) for one in resampled], NAMES, kind, found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_importance_has_the_same_clusters(kind):
    importance = np.random.default_rng(2).random(4**K)
    found = clustered(importance, NAMES, kind, 30, 4)
    one = stable([importance] * 5, kind, 30, 4, found)
    assert set(one) | {"branch", "chance", "chance_high"} == set(STABILITY_COLUMNS)
    assert [one["stability"], one["low"], one["high"]] == [1, 1, 1]
    assert (one["resamples"], one["kmers"], one["clusters"]) == (5, len(found), 4)


@pytest.mark.parametrize("kind", KINDS)
def test_stability_is_the_rand_index_over_common_kmers(kind):
    random = np.random.default_rng(3)
    importance = random.random(4**K)
    resampled = [importance * random.uniform(0.5, 1.5, 4**K) for _ in range(4)]
    found = clustered(importance, NAMES, kind, 30, 4)
    one = stable(resampled, kind, 30, 4, found)
    indices = []
    for other in resampled:
        labels = clustered(other, NAMES, kind, 30, 4)
        common = sorted(set(found) & set(labels))
        pairs = [(found[a] == found[b], labels[a] == labels[b]) for a, b in combinations(common, 2)]
        both, first, second = (sum(map(what, pairs)) for what in (all, lambda pair: pair[0], lambda pair: pair[1]))
        chance = first * second / len(pairs)
        indices.append((both - chance) / ((first + second) / 2 - chance))
    assert one["stability"] == pytest.approx(np.mean(indices))
    assert [one["low"], one["high"]] == pytest.approx(np.percentile(indices, [2.5, 97.5]))
    assert 0 < one["stability"] < 1


@pytest.mark.parametrize("kind", KINDS)
def test_clusters_that_are_no_clusters_do_not_come_out_again(kind):
    """Labels dealt at random have an index of 0, whatever comes out of the resamples."""
    random = np.random.default_rng(4)
    importance = random.random(4**K)
    places = list(clustered(importance, NAMES, kind, 60, 4))
    values = []
    for _ in range(10):
        found = dict(zip(places, random.integers(1, 5, len(places)).tolist(), strict=True))
        values.append(stable([importance] * 2, kind, 60, 4, found)["stability"])
    assert abs(np.mean(values)) < 0.05


LONG = {"GAGGTAGTAGGTGGAG": 9, "CTTCACCTTTCCATCC": 6}


def long_motifs():
    importance = np.full(4**K, 0.01)
    for spelled, level in LONG.items():
        for start in range(len(spelled) - K + 1):
            importance[place_of(spelled[start : start + K])] = level
    return importance


def test_random_importances_are_less_stable_than_motifs():
    random = np.random.default_rng(5)
    noise = [random.random(4**K) for _ in range(9)]
    unrelated = stable(noise[1:], "sequence", 80, 4, clustered(noise[0], NAMES, "sequence", 80, 4))
    importance = long_motifs()
    top = int((importance > 1).sum())
    near = [importance * random.uniform(0.9, 1.1, 4**K) for _ in range(8)]
    planted = stable(near, "sequence", top, 2, clustered(importance, NAMES, "sequence", top, 2))
    assert planted["stability"] == 1
    # Above 0 though: k-mers that are near each other stay near.
    assert unrelated["stability"] < 0.5
    assert unrelated["silhouette"] < planted["silhouette"]


def test_few_common_kmers_say_nothing():
    found = dict.fromkeys(range(30), 1) | {0: 2}
    for common, told in ((LEAST_COMMON - 1, 0), (LEAST_COMMON, 1)):
        other = {place: place % 2 for place in range(30 - common, 60 - common)}
        assert stability([other], NAMES, "image", found)["resamples"] == told


def test_silhouettes_are_scikit_learns_by_the_distance_that_clustered():
    importance = np.random.default_rng(6).random(4**K)
    for kind in KINDS:
        found = clustered(importance, NAMES, kind, 25, 3)
        one = stability([], NAMES, kind, found)
        names = [NAMES.ravel()[place] for place in found]
        if kind == "image":
            expected = silhouette_score(np.array([walked(name) for name in names]), list(found.values()))
        else:
            shifts = range(-SHIFTS, SHIFTS + 1)
            matrix = [[min(mismatches_by_hand(a, b, shift) for shift in shifts) for b in names] for a in names]
            expected = silhouette_score(np.array(matrix, float), list(found.values()), metric="precomputed")
        assert one["silhouette"] == pytest.approx(expected)
        assert np.isnan([one["stability"], one["low"], one["high"]]).all()
        assert one["resamples"] == 0


def test_nothing_can_be_said_of_one_kmer():
    importance = np.zeros(4**K)
    importance[7] = 1
    for kind in KINDS:
        one = stable([importance, 0 * importance], kind, 5, 3, clustered(importance, NAMES, kind, 5, 3))
        assert (one["clusters"], one["kmers"], one["resamples"]) == (1, 1, 0)
        assert np.isnan([one["silhouette"], one["stability"]]).all()


def chance_of(importance, others, kind, top, clusters, seed=0):
    found = clustered(importance, NAMES, kind, top, clusters)
    again = [clustered(one, NAMES, kind, top, clusters) for one in others]
    return chance_stability(again, NAMES, kind, found, np.flatnonzero(importance), clusters, seed), found, again


@pytest.mark.parametrize("kind", KINDS)
def test_chance_is_that_of_choices_with_as_many_in_common(kind):
    random = np.random.default_rng(0)
    importance = random.random(4**K)
    others = [importance * random.uniform(0.3, 1.7, 4**K) for _ in range(6)]
    chance, found, again = chance_of(importance, others, kind, 40, 4)
    values = []
    for draw in range(60):
        other = again[draw % 6]
        common = len(set(found) & set(other))
        assert LEAST_COMMON <= common < len(found)
        shared = random.choice(4**K, common, replace=False)
        rest = random.permutation(np.setdiff1d(np.arange(4**K), shared))
        size = len(found) - common
        choices = [np.concatenate([shared, part]) for part in (rest[:size], rest[size : size + len(other) - common])]
        labels = [labeled(choice, NAMES, kind, 4) for choice in choices]
        values.append(adjusted_rand_score(*([own[place] for place in shared] for own in labels)))
    error = np.std(values) * np.sqrt(1 / 60 + 1 / CHANCES[kind])
    assert chance["chance"] == pytest.approx(np.mean(values), abs=4 * error)
    assert chance["chance"] < chance["chance_high"] <= 1
    # With as many in common, unrelated choices agree far beyond labels dealt at random.
    assert chance["chance"] > 0.1


def test_clusters_of_noise_are_not_clearly_more_than_unrelated_ones():
    """Importances whose resamples keep most k-mers, but no motif: where `low` is above chance, it is so by chance."""
    above = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        importance = random.random(4**K)
        others = [importance * random.uniform(0.8, 1.2, 4**K) for _ in range(20)]
        chance, found, again = chance_of(importance, others, "sequence", 50, 5, seed)
        above += stability(again, NAMES, "sequence", found)["low"] > chance["chance"]
    assert above <= 4


def test_motifs_are_more_stable_than_unrelated_choices():
    importance = long_motifs()
    noise = [np.random.default_rng(seed).uniform(0.5, 1.5, 4**K) for seed in range(10)]
    chance, found, again = chance_of(importance, [importance * own for own in noise], "sequence", 20, 2)
    assert any(set(other) != set(found) for other in again)
    assert stability(again, NAMES, "sequence", found)["low"] == 1 > chance["chance"] + 0.05
    # The same k-mers have the same clusters, whichever they are.
    chance, _, _ = chance_of(importance, [importance], "sequence", 20, 2)
    assert chance["chance"] == 1


def test_without_enough_in_common_there_is_no_chance():
    random = np.random.default_rng(1)
    importance = random.random(4**K)
    chance, _, _ = chance_of(importance, [random.permutation(importance)], "sequence", 12, 3)
    assert np.isnan(list(chance.values())).all()
    chance, _, _ = chance_of(np.zeros(4**K), [np.zeros(4**K)], "sequence", 12, 3)
    assert np.isnan(list(chance.values())).all()
    # Where all that there is was chosen, less is drawn beside what is common.
    few = np.where(np.arange(4**K) < 14, importance, 0)
    chance, _, _ = chance_of(few, [few], "sequence", 20, 3)
    assert chance["chance"] == 1
