"""Files that torch.save wrote elsewhere, read so that nothing in them is executed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from consilience.errors import ConsilienceError


def load_without_code(path: Path, role: str, expected: str) -> Any:
    """Read tensors, numbers, texts and their containers, on the CPU.

    `role` is what messages call the file, `expected` what it should hold. Raises ConsilienceError for a file that is
    not there, not whole, or holds anything that would run code.
    """
    if not path.is_file():
        raise ConsilienceError(f"{role} {path}: no such file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise ConsilienceError(
            f"{role} {path}: not a whole file of weights alone ({type(error).__name__}); expected {expected} "
            "saved by torch.save, without code"
        ) from error
