"""Looks for columns of numbers that name the rows: those that count them, and whole numbers that never repeat."""

from __future__ import annotations

import numpy as np

# Steps that differ by less than this share are one: what decimals leave of an even series.
EVEN = 1e-6
# Two rows have a single step, whatever they hold.
FEWEST_ROWS = 3
# So many rows are held, to see whether a number repeats.
MOST_ROWS = 100_000


class RowNames:
    """Takes in the numbers of all rows; `counting` and `distinct`, bool (columns,), say what was found."""

    def __init__(self, columns: int) -> None:
        self.rows = 0
        self.least, self.most = np.full(columns, np.inf), np.full(columns, -np.inf)
        self.last, self.last_place = np.empty((0, columns)), np.empty(0)
        # The columns of which no number has been a fraction, or repeated, and what they held.
        self.places, self.held = np.arange(columns), np.empty((0, columns))

    def add(self, values: np.ndarray, places: np.ndarray) -> None:
        """Take in the next rows, float64 (rows, columns) with NaN where absent; `places` (rows,) are their numbers."""
        if not len(values):
            return
        self._add_distinct(values)
        self.rows += len(values)
        followed = np.concatenate([self.last_place, places])
        steps = np.diff(np.concatenate([self.last, values]), axis=0) / np.diff(followed)[:, None]
        if len(steps):
            self.least, self.most = np.minimum(self.least, steps.min(axis=0)), np.maximum(self.most, steps.max(axis=0))
        self.last, self.last_place = values[-1:], places[-1:]

    def _add_distinct(self, values: np.ndarray) -> None:
        if self.rows >= MOST_ROWS:
            return
        own = values[:, self.places]
        whole = (own == np.round(own)).all(axis=0)
        held = np.concatenate([self.held[:, whole], own[:, whole]])
        new = (np.diff(np.sort(held, axis=0), axis=0) > 0).all(axis=0)
        self.places, self.held = self.places[whole][new], held[:, new]

    @property
    def counting(self) -> np.ndarray:
        """Which columns grow or fall by the same from row to row."""
        if self.rows < FEWEST_ROWS:
            return np.zeros(len(self.least), dtype=bool)
        return (self.most != 0) & (self.most - self.least <= EVEN * np.abs(self.most))

    @property
    def distinct(self) -> np.ndarray:
        """Which columns hold whole numbers, another one in every row (of the first `MOST_ROWS`)."""
        found = np.zeros(len(self.least), dtype=bool)
        found[self.places] = self.rows > 0
        return found
