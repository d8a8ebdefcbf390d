"""When in a segment attributions lie, against loops over samples and windows."""

from types import SimpleNamespace

import numpy as np
import pytest

from consilience.dataset import Dataset
from consilience.domains.eeg.asked import ALL, Asked
from consilience.domains.eeg.windows import (
    WINDOW_COLUMNS,
    central,
    central_share,
    chances,
    has_windows,
    occlusion_maps,
    own_class_maps,
    present_windows,
    window_rows,
    window_shares,
)
from consilience.faithfulness.resampling import Resampling
from tests.unit.eeg_networks import BRANCHES, write_study

UNTRAINED = ("untrained", "beyond", "beyond_low", "beyond_high")
CLASSES = ["seizure", "lpd", "other"]
SHAPES = {"eeg": (5, 19, 5), "spectrogram": (4, 4, 4)}


def asked_of(samples=12, classes=3):
    random = np.random.default_rng(0)
    labels = random.integers(classes, size=samples)
    return Asked(
        [f"s{place}" for place in range(samples)], np.array([f"p{place // 2}" for place in range(samples)]),
        labels, np.eye(classes)[labels], np.ones(samples), CLASSES[:classes], 50, 3,
    )  # fmt: skip


def attributions_of(asked, targets=3, members=3):
    random, count = np.random.default_rng(1), len(asked)
    maps = {branch: random.normal(size=(members, targets, count, *SHAPES[branch])) for branch in BRANCHES}
    return SimpleNamespace(showcase={"samples": asked.ids, **maps}, real=np.array([True, True, False]))


@pytest.mark.parametrize(("targets", "classes"), [(3, 3), (1, 2)])
@pytest.mark.parametrize("signed", [True, False])
def test_maps_are_those_of_the_own_class_by_members_on_real_labels(targets, classes, signed):
    asked = asked_of(classes=classes)
    one = attributions_of(asked, targets)
    found = own_class_maps(one, asked, signed)
    for branch in BRANCHES:
        assert found[branch].shape == (12, *SHAPES[branch])
        for place, label in enumerate(asked.labels):
            mean = one.showcase[branch][:2, label if targets > 1 else 0, place].mean(axis=0)
            turned = mean * (-1 if targets == 1 and label == 0 else 1)
            np.testing.assert_allclose(found[branch][place], turned if signed else np.abs(mean))


def test_shares_are_of_absolute_values_and_sum_to_one():
    maps = np.random.default_rng(0).normal(size=(3, 4, 2, 2))
    maps[1] = 0
    found = window_shares(maps)
    for sample in (0, 2):
        sizes = [np.abs(maps[sample, window]).sum() for window in range(4)]
        np.testing.assert_allclose(found[sample], np.array(sizes) / sum(sizes))
    assert np.isnan(found[1]).all()


@pytest.mark.parametrize(("windows", "middle"), [(1, [0]), (4, [1, 2]), (9, [4]), (119, [59])])
def test_the_middle_is_one_window_or_two(windows, middle):
    assert central(windows) == middle
    shares = np.random.default_rng(0).dirichlet(np.ones(windows), size=3)
    np.testing.assert_allclose(central_share(shares), [sum(row[place] for place in middle) for row in shares])


def test_windows_that_are_absent_have_no_even_share(tmp_path):
    with Dataset.open(write_study(tmp_path / "dataset.h5")) as dataset:
        rows = dataset.rows_of(["s15", "s13", "s17"])
        eeg, spectrogram = (present_windows(dataset, branch, rows) for branch in BRANCHES)
    np.testing.assert_array_equal(eeg, [[True, True, False, True, True], [True] * 5, [True] * 5])
    np.testing.assert_array_equal(spectrogram[2], [False] + [True] * 6)
    np.testing.assert_allclose(chances(eeg)[:2], [[0.25, 0.25, 0, 0.25, 0.25], [0.2] * 5])


