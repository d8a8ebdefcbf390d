"""Reads X of an .h5ad file in blocks of rows: dense, by compressed rows (CSR) or by compressed columns (CSC)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from consilience.domains.tabular.blocks import rows_within
from consilience.errors import ConsilienceError

# An entry of a sparse matrix in memory, its value, its index, and what places it.
ENTRY_BYTES = 32


class Matrix:
    """A matrix of an open file: its shape, and rows block by block as float64."""

    def __init__(self, node: h5py.Dataset | h5py.Group, place: str) -> None:
        self.node, self.place = node, place
        if isinstance(node, h5py.Dataset):
            self.format, self.shape = "dense", tuple(node.shape)
        else:
            # h5sparse_* is what anndata wrote before 0.7.
            kind = str(node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "group")))
            self.format = kind.removesuffix("_matrix")
            self.shape = tuple(int(size) for size in node.attrs.get("shape", node.attrs.get("h5sparse_shape", ())))
        if self.format not in ("dense", "csr", "csc") or len(self.shape) != 2:
            raise ConsilienceError(
                f"{place}: {self.format} of shape {self.shape}; expected a dense, CSR or CSC matrix of two axes"
            )

    def blocks(self, columns: np.ndarray, memory: int, scratch: Path) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the first row of each block, and float64 (rows, chosen columns), of about `memory` bytes while read.

        A matrix by columns is first turned into one by rows, in unnamed files in `scratch` as large as its entries.
        """
        height = rows_within(memory, self.shape[1])
        if self.format == "dense":
            for start in range(0, self.shape[0], height):
                yield start, self.node[start : start + height].astype(np.float64)[:, columns]
            return
        pointers = self._pointers()
        with tempfile.TemporaryFile(dir=scratch) as indices, tempfile.TemporaryFile(dir=scratch) as data:
            parts: dict[str, Any] = {"indices": self.node["indices"], "data": self.node["data"]}
            if self.format == "csc":
                pointers, parts = self._by_rows(pointers, indices, data, memory)
            for start in range(0, self.shape[0], height):
                stop = min(start + height, self.shape[0])
                yield start, self._dense(pointers[start : stop + 1], parts)[:, columns]

    def _pointers(self) -> np.ndarray:
        pointers = self.node["indptr"][...].astype(np.int64)
        major, entries = self.shape[0 if self.format == "csr" else 1], len(self.node["indices"])
        whole = len(pointers) == major + 1 and pointers[0] == 0 and pointers[-1] == entries == len(self.node["data"])
        if not whole or (np.diff(pointers) < 0).any():
            raise ConsilienceError(
                f"{self.place}: indptr of {len(pointers)} entries up to {pointers[-1] if len(pointers) else None}; "
                f"expected {major + 1} that grow from 0 to {entries}, the number of indices and of data"
            )
        return pointers

    def _dense(self, pointers: np.ndarray, parts: dict[str, Any]) -> np.ndarray:
        """Return the rows between pointers (rows + 1,) as float64 (rows, all columns)."""
        from scipy.sparse import csr_matrix

        part = slice(int(pointers[0]), int(pointers[-1]))
        indices = parts["indices"][part].astype(np.int64)
        self._check(indices, self.shape[1])
        values = parts["data"][part].astype(np.float64)
        return csr_matrix((values, indices, pointers - pointers[0]), (len(pointers) - 1, self.shape[1])).toarray()

    def _by_rows(
        self, pointers: np.ndarray, indices: Any, data: Any, memory: int
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Write the entries, which lie by columns, by rows; returns the pointers of the rows, and what was written."""
        entries, step = int(pointers[-1]), rows_within(memory, ENTRY_BYTES // 8)
        starts = range(0, entries, step)
        counts = np.zeros(self.shape[0], np.int64)
        for start in starts:
            rows = self.node["indices"][start : start + step].astype(np.int64)
            self._check(rows, self.shape[0])
            counts += np.bincount(rows, minlength=self.shape[0])
        by_row = np.concatenate([[0], np.cumsum(counts)])
        shape = (max(1, entries),)
        written = {
            "indices": np.memmap(indices, np.int64, "w+", shape=shape),
            "data": np.memmap(data, np.float64, "w+", shape=shape),
        }
        free = by_row[:-1].copy()
        for start in starts:
            stop = min(start + step, entries)
            rows = self.node["indices"][start:stop].astype(np.int64)
            order = np.argsort(rows, kind="stable")
            own, first, count = np.unique(rows[order], return_index=True, return_counts=True)
            target = free[rows[order]] + np.arange(len(rows)) - np.repeat(first, count)
            free[own] += count
            columns = np.searchsorted(pointers, np.arange(start, stop), side="right") - 1
            written["indices"][target] = columns[order]
            written["data"][target] = self.node["data"][start:stop].astype(np.float64)[order]
        return by_row, written

    def _check(self, indices: np.ndarray, size: int) -> None:
        if len(indices) and not 0 <= indices.min() <= indices.max() < size:
            raise ConsilienceError(
                f"{self.place}: indices from {indices.min()} to {indices.max()}; expected 0 to {size - 1}"
            )
