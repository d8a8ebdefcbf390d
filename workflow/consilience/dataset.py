"""The dataset every slice prepares and every later stage reads: inputs, units, features, target and samples.

One HDF5 file, described in the contract (README, "What a slice provides"):

    /inputs/<branch>      float32 (samples, *shape), chunked by rows; attributes `scaling` and `reduce`
    /masks/<branch>       bool (samples, *shape), true where the input is absent
    /auxiliary/<name>     float32 or int64 (samples, ...), read by networks and never attributed
    /units/<branch>       int32 (*shape), the feature each element belongs to, -1 for none
    /features/<column>    name, branch and whatever else the slice knows
    /target               float (samples,), class index (samples,), or vote fractions (samples, classes)
    /classes              names of the classes
    /representation/<name>  of an encoded dataset: what its slice encoded the samples with, read by the slice alone
    /samples/<column>     id, weight, official_role, trivial_*, groupings
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from consilience.errors import ConsilienceError, nearest
from consilience.files import read_h5, read_strings

TASKS = ("regression", "classification", "votes")
SCALINGS = ("feature", "column", "band", "scalar", "none")
REDUCTIONS = ("mean", "sum")


@dataclass(frozen=True)
class Branch:
    """One named input tensor: its shape for one sample, and the feature each of its elements belongs to."""

    name: str
    shape: tuple[int, ...]
    scaling: str
    reduce: str
    units: np.ndarray

    @property
    def elements(self) -> int:
        """The number of elements of one sample."""
        return int(np.prod(self.shape))


class Dataset:
    """A dataset file opened for reading; `Dataset.open(path)` is a context manager."""

    def __init__(self, file: h5py.File, path: Path) -> None:
        self.file = file
        self.path = path

    @classmethod
    @contextmanager
    def open(cls, path: str | Path) -> Iterator[Dataset]:
        """Open `path`; refuses a file that is not a dataset."""
        with read_h5(path) as file:
            if "task" not in file.attrs or "inputs" not in file:
                raise ConsilienceError(f"{path}: not a dataset (no attribute `task` or no group /inputs)")
            yield cls(file, Path(path))

    @property
    def task(self) -> str:
        """One of `TASKS`."""
        return str(self.file.attrs["task"])

    @property
    def target_name(self) -> str:
        """What is predicted, for titles and tables."""
        return str(self.file.attrs["target"])

    @property
    def unit(self) -> str:
        """The unit of the inputs, such as log1p CPM."""
        return str(self.file.attrs["unit"])

    @cached_property
    def branches(self) -> dict[str, Branch]:
        """The branches in the order networks take them."""
        inputs = self.file["inputs"]
        names = [str(name) for name in self.file.attrs["branches"]]
        return {
            name: Branch(
                name,
                tuple(int(size) for size in inputs[name].shape[1:]),
                str(inputs[name].attrs["scaling"]),
                str(inputs[name].attrs["reduce"]),
                self.file["units"][name][...],
            )
            for name in names
        }

    @cached_property
    def features(self) -> pd.DataFrame:
        """A row a feature: name, branch and the slice's own columns."""
        return read_frame(self.file["features"])

    @cached_property
    def samples(self) -> pd.DataFrame:
        """A row a sample: id and whatever columns the slice wrote."""
        return read_frame(self.file["samples"])

    @cached_property
    def classes(self) -> list[str]:
        """The names of the classes; empty for regression."""
        return list(read_strings(self.file, "classes")) if "classes" in self.file else []

    @property
    def targets(self) -> list[str]:
        """What is attributed: the target (regression), one log-odds named by the second class, or every class."""
        if self.task == "regression":
            return [self.target_name]
        return self.classes[1:] if len(self.classes) == 2 else self.classes

    @cached_property
    def target(self) -> np.ndarray:
        """float64 (samples,), int64 (samples,) or float64 (samples, classes), by task."""
        return self.file["target"][...]

    @cached_property
    def labels(self) -> np.ndarray:
        """The class of every sample (samples,): the class itself or the one with most votes."""
        if self.task == "regression":
            raise ConsilienceError(f"{self.path}: a regression has no classes")
        return self.target.argmax(axis=1) if self.task == "votes" else self.target

    @cached_property
    def weight(self) -> np.ndarray:
        """The weight of every sample (samples,) float64; one where the slice gave none."""
        return self.samples["weight"].to_numpy(np.float64) if "weight" in self.samples else np.ones(len(self))

    def __len__(self) -> int:
        return int(self.file["target"].shape[0])

    def rows_of(self, samples: Sequence[str]) -> np.ndarray:
        """Return where samples stand, int64 (samples,); refuses an id that is not there, with the nearest ones."""
        ids = self.samples["id"].astype(str)
        rows = pd.Index(ids).get_indexer(list(samples))
        if (rows < 0).any():
            name = list(samples)[int(np.argmax(rows < 0))]
            raise ConsilienceError(
                f"{self.path}: no sample {name!r} (audit.tsv tells what was dropped){nearest(name, ids)}"
            )
        return rows.astype(np.int64)

    def inputs(self, branch: str, rows: np.ndarray | None = None) -> np.ndarray:
        """Read float32 (rows, *shape), unscaled, in the order of `rows` (all where None)."""
        return _read_rows(self.file["inputs"][branch], rows)

    def mask(self, branch: str, rows: np.ndarray | None = None) -> np.ndarray | None:
        """Read bool (rows, *shape), true where absent; None where the branch has no mask."""
        if "masks" not in self.file or branch not in self.file["masks"]:
            return None
        return _read_rows(self.file["masks"][branch], rows)

    def auxiliary(self, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Read every auxiliary array (rows, ...) by name."""
        group = self.file.get("auxiliary", {})
        return {name: _read_rows(group[name], rows) for name in sorted(group)}

    @property
    def auxiliary_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every auxiliary array for one sample."""
        group = self.file.get("auxiliary", {})
        return {name: tuple(int(size) for size in group[name].shape[1:]) for name in sorted(group)}

    @cached_property
    def representation(self) -> dict[str, np.ndarray]:
        """What the samples were encoded with, arrays by name; empty where nothing was kept."""
        return {name: values[...] for name, values in sorted(self.file.get("representation", {}).items())}


def _read_rows(dataset: h5py.Dataset, rows: np.ndarray | None) -> np.ndarray:
    """Read rows in any order; HDF5 wants them sorted, and reads runs of a chunk at once."""
    if rows is None:
        return dataset[...]
    rows = np.asarray(rows)
    out = np.empty((len(rows), *dataset.shape[1:]), dataset.dtype)
    block = dataset.chunks[0] if dataset.chunks else max(1, len(dataset))
    order = np.argsort(rows, kind="stable")
    starts = rows[order] // block
    for part in np.split(order, np.flatnonzero(np.diff(starts)) + 1) if len(order) else []:
        first, last = int(rows[part[0]]), int(rows[part[-1]]) + 1
        out[part] = dataset[first:last][rows[part] - first]
    return out


def read_frame(group: h5py.Group) -> pd.DataFrame:
    """Read the table that a group holds, a dataset a column, in the order its attribute `columns` gives."""
    columns = [str(name) for name in group.attrs["columns"]]
    return pd.DataFrame(
        {
            name: read_strings(group, name) if h5py.check_string_dtype(group[name].dtype) else group[name][...]
            for name in columns
        }
    )
