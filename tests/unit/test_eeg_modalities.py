"""Shapley values of the modalities against all orders of the players, and heads and ablations by what they cost."""

from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from consilience.dataset import Dataset
from consilience.domains.eeg.asked import ALL, Asked
from consilience.domains.eeg.knockouts import KNOCKOUT_COLUMNS, knockout_rows
from consilience.domains.eeg.modalities import INTERACTION, MODALITY_COLUMNS, eeg_share, modality_rows, shapley
from consilience.domains.eeg.performance import (
    ABLATION_COLUMNS,
    CALIBRATION_COLUMNS,
    ablation_rows,
    calibration_rows,
    nearest_member,
    predicted,
)
from consilience.faithfulness.resampling import Resampling
from consilience.metrics import evaluate
from consilience.votes import divergence
from tests.unit.eeg_networks import BRANCHES, Study, write_study

CLASSES = ["seizure", "lpd", "other"]
SAMPLES = ["s13", "s20", "s12", "s17", "s15"]


def asked_of(samples=12, per_patient=2, seed=0):
    random = np.random.default_rng(seed)
    votes = random.multinomial(6, np.full(3, 1 / 3), size=samples) / 6
    return Asked(
        [f"s{place}" for place in range(samples)], np.array([f"p{place // per_patient}" for place in range(samples)]),
        votes.argmax(axis=1), votes, random.integers(1, 9, samples).astype(float), CLASSES, 50, 3,
    )  # fmt: skip


def coalitions(seed=0, shape=(2, 12, 3)):
    random = np.random.default_rng(seed)
    return {frozenset(own): random.normal(size=shape) for own in ((), ("eeg",), ("spectrogram",), BRANCHES)}


def test_shapley_values_are_means_over_the_orders_of_players():
    values = coalitions()
    found = shapley(values)
    for player in BRANCHES:
        gains = []
        for order in permutations(BRANCHES):
            before = frozenset(order[: order.index(player)])
            gains.append(values[before | {player}] - values[before])
        np.testing.assert_allclose(found[player], np.mean(gains, axis=0))
    first = values[frozenset(BRANCHES)] - values[frozenset(["eeg"])]
    second = values[frozenset(["spectrogram"])] - values[frozenset()]
    np.testing.assert_allclose(found[INTERACTION], first - second)


@pytest.mark.parametrize("reference", ["mean", "zero", "sample"])
def test_shapley_values_sum_to_the_change_from_the_reference(tmp_path, reference):
    with Dataset.open(write_study(tmp_path / "dataset.h5")) as dataset:
        networks = Study.of(dataset).networks(tmp_path / "e.safetensors", reference=reference)
        found = shapley(networks.coalitions(SAMPLES))
        batch = networks.reader.read(dataset.rows_of(SAMPLES))
        away = tuple(part.expand_as(own).contiguous() for part, own in zip(batch.references, batch.inputs, strict=True))
        ends = (networks.reader.function.values(inputs, batch.auxiliary) for inputs in (batch.inputs, away))
        change = (next(ends) - next(ends)).numpy()
    np.testing.assert_allclose(found["eeg"] + found["spectrogram"], change, atol=1e-5)
    assert np.abs(found["eeg"]).max() > 0.01
    assert np.abs(found["spectrogram"]).max() > 0.01


@pytest.mark.parametrize(("deaf", "read"), [BRANCHES, BRANCHES[::-1]])
def test_a_modality_that_is_not_read_has_no_value(tmp_path, deaf, read):
    with Dataset.open(write_study(tmp_path / "dataset.h5")) as dataset:
        study = Study.of(dataset)
        for module in study.modules:
            with torch.no_grad():
                for values in module.encoders[deaf].recurrent.parameters():
                    values.zero_()
        study = Study.of(dataset, modules=study.modules)
        found = shapley(study.networks(tmp_path / "e.safetensors").coalitions(SAMPLES))
    np.testing.assert_array_equal(found[deaf], 0)
    np.testing.assert_array_equal(found[INTERACTION], 0)
    assert np.abs(found[read]).max() > 0.01
    np.testing.assert_array_equal(eeg_share({name: own[0] for name, own in found.items()}), float(read == "eeg"))


