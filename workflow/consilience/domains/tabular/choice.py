"""Chooses the columns of a study: the target, the inputs, and what stands beside the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consilience.domains.tabular.annotated import AnnotatedTable
from consilience.domains.tabular.blocks import MIXED, NOTATION, NUMBER, TEXT, Table
from consilience.domains.tabular.parquet_tables import ParquetTable
from consilience.domains.tabular.text_tables import COMMA, POINT, TAB, TextTable
from consilience.errors import ConsilienceError, listed, nearest

SEPARATORS = {".csv": COMMA, ".tsv": TAB, ".tab": TAB}
# Columns of the samples that mean something to the chain.
RESERVED = ("id", "weight", "official_role", "trivial_")
SHOWN = 8
INPUT_REMEDY = "list the column under categorical or exclude"
TARGET_REMEDY = "list the column under categorical, or set task: classification"


@dataclass(frozen=True)
class Choice:
    """The columns of a study by what they are for.

    `numbers` and `texts` are the inputs of either kind, in the order of the table; `classes` says whether the target
    is read as text. `identity` names the rows ("" where their numbers do), `role` is a column or "", and `groups` are
    those the split may group by.
    """

    table: Table
    target: str
    classes: bool
    numbers: list[str]
    texts: list[str]
    identity: str
    role: str
    groups: list[str]

    @property
    def read_numbers(self) -> list[str]:
        """The columns to read as numbers: the inputs, and a target that is one at the end."""
        return self.numbers if self.classes else [*self.numbers, self.target]

    @property
    def read_texts(self) -> list[str]:
        """The columns to read as texts, each once."""
        others = [self.identity, self.role, *self.groups, *([self.target] if self.classes else [])]
        return list(dict.fromkeys([*self.texts, *filter(None, others)]))


def open_table(path: Path, settings: dict[str, Any], scratch: Path) -> Table:
    """Open a table as its suffix says; `scratch` is a folder for what does not fit into memory."""
    source = settings["source"]
    last = path.suffix.lower()
    suffix = Path(path.stem).suffix.lower() if last == ".gz" else last
    separator, layer = source.get("separator", SEPARATORS.get(suffix)), source.get("layer")
    if layer is not None and last != ".h5ad":
        raise ConsilienceError(f"{path}: source.layer: {layer!r}; expected an .h5ad file, which alone has layers")
    if last in (".h5ad", ".parquet"):
        _check_no_text(path, source)
    if last == ".h5ad":
        return AnnotatedTable(path, layer, scratch)
    if last == ".parquet":
        return ParquetTable(path)
    if (suffix in SEPARATORS or suffix == ".txt") and separator is not None:
        separator = TAB if separator == "tab" else separator
        return TextTable(path, separator, settings["missing_values"], source.get("decimal", POINT))
    hint = "; name what separates the fields of a .txt file by source.separator" if suffix == ".txt" else ""
    expected = ".csv, .tsv or .tab (or .gz of them), .parquet or .h5ad"
    raise ConsilienceError(f"{path}: {path.suffix or 'no suffix'} is no format of a table; expected {expected}{hint}")


def _check_no_text(path: Path, source: dict[str, Any]) -> None:
    """Refuse settings that only text files have."""
    for key, value in (("separator", source.get("separator")), ("decimal", source.get("decimal", POINT))):
        if value not in (None, POINT):
            raise ConsilienceError(f"{path}: source.{key}: {value!r}; expected a text file, which alone has one")


def choose(table: Table, settings: dict[str, Any]) -> Choice:
    """Choose the columns as a study's settings say; raises ConsilienceError for one that is absent or not usable."""
    groups = _groups(settings["split"])
    beside = {"id": settings["id"], "role": settings["role"]}
    _check_names(table, settings, groups, beside)
    taken = {settings["target"], *groups, *filter(None, beside.values()), *settings["exclude"]}
    names = settings.get("features", table.inputs)
    _check_features(table, settings, taken)
    inputs = [name for name in names if name not in taken]
    if not inputs:
        raise ConsilienceError(f"{table.path}: no column is left as an input; the table has {_shown(table.columns)}")
    coded = set(settings["categorical"])
    kinds = {name: TEXT if name in coded else _kind(table, name, INPUT_REMEDY) for name in inputs}
    numbers, texts = ([name for name in inputs if kinds[name] == kind] for kind in (NUMBER, TEXT))
    identity = settings["id"] or table.names
    classes = _is_text(table, settings, coded)
    return Choice(table, settings["target"], classes, numbers, texts, identity, settings["role"] or "", groups)


