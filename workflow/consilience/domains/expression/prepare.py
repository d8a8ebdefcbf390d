"""Makes the dataset of an expression study from one ARCHS4 file: filter, read, normalize, take the target out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.audit import Audit
from consilience.dataset_writer import DatasetWriter, write_dataset
from consilience.domains.expression.archs4 import Archive, inspect
from consilience.domains.expression.compact import MEMORY, Choice, Compact, drop_empty, extract
from consilience.domains.expression.filters import choose_genes, choose_samples
from consilience.domains.expression.normalization import choose
from consilience.errors import ConsilienceError
from consilience.files import sha256

BRANCH = "genes"
SAMPLE_FIELDS = ("geo_accession", "series_id", "title", "source_name_ch1")


def prepare(
    raw: list[Path], settings: dict[str, Any], dataset: Path, seed: int, processes: int = 2, memory: int = MEMORY
) -> pd.DataFrame:
    """Write `dataset` from the ARCHS4 file raw[0] as the study's `settings` say, and return the audit.

    The source is read once, in blocks of about `memory` bytes by up to `processes` processes; between reading and
    writing, what was chosen lies in an unnamed temporary file beside `dataset` (4 bytes a value), since genes
    expressed nowhere are known only at the end. Nothing here is random: `seed` is not used. Raises ConsilienceError.
    """
    del seed
    archive = inspect(raw[0])
    audit = Audit(archive.samples, archive.layout.rows, archive.path.name, _reading(archive))
    normalization = choose(settings["normalization"], archive)
    samples = choose_samples(archive, settings["filter"], audit)
    genes = choose_genes(archive, settings["target"], settings["filter"]["biotype"], audit)
    table = _sample_table(archive, samples)
    dataset.parent.mkdir(parents=True, exist_ok=True)
    choice = Choice(archive, samples, genes, normalization)
    with tempfile.TemporaryFile(dir=dataset.parent, prefix=f".{dataset.stem}.", buffering=0) as file:
        compact = drop_empty(extract(choice, file, processes, memory), archive, audit)
        _write(choice, compact, table, settings, dataset, audit, memory)
    return audit.frame()


def _reading(archive: Archive) -> str:
    guess = "; as many rows as samples, so the documented order is taken" if archive.ambiguous else ""
    return f"{archive.orientation}, {'TPM' if archive.tpm else 'counts'}{guess}"


def _sample_table(archive: Archive, samples: np.ndarray) -> pd.DataFrame:
    """Read the metadata that goes into the dataset (samples, columns); refuses an accession that repeats."""
    columns = {"id" if name == "geo_accession" else name: archive.field(name, samples) for name in SAMPLE_FIELDS}
    table = pd.DataFrame(columns, dtype=object)
    repeated = table["id"].duplicated(keep=False)
    if repeated.any():
        accession = table["id"][repeated].iloc[0]
        places = samples[(table["id"] == accession).to_numpy()]
        raise ConsilienceError(
            f"{archive.path}: meta/samples/geo_accession: {accession!r} repeats (samples "
            f"{', '.join(map(str, places[:5]))}); expected one entry a sample"
        )
    return table


def _write(
    choice: Choice,
    compact: Compact,
    table: pd.DataFrame,
    settings: dict[str, Any],
    dataset: Path,
    audit: Audit,
    memory: int,
) -> None:
    normalization, kept = choice.normalization, compact.kept
    target = normalization.apply(compact.target[kept, None], compact.sums[kept])[:, 0]
    if len(target) > 1 and np.ptp(target) == 0:
        raise ConsilienceError(
            f"{choice.archive.path}: target: {settings['target']} is {target[0]:g} {normalization.unit} in all "
            f"{len(target)} samples; expected a gene that varies"
        )
    features = choice.genes.features[compact.expressed].reset_index(drop=True)
    source = settings["source"].get("url", choice.archive.path.name)
    facts = {"unit": normalization.unit, "source": source, "source_sha256": sha256(choice.archive.path)}
    with write_dataset(dataset, "regression", settings["target"], **facts) as writer:
        writer.features(features)
        writer.samples(table.iloc[kept].assign(trivial_library_size=np.log(compact.sums[kept, 0])))
        writer.target(target)
        writer.branch(BRANCH, np.arange(len(features)), samples=len(kept), scaling="feature", reduce="mean")
        constant = _append(writer, choice, compact, memory)
    note = f"{constant} genes have one value in all samples; kept, but nothing can be learned from them"
    audit.step("dataset", f"written in {normalization.unit}", note=note if constant else "")


def _append(writer: DatasetWriter, choice: Choice, compact: Compact, memory: int) -> int:
    """Normalize and append all rows; returns how many genes have the same value in every sample."""
    # Whole chunks of the dataset are compressed once; a part of one would be read, and compressed again.
    chunk = writer.file["inputs"][BRANCH].chunks[0]
    rows = max(1, memory // (4 * compact.width * chunk)) * chunk
    first, varies = None, np.zeros(int(compact.expressed.sum()), dtype=bool)
    for part, values in compact.blocks(rows):
        block = choice.normalization.apply(values, compact.sums[part])
        first = block[0] if first is None else first
        varies |= (block != first).any(axis=0)
        writer.append(BRANCH, block)
    return int((~varies).sum())
