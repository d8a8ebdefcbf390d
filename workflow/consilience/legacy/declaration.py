"""A slice's legacy.yaml: every output of an earlier system, and what is ours in its place.

Paths hold placeholders. `{study}`, `{model}` (each that is explained), `{first}` (the first of the consensus),
`{method}` and `{primary}` (the method of the lists) are known; `words` of the file add others, and say how ours are
spelled there. All others, such as `{sample}`, are known only when the file is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any

from consilience.errors import ConsilienceError, nearest
from consilience.study_checks import completed, problems
from consilience.yaml_files import read_yaml

if TYPE_CHECKING:
    from consilience.configuration import Study

SCHEMA = Path(__file__).parents[1] / "schemas" / "legacy.schema.yaml"
COPY, COLUMNS = "copy", "columns"
FILE = "file"
SINGLE = ("study", "first", "primary")
KNOWN = (*SINGLE, "model", "method")


@dataclass(frozen=True)
class Facts:
    """What conversions know of a study: its name, its explained models, those that vote, its methods, some settings."""

    study: str
    models: Sequence[str]
    voters: Sequence[str]
    methods: Sequence[str]
    primary: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """One output of the earlier system; `ours` are paths below results/{study}/, none where there is no equivalent."""

    earlier: str
    form: str
    ours: tuple[str, ...]
    how: str | None
    within: str | None
    columns: Mapping[str, str]
    note: str


@dataclass(frozen=True)
class Variant:
    """An entry with its placeholders filled: the earlier path (late ones remain), our paths, and our words."""

    earlier: str
    ours: list[str]
    words: Mapping[str, str]


@dataclass(frozen=True)
class Declaration:
    """All outputs of one earlier system."""

    system: str
    about: str
    settings: Sequence[str]
    words: Mapping[str, Any]
    entries: list[Entry]

    @classmethod
    def of(cls, path: Path) -> Declaration:
        """Read a legacy.yaml; raises ConsilienceError with a line for every fault."""
        content, schema = read_yaml(path), read_yaml(SCHEMA)
        faults = problems(content, schema)
        if not faults:
            content = completed(content, schema)
            faults = [line for output in content["outputs"] for line in _faults(output, content["words"])]
        if faults:
            raise ConsilienceError("\n".join(f"{path}: {fault}" for fault in faults))
        entries = [_entry(output) for output in content["outputs"]]
        return cls(content["system"], content["about"], content["settings"], content["words"], entries)

    def facts(self, study: Study) -> Facts:
        """Return what conversions are to know of a study; refuses a setting that it has not."""
        absent = [key for key in self.settings if key not in study.settings]
        if absent:
            known = nearest(absent[0], study.settings)
            raise ConsilienceError(f"legacy.yaml: settings: {absent[0]!r} is no key of study {study.name}{known}")
        settings = {key: study.settings[key] for key in self.settings}
        return Facts(study.name, study.explained, study.voters, study.methods, study.primary, settings)

    def sources(self, facts: Facts) -> list[str]:
        """Return all of our paths that are read to write the earlier ones, each once, below results/{study}/."""
        found = (variant.ours for entry in self.entries if entry.how for variant in self.variants(entry, facts))
        return list(dict.fromkeys(path for paths in found for path in paths))

    def variants(self, entry: Entry, facts: Facts, spelled: Mapping[str, str] | None = None) -> Iterator[Variant]:
        """Yield an entry for every model, method and word that it stands for.

        `spelled` are the earlier names of our models where a function of the slice gives them.
        """
        known = self._known(facts, spelled or {})
        patterns = (entry.earlier, *entry.ours, entry.within or "")
        wanted = dict.fromkeys(name for pattern in patterns for name in placeholders(pattern))
        names = [name for name in wanted if name in known]
        for chosen in product(*(known[name] for name in names)):
            there = {name: one for name, (one, _) in zip(names, chosen, strict=True)}
            here = {name: other for name, (_, other) in zip(names, chosen, strict=True)}
            yield Variant(filled(entry.earlier, there), [filled(path, here) for path in entry.ours], here)

    def _known(self, facts: Facts, spelled: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
        """Return, by name in braces, what it stands for: pairs of the earlier spelling and ours."""
        models = {name: [(spelled.get(model, model), model) for model in models]
                  for name, models in (("model", facts.models), ("first", facts.voters[:1]))}  # fmt: skip
        lists = {"study": [facts.study], "method": facts.methods, "primary": [facts.primary]}
        known = models | {name: [(one, one) for one in values] for name, values in lists.items()}
        for name, pairs in self.words.items():
            if isinstance(pairs, Mapping):
                mine = facts.methods if name == "method" else pairs.values()
                known[name] = [(there, here) for there, here in pairs.items() if here in mine]
        return known

    def lacking(self, entry: Entry, facts: Facts) -> dict[str, str]:
        """Return by earlier path the method of ours that the study does not use."""
        methods = self.words.get("method", {}) if "method" in placeholders(entry.earlier) else {}
        return {
            filled(entry.earlier, {"method": there}): here
            for there, here in methods.items()
            if here not in facts.methods
        }

    def speller(self) -> str | None:
        """Return the name of the function that gives our models their earlier names, if there is one."""
        return self.words.get("model")


def our_files(path: Path, study: Study) -> list[str]:
    """Return the files of a study that are read to write the earlier ones, from results/ on."""
    declaration = Declaration.of(path)
    return [f"results/{study.name}/{file}" for file in declaration.sources(declaration.facts(study))]


def placeholders(pattern: str) -> list[str]:
    """Return the names in braces, in order."""
    return [name for _, name, _, _ in Formatter().parse(pattern) if name]


def filled(pattern: str, words: Mapping[str, str]) -> str:
    """Return a pattern with these words in place of their names; other names remain."""
    return pattern.format_map({name: words.get(name, f"{{{name}}}") for name in placeholders(pattern)})


def _entry(output: Mapping[str, Any]) -> Entry:
    ours = output["ours"]
    paths = () if ours is None else (ours,) if isinstance(ours, str) else tuple(ours)
    optional = {name: output.get(name) for name in ("how", "within")}
    note = " ".join(output["note"].split())
    return Entry(output["earlier"], output["form"], paths, **optional, columns=output.get("columns", {}), note=note)


def _faults(output: Mapping[str, Any], words: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the schema cannot see."""
    earlier, ours, how = output["earlier"], output["ours"], output.get("how")
    paths = [ours] if isinstance(ours, str) else ours or []
    if how and (not paths or output["form"] != FILE):
        yield f"{earlier}: how is {how}; only a file that has something of ours in its place is written"
    if (how == COLUMNS) != ("columns" in output):
        yield f"{earlier}: columns and `how: columns` belong together"
    if "within" in output and how != COPY:
        yield f"{earlier}: within belongs to `how: copy`"
    if how in (COPY, COLUMNS) and len(paths) > 1:
        yield f"{earlier}: how is {how}, of {len(paths)} paths; expected one"
    known = (*KNOWN, *words)
    named = [name for path in paths for name in placeholders(path)]
    yield from (f"{earlier}: ours: {{{name}}} is not one of {', '.join(known)}" for name in named if name not in known)
    for name in [*named, *placeholders(output.get("within", ""))]:
        if how and name in known and name not in (*SINGLE, *placeholders(earlier)):
            yield f"{earlier}: ours has {{{name}}} and the earlier path has not: one would overwrite the other"
    for path in (earlier, *paths) if output["form"] == FILE else paths:
        if path.startswith("/") or ".." in Path(path).parts:
            yield f"{earlier}: {path} is no path below a folder"
