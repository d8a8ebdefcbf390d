"""Reads IDX, the format of Fashion-MNIST: a magic number, the dimensions, then a byte a pixel or a label."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from consilience.errors import ConsilienceError

SIDE = 28
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip
PREFIXES = {"train": "train", "test": "t10k"}
MAGIC = {"images": 0x803, "labels": 0x801}
# The four files in the order in which they count as one source.
PARTS = tuple((role, content) for role in PREFIXES for content in MAGIC)
GZIP = b"\x1f\x8b"
LABELS_AT_ONCE = 2**20


def standard_names(role: str, content: str) -> list[str]:
    """Return the names a standard file may have: the official one first, then its spelling with a dot."""
    kind = f"idx{3 if content == 'images' else 1}-ubyte"
    return [f"{PREFIXES[role]}-{content}{mark}{kind}" for mark in "-."]


def pixel_names() -> np.ndarray:
    """Return the name of every pixel (28, 28), such as r05c12."""
    return np.asarray([[f"r{row:02d}c{column:02d}" for column in range(SIDE)] for row in range(SIDE)], dtype=object)


def find(raw: list[Path]) -> dict[tuple[str, str], Path]:
    """Return the four standard files by role and content, in the order of `PARTS`.

    `raw` is one folder, or the files in any order. Raises ConsilienceError where a file is absent or there are two.
    """
    if len(raw) == 1 and not raw[0].is_dir():
        raise ConsilienceError(f"{raw[0]}: not a folder; expected a folder with the four files of Fashion-MNIST")
    files = sorted(raw[0].iterdir()) if len(raw) == 1 else raw
    place = str(raw[0]) if len(raw) == 1 else ", ".join(path.name for path in raw)
    found = {}
    for role, content in PARTS:
        names = standard_names(role, content)
        own = [path for path in files if path.name.removesuffix(".gz") in names and path.is_file()]
        if not own:
            raise ConsilienceError(
                f"{place}: no file with the {role} {content}; expected {' or '.join(names)}, plain or gzipped (.gz)"
            )
        if len(own) > 1:
            several = " and ".join(path.name for path in own)
            raise ConsilienceError(f"{place}: {several} both hold the {role} {content}; expected one of them")
        found[role, content] = own[0]
    return found


class IdxReader:
    """An IDX file of images or labels, whose header is read and checked; see `open_idx`."""

    def __init__(self, path: Path, stream: IO[bytes], content: str) -> None:
        self.path = path
        self.stream = stream
        self.content = content
        self.count, *shape = self._dimensions()
        self.shape = tuple(shape)

    def blocks(self, rows: int, first: int | None = None) -> Iterator[np.ndarray]:
        """Yield uint8 (rows, 28, 28) images or (rows,) labels; the first block has `first` rows where it is given.

        Raises ConsilienceError where fewer or more bytes follow than the header announces.
        """
        done, size = 0, rows if first is None else first
        item = prod(self.shape)
        while done < self.count:
            wanted = min(size, self.count - done)
            block = self._read(wanted * item)
            if len(block) < wanted * item:
                raise ConsilienceError(
                    f"{self.path}: truncated; the header announces {self.count} {self.content} "
                    f"({self.count * item} bytes), but {done * item + len(block)} bytes follow"
                )
            yield np.frombuffer(block, np.uint8).reshape(wanted, *self.shape)
            done, size = done + wanted, rows
        if self._read(1):
            raise ConsilienceError(
                f"{self.path}: trailing bytes; expected the end of the file after the {self.count} {self.content} "
                "that its header announces"
            )

    def _dimensions(self) -> list[int]:
        """Read and check the header: the number of items, and for images the two sides."""
        expected, size = MAGIC[self.content], 16 if self.content == "images" else 8
        header = self._read(size)
        if not header:
            raise ConsilienceError(f"{self.path}: the file is empty; expected {self.content} in IDX")
        magic = int.from_bytes(header[:4], "big")
        if len(header) >= 4 and magic != expected:
            foreign = next((f", {name}" for name, number in MAGIC.items() if number == magic), "")
            raise ConsilienceError(
                f"{self.path}: magic number 0x{magic:08x} ({magic}{foreign}); "
                f"expected 0x{expected:08x} ({expected}, {self.content})"
            )
        if len(header) < size:
            raise ConsilienceError(
                f"{self.path}: truncated; the header of {self.content} has {len(header)} bytes, expected {size}"
            )
        count, *sides = np.frombuffer(header, ">u4")[1:].tolist()
        if sides not in ([], [SIDE, SIDE]):
            raise ConsilienceError(f"{self.path}: images of {sides[0]} x {sides[1]}; expected {SIDE} x {SIDE}")
        if count == 0:
            raise ConsilienceError(f"{self.path}: the header announces 0 {self.content}; expected one at least")
        return [count, *sides]

    def _read(self, size: int) -> bytes:
        try:
            return self.stream.read(size)
        except EOFError as error:
            raise ConsilienceError(
                f"{self.path}: truncated gzip; it ends before its end-of-stream marker, expected a whole file"
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            if self.stream.tell() and "Not a gzipped file" in str(error):
                raise ConsilienceError(f"{self.path}: trailing bytes after the gzip stream; expected none") from error
            raise ConsilienceError(f"{self.path}: not a readable gzip file ({error})") from error


@contextmanager
def open_idx(path: Path, content: str) -> Iterator[IdxReader]:
    """Open an IDX file of `images` or `labels`, gzipped or plain by its first bytes, and check its header.

    Raises ConsilienceError for a header that is not that of such a file.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise ConsilienceError(f"{path}: cannot be read ({error.strerror}); expected {content} in IDX") from error
    with file:
        packed = file.read(2) == GZIP
        file.seek(0)
        yield IdxReader(path, gzip.GzipFile(fileobj=file) if packed else file, content)


def read_labels(path: Path) -> np.ndarray:
    """Read all labels uint8 (samples,); raises ConsilienceError for one that is no class."""
    with open_idx(path, "labels") as reader:
        labels = np.concatenate(list(reader.blocks(LABELS_AT_ONCE)))
    foreign = np.flatnonzero(labels >= len(CLASSES))
    if len(foreign):
        raise ConsilienceError(
            f"{path}: row {foreign[0]} (counted from 0) is label {labels[foreign[0]]}; expected 0 to {len(CLASSES) - 1}"
        )
    return labels
