"""What every reader of tables gives: the kind of each column, and rows block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NUMBER, TEXT, MIXED, NOTATION = "number", "text", "numbers and texts", "numbers in another notation"


@dataclass(frozen=True)
class Column:
    """What a column holds: numbers, texts, a mixture of both, or a `kind` that can be neither (the type's name).

    Of a mixture, and of numbers in another notation, `texts` of `values` are not read as numbers, the first of them
    `value` in `row` (from 1). `zero` is a number with a leading zero, as codes have it.
    """

    kind: str
    texts: int = 0
    values: int = 0
    row: int = 0
    value: str = ""
    zero: str = ""


@dataclass(frozen=True)
class Block:
    """Consecutive rows: `first` were before them.

    `numbers` float64 (rows, columns asked for), NaN where absent; `texts` by name, null where absent.
    """

    first: int
    numbers: np.ndarray
    texts: dict[str, pa.StringArray]

    def __len__(self) -> int:
        return len(self.numbers)


class Table(Protocol):
    """A table of any format.

    `columns` are all there are, by name; `inputs` those that are inputs unless a study says otherwise. `matrix` are the
    inputs that have one unit; `names` says which column names the rows by default, "" for their number; `note` is what
    the audit tells of the reading.
    """

    path: Path
    columns: dict[str, Column]
    inputs: list[str]
    matrix: frozenset[str]
    names: str
    note: str

    def blocks(self, numbers: Sequence[str], texts: Sequence[str], memory: int) -> Iterator[Block]:
        """Yield all rows in order, in blocks of about `memory` bytes; `texts` may be any but of `matrix`."""

    def row(self, row: int) -> str:
        """Say where a row stands, from 1: in a message."""


def rows_within(memory: int, columns: int) -> int:
    """Return how many rows of so many values `memory` bytes hold, at least one."""
    return max(1, memory // (8 * max(1, columns)))


def trimmed(array: pa.Array, missing: Sequence[str]) -> pa.StringArray:
    """Return texts without the spaces around them; null where nothing is left, or what stands for no value."""
    texts = pc.utf8_trim_whitespace(array)
    return pc.if_else(pc.is_in(texts, pa.array(["", *missing], pa.string())), pa.scalar(None, pa.string()), texts)


def number_name(value: float) -> str:
    """Return a number as a name: whole ones without a point."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def as_texts(values: pa.Array) -> pa.StringArray:
    """Return any column as texts; whole floating-point numbers have no point, and NaN is absent."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_floating(values.type):
        names = (None if value is None or np.isnan(value) else number_name(value) for value in values.to_pylist())
        return pa.array(names, pa.string())
    return pc.cast(values, pa.string())


def ordered(names: Sequence[str]) -> list[str]:
    """Return names by size where all are numbers, by code points otherwise."""
    try:
        return sorted(names, key=float)
    except ValueError:
        return sorted(names)
