"""What a person is told of a table that cannot be used: file, row, column, value, what was expected."""

from __future__ import annotations

import gzip
import re

import numpy as np
import pandas as pd
import pytest

from consilience.domains.tabular import text_tables
from consilience.errors import ConsilienceError
from tests.unit.tabular_examples import ROWS, csv, frame, prepared


def refused(path, message, **changes):
    """Check that a table is refused with a line, and that nothing is left."""
    (path.parent / "dataset.h5").unlink(missing_ok=True)
    with pytest.raises(ConsilienceError, match=message) as error:
        prepared(path, **changes)
    assert "\n" not in str(error.value)
    assert sorted(file.name for file in path.parent.iterdir()) == sorted([path.name, "study.yaml"])


ENOUGH = "".join(f"{row},{row * row},x\n" for row in range(20))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", r"t\.csv: the file is empty; expected a header and rows"),
        (b"a,b,y\n", r"t\.csv: 0 rows are left; expected at least 12"),
        (b"a,b,y\n1,2,3\n", r"t\.csv: 1 rows are left; expected at least 12"),
        (
            b"a;b;y\n1;2;3\n",
            r"a single column, 'a;b;y'; expected several, separated by ','; set source\.separator: ';'",
        ),
        (b"a;b;y\r\n1,0;2;3,5\r\n", r"a single column, 'a;b;y'; .*source\.separator: ';'$"),
        (b"a\tb\ty\n1,0\t2\t3\n", r"a single column, .*source\.separator: tab$"),
        (b"sep=;\r\na;b;y\r\n1;2;3\r\n", r"line 1: 'sep=;' is a note to a spreadsheet.*source\.separator: ';'$"),
        (b"# by hand, in May\na,b,y\n1,2,3\n", r"line 1: '# by hand, in May' is a comment; .* Delete such lines"),
        (b"\xff\xfea\0,\0y\0", r"t\.csv: UTF-16 .*; expected UTF-8: save it as CSV UTF-8"),
        (b"\xfe\xff\0a\0,\0y", r"t\.csv: UTF-16 .*; expected UTF-8"),
        (b"PAR1\xe9\xff", r"t\.csv: no text, but a parquet file; name it \.parquet$"),
        (b"PK\x03\x04\xe9", r"t\.csv: no text, but a workbook or an archive; save a workbook as CSV UTF-8$"),
        (b"a,b,y\n1,2,3\n1,2\n", r"t\.csv: row 2: 2 fields; expected 3, as in the header \('1,2'\)$"),
        (b"a,b,y\n\n1,2,3\n\n1,2\n", r"t\.csv: row 2 \(line 5\): 2 fields; expected 3"),
        (b"a,b,y\n1,2,3,4\n", r"t\.csv: row 1: 4 fields; expected 3"),
        (b'a,b,y\n1,2,3\n"1,2,3\n4,5,6\n', r"t\.csv: row 2: .* fields; expected 3.*is a quote left open"),
        (b"a,,y\n1,2,3\n", r"t\.csv: column 2 has no name in the header"),
        (b"a, a,y\n1,2,3\n", r"t\.csv: the column a repeats \(columns 1 and 2\)"),
        (b"a,b,y\n1,\xe9,3\n", r"t\.csv: row 1, column b: not UTF-8; save the table as UTF-8$"),
        (b'a,b,y\n1,"2\n",3\n\n1,2\n1,\xe9,\xe8,4\n', r"t\.csv: row 3 \(line 6\), column b: not UTF-8"),
        (b"a,\xe9,y\n1,2,3\n", r"t\.csv: the header, column 2: not UTF-8"),
        (b"a\xe9,b,y\n1,2,3\n1,2\n", r"t\.csv: the header, column 1: not UTF-8"),
    ],
)
def test_a_text_file_that_is_no_table(tmp_path, capfd, text, message):
    path = tmp_path / "t.csv"
    path.write_bytes(text)
    refused(path, message)
    assert "Traceback" not in capfd.readouterr().err


def test_rows_are_numbered_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(text_tables, "BLOCK", 200)
    path = csv(tmp_path, pd.DataFrame({"a": np.arange(100) ** 2, "y": np.arange(100) / 3}).astype(object), "t.csv")
    lines = path.read_text().splitlines()
    lines[78] = "77,1,2"
    path.write_text("\n".join(lines))
    refused(path, r"t\.csv: row 78: 3 fields; expected 2")
    lines[78] = "none,1"
    path.write_text("\n".join(lines))
    refused(
        path,
        r"t\.csv: row 78, column a: 'none'; expected a number, as 99 of 100 values are; put texts that stand for no",
    )
    lines[78] = "1,-inf"
    path.write_text("\n".join(lines))
    refused(path, r"t\.csv: row 78, column y: -inf; expected a finite number of at most 3\.4e\+38")
    lines[78] = ",1"
    path.write_text("\n".join(lines))
    refused(path, r"t\.csv: row 78, column a: no value \(1 in 1 columns: a 1\); expected one, or missing: drop or mask")


