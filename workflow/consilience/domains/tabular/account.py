"""Tells in the audit what a table holds, what was left out, and what a person should look at."""

from __future__ import annotations

from collections.abc import Sequence

from consilience.audit import Audit
from consilience.domains.tabular.blocks import number_name
from consilience.domains.tabular.choice import Choice
from consilience.domains.tabular.features import Features
from consilience.domains.tabular.leaks import Watch
from consilience.domains.tabular.outcomes import FEW, Outcome
from consilience.domains.tabular.survey import STEPS, Survey
from consilience.errors import ConsilienceError, listed

SHOWN = 5


def audit_of(found: Survey, features: Features, decided: Outcome, empty: Sequence[str]) -> Audit:
    """Tell what the table holds and what was left out; raises ConsilienceError where nothing varies.

    `empty` are the columns without any value that were left out beforehand.
    """
    choice = found.choice
    columns = len(choice.numbers) + len(choice.texts)
    audit = Audit(found.rows, columns + len(empty), choice.table.path.name, choice.table.note)
    if empty:
        audit.step("empty", "columns without any value left out", features=columns, note=listed(empty, SHOWN))
    _tell_rows(audit, found)
    if not len(features):
        raise ConsilienceError(
            f"{choice.table.path}: none of {columns} columns varies among {found.kept} rows; expected inputs that do"
        )
    if features.constant:
        left = columns - len(features.constant)
        rule = "columns with a single value, apart from rounding, left out"
        audit.step("constant", rule, features=left, note=listed(features.constant, SHOWN))
    if features.levels:
        note = listed((f"{name} {len(own)}" for name, own in features.levels.items()), SHOWN)
        audit.step("levels", "a feature for every level, of two for the second", features=len(features), note=note)
    _tell_columns(audit, found, features)
    _tell_target(audit, found, decided)
    return audit


def tell_leaks(watch: Watch, audit: Audit, choice: Choice) -> None:
    """Tell of inputs that say nearly all, and of rows that come again; raises ConsilienceError for a copy."""
    strong = watch.check(str(choice.table.path), choice.target)
    if strong:
        rule = "columns that say nearly all about the target; are they known without it?"
        audit.detail("leaks", rule, watch.rows, watch.rows, strong)
    if watch.repeated:
        rule = "rows whose inputs are those of an earlier row; they may fall into other roles"
        audit.detail(
            "repeated", rule, watch.repeated, watch.rows, "split.group keeps rows together that belong together"
        )


def _tell_rows(audit: Audit, found: Survey) -> None:
    missing = listed((f"{name} {count}" for name, count in found.missing.most_common()), SHOWN)
    for step in STEPS:
        if found.dropped[step]:
            note = "" if step == STEPS[1] else missing
            audit.step(step, "rows left out", samples=audit.samples - found.dropped[step], note=note)
    if found.settings["missing"] == "mask" and missing:
        audit.detail("missing values", "absent values are masked", found.kept, found.kept, missing)


def _tell_columns(audit: Audit, found: Survey, features: Features) -> None:
    choice = found.choice
    offsets = [
        f"{name} less {number_name(offset)}"
        for name, offset in zip(features.numbers, features.offsets.tolist(), strict=True)
        if offset
    ]
    distinct = [name for name, one in zip(choice.numbers, found.names.distinct, strict=True) if one]
    zeros = {name: choice.table.columns[name].zero for name in features.numbers}
    notes = {
        "offsets": ("float32 would round these away: their least value is subtracted first", offsets),
        "row names": ("whole numbers, another in every row; names of rows belong under id or exclude", distinct),
        "leading zeros": (
            "numbers with leading zeros; codes belong under categorical",
            [f"{name} ({zero})" for name, zero in zeros.items() if zero],
        ),
        "alike": (
            "levels that differ in case, or in how a number is written; expected one writing",
            [f"{name}: {pair}" for name, levels in found.levels.items() for pair in alike(list(levels))],
        ),
    }
    for step, (rule, told) in notes.items():
        if told:
            audit.detail(step, rule, found.kept, found.kept, listed(told, SHOWN))


def _tell_target(audit: Audit, found: Survey, decided: Outcome) -> None:
    audit.detail("target", found.choice.target, found.kept, found.kept, decided.reason)
    few = [f"{name} {count}" for name, count in decided.counts.items() if count < FEW]
    if few:
        rule = f"classes of fewer than {FEW} rows; a role may hold one or two of them"
        audit.detail("rare classes", rule, found.kept, found.kept, listed(few, SHOWN))
    if found.choice.classes:
        same = alike(decided.classes)
        rule = "classes that differ in case, or in how a number is written; expected one writing"
        if same:
            audit.detail("alike classes", rule, found.kept, found.kept, listed(same, SHOWN))


def alike(levels: Sequence[str]) -> list[str]:
    """Return levels that are the same but for case, or as numbers, each as `a = b`."""
    first: dict[str | float, str] = {}
    pairs = []
    for level in levels:
        try:
            key: str | float = float(level)
        except ValueError:
            key = level.casefold()
        other = first.setdefault(key, level)
        if other != level:
            pairs.append(f"{other} = {level}")
    return pairs
