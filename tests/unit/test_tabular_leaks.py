"""Columns that are the target again, and rows that are others again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr

from consilience.domains.tabular.leaks import Watch
from consilience.errors import ConsilienceError
from tests.unit.tabular_examples import ROWS, csv, frame, prepared


@pytest.mark.parametrize("block", [1, 7, 200])
def test_correlations_are_scipys_whatever_the_block(block):
    random = np.random.default_rng(0)
    target = random.normal(1e3, 2, 200)
    values = random.normal(size=(200, 5)) * [1, 1e-6, 1e6, 1, 0] + target[:, None] * [0, 1e-6, -1e6, 1e-9, 0] + 5
    values[random.random(values.shape) < 0.2] = np.nan
    watch = Watch(list("abcde"), target, 0)
    for start in range(0, 200, block):
        watch.add(values[start : start + block])
    expected = []
    for column in values[:, :4].T:
        present = ~np.isnan(column)
        expected.append(pearsonr(column[present], target[present]).statistic)
    assert watch.correlation[:4] == pytest.approx(expected, abs=1e-9)
    assert watch.correlation[4] == 0


@pytest.mark.parametrize("copy", [lambda y: y, lambda y: -3 * y + 1e4, lambda y: y / 7])
def test_a_number_that_is_the_target_again_is_refused(tmp_path, copy):
    table = frame()
    table["other"] = copy(table["y"])
    with pytest.raises(ConsilienceError, match=r"column other is y again \(1 such columns: other\); .*exclude"):
        prepared(csv(tmp_path, table))
    assert not (tmp_path / "dataset.h5").exists()
    prepared(csv(tmp_path, table), exclude=["other"])


def test_a_number_that_is_nearly_the_target_is_told(tmp_path):
    table = frame(200)
    table["near"] = table["y"] + np.random.default_rng(5).normal(0, 0.05, 200)
    audit, _ = prepared(csv(tmp_path, table))
    r = pearsonr(table["near"], table["y"]).statistic
    assert audit.set_index("step").loc["leaks", "note"] == f"near (r {r:.4f})"


def classes():
    return frame().assign(y=np.random.default_rng(2).permutation(np.tile(["a", "b", "c"], ROWS // 3)))


@pytest.mark.parametrize("values", [{"a": "x", "b": "y", "c": "z"}, {"a": 2, "b": 0.5, "c": 9}])
def test_a_column_that_stands_one_to_one_for_classes_is_refused(tmp_path, values):
    table = classes()
    table["other"] = table["y"].map(values)
    with pytest.raises(ConsilienceError, match="column other is y again"):
        prepared(csv(tmp_path, table))


@pytest.mark.parametrize("values", [{"a": "x", "b": "x", "c": "z"}, {"a": 2, "b": 0.5, "c": 2}])
def test_a_column_that_the_class_determines_is_told(tmp_path, values):
    """Milk tells mammals from all others, and is no leak: the person has to say."""
    table = classes()
    table["milk"] = table["y"].map(values)
    assert prepared(csv(tmp_path, table))[0].set_index("step").loc["leaks", "note"] == "milk"
    assert "leaks" not in set(prepared(csv(tmp_path, classes()))[0]["step"])


def test_rows_that_come_again_are_counted(tmp_path):
    table = frame()
    table = pd.concat([table, table.iloc[[3, 3, 8]].assign(y=[0.1, 0.2, 0.3])], ignore_index=True)
    audit, _ = prepared(csv(tmp_path, table))
    assert audit.set_index("step").loc["repeated", ["samples_before", "samples_after"]].tolist() == [33, 3]
    assert "repeated" not in set(prepared(csv(tmp_path, frame()))[0]["step"])


def leaks(folder, table):
    """What the audit says of leaks, "" where it says nothing."""
    return prepared(csv(folder, table), maximum_levels=90)[0].set_index("step")["note"].get("leaks", "")


def random_classes(rows):
    return frame(rows).assign(y=np.random.default_rng(2).permutation(np.tile(["a", "b", "c"], rows // 3)))


def test_a_number_that_separates_the_classes_is_told(tmp_path):
    table = random_classes(90)
    noise = np.random.default_rng(4).random(90)
    table["apart"] = table["y"].map({"a": 2.0, "b": -1.0, "c": 0.5}) + noise
    assert leaks(tmp_path, table) == "apart (the ranges of the classes do not overlap)"
    table["apart"] += noise * (table["y"] == "b")  # up to 1, and c begins at 0.5
    assert leaks(tmp_path, table) == ""


def test_noise_separates_few_rows_and_is_not_told(tmp_path):
    table = frame(12).assign(y=["a"] * 3 + ["b"] * 9).drop(columns=["color", "smoker"])
    table["apart"] = [0.3, 0.1, 0.2, 0.7, 0.4, 0.6, 0.5, 0.9, 0.8, 1.3, 1.1, 1.0]
    assert leaks(tmp_path, table) == "apart (the ranges of the classes do not overlap)"
    # 2 of the 220 ways to choose the rows of a: with nine columns, 0.08 are expected by chance.
    more = {f"more {place}": np.random.default_rng(place).permutation(12) / 2 for place in range(6)}
    assert leaks(tmp_path, table.assign(**more)) == ""


def test_levels_that_are_each_in_one_class_are_told(tmp_path):
    table = random_classes(90)
    place = np.random.default_rng(3).integers(0, 4, 90)
    table["clinic"] = [f"{label}{number}" for label, number in zip(table["y"], place, strict=True)]
    assert leaks(tmp_path, table) == "clinic (every level is in one class)"
    table.loc[0, "clinic"] = table.loc[table["y"] != table.loc[0, "y"], "clinic"].iloc[0]
    assert leaks(tmp_path, table) == ""
    # A level for every row says nothing.
    assert leaks(tmp_path, table.assign(clinic=[f"n{row}" for row in range(90)])) == ""


@pytest.mark.parametrize("absent", [0.0, 0.3])
def test_ranks_are_scipys(absent):
    random = np.random.default_rng(0)
    target = random.normal(size=300).round(1)
    values = random.normal(size=(300, 4)) + target[:, None] * [0, 1, 9, 0]
    values[random.random(values.shape) < absent] = np.nan
    values[:, 3] = 5
    watch = Watch(list("abcd"), target, 0)
    for start in range(0, 300, 70):
        watch.add(values[start : start + 70])
    expected = [spearmanr(column, target, nan_policy="omit").statistic for column in values[:, :3].T]
    assert watch.sample.correlation == pytest.approx([*expected, 0], abs=1e-12)


def test_a_monotone_copy_of_the_target_is_told(tmp_path):
    table = frame(2000)
    table["growth"], table["fall"] = np.exp(3 * table["y"]), -np.exp(-2 * table["y"])
    assert leaks(tmp_path, table) == "growth (of ranks 1.0000), fall (of ranks 1.0000)"
