"""The one kind of error that is meant for a person."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConsilienceError(Exception):
    """Bad input or configuration, told in one line: file, row or key, the value, what was expected."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Return `; nearest: a, b` for the known names closest to `name`, or an empty string where none is close."""
    choices = {str(choice).lower(): str(choice) for choice in known}
    close = difflib.get_close_matches(str(name).lower(), choices, n=count, cutoff=0.6)
    return f"; nearest: {', '.join(choices[match] for match in close)}" if close else ""


def listed(names: Iterable[str], most: int) -> str:
    """Return at most so many names, and how many more there are."""
    held = list(names)
    more = f" and {len(held) - most} more" if len(held) > most else ""
    return f"{', '.join(held[:most])}{more}"
