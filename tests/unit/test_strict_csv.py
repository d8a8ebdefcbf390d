"""Tables that people hand in are read strictly, and every refusal says where."""

import re

import pytest

from consilience.errors import ConsilienceError
from consilience.strict_csv import strict_table


def read(path, number="row"):
    known = ("name", "value", "note")
    with strict_table(path, ("name", "value"), known.__contains__, "a table", " and more", number) as (columns, rows):
        return columns, list(rows)


def test_rows_are_numbered_as_people_count_them(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeff name ,value,note\n"a, b",1,\n\nc,2,"two\nlines"\nd,3,x\n'.encode())
    columns, rows = read(path)
    assert columns == ["name", "value", "note"]
    assert rows == [[1, "a, b", "1", ""], [4, "c", "2", "two\nlines"], [5, "d", "3", "x"]]
    assert [row[0] for row in read(path, "line")[1]] == [2, 5, 6]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty; expected the columns name, value and more"),
        (b"name,other\na,1\n", "no column value; it has name, other"),
        (b"name;value\na;1\n", "no column name, value; it has name;value; are its fields separated by commas?"),
        (b"name,value,note,note\na,1,,\n", "the column note repeats; expected it once"),
        (b"name,value\na,1\nb,2,3\n", "row 2: 3 fields; expected 2, as in the header"),
        (b"name,value\na\n", "row 1: 1 fields; expected 2, as in the header"),
        (b"name,value\n\xff,1\n", "not a readable CSV table"),
        (b'name,value\n"a"b,1\n', "not a readable CSV table"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(ConsilienceError, match=re.escape(f"{path}: {message}")):
        read(path)


def test_a_file_that_is_not_there_is_refused_and_columns_nobody_reads_may_repeat(tmp_path):
    with pytest.raises(
        ConsilienceError, match=r"gone\.csv: cannot be read \(No such file or directory\); expected a table"
    ):
        read(tmp_path / "gone.csv")
    path = tmp_path / "t.csv"
    path.write_text("name,value,other,other\na,1,,\n")
    assert len(read(path)[1]) == 1
