"""Files that torch.save wrote elsewhere, read so that nothing in them is executed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from consilience.errors import ConsilienceError


def load_without_code(path: Path, role: str, expected: str, mapped: bool = False) -> Any:
    """Read tensors, numbers, texts and their containers, on the CPU.

    `role` (or nothing) is what messages call the file, `expected` what it should hold. With `mapped`, tensors are read
    from the file as they are used, where its format allows it: torch wrote others before 1.6. Raises ConsilienceError
    for a file that is not there, not whole, or holds anything that would run code.
    """
    named = f"{role} {path}".strip()
    if not path.is_file():
        raise ConsilienceError(f"{named}: no such file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and zipfile.is_zipfile(path))
    except Exception as error:  # of any kind, by what the bytes happen to say
        raise ConsilienceError(
            f"{named}: not a whole file of weights alone ({type(error).__name__}); expected {expected} "
            "saved by torch.save, without code"
        ) from error
