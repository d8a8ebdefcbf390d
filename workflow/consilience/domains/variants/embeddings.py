"""Makes a dataset of embeddings of calls that were made elsewhere: .pt, .npz or .h5, with what is known of calls."""

from __future__ import annotations

import math
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from consilience.audit import Audit
from consilience.dataset_writer import write_dataset
from consilience.domains.variants.calls import CLASSES, NO_SIZE, type_of
from consilience.domains.variants.samples import UNNAMED, sample_table, tell_sizes
from consilience.domains.variants.vcf import SPANNING
from consilience.errors import ConsilienceError
from consilience.files import sha256
from consilience.progress import following

BRANCH, UNIT = "embedding", "embedding"
KEYS = ("truvari_class", "svtype", "svlen", "chrom", "pos", "dataset")
TEXTS = ("svtype", "chrom", "dataset")
# What tells the class of a call, letter by letter; any other value, as of a missed truth, leaves the call out.
TRUE, FALSE = frozenset({"TP", "tp_comp_vcf"}), frozenset({"FP", "fp_vcf"})


@dataclass(frozen=True)
class Embeddings:
    """An open file: `shape` (calls, dimensions), `block(start, stop)` float32 rows, and `columns`, a list a key."""

    shape: tuple[int, int]
    block: Callable[[int, int], np.ndarray]
    columns: dict[str, list[Any]]


def prepare_embeddings(path: Path, target: str, dataset: Path, memory: int) -> pd.DataFrame:
    """Write `dataset` from the embeddings in `path`, in blocks of about `memory` bytes, and return the audit."""
    with open_embeddings(path) as embeddings:
        calls, dimensions = embeddings.shape
        classes = ["None" if value is None else str(value) for value in embeddings.columns["truvari_class"]]
        labeled = np.flatnonzero([value in TRUE | FALSE for value in classes])
        audit = Audit(calls, dimensions, "embeddings of calls", path.name)
        counts = Counter(classes)
        for value in sorted(counts):
            use = "true" if value in TRUE else "false" if value in FALSE else "left out"
            audit.detail("labels", f"truvari_class {value}: {use}", counts[value], calls)
        _check_classes(path, counts)
        audit.step("classes", "calls that are true or false", samples=len(labeled))
        table = _table(embeddings.columns, labeled, path)
        true = np.asarray([classes[row] in TRUE for row in labeled])
        single = true | ~_twins(table, true)
        kept, samples = labeled[single], sample_table(table[single].reset_index(drop=True))
        if true[single].all():
            raise ConsilienceError(f"{path}: every false call is a true one too; expected false calls")
        audit.step("duplicates", "false calls that are true calls of their dataset too: left out", samples=len(kept))
        tell_sizes(audit, samples)
        facts = {"unit": UNIT, "source": path.name, "source_sha256": sha256(path)}
        with write_dataset(dataset, "classification", target, classes=list(CLASSES), **facts) as writer:
            names = [f"dimension {number}" for number in range(1, dimensions + 1)]
            writer.features(pd.DataFrame({"name": names, "branch": BRANCH}))
            writer.target(true[single].astype(np.int64))
            writer.samples(samples)
            writer.branch(BRANCH, np.arange(dimensions), len(kept), scaling="feature", reduce="mean")
            height = max(1, memory // (16 * dimensions))
            for start in following(range(0, calls, height), "writing embeddings", "block"):
                own = kept[(kept >= start) & (kept < start + height)]
                if len(own):
                    writer.append(BRANCH, _finite(embeddings.block(start, start + height)[own - start], own, path))
    audit.step("dataset", f"written as {UNIT}, {dimensions} dimensions")
    return audit.frame()


@contextmanager
def open_embeddings(path: Path) -> Iterator[Embeddings]:
    """Yield the embeddings of a file by its suffix; raises ConsilienceError for one that is not as described."""
    readers = {".pt": _read_torch, ".npz": _read_numpy, ".h5": _read_h5}
    if path.suffix not in readers:
        raise ConsilienceError(f"{path}: unknown suffix {path.suffix!r}; expected {', '.join(readers)}")
    if not path.is_file():
        raise ConsilienceError(f"{path}: no such file; expected embeddings")
    with readers[path.suffix](path) as embeddings:
        if len(embeddings.shape) != 2 or 0 in embeddings.shape:
            raise ConsilienceError(
                f"{path}: embeddings are of shape {tuple(embeddings.shape)}; expected (calls, dimensions)"
            )
        for name, values in embeddings.columns.items():
            if len(values) != embeddings.shape[0]:
                raise ConsilienceError(f"{path}: {embeddings.shape[0]} embeddings, but {len(values)} of {name}")
        yield embeddings


@contextmanager
def _read_torch(path: Path) -> Iterator[Embeddings]:
    """Read a file of torch.save; code in it is refused, not run."""
    import torch

    from consilience.torch_files import load_without_code

    content = load_without_code(path, "", "a dict of `embeddings` and `sv_info`", mapped=True)
    content = content if isinstance(content, dict) else {}
    tensor, rows = content.get("embeddings"), content.get("sv_info")
    if not isinstance(tensor, torch.Tensor) or not isinstance(rows, list):
        raise ConsilienceError(f"{path}: expected a dict with a tensor `embeddings` and a list `sv_info`")
    if tensor.layout != torch.strided or tensor.is_complex() or tensor.dtype == torch.bool:
        raise ConsilienceError(f"{path}: embeddings are {tensor.dtype}, {tensor.layout}; expected dense numbers")
    if tensor.shape[:1] != (len(rows),):
        raise ConsilienceError(f"{path}: embeddings of shape {tuple(tensor.shape)}, but {len(rows)} rows of sv_info")
    for number, row in enumerate(rows):
        absent = [key for key in KEYS if key not in row] if isinstance(row, dict) else KEYS
        if absent:
            raise ConsilienceError(f"{path}: sv_info row {number} (counted from 0) lacks {', '.join(absent)}")
    columns = {key: [row[key] for row in rows] for key in KEYS}
    yield Embeddings(
        tuple(tensor.shape), lambda start, stop: tensor[start:stop].detach().to(torch.float32).numpy(), columns
    )


@contextmanager
def _read_numpy(path: Path) -> Iterator[Embeddings]:
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in ("embeddings", *KEYS) if name in content.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ConsilienceError(f"{path}: not an .npz file of plain arrays (allow_pickle=False)") from error
    yield _from_arrays(arrays, path)


@contextmanager
def _read_h5(path: Path) -> Iterator[Embeddings]:
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ConsilienceError(f"{path}: not an HDF5 file") from error
    with file:
        columns = {name: part[...] for name, part in file.items() if name in KEYS and isinstance(part, h5py.Dataset)}
        embeddings = {name: file[name] for name in ("embeddings",) if name in file}
        yield _from_arrays(embeddings | columns, path)


def _from_arrays(arrays: Mapping[str, Any], path: Path) -> Embeddings:
    absent = [name for name in ("embeddings", *KEYS) if name not in arrays]
    if absent:
        raise ConsilienceError(f"{path}: no array {', '.join(absent)}; it has {', '.join(sorted(arrays)) or 'none'}")
    values = arrays["embeddings"]
    if values.dtype.kind not in "fiu":
        raise ConsilienceError(f"{path}: embeddings are of type {values.dtype}; expected numbers")
    columns = {}
    for name in KEYS:
        if arrays[name].ndim != 1:
            raise ConsilienceError(f"{path}: {name} is of shape {arrays[name].shape}; expected one value a call")
        told = arrays[name].tolist()
        columns[name] = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in told]
    return Embeddings(values.shape, lambda start, stop: _single(values[start:stop]), columns)


