"""Reads CSV and TSV, in blocks and strictly: what pandas would shift, pad or guess is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from consilience.domains.tabular.blocks import MIXED, NUMBER, TEXT, Block, Column, trimmed
from consilience.errors import ConsilienceError

# A row must fit into a block.
BLOCK = 2**24
COMMA, TAB = ",", "\t"
NUMERAL = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(inf|infinity|nan)$"


class TextTable:
    """A CSV or TSV file, gzipped or not. Rows are counted from 1 below the header; blank lines are none."""

    matrix: frozenset[str] = frozenset()
    names = ""
    note = ""

    def __init__(self, path: Path, separator: str, missing: Sequence[str]) -> None:
        self.path, self.separator, self.missing = path, separator, list(missing)
        self.header: list[str] = []
        self.inputs = self._header()
        self.columns = dict(zip(self.inputs, self._columns(), strict=True))

    def blocks(self, numbers: Sequence[str], texts: Sequence[str], memory: int) -> Iterator[Block]:
        """Yield all rows in order; the size of blocks is that of the reader, whatever `memory` says."""
        del memory
        wanted = list(dict.fromkeys([*numbers, *texts]))
        first = 0
        for batch in self._batches([self.inputs.index(name) for name in wanted]):
            values = dict(zip(wanted, (trimmed(part, self.missing) for part in batch.columns), strict=True))
            parts = [_numbers(values[name]) for name in numbers]
            table = np.column_stack(parts) if parts else np.empty((batch.num_rows, 0))
            yield Block(first, table, {name: values[name] for name in texts})
            first += batch.num_rows

    def _header(self) -> list[str]:
        """Return the names of the columns; refuses those without one, and those that repeat."""
        try:
            self.header = self._reader([]).schema.names
        except UnicodeDecodeError as error:
            raise ConsilienceError(
                f"{self.path}: the header is not UTF-8 ({error.reason}); save it as UTF-8"
            ) from error
        names = [name.strip() for name in self.header]
        if len(names) == 1:
            other = "tabs" if self.separator == TAB else repr(self.separator)
            raise ConsilienceError(
                f"{self.path}: a single column, {names[0][:80]!r}; are its fields separated by {other}? "
                "Another is named by source.separator"
            )
        for place, name in enumerate(names, 1):
            if not name:
                raise ConsilienceError(
                    f"{self.path}: column {place} has no name in the header (an index that was written along?); "
                    "expected a name for every column"
                )
            if names.index(name) < place - 1:
                raise ConsilienceError(
                    f"{self.path}: the column {name} repeats (columns {names.index(name) + 1} and {place}); "
                    "expected every name once"
                )
        return names

    def _columns(self) -> list[Column]:
        """Read all once and say what every column holds."""
        numbers, texts = (np.zeros(len(self.inputs), np.int64) for _ in range(2))
        found: dict[int, tuple[int, str]] = {}
        first = 0
        for batch in self._batches(range(len(self.inputs))):
            for place, part in enumerate(batch.columns):
                values = trimmed(part, self.missing)
                wrong = None if _cast(values) is not None else pc.invert(_numerals(values))
                count = 0 if wrong is None else int(pc.sum(pc.fill_null(wrong, False)).as_py())
                texts[place] += count
                numbers[place] += len(values) - values.null_count - count
                if count and place not in found:
                    row = pc.index(wrong, True).as_py()
                    found[place] = first + row + 1, values[row].as_py()
            first += batch.num_rows
        return [
            Column(MIXED, int(own), int(own + others), *found[place])
            if own and others
            else Column(TEXT if own else NUMBER)
            for place, (own, others) in enumerate(zip(texts, numbers, strict=True))
        ]

    def _reader(self, wrong: list[csv.InvalidRow]) -> csv.CSVStreamingReader:
        """Open the file, with every column of the header, once that is known, as text."""

        def refuse(row: csv.InvalidRow) -> str:
            wrong.append(row)
            return "error"

        try:
            return csv.open_csv(
                pa.input_stream(str(self.path), compression="detect"),
                csv.ReadOptions(use_threads=False, block_size=BLOCK),
                csv.ParseOptions(delimiter=self.separator, newlines_in_values=True, invalid_row_handler=refuse),
                csv.ConvertOptions(column_types=dict.fromkeys(self.header, pa.string()), strings_can_be_null=False),
            )
        except (pa.ArrowInvalid, OSError) as error:
            raise self._refusal(error, wrong) from error

    def _batches(self, places: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """Yield the columns at `places`, as texts, batch by batch."""
        wrong: list[csv.InvalidRow] = []
        reader = self._reader(wrong)
        try:
            for batch in reader:
                yield batch.select(list(places))
        except (pa.ArrowInvalid, OSError) as error:
            raise self._refusal(error, wrong) from error

    def _refusal(self, error: Exception, wrong: Sequence[csv.InvalidRow]) -> ConsilienceError:
        if wrong:
            row = wrong[0]
            return ConsilienceError(
                f"{self.path}: row {row.number - 1}: {row.actual_columns} fields; expected {row.expected_columns}, as "
                f"in the header ({row.text[:60]!r}; is a quote left open?)"
            )
        text = " ".join(str(error).split())
        if "Empty CSV" in text:
            return ConsilienceError(f"{self.path}: the file is empty; expected a header and rows")
        if "UTF8" in text:
            return ConsilienceError(f"{self.path}: not UTF-8 ({text}); save it as UTF-8")
        return ConsilienceError(f"{self.path}: not a readable table ({text})")


def _cast(values: pa.StringArray) -> pa.DoubleArray | None:
    """Return texts as numbers, or None where one is none."""
    try:
        return pc.cast(values, pa.float64())
    except pa.ArrowInvalid:
        return None


def _numerals(values: pa.StringArray) -> pa.BooleanArray:
    return pc.match_substring_regex(values, NUMERAL, ignore_case=True)


def _numbers(values: pa.StringArray) -> np.ndarray:
    return pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)
