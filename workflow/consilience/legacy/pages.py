"""The tables that people read: of README.md, from a declaration, and of the folder that was written, from its index."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from consilience.legacy.declaration import FILE, Declaration, Entry
from consilience.legacy.make import MADE, NONE, OURS

HEAD = ["| earlier | ours | what differs |", "|---|---|---|"]
HEADINGS = {
    MADE: "Written here, from our results",
    OURS: "Not written: ours has another form",
    NONE: "Without an equivalent",
}


def markdown(declaration: Declaration) -> str:
    """Return a collapsed table of all outputs of an earlier system; ✓ marks what is written under its old name."""
    lines = ["<details>", f"<summary>{declaration.system}: {len(declaration.entries)} outputs</summary>", ""]
    lines += [declaration.about.strip(), "", *HEAD]
    lines += [_line(entry, " ✓" * bool(entry.how), entry.note) for entry in declaration.entries]
    return "\n".join([*lines, "", "</details>", ""])


def readme(declaration: Declaration, index: pd.DataFrame, study: str) -> str:
    """Return the README of the folder: what was written, what has another form, what there is none of."""
    lines = [f"# {study} under the names of {declaration.system}", "", declaration.about.strip(), ""]
    lines += [f"Made from results/{study}/. index.tsv holds every file by itself.", ""]
    for state, heading in HEADINGS.items():
        rows = index[index["state"] == state]
        table = [line for entry in declaration.entries for line in _lines(entry, rows)]
        lines += [f"## {heading}", "", *HEAD, *table, ""] if table else []
    return "\n".join(lines)


def _lines(entry: Entry, rows: pd.DataFrame) -> Iterator[str]:
    """Yield a line for every note that the rows of an entry have, with their number."""
    own = rows[rows["output"] == entry.earlier]
    for note, part in own.groupby("note", sort=False):
        yield _line(entry, f" ({len(part)} files)" if len(part) > 1 else "", str(note))


def _line(entry: Entry, mark: str, note: str) -> str:
    earlier = f"`{entry.earlier}`" if entry.form == FILE else f"{entry.form}: {entry.earlier}"
    ours = ", ".join(f"`{path}`" for path in entry.ours) or "–"
    return f"| {earlier}{mark} | {ours} | {note} |"
