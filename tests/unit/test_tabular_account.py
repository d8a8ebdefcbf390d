"""What the audit tells of a table beyond what was left out, and what float32 would not hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from consilience.domains.tabular.account import alike
from consilience.domains.tabular.row_names import RowNames
from consilience.errors import ConsilienceError
from tests.unit.tabular_examples import ROWS, contents, csv, frame, prepared


def notes(path, **changes):
    """The notes of an audit by step, and the path of the dataset."""
    audit, dataset = prepared(path, **changes)
    return audit.set_index("step")["note"], dataset


@pytest.mark.parametrize(
    ("values", "offset"),
    [
        (1.7e9 + np.random.default_rng(0).permutation(3600)[:ROWS], True),  # an hour in seconds since 1970
        (4e8 + np.random.default_rng(0).permutation(60)[:ROWS], True),
        (1 + 1e-8 * np.random.default_rng(0).random(ROWS), True),
        (np.random.default_rng(0).normal(2000, 5, ROWS), False),
    ],
)
def test_what_float32_would_round_away_is_kept(tmp_path, values, offset):
    told, dataset = notes(csv(tmp_path, frame().assign(time=values)))
    names, inputs, *_ = contents(dataset)
    found = inputs[:, names.index("time")]
    least = values.min() if offset else 0
    assert np.array_equal(found, (values - least).astype(np.float32))
    assert len(np.unique(found)) == ROWS
    assert ("offsets" in told) == offset
    if offset:
        assert told["offsets"].startswith("time less 1") or told["offsets"].startswith("time less 4000000")


def test_rounding_is_no_variation(tmp_path):
    table = frame().assign(jitter=np.where(np.arange(ROWS) % 2, 0.1 + 0.2, 0.3))
    assert notes(csv(tmp_path, table))[0]["constant"] == "constant, jitter"


@pytest.mark.parametrize("block", [1, 7, 200])
@pytest.mark.parametrize(
    ("values", "counts", "distinct"),
    [
        (np.arange(200.0) + 17, True, True),
        (900.0 - np.arange(200), True, True),
        (2.0 * np.arange(200), True, True),
        (np.arange(200) * 0.1, True, False),
        (np.random.default_rng(0).permutation(200) + 1e8, False, True),
        (np.r_[np.arange(199.0), 5], False, False),
        (np.full(200, 3.0), False, False),
        (np.r_[np.nan, np.arange(199.0)], False, False),
        (np.arange(200.0) ** 2 + 0.5, False, False),
    ],
)
def test_columns_that_name_the_rows(block, values, counts, distinct):
    found = RowNames(2)
    for start in range(0, 200, block):
        own = values[start : start + block]
        found.add(np.column_stack([own, np.zeros(len(own))]), np.arange(start, start + len(own)) + 1)
    assert found.counting.tolist() == [counts, False]
    assert found.distinct.tolist() == [distinct, False]


def test_steps_are_from_row_to_row_of_the_table(tmp_path):
    table = frame().assign(index=90 - 3 * np.arange(ROWS))
    table.loc[[4, 5, 11], "y"] = np.nan
    with pytest.raises(ConsilienceError, match="column index counts the rows, in even steps"):
        prepared(csv(tmp_path, table), missing="drop")


def test_whole_numbers_that_never_repeat_are_told(tmp_path):
    table = frame().assign(patient=np.random.default_rng(0).permutation(ROWS) + 500)
    assert notes(csv(tmp_path, table))[0]["row names"] == "patient"
    assert "row names" not in notes(csv(tmp_path, frame()))[0]


def test_signs_have_a_class_they_are_towards(tmp_path):
    path = csv(tmp_path, frame().assign(y=np.tile(["benign", "malignant"], ROWS // 2)))
    told = notes(path)[0]["target"]
    assert told.endswith("; signs are towards malignant, the second by size or alphabet: positive: benign turns them")
    assert notes(path, positive="benign")[0]["target"].endswith("; signs are towards benign, as positive says")
    assert "the second in classes" in notes(path, classes=["malignant", "benign"])[0]["target"]
    three = csv(tmp_path, frame().assign(y=np.tile(["a", "b", "c"], ROWS // 3)))
    assert "signs" not in notes(three)[0]["target"]


def test_rare_classes_are_told(tmp_path):
    path = csv(tmp_path, frame().assign(y=["a"] * 9 + ["b"] * 10 + ["c"] * 11))
    assert notes(path)[0]["rare classes"] == "a 9"


def test_levels_and_classes_that_read_the_same_are_told(tmp_path):
    assert alike(["1", "b", "1.0", "01", "B", "c"]) == ["1 = 1.0", "1 = 01", "b = B"]
    table = frame().assign(sex=np.tile(["F", "f", "m"], ROWS // 3), y=np.tile(["Yes", "yes"], ROWS // 2))
    told, _ = notes(csv(tmp_path, table))
    assert told["alike"] == "sex: F = f"
    assert told["alike classes"] == "Yes = yes"


def test_numbers_with_leading_zeros_are_told(tmp_path):
    zips = [f"{place:05d}" for place in np.random.default_rng(0).integers(1000, 99999, ROWS)]
    zips[0] = "01067"
    path = csv(tmp_path, frame().assign(zip=zips, share=0.5 + np.arange(ROWS) % 7))
    assert notes(path)[0]["leading zeros"] == "zip (01067)"
    assert "leading zeros" not in notes(path, categorical=["zip"], maximum_levels=ROWS)[0]


def test_an_empty_column_takes_no_rows_with_it(tmp_path):
    table = frame().assign(empty=np.nan)
    table.loc[3, "color"] = None
    expected = contents(notes(csv(tmp_path, table.drop(columns="empty")), missing="drop")[1])
    for path in (csv(tmp_path, table), tmp_path / "null.parquet"):
        if path.suffix == ".parquet":
            columns = pa.Table.from_pandas(table.drop(columns="empty"), preserve_index=False)
            pq.write_table(columns.append_column("empty", pa.nulls(ROWS)), path)
        audit, dataset = prepared(path, missing="drop")
        steps = audit.set_index("step")
        assert steps.loc["empty", ["features_before", "features_after", "note"]].tolist() == [6, 5, "empty"]
        assert contents(dataset)[0] == expected[0]
        assert np.array_equal(contents(dataset)[1], expected[1])
    with pytest.raises(ConsilienceError, match="row 1, column empty: no value"):
        prepared(tmp_path / "null.parquet")
    with pytest.raises(ConsilienceError, match="no input has a value in any of 30 rows"):
        prepared(tmp_path / "null.parquet", missing="drop", features=["empty"])


def test_many_names_are_counted(tmp_path):
    table = pd.concat([frame(), pd.DataFrame({f"c{place}": [7] * ROWS for place in range(9)})], axis=1)
    assert notes(csv(tmp_path, table))[0]["constant"] == "constant, c0, c1, c2, c3 and 5 more"