def test_the_share_of_eeg_is_that_of_sizes():
    values = {"eeg": np.array([1.0, -3.0, 0.0, 0.0]), "spectrogram": np.array([-1.0, 1.0, 2.0, 0.0])}
    np.testing.assert_allclose(eeg_share(values), [0.5, 0.75, 0, np.nan])


def test_rows_of_modalities_are_over_the_samples_of_a_class_and_over_all():
    asked, random = asked_of(30, 3), np.random.default_rng(1)
    values = {name: random.normal(size=30) for name in (*BRANCHES, INTERACTION)}
    rows = modality_rows(values, asked)
    assert [row["target"] for row in rows[::3]] == [*CLASSES, ALL]
    assert [row["player"] for row in rows[:3]] == [*BRANCHES, INTERACTION]
    for row in rows:
        places = [place for place in range(30) if row["target"] in (ALL, CLASSES[asked.labels[place]])]
        own = values[row["player"]][places]
        assert row["samples"] == len(places)
        assert row["value"] == pytest.approx(own.mean())
        assert row["size"] == pytest.approx(np.abs(own).mean())
        if row["player"] == INTERACTION:
            assert "share" not in row
        else:
            assert set(row) == set(MODALITY_COLUMNS)
            both = sum(np.abs(values[name][places]).sum() for name in BRANCHES)
            assert row["share"] == pytest.approx(np.abs(own).sum() / both)
            assert row["low"] < row["value"] < row["high"]
            assert row["share_low"] < row["share"] < row["share_high"]


# Heads


def said(seed, members=2, samples=12):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(members, samples, 3))
    return SimpleNamespace(logits=logits, probabilities=random.dirichlet(np.ones(3), size=(members, samples)))


def slow_divergence(votes, probabilities):
    return np.array(
        [
            sum(t * np.log(t / p) for t, p in zip(*pair, strict=True) if t > 0)
            for pair in zip(votes, probabilities, strict=True)
        ]
    )


def test_knockouts_judge_heads_of_one_member_alone_and_all_heads_by_the_mean_of_members():
    asked, before = asked_of(), said(0)
    after = {("eeg_to_spec", 1, "removed"): said(1), ("both", ALL, "uniform"): said(2)}
    rows = knockout_rows(before, after, [0, 4], asked)
    assert [(row["head"], row["member"], row["kind"]) for row in rows] == [
        (1, 0, "removed"), (1, 4, "removed"), (ALL, ALL, "uniform"),
    ]  # fmt: skip
    for row, choose in zip(rows, (lambda own: own[0], lambda own: own[1], lambda own: own.mean(axis=0)), strict=True):
        other = after[(row["direction"], row["head"], row["kind"])]
        ends = [slow_divergence(asked.votes, choose(own.probabilities)) for own in (before, other)]
        change = ends[1] - ends[0]
        assert row["kl_change"] == pytest.approx(np.average(change, weights=asked.weight))
        resampling = Resampling.of(asked.patients, 50, 3)
        expected = resampling.interval(resampling.ratios(asked.weight * change, asked.weight))
        assert (row["low"], row["high"]) == (pytest.approx(expected["low"]), pytest.approx(expected["high"]))
        moved = [
            abs((choose(other.logits) - choose(before.logits))[place, label])
            for place, label in enumerate(asked.labels)
        ]
        assert row["logit_change"] == pytest.approx(np.mean(moved))
        assert set(row) == set(KNOCKOUT_COLUMNS)


# All test samples


def predictions(probabilities, asked, seed=0):
    """A table as predictions.tsv, its rows in any order."""
    rows = [
        (sample, "test", target, asked.votes[place, column], probabilities[place, column])
        for place, sample in enumerate(asked.ids)
        for column, target in enumerate(CLASSES)
    ]
    table = pd.DataFrame(rows, columns=["sample", "role", "target", "observed", "predicted"])
    return table.sample(frac=1, random_state=seed)


