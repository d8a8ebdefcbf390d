"""Opens an ARCHS4 HDF5 file: what it holds, which way round, and its metadata; no expression value is read here.

The gene files of ARCHS4 v2 (Lachmann et al. 2018, Nature Communications 9:1366) hold `data/expression` as genes ×
samples counts, `meta/genes/{symbol,biotype,ensembl_gene}` and `meta/samples/{geo_accession,series_id,...}`; the
transcript files hold `meta/transcripts/...` instead, and TPM where their values are floating-point.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from consilience.domains.expression.chunks import DATASET, Layout
from consilience.errors import ConsilienceError, nearest
from consilience.files import read_h5

SAMPLES = "meta/samples"
LEVELS = ("genes", "transcripts")
# Releases of ARCHS4 differ in these names; the first is that of the current one.
ROW_FIELDS = {
    "symbol": ("symbol", "gene_symbol"),
    "biotype": ("biotype", "gene_biotype", "transcript_biotype"),
    "ensembl_gene": ("ensembl_gene", "ensembl_gene_id"),
    "length": ("length",),
}
BLOCK = 100_000


@dataclass(frozen=True)
class Archive:
    """What an ARCHS4 file holds: its `layout`, its rows (genes or transcripts) and its samples.

    `rows` has what describes each gene or transcript, (rows,) arrays: symbol, ensembl_gene (empty texts where the
    file has none), and as the file has them biotype and length (bp). `row_fields` are the names of all such fields.
    """

    path: Path
    layout: Layout
    level: str
    ambiguous: bool
    rows: dict[str, np.ndarray]
    row_fields: tuple[str, ...]

    @property
    def samples(self) -> int:
        """The number of samples in the file."""
        return self.layout.samples

    @property
    def tpm(self) -> bool:
        """Whether the values are transcripts per million: floating-point values of transcripts."""
        return self.level == "transcripts" and self.layout.dtype.kind == "f"

    @property
    def orientation(self) -> str:
        """The order of the axes of data/expression, in words."""
        return f"{self.level} x samples" if self.layout.sample_axis == 1 else f"samples x {self.level}"

    def field(self, name: str, samples: np.ndarray | None = None) -> np.ndarray:
        """Read text meta/samples/`name` as an object array (samples,) of str, of all samples where None."""
        with self._metadata(SAMPLES, name, self.samples) as dataset:
            blocks = [
                _texts(dataset, start, self.path, f"{SAMPLES}/{name}")[_within(samples, start)]
                for start in range(0, self.samples, BLOCK)
            ]
        return np.concatenate(blocks) if blocks else np.empty(0, object)

    def numbers(self, name: str) -> np.ndarray:
        """Read the numbers meta/samples/`name` as float64 (samples,)."""
        with self._metadata(SAMPLES, name, self.samples) as dataset:
            if dataset.dtype.kind not in "iuf":
                raise ConsilienceError(f"{self.path}: {SAMPLES}/{name} is {dataset.dtype}; expected numbers")
            return dataset[...].astype(np.float64)

    @contextmanager
    def _metadata(self, group: str, name: str, length: int) -> Iterator[h5py.Dataset]:
        with read_h5(self.path) as file, _told(self.path, f"{group}/{name}"):
            yield _dataset(file, self.path, group, (name,), length)


def inspect(path: str | Path) -> Archive:
    """Open `path`, find out which way round data/expression lies, and read the metadata of its rows.

    The axis of the samples is the one whose length is that of meta/samples/geo_accession; where both lengths are the
    same, it is the second, as ARCHS4 documents it. Raises ConsilienceError where the file is missing, not HDF5,
    truncated or not in the ARCHS4 schema.
    """
    path = Path(path)
    with read_h5(path) as file:
        with _told(path, DATASET):
            expression = file.get(DATASET)
            if not isinstance(expression, h5py.Dataset) or expression.ndim != 2:
                raise ConsilienceError(f"{path}: no matrix {DATASET}; it has {', '.join(_paths(file)) or 'nothing'}")
            if expression.dtype.kind not in "iuf":
                raise ConsilienceError(f"{path}: {DATASET} is {expression.dtype}; expected numbers")
        with _told(path, SAMPLES):
            samples = len(_dataset(file, path, SAMPLES, ("geo_accession",)))
        with _told(path, "meta/genes"):
            level, rows = _level(file, path)
        axis = _sample_axis(path, expression.shape, rows, samples, level)
        with _told(path, f"meta/{level}"):
            described, names = _rows(file, path, level, rows), tuple(sorted(file[f"meta/{level}"]))
        layout = Layout.of(path, expression, axis)
    return Archive(path, layout, level, rows == samples, described, names)


def _level(file: h5py.File, path: Path) -> tuple[str, int]:
    for level in LEVELS:
        if isinstance(file.get(f"meta/{level}"), h5py.Group):
            return level, len(_dataset(file, path, f"meta/{level}", ROW_FIELDS["symbol"]))
    raise ConsilienceError(
        f"{path}: neither a group meta/genes nor meta/transcripts; it has {', '.join(_paths(file)) or 'nothing'}"
    )


def _sample_axis(path: Path, shape: tuple[int, int], rows: int, samples: int, level: str) -> int:
    if shape == (rows, samples):
        return 1
    if shape == (samples, rows):
        return 0
    raise ConsilienceError(
        f"{path}: {DATASET} is {shape[0]} x {shape[1]}, but meta/{level} lists {rows} {level} "
        f"and {SAMPLES} {samples} samples"
    )


def _rows(file: h5py.File, path: Path, level: str, rows: int) -> dict[str, np.ndarray]:
    group = f"meta/{level}"
    columns = {"ensembl_gene": np.full(rows, "", dtype=object)}
    for name, aliases in ROW_FIELDS.items():
        if name != "symbol" and not any(alias in file[group] for alias in aliases):
            continue
        dataset = _dataset(file, path, group, aliases, rows)
        if name == "length":
            columns[name] = dataset[...].astype(np.float64)
        else:
            texts = [_texts(dataset, start, path, dataset.name[1:]) for start in range(0, rows, BLOCK)]
            columns[name] = np.array([text.strip() for block in texts for text in block], dtype=object)
    return columns


def _dataset(
    file: h5py.File, path: Path, group: str, names: tuple[str, ...], length: int | None = None
) -> h5py.Dataset:
    """Return the first of `names` in `group`, a vector of `length` entries."""
    parent = file.get(group)
    if not isinstance(parent, h5py.Group):
        raise ConsilienceError(f"{path}: no group {group}; it has {', '.join(_paths(file)) or 'nothing'}")
    for name in names:
        dataset = parent.get(name)
        if not isinstance(dataset, h5py.Dataset):
            continue
        if dataset.ndim != 1 or (length is not None and len(dataset) != length):
            expected = "a vector" if length is None else f"{length} entries, one a row or column of {DATASET}"
            raise ConsilienceError(f"{path}: {group}/{name} has shape {dataset.shape}; expected {expected}")
        return dataset
    raise ConsilienceError(
        f"{path}: no field {group}/{names[0]}; {group} has {', '.join(sorted(parent)) or 'no field'}"
        f"{nearest(names[0], parent)}"
    )


def _texts(dataset: h5py.Dataset, start: int, path: Path, name: str) -> np.ndarray:
    """Read a block of texts, of fixed or variable length."""
    if h5py.check_string_dtype(dataset.dtype) is None:
        raise ConsilienceError(f"{path}: {name} is {dataset.dtype}; expected text")
    try:
        return np.asarray(dataset.asstr("utf-8")[start : start + BLOCK], dtype=object)
    except UnicodeDecodeError as error:
        raise ConsilienceError(
            f"{path}: {name}, entries {start}..{start + BLOCK - 1}: {error.object!r:.80} is not UTF-8"
        ) from error


def _within(samples: np.ndarray | None, start: int) -> np.ndarray | slice:
    if samples is None:
        return slice(None)
    return samples[(samples >= start) & (samples < start + BLOCK)] - start


def _paths(file: h5py.File) -> list[str]:
    """Return what lies at the first two levels of a file, for messages."""
    groups = {name: file.get(name) for name in sorted(file)}
    return [
        f"{name}/{child}" if child else name
        for name, group in groups.items()
        for child in (sorted(group) if isinstance(group, h5py.Group) and len(group) else [""])
    ]


@contextmanager
def _told(path: Path, name: str) -> Iterator[None]:
    """Turn HDF5's own errors about damaged content into one line that names the file and the part."""
    try:
        yield
    except (OSError, RuntimeError, KeyError) as error:
        raise ConsilienceError(f"{path}: {name} cannot be read: damaged or truncated file ({error})") from error