def _groups(split: dict[str, Any]) -> list[str]:
    """Return the columns that the split reads, but the identity of rows."""
    columns = [name for name in dict.fromkeys([split["group"], *split["apart"]]) if name != "id"]
    for name in columns:
        if name.startswith(RESERVED):
            raise ConsilienceError(f"split: the column {name!r} has a name with a meaning of its own; rename it")
    return columns


def _check_names(table: Table, settings: dict[str, Any], groups: Sequence[str], beside: dict[str, str | None]) -> None:
    """Refuse names that no column has, and a target that is something else too."""
    asked: dict[str, Iterable[str]] = {"target": [settings["target"]], "split": groups}
    asked |= {key: [name] for key, name in beside.items() if name}
    asked |= {key: settings.get(key, ()) for key in ("features", "exclude", "categorical")}
    for key, names in asked.items():
        for name in names:
            if name not in table.columns:
                have = _shown(table.columns)
                raise ConsilienceError(
                    f"{table.path}: {key}: no column {name!r}; it has {have}{nearest(name, table.columns)}"
                )
            if name in table.matrix and key not in ("target", "features", "exclude"):
                raise ConsilienceError(f"{table.path}: {key}: {name!r} is of the matrix; expected a column of obs")
    for key, name in [*beside.items(), *(("split", name) for name in groups)]:
        if name == settings["target"]:
            raise ConsilienceError(f"{table.path}: {key}: {name!r} is the target; expected another column")


def _check_features(table: Table, settings: dict[str, Any], taken: set[str]) -> None:
    for name in settings.get("features", ()):
        if name in taken:
            raise ConsilienceError(
                f"{table.path}: features: {name!r} is the target, names or groups the rows, or is excluded; "
                "expected other columns"
            )


def _kind(table: Table, name: str, remedy: str) -> str:
    """Return number or text; refuses what is neither, or both; `remedy` ends the message on such a column."""
    column = table.columns[name]
    if column.kind == NOTATION:
        raise ConsilienceError(
            f"{_first_text(table, name)} is a number in another notation, as {column.texts} of {column.values} values "
            "are; expected digits and a decimal point alone: write the numbers so, set source.decimal: ',' where the "
            f"comma is the decimal mark, or {remedy}"
        )
    if column.kind == MIXED:
        raise ConsilienceError(
            f"{_first_text(table, name)}; expected a number, as {column.values - column.texts} of {column.values} "
            f"values are; put texts that stand for no value under missing_values, or {remedy}"
        )
    if column.kind not in (NUMBER, TEXT):
        raise ConsilienceError(
            f"{table.path}: column {name} is of type {column.kind}; expected numbers, texts or truth values, or the "
            "column under `exclude`"
        )
    return column.kind


def _first_text(table: Table, name: str) -> str:
    """Say where the first text of a column stands; that looks into the file, and is for what is refused."""
    column = table.columns[name]
    return f"{table.path}: {table.row(column.row)}, column {name}: {column.value!r}"


def _is_text(table: Table, settings: dict[str, Any], coded: set[str]) -> bool:
    """Say whether the target is read as text."""
    name, task = settings["target"], settings["task"]
    if name in coded or (task == "classification" and table.columns[name].kind in (MIXED, NOTATION)):
        return True
    kind = _kind(table, name, TARGET_REMEDY)
    if kind == TEXT and task == "regression":
        raise ConsilienceError(f"{table.path}: column {name} holds texts; expected numbers, or task: classification")
    return kind == TEXT


def _shown(names: Iterable[str]) -> str:
    return listed((name for name in names if name.isprintable()), SHOWN)
