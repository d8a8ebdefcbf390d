"""Looks at the bytes of a text table before it is read as one, and says where in the file a fault stands."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from consilience.errors import ConsilienceError

CHUNK = 2**22
BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# How files begin that have another format than their name says, and what to do with each.
OTHERS = {
    b"PAR1": "a parquet file; name it .parquet",
    b"PK\x03\x04": "a workbook or an archive; save a workbook as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an older workbook; save it as CSV UTF-8",
    b"\x89HDF": "an HDF5 file; name it .h5ad if it is one",
    b"\x1f\x8b": "compressed by gzip; let its name end in .gz",
}
SEPARATORS = ";\t|,"
# Characters of a header in a message.
SHOWN = 80


def check_bytes(path: Path, separator: str) -> None:
    """Refuse a text file of another format or encoding, naming row and column; raises ConsilienceError."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with _opened(path) as file:
            chunk = file.read(CHUNK)
            _check_start(path, chunk)
            while chunk:
                decoder.decode(chunk)
                chunk = file.read(CHUNK)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise ConsilienceError(f"{path}: {_not_utf8(path, separator)} not UTF-8; save the table as UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ConsilienceError(f"{path}: not a readable table ({error})") from error


def check_header(path: Path, separator: str) -> None:
    """Refuse a first line that is no header, or whose fields another separator divides; raises ConsilienceError."""
    found = records(path, separator)
    line, header = next(found, (0, []))
    first = separator.join(header)
    if first.lower().startswith("sep=") and len(first) <= len("sep=") + 1:
        named = first[len("sep=") :] or separator
        raise ConsilienceError(
            f"{path}: line {line}: {first!r} is a note to a spreadsheet; expected the header there. Delete the line, "
            f"and set source.separator: {_as_key(named)}"
        )
    if first.startswith("#") and len(header) != len(next(found, (0, header))[1]):
        raise ConsilienceError(
            f"{path}: line {line}: {first[:SHOWN]!r} is a comment; expected the header there. Delete such lines"
        )
    if len(header) == 1:
        other = next((one for one in SEPARATORS if one in first and one != separator), None)
        remedy = f"set source.separator: {_as_key(other)}" if other else "another is named by source.separator"
        raise ConsilienceError(
            f"{path}: a single column, {first[:SHOWN]!r}; expected several, separated by {_as_key(separator)}; {remedy}"
        )


def records(path: Path, separator: str, encoding: str = "utf-8-sig") -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a text file that are not blank, the header first: the line where each begins, its fields.

    A field beyond the size that the reader of the standard library takes ends them.
    """
    with io.TextIOWrapper(_opened(path), encoding, newline="") as text:
        reader = csv.reader(text, delimiter=separator)
        line = 1
        with contextlib.suppress(csv.Error):
            for fields in reader:
                if fields:
                    yield line, fields
                line = reader.line_num + 1


def row_in_file(path: Path, separator: str, row: int) -> str:
    """Say where a row stands, from 1 below the header; with the file's line, where that is not the one after it."""
    return _placed(
        row, next((line for place, (line, _) in enumerate(records(path, separator)) if place == row), row + 1)
    )


def _placed(row: int, line: int) -> str:
    return f"row {row}" if line == row + 1 else f"row {row} (line {line})"


def _opened(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb"))


def _check_start(path: Path, chunk: bytes) -> None:
    if chunk.startswith(BYTE_ORDER_MARKS):
        raise ConsilienceError(f"{path}: UTF-16 (Excel's Unicode text, say); expected UTF-8: save it as CSV UTF-8")
    for start, kind in OTHERS.items():
        if chunk.startswith(start):
            raise ConsilienceError(f"{path}: no text, but {kind}")


def _not_utf8(path: Path, separator: str) -> str:
    """Say where the first field stands that is not UTF-8, reading every byte as a character."""
    header: list[str] = []
    for row, (line, fields) in enumerate(records(path, separator, "latin-1")):
        header = header or fields
        for place, field in enumerate(fields):
            if not _is_utf8(field):
                named = header[place] if row and place < len(header) and _is_utf8(header[place]) else str(place + 1)
                column = named.encode("latin-1").decode()
                return f"{_placed(row, line)}, column {column}:" if row else f"the header, column {column}:"
    return "a row:"


def _is_utf8(field: str) -> bool:
    try:
        field.encode("latin-1").decode()
    except UnicodeDecodeError:
        return False
    return True


def _as_key(separator: str) -> str:
    return "tab" if separator == "\t" else repr(separator)
