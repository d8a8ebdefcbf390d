"""Decodes obs and var of an .h5ad file: a column is numbers, texts, or a type that is neither.

The layouts of https://anndata.readthedocs.io/en/stable/fileformat-prose.html, and the older ones: categories in a group
`__categories` beside the columns (0.7), and a compound dataset whose categories lie in uns (0.6).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa

from consilience.domains.tabular.blocks import NUMBER, TEXT, number_name
from consilience.errors import ConsilienceError

BOOLEANS = ("false", "true")
OLD_CATEGORIES = "__categories"
Values = np.ndarray | pa.StringArray


class Annotations:
    """obs or var of an open file: the names of its columns, and each decoded when it is asked for."""

    def __init__(self, file: h5py.File, name: str, path: Path) -> None:
        if name not in file:
            raise ConsilienceError(f"{path}: no {name}; expected an .h5ad file, with X, obs and var")
        self.file, self.name, self.path, self.node = file, name, path, file[name]
        self.compound = isinstance(self.node, h5py.Dataset)
        if self.compound:
            self.index = self.node.dtype.names[0]
            self.names = [str(field) for field in self.node.dtype.names[1:]]
        else:
            self.index = str(self.node.attrs.get("_index", "_index"))
            held = [key for key in self.node if key not in (self.index, OLD_CATEGORIES)]
            order = [str(key) for key in np.atleast_1d(self.node.attrs.get("column-order", held))]
            self.names = [key for key in order if key in held]
        if not self.compound and self.index not in self.node:
            raise ConsilienceError(f"{path}: {name} has no index {self.index!r}; expected an .h5ad file")

    def __len__(self) -> int:
        return len(self.node) if self.compound else len(self.labels())

    def labels(self) -> pa.StringArray:
        """Return the index, the names of the rows."""
        kind, values = self.column(self.index)
        return values if kind == TEXT else pa.array([str(value) for value in values.tolist()], pa.string())

    def column(self, name: str) -> tuple[str, Values | None]:
        """Return the kind of a column and its values: float64 (NaN absent), texts (null absent), or None."""
        if self.compound:
            return self._old_column(name)
        node = self.node[name]
        if isinstance(node, h5py.Group):
            return self._encoded(node, name)
        if "categories" in node.attrs:
            categories = self.file[node.attrs["categories"]]
            return TEXT, self._categories(node[...], _plain(categories)[1], name)
        return _plain(node)

    def _encoded(self, node: h5py.Group, name: str) -> tuple[str, Values | None]:
        encoding = str(node.attrs.get("encoding-type", "group"))
        if encoding == "categorical":
            categories = node["categories"]
            _, values = self._encoded(categories, name) if isinstance(categories, h5py.Group) else _plain(categories)
            return TEXT, self._categories(node["codes"][...], values, name)
        if encoding.startswith("nullable-"):
            kind, values = _plain(node["values"])
            absent = node["mask"][...].astype(bool)
            if kind == NUMBER:
                return kind, np.where(absent, np.nan, values)
            return kind, pa.array(values.to_pylist() if values is not None else [], pa.string(), mask=absent)
        return encoding, None

    def _old_column(self, name: str) -> tuple[str, Values | None]:
        kind, values = _decoded(self.node[name])
        categories = f"uns/{name}_categories"
        if categories in self.file and kind == NUMBER:
            return TEXT, self._categories(values, _plain(self.file[categories])[1], name)
        return kind, values

    def _categories(self, codes: np.ndarray, categories: Values, name: str) -> pa.StringArray:
        """Look codes up, -1 being absent."""
        names = [*_names(categories), None]
        if len(codes) and not -1 <= codes.min() <= codes.max() < len(names) - 1:
            raise ConsilienceError(
                f"{self.path}: {self.name}/{name}: codes from {codes.min()} to {codes.max()}; expected -1 to "
                f"{len(names) - 2}, one for each category"
            )
        return pa.array(np.asarray(names, dtype=object)[codes.astype(np.int64)], pa.string())


def _plain(node: h5py.Dataset) -> tuple[str, Values | None]:
    if h5py.check_string_dtype(node.dtype) is not None:
        return TEXT, pa.array(node.asstr("utf-8")[...], pa.string())
    return _decoded(node[...])


def _decoded(values: np.ndarray) -> tuple[str, Values | None]:
    kind = values.dtype.kind
    if values.ndim == 1 and kind == "b":
        return TEXT, pa.array(np.asarray(BOOLEANS, dtype=object)[values.astype(int)], pa.string())
    if values.ndim == 1 and kind in "iuf":
        return NUMBER, values.astype(np.float64)
    if values.ndim == 1 and kind in "SO":
        texts = [value.decode() if isinstance(value, bytes) else value for value in values.tolist()]
        return TEXT, pa.array(texts, pa.string())
    return str(values.dtype), None


def _names(categories: Values) -> Sequence[str]:
    if isinstance(categories, np.ndarray):
        return [number_name(value) for value in categories.tolist()]
    return categories.to_pylist()
