"""Makes the dataset of a miRNA study from tables of pairs: two images of k-mer frequencies, a feature a k-mer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.audit import Audit
from consilience.dataset_writer import DatasetWriter, write_dataset
from consilience.domains.mirna.fcgr import frequencies, kmers
from consilience.domains.mirna.pairs import (
    CLASSES,
    distinct_pairs,
    families,
    files_of,
    read_pairs,
    seed_match,
    unknown_kmers,
)
from consilience.domains.mirna.sequences import encode
from consilience.errors import ConsilienceError
from consilience.files import sha256_of_all
from consilience.progress import following

BRANCHES = ("mirna", "site")
UNIT = "share of a sequence's k-mers"
MEMORY = 2**24
NO_POSITION = -1


def prepare(raw: list[Path], settings: dict[str, Any], dataset: Path, seed: int, memory: int = MEMORY) -> pd.DataFrame:
    """Write `dataset` from tables of pairs, and return the audit.

    The tables are read in parts, the pairs held as text, and images written in blocks of about `memory` bytes. Nothing
    here is random: `seed` is not used. Raises ConsilienceError.
    """
    del seed
    k, files = settings["k"], files_of(raw, settings["source"])
    table = read_pairs(files, k)
    note = ", ".join(f"{name or path.name} {(table['official_role'] == name).sum()}" for name, path in files.items())
    audit = Audit(len(table), 2 * 4**k, "tables of pairs", note)
    pairs = distinct_pairs(table, audit)
    _check_classes(files, pairs)
    _tell(audit, pairs, k)
    facts = {"unit": UNIT, "source": _source(files, settings["source"]), "source_sha256": sha256_of_all(files.values())}
    with write_dataset(dataset, "classification", "pair", classes=list(CLASSES), **facts) as writer:
        writer.features(_features(k))
        writer.target(pairs["label"].to_numpy())
        writer.samples(_samples(pairs))
        for place, branch in enumerate(BRANCHES):
            _write_images(writer, branch, pairs[branch], place * 4**k, k, memory)
    audit.step("dataset", f"written as {UNIT}, k = {k}")
    return audit.frame()


def _check_classes(files: dict[str, Path], pairs: pd.DataFrame) -> None:
    if pairs["label"].nunique() < 2:
        where = ", ".join(map(str, files.values()))
        left = f"all {len(pairs)} pairs have validation {pairs['label'].iloc[0]}" if len(pairs) else "no pair is left"
        raise ConsilienceError(f"{where}: {left}; expected pairs of both, 0 and 1")


def _tell(audit: Audit, pairs: pd.DataFrame, k: int) -> None:
    """Tell what the pairs hold."""
    for branch in BRANCHES:
        skipped, sequences = unknown_kmers(pairs[branch], k)
        note = f"{skipped} k-mers with N skipped"
        audit.detail("unknown nucleotides", f"N in the {branch} sequence", sequences, len(pairs), note)
    positives = int(pairs["label"].sum())
    note = f"{pairs['mirna'].nunique()} miRNA sequences"
    audit.detail("labels", "validation 1", positives, len(pairs), note)


def _source(files: dict[str, Path], source: dict[str, Any]) -> str:
    return source["kind"] if source["kind"] == "simulate" else ", ".join(path.name for path in files.values())


def _features(k: int) -> pd.DataFrame:
    names = kmers(k).ravel()
    row, column = (part.ravel() for part in np.indices((2**k, 2**k)))
    parts = [
        pd.DataFrame({"name": f"{branch}:" + pd.Series(names, dtype=object), "branch": branch, "kmer": names}).assign(
            row=row, column=column
        )
        for branch in BRANCHES
    ]
    return pd.concat(parts, ignore_index=True)


def _samples(pairs: pd.DataFrame) -> pd.DataFrame:
    matches = [seed_match(mirna, site) for mirna, site in zip(pairs["mirna"], pairs["site"], strict=True)]
    # Of positives alone: the site of a decoy matches the seed of another miRNA.
    own = (pairs["planted_position"] != "") & (pairs["label"] == 1)
    planted = pairs["planted_position"].where(own, NO_POSITION).astype(int)
    columns = ["id", "official_role", *BRANCHES, "mirna_name", "mirna_family", "gene_cluster"]
    return pairs[columns].assign(
        family=families(pairs),
        planted_position=planted.to_numpy(np.int64),
        trivial_seed_match=np.asarray(matches, np.float64),
    )


def _write_images(writer: DatasetWriter, branch: str, sequences: pd.Series, first: int, k: int, memory: int) -> None:
    """Write the images of a branch, whose features start at `first`."""
    writer.branch(branch, first + np.arange(4**k).reshape(2**k, 2**k), len(sequences), scaling="scalar", reduce="mean")
    chunk = writer.file["inputs"][branch].chunks[0]
    # An image takes 4 bytes a pixel, and while it is written as many again.
    rows = max(1, memory // (8 * 4**k * chunk)) * chunk
    for start in following(range(0, len(sequences), rows), f"writing images of {branch}", "block"):
        writer.append(branch, frequencies(encode(list(sequences.iloc[start : start + rows])), k))