def test_a_file_that_is_cut_or_of_another_format(tmp_path):
    whole = gzip.compress(csv(tmp_path, frame()).read_bytes())
    (tmp_path / "table.csv").unlink()
    path = tmp_path / "t.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, r"t\.csv\.gz: not a readable table")
    path.unlink()
    for name, message in (
        ("t.xlsx", r"source\.path: '.*t\.xlsx' is not of its form \(A \.csv, .* Save a workbook as CSV UTF-8\.\)"),
        ("t.txt", r"\.txt is no format of a table.*source\.separator"),
        ("t", r"source\.path: '.*/t' is not of its form"),
        ("t.parquet", r"t\.parquet: not a readable parquet file"),
        ("t.h5ad", r"t\.h5ad: not an HDF5 file"),
    ):
        path = tmp_path / name
        path.write_text("a,b,y\n1,2,3\n")
        refused(path, message)
        path.unlink()
    path = tmp_path / "t.parquet"
    frame().to_parquet(path)
    refused(path, "source.decimal: ','; expected a text file, which alone has one", source={"decimal": ","})
    refused(path, "source.separator: 'tab'; expected a text file", source={"separator": "tab"})
    path.unlink()
    path = csv(tmp_path, frame())
    refused(path, "source.layer: 'log'; expected an .h5ad file", source={"layer": "log"})


def test_parquet_is_refused_for_types_that_are_no_features(tmp_path):
    table = frame().assign(when=pd.Timestamp("2026-01-01"), parts=[[1, 2]] * ROWS)
    table.to_parquet(tmp_path / "t.parquet")
    refused(tmp_path / "t.parquet", r"column when is of type timestamp\[us\]; expected numbers, texts or truth values")
    refused(tmp_path / "t.parquet", "column parts is of type list", exclude=["when"])
    prepared(tmp_path / "t.parquet", exclude=["when", "parts"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "yy"}, "target: no column 'yy'; it has grams, years, color, smoker, constant, y; nearest: y$"),
        ({"target": "colour"}, "target: no column 'colour'; .*; nearest: color"),
        ({"exclude": ["smokers"]}, "exclude: no column 'smokers'; .*; nearest: smoker"),
        ({"features": ["gram"]}, "features: no column 'gram'; .*; nearest: grams"),
        ({"categorical": ["year"]}, "categorical: no column 'year'; .*; nearest: years"),
        ({"id": "name"}, "id: no column 'name'"),
        ({"split": {"group": "clinic"}}, "split: no column 'clinic'"),
        ({"split": {"group": "y"}}, "split: 'y' is the target; expected another column"),
        ({"id": "y"}, "id: 'y' is the target"),
        ({"features": ["y", "grams"]}, "features: 'y' is the target, names or groups the rows, or is excluded"),
        ({"features": ["grams"], "exclude": ["grams"]}, "features: 'grams' is the target"),
        ({"features": ["constant"]}, "none of 1 columns varies among 30 rows"),
        ({"exclude": ["grams", "years", "color", "smoker", "constant"]}, "no column is left as an input"),
        ({"id": "color"}, r"column id|column color: '.*' repeats \(rows .*\); expected another name for every row"),
        (
            {"target": "color", "task": "regression"},
            "column color holds texts; expected numbers, or task: classification",
        ),
        ({"target": "constant", "task": "regression"}, "column constant: 7 in all 30 rows; expected one that varies"),
        ({"target": "constant"}, "column constant: 7 in all rows; expected at least two classes"),
        ({"task": "classification"}, r"column y: -?\d\S* is no class; expected whole numbers or texts"),
        ({"positive": "1"}, r"positive: column y is taken as a number .*; expected task: classification"),
        ({"target": "color", "positive": "red"}, "positive: 'red'; expected one of exactly two classes, and color has"),
        ({"target": "smoker", "positive": "yess"}, "positive: 'yess'; .*smoker has no, yes; nearest: yes"),
        (
            {"target": "color", "classes": ["red", "gren"]},
            "classes: no row that stays has color 'gren'; nearest: green",
        ),
        ({"maximum_levels": 2}, r"column color: 3 levels or more \(.*\); expected at most 2 \(maximum_levels\)"),
    ],
)
def test_settings_that_do_not_fit_the_table(tmp_path, changes, message):
    refused(csv(tmp_path, frame()), message, **changes)


