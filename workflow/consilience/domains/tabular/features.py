"""Turns columns into features: a number is one, and so is every level of a text (of two levels, the second)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from consilience.domains.tabular.blocks import Block, ordered
from consilience.domains.tabular.survey import LARGEST, Survey
from consilience.moments import ROUNDING

BRANCH = "columns"
# The range of a column in fewer steps of float32 loses what people tell apart.
FEWEST_STEPS = 2**12


@dataclass(frozen=True)
class Features:
    """The features of a study, those of numbers first.

    `places` are the columns of numbers that vary, and `offsets` float64 what is subtracted from each, mostly 0;
    `levels` the levels that have a feature, by column of texts; `constant` the columns that do not vary.
    """

    numbers: list[str]
    places: np.ndarray
    offsets: np.ndarray
    levels: dict[str, list[str]]
    constant: list[str]

    @classmethod
    def of(cls, survey: Survey) -> Features:
        """Take what varies among the rows that stay."""
        choice, low, high = survey.choice, survey.low, survey.high
        largest, span = np.maximum(np.abs(low), np.abs(high)), high - low
        varies = (span > ROUNDING * largest) & (np.minimum(span, LARGEST).astype(np.float32) > 0)
        # An hour in seconds since 1970 would be 28 values of float32; in seconds since its start it is 3,600.
        coarse = span[varies] < FEWEST_STEPS * np.spacing(largest[varies].astype(np.float32))
        offsets = np.where(coarse, low[varies], 0)
        levels = {name: ordered(list(found)) for name, found in survey.levels.items()}
        kept = {name: own[1:] if len(own) == 2 else own for name, own in levels.items() if len(own) > 1}
        constant = [name for name, one in zip(choice.numbers, varies, strict=True) if not one]
        constant += [name for name in levels if name not in kept]
        numbers = [name for name, one in zip(choice.numbers, varies, strict=True) if one]
        return cls(numbers, np.flatnonzero(varies), offsets, kept, constant)

    @property
    def columns(self) -> list[str]:
        """The column of every feature (features,)."""
        return [*self.numbers, *(name for name, own in self.levels.items() for _ in own)]

    def __len__(self) -> int:
        return len(self.columns)

    def frame(self) -> pd.DataFrame:
        """Return a row a feature: name, branch, column and level ("" of a number)."""
        levels = [*("" for _ in self.numbers), *(level for own in self.levels.values() for level in own)]
        names = [f"{column} = {level}" for column, own in self.levels.items() for level in own]
        return pd.DataFrame(
            {"name": [*self.numbers, *names], "branch": BRANCH, "column": self.columns, "level": levels}, dtype=object
        )

    def values(self, block: Block, stays: np.ndarray) -> np.ndarray:
        """Return float64 (rows that stay, features), NaN where a column has no value."""
        parts = [block.numbers[stays][:, self.places] - self.offsets]
        chosen = pa.array(stays)
        for name, levels in self.levels.items():
            codes = pc.index_in(block.texts[name].filter(chosen), pa.array(levels, pa.string()))
            found = pc.fill_null(codes, -1).to_numpy(zero_copy_only=False)
            own = (found[:, None] == np.arange(len(levels))).astype(np.float64)
            own[pc.is_null(block.texts[name].filter(chosen)).to_numpy(zero_copy_only=False)] = np.nan
            parts.append(own)
        return np.concatenate(parts, axis=1)


def in_heights(blocks: Iterable[np.ndarray], height: int) -> Iterator[np.ndarray]:
    """Yield the same rows in blocks of a multiple of `height`, the last as it comes."""
    left: list[np.ndarray] = []
    for block in blocks:
        left.append(block)
        count = sum(map(len, left))
        if count >= height:
            together = np.concatenate(left)
            whole = count // height * height
            yield together[:whole]
            left = [together[whole:]]
    rest = np.concatenate(left) if left else np.empty((0, 0))
    if len(rest):
        yield rest