def test_predictions_are_in_the_order_of_samples_and_classes():
    asked, probabilities = asked_of(), np.random.default_rng(0).dirichlet(np.ones(3), size=12)
    np.testing.assert_array_equal(predicted(predictions(probabilities, asked), asked), probabilities)


def test_the_divergence_is_that_of_metrics():
    asked, probabilities = asked_of(), np.random.default_rng(0).dirichlet(np.ones(3), size=12)
    probabilities[0] = 1, 0, 0
    found = divergence(asked.votes, probabilities)
    np.testing.assert_allclose(found[1:], slow_divergence(asked.votes[1:], probabilities[1:]))
    metrics = evaluate("votes", asked.votes, probabilities, asked.weight, asked.patients, CLASSES, 0)
    assert np.average(found, weights=asked.weight) == pytest.approx(metrics["kl_divergence"]["value"])


def test_calibration_is_told_bin_by_bin():
    asked, probabilities = asked_of(60, 3), np.random.default_rng(0).dirichlet(np.ones(3), size=60)
    rows = calibration_rows(probabilities, asked)
    assert all(set(row) == set(CALIBRATION_COLUMNS) for row in rows)
    assert sum(row["samples"] for row in rows if row["class"] == "lpd") == 60
    (row,) = [row for row in rows if row["class"] == "lpd" and row["bin"] == 2]
    inside = (probabilities[:, 1] > 0.1) & (probabilities[:, 1] <= 0.2)
    assert row["samples"] == inside.sum()
    assert row["mean_probability"] == pytest.approx(probabilities[inside, 1].mean())
    assert row["vote_fraction"] == pytest.approx(asked.votes[inside, 1].mean())


def test_ablations_are_held_against_the_shown_model_sample_by_sample():
    asked, random = asked_of(30, 3), np.random.default_rng(0)
    told = {name: random.dirichlet(np.ones(3), size=30) for name in ("whole", "eeg_only")}
    metrics = {
        name: {"test": evaluate("votes", asked.votes, own, asked.weight, asked.patients, CLASSES, 20)}
        for name, own in told.items()
    }
    modalities = {"whole": list(BRANCHES), "eeg_only": ["eeg"]}
    whole, alone = ablation_rows(told, modalities, metrics, "whole", asked)
    assert whole["modalities"] == "eeg + spectrogram"
    assert alone["modalities"] == "eeg"
    assert "difference" not in whole
    assert whole["against"] == alone["against"] == "whole"
    assert set(alone) == {"model", *ABLATION_COLUMNS}
    for row in (whole, alone):
        expected = metrics[row["model"]]["test"]["kl_divergence"]
        assert (row["kl_divergence"], row["low"], row["high"]) == tuple(expected.values())
    assert alone["difference"] == pytest.approx(alone["kl_divergence"] - whole["kl_divergence"])
    change = slow_divergence(asked.votes, told["eeg_only"]) - slow_divergence(asked.votes, told["whole"])
    resampling = Resampling.of(asked.patients, 50, 3)
    expected = resampling.interval(resampling.ratios(asked.weight * change, asked.weight))
    assert alone["difference_low"] == pytest.approx(expected["low"])
    assert alone["difference_high"] == pytest.approx(expected["high"])


def test_the_nearest_member_predicts_most_like_the_mean():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), size=(5, 4))
    mean = [[np.mean([own[s][c] for own in probabilities]) for c in range(3)] for s in range(4)]
    far = [sum((own[s][c] - mean[s][c]) ** 2 for s in range(4) for c in range(3)) for own in probabilities]
    assert nearest_member(probabilities) == int(np.argmin(far)) != 0
    assert nearest_member(probabilities[:1]) == 0


def test_the_nearest_member_is_the_first_of_equals():
    random = np.random.default_rng(0)
    for _ in range(50):
        # Two are as far from their mean, which rounding hides.
        assert nearest_member(random.dirichlet(np.ones(3), size=(2, 7))) == 0
    three = random.dirichlet(np.ones(3), size=(3, 7))
    three[1] = three.mean(axis=0)
    distances = [np.linalg.norm(one - three.mean(axis=0)) for one in three]
    assert nearest_member(three) == int(np.argmin(distances)) == 1
