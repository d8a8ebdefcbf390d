"""Copies of a study's tables and facts for the report, so that its folder can be sent to somebody as it is."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd
from pyarrow.parquet import ParquetFile

from consilience.exhibits import OFFERED
from consilience.files import SEPARATORS, read_table

# Bytes from which on a table is compressed: browsers save .gz as it is, R and pandas read it as it is.
LARGE = 4_000
# Bytes of a copy, from which on the report names the result instead: a page with a few of these can still be mailed.
LARGEST = 2_000_000
PREVIEW_ROWS = 8
# Rows that are counted at a time.
CHUNK = 100_000


@dataclass(frozen=True)
class Download:
    """A file of the report: its name below files/{study}/, the path of the result it copies, and its size in bytes.

    What is not `copied` is too large, and has the size of the result itself.
    """

    name: str
    path: str
    size: int
    copied: bool = True


def copy_into(folder: Path, paths: Iterable[str]) -> list[Download]:
    """Copy what is offered of results/{study}/ into a folder, larger tables compressed; the same bytes always.

    Copies above `LARGEST` are not kept.
    """
    return [_copied(folder, path) for path in dict.fromkeys(paths) if path.endswith(OFFERED)]


def _copied(folder: Path, path: str) -> Download:
    inner = PurePosixPath(*PurePosixPath(path).parts[2:])
    large = Path(path).suffix in SEPARATORS and Path(path).stat().st_size > LARGE
    target = folder / (f"{inner}.gz" if large else inner)
    target.parent.mkdir(parents=True, exist_ok=True)
    if large:
        # Neither a name nor a time goes into the header.
        with (
            open(path, "rb") as source,
            open(target, "wb") as raw,
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        ):
            shutil.copyfileobj(source, packed)
    else:
        shutil.copyfile(path, target)
    name, size = target.relative_to(folder).as_posix(), target.stat().st_size
    if size > LARGEST:
        target.unlink()
        return Download(name, path, Path(path).stat().st_size, copied=False)
    return Download(name, path, size)


def preview(path: str) -> tuple[pd.DataFrame, int]:
    """Return the first rows of a table and how many it has, without holding all of it."""
    if path.endswith(".parquet"):
        file = ParquetFile(path)
        head = next(file.iter_batches(batch_size=PREVIEW_ROWS), None)
        return (read_table(path) if head is None else head.to_pandas()), file.metadata.num_rows
    options = {"sep": SEPARATORS[Path(path).suffix], "usecols": [0], "dtype": str, "chunksize": CHUNK}
    with pd.read_csv(path, **options) as chunks:
        return read_table(path, rows=PREVIEW_ROWS), sum(map(len, chunks))
