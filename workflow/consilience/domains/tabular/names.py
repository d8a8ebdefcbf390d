"""What the names of columns must be, whatever the format."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from consilience.errors import ConsilienceError

# Control characters, and what ends a line or a paragraph.
BREAKING = ("Cc", "Zl", "Zp")


def check_names(path: Path, names: Sequence[str], what: str = "column") -> None:
    """Refuse names that hold control characters, that repeat, or that only look different; raises ConsilienceError."""
    seen: dict[str, int] = {}
    for place, name in enumerate(names, 1):
        if any(unicodedata.category(character) in BREAKING for character in name):
            raise ConsilienceError(
                f"{path}: {what} {place}: the name {name!r} holds a line break or another control character; rename it"
            )
        first = seen.setdefault(unicodedata.normalize("NFC", name), place)
        if first != place:
            same = "repeats" if names[first - 1] == name else f"reads as {names[first - 1]!a} does ({name!a})"
            raise ConsilienceError(
                f"{path}: the {what} {name} {same} ({what}s {first} and {place}); expected every name once"
            )
