"""Files that torch.save wrote elsewhere, read so that nothing in them is executed."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from consilience.errors import ConsilienceError

_CODES = re.compile(r"b1|[iu][1248]|f[248]|[SU]\d+")  # what NumPy calls its numbers and texts


class _Kind:
    """Stands for numpy.dtype where a scalar is rebuilt: numbers and texts alone.

    NumPy's own takes any state that a file gives it, sizes below 0 among them, and then reads what is not its memory.
    """

    def __init__(self, code: str, *_flags: bool) -> None:
        if not _CODES.fullmatch(code):
            raise ValueError(f"a scalar of type {code}")
        self.type = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take the order of the bytes, the only part of a state that the type's name does not tell."""
        self.type = self.type.newbyteorder(state[1])


def _scalar(kind: _Kind, content: bytes) -> float | int | bool | str | bytes:
    if len(content) != kind.type.itemsize:
        raise ValueError(f"{len(content)} bytes of type {kind.type}")
    if kind.type.kind == "U":  # NumPy does not look whether these are characters
        return content.decode({"<": "utf-32-le", ">": "utf-32-be"}[kind.type.str[0]]).rstrip("\0")
    return np.ndarray((), kind.type, content).item()


# The module of the function that NumPy rebuilds scalars by was renamed in NumPy 2; an empty text's bytes are `bytes()`.
_NUMPY_SCALARS = [
    (_Kind, "numpy.dtype"),
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
    bytes,
]


def load_without_code(path: Path, role: str, expected: str, mapped: bool = False) -> Any:
    """Read tensors, numbers, texts and their containers, on the CPU. Scalars of NumPy come as Python's.

    `role` (or nothing) is what messages call the file, `expected` what it should hold. With `mapped`, tensors are read
    from the file as they are used, where its format allows it: torch wrote others before 1.6. Raises ConsilienceError
    for a file that is not there, not whole, or holds anything that would run code.
    """
    named = f"{role} {path}".strip()
    if not path.is_file():
        raise ConsilienceError(f"{named}: no such file")
    try:
        with torch.serialization.safe_globals(_NUMPY_SCALARS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and zipfile.is_zipfile(path))
    except Exception as error:  # of any kind, by what the bytes happen to say
        raise ConsilienceError(
            f"{named}: not a whole file of weights alone ({type(error).__name__}); expected {expected} "
            "saved by torch.save, without code"
        ) from error
