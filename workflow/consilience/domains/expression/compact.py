"""The chosen samples and genes between reading and writing: one pass over the source, into a scratch file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO

import numpy as np
import pandas as pd

from consilience.audit import Audit
from consilience.domains.expression import chunks
from consilience.domains.expression.archs4 import Archive
from consilience.domains.expression.filters import Genes, some
from consilience.domains.expression.normalization import Normalization
from consilience.errors import ConsilienceError

MEMORY = 64 * 2**20
# Below this many values of the file, starting a second process costs more than it saves.
SMALL = 20_000_000


@dataclass(frozen=True)
class Choice:
    """What is read from an archive: its `samples` (indices), the `genes`, and the normalization they are read for."""

    archive: Archive
    samples: np.ndarray
    genes: Genes
    normalization: Normalization


@dataclass(frozen=True)
class Compact:
    """The chosen values in a scratch file of float32 rows (features..., target), and what was learned on the way.

    `target` (samples,) float64 and `sums` (samples, sums) are not normalized yet; `kept` (samples,) and `expressed`
    (features,) say what goes on.
    """

    file: IO[bytes]
    width: int
    target: np.ndarray
    sums: np.ndarray
    kept: np.ndarray
    expressed: np.ndarray

    def blocks(self, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the kept samples in order, `rows` at a time: their indices, and values (rows, expressed features)."""
        for part in np.split(self.kept, np.arange(rows, len(self.kept), rows)):
            first, count = int(part[0]), int(part[-1] - part[0] + 1)
            self.file.seek(4 * self.width * first)
            values = np.fromfile(self.file, np.float32, count * self.width).reshape(count, self.width)
            yield part, values[part - first, :-1][:, self.expressed]


def extract(choice: Choice, file: IO[bytes], processes: int = 2, memory: int = MEMORY) -> Compact:
    """Read the chosen rows of the chosen samples into the unbuffered `file`, rows of one symbol summed.

    A block takes about `memory` bytes; up to `processes` processes decode it, one where the source is small. Raises
    ConsilienceError for a value that no count or TPM can have.
    """
    layout, genes, normalization = choice.archive.layout, choice.genes, choice.normalization
    width = len(genes.features) + 1
    scale = None if normalization.row_scale is None else normalization.row_scale[genes.rows]
    count = len(choice.samples)
    sums, target = np.empty((count, normalization.weights.shape[1])), np.empty(count)
    expressed = np.zeros(width - 1, dtype=bool)
    used = processes if count * layout.rows >= SMALL else 1
    for part in chunks.blocks(layout, choice.samples, len(genes.rows) * layout.dtype.itemsize, memory):
        block, sums[part] = _read(choice, part, used)
        values = collapse(block, genes.columns, width, scale)
        values.tofile(file)
        target[part] = values[:, -1]
        expressed |= (values[:, :-1] > 0).any(axis=0)
    return Compact(file, width, target, sums, np.arange(count), expressed)


def _read(choice: Choice, part: slice, processes: int) -> tuple[np.ndarray, np.ndarray]:
    archive = choice.archive
    request = chunks.Request(
        archive.layout, choice.samples[part], choice.genes.rows, choice.normalization.weights, whole=not archive.tpm
    )
    try:
        return chunks.read(request, processes)
    except chunks.BadValueError as error:
        row, sample, value = error.args
        accession = archive.field("geo_accession", np.array([sample]))[0]
        expected = "a TPM of at least 0" if archive.tpm else "a count, a whole number of at least 0"
        raise ConsilienceError(
            f"{archive.path}: {chunks.DATASET}: sample {accession}, gene {archive.rows['symbol'][row]} "
            f"(row {row}, sample {sample}) is {value:g}; expected {expected}"
        ) from error


def collapse(block: np.ndarray, columns: np.ndarray, width: int, scale: np.ndarray | None = None) -> np.ndarray:
    """Add up the rows of one column: (samples, selected) to float32 (samples, `width`), each times its `scale`.

    float32 holds counts up to 2²⁴ exactly, and larger ones to 6e-8, as finely as the dataset's inputs.
    """
    out = np.zeros((len(block), width), dtype=np.float32)
    # The first row of every column, then the second of those that have one, and so on: no round names a column twice.
    turn = pd.Series(columns).groupby(columns).cumcount().to_numpy()
    for index in range(int(turn.max()) + 1):
        chosen = np.flatnonzero(turn == index)
        out[:, columns[chosen]] += block[:, chosen] if scale is None else block[:, chosen] * scale[chosen]
    return out


def drop_empty(compact: Compact, archive: Archive, audit: Audit) -> Compact:
    """Leave out samples without a single count, and genes expressed in none of the others."""
    kept = np.flatnonzero(compact.sums[:, 0] > 0)
    audit.step("library", "library size > 0", samples=len(kept))
    some(kept, archive, audit, "sample")
    audit.step("expressed", "genes expressed in no sample left out", features=compact.expressed.sum())
    some(np.flatnonzero(compact.expressed), archive, audit, "gene")
    return replace(compact, kept=kept)
