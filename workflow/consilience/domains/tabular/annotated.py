"""Reads .h5ad files (annotated matrices of single cells, say), in blocks.

By h5py alone: anndata 0.12 asks for pandas below 3, and would take the workflow's own down with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa

from consilience.domains.tabular.annotations import Annotations, Values
from consilience.domains.tabular.blocks import NUMBER, TEXT, Block, Column, as_texts, rows_within
from consilience.domains.tabular.matrices import Matrix
from consilience.domains.tabular.names import check_names
from consilience.errors import ConsilienceError, listed, nearest
from consilience.files import read_h5

SHOWN = 5
# No column of obs has such a name.
INDEX = "\0index"


class AnnotatedTable:
    """An .h5ad file: the columns of X (or a `layer`), named by var's index, and those of obs.

    A name that both have is that of obs where a study names it, and what var means by it is no input.
    """

    names = INDEX

    def __init__(self, path: Path, layer: str | None, scratch: Path) -> None:
        self.path, self.layer, self.scratch = path, layer, scratch
        with read_h5(path) as file:
            matrix, obs, var = self._matrix(file), Annotations(file, "obs", path), Annotations(file, "var", path)
            genes = var.labels().to_pylist()
            if matrix.shape != (len(obs), len(genes)):
                raise ConsilienceError(
                    f"{matrix.place}: shape {matrix.shape}; expected ({len(obs)}, {len(genes)}), those of obs and var"
                )
            self._check_names(genes)
            check_names(path, genes, "name of var")
            check_names(path, obs.names)
            columns = {name: Column(obs.column(name)[0]) for name in obs.names}
        self.place = {name: place for place, name in enumerate(genes)}
        both = [name for name in genes if name in columns]
        self.note = f"no inputs, as obs has them too: {', '.join(both)}" if both else ""
        self.inputs = [name for name in genes if name not in columns]
        self.matrix = frozenset(self.inputs)
        self.columns = {**dict.fromkeys(self.inputs, Column(NUMBER)), **columns, INDEX: Column(TEXT)}

    def blocks(self, numbers: Sequence[str], texts: Sequence[str], memory: int) -> Iterator[Block]:
        """Yield all rows in order, in blocks of about `memory` bytes; `texts` are columns of obs, or its index."""
        with read_h5(self.path) as file:
            obs, matrix = Annotations(file, "obs", self.path), self._matrix(file)
            named = {name: _as_texts(obs.labels() if name == INDEX else obs.column(name)[1]) for name in texts}
            others = {name: obs.column(name)[1] for name in numbers if name not in self.matrix}
            inside = np.array([name in self.matrix for name in numbers], dtype=bool)
            genes = np.array([self.place[name] for name in numbers if name in self.matrix], dtype=np.int64)
            for first, block in self._rows(matrix, genes, memory):
                table = np.empty((len(block), len(numbers)))
                table[:, inside] = block
                for place in np.flatnonzero(~inside):
                    table[:, place] = others[numbers[place]][first : first + len(block)]
                yield Block(first, table, {name: part.slice(first, len(block)) for name, part in named.items()})

    def row(self, row: int) -> str:
        """Say where a row stands, from 1."""
        return f"row {row}"

    def _rows(self, matrix: Matrix, genes: np.ndarray, memory: int) -> Iterator[tuple[int, np.ndarray]]:
        if len(genes):
            yield from matrix.blocks(genes, memory, self.scratch)
            return
        height = rows_within(memory, 1)
        for start in range(0, matrix.shape[0], height):
            yield start, np.empty((min(height, matrix.shape[0] - start), 0))

    def _matrix(self, file: h5py.File) -> Matrix:
        layers = list(file.get("layers", {}))
        if self.layer is None and "X" not in file:
            offer = f"; source.layer may be one of {', '.join(layers)}" if layers else ""
            raise ConsilienceError(f"{self.path}: no X; expected an .h5ad file with a matrix{offer}")
        if self.layer is not None and self.layer not in layers:
            have = f"it has {', '.join(layers)}" if layers else "it has none"
            raise ConsilienceError(
                f"{self.path}: source.layer: no layer {self.layer!r}; {have}{nearest(self.layer, layers)}"
            )
        place = "X" if self.layer is None else f"layers/{self.layer}"
        return Matrix(file[place], f"{self.path}: {place}")

    def _check_names(self, genes: Sequence[str]) -> None:
        repeated = sorted({name for name, count in Counter(genes).items() if count > 1})
        if repeated:
            raise ConsilienceError(
                f"{self.path}: {len(repeated)} names of var repeat ({listed(repeated, SHOWN)}); expected every name "
                "once (in anndata, var_names_make_unique)"
            )


def _as_texts(values: Values) -> pa.StringArray:
    return as_texts(pa.array(values))
