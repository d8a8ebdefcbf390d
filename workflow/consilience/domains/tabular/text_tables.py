"""Reads CSV and TSV, in blocks and strictly: what pandas would shift, pad or guess is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from consilience.domains.tabular.blocks import MIXED, NOTATION, NUMBER, TEXT, Block, Column, trimmed
from consilience.domains.tabular.names import check_names
from consilience.domains.tabular.text_faults import check_bytes, check_header, row_in_file
from consilience.errors import ConsilienceError

# A row must fit into a block.
BLOCK = 2**24
# Characters of a row in a message.
SHOWN = 60
COMMA, TAB = ",", "\t"
POINT = "."
# No field of a table has it.
NEITHER = "\0"
# A decimal comma, groups of thousands, a percent sign, a minus of typesetting.
OTHER_NOTATION = (
    "^[+\u2212-]?(\\d{1,3}([,.'\u2019 \u00a0\u202f]\\d{3})+([,.]\\d+)?|"
    "\\d*[,.]?\\d+([eE][+-]?\\d+)?)[ \u00a0\u202f]?%?$"
)
LEADING_ZERO = r"^[+-]?0\d"
NUMERAL = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(inf|infinity|nan)$"


@dataclass
class _Tally:
    """What a column has held so far: how many numbers, texts, and texts that are numbers in another notation.

    `row` (from 1) and `value` are those of the first text; `zero` is a number with a leading zero among the first rows.
    """

    numbers: int = 0
    texts: int = 0
    alike: int = 0
    row: int = 0
    value: str = ""
    zero: str = ""

    def add(self, values: pa.StringArray, pointed: pa.StringArray, first: int) -> None:
        """Take in the next rows; `pointed` are the values with decimal points, `first` rows were before them."""
        wrong = None if _cast(pointed) is not None else pc.invert(_numerals(pointed))
        count = 0 if wrong is None else int(pc.sum(pc.fill_null(wrong, False)).as_py())
        if count:
            texts = values.filter(pc.fill_null(wrong, False))
            self.alike += int(pc.sum(pc.match_substring_regex(texts, OTHER_NOTATION)).as_py())
            if not self.texts:
                place = pc.index(wrong, True).as_py()
                self.row, self.value = first + place + 1, values[place].as_py()
        elif not first:
            place = pc.index(pc.match_substring_regex(values, LEADING_ZERO), True).as_py()
            self.zero = values[place].as_py() if place >= 0 else ""
        self.texts += count
        self.numbers += len(values) - values.null_count - count

    def column(self) -> Column:
        """Return what the column is."""
        if not self.texts:
            return Column(NUMBER, zero=self.zero)
        kind = NOTATION if self.alike == self.texts else MIXED if self.numbers else TEXT
        return (
            Column(TEXT) if kind == TEXT else Column(kind, self.texts, self.texts + self.numbers, self.row, self.value)
        )


class TextTable:
    """A CSV or TSV file, gzipped or not, whose numbers have a `decimal` point or comma.

    Rows are counted from 1 below the header; blank lines are none.
    """

    matrix: frozenset[str] = frozenset()
    names = ""
    note = ""

    def __init__(self, path: Path, separator: str, missing: Sequence[str], decimal: str = POINT) -> None:
        self.path, self.separator, self.missing, self.decimal = path, separator, list(missing), decimal
        check_bytes(path, separator)
        self.header: list[str] = []
        self.inputs = self._header()
        self.index = {name: place for place, name in enumerate(self.inputs)}
        self.columns = dict(zip(self.inputs, self._columns(), strict=True))

    def blocks(self, numbers: Sequence[str], texts: Sequence[str], memory: int) -> Iterator[Block]:
        """Yield all rows in order; the size of blocks is that of the reader, whatever `memory` says."""
        del memory
        wanted = list(dict.fromkeys([*numbers, *texts]))
        first = 0
        for batch in self._batches([self.index[name] for name in wanted]):
            values = dict(zip(wanted, (trimmed(part, self.missing) for part in batch.columns), strict=True))
            parts = [_numbers(self._pointed(values[name])) for name in numbers]
            table = np.column_stack(parts) if parts else np.empty((batch.num_rows, 0))
            yield Block(first, table, {name: values[name] for name in texts})
            first += batch.num_rows

    def _header(self) -> list[str]:
        """Return the names of the columns; refuses those without one, and those that repeat."""
        check_header(self.path, self.separator)
        self.header = self._reader([]).schema.names
        names = [name.strip() for name in self.header]
        if "" in names:
            raise ConsilienceError(
                f"{self.path}: column {names.index('') + 1} has no name in the header (an index that was written "
                "along?); expected a name for every column"
            )
        check_names(self.path, names)
        return names

    def row(self, row: int) -> str:
        """Say where a row stands, with the line of the file where blank lines make that another."""
        return row_in_file(self.path, self.separator, row)

    def _columns(self) -> list[Column]:
        """Read all once and say what every column holds."""
        tallies = [_Tally() for _ in self.inputs]
        first = 0
        for batch in self._batches(range(len(self.inputs))):
            for tally, part in zip(tallies, batch.columns, strict=True):
                values = trimmed(part, self.missing)
                tally.add(values, self._pointed(values), first)
            first += batch.num_rows
        return [tally.column() for tally in tallies]

    def _pointed(self, values: pa.StringArray) -> pa.StringArray:
        """Return texts with a point where a number has its decimal mark."""
        if self.decimal == POINT:
            return values
        return pc.replace_substring(pc.replace_substring(values, POINT, NEITHER), self.decimal, POINT)

    def _reader(self, wrong: list[csv.InvalidRow]) -> csv.CSVStreamingReader:
        """Open the file, with every column of the header, once that is known, as text."""

        def refuse(row: csv.InvalidRow) -> str:
            wrong.append(row)
            return "error"

        try:
            return csv.open_csv(
                pa.input_stream(str(self.path), compression="gzip" if self.path.suffix.lower() == ".gz" else None),
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
            hint = "; is a quote left open?" if row.text.count('"') % 2 else ""
            # The reader counts the header too.
            return ConsilienceError(
                f"{self.path}: {self.row(row.number - 1)}: {row.actual_columns} fields; expected "
                f"{row.expected_columns}, as in the header ({row.text[:SHOWN]!r}{hint})"
            )
        text = " ".join(str(error).split())
        if "Empty CSV" in text:
            return ConsilienceError(f"{self.path}: the file is empty; expected a header and rows")
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
