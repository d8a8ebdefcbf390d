"""Reads the table of labelled segments; refuses what is no vote or no segment, and recordings of two patients."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.audit import Audit
from consilience.errors import ConsilienceError, nearest

FILE = "train.csv"
SUFFIX = "_vote"
RECORDINGS = ("eeg_id", "spectrogram_id")
OFFSETS = ("eeg_label_offset_seconds", "spectrogram_label_offset_seconds")
REQUIRED = ("eeg_id", OFFSETS[0], "spectrogram_id", OFFSETS[1], "patient_id")
ID, CONSENSUS = "label_id", "expert_consensus"
# Ids name files.
NAME = r"[A-Za-z0-9_-]+"


def read_labels(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return the segments, a row each in the order of the file, and the names of the classes.

    The columns are `line` (in the file, the header being line 1), `id` (label_id, or eeg_id and line), patient_id,
    eeg_id and spectrogram_id as text, the two offsets in seconds, a count of votes per class in `<class>_vote`, and
    expert_consensus where the file has it. Classes are the columns `<class>_vote` in their order. Raises
    ConsilienceError, in one line that names file, line, column and value, for a file that is no such table, a missing
    column, an id that names no file, an offset or vote that is no number or negative, votes that sum to zero, a
    repeated label_id, and a recording of two patients.
    """
    columns, text = _read(path)
    classes = [name.removesuffix(SUFFIX) for name in columns if name.endswith(SUFFIX)]
    table = pd.DataFrame({"line": text["line"].to_numpy(np.int64)})
    for column in (*RECORDINGS, "patient_id"):
        pattern = r".+" if column == "patient_id" else NAME
        _refuse(path, text, column, ~text[column].str.fullmatch(pattern), "an id" + _of_letters(column))
        table[column] = text[column]
    for column in OFFSETS:
        table[column] = _numbers(path, text, column, "seconds, 0 or more")
    for column in votes_of(classes):
        votes = _numbers(path, text, column, "a number of votes, 0 or more")
        _refuse(path, text, column, votes % 1 != 0, "a whole number of votes")
        table[column] = votes.astype(np.int64)
    _check_sums(path, table, classes)
    table.insert(1, "id", _ids(path, text))
    if CONSENSUS in columns:
        table[CONSENSUS] = text[CONSENSUS]
    for column in RECORDINGS:
        _check_patients(path, table, column)
    return table, classes


def votes_of(classes: list[str]) -> list[str]:
    """Return the columns that hold the votes."""
    return [name + SUFFIX for name in classes]


def distinct(table: pd.DataFrame, classes: list[str], audit: Audit) -> pd.DataFrame:
    """Return one row of all that share eeg_id and votes, the middle one by offset; tells the audit.

    Such rows are overlapping pieces of one annotation. Of an even number it is the earlier of the two in the middle.
    """
    order = table.sort_values([*OFFSETS, "id"], kind="stable")
    same = order.groupby(["eeg_id", *votes_of(classes)], sort=False)["id"]
    middle = same.cumcount() == (same.transform("size") - 1) // 2
    kept = table[middle.reindex(table.index)].reset_index(drop=True)
    audit.step("distinct", "of the rows with the same EEG and votes, the middle one (source.rows)", len(kept))
    return kept


def _read(path: Path) -> tuple[list[str], pd.DataFrame]:
    """Return the names of the columns, and all rows as text with their `line`."""
    try:
        # Plainly and strictly: pandas would shift or cut rows with a field too many or too few.
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = _columns(path, next(reader, None))
            rows = [_fields(path, reader.line_num, fields, columns) for fields in reader if any(fields)]
    except OSError as error:
        raise ConsilienceError(f"{path}: cannot be read ({error.strerror}); expected the table of labels") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConsilienceError(f"{path}: not a readable CSV table ({error})") from error
    if not rows:
        raise ConsilienceError(f"{path}: a header without a row; expected labelled segments")
    wanted = [name for name in columns if name in (*REQUIRED, ID, CONSENSUS) or name.endswith(SUFFIX)]
    table = pd.DataFrame(rows, columns=["line", *columns])[["line", *wanted]]
    return wanted, table.assign(**{name: table[name].str.strip() for name in wanted})


