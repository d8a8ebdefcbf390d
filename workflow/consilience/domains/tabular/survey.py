"""Reads a table once, before anything is written: which rows stay, what inputs vary, the levels, the target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from consilience.domains.tabular.blocks import Block, number_name
from consilience.domains.tabular.choice import Choice
from consilience.domains.tabular.row_names import RowNames
from consilience.errors import ConsilienceError, listed, nearest
from consilience.progress import following

STEPS = ("missing target", "other classes", "missing values")
SHOWN = 5
# As many names are remembered, to offer the nearest.
MOST_OTHERS = 1000
LARGEST = float(np.finfo(np.float32).max)


@dataclass
class Survey:
    """What a first reading of all rows found.

    `dropped` counts rows by step; `low` and `high` float64 (numbers,) are the range of every input of numbers in the
    rows that stay, infinite where it has no value; `levels` the texts of the others; `others` names classes that were
    left out; `target`, `samples` (id, role and
    groups) have an entry for every row that stays; `absent` whether an input of such a row has no value.
    """

    choice: Choice
    settings: dict[str, Any]
    rows: int = 0
    kept: int = 0
    dropped: Counter = field(default_factory=Counter)
    missing: Counter = field(default_factory=Counter)
    first_missing: tuple[int, str] | None = None
    absent: bool = False
    others: set[str] = field(default_factory=set)
    levels: dict[str, dict[str, None]] = field(default_factory=dict)
    targets: list[np.ndarray] = field(default_factory=list)
    parts: list[pd.DataFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        width = len(self.choice.numbers)
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)
        self.names = RowNames(width)
        self.levels = {name: {} for name in self.choice.texts}

    def place(self, row: int, column: str) -> str:
        """Return where a value stands; `row` from 1."""
        return f"{self.choice.table.path}: {self.choice.table.row(row)}, column {column}"

    def add(self, block: Block) -> None:
        """Take in the next rows."""
        stays, reason = self.staying(block)
        self.rows += len(block)
        self.kept += int(stays.sum())
        self.dropped.update(reason[~stays].tolist())
        self._add_missing(block, reason)
        target = target_of(self.choice, block)
        if len(self.others) < MOST_OTHERS:
            self.others.update(_class_names(target[reason == STEPS[1]]).values())
        places = block.first + np.flatnonzero(stays) + 1
        self._add_numbers(block.numbers[stays], places)
        chosen = pa.array(stays)
        texts = {name: values.filter(chosen) for name, values in block.texts.items()}
        for name, levels in self.levels.items():
            if len(levels) <= self.settings["maximum_levels"]:
                levels.update(dict.fromkeys(texts[name].drop_null().unique().to_pylist()))
            self.absent |= texts[name].null_count > 0
        self.targets.append(target[stays])
        self.parts.append(self._samples(texts, places))

    def _add_numbers(self, numbers: np.ndarray, places: np.ndarray) -> None:
        self._check_finite(numbers, places)
        inputs = numbers[:, : len(self.choice.numbers)]
        if len(inputs):
            self.absent |= bool(np.isnan(inputs).any())
            self.low, self.high = np.fmin(self.low, _least(inputs)), np.fmax(self.high, -_least(-inputs))
            self.names.add(inputs, places)

    def staying(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Say which rows of a block stay, and why others do not (rows,): one of `STEPS`, "" for those that stay."""
        reason = np.full(len(block), "", dtype=object)
        if self.settings["missing"] == "drop":
            reason[self._missing_inputs(block).any(axis=1)] = STEPS[2]
        target = target_of(self.choice, block)
        classes = self.settings.get("classes")
        if classes is not None:
            known = _known(target, classes)
            reason[~known] = STEPS[1]
        if self.settings["missing"] == "drop":
            reason[pd.isna(target)] = STEPS[0]
        return reason == "", reason

    def _missing_inputs(self, block: Block) -> np.ndarray:
        """Say which inputs have no value, bool (rows, numbers and texts)."""
        numbers = np.isnan(block.numbers[:, : len(self.choice.numbers)])
        texts = [pc.is_null(block.texts[name]).to_numpy(zero_copy_only=False) for name in self.choice.texts]
        return np.column_stack([numbers, *texts]) if texts else numbers

    def _add_missing(self, block: Block, reason: np.ndarray) -> None:
        names = [*self.choice.numbers, *self.choice.texts, self.choice.target]
        missing = np.column_stack([self._missing_inputs(block), pd.isna(target_of(self.choice, block))])
        missing[(reason == STEPS[1]) & ~missing[:, -1]] = False
        if not missing.any():
            return
        counts = missing.sum(axis=0)
        self.missing.update({names[place]: int(counts[place]) for place in np.flatnonzero(counts)})
        refused = missing if self.settings["missing"] == "refuse" else missing[:, -1:]
        if self.settings["missing"] != "drop" and self.first_missing is None and refused.any():
            row, column = np.argwhere(refused)[0]
            self.first_missing = block.first + int(row) + 1, names[column - refused.shape[1]]

    def _check_finite(self, numbers: np.ndarray, places: np.ndarray) -> None:
        wrong = np.abs(numbers) > LARGEST
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            place = self.place(int(places[row]), self.choice.read_numbers[column])
            raise ConsilienceError(
                f"{place}: {numbers[row, column]:g}; expected a finite number of at most {LARGEST:.1e}"
            )

    def _samples(self, texts: dict[str, pa.StringArray], places: np.ndarray) -> pd.DataFrame:
        choice = self.choice
        numbered = [str(place) for place in places]
        columns = {"id": texts[choice.identity].to_pylist() if choice.identity else numbered}
        columns |= {"official_role": texts[choice.role].to_pylist()} if choice.role else {}
        columns |= {name: texts[name].to_pylist() for name in choice.groups}
        return pd.DataFrame(columns, dtype=object).assign(row=places)

    def check(self) -> None:
        """Refuse what the reading as a whole found: values that are missing, levels without end, a count of rows."""
        if self.first_missing is not None:
            raise ConsilienceError(f"{self.place(*self.first_missing)}: no value{self._remedy()}")
        self._check_classes()
        self._check_levels()
        self._check_counting()

    def _check_classes(self) -> None:
        present = _class_names(self.target).values() if "classes" in self.settings else ()
        for name in self.settings.get("classes", ()):
            if name not in present:
                near = nearest(name, sorted(self.others))
                raise ConsilienceError(
                    f"{self.choice.table.path}: classes: no row that stays has {self.choice.target} {name!r}{near}"
                )

    def _check_levels(self) -> None:
        for name, levels in self.levels.items():
            if len(levels) > self.settings["maximum_levels"]:
                raise ConsilienceError(
                    f"{self.choice.table.path}: column {name}: {len(levels)} levels or more ({listed(levels, SHOWN)}); "
                    f"expected at most {self.settings['maximum_levels']} (maximum_levels); if it names rows or groups, "
                    "it belongs under id, split.group or exclude"
                )

    def _check_counting(self) -> None:
        counting = self.names.counting
        if counting.any() and "features" not in self.settings:
            name = self.choice.numbers[int(np.argmax(counting))]
            raise ConsilienceError(
                f"{self.choice.table.path}: column {name} counts the rows, in even steps; expected what is known of "
                "each. Put it under id or exclude, or name all inputs under features"
            )

    def _remedy(self) -> str:
        total = sum(self.missing.values())
        remedy = "missing: drop or mask, or the column under exclude"
        if self.settings["missing"] == "mask":
            remedy = "missing: drop, for no target is masked"
        return f" ({total} in {len(self.missing)} columns: {self._missing_counts()}); expected one, or {remedy}"

    def _missing_counts(self) -> str:
        return listed((f"{name} {count}" for name, count in self.missing.most_common()), SHOWN)

    @property
    def lost(self) -> str:
        """How many rows there were and why not all stay, as ` of 30 (...)`; "" where all do."""
        if not self.dropped:
            return ""
        steps = listed((f"{step} {self.dropped[step]}" for step in STEPS if self.dropped[step]), len(STEPS))
        columns = f"; without a value: {self._missing_counts()}" if self.missing else ""
        return f" of {self.rows} ({steps}{columns})"

    def samples(self) -> pd.DataFrame:
        """Return the table of the rows that stay; refuses one without a name, and a name that repeats."""
        table = pd.concat(self.parts, ignore_index=True)
        key = "the index of obs" if self.choice.identity == self.choice.table.names else self.choice.identity
        absent = table["id"].isna()
        if absent.any():
            raise ConsilienceError(f"{self.place(int(table['row'][absent].iloc[0]), key)}: no value; expected a name")
        repeated = table["id"].duplicated(keep=False)
        if repeated.any():
            name = table["id"][repeated].iloc[0]
            places = table["row"][table["id"] == name].astype(str)
            raise ConsilienceError(
                f"{self.choice.table.path}: column {key}: {name!r} repeats (rows {listed(places, SHOWN)}); "
                "expected another name for every row"
            )
        filled = table.drop(columns="row")
        return filled.fillna(dict.fromkeys(filled, ""))

    @property
    def target(self) -> np.ndarray:
        """The target of the rows that stay: float64, or texts."""
        return np.concatenate(self.targets) if self.targets else np.empty(0)


