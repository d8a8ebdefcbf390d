"""Reads the table of labelled segments; refuses what is no vote or no segment, and recordings of two patients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from consilience.audit import Audit
from consilience.errors import ConsilienceError
from consilience.strict_csv import strict_table

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

    def known(name: str) -> bool:
        return name in (*REQUIRED, ID, CONSENSUS) or name.endswith(SUFFIX)

    with strict_table(path, REQUIRED, known, "the table of labels", " and votes", "line") as (columns, lines):
        _check_votes(path, columns)
        rows = list(lines)
    if not rows:
        raise ConsilienceError(f"{path}: a header without a row; expected labelled segments")
    wanted = [name for name in columns if known(name)]
    table = pd.DataFrame(rows, columns=["line", *columns])[["line", *wanted]]
    return wanted, table.assign(**{name: table[name].str.strip() for name in wanted})


def _check_votes(path: Path, columns: list[str]) -> None:
    """Refuse votes for fewer than two classes, and for one without a name."""
    votes = [name for name in columns if name.endswith(SUFFIX)]
    if len(votes) < 2 or SUFFIX in votes:
        found = ", ".join(votes) or "none"
        raise ConsilienceError(f"{path}: columns of votes: {found}; expected at least two, named <class>{SUFFIX}")


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
