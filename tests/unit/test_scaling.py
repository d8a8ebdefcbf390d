from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from consilience import scaling
from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.errors import ConsilienceError
from consilience.scaling import FLOOR, Scaling, apply, fit, identity, scaled_inputs, unit_of_noise
from tests.unit.training_examples import two_branch_dataset


def write(path, inputs, how, mask=None):
    units = np.arange(inputs[0].size).reshape(inputs.shape[1:])
    with write_dataset(path, "regression", "y", "z", "made", "0") as writer:
        writer.features(pd.DataFrame({"name": [f"f{unit}" for unit in units.ravel()], "branch": "x"}))
        writer.samples(pd.DataFrame({"id": [f"s{sample}" for sample in range(len(inputs))]}))
        writer.target(np.arange(len(inputs)))
        writer.branch("x", units, len(inputs), how, masked=mask is not None)
        writer.append("x", inputs, mask)
    return path


@pytest.fixture
def images():
    return np.random.default_rng(0).gamma(2, np.arange(1, 7), (40, 4, 6)).astype(np.float32)


@pytest.fixture
def tiny_blocks(monkeypatch):
    monkeypatch.setattr(scaling, "BLOCK_BYTES", 4 * 24 * 7)


@pytest.mark.parametrize("block", [4, 4 * 24 * 7, 2**24])
def test_feature_scaling_is_standard_scaling_for_any_block(tmp_path, images, monkeypatch, block):
    monkeypatch.setattr(scaling, "BLOCK_BYTES", block)
    rows = np.array([30, 2, 17, 5, 39, 8, 11, 23, 1, 0])
    with Dataset.open(write(tmp_path / "d.h5", images, "feature")) as dataset:
        fitted = fit(dataset, "x", rows)
    expected = StandardScaler().fit(images[rows].reshape(len(rows), -1).astype(np.float64))
    assert np.allclose(fitted.center.ravel(), expected.mean_, rtol=1e-6)
    assert np.allclose(fitted.scale.ravel(), expected.scale_, rtol=1e-6)
    assert np.array_equal(fitted.spread, fitted.scale)
    assert np.allclose(
        apply(fitted, images).reshape(40, -1), expected.transform(images.reshape(40, -1)), rtol=1e-5, atol=1e-6
    )


def test_columns_of_own_units_are_standardized_whatever_their_size(tmp_path):
    """A floor relative to the others would make nothing of the small one; what is constant in training says nothing."""
    sizes = np.array([1e4, 1, 1e-4, 0], np.float32)
    inputs = np.random.default_rng(0).normal(3, 1, (60, 4)).astype(np.float32) * sizes
    inputs[50:, 3] = 1e6
    rows = np.arange(40)
    with Dataset.open(write(tmp_path / "d.h5", inputs, "column")) as dataset:
        fitted = fit(dataset, "x", rows)
    expected = StandardScaler().fit_transform(inputs[:40, :3].astype(np.float64))
    assert np.allclose(apply(fitted, inputs)[:40, :3], expected, rtol=1e-4, atol=1e-4)
    assert (apply(fitted, inputs)[:, 3] == 0).all()
    assert (fitted.spread / fitted.scale).tolist() == pytest.approx([1, 1, 1, 0])
    assert unit_of_noise(fitted, "column") == pytest.approx(np.sqrt(3 / 4))


@pytest.mark.parametrize(("how", "axes"), [("band", (0, 1)), ("scalar", (0, 1, 2))])
def test_scaling_together(tmp_path, images, tiny_blocks, how, axes):
    rows = np.arange(5, 35)
    with Dataset.open(write(tmp_path / "d.h5", images, how)) as dataset:
        fitted = fit(dataset, "x", rows)
    chosen = images[rows].astype(np.float64)
    assert np.allclose(fitted.center, chosen.mean(axis=axes, keepdims=True)[0], rtol=1e-6)
    assert np.allclose(fitted.scale, chosen.std(axis=axes, keepdims=True)[0], rtol=1e-6)
    assert np.allclose(fitted.spread, chosen.std(axis=0), rtol=1e-6)