def _fields(path: Path, line: int, fields: list[str], columns: list[str]) -> list[Any]:
    if len(fields) != len(columns):
        raise ConsilienceError(f"{path}: line {line}: {len(fields)} fields; expected {len(columns)}, as in the header")
    return [line, *fields]


def _columns(path: Path, header: list[str] | None) -> list[str]:
    """Return the names of the columns; refuses what lacks one, repeats one, or holds votes for fewer than two."""
    if not header or not any(header):
        raise ConsilienceError(f"{path}: the file is empty; expected the columns {', '.join(REQUIRED)} and votes")
    columns = [name.strip() for name in header]
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        offer = nearest(missing[0], [name for name in columns if name not in REQUIRED])
        if len(columns) == 1:
            offer = "; are its fields separated by commas?"
        raise ConsilienceError(f"{path}: no column {', '.join(missing)}; it has {', '.join(columns)}{offer}")
    votes = [name for name in columns if name.endswith(SUFFIX)]
    repeated = [name for name in (*REQUIRED, ID, CONSENSUS, *votes) if columns.count(name) > 1]
    if repeated:
        raise ConsilienceError(f"{path}: the column {repeated[0]} repeats; expected it once")
    if len(votes) < 2 or SUFFIX in votes:
        found = ", ".join(votes) or "none"
        raise ConsilienceError(f"{path}: columns of votes: {found}; expected at least two, named <class>{SUFFIX}")
    return columns


def _refuse(path: Path, text: pd.DataFrame, column: str, bad: pd.Series | np.ndarray, expected: str) -> None:
    """Refuse the first row that is `bad`."""
    if bad.any():
        line, value = text[["line", column]].iloc[int(np.argmax(bad))]
        raise ConsilienceError(f"{path}: line {line}: {column} is {value!r}; expected {expected}")


def _of_letters(column: str) -> str:
    return "" if column == "patient_id" else " of letters, digits, _ and -, which names a file"


def _numbers(path: Path, text: pd.DataFrame, column: str, expected: str) -> np.ndarray:
    """Return a column as finite float64 numbers that are not negative."""
    values = pd.to_numeric(text[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    _refuse(path, text, column, ~(np.isfinite(values) & (values >= 0)), expected)
    return values


def _check_sums(path: Path, table: pd.DataFrame, classes: list[str]) -> None:
    empty = (table[votes_of(classes)].sum(axis=1) == 0).to_numpy()
    if empty.any():
        line = table["line"].iloc[int(np.argmax(empty))]
        names = ", ".join(votes_of(classes))
        raise ConsilienceError(f"{path}: line {line}: {names} sum to 0; expected a vote or more")


def _ids(path: Path, text: pd.DataFrame) -> pd.Series:
    """Return the id of every sample; refuses one that is empty or repeats."""
    if ID not in text:
        return text["eeg_id"] + "_" + text["line"].astype(str)
    ids = text[ID]
    _refuse(path, text, ID, (ids == "").to_numpy(), "an id")
    repeated = ids.duplicated().to_numpy()
    if repeated.any():
        place = int(np.argmax(repeated))
        first = text["line"][(ids == ids.iloc[place]).to_numpy()].iloc[0]
        _refuse(path, text, ID, repeated, f"an id of its own, which is not that of line {first}")
    return ids


def _check_patients(path: Path, table: pd.DataFrame, column: str) -> None:
    """Refuse a recording under two patients: its rows could cross roles."""
    first = table.groupby(column, sort=False)[["patient_id", "line"]].transform("first")
    other = (first["patient_id"] != table["patient_id"]).to_numpy()
    if other.any():
        place = int(np.argmax(other))
        row, own = table.iloc[place], first.iloc[place]
        raise ConsilienceError(
            f"{path}: line {row['line']}: patient_id is {row['patient_id']!r}; expected {own['patient_id']!r}, "
            f"whose {column} {row[column]} is in line {own['line']}: a recording is of one patient"
        )
