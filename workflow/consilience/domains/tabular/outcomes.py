"""Decides what the target is: a number, or classes and their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from consilience.domains.tabular.blocks import number_name, ordered
from consilience.errors import ConsilienceError, listed, nearest

# Whole numbers with at most so many distinct values are classes, where task is auto.
CODES = 10
# At the default shares of the split, the fewest rows that leave some two in every role.
FEWEST = 12
ROLES = 3
# A class of fewer rows is told of: at the default shares a test role has one or two of them.
FEW = 10
SHOWN = 8


@dataclass(frozen=True)
class Outcome:
    """The target of the rows that stay: float64 (rows,) in a regression, else indices (rows,) into `classes`.

    `reason` says what was taken, and why; `counts` how many rows every class has.
    """

    values: np.ndarray
    classes: list[str]
    reason: str
    counts: dict[str, int]

    @property
    def task(self) -> str:
        """The task, as the dataset names it."""
        return "classification" if self.classes else "regression"


def outcome(target: np.ndarray, name: str, path: Path, settings: dict[str, Any], lost: str = "") -> Outcome:
    """Decide on the target column `name`, float64 (rows,) or texts (rows,), as a study's settings say.

    `lost` says of how many rows these are, and where the others went. Raises ConsilienceError.
    """
    if len(target) < FEWEST:
        raise ConsilienceError(f"{path}: {len(target)} rows are left{lost}; expected at least {FEWEST}")
    reason = _reason(target, settings)
    if reason.startswith("classification"):
        return _classes(target, name, path, settings, reason)
    for key in ("classes", "positive"):
        if key in settings:
            raise ConsilienceError(
                f"{path}: {key}: column {name} is taken as a number ({reason}); expected task: classification beside it"
            )
    if np.ptp(target) == 0:
        raise ConsilienceError(
            f"{path}: column {name}: {target[0]:g} in all {len(target)} rows; expected one that varies"
        )
    return Outcome(target, [], reason, {})


def _reason(target: np.ndarray, settings: dict[str, Any]) -> str:
    """Return the task and why it is that."""
    if settings["task"] != "auto":
        return f"{settings['task']}, as the study says"
    if target.dtype == object:
        return "classification, for the target holds texts, categories or truth values"
    distinct = len(np.unique(target))
    if not (target == np.round(target)).all():
        return "regression, for the target holds numbers with a fraction"
    if distinct > CODES:
        return f"regression, for the target holds {distinct} distinct whole numbers, more than {CODES}"
    return (
        f"classification, for the target holds {distinct} distinct whole numbers, at most {CODES}; "
        "task: regression would take them as amounts"
    )


def _classes(target: np.ndarray, name: str, path: Path, settings: dict[str, Any], reason: str) -> Outcome:
    found, codes = np.unique(target.astype(str) if target.dtype == object else target, return_inverse=True)
    if target.dtype != object:
        fractions = found[found != np.round(found)]
        if len(fractions):
            raise ConsilienceError(
                f"{path}: column {name}: {fractions[0]:g} is no class; expected whole numbers or texts, the column "
                "under `categorical`, or task: regression"
            )
    names = [str(value) if target.dtype == object else number_name(value) for value in found]
    classes = _order(names, name, path, settings)
    counts = np.bincount(codes, minlength=len(names))
    rare = int(np.argmin(counts))
    if counts[rare] < ROLES:
        few = int((counts < ROLES).sum())
        raise ConsilienceError(
            f"{path}: column {name}: class {names[rare]!r} has {counts[rare]} rows, and {few} of {len(names)} classes "
            f"have fewer than {ROLES}; expected one for each role, or the classes that have enough under `classes`"
        )
    held = dict(zip(names, counts.tolist(), strict=True))
    held = {one: held[one] for one in classes}
    order = {one: place for place, one in enumerate(classes)}
    place = np.array([order[one] for one in names])
    shares = listed((f"{one} {count}" for one, count in held.items()), SHOWN)
    return Outcome(place[codes], classes, f"{reason}: {shares}{_direction(classes, settings)}", held)


def _direction(classes: Sequence[str], settings: dict[str, Any]) -> str:
    """Say which of two classes signs are towards, and what turns them."""
    if len(classes) != 2:
        return ""
    if "positive" in settings:
        return f"; signs are towards {classes[1]}, as positive says"
    chosen = "the second in classes" if "classes" in settings else "the second by size or alphabet"
    return f"; signs are towards {classes[1]}, {chosen}: positive: {classes[0]} turns them"


def _order(names: Sequence[str], name: str, path: Path, settings: dict[str, Any]) -> list[str]:
    """Return the classes as the study orders them; by size or alphabet where it does not."""
    classes = list(settings.get("classes", ordered(names)))
    if len(classes) < 2:
        raise ConsilienceError(
            f"{path}: column {name}: {listed(names, SHOWN)} in all rows; expected at least two classes"
        )
    positive = settings.get("positive")
    if positive is None:
        return classes
    if positive not in classes or len(classes) != 2:
        raise ConsilienceError(
            f"{path}: positive: {positive!r}; expected one of exactly two classes, and {name} has "
            f"{listed(classes, SHOWN)}{nearest(positive, classes)}"
        )
    return [*(one for one in classes if one != positive), positive]
