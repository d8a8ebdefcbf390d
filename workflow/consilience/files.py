"""Reads and writes every kind of file the rules exchange; each write is checked, and appears only when whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consilience.errors import ConsilienceError

if TYPE_CHECKING:
    import h5py
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

SEPARATORS = {".tsv": "\t", ".csv": ","}
# Columns that hold names: a pixel called 17 and a class called 3 stay text.
NAMES = ("feature", "target", "sample", "group", "name", "model", "method", "kind", "rows")
# What tempfile puts between the name of a file and its suffix.
TEMPORARY = r"\.[a-z0-9_]{8}"

_guards: list[Callable[[], None]] = []


@contextmanager
def guarded(guard: Callable[[], None]) -> Iterator[None]:
    """Call `guard` before any file gets its name, as long as the block lasts; it raises where none may."""
    _guards.append(guard)
    try:
        yield
    finally:
        _guards.remove(guard)


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that is renamed to it on success and removed on any error.

    The rename is atomic (same folder), so that a reader sees the whole file or none. What a killed job left of the same
    file is swept away.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    # The suffix stays last, because several writers choose their format by it.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        _ask_guards()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its name on success, as `whole` does with a file.

    An older folder of that name goes first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    older = None
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _ask_guards()
        if path.exists():  # a folder takes no other's place, and one that is half removed must not keep the name
            older = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix))
            path.replace(older)
        temporary.replace(path)
    finally:
        for left in filter(None, (temporary, older)):
            shutil.rmtree(left, ignore_errors=True)


def _ask_guards() -> None:
    for guard in _guards:
        guard()


def _sweep(path: Path) -> None:
    """Remove temporaries of `path` that another process left: one that still works on them may not name them."""
    ours = re.compile(re.escape(f".{path.stem}") + TEMPORARY + re.escape(path.suffix))
    for left in filter(ours.fullmatch, _left_in(path.parent)):
        shutil.rmtree(path.parent / left, ignore_errors=True)
        with suppress(OSError):
            (path.parent / left).unlink()


@cache
def _left_in(folder: Path) -> tuple[str, ...]:
    """Return the hidden names that a folder held when this process first wrote to it."""
    return tuple(path.name for path in folder.iterdir() if path.name.startswith("."))


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def sha256(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of a file, read in blocks."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_of_all(paths: Iterable[str | Path]) -> str:
    """Return one hexadecimal SHA-256 of several files: that of their own, in order; of a single one its own."""
    own = [sha256(path) for path in paths]
    return own[0] if len(own) == 1 else hashlib.sha256("".join(own).encode()).hexdigest()


def write_text(path: str | Path, text: str) -> None:
    """Write a text as UTF-8."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write `content` as JSON with sorted keys; refuses NaN and infinities, which JSON cannot hold."""
    try:
        text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False)
    except ValueError as error:
        raise ConsilienceError(f"{path}: {error}; a metric that is not defined is written as null") from error
    write_text(path, text + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ConsilienceError(f"{path}: not JSON ({error})") from error


def write_table(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a table as its suffix says: .tsv, .csv or .parquet; the index is not written.

    Floats are written with nine significant digits, which is what float32 needs to come back unchanged.
    """
    suffix = Path(path).suffix
    if not frame.columns.is_unique:
        raise ConsilienceError(f"{path}: column names repeat: {list(frame.columns[frame.columns.duplicated()])}")
    with whole(path) as temporary:
        if suffix == ".parquet":
            frame.to_parquet(temporary, index=False)
        elif suffix in SEPARATORS:
            frame.to_csv(temporary, sep=SEPARATORS[suffix], index=False, float_format="%.9g", lineterminator="\n")
        else:
            raise ConsilienceError(f"{path}: tables are .tsv, .csv or .parquet, not {suffix or 'without a suffix'}")


def read_table(path: str | Path, columns: tuple[str, ...] = (), rows: int | None = None) -> pd.DataFrame:
    """Read a .tsv, .csv or .parquet table; `columns` are those it must have, `rows` the first of text that are read.

    Only an empty field is missing: features named NA and classes named None stay text, as do the columns NAMES.
    """
    import pandas as pd

    suffix = Path(path).suffix
    if not Path(path).is_file():
        raise ConsilienceError(f"{path}: no such file")
    if suffix == ".parquet":
        frame = pd.read_parquet(path)
    else:
        frame = pd.read_csv(
            path,
            sep=SEPARATORS.get(suffix, ","),
            keep_default_na=False,
            na_values=[""],
            dtype=dict.fromkeys(NAMES, str),
            nrows=rows,
        )
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        raise ConsilienceError(f"{path}: no column {', '.join(absent)}; it has {', '.join(map(str, frame.columns))}")
    return frame


@contextmanager
def write_h5(path: str | Path) -> Iterator[h5py.File]:
    """Yield a new HDF5 file that appears at `path` when the block ends without an error."""
    import h5py

    with whole(path) as temporary, h5py.File(temporary, "w") as file:
        yield file


@contextmanager
def read_h5(path: str | Path) -> Iterator[h5py.File]:
    """Yield an HDF5 file opened for reading; a missing, foreign or truncated file is one clear line."""
    import h5py

    if not Path(path).is_file():
        raise ConsilienceError(f"{path}: no such file; expected an HDF5 file")
    if not h5py.is_hdf5(path):
        raise ConsilienceError(f"{path}: not an HDF5 file (its signature is missing)")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ConsilienceError(f"{path}: damaged or truncated HDF5 file ({error})") from error
    with file:
        yield file


def write_strings(group: h5py.Group, name: str, values: Any) -> None:
    """Write a list of texts as variable-length UTF-8."""
    import h5py
    import numpy as np

    texts = np.asarray([str(value) for value in values], dtype=object)
    group.create_dataset(name, data=texts, dtype=h5py.string_dtype("utf-8"))


def read_strings(group: h5py.Group, name: str) -> np.ndarray:
    """Read texts (samples,) whatever HDF5 string type they have, as an object array of str."""
    import numpy as np

    return np.asarray(group[name].asstr("utf-8")[...], dtype=object)


def write_tensors(path: str | Path, tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Write arrays and JSON-able `facts` as safetensors.

    All facts go under one key: the library stores several in the order of a hash map, which changes from run to run.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(array) for name, array in sorted(tensors.items())}
    metadata = {"consilience": json.dumps(facts, sort_keys=True, allow_nan=False)}
    with whole(path) as temporary:
        try:
            save_file(arrays, temporary, metadata=metadata)
        except SafetensorError as error:  # a full disk, say
            raise OSError(f"{path}: {error}") from error


def read_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a safetensors file: its arrays, and the facts `write_tensors` stored ({} in a foreign file)."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise ConsilienceError(f"{path}: no such file; expected safetensors")
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            facts = json.loads((file.metadata() or {}).get("consilience", "{}"))
    except SafetensorError as error:
        raise ConsilienceError(f"{path}: not a whole safetensors file ({error})") from error
    return arrays, facts


def save_figure(path: str | Path, figure: Figure) -> None:
    """Write a figure (PNG at 300 dpi, or SVG/PDF by suffix) without a date or version, and close it."""
    import matplotlib.pyplot as plt

    keys = {".png": ["Software"], ".pdf": ["CreationDate", "Producer", "Creator"], ".svg": ["Date", "Creator"]}
    metadata = dict.fromkeys(keys[Path(path).suffix])
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=300, bbox_inches="tight", metadata=metadata)
    plt.close(figure)