def _single(values: np.ndarray) -> np.ndarray:
    """Return float32; what is too large for it becomes infinite, and is refused as such."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _check_classes(path: Path, counts: Mapping[str, int]) -> None:
    for name, values in (("true", TRUE), ("false", FALSE)):
        if not any(counts.get(value) for value in values):
            found = ", ".join(sorted(counts))
            raise ConsilienceError(
                f"{path}: no {name} call: truvari_class has {found}; expected {' or '.join(sorted(values))}"
            )


def _table(columns: Mapping[str, Sequence[Any]], rows: np.ndarray, path: Path) -> pd.DataFrame:
    """Return what is known of the calls in `rows`; they have no name but that of their type."""
    told = [_row({key: columns[key][row] for key in KEYS}, f"{path}: row {row} (counted from 0)") for row in rows]
    return pd.DataFrame({name: [row[name] for row in told] for name in told[0]})


def _twins(table: pd.DataFrame, true: np.ndarray) -> np.ndarray:
    """Return which calls (calls,) have a true one's dataset, place, type and size; none that have no size."""
    keys = pd.MultiIndex.from_frame(table[["dataset", "contig", "position", "type", "size"]])
    return keys.isin(keys[true]) & (table["size"] != NO_SIZE).to_numpy()


def _row(told: Mapping[str, Any], where: str) -> dict[str, Any]:
    for key in TEXTS:
        if not isinstance(told[key], str) or not told[key]:
            raise ConsilienceError(f"{where}: {key} is {told[key]!r}; expected text")
    position, length = _whole(told, "pos", where), _whole(told, "svlen", where)
    if position is None or position < 0:
        raise ConsilienceError(f"{where}: pos is {told['pos']!r}; expected a position on {told['chrom']}")
    kind = type_of(told["svtype"])
    size = abs(length) if length and kind != "BND" else NO_SIZE
    return {
        "name": kind,
        "contig": told["chrom"],
        "position": position,
        "end": position + max(size, 0) if kind in SPANNING else position,
        "type": kind,
        "size": size,
        "dataset": told["dataset"],
        "filter": UNNAMED,
        "has_sequence": 0,
    }


def _whole(told: Mapping[str, Any], key: str, where: str) -> int | None:
    """Return a whole number; None where there is none, as None or, in arrays, NaN."""
    value = told[key]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or not float(value).is_integer():
        raise ConsilienceError(f"{where}: {key} is {value!r}; expected a whole number")
    return int(value)


def _finite(block: np.ndarray, rows: np.ndarray, path: Path) -> np.ndarray:
    bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
    if len(bad):
        raise ConsilienceError(f"{path}: the embedding in row {rows[bad[0]]} (counted from 0) is not finite")
    return block