def test_rows_of_windows_have_their_seconds_share_chance_and_signed_mean():
    asked, random = asked_of(), np.random.default_rng(2)
    maps = {branch: random.normal(size=(12, *SHAPES[branch])) for branch in BRANCHES}
    maps["eeg"][3] = 0  # nothing is attributed
    present = {branch: np.ones((12, SHAPES[branch][0]), bool) for branch in BRANCHES}
    present["spectrogram"][5, 0] = False
    rows = window_rows(maps, present, asked, 10, 5, True)
    assert len(rows) == 4 * (5 + 4)
    for row in rows:
        branch, window = row["branch"], row["window"]
        assert (row["start_seconds"], row["stop_seconds"]) == (5 * window, 5 * window + 10)
        places = [place for place in range(12) if row["target"] in (ALL, CLASSES[asked.labels[place]])]
        places = np.array([place for place in places if maps[branch][place].any()])
        own = np.abs(maps[branch][places]).sum(axis=(2, 3))
        shares = own[:, window] / own.sum(axis=1)
        assert row["samples"] == len(places)
        assert row["share"] == pytest.approx(shares.mean())
        resampling = Resampling.of(asked.patients[places], 50, 3)
        expected = resampling.interval(resampling.means(shares))
        assert row["low"] == (None if expected["low"] is None else pytest.approx(expected["low"]))
        assert row["high"] == (None if expected["high"] is None else pytest.approx(expected["high"]))
        assert row["signed"] == pytest.approx(maps[branch][places, window].sum(axis=(1, 2)).mean())
        even = [present[branch][place, window] / present[branch][place].sum() for place in places]
        assert row["chance"] == pytest.approx(np.mean(even))
        assert set(row) | {"method", *UNTRAINED} == set(WINDOW_COLUMNS)
        assert not set(row) & set(UNTRAINED)
    assert any(row["low"] is not None for row in rows)


def test_methods_without_a_sign_have_no_signed_mean_and_branches_without_attribution_no_row():
    asked = asked_of()
    maps = {"eeg": np.abs(np.random.default_rng(2).normal(size=(12, 5, 19, 5))), "spectrogram": np.zeros((12, 4, 4, 4))}
    present = {branch: np.ones((12, SHAPES[branch][0]), bool) for branch in BRANCHES}
    rows = window_rows(maps, present, asked, 10, 5, False)
    assert {row["branch"] for row in rows} == {"eeg"}
    assert np.isnan([row["signed"] for row in rows]).all()


def test_shares_are_held_against_those_before_training_sample_by_sample():
    asked, random = asked_of(), np.random.default_rng(4)
    maps, before = ({"eeg": random.normal(size=(12, 5, 1, 1))} for _ in range(2))
    before["eeg"][3] = 0  # nothing is lost before training
    present = {"eeg": np.ones((12, 5), bool)}
    for row in window_rows(maps, present, asked, 10, 5, True, before):
        places = [place for place in range(12) if row["target"] in (ALL, CLASSES[asked.labels[place]])]
        both = np.array([place for place in places if place != 3])
        own, blank = (
            np.abs(part["eeg"][both, row["window"], 0, 0]) / np.abs(part["eeg"][both]).sum(axis=(1, 2, 3))
            for part in (maps, before)
        )
        assert set(row) | {"method"} == set(WINDOW_COLUMNS)
        assert row["untrained"] == pytest.approx(blank.mean())
        assert row["beyond"] == pytest.approx((own - blank).mean())
        resampling = Resampling.of(asked.patients[both], 50, 3)
        expected = resampling.interval(resampling.means(own - blank))
        assert row["beyond_low"] == (None if expected["low"] is None else pytest.approx(expected["low"]))
        assert row["beyond_high"] == (None if expected["high"] is None else pytest.approx(expected["high"]))


@pytest.mark.parametrize(("targets", "classes"), [(3, 3), (1, 2)])
def test_losses_of_windows_are_those_of_the_own_class_by_the_mean_of_members(targets, classes):
    asked = asked_of(classes=classes)
    falls = np.random.default_rng(5).normal(size=(5, 2, 12, targets))
    found = occlusion_maps({"eeg": falls}, asked)["eeg"]
    assert found.shape == (12, 5, 1, 1)
    for place, label in enumerate(asked.labels):
        own = falls[:, :, place, label if targets > 1 else 0].mean(axis=1)
        np.testing.assert_allclose(found[place, :, 0, 0], own * (-1 if targets == 1 and label == 0 else 1))


def test_methods_that_take_features_out_tell_no_windows_apart():
    assert [has_windows(name) for name in ("saliency", "integrated_gradients_from_blurred")] == [True, True]
    assert [has_windows(name) for name in ("occlusion", "occlusion_from_zero")] == [False, False]
