"""Makes the dataset of a tabular study from one table: a branch whose features are columns and levels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.dataset_writer import DatasetWriter, write_dataset
from consilience.domains.tabular.account import audit_of, tell_leaks
from consilience.domains.tabular.choice import Choice, choose, open_table
from consilience.domains.tabular.empty_columns import without_empty
from consilience.domains.tabular.features import BRANCH, Features, in_heights
from consilience.domains.tabular.leaks import Watch
from consilience.domains.tabular.outcomes import Outcome, outcome
from consilience.domains.tabular.survey import Survey, blocks_of, survey
from consilience.files import sha256

# Bytes of a block of rows; what a block becomes takes a few times as much.
MEMORY = 2**24
UNIT = "the columns' own units"


def prepare(raw: list[Path], settings: dict[str, Any], dataset: Path, seed: int, memory: int = MEMORY) -> pd.DataFrame:
    """Write `dataset` from the table raw[0] as the study's `settings` say, and return the audit.

    The table is read in blocks of about `memory` bytes: to see what its columns hold where its format does not tell, to
    choose rows and levels, and to write. Nothing here is random: `seed` is not used. Raises ConsilienceError.
    """
    del seed
    path = raw[0]
    dataset.parent.mkdir(parents=True, exist_ok=True)
    table = open_table(path, settings, dataset.parent)
    choice, empty = choose(table, settings), []
    if settings["missing"] == "drop":
        choice, empty = without_empty(choice, memory)
    found = survey(choice, settings, memory)
    decided = outcome(found.target, choice.target, path, settings, found.lost)
    features = Features.of(found)
    audit = audit_of(found, features, decided, empty)
    source = settings["source"].get("url", path.name)
    facts = {"unit": UNIT, "source": source, "source_sha256": sha256(path), "classes": decided.classes}
    with write_dataset(dataset, decided.task, choice.target, **facts) as writer:
        writer.features(features.frame())
        writer.samples(found.samples())
        writer.target(decided.values)
        watch = _write(writer, found, features, decided, memory)
        tell_leaks(watch, audit, choice)
    audit.step("dataset", f"written in {UNIT}", note=f"scaling: {_scaling(choice, settings)}")
    return audit.frame()


def _scaling(choice: Choice, settings: dict[str, Any]) -> str:
    if settings["scaling"] != "auto":
        return settings["scaling"]
    return "feature" if choice.table.matrix.issuperset([*choice.numbers, *choice.texts]) else "column"


def _write(writer: DatasetWriter, found: Survey, features: Features, decided: Outcome, memory: int) -> Watch:
    scaling, masked = _scaling(found.choice, found.settings), found.absent
    writer.branch(BRANCH, np.arange(len(features)), samples=found.kept, scaling=scaling, masked=masked)
    watch = Watch(features.columns, decided.values, len(decided.classes), features.levels)
    # Whole chunks of the dataset are compressed once; a part of one would be read, and compressed again.
    height = writer.file["inputs"][BRANCH].chunks[0]
    for values in in_heights(_values(found, features, memory), height):
        watch.add(values)
        writer.append(BRANCH, values, np.isnan(values) if masked else None)
    return watch


def _values(found: Survey, features: Features, memory: int) -> Iterator[np.ndarray]:
    for block in blocks_of(found.choice, memory):
        stays, _ = found.staying(block)
        yield features.values(block, stays)
