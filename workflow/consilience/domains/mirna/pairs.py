"""Reads tables of miRNA-target pairs, refuses what is no pair, and drops repeats and contradictions into the audit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.audit import Audit
from consilience.domains.mirna.sequences import LETTERS, NUCLEOTIDES, normalized, reverse_complement
from consilience.errors import ConsilienceError
from consilience.splits import ROLES, connected_groups
from consilience.strict_csv import strict_table

SEQUENCES = {"mature_miRNA_Transcript": "mirna", "mRNA_Site_Transcript": "site"}
LABEL = "validation"
PLANTED = "planted_position"  # in simulated tables: where the match starts
OPTIONAL = ("mirna_name", "mirna_family", "gene_cluster", PLANTED)
REQUIRED = (*SEQUENCES, LABEL)
CLASSES = ("no pair", "pair")
# What tables write where a miRNA belongs to no known family, or has no name.
NO_NAME = frozenset(("", "unknown", "nan", "na", "none"))
SEED = slice(1, 8)  # nucleotides 2 to 8 of the miRNA
SIX_MER = slice(1, 7)
ROWS_AT_ONCE = 65536


def files_of(raw: Sequence[Path], source: Mapping[str, Any]) -> dict[str, Path]:
    """Return the tables by official role, or a single one under ""."""
    named = {role: Path(source[role]) for role in ROLES if role in source}
    return named or {"": Path(raw[0])}


def read_pairs(files: Mapping[str, Path], k: int) -> pd.DataFrame:
    """Return all pairs, a row each: id, official_role, mirna, site, label, and the optional columns ("" where absent).

    Sequences are in upper case, as DNA. Rows are numbered from 1 below the header. Raises ConsilienceError for a file
    that is no such table, a missing column, letters that are no nucleotides, a sequence without a k-mer, and a label
    that is not 0 or 1.
    """
    frames = [_read(path, k).assign(official_role=role) for role, path in files.items()]
    table = pd.concat(frames, ignore_index=True)
    prefix = table["official_role"].where(table["official_role"] != "", "pair")
    return table.assign(id=[f"{name}-{row:05d}" for name, row in zip(prefix, table["row"], strict=True)])


def _read(path: Path, k: int) -> pd.DataFrame:
    known = (*REQUIRED, *OPTIONAL)
    with strict_table(path, REQUIRED, known.__contains__, "a CSV table of pairs") as (columns, rows):
        parts = [_checked(path, pd.DataFrame(part, columns=["row", *columns]), k) for part in _batched(rows)]
    if not parts:
        raise ConsilienceError(f"{path}: a header without a row; expected pairs")
    return pd.concat(parts, ignore_index=True)


def _batched(rows: Iterator[list[Any]]) -> Iterator[list[list[Any]]]:
    while part := list(islice(rows, ROWS_AT_ONCE)):
        yield part


def _checked(path: Path, part: pd.DataFrame, k: int) -> pd.DataFrame:
    """Return checked rows under our names."""
    checked: dict[str, Any] = {"row": part["row"].to_numpy()}
    for column, name in SEQUENCES.items():
        checked[name] = [
            _sequence(path, row, column, value.strip(), k) for row, value in zip(part["row"], part[column], strict=True)
        ]
    labels = part[LABEL].str.strip()
    for row, value in zip(part["row"][~labels.isin(["0", "1"])], labels[~labels.isin(["0", "1"])], strict=True):
        raise ConsilienceError(f"{path}: row {row}: {LABEL} is {value!r}; expected 0 or 1")
    checked["label"] = (labels == "1").to_numpy(np.int64)
    for name in OPTIONAL:
        checked[name] = named(part[name] if name in part else pd.Series("", index=part.index)).to_numpy(object)
    for row, site, value in zip(part["row"], checked["site"], checked[PLANTED], strict=True):
        if value and not (value.isdecimal() and 1 <= int(value) <= len(site)):
            raise ConsilienceError(f"{path}: row {row}: {PLANTED} is {value!r}; expected a place from 1 to {len(site)}")
    return pd.DataFrame(checked)


def named(values: pd.Series) -> pd.Series:
    """Return names without what tables write where there is none, such as unknown or NA: that is blank."""
    names = values.str.strip()
    return names.where(~names.str.lower().isin(NO_NAME), "")


def _sequence(path: Path, row: int, column: str, value: str, k: int) -> str:
    sequence = normalized(value)
    where = f"{path}: row {row}: {column}"
    if not set(sequence) <= LETTERS:
        place = next(place for place, letter in enumerate(value) if letter.upper() not in LETTERS)
        raise ConsilienceError(f"{where} holds {value[place]!r} at position {place + 1}; expected A, C, G, T, U or N")
    if len(sequence) < k:
        raise ConsilienceError(f"{where} has {len(sequence)} nucleotides; k-mers of {k} need at least {k}")
    if "N" in sequence and max(map(len, sequence.split("N"))) < k:
        raise ConsilienceError(f"{where} has no {k} nucleotides in a row without N; expected at least one k-mer")
    return sequence


def distinct_pairs(table: pd.DataFrame, audit: Audit) -> pd.DataFrame:
    """Return the pairs without repeats, and without pairs that are said to be both; tells the audit.

    Of a pair that repeats, the row of the test file stays, else that of validation, else the first.
    """
    priority = table["official_role"].map({"test": 0, "validation": 1}).fillna(2)
    order = table.assign(priority=priority).sort_values("priority", kind="stable")
    kept = order.drop_duplicates(["mirna", "site", "label"])
    across = sum(int((order.loc[~order.index.isin(kept.index), "official_role"] == role).sum()) for role in ROLES[:2])
    note = f"{across} of them in train or validation files" if (table["official_role"] != "").any() else ""
    audit.step("repeats", "the same miRNA, site and label once", len(kept), note=note)
    both = kept.duplicated(["mirna", "site"], keep=False)
    note = f"{int(both.sum()) // 2} pairs"
    audit.step("contradictions", "no pair with both labels", int((~both).sum()), note=note)
    return kept[~both].sort_index().drop(columns="priority").reset_index(drop=True)


def families(table: pd.DataFrame) -> np.ndarray:
    """Return the group of every pair (pairs,): its miRNA's family, or the miRNA where there is none.

    The name, or the sequence where that is absent too, stands for a miRNA; whatever it is called, one sequence is in
    one group.
    """
    named = table["mirna_family"].where(table["mirna_family"] != "", table["mirna_name"])
    # The sequence joins its miRNA's names; a comma would part a name in two.
    linked = named.str.replace(r"[,;\t]", " ", regex=True) + "," + table["mirna"]
    return connected_groups(pd.Series(linked.to_numpy(), index=table["id"], name="family"))


def seed_match(mirna: str, site: str, part: slice = SIX_MER) -> bool:
    """Say whether a site holds the reverse complement of a part of the miRNA, by default nucleotides 2 to 7."""
    wanted = mirna[part]
    return (
        len(wanted) == part.stop - part.start and set(wanted) <= set(NUCLEOTIDES) and reverse_complement(wanted) in site
    )


def kmers_of(sequence: str, k: int) -> list[str]:
    """Return the k-mers of a sequence in order."""
    return [sequence[start : start + k] for start in range(len(sequence) - k + 1)]


def unknown_kmers(sequences: Sequence[str], k: int) -> tuple[int, int]:
    """Return how many k-mers hold an N, and in how many of the sequences."""
    skipped = [
        sum(not set(kmer) <= set(NUCLEOTIDES) for kmer in kmers_of(sequence, k))
        for sequence in sequences
        if "N" in sequence
    ]
    return sum(skipped), len(skipped)
