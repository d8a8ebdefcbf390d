"""Tables become datasets: features, levels, classes, missing values and what stands beside the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from consilience.dataset import Dataset
from consilience.domains.tabular.features import in_heights
from consilience.domains.tabular.prepare import prepare
from consilience.files import sha256
from consilience.splits import assign
from tests.unit.tabular_examples import ROWS, contents, csv, frame, prepared, settings


def parquet(folder, table):
    table.to_parquet(folder / "table.parquet")
    return folder / "table.parquet"


def dummies(table, numbers, levels):
    """What the features should be, by pandas."""
    parts = [table[numbers], *(table[name].eq(level).rename(f"{name} = {level}") for name, level in levels)]
    return pd.concat(parts, axis=1).astype(np.float32)


LEVELS = [("color", "blue"), ("color", "green"), ("color", "red"), ("smoker", "yes")]


@pytest.mark.parametrize("write", [csv, parquet])
@pytest.mark.parametrize("memory", [1, 500, 2**20])
def test_columns_become_features(tmp_path, write, memory):
    table = frame()
    audit, dataset = prepared(write(tmp_path, table), memory)
    names, inputs, target, samples, classes = contents(dataset)
    expected = dummies(table, ["grams", "years"], LEVELS)
    assert names == list(expected)
    assert np.array_equal(inputs, expected.to_numpy())
    assert np.array_equal(target, table["y"])
    assert classes == []
    assert samples["id"].tolist() == [str(row) for row in range(1, ROWS + 1)]
    steps = audit.set_index("step")
    assert steps.loc["constant", ["features_before", "features_after", "note"]].tolist() == [5, 4, "constant"]
    assert steps.loc["levels", ["features_before", "features_after"]].tolist() == [4, 6]
    assert steps.loc["dataset", "note"] == "scaling: column"
    with Dataset.open(dataset) as opened:
        assert opened.branches["columns"].scaling == "column"
        assert opened.features[["column", "level"]].iloc[2].tolist() == ["color", "blue"]
        source = tmp_path / ("table.csv" if write is csv else "table.parquet")
        assert opened.file.attrs["source_sha256"] == sha256(source)


def test_blocks_of_whole_chunks_hold_the_same_rows():
    random = np.random.default_rng(0)
    blocks = [random.random((rows, 3)) for rows in (4, 0, 1, 7, 2, 11)]
    found = list(in_heights(blocks, 5))
    assert np.array_equal(np.concatenate(found), np.concatenate(blocks))
    assert [len(block) % 5 for block in found[:-1]] == [0] * (len(found) - 1)


def test_columns_are_chosen_coded_and_left_out(tmp_path):
    table = frame()
    path = csv(tmp_path, table)
    _, dataset = prepared(path, features=["years", "color"], maximum_levels=ROWS, categorical=["years"])
    names, inputs, *_ = contents(dataset)
    ages = sorted(table["years"].unique())
    assert names[: len(ages)] == [f"years = {age}" for age in ages]
    assert np.array_equal(inputs[:, : len(ages)], table["years"].to_numpy()[:, None] == ages)
    assert names[len(ages) :] == ["color = blue", "color = green", "color = red"]
    assert contents(prepared(path, exclude=["grams", "color"])[1])[0] == ["years", "smoker = yes"]


def test_what_names_groups_or_divides_the_rows_is_no_input(tmp_path):
    table = frame()
    table["sample"] = [f"s{row}" for row in range(ROWS)]
    table["patient"] = np.arange(ROWS) // 3
    table["clinic"] = np.where(np.arange(ROWS) < 20, "east", "west")
    table["set"] = np.where(np.arange(ROWS) < 24, "train", "test")
    split = {"group": "patient", "apart": ["clinic"]}
    _, dataset = prepared(csv(tmp_path, table), id="sample", role="set", split=split)
    names, _, _, samples, _ = contents(dataset)
    assert names == ["grams", "years", "color = blue", "color = green", "color = red", "smoker = yes"]
    assert samples["id"].tolist() == table["sample"].tolist()
    assert samples["patient"].tolist() == table["patient"].astype(str).tolist()
    assert samples["clinic"].tolist() == table["clinic"].tolist()
    assert samples["official_role"].tolist() == table["set"].tolist()
    shares = {"mode": "hash", "group": "patient", "apart": [], "train": 0.5, "validation": 0.25, "test": 0.25}
    roles = assign(samples, shares | {"salt": "a-1"})
    assert roles.groupby("group")["role"].nunique().max() == 1


def test_the_salt_of_a_split_makes_no_dataset_anew(tmp_path):
    one, other = (settings(tmp_path, csv(tmp_path, frame()), split={"salt": salt}) for salt in ("a", "b"))
    assert one == other
    assert one["split"] == {"group": "id", "apart": []}


@pytest.mark.parametrize(
    ("values", "task", "classes", "reason"),
    [
        (["b", "a", "c"], "auto", ["a", "b", "c"], "classification, for the target holds texts"),
        ([True, False], "auto", ["False", "True"], "classification, for the target holds texts"),
        ([1, 0, 2], "auto", ["0", "1", "2"], "classification, for the target holds 3 distinct whole numbers"),
        ([1.0, 10.0, 2.0], "auto", ["1", "2", "10"], "classification, for the target holds 3 distinct whole numbers"),
        (range(10), "auto", [str(value) for value in range(10)], "10 distinct whole numbers, at most 10"),
        (range(11), "auto", [], "regression, for the target holds 11 distinct whole numbers, more than 10"),
        ([0.5, 1, 2], "auto", [], "regression, for the target holds numbers with a fraction"),
        ([1, 0, 2], "regression", [], "regression, as the study says"),
        (range(11), "classification", [str(value) for value in range(11)], "classification, as the study says"),
        (["3a", 1, 2], "classification", ["1", "2", "3a"], "classification, as the study says"),
    ],
)
def test_the_task_follows_the_rule_that_is_told(tmp_path, values, task, classes, reason):
    rows = 36
    values = list(values)
    table = frame(rows).assign(y=[values[row % len(values)] for row in range(rows)])
    audit, dataset = prepared(csv(tmp_path, table), task=task)
    _, _, target, _, found = contents(dataset)
    assert found == classes
    assert reason in audit.set_index("step").loc["target", "note"]
    names = [str(value).removesuffix(".0") for value in table["y"]]
    assert ([found[label] for label in target] == names) if classes else np.array_equal(target, table["y"])


def test_classes_may_be_ordered_and_rows_of_others_left_out(tmp_path):
    table = frame().assign(y=np.tile([1, 2, 3], ROWS // 3))
    table.loc[2, "grams"] = np.nan  # of class 3
    audit, dataset = prepared(csv(tmp_path, table), classes=["2", "1"])
    _, inputs, target, samples, classes = contents(dataset)
    assert classes == ["2", "1"]
    assert len(target) == 20
    kept = table["y"].isin([1, 2])
    assert np.array_equal(target, (table["y"][kept] == 1).astype(int))
    assert samples["id"].tolist() == [str(row + 1) for row in np.flatnonzero(kept)]
    assert np.array_equal(inputs[:, 0], table["grams"][kept].astype(np.float32))
    assert audit.set_index("step").loc["other classes", ["samples_before", "samples_after"]].tolist() == [30, 20]


def test_the_positive_class_is_the_one_that_is_explained(tmp_path):
    path = csv(tmp_path, frame().assign(y=np.tile(["benign", "malignant"], ROWS // 2)))
    for positive in ("benign", "malignant"):
        with Dataset.open(prepared(path, positive=positive)[1]) as opened:
            assert opened.targets == [positive]
            assert opened.classes[opened.labels[0]] == "benign"


def holes():
    table = frame()
    table.loc[[3, 7], "grams"] = np.nan
    table.loc[[7, 9], "color"] = None
    table["empty"] = np.nan
    return table


def test_rows_without_a_value_are_dropped_and_counted(tmp_path):
    table = holes().drop(columns="empty")
    table.loc[12, "y"] = np.nan
    table.loc[9, "color"] = "purple"
    table.loc[3, "color"] = "cyan"  # a level, and a row, that is left out
    audit, dataset = prepared(csv(tmp_path, table), 300, missing="drop")
    names, inputs, target, samples, _ = contents(dataset)
    kept = table.dropna()
    assert "color = cyan" not in names
    assert "color = purple" in names
    assert np.array_equal(target, kept["y"])
    assert np.array_equal(inputs[:, 1], kept["years"])
    assert samples["id"].tolist() == [str(row + 1) for row in kept.index]
    steps = audit.set_index("step")
    assert steps.loc["missing target", ["samples_before", "samples_after"]].tolist() == [30, 29]
    assert steps.loc["missing values", ["samples_before", "samples_after"]].tolist() == [29, 27]


@pytest.mark.parametrize("write", [csv, parquet])
def test_what_is_absent_is_masked_all_levels_of_a_column_together(tmp_path, write):
    table = holes()
    audit, dataset = prepared(write(tmp_path, table), 300, missing="mask")
    names, inputs, *_ = contents(dataset)
    expected = dummies(table, ["grams", "years"], LEVELS)
    expected.loc[table["color"].isna(), [f"color = {level}" for _, level in LEVELS[:3]]] = np.nan
    assert names == list(expected)
    assert np.array_equal(inputs, expected.to_numpy(), equal_nan=True)
    steps = audit.set_index("step")
    assert steps.loc["missing values", "note"] == "empty 30, grams 2, color 2"
    assert steps.loc["constant", "note"] == "constant, empty"
    with Dataset.open(dataset) as opened:
        # What a mask covers is stored as zero.
        assert opened.inputs("columns")[3, 0] == 0


def test_nothing_is_masked_where_nothing_is_absent(tmp_path):
    with Dataset.open(prepared(csv(tmp_path, frame()), missing="mask")[1]) as opened:
        assert opened.mask("columns") is None


def test_two_preparations_are_the_same_to_the_byte(tmp_path):
    path, found = csv(tmp_path, holes()), []
    for name, memory in (("a", 2**20), ("b", 2**20)):
        own = settings(tmp_path, path, missing="mask")
        prepare([path], own, tmp_path / f"{name}.h5", 0, memory)
        found.append((tmp_path / f"{name}.h5").read_bytes())
    assert found[0] == found[1]
