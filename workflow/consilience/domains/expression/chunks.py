"""Reads selected rows of selected samples from data/expression: whole chunks, each once, in bounded memory.

The human file of ARCHS4 is chunked (2000 genes, 1 sample), so that scattered samples cost nothing extra; what rules is
the cost of a call and of decoding. Chunks are therefore fetched undecoded (H5Dread_chunk) and inflated by ISA-L.
"""

from __future__ import annotations

import mmap
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path

import h5py
import numpy as np
from isal import isal_zlib

from consilience.errors import ConsilienceError
from consilience.progress import following

DATASET = "data/expression"
DEFLATE, SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE
# A layout without chunks is read in rectangles of this many rows and samples.
RECTANGLE = (2000, 64)


@dataclass(frozen=True)
class Layout:
    """How data/expression lies in a file: its axes, chunks (rows, samples) and filters.

    `filters` are HDF5's filter numbers in the order of writing, or None where HDF5 itself must read (contiguous
    data, or filters other than gzip and shuffle).
    """

    path: Path
    rows: int
    samples: int
    sample_axis: int
    dtype: np.dtype
    chunk: tuple[int, int]
    filters: tuple[int, ...] | None

    @classmethod
    def of(cls, path: Path, dataset: h5py.Dataset, sample_axis: int) -> Layout:
        """Describe an open dataset whose axis `sample_axis` runs over the samples."""
        order = (1 - sample_axis, sample_axis)
        shape = dataset.shape
        filters = None
        chunk = RECTANGLE
        if dataset.chunks:
            chunk = (dataset.chunks[order[0]], dataset.chunks[order[1]])
            creation = dataset.id.get_create_plist()
            used = tuple(creation.get_filter(index)[0] for index in range(creation.get_nfilters()))
            filters = used if set(used) <= {DEFLATE, SHUFFLE} else None
        return cls(path, shape[order[0]], shape[order[1]], sample_axis, dataset.dtype, chunk, filters)


class BadValueError(Exception):
    """A value no expression can have, with the row, the sample (indices in the file) and the value."""


@dataclass(frozen=True)
class Request:
    """What to read: `samples` and `rows` (ascending indices in the file), and what to check and sum on the way.

    `weights` (file rows, sums) float64: every sample's weighted sums over *all* rows of the file come with the block.
    `whole`: values must be whole numbers, as counts are.
    """

    layout: Layout
    samples: np.ndarray
    rows: np.ndarray
    weights: np.ndarray | None = None
    whole: bool = False


