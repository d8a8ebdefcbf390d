"""One bar for whatever takes long: where a terminal is, and one at a time.

Jobs side by side share the terminal, and nobody could read what they draw at once: the first to come draws, also where
one bar is within another. Files, pipes and clusters get no bar; a job's log tells every few minutes how far it is.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TextIO, TypeVar

from tqdm import tqdm

import consilience

# What is done sooner needs no bar.
PATIENCE_SECONDS = 1.0
LOG_SECONDS = 180.0
USUAL_SIZE = {"ncols": 80, "nrows": 24}
Item = TypeVar("Item")


@contextmanager
def progress(description: str, unit: str, total: int | None = None, scaled: bool = False) -> Iterator[Callable]:
    """Yield what is called with the number of units that are done (1 where it is not given).

    `total` is None where it is not known; `scaled` writes large numbers as 12.3M. The bar is wiped away at the end.
    """
    with (
        _terminal() as ours,
        tqdm(
            total=total, desc=description, unit=unit, unit_scale=scaled, leave=False, delay=PATIENCE_SECONDS,
            disable=not ours, **(_size() if ours else {}),
        ) as bar,
    ):  # fmt: skip
        log = _Log(description, unit, total)

        def advance(count: int = 1) -> None:
            bar.update(count)
            log.advance(count)

        yield advance


class _Log:
    """Tells a job's log how far a loop is, every few minutes."""

    def __init__(self, description: str, unit: str, total: int | None) -> None:
        self._words, self._total = (description, unit), total
        self._done, self._next = 0, time.monotonic() + LOG_SECONDS

    def advance(self, count: int) -> None:
        self._done += count
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LOG_SECONDS
            of, (description, unit) = "" if self._total is None else f" of {self._total:,}", self._words
            logging.getLogger(consilience.__name__).info("%s: %s %s%s", description, unit, f"{self._done:,}", of)


def _size() -> dict[str, int | bool]:
    """Return how large tqdm takes the terminal to be: as it is, and as usual ones are where it tells no size."""
    try:
        told = os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        told = 0
    return {"dynamic_ncols": True} if told else dict(USUAL_SIZE)


def following(items: Iterable[Item], description: str, unit: str) -> Iterator[Item]:
    """Yield the items, with a bar that counts those that are done."""
    with progress(description, unit, len(items) if isinstance(items, Sized) else None) as advance:
        for item in items:
            yield item
            advance()


def wipe(stream: TextIO) -> None:
    """Wipe the line of a terminal that another job's bar may be on, before something else is written there."""
    if stream.isatty():
        stream.write("\r\x1b[K")


@contextmanager
def _terminal() -> Iterator[bool]:
    """Hold the terminal of the error stream; yields False where there is none, or a bar is on it already."""
    try:
        terminal = os.open(os.ttyname(sys.stderr.fileno()), os.O_RDONLY | os.O_NOCTTY)
    # No terminal, none of this container, a stream without a file, as in notebooks, or a system that names none.
    except (OSError, ValueError, AttributeError):
        yield False
        return
    try:
        yield _locked(terminal)
    finally:
        os.close(terminal)


def _locked(terminal: int) -> bool:
    import fcntl  # not everywhere, but wherever terminals have names

    try:
        fcntl.flock(terminal, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
