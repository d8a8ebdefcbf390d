"""Numbers of attention and of samples, against loops over samples, heads and queries."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import kstest

from consilience.dataset import Dataset
from consilience.domains.eeg.asked import ALL, Asked
from consilience.domains.eeg.attention import agreements
from consilience.domains.eeg.attention_weights import AttentionWeights
from consilience.domains.eeg.outcomes import (
    OUTCOME_COLUMNS,
    class_rows,
    outcome_rows,
    statistics_of_attention,
    statistics_of_predictions,
)
from consilience.domains.eeg.pairings import agreement_matrix, agreement_rows, least_p, p_value
from consilience.domains.eeg.patterns import attention_rows, distances, entropies, head_maps, maxima
from consilience.faithfulness.resampling import Resampling
from tests.unit.eeg_networks import Study, write_study

CLASSES = ["seizure", "lpd", "other"]


def asked_of(samples=12, per_patient=2, seed=0, resamples=50, classes=3):
    random = np.random.default_rng(seed)
    votes = random.multinomial(6, np.full(classes, 1 / classes), size=samples) / 6
    return Asked(
        [f"s{place}" for place in range(samples)], np.array([f"p{place // per_patient}" for place in range(samples)]),
        votes.argmax(axis=1), votes, random.integers(1, 9, samples).astype(float), CLASSES[:classes], resamples, 3,
    )  # fmt: skip


def weights_of(samples=12, heads=3, queries=4, keys=5, seed=0, absent=()):
    """Random weights; `absent` are (sample, "queries" or "keys", place)."""
    random = np.random.default_rng(seed)
    values = random.gamma(0.6, size=(samples, heads, queries, keys)) + 1e-3
    there = {"queries": np.ones((samples, queries), bool), "keys": np.ones((samples, keys), bool)}
    for sample, axis, place in absent:
        there[axis][sample, place] = False
    values = values * there["keys"][:, None, None, :]
    return AttentionWeights(values / values.sum(axis=-1, keepdims=True), **there)


def maps_of(seed=0, samples=12, absent=True):
    """Both directions of attention between 4 EEG windows and 5 of a spectrogram."""
    eeg, spectrogram = ([(2, 1)], [(2, 0), (7, 4)]) if absent else ([], [])
    return {
        "eeg_to_spec": weights_of(
            samples, 3, 4, 5, seed, [*((s, "queries", w) for s, w in eeg), *((s, "keys", w) for s, w in spectrogram)]
        ),
        "spec_to_eeg": weights_of(
            samples,
            3,
            5,
            4,
            seed + 1,
            [*((s, "queries", w) for s, w in spectrogram), *((s, "keys", w) for s, w in eeg)],
        ),
    }


def slowly(own, measure):
    """The mean over the queries that are there of a measure of the weights of the keys that are there."""
    samples, heads = own.values.shape[:2]
    found = np.full((samples, heads), np.nan)
    for sample in range(samples):
        for head in range(heads):
            rows = [own.values[sample, head, query][own.keys[sample]] for query in np.flatnonzero(own.queries[sample])]
            found[sample, head] = np.mean([measure(row) for row in rows])
    return found


# The asked samples


def test_asked_samples_are_test_samples_whatever_the_order_of_the_dataset(tmp_path):
    found = []
    for place, order in enumerate((np.arange(24), np.random.default_rng(0).permutation(24))):
        with Dataset.open(write_study(tmp_path / f"{place}.h5", order=order)) as dataset:
            study = Study.of(dataset)
            asked = Asked.choose(dataset, study.split, 7, 20, 0)
            found.append(asked)
            for where, sample in enumerate(asked.ids):
                row = study.row(sample)
                assert int(sample[1:]) >= 12
                assert asked.patients[where] == f"p{int(sample[1:]) // 3}"
                assert asked.labels[where] == dataset.target[row].argmax()
                np.testing.assert_array_equal(asked.votes[where], dataset.target[row])
                assert asked.weight[where] == dataset.weight[row]
    assert found[0].ids == found[1].ids
    assert len(found[0]) == 7
    assert [len(places) for _, places in found[0].targets()] == [3, 2, 2, 7]
    assert [name for name, _ in found[0].targets()] == [*CLASSES, ALL]


def test_values_of_the_own_class_are_those_of_its_target_or_turned_log_odds():
    asked, values = asked_of(), np.random.default_rng(1).normal(size=(2, 12, 3))
    expected = [[values[member, place, asked.labels[place]] for place in range(12)] for member in range(2)]
    np.testing.assert_array_equal(asked.own_class(values), expected)
    two = asked_of(classes=2)
    odds = [[values[member, place, 0] * (1 if two.labels[place] else -1) for place in range(12)] for member in range(2)]
    np.testing.assert_array_equal(two.own_class(values[..., :1]), odds)
    assert set(two.labels) == {0, 1}


def test_means_leave_out_what_is_not_defined_and_resample_patients_that_are_left():
    asked, values = asked_of(), np.random.default_rng(1).normal(size=12)
    values[[0, 1, 4]] = np.nan
    found = asked.mean("value", values, np.arange(10), weight=asked.weight)
    rows = [2, 3, 5, 6, 7, 8, 9]
    assert found["samples"] == 7
    assert found["value"] == pytest.approx(np.average(values[rows], weights=asked.weight[rows]))
    resampling = Resampling.of(asked.patients[rows], 50, 3)
    expected = resampling.interval(resampling.ratios(asked.weight[rows] * values[rows], asked.weight[rows]))
    assert (found["low"], found["high"]) == (expected["low"], expected["high"])
    assert found["low"] < found["value"] < found["high"]
    assert asked.mean("value", np.full(12, np.nan)) == {}
    assert asked.mean("value", values, np.array([2, 3, 5]))["low"] is None  # two patients


# Heads


@pytest.mark.parametrize("direction", ["eeg_to_spec", "spec_to_eeg"])
def test_entropies_and_maxima_are_means_over_queries_that_are_there(direction):
    own = maps_of()[direction]
    expected = slowly(own, lambda row: -np.sum(row * np.log(row)) / np.log(len(row)))
    np.testing.assert_allclose(entropies(own), expected, rtol=1e-10)
    np.testing.assert_allclose(maxima(own), slowly(own, np.max), rtol=1e-12)


def test_uniform_attention_has_entropy_one_and_a_single_key_none():
    own = AttentionWeights(np.full((3, 2, 4, 5), 0.2), np.ones((3, 4), bool), np.ones((3, 5), bool))
    np.testing.assert_allclose(entropies(own), 1)
    np.testing.assert_allclose(maxima(own), 0.2)
    single = AttentionWeights(np.ones((3, 2, 4, 1)), np.ones((3, 4), bool), np.ones((3, 1), bool))
    assert np.isnan(entropies(single)).all()
    assert np.isnan(maxima(single)).all()
    maps = {"eeg_to_spec": single, "spec_to_eeg": own}
    rows = attention_rows([maps], [0], [maps], asked_of(3))
    assert {row["direction"] for row in rows} == {"spec_to_eeg"}


def test_maps_of_heads_are_means_over_samples_in_which_both_windows_are():
    own = maps_of()["eeg_to_spec"]
    for places in (None, np.array([1, 2, 7]), np.array([2])):
        chosen = range(12) if places is None else places
        found = head_maps(own, places)
        for head, query, key in np.ndindex(3, 4, 5):
            there = [sample for sample in chosen if own.queries[sample, query] and own.keys[sample, key]]
            expected = np.mean([own.values[sample, head, query, key] for sample in there]) if there else np.nan
            assert found[head, query, key] == pytest.approx(expected, nan_ok=True)
    assert np.isnan(head_maps(own, np.array([2]))[:, 1]).all()
    assert np.isnan(head_maps(own, np.array([], int))).all()


def test_the_distance_of_a_head_is_jensen_and_shannons_to_the_mean_of_the_others():
    maps = np.random.default_rng(2).gamma(0.5, size=(4, 6, 5))
    maps /= maps.sum(axis=-1, keepdims=True)
    expected = [
        np.mean(
            [
                jensenshannon(maps[head, query], np.delete(maps, head, 0)[:, query].mean(axis=0), base=2)
                for query in range(6)
            ]
        )
        for head in range(4)
    ]
    np.testing.assert_allclose(distances(maps), expected, rtol=1e-9)
    absent = np.concatenate([maps, np.full((4, 1, 5), np.nan)], axis=1)
    np.testing.assert_allclose(distances(absent), expected, rtol=1e-9)
    np.testing.assert_allclose(distances(np.repeat(maps[:1], 3, axis=0)), 0, atol=1e-7)
    opposite = np.stack([np.eye(2), np.eye(2)[::-1]])
    np.testing.assert_allclose(distances(opposite), 1)
    assert np.isnan(distances(maps[:1])).all()


def test_rows_of_attention_are_of_single_members_and_of_all():
    asked, members, untrained = asked_of(), [maps_of(0), maps_of(10)], [maps_of(20), maps_of(30)]
    rows = attention_rows(members, [0, 4], untrained, asked)
    assert len(rows) == 2 * (2 * 3 + 1)
    keys = [(row["direction"], row["head"], row["member"]) for row in rows]
    assert len(set(keys)) == len(keys)
    row = rows[keys.index(("spec_to_eeg", 2, 4))]
    own, blank = members[1]["spec_to_eeg"], untrained[1]["spec_to_eeg"]
    assert row["samples"] == 12
    assert row["entropy"] == pytest.approx(entropies(own)[:, 2].mean())
    assert row["specialization"] == pytest.approx(1 - row["entropy"])
    assert row["maximum"] == pytest.approx(maxima(own)[:, 2].mean())
    assert row["entropy_low"] < row["entropy"] < row["entropy_high"]
    assert row["maximum_low"] < row["maximum"] < row["maximum_high"]
    assert row["untrained_entropy"] == pytest.approx(entropies(blank)[:, 2].mean())
    assert row["distance"] == pytest.approx(distances(head_maps(own))[2])
    mean = head_maps(own)[2]
    assert mean[row["top_query"], row["top_key"]] == row["top_weight"] == mean.max()
    every = rows[keys.index(("spec_to_eeg", ALL, ALL))]
    assert every["entropy"] == pytest.approx(np.mean([entropies(maps["spec_to_eeg"]) for maps in members]))
    assert every["untrained_entropy"] == pytest.approx(np.mean([entropies(maps["spec_to_eeg"]) for maps in untrained]))
    apart = np.mean([distances(head_maps(maps["spec_to_eeg"])) for maps in members])
    assert every["distance"] == pytest.approx(apart)
    assert every["top_weight"] == pytest.approx(
        np.mean([head_maps(maps["spec_to_eeg"]) for maps in members], (0, 1)).max()
    )


# Agreement


def test_agreement_is_pearsons_correlation_over_pairs_that_both_samples_have():
    maps = maps_of()
    first, second = maps["eeg_to_spec"], maps["spec_to_eeg"]
    found = agreement_matrix(first, second)
    for one, other in np.ndindex(12, 12):
        there = [first.queries[place][:, None] & first.keys[place] for place in (one, other)]
        both = there[0] & there[1]
        pairs = first.values[one].mean(axis=0)[both], second.values[other].mean(axis=0).T[both]
        assert found[one, other] == pytest.approx(np.corrcoef(*pairs)[0, 1], abs=1e-9)
    np.testing.assert_allclose(np.diag(found), agreements(first, second), atol=1e-9)


def test_agreement_is_not_defined_where_attention_is_constant_or_has_one_key():
    maps = maps_of(absent=False)
    values = maps["eeg_to_spec"].values.copy()
    # What rounding leaves of a constant is one.
    values[3] = 0.2 + 1e-8 * values[2]
    first = AttentionWeights(values, maps["eeg_to_spec"].queries, maps["eeg_to_spec"].keys)
    found = agreement_matrix(first, maps["spec_to_eeg"])
    assert np.isnan(found[3]).all()
    assert np.isfinite(np.delete(found, 3, 0)).all()
    row = agreement_rows([{"eeg_to_spec": first, "spec_to_eeg": maps["spec_to_eeg"]}], asked_of(), 100)[0]
    assert row["samples"] == 11
    single = AttentionWeights(np.ones((4, 2, 3, 1)), np.ones((4, 3), bool), np.ones((4, 1), bool))
    back = AttentionWeights(np.full((4, 2, 1, 3), 1 / 3), np.ones((4, 1), bool), np.ones((4, 3), bool))
    assert np.isnan(agreement_matrix(single, back)).all()
    assert agreement_rows([{"eeg_to_spec": single, "spec_to_eeg": back}], asked_of(4), 100) == []


def test_the_shuffled_agreement_is_with_other_patients_alone():
    members, asked = [maps_of(0), maps_of(10)], asked_of()
    matrix = np.mean([agreement_matrix(*maps.values()) for maps in members], axis=0)
    (row,) = agreement_rows(members, asked, 100)
    others = [[matrix[one, other] for other in range(12) if other // 2 != one // 2] for one in range(12)]
    assert row["shuffled"] == pytest.approx(np.mean([np.mean(own) for own in others]))
    assert row["agreement"] == pytest.approx(np.diag(matrix).mean())
    assert row["low"] < row["agreement"] < row["high"]
    assert row["samples"] == 12


def test_what_all_samples_have_in_common_is_not_taken_for_agreement():
    """Both directions look at the same place in every sample: they agree, and no more than by chance."""
    random = np.random.default_rng(0)
    common = random.gamma(0.3, size=(4, 5))

    def noisy(maps, seed):
        values = maps * np.random.default_rng(seed).gamma(20, size=(20, 1, *maps.shape[-2:]))
        shape = values.shape
        return AttentionWeights(
            values / values.sum(-1, keepdims=True), np.ones((20, shape[2]), bool), np.ones((20, shape[3]), bool)
        )

    asked = asked_of(20)
    (position,) = agreement_rows([{"eeg_to_spec": noisy(common, 1), "spec_to_eeg": noisy(common.T, 2)}], asked, 400)
    assert position["agreement"] > 0.4
    assert position["shuffled"] == pytest.approx(position["agreement"], abs=0.1)
    assert position["p_value"] > 0.05
    own = random.gamma(0.3, size=(20, 1, 4, 5))
    (real,) = agreement_rows([{"eeg_to_spec": noisy(own, 1), "spec_to_eeg": noisy(own.swapaxes(2, 3), 2)}], asked, 400)
    assert real["agreement"] > real["shuffled"] + 0.3
    assert real["p_value"] == pytest.approx(2 / 401) == real["least_p"]
    assert real["excess"] == pytest.approx(real["agreement"] - real["shuffled"])
    (against,) = agreement_rows(
        [{"eeg_to_spec": noisy(own, 1), "spec_to_eeg": noisy(1 / (0.1 + own.swapaxes(2, 3)), 2)}], asked, 400
    )
    assert against["excess"] < -0.1
    assert against["p_value"] == pytest.approx(2 / 401)


@pytest.mark.parametrize("sizes", [[2] * 8, [1, 4, 2, 1, 3, 2, 1, 5]])
@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_the_p_value_is_uniform_without_agreement(sizes, shared):
    """Whether maps are the patient's or the sample's own: what a sample-wise permutation would call agreement."""
    found, patients = [], np.repeat(np.arange(len(sizes)), sizes)
    for seed in range(300):
        random = np.random.default_rng(seed)

        def maps(random=random):
            own = random.normal(size=(len(patients), 6))
            common = random.normal(size=(len(sizes), 6))[patients]
            values = own * (1 - shared) + common * shared
            return values / np.linalg.norm(values, axis=1, keepdims=True)

        found.append(p_value(maps() @ maps().T, patients, 99, random))
    assert kstest(found, "uniform").pvalue > 0.001
    assert np.mean(np.array(found) <= 0.05) < 0.1


def test_patients_are_exchanged_whole_and_the_observed_pairing_counts():
    """Of two patients there are two pairings: each tail is about a half, however many samples they have."""
    matrix = np.kron(np.eye(2), np.ones((4, 4)))
    patients = np.repeat(["a", "b"], 4)
    assert 0.8 < p_value(matrix, patients, 500, np.random.default_rng(0)) <= 1
    assert [least_p(count, 10**6) for count in (1, 2, 4)] == [1, 1, pytest.approx(1 / 12)]
    assert least_p(5, 10**6) == pytest.approx(1 / 60)
    assert least_p(20, 99) == pytest.approx(0.02)
    assert np.isnan(p_value(matrix, np.repeat("a", 8), 500, np.random.default_rng(0)))
    larger = np.kron(np.eye(8), np.ones((2, 2)))
    assert p_value(larger, np.repeat(np.arange(8), 2), 99, np.random.default_rng(0)) == pytest.approx(0.02)
    assert p_value(-larger, np.repeat(np.arange(8), 2), 99, np.random.default_rng(0)) == pytest.approx(0.02)
    # Rows in another order are the same samples.
    order = np.random.default_rng(1).permutation(16)
    turned = p_value(larger[np.ix_(order, order)], np.repeat(np.arange(8), 2)[order], 99, np.random.default_rng(0))
    assert turned == pytest.approx(0.02)


# Samples


def test_statistics_of_samples_are_those_of_single_samples():
    asked = asked_of()
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), size=12)
    found = statistics_of_predictions(probabilities, asked)
    np.testing.assert_array_equal(found["confidence"], [max(row) for row in probabilities])
    for place, row in enumerate(asked.votes):
        known = row[row > 0]
        assert found["vote_entropy"][place] == pytest.approx(-np.sum(known * np.log(known)) / np.log(3), abs=1e-12)
    members = [maps_of(0), maps_of(10)]
    found = statistics_of_attention(members)
    assert set(found) == {
        "eeg_to_spec_entropy",
        "spec_to_eeg_entropy",
        "eeg_to_spec_maximum",
        "spec_to_eeg_maximum",
        "agreement",
    }
    expected = np.mean([slowly(maps["spec_to_eeg"], np.max).mean(axis=1) for maps in members], axis=0)
    np.testing.assert_allclose(found["spec_to_eeg_maximum"], expected)
    expected = np.mean([agreements(*maps.values()) for maps in members], axis=0)
    np.testing.assert_allclose(found["agreement"], expected)


def untied(asked):
    """The same samples, on which all raters agree."""
    asked.votes[:] = np.eye(3)[asked.labels]
    return asked


def test_correct_and_wrong_predictions_are_compared_by_patients():
    asked, random = untied(asked_of(30, 3)), np.random.default_rng(0)
    correct = random.random(30) < 0.6
    values = random.normal(size=30) + correct
    values[:4] = np.nan
    (row,) = outcome_rows({"confidence": values}, correct, asked)
    right, wrong = values[correct & np.isfinite(values)], values[~correct & np.isfinite(values)]
    assert (row["correct_samples"], row["incorrect_samples"]) == (len(right), len(wrong))
    assert row["correct"] == pytest.approx(right.mean())
    assert row["incorrect"] == pytest.approx(wrong.mean())
    assert row["difference"] == pytest.approx(right.mean() - wrong.mean())
    assert set(row) == set(OUTCOME_COLUMNS)
    differences, rows = [], np.flatnonzero(np.isfinite(values))
    resampling = Resampling.of(asked.patients[rows], 50, 3)
    for counts in resampling.counts:
        weight = counts[resampling.codes]
        sides = [np.average(values[rows][side], weights=weight[side]) for side in (correct[rows], ~correct[rows])]
        differences.append(sides[0] - sides[1])
    expected = resampling.interval(np.array(differences))
    assert row["low"] == pytest.approx(expected["low"])
    assert row["high"] == pytest.approx(expected["high"])


def test_samples_whose_most_votes_are_tied_are_neither_right_nor_wrong():
    asked = untied(asked_of(30, 3))
    asked.votes[[4, 9]] = [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]
    asked.votes[5] = [0.6, 0.4, 0]
    correct, values = np.arange(30) % 2 == 0, np.random.default_rng(0).normal(size=30)
    (row,) = outcome_rows({"confidence": values}, correct, asked)
    assert (row["correct_samples"], row["incorrect_samples"], row["tied_samples"]) == (14, 14, 2)
    rest = np.delete(np.arange(30), [4, 9])
    assert row["correct"] == pytest.approx(values[rest][correct[rest]].mean())
    (every,) = [one for one in class_rows({"confidence": values}, asked) if one["class"] == CLASSES[asked.labels[4]]]
    assert every["samples"] == (asked.labels == asked.labels[4]).sum()


def test_a_side_of_few_patients_has_no_interval_and_an_empty_one_no_row():
    asked, values = untied(asked_of(30, 3)), np.random.default_rng(0).normal(size=30)
    few = np.arange(30) < 24  # two patients have all that is wrong
    (row,) = outcome_rows({"confidence": values}, few, asked)
    assert row["low"] is None
    assert row["difference"] == pytest.approx(values[:24].mean() - values[24:].mean())
    assert outcome_rows({"confidence": values}, np.ones(30, bool), asked) == []
    assert outcome_rows({"confidence": np.where(few, values, np.nan)}, few, asked) == []


def test_patterns_of_classes_are_over_the_samples_of_each():
    asked, values = asked_of(30, 3), np.random.default_rng(0).normal(size=30)
    values[asked.labels == 1] = np.nan
    rows = class_rows({"confidence": values, "agreement": np.arange(30.0)}, asked)
    assert [(row["class"], row["statistic"]) for row in rows] == [
        ("seizure", "confidence"), ("seizure", "agreement"), ("lpd", "agreement"), ("other", "confidence"), ("other", "agreement"),
    ]  # fmt: skip
    for row in rows:
        own = np.flatnonzero(asked.labels == CLASSES.index(row["class"]))
        expected = values if row["statistic"] == "confidence" else np.arange(30.0)
        assert row["samples"] == len(own)
        assert row["value"] == pytest.approx(expected[own].mean())
        assert row["low"] < row["value"] < row["high"]
