"""Writes our results under the names of an earlier system, as a slice's legacy.yaml says, with an index of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pandas as pd

from consilience.errors import ConsilienceError, nearest
from consilience.files import read_table, write_table
from consilience.legacy.declaration import COLUMNS, COPY, FILE, Declaration, Entry, Facts, Variant, filled, placeholders

MADE, OURS, NONE = "made", "ours", "none"
ABSENT = "{} is no method of this study"
INDEX_COLUMNS = ["earlier", "ours", "state", "note", "output"]


@dataclass
class Output:
    """What a conversion is given: our paths, the words they stand for, the study, and where to write.

    `reason` tells why nothing was written, where a conversion says so.
    """

    earlier: str
    sources: list[Path]
    words: Mapping[str, str]
    facts: Facts
    spelled: Mapping[str, str]
    folder: Path
    made: list[str] = field(default_factory=list)

    def path(self, **late: str) -> Path:
        """Return where to write; `late` are the placeholders that are known only now.

        Raises ConsilienceError where the file is there already.
        """
        name = filled(self.earlier, late)
        path = self.folder / name
        ours = ", ".join(str(source) for source in self.sources)
        if placeholders(name):
            raise ConsilienceError(f"{name}: {ours} tells nothing of {{{placeholders(name)[0]}}}")
        if path.exists():
            raise ConsilienceError(
                f"{name}: {ours} would overwrite another of our results, whose name there is the same"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self.made.append(name)
        return path


def make(declaration: Declaration, facts: Facts, base: Path, folder: Path, module: ModuleType | None) -> pd.DataFrame:
    """Write every earlier file that has a conversion into `folder`, from results in `base`, and return the index.

    `module` is the slice's legacy.py. The index has a row a file, and a row for every output that is not written:
    earlier, ours, state (`made`, `ours`: stands under our name alone, `none`), note, and output, the declaration's
    pattern. Raises ConsilienceError for a
    conversion that the module lacks, before anything is written.
    """
    conversions = {place: _conversion(entry, module) for place, entry in enumerate(declaration.entries) if entry.how}
    spelled = _spelled(declaration, facts, module)
    rows: list[dict[str, str]] = []
    for place, entry in enumerate(declaration.entries):
        if place not in conversions:
            rows.append(_row(entry.earlier, entry))
            continue
        for variant in declaration.variants(entry, facts, spelled):
            paths = [base / path for path in variant.ours]
            output = Output(variant.earlier, paths, variant.words, facts, spelled, folder)
            reason = conversions[place](output)
            rows += [_row(name, entry, variant, MADE) for name in output.made]
            rows += [_row(variant.earlier, entry, variant, NONE, reason)] if reason else []
        absent = declaration.lacking(entry, facts)
        rows += [_row(name, entry, None, NONE, ABSENT.format(method)) for name, method in absent.items()]
    return pd.DataFrame(rows, columns=INDEX_COLUMNS)


def _spelled(declaration: Declaration, facts: Facts, module: ModuleType | None) -> dict[str, str]:
    """Return the earlier names of our models where the slice gives them."""
    name = declaration.speller()
    if name is None:
        return {}
    spell = _function(module, name, "words.model")
    return {model: spell(facts.settings["models"][model]) for model in facts.models}


def _row(
    earlier: str, entry: Entry, variant: Variant | None = None, state: str | None = None, reason: str = ""
) -> dict[str, str]:
    ours = variant.ours if variant else entry.ours
    name = earlier if entry.form == FILE else f"({entry.form}) {earlier}"
    note = f"not written: {reason}. {entry.note}" if reason else entry.note
    state = state or (OURS if ours else NONE)
    return {"earlier": name, "ours": ", ".join(ours), "state": state, "note": note, "output": entry.earlier}


def _conversion(entry: Entry, module: ModuleType | None) -> Callable[[Output], str | None]:
    """Return what writes the files of an entry; it returns a reason where it writes none."""
    if entry.how == COLUMNS:
        return lambda output: _columns(output, entry.columns)
    if entry.how == COPY:
        return lambda output: _within(output, entry.within) if entry.within else _copy(output)
    return _function(module, entry.how, entry.earlier)


def _function(module: ModuleType | None, name: str, where: str) -> Callable:
    known = [one for one in vars(module) if not one.startswith("_")] if module else []
    if name not in known:
        raise ConsilienceError(f"legacy.yaml: {where}: legacy.py has no function {name!r}{nearest(name, known)}")
    return getattr(module, name)


def _copy(output: Output) -> None:
    shutil.copyfile(output.sources[0], output.path())


def _columns(output: Output, columns: Mapping[str, str]) -> None:
    """Write the columns of ours under their earlier names, in the order given."""
    table = read_table(output.sources[0], tuple(columns.values()))
    write_table(output.path(), pd.DataFrame({there: table[here] for there, here in columns.items()}))


def _within(output: Output, pattern: str) -> str | None:
    """Copy what a folder of ours holds by a pattern; of what the earlier system had once, the first by name.

    Late placeholders stand for text without `_`, which parts the words of these names.
    """
    parts = re.split(r"\{(\w+)\}", filled(pattern, output.words))
    groups = (f"(?P<{part}>[^_]+)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
    shape = re.compile("".join(groups))
    late = placeholders(output.earlier)
    for file in sorted(output.sources[0].iterdir()):
        found = shape.fullmatch(file.name)
        if found and (late or not output.made):
            shutil.copyfile(file, output.path(**{name: found[name] for name in late}))
    return None if output.made else f"{output.sources[0]} holds no {pattern}"