def test_names_are_no_levels_and_numbers_of_rows_no_numbers(tmp_path):
    table = frame()
    table["name"] = [f"n{row}" for row in range(ROWS)]
    refused(csv(tmp_path, table), "column name: .* levels or more .*belongs under id, split.group or exclude")
    table["name"] = np.arange(ROWS) + 17
    path = csv(tmp_path, table)
    refused(path, "column name counts the rows, in even steps; expected what is known of each.*id or exclude")
    prepared(path, id="name")
    prepared(path, features=["grams", "name"])


def test_a_column_with_a_meaning_of_its_own_groups_nothing(tmp_path):
    path = csv(tmp_path, frame().assign(weight=1))
    refused(path, "the column 'weight' has a name with a meaning of its own; rename it", split={"group": "weight"})


def test_missing_values_are_told_by_column(tmp_path):
    table = frame()
    table.loc[[4, 9], "grams"], table.loc[6, "color"] = np.nan, None
    path = csv(tmp_path, table)
    told = r"row 5, column grams: no value \(3 in 2 columns: grams 2, color 1\); expected one, or missing: drop or mask"
    refused(path, told)
    prepared(path, exclude=["grams", "color"])
    table.loc[8, "y"] = np.nan
    refused(
        csv(tmp_path, table), r"row 9, column y: no value .*; expected one, or missing: drop, for no", missing="mask"
    )
    refused(
        csv(tmp_path, table.assign(y=np.nan)),
        r"0 rows are left of 30 \(missing target 30; without a value: y 30, grams 2, color 1\); expected at least 12",
        missing="drop",
    )


def test_an_id_that_is_missing(tmp_path):
    table = frame().assign(name=[f"n{row}" if row != 3 else None for row in range(ROWS)])
    refused(csv(tmp_path, table), "row 4, column name: no value; expected a name", id="name")


def test_classes_that_cannot_fill_three_roles(tmp_path):
    table = frame().assign(y=["a", "b"] + ["c", "d"] * 14)
    message = r"column y: class 'a' has 1 rows, and 2 of 4 classes have fewer than 3; expected one for each role"
    refused(csv(tmp_path, table), message)
    prepared(csv(tmp_path, table), classes=["c", "d"])


def test_numbers_beyond_float32_are_refused(tmp_path):
    table = frame()
    table.loc[11, "grams"] = 1e39
    refused(csv(tmp_path, table), r"row 12, column grams: 1e\+39; expected a finite number")


NUMBERS = "a number in another notation, as 20 of 20 values are; .*source.decimal: ',' where.*"


@pytest.mark.parametrize(
    "value", ["1,{}", "{}%", "1,{:03d}", "1\u00a0{:03d}", "1.000.{:03d},5", "{} %", "-1,{}e3", "1'{:03d}"]
)
def test_numbers_in_another_notation_are_no_categories(tmp_path, value):
    written = [value.format(row * row) for row in range(20)]
    table = pd.DataFrame({"a": written, "b": np.arange(20) ** 2, "y": np.arange(20) / 3})
    path = tmp_path / "t.csv"
    table.to_csv(path, index=False, sep=";")
    first, separated = value.format(0), {"separator": ";"}
    told = f"t.csv: row 1, column a: {re.escape(repr(first))} is {NUMBERS}"
    refused(path, told + "or list the column under categorical or exclude$", source=separated)
    prepared(path, source=separated, categorical=["a"], maximum_levels=20)
    told = told + "or list the column under categorical, or set task: classification$"
    refused(path, told, source=separated, target="a", exclude=["y"])


def test_a_mixture_with_another_notation_is_told_where_it_begins(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;y\n" + "".join(f"{row};{row}\n\n" for row in range(20)) + "1,5;3\n")
    refused(
        path,
        r"row 21 \(line 42\), column a: '1,5' is a number in another notation, as 1 of 21",
        source={"separator": ";"},
    )


@pytest.mark.parametrize("separator", ["é", '"', "\n", ",\n", "", "x", "tabs"])
def test_a_separator_that_is_none(tmp_path, separator):
    refused(
        csv(tmp_path, frame()),
        "source.separator: .*is not of its form .*or the word tab",
        source={"separator": separator},
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b\nc", "y"], r"column 2: the name 'b\\nc' holds a line break or another control character; rename it"),
        (["a", "b\x07", "y"], r"column 2: the name 'b\\x07' holds"),
        (
            ["\u00e9", "e\u0301", "y"],
            r"reads as '\\xe9' does \('e\\u0301'\) \(columns 1 and 2\); expected every name once",
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_names_that_cannot_be_told_apart_or_shown(tmp_path, names, message, suffix):
    table = pd.DataFrame(np.arange(60.0).reshape(20, 3) ** 2, columns=names)
    path = tmp_path / f"t.{suffix}"
    table.to_csv(path, index=False) if suffix == "csv" else table.to_parquet(path)
    refused(path, message)