def test_no_scaling_keeps_inputs_but_knows_their_spread(tmp_path, images):
    with Dataset.open(write(tmp_path / "d.h5", images, "none")) as dataset:
        fitted = fit(dataset, "x", np.arange(40))
    assert np.array_equal(apply(fitted, images), images)
    assert np.allclose(fitted.spread, images.std(axis=0, dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize(("how", "axes"), [("feature", 0), ("band", (0, 1)), ("scalar", None)])
def test_masked_values_count_for_nothing(tmp_path, images, tiny_blocks, how, axes):
    mask = np.random.default_rng(1).random(images.shape) < 0.3
    mask[:, 0, 0] = True  # absent everywhere
    with Dataset.open(write(tmp_path / "d.h5", images, how, mask)) as dataset:
        fitted = fit(dataset, "x", np.arange(40))
        stored, stored_mask = dataset.inputs("x"), dataset.mask("x")
    present = np.ma.masked_array(images.astype(np.float64), mask)
    center = np.broadcast_to(np.ma.filled(present.mean(axis=axes), 0), (4, 6))
    deviation = np.broadcast_to(np.ma.filled(present.std(axis=axes), 0), (4, 6))
    known = np.ones((4, 6), bool)
    known[0, 0] = how != "feature"
    assert np.allclose(np.broadcast_to(fitted.center, (4, 6)), center, rtol=1e-6)
    assert np.allclose(np.broadcast_to(fitted.scale, (4, 6))[known], deviation[known], rtol=1e-6)
    scaled = apply(fitted, stored, stored_mask)
    assert np.all(scaled[mask] == 0)
    assert np.isfinite(scaled).all()
    assert fitted.spread[0, 0] == 0


def test_a_large_offset_does_not_cancel(tmp_path, tiny_blocks):
    inputs = (1e4 + np.random.default_rng(2).normal(0, 0.05, (200, 24))).astype(np.float32)
    with Dataset.open(write(tmp_path / "d.h5", inputs, "feature")) as dataset:
        fitted = fit(dataset, "x", np.arange(200))
    assert np.allclose(fitted.scale, inputs.astype(np.float64).std(axis=0), rtol=1e-6)


def test_elements_that_hardly_vary_are_not_blown_up(tmp_path):
    inputs = np.random.default_rng(3).normal(0, 1, (50, 10)).astype(np.float32)
    inputs[:, 0] = 12.3
    inputs[:, 1] *= 1e-6
    with Dataset.open(write(tmp_path / "d.h5", inputs, "feature")) as dataset:
        fitted = fit(dataset, "x", np.arange(50))
    deviation = inputs.astype(np.float64).std(axis=0)
    floor = FLOOR * np.sqrt(np.mean(deviation**2))
    assert np.allclose(fitted.scale[:2], floor)
    assert np.allclose(fitted.scale[2:], deviation[2:])
    assert np.allclose(fitted.spread, deviation, atol=1e-7)
    assert np.all(apply(fitted, inputs)[:, 0] == 0)


def test_a_constant_branch_is_only_centered(tmp_path):
    inputs = np.full((20, 3), 7.25, np.float32)
    with Dataset.open(write(tmp_path / "d.h5", inputs, "feature")) as dataset:
        fitted = fit(dataset, "x", np.arange(20))
    assert np.all(fitted.scale == 1)
    assert np.all(apply(fitted, inputs) == 0)


def test_no_rows_are_refused(tmp_path, images):
    with (
        Dataset.open(write(tmp_path / "d.h5", images, "feature")) as dataset,
        pytest.raises(ConsilienceError, match=r"d\.h5: branch x: no training rows"),
    ):
        fit(dataset, "x", np.array([], int))


def test_apply_leaves_its_input_alone(images):
    before = images.copy()
    apply(Scaling(np.ones(6, np.float32), np.full(6, 2, np.float32), np.ones((4, 6), np.float32)), images, images > 3)
    assert np.array_equal(images, before)


@pytest.mark.parametrize("rows", [None, np.array([7, 3, 60, 61, 0])])
def test_scaled_inputs_come_in_branch_order_with_masks(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(scaling, "BLOCK_BYTES", 130)
    with Dataset.open(two_branch_dataset(tmp_path / "d.h5")) as dataset:
        scalings = {branch: fit(dataset, branch, np.arange(50)) for branch in dataset.branches}
        inputs, auxiliary = scaled_inputs(dataset, scalings, rows)
        chosen = np.arange(len(dataset)) if rows is None else rows
        assert list(dataset.branches) == ["genes", "image"]
        assert sorted(auxiliary) == ["depth", "mask_image"]
        mask = dataset.mask("image")[chosen]
        assert np.array_equal(auxiliary["mask_image"], mask)
        assert np.array_equal(auxiliary["depth"], dataset.auxiliary()["depth"][chosen])
        assert inputs[0].dtype == inputs[1].dtype == np.float32
        raw = dataset.inputs("image")[chosen].astype(np.float64)
        expected = np.where(mask, 0, (raw - scalings["image"].center) / scalings["image"].scale)
        assert np.allclose(inputs[1], expected, atol=1e-5)
        assert inputs[0].shape == (len(chosen), 4)


def test_identity_changes_nothing(images):
    assert np.array_equal(apply(identity((4, 6)), images), images)


def test_noise_is_measured_in_the_sd_of_a_branch_or_in_its_own_unit():
    scaling = Scaling(np.zeros(2, np.float32), np.array([2, 4], np.float32), np.array([1, 6], np.float32))
    assert unit_of_noise(scaling, "feature") == pytest.approx(np.sqrt((0.5**2 + 1.5**2) / 2))
    assert unit_of_noise(scaling, "none") == 1
