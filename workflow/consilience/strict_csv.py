"""Reads CSV tables that people hand in, strictly: pandas would shift or cut rows with a field too many or too few."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from consilience.errors import ConsilienceError, nearest

# The names of the columns, and the rows: the number of each and its fields, as text.
Table = tuple[list[str], Iterator[list[Any]]]


@contextmanager
def strict_table(
    path: Path, required: Sequence[str], read: Callable[[str], bool], kind: str, more: str = "", number: str = "row"
) -> Iterator[Table]:
    """Open a table and yield the names of its columns, and its rows that are not blank: number and fields.

    `required` columns must be there, and those that `read` names not twice. `kind` and `more` say what is expected, in
    messages. Numbers are those of `row`s, from 1 below the header, or of `line`s of the file, the header being line 1.
    Raises ConsilienceError, also while rows are read, for a file that is no such table, and a row with more or fewer
    fields than the header.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = _columns(path, next(reader, None), required, read, more)
            yield columns, _rows(path, reader, len(columns), number)
    except OSError as error:
        raise ConsilienceError(f"{path}: cannot be read ({error.strerror}); expected {kind}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConsilienceError(f"{path}: not a readable CSV table ({error})") from error


def _columns(
    path: Path, header: list[str] | None, required: Sequence[str], read: Callable[[str], bool], more: str
) -> list[str]:
    if not header or not any(header):
        raise ConsilienceError(f"{path}: the file is empty; expected the columns {', '.join(required)}{more}")
    columns = [name.strip() for name in header]
    missing = [name for name in required if name not in columns]
    if missing:
        offer = nearest(missing[0], [name for name in columns if name not in required])
        if len(columns) == 1:
            offer = "; are its fields separated by commas?"
        raise ConsilienceError(f"{path}: no column {', '.join(missing)}; it has {', '.join(columns)}{offer}")
    repeated = [name for name in columns if read(name) and columns.count(name) > 1]
    if repeated:
        raise ConsilienceError(f"{path}: the column {repeated[0]} repeats; expected it once")
    return columns


def _rows(path: Path, reader: Any, columns: int, number: str) -> Iterator[list[Any]]:
    above = 1 if number == "row" else 0
    for fields in reader:
        if not any(fields):
            continue
        place = reader.line_num - above
        if len(fields) != columns:
            raise ConsilienceError(
                f"{path}: {number} {place}: {len(fields)} fields; expected {columns}, as in the header"
            )
        yield [place, *fields]