def blocks(layout: Layout, samples: np.ndarray, row_bytes: int, memory: int) -> Iterator[slice]:
    """Yield slices of the ascending `samples` that share no chunk and take at most `memory` bytes each.

    Samples of one chunk that take more are split all the same, and that chunk is read once a part: bounded memory
    comes first.
    """
    limit = max(1, memory // max(1, row_bytes))
    edges = np.flatnonzero(np.diff(samples // layout.chunk[1])) + 1
    start = 0
    while start < len(samples):
        stop = min(start + limit, len(samples))
        if stop < len(samples):
            fitting = edges[(edges > start) & (edges <= stop)]
            stop = int(fitting[-1]) if len(fitting) else stop
        yield slice(start, stop)
        start = stop


def read(request: Request, processes: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Read one block: (samples, rows) in the file's type, and its weighted sums float64 (samples, sums).

    With more than one of `processes` the samples are shared out over forked readers that write into memory they
    share with the caller (threads gain nothing: HDF5 takes one caller at a time). Where processes cannot be forked,
    one reads. Raises ConsilienceError for a chunk that cannot be decoded and BadValueError for a value below zero,
    not finite or, where `whole`, not whole.
    """
    sums = 0 if request.weights is None else request.weights.shape[1]
    if processes == 1 or len(request.samples) < 2 or "fork" not in multiprocessing.get_all_start_methods():
        block = np.empty((len(request.samples), len(request.rows)), request.layout.dtype)
        totals = np.zeros((len(request.samples), sums))
        _fill(request, slice(0, len(request.samples)), block, totals)
        return block, totals
    block = _shared((len(request.samples), len(request.rows)), request.layout.dtype)
    totals = _shared((len(request.samples), sums), np.dtype(np.float64))
    _fork(request, processes, block, totals)
    return block, totals


def _fork(request: Request, processes: int, block: np.ndarray, totals: np.ndarray) -> None:
    context = multiprocessing.get_context("fork")
    running = []
    for part in _parts(request, processes):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_report, args=(sender, request, part, block, totals), daemon=True)
        process.start()
        sender.close()
        running.append((process, receiver))
    errors = []
    for process, receiver in running:
        try:
            errors.append(receiver.recv())
        except EOFError:
            errors.append(ConsilienceError(f"{request.layout.path}: a reading process was killed; out of memory?"))
        process.join()
    for error in errors:
        if error is not None:
            raise error


def _report(sender: Connection, request: Request, part: slice, block: np.ndarray, totals: np.ndarray) -> None:
    """Fill a part in a forked process, and send the exception it ended with, or None."""
    try:
        _fill(request, part, block, totals)
    except Exception as error:  # any error is raised again by the caller
        sender.send(error)
    else:
        sender.send(None)


def _parts(request: Request, processes: int) -> list[slice]:
    """Cut the samples into about equal runs, at borders of chunks so that none is read twice."""
    columns = request.samples // request.layout.chunk[1]
    borders = np.append(np.flatnonzero(np.diff(columns, prepend=-1)), len(columns))
    cuts = np.linspace(0, len(columns), processes + 1)
    chosen = np.unique(borders[np.searchsorted(borders, cuts)])
    return [slice(int(start), int(stop)) for start, stop in pairwise(chosen)]


def _shared(shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Return zeros in anonymous memory that forked processes write to."""
    size = int(np.prod(shape))
    return np.frombuffer(mmap.mmap(-1, max(1, size * dtype.itemsize)), dtype, count=size).reshape(shape)


def _fill(request: Request, part: slice, block: np.ndarray, totals: np.ndarray) -> None:
    """Read the samples `part` of a request into the rows `part` of `block` and `totals`."""
    layout = request.layout
    columns = _runs(request.samples[part], layout.chunk[1], part.start)
    with h5py.File(layout.path, "r") as file:
        dataset = file[DATASET]
        # Of several readers the first to come shows its own part, about as long as the others'.
        for first_row in following(range(0, layout.rows, layout.chunk[0]), "reading counts", "block of genes"):
            start, stop = np.searchsorted(request.rows, (first_row, first_row + layout.chunk[0]))
            if start == stop and request.weights is None:
                continue
            wanted = _as_slice(request.rows[start:stop] - first_row)
            weights = None if request.weights is None else request.weights[first_row : first_row + layout.chunk[0]]
            for first_sample, target, local in columns:
                chunk = _chunk(dataset, layout, first_row, first_sample)[:, local]
                _check(chunk, request, first_row, target)
                if weights is not None:
                    totals[target] += chunk.T @ weights
                if stop > start:
                    block[target, start:stop] = chunk[wanted].T


def _runs(samples: np.ndarray, width: int, offset: int) -> list[tuple[int, slice, slice | np.ndarray]]:
    """Return, for every chunk that holds any of `samples`: its first sample, their place in the block, in the chunk."""
    columns = samples // width
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    runs = zip(starts.tolist(), [*starts[1:].tolist(), len(samples)], strict=True)
    return [
        (
            int(columns[start]) * width,
            slice(offset + start, offset + stop),
            _as_slice(samples[start:stop] - columns[start] * width),
        )
        for start, stop in runs
    ]


def _as_slice(indices: np.ndarray) -> slice | np.ndarray:
    """Return consecutive indices as a slice, which numpy reads without a copy."""
    if len(indices) and indices[-1] - indices[0] + 1 == len(indices):
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices


def _chunk(dataset: h5py.Dataset, layout: Layout, row: int, sample: int) -> np.ndarray:
    """Return the chunk that begins at (row, sample) as (rows, samples), without what lies beyond the data."""
    try:
        chunk = None if layout.filters is None else _decoded(dataset, layout, row, sample)
        return _through_hdf5(dataset, layout, row, sample) if chunk is None else chunk
    except (OSError, RuntimeError, ValueError, isal_zlib.error) as error:
        raise ConsilienceError(
            f"{layout.path}: {DATASET}: the chunk at row {row}, sample {sample} cannot be decoded ({error}); "
            "the file is damaged"
        ) from error


def _decoded(dataset: h5py.Dataset, layout: Layout, row: int, sample: int) -> np.ndarray | None:
    """Fetch and decode one chunk; None where HDF5 has none stored."""
    try:
        skipped, raw = dataset.id.read_direct_chunk((row, sample) if layout.sample_axis == 1 else (sample, row))
    except RuntimeError:
        return None
    size = layout.chunk[0] * layout.chunk[1] * layout.dtype.itemsize
    for position in reversed(range(len(layout.filters))):
        if skipped >> position & 1:
            continue
        if layout.filters[position] == DEFLATE:
            raw = isal_zlib.decompress(raw, 15, size)
        else:
            raw = np.frombuffer(raw, np.uint8).reshape(layout.dtype.itemsize, -1).T.tobytes()
    if len(raw) != size:
        raise ValueError(f"{len(raw)} bytes; expected {size}")
    values = np.frombuffer(raw, layout.dtype)
    values = values.reshape(layout.chunk) if layout.sample_axis == 1 else values.reshape(layout.chunk[::-1]).T
    return values[: layout.rows - row, : layout.samples - sample]


def _through_hdf5(dataset: h5py.Dataset, layout: Layout, row: int, sample: int) -> np.ndarray:
    """Read the same rectangle by HDF5: its fill value where a chunk was never stored."""
    rows, samples = slice(row, row + layout.chunk[0]), slice(sample, sample + layout.chunk[1])
    return dataset[rows, samples] if layout.sample_axis == 1 else dataset[samples, rows].T


def _check(chunk: np.ndarray, request: Request, first_row: int, target: slice) -> None:
    """Raise BadValueError for the first value that is negative, not finite or, among counts, not whole."""
    if chunk.dtype.kind == "u":
        return
    good = chunk >= 0
    if chunk.dtype.kind == "f":
        good &= np.isfinite(chunk)
        if request.whole:
            good &= np.floor(chunk) == chunk
    if not good.all():
        sample, row = np.argwhere(~good.T)[0]
        raise BadValueError(
            first_row + int(row), int(request.samples[target.start + sample]), float(chunk[row, sample])
        )
