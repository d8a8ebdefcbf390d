"""Reads parquet, in blocks; its types say what a column holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from consilience.domains.tabular.blocks import NUMBER, TEXT, Block, Column, as_texts, rows_within
from consilience.domains.tabular.names import check_names
from consilience.errors import ConsilienceError
from consilience.parquet_files import UNREADABLE, unreadable

PANDAS_INDEX = "__index_level_"


class ParquetTable:
    """A parquet file: integers, floating point and decimals are numbers; texts, categories and truth values texts."""

    matrix: frozenset[str] = frozenset()
    names = ""
    note = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            schema = parquet.read_schema(path)
        except UNREADABLE as error:
            raise ConsilienceError(unreadable(path, error)) from error
        check_names(path, schema.names)
        self.columns = {field.name: Column(_kind(field.type)) for field in schema}
        # What pandas keeps of an index that has no name.
        self.inputs = [name for name in self.columns if not name.startswith(PANDAS_INDEX)]

    def blocks(self, numbers: Sequence[str], texts: Sequence[str], memory: int) -> Iterator[Block]:
        """Yield all rows in order, in blocks of about `memory` bytes."""
        wanted = list(dict.fromkeys([*numbers, *texts]))
        first = 0
        try:
            with parquet.ParquetFile(self.path, pre_buffer=False) as file:
                for batch in file.iter_batches(rows_within(memory, len(wanted)), columns=wanted, use_threads=False):
                    parts = [_numbers(batch.column(name)) for name in numbers]
                    table = np.column_stack(parts) if parts else np.empty((batch.num_rows, 0))
                    yield Block(first, table, {name: as_texts(batch.column(name)) for name in texts})
                    first += batch.num_rows
        except UNREADABLE as error:
            raise ConsilienceError(unreadable(self.path, error)) from error

    def row(self, row: int) -> str:
        """Say where a row stands, from 1."""
        return f"row {row}"


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return str(kind) if pa.types.is_nested(kind.value_type) else TEXT
    if pa.types.is_null(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return NUMBER
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_boolean)
    return TEXT if any(check(kind) for check in texts) else str(kind)


def _numbers(values: pa.Array) -> np.ndarray:
    # Unsafe, since integers beyond 2**53 are rounded; float32, which follows, rounds more.
    return pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
