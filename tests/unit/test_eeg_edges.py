"""Edges in tables, and tensors that stand in for those of a network without them."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch

from consilience.domains.eeg.asked import ALL, Asked
from consilience.domains.eeg.edges import EDGE_COLUMNS, can_be_clear, clear_edges, edge_rows, least_p, sign_flip_p
from consilience.domains.eeg.graphs import directed
from consilience.domains.eeg.montage import CHANNELS, NEIGHBORS
from consilience.domains.eeg.surgery import without_edge, without_weight

CLASSES = ["seizure", "lpd", "other"]
PAIRS = [("eeg", "Fp1", "F3"), ("eeg", "C3", "Cz"), ("spectrogram", "LL", "LP")]


def asked_of(labels):
    labels = np.asarray(labels)
    return Asked(
        [f"s{place}" for place in range(len(labels))], np.array([f"p{place // 2}" for place in range(len(labels))]),
        labels, np.eye(3)[labels], np.ones(len(labels)), CLASSES, 50, 3,
    )  # fmt: skip


def test_rows_of_edges_are_over_samples_of_a_class_in_which_the_edge_is():
    asked, random = asked_of([0, 1, 2] * 6), np.random.default_rng(0)
    effects = random.normal(size=(3, 2, 18))
    effects[1, :, :7] = np.nan
    effects[2, :, np.arange(1, 18, 3)] = np.nan  # in no sample of lpd
    rows = edge_rows(PAIRS, effects, asked)
    assert [row["target"] for row in rows] == ["seizure"] * 3 + ["lpd"] * 2 + ["other"] * 3 + [ALL] * 3
    for row in rows:
        place = PAIRS.index((row["branch"], row["first"], row["second"]))
        own = [
            sample
            for sample in range(18)
            if np.isfinite(effects[place, 0, sample]) and row["target"] in (ALL, CLASSES[asked.labels[sample]])
        ]
        means = [np.mean([effects[place, member, sample] for member in range(2)]) for sample in own]
        assert row["samples"] == len(own)
        assert row["effect"] == pytest.approx(np.mean(means))
        assert row["size"] == pytest.approx(np.mean(np.abs(means)))
        by_member = [effects[place, member, own].mean() for member in range(2)]
        assert row["spread"] == pytest.approx(np.std(by_member, ddof=1))
        assert row["low"] < row["effect"] < row["high"]
        assert set(row) == set(EDGE_COLUMNS)
        larger = [other for other in rows if other["target"] == row["target"] and other["size"] > row["size"]]
        assert row["rank"] == 1 + len(larger)
        assert row["agreeing"] == np.mean([own * row["effect"] > 0 for own in by_member])
        patients = [asked.patients[sample] for sample in own]
        sums = [sum(value for value, who in zip(means, patients, strict=True) if who == one) for one in set(patients)]
        turned = [
            abs(sum(s * t for s, t in zip(sums, signs, strict=True))) for signs in product((1, -1), repeat=len(sums))
        ]
        assert row["p_value"] == pytest.approx(np.mean([value >= abs(sum(sums)) - 1e-9 for value in turned]))
        assert row["least_p"] == 2 / 2 ** len(sums) <= row["p_value"]
    for row in rows:
        # Benjamini & Hochberg: the least of p * rows / rank among ranks as high.
        ordered = sorted(other["p_value"] for other in rows)
        adjusted = [p * len(rows) / (1 + place) for place, p in enumerate(ordered)]
        assert row["q_value"] == pytest.approx(
            min(1, *(q for q, p in zip(adjusted, ordered, strict=True) if p >= row["p_value"]))
        )


def test_signs_are_turned_by_whole_patients():
    """Ten samples of one patient are one turn: what a sample-wise test would call clear is not."""
    assert sign_flip_p(np.ones(30), np.repeat(["a", "b", "c"], 10), 0) == 0.25 == least_p(3)
    assert sign_flip_p(np.ones(10), np.array(["a"] * 10), 0) == 1
    assert sign_flip_p(np.zeros(8), np.arange(8), 0) == 1
    many = sign_flip_p(np.ones(20), np.arange(20), 0)
    assert many == pytest.approx(1e-4) == least_p(20)
    values = np.random.default_rng(3).normal(0.3, 1, size=13)
    exact = np.mean([abs(np.dot(signs, values)) >= abs(values.sum()) - 1e-9 for signs in product((1, -1), repeat=13)])
    assert sign_flip_p(values, np.arange(13), 0) == pytest.approx(exact, abs=0.02)


def test_the_p_of_an_edge_without_effect_is_uniform():
    """Whatever of the values is the patient's own."""
    found = []
    for seed in range(300):
        random = np.random.default_rng(seed)
        patients = np.repeat(np.arange(8), 3)
        found.append(sign_flip_p(random.normal(size=8)[patients] + 0.3 * random.normal(size=24), patients, 0))
    assert np.mean(np.array(found) <= 0.05) < 0.09
    assert 0.4 < np.mean(found) < 0.6


def test_edges_are_clear_by_q_and_by_members_of_one_sign():
    table = pd.DataFrame({"q_value": [0.04, 0.05, 0.01], "agreeing": [1.0, 1.0, 0.5]})
    assert clear_edges(table).tolist() == [True, False, False]
    assert can_be_clear(pd.DataFrame({"least_p": [0.01, 0.02, 0.5]}))
    assert not can_be_clear(pd.DataFrame({"least_p": [0.02, 0.5, 0.5]}))


def test_equal_edges_share_a_rank_and_one_member_has_no_spread():
    rows = edge_rows(PAIRS, np.ones((3, 1, 6)) * np.array([2, 1, 1])[:, None, None], asked_of([0] * 6))
    assert [row["rank"] for row in rows[:3]] == [1, 2, 2]
    assert np.isnan([row["spread"] for row in rows]).all()
    assert {row["target"] for row in rows} == {"seizure", ALL}


def test_both_directions_of_an_edge_are_taken_out_and_no_other():
    edges = directed(NEIGHBORS, CHANNELS)
    for first, second in (("F3", "Fz"), ("O1", "T5")):
        ends = CHANNELS.index(first), CHANNELS.index(second)
        left = {tuple(pair) for pair in without_edge(edges, *ends).T.tolist()}
        assert {tuple(pair) for pair in edges.T.tolist()} - left == {ends, ends[::-1]}
        assert len(left) == 62


def test_weights_of_an_edge_become_none_in_a_copy():
    weights = torch.ones(2, 3, 4, 4)
    found = without_weight(weights, 1, 3)
    assert weights.min() == 1
    assert (found == 0).nonzero()[:, 2:].unique(dim=0).tolist() == [[1, 3], [3, 1]]
    assert int((found == 0).sum()) == 2 * 3 * 2
