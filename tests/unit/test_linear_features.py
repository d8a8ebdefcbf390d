"""The feature table against loops over units, and its standardization against NumPy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.linear import features as module
from consilience.linear.features import feature_table, standardize
from consilience.scaling import FLOOR

SAMPLES = 23
IMAGE = np.array([[0, 0, 3], [3, 1, -1], [1, 0, 3], [2, 2, 2]])


def write(path, branches: dict, generator: np.random.Generator):
    """Write a dataset of branches {name: (units, reduce, masked)} and return inputs and masks by branch."""
    count = 1 + max(units.max() for units, _, _ in branches.values())
    owner = np.empty(count, dtype=object)
    for name, (units, _, _) in branches.items():
        owner[units[units >= 0]] = name
    inputs, masks = {}, {}
    with write_dataset(path, "regression", "y", "unit", "test", "none") as writer:
        writer.features(pd.DataFrame({"name": [f"f{index}" for index in range(count)], "branch": owner}))
        writer.samples(pd.DataFrame({"id": [f"s{index}" for index in range(SAMPLES)]}))
        writer.target(generator.normal(size=SAMPLES))
        for name, (units, reduce, masked) in branches.items():
            inputs[name] = generator.normal(size=(SAMPLES, *units.shape)).astype(np.float32)
            masks[name] = generator.random(size=inputs[name].shape) < 0.3 if masked else None
            writer.branch(name, units, SAMPLES, "feature", reduce, masked)
            writer.append(name, inputs[name], masks[name])
    return inputs, masks


def naive(branches, inputs, masks) -> np.ndarray:
    count = 1 + max(units.max() for units, _, _ in branches.values())
    table = np.full((SAMPLES, count), np.nan)
    for name, (units, reduce, _) in branches.items():
        for sample in range(SAMPLES):
            present = np.ones(units.shape, bool) if masks[name] is None else ~masks[name][sample]
            for feature in np.unique(units[units >= 0]):
                values = inputs[name][sample][(units == feature) & present].astype(np.float64)
                if len(values):
                    table[sample, feature] = values.mean() if reduce == "mean" else values.sum()
    return table


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("block", [None, 1, 7])
def test_features_are_means_or_sums_of_the_elements_present(tmp_path, masked, reduce, block):
    # Features of the image are 0-3; those of the vector are spread, permuted, and not neighbors.
    branches = {"image": (IMAGE, reduce, masked), "vector": (np.array([8, 4, -1, 6]), "mean", masked)}
    branches["rest"] = (np.array([5, 7, 7]), "mean", False)
    inputs, masks = write(tmp_path / "d.h5", branches, np.random.default_rng(0))
    expected = naive(branches, inputs, masks).astype(np.float32)
    assert np.isnan(expected).any() == masked
    with Dataset.open(tmp_path / "d.h5") as dataset:
        table = feature_table(dataset, block=block)
        assert table.dtype == np.float32
        np.testing.assert_array_equal(table, expected)
        rows = np.array([5, 22, 0, 5, 9])
        np.testing.assert_array_equal(feature_table(dataset, rows, block), expected[rows])


@pytest.mark.parametrize("masked", [False, True])
def test_one_element_a_feature_is_that_element_exactly(tmp_path, masked):
    inputs, masks = write(tmp_path / "d.h5", {"genes": (np.arange(40), "sum", masked)}, np.random.default_rng(1))
    with Dataset.open(tmp_path / "d.h5") as dataset:
        table = feature_table(dataset)
    np.testing.assert_array_equal(
        table, np.where(masks["genes"], np.nan, inputs["genes"]) if masked else inputs["genes"]
    )


def test_a_branch_without_features_adds_none(tmp_path):
    branches = {"genes": (np.arange(4), "mean", False), "context": (np.full(3, -1), "mean", True)}
    inputs, _ = write(tmp_path / "d.h5", branches, np.random.default_rng(1))
    with Dataset.open(tmp_path / "d.h5") as dataset:
        np.testing.assert_array_equal(feature_table(dataset), inputs["genes"])


def test_standardization_is_numpys_with_the_floor_of_the_branch(monkeypatch):
    generator = np.random.default_rng(3)
    table = (generator.normal(size=(50, 6)) * [1, 2, 0.001, 10, 30, 0.2] + 7).astype(np.float32)
    table[generator.random(table.shape) < 0.2] = np.nan
    branches = np.array(["a", "a", "a", "b", "b", "b"])
    monkeypatch.setattr(module, "BLOCK_BYTES", 8 * 6 * 11)
    fitted = standardize(table, branches)
    wide = table.astype(np.float64)
    np.testing.assert_allclose(fitted.center, np.nanmean(wide, axis=0), rtol=1e-12)
    np.testing.assert_allclose(fitted.deviation, np.nanstd(wide, axis=0), rtol=1e-9)
    floors = [FLOOR * np.sqrt(np.mean(fitted.deviation[own] ** 2)) for own in (slice(3), slice(3, 6))]
    np.testing.assert_allclose(fitted.scale, np.maximum(fitted.deviation, np.repeat(floors, 3)), rtol=1e-12)
    assert (fitted.scale > fitted.deviation).tolist() == [False, False, True, False, False, True]
    expected = np.nan_to_num((wide - fitted.center) / fitted.scale)
    result = fitted.apply(table)
    assert result is table and result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_columns_of_own_units_have_no_floor():
    table = np.random.default_rng(4).normal(size=(50, 4)).astype(np.float32) * np.float32([1e5, 1e-4, 0, 3])
    fitted = standardize(table, np.array(["own", "own", "own", "shared"]), ["own"])
    np.testing.assert_array_equal(fitted.scale[[0, 1, 3]], fitted.deviation[[0, 1, 3]])
    other = np.full((2, 4), 1e6, np.float32)
    assert (fitted.apply(other)[:, 2] == 0).all()
    assert fitted.deviation[2] / fitted.scale[2] == 0


def test_what_is_constant_or_absent_throughout_becomes_zero():
    table = np.full((9, 3), 0.1, dtype=np.float32)
    table[:, 1] = np.nan
    table[:, 2] = np.arange(9)
    fitted = standardize(table, np.array(["a", "a", "b"]))
    assert fitted.deviation[:2].tolist() == [0, 0] and fitted.scale[:2].tolist() == [1, 1]
    assert not fitted.apply(table)[:, :2].any()
    np.testing.assert_allclose(table[:, 2], (np.arange(9) - 4) / np.std(np.arange(9)), rtol=1e-6)
