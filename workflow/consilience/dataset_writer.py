"""Writes a dataset block by block, and holds its parts against the contract before the file gets its name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from consilience.dataset import REDUCTIONS, SCALINGS, TASKS, read_frame
from consilience.errors import ConsilienceError
from consilience.files import write_h5, write_strings

CHUNK_BYTES = 2**19
COMPRESSION = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def chunk_rows(shape: tuple[int, ...], samples: int) -> int:
    """Return how many rows of float32 (*shape) are a chunk of the file, of so many samples."""
    return int(np.clip(CHUNK_BYTES // max(1, 4 * int(np.prod(shape))), 1, max(1, samples)))


class DatasetWriter:
    """Writes a dataset block by block and checks it as a whole; see `write_dataset`."""

    def __init__(self, file: h5py.File, path: Path, task: str, classes: list[str]) -> None:
        self.file = file
        self.path = path
        self.task = task
        self.count_classes = len(classes)
        self.written: dict[str, int] = {}

    def features(self, frame: pd.DataFrame) -> None:
        """Write the features, a row each: `name` (unique), `branch`, further columns."""
        self._frame("features", frame, ("name", "branch"))
        repeated = frame["name"][frame["name"].duplicated()]
        if len(repeated):
            raise ConsilienceError(f"{self.path}: feature names must be unique; {repeated.iloc[0]!r} repeats")

    def samples(self, frame: pd.DataFrame) -> None:
        """Write the samples, a row each: `id` (unique), and as known weight, official_role, trivial_*, groupings."""
        self._frame("samples", frame, ("id",))
        repeated = frame["id"][frame["id"].duplicated()]
        if len(repeated):
            raise ConsilienceError(f"{self.path}: sample ids must be unique; {repeated.iloc[0]!r} repeats")
        if "weight" in frame and not (np.isfinite(frame["weight"]) & (frame["weight"] > 0)).all():
            raise ConsilienceError(f"{self.path}: sample weights must be positive numbers")

    def target(self, values: np.ndarray) -> None:
        """Write the target: float (samples,), class index (samples,), or vote fractions (samples, classes)."""
        values = np.asarray(values)
        if not np.isfinite(values).all():
            raise ConsilienceError(f"{self.path}: the target of sample {_first_bad(values)} is not a finite number")
        if self.task == "classification" and not np.isin(values, np.arange(self.count_classes)).all():
            raise ConsilienceError(f"{self.path}: class indices must lie in 0..{self.count_classes - 1}")
        if self.task == "votes" and (
            values.shape[1:] != (self.count_classes,)
            or (values < 0).any()
            or not np.allclose(values.sum(axis=1), 1, atol=1e-6)
        ):
            raise ConsilienceError(f"{self.path}: votes must be (samples, classes) fractions that sum to one")
        self.file["target"] = values.astype(np.int64 if self.task == "classification" else np.float64)

    def branch(
        self, name: str, units: np.ndarray, samples: int, scaling: str, reduce: str = "mean", masked: bool = False
    ) -> None:
        """Declare a branch of `samples` rows whose shape is that of `units`; then `append` its rows in order."""
        units = np.asarray(units, dtype=np.int32)
        if scaling not in SCALINGS or reduce not in REDUCTIONS:
            raise ConsilienceError(
                f"{self.path}: branch {name}: scaling is one of {SCALINGS} and reduce one of {REDUCTIONS}, "
                f"not {scaling!r} and {reduce!r}"
            )
        if name == "samples":
            raise ConsilienceError(f"{self.path}: a branch cannot be called samples; attribution files need the name")
        compression = COMPRESSION | {"chunks": (chunk_rows(units.shape, samples), *units.shape)}
        inputs = self.file.require_group("inputs").create_dataset(
            name, (samples, *units.shape), np.float32, **compression
        )
        inputs.attrs["scaling"], inputs.attrs["reduce"] = scaling, reduce
        if masked:
            self.file.require_group("masks").create_dataset(name, (samples, *units.shape), bool, **compression)
        self.file.require_group("units").create_dataset(name, data=units)
        self.written[name] = 0

    def append(self, branch: str, block: np.ndarray, mask: np.ndarray | None = None) -> None:
        """Write the next rows (rows, *shape) of a branch; values must be finite where `mask` is not true.

        What the mask covers is stored as zero, so that nothing can depend on it.
        """
        inputs = self.file["inputs"][branch]
        start, stop = self.written[branch], self.written[branch] + len(block)
        block = np.asarray(block, dtype=np.float32)
        if block.shape[1:] != inputs.shape[1:] or stop > len(inputs):
            raise ConsilienceError(
                f"{self.path}: branch {branch}: rows {start}..{stop} of shape {block.shape[1:]}; "
                f"declared {len(inputs)} rows of shape {inputs.shape[1:]}"
            )
        if mask is not None:
            block = np.where(mask, np.float32(0), block)
            self.file["masks"][branch][start:stop] = mask
        if not np.isfinite(block).all():
            raise ConsilienceError(
                f"{self.path}: branch {branch}: sample {start + _first_bad(block)} has a value that is not finite; "
                "mask what is absent"
            )
        inputs[start:stop] = block
        self.written[branch] = stop

    def auxiliary(self, name: str, values: np.ndarray) -> None:
        """Write an array (samples, ...) that networks read and nobody attributes."""
        values = np.asarray(values)
        kind = np.int64 if np.issubdtype(values.dtype, np.integer) else np.float32
        self.file.require_group("auxiliary").create_dataset(
            name, data=values.astype(kind), chunks=True, compression="gzip", compression_opts=1
        )

    def auxiliary_blocks(self, name: str, blocks: Iterable[np.ndarray], samples: int, shape: tuple[int, ...]) -> None:
        """Write float32 (samples, *shape) as `auxiliary` does, from blocks (rows, *shape) in order.

        Blocks of whole chunks, `chunk_rows(shape, samples)` rows or a multiple, are compressed once.
        """
        out = self.file.require_group("auxiliary").create_dataset(
            name, (samples, *shape), np.float32, chunks=(chunk_rows(shape, samples), *shape), **COMPRESSION
        )
        start = 0
        for block in blocks:
            out[start : start + len(block)] = block
            start += len(block)
        if start != samples:
            raise ConsilienceError(f"{self.path}: auxiliary {name}: {start} rows; declared {samples}")

    def representation(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep what the samples were encoded with, arrays by name, for the slice's own use."""
        group = self.file.create_group("representation")
        for name, values in arrays.items():
            group[name] = values

    def _frame(self, name: str, frame: pd.DataFrame, required: tuple[str, ...]) -> None:
        absent = [column for column in required if column not in frame]
        if absent:
            raise ConsilienceError(f"{self.path}: the {name} table lacks {', '.join(absent)}")
        group = self.file.create_group(name)
        # HDF5 lists members by name; the order of columns is the slice's to choose.
        group.attrs["columns"] = list(frame.columns)
        for column in frame:
            values = frame[column].to_numpy()
            if values.dtype.kind in "biuf":
                group.create_dataset(column, data=values)
            else:
                write_strings(group, column, values)

    def check(self) -> None:
        """Hold the parts against each other; called by `write_dataset` before the file gets its name."""
        for part in ("features", "samples", "target", "inputs"):
            if part not in self.file:
                raise ConsilienceError(f"{self.path}: a dataset needs /{part}; the slice wrote none")
        samples = len(self.file["target"])
        groups = [self.file["samples"], *(self.file[name] for name in ("masks", "auxiliary") if name in self.file)]
        counts = {f"{group.name}/{name}": len(group[name]) for group in groups for name in group}
        counts |= {f"/inputs/{name}": rows for name, rows in self.written.items()}
        wrong = {name: count for name, count in counts.items() if count != samples}
        if wrong:
            raise ConsilienceError(f"{self.path}: /target has {samples} samples, but {wrong}")
        self.file.attrs["branches"] = list(self.written)
        self._check_units()

    def _check_units(self) -> None:
        frame = read_frame(self.file["features"])
        names, branches = frame["name"].to_numpy(), frame["branch"].to_numpy()
        elements = np.zeros(len(names), dtype=np.int64)
        for branch in self.written:
            units = self.file["units"][branch][...].ravel()
            if units.min(initial=0) < -1 or units.max(initial=-1) >= len(names):
                raise ConsilienceError(f"{self.path}: units of {branch} must lie in -1..{len(names) - 1}")
            own = np.bincount(units[units >= 0], minlength=len(names))
            foreign = np.flatnonzero((own > 0) & (branches != branch))
            if len(foreign):
                raise ConsilienceError(
                    f"{self.path}: feature {names[foreign[0]]!r} is of branch {branches[foreign[0]]!r}, "
                    f"yet the units of {branch!r} name it"
                )
            elements += own
        empty = np.flatnonzero(elements == 0)
        if len(empty):
            raise ConsilienceError(f"{self.path}: feature {names[empty[0]]!r} has no element in any branch")


def _first_bad(values: np.ndarray) -> int:
    return int(np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))[0])


@contextmanager
def write_dataset(
    path: str | Path,
    task: str,
    target: str,
    unit: str,
    source: str,
    source_sha256: str,
    classes: list[str] | None = None,
) -> Iterator[DatasetWriter]:
    """Yield a writer; the file is checked and appears at `path` when the block ends without an error.

    `classes` are the names of the classes (at least two) for the tasks classification and votes.
    """
    classes = list(classes or [])
    if task not in TASKS:
        raise ConsilienceError(f"{path}: task is one of {', '.join(TASKS)}, not {task!r}")
    if (len(classes) < 2) != (task == "regression"):
        raise ConsilienceError(f"{path}: {task} with {len(classes)} classes ({', '.join(classes)})")
    with write_h5(path) as file:
        facts = {"task": task, "target": target, "unit": unit, "source": source, "source_sha256": source_sha256}
        for key, value in facts.items():
            file.attrs[key] = value
        if classes:
            write_strings(file, "classes", classes)
        writer = DatasetWriter(file, Path(path), task, classes)
        yield writer
        writer.check()
