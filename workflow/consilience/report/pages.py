"""Writes the pages: templates filled with what the other modules of this room say."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from consilience.configuration import NOT_STUDIES
from consilience.evaluation import number
from consilience.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
KILO = 1000
LONGEST = 80  # characters of a cell of a preview
SMALL = 0.0001  # a share below is told as no more than this


def write_page(path: str | Path, template: str, **content: Any) -> None:
    """Fill a template with `content` and write the page."""
    write_text(path, _environment().get_template(template).render(**content))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "bytes": _bytes,
        "words": _words,
        "number": _short,
        "metric": _metric,
        "minus": _minus,
        "percent": _percent,
        "amount": _amount,
        "count": _count,
        "cell": _cell,
        "json": _json,
    }
    return environment


def _bytes(size: int) -> str:
    return f"{size} B" if size < KILO else f"{size / KILO:.0f} kB" if size < KILO**2 else f"{size / KILO**2:.1f} MB"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _short(value: float | None, form: str = ".3g") -> str:
    return "undefined" if value is None or math.isnan(value) else _minus(format(value, form))


def _minus(text: str) -> str:
    """Write the minus of numbers as one."""
    return text.replace("-", "−")


def _metric(value: float | None) -> str:
    return _minus(number(value))


def _percent(share: float | None) -> str:
    """Write a share that is not negative in percent: two decimals below 1 %, otherwise one."""
    if share is None:
        return "–"
    if share < SMALL:
        return f"< {100 * SMALL:.2f} %"
    return f"{100 * share:.{1 if share >= 0.01 else 2}f} %"


def _amount(value: float) -> str:
    """Write an expected count: a decimal, or two digits where it is below 1."""
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _count(value: int) -> str:
    return f"{value:,}"


def _cell(value: Any) -> str:
    """Write a value of a table: four digits of a fraction, nothing for what is missing, long texts cut."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}".replace("-", "−")
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _json(value: Any) -> Markup:
    """Return JSON that may stand in a page: no text in it can end the element that holds it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def write_run(path: str | Path, facts: Mapping[str, Any]) -> None:
    """Write what differs from run to run, for all pages: a script, since pages on a disk may read no other file."""
    write_text(path, f"window.RUN = {_json(facts)};\n")


def other_pages(folder: Path, studies: Iterable[str]) -> list[str]:
    """Return the studies that have a page in a folder and are none of these: removed ones, or those of other runs."""
    return sorted({path.stem for path in folder.glob("*.html")} - {*studies, *NOT_STUDIES})
