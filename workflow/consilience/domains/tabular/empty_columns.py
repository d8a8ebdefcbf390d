"""Finds the columns without any value, which would take all rows with them where rows without a value are dropped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from consilience.domains.tabular.choice import Choice
from consilience.domains.tabular.survey import blocks_of
from consilience.errors import ConsilienceError


def without_empty(choice: Choice, memory: int) -> tuple[Choice, list[str]]:
    """Return the choice without inputs that have no value in any row, and their names.

    Reads until every input has shown a value, which is the first block as a rule. Raises ConsilienceError where no
    input has one.
    """
    width, rows = len(choice.numbers), 0
    there, pending = np.zeros(width, dtype=bool), set(choice.texts)
    for block in blocks_of(choice, memory):
        rows += len(block)
        there |= ~np.isnan(block.numbers[:, :width]).all(axis=0)
        pending = {name for name in pending if block.texts[name].null_count == len(block)}
        if there.all() and not pending:
            break
    if not rows:
        return choice, []
    pending.update(name for name, one in zip(choice.numbers, there, strict=True) if not one)
    numbers, texts = ([name for name in own if name not in pending] for own in (choice.numbers, choice.texts))
    if not numbers and not texts:
        raise ConsilienceError(f"{choice.table.path}: no input has a value in any of {rows} rows; expected some")
    empty = [name for name in [*choice.numbers, *choice.texts] if name in pending]
    return replace(choice, numbers=numbers, texts=texts), empty