def _least(values: np.ndarray) -> np.ndarray:
    """Return the least of every column (columns,), +inf where there is none."""
    return np.where(np.isnan(values), np.inf, values).min(axis=0)


def target_of(choice: Choice, block: Block) -> np.ndarray:
    """Return the target of a block: float64 (rows,) with NaN, or texts with None."""
    if choice.classes:
        return np.asarray(block.texts[choice.target].to_pylist(), dtype=object)
    return block.numbers[:, -1]


def _known(target: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Say which rows have one of the classes, bool (rows,)."""
    wanted = [value for value, name in _class_names(target).items() if name in classes]
    return pd.Series(target).isin(wanted).to_numpy()


def _class_names(target: np.ndarray) -> dict[Any, str]:
    """Return the names of the values that a target has."""
    values = pd.unique(pd.Series(target).dropna()).tolist()
    return {value: value if target.dtype == object else number_name(value) for value in values}


def survey(choice: Choice, settings: dict[str, Any], memory: int) -> Survey:
    """Read all rows once; raises ConsilienceError for what cannot be."""
    found = Survey(choice, settings)
    for block in blocks_of(choice, memory):
        found.add(block)
    found.check()
    return found


def blocks_of(choice: Choice, memory: int) -> Iterator[Block]:
    """Yield the columns of a study block by block."""
    blocks = choice.table.blocks(choice.read_numbers, choice.read_texts, memory)
    return following(blocks, f"reading {choice.table.path.name}", "block")
