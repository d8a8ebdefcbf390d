"""Captions, which are written once for both reports, as HTML."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from docutils.core import publish_parts

# A caption comes with the workflow or a slice; raw HTML and other files have no place in it.
SETTINGS = {"raw_enabled": False, "file_insertion_enabled": False, "report_level": 2, "halt_level": 2}


def caption_html(path: str | Path) -> str:
    """Return a caption, a file of reStructuredText, as HTML paragraphs; raises where it is not well-formed."""
    text = Path(path).read_text(encoding="utf-8")
    return publish_parts(text, source_path=str(path), writer="html5", settings_overrides=SETTINGS)["body"].strip()


def first_sentence(html: str) -> str:
    """Return the first sentence of a caption as plain text, which says what a figure shows."""
    text = " ".join(unescape(re.sub(r"<[^>]+>", "", html)).split())
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]
