"""Gathers what the page of one study shows, and puts its pictures and tables beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from consilience.report.captions import caption_html, first_sentence
from consilience.report.downloads import Download, copy_into, preview
from consilience.report.pictures import web_picture

PICTURES = ".png"
# The order of a page: what was found, how far to trust it, how it came about. A slice's own sections stand in between.
FIRST = ("drivers", "overlap", "recovery")
LAST = ("faithfulness", "training", "linear", "data")


def sections_of(exhibits: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the sections of the exhibits in the order of a page."""
    found = dict.fromkeys(exhibit["section"] for exhibit in exhibits)
    own = [name for name in found if name not in (*FIRST, *LAST)]
    return [name for name in (*FIRST, *own, *LAST) if name in found]


def show(exhibits: Sequence[Mapping[str, str]], paths: Iterable[str], folder: Path) -> dict[str, Any]:
    """Write a study's pictures and the copies of its tables into `folder`; return what the page needs of them.

    `sections` maps each to its exhibits, figures before tables, each with title, caption (HTML) and picture or table;
    neighbors with one caption share it. `downloads` are all copies.
    """
    downloads = {one.path: one for one in copy_into(folder, paths)}
    sections: dict[str, list[dict[str, Any]]] = {name: [] for name in sections_of(exhibits)}
    for exhibit in sorted(exhibits, key=lambda one: not one["path"].endswith(PICTURES)):
        sections[exhibit["section"]].append(_shown(exhibit, downloads, folder))
    return {
        "sections": {name: _captioned(shown) for name, shown in sections.items()},
        "downloads": list(downloads.values()),
    }


def _shown(exhibit: Mapping[str, str], downloads: Mapping[str, Download], folder: Path) -> dict[str, Any]:
    path = exhibit["path"]
    inner = PurePosixPath(*PurePosixPath(path).parts[2:])
    shown: dict[str, Any] = {"path": path, "title": inner.stem.replace("_", " "), "caption": exhibit["caption"]}
    if path.endswith(PICTURES):
        return shown | {"picture": web_picture(path, folder, f"{inner.with_suffix('')}.webp")}
    shown["download"] = downloads[path]
    if path.endswith((".tsv", ".csv", ".parquet")):
        rows, count = preview(path)
        shown |= {"rows": rows, "count": count}
    return shown


def _captioned(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Group neighbors that have the same caption, which then stands once; captions as HTML."""
    groups: list[dict[str, Any]] = []
    for one in shown:
        if not groups or groups[-1]["path"] != one["caption"]:
            groups.append({"path": one["caption"], "caption": caption_html(one["caption"]), "shown": []})
        groups[-1]["shown"].append(one | {"alt": f"{one['title']}: {first_sentence(groups[-1]['caption'])}"})
    return groups
