"""Where networks are trained and explained."""

from __future__ import annotations

import torch

from consilience.errors import ConsilienceError


def choose_device(device: str) -> torch.device:
    """Return the device named cpu, cuda or auto; refuses a cuda that is not there."""
    available = torch.cuda.is_available()
    if device not in ("cpu", "cuda", "auto"):
        raise ConsilienceError(f"device: {device!r} is not one of cpu, cuda, auto")
    if device == "cuda" and not available:
        raise ConsilienceError("device: cuda is asked for, but torch finds none on this machine; use cpu or auto")
    return torch.device("cuda" if device != "cpu" and available else "cpu")
