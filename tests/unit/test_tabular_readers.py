"""CSV, TSV and parquet in blocks, against pandas."""

from __future__ import annotations

import decimal
import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from consilience.domains.tabular import text_tables
from consilience.domains.tabular.blocks import MIXED, NOTATION, NUMBER, TEXT, Column, as_texts, number_name, ordered
from consilience.domains.tabular.parquet_tables import ParquetTable
from consilience.domains.tabular.text_tables import TextTable
from tests.unit.tabular_examples import contents, csv, frame, prepared

MISSING = ["NA"]


def whole(table, numbers, texts, memory=2**20):
    """Join all blocks: numbers (rows, columns), and lists of texts by name."""
    blocks = list(table.blocks(numbers, texts, memory))
    firsts = np.cumsum([0, *(len(block) for block in blocks)])
    assert [block.first for block in blocks] == firsts[:-1].tolist()
    joined = {name: [text for block in blocks for text in block.texts[name].to_pylist()] for name in texts}
    return np.concatenate([block.numbers for block in blocks]), joined, len(blocks)


@pytest.mark.parametrize("name", ["table.csv", "table.tsv", "table.csv.gz"])
@pytest.mark.parametrize("block", [2**24, 3000])
def test_text_is_what_pandas_reads_whatever_the_block(tmp_path, monkeypatch, name, block):
    monkeypatch.setattr(text_tables, "BLOCK", block)
    expected = frame(400)
    table = TextTable(csv(tmp_path, expected, name), "\t" if "tsv" in name else ",", MISSING)
    assert table.inputs == list(expected)
    assert [table.columns[column].kind for column in expected] == [NUMBER, NUMBER, TEXT, TEXT, NUMBER, NUMBER]
    numbers, texts, blocks = whole(table, ["y", "grams", "years"], ["smoker", "color", "years"])
    assert (blocks > 1) == (block == 3000)
    assert np.array_equal(numbers, expected[["y", "grams", "years"]].to_numpy(float))
    assert texts["smoker"] == expected["smoker"].tolist()
    assert texts["color"] == expected["color"].tolist()
    assert texts["years"] == expected["years"].astype(str).tolist()


def test_fields_of_every_shape(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(
        '\ufeffa , b,"c, d"\r\n 1.5 ,+2,"two\nlines"\r\n\r\nNA,,"say ""yes"""\r\n.5,-1e3,"NA"\r\n'.encode()
    )
    table = TextTable(path, ",", MISSING)
    numbers, texts, _ = whole(table, ["b", "a"], ["c, d"])
    assert np.array_equal(numbers, [[2, 1.5], [np.nan, np.nan], [-1000, 0.5]], equal_nan=True)
    assert texts["c, d"] == ["two\nlines", 'say "yes"', None]


def test_a_mixture_is_told_with_its_first_text(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\nNA,y\n3.5,1\n?,2\n-,z\n2,w\n")
    found = TextTable(path, ",", MISSING).columns
    assert found == {"a": Column(MIXED, 2, 5, 4, "?"), "b": Column(MIXED, 4, 6, 1, "x")}
    assert TextTable(path, ",", ["NA", "?", "-"]).columns["a"] == Column(NUMBER)


def test_parquet_is_what_pandas_reads_whatever_the_block(tmp_path):
    expected = frame(100)
    expected["flag"] = expected["years"] > 50
    expected["kind"] = pd.Categorical(expected["color"])
    expected["money"] = [decimal.Decimal(row) / 4 for row in range(100)]
    expected["count"] = pd.array([None if row % 9 == 0 else row for row in range(100)], dtype="Int64")
    expected["when"] = pd.Timestamp("2026-01-01")
    expected.loc[3, "grams"] = np.nan
    expected.loc[5, "color"] = None
    path = tmp_path / "t.parquet"
    expected.set_index(pd.Index(range(5, 105))).to_parquet(path, row_group_size=30)
    table = ParquetTable(path)
    kinds = {name: column.kind for name, column in table.columns.items() if name in expected}
    texts = {"color": TEXT, "smoker": TEXT, "flag": TEXT, "kind": TEXT, "when": "timestamp[us]"}
    assert kinds == {name: texts.get(name, NUMBER) for name in expected}
    assert table.inputs == list(expected)
    for memory in (2**20, 2000):
        names = ["grams", "money", "count"]
        numbers, found, blocks = whole(table, names, ["color", "flag", "kind", "count"], memory)
        assert (blocks > 4) == (memory == 2000)  # a row group of the file is a block at most
        assert np.array_equal(numbers, expected[names].astype(float).to_numpy(), equal_nan=True)
        assert found["color"] == [None if pd.isna(text) else text for text in expected["color"]]
        assert found["flag"] == [str(value).lower() for value in expected["flag"]]
        assert found["kind"] == expected["kind"].astype(str).tolist()
        assert found["count"] == [None if pd.isna(value) else str(value) for value in expected["count"]]


def test_names_of_numbers_and_their_order():
    assert [number_name(value) for value in (3.0, -2, 0.25, 1e6)] == ["3", "-2", "0.25", "1000000"]
    assert as_texts(pa.array([1.0, None, 2.5, float("nan")])).to_pylist() == ["1", None, "2.5", None]
    assert ordered(["10", "9", "-1"]) == ["-1", "9", "10"]
    assert ordered(["b", "10", "9", "A"]) == ["10", "9", "A", "b"]


def test_a_gzipped_file_may_have_members(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n"))
    assert whole(TextTable(path, ",", []), ["a", "b"], [])[0].tolist() == [[1, 2], [3, 4]]


def test_decimal_commas_are_what_pandas_reads(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("\ufeffa;b;c\r\n1,5;-,25e1;x,y\r\n\r\n2;NA;3,5\r\n", encoding="utf-8")
    expected = pd.read_csv(path, sep=";", decimal=",", na_values=["NA"])
    table = TextTable(path, ";", MISSING, ",")
    assert table.columns["c"] == Column(MIXED, 1, 2, 1, "x,y")
    numbers, texts, _ = whole(table, ["a", "b"], ["c"])
    assert np.array_equal(numbers, expected[["a", "b"]].to_numpy(float), equal_nan=True)
    assert texts["c"] == expected["c"].tolist()
    path.write_text("a;b\n1.5;1,5\n")
    assert TextTable(path, ";", [], ",").columns == {"a": Column(NOTATION, 1, 1, 1, "1.5"), "b": Column(NUMBER)}


def test_suffixes_and_the_word_tab(tmp_path):
    expected = frame()
    for name in ("T.CSV", "T.Csv.GZ", "T.PARQUET"):
        path = tmp_path / name
        data = expected.to_csv(index=False).encode()
        if name.endswith("PARQUET"):
            expected.to_parquet(path)
        else:
            path.write_bytes(gzip.compress(data) if name.endswith("GZ") else data)
        assert np.array_equal(contents(prepared(path)[1])[2], expected["y"])
    path = tmp_path / "t.txt"
    expected.to_csv(path, index=False, sep="\t")
    assert np.array_equal(contents(prepared(path, source={"separator": "tab"})[1])[2], expected["y"])
