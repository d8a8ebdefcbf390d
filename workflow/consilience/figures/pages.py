"""Figures as the pages of one PDF."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from consilience.figures.style import new_figure, styled
from consilience.files import whole
from consilience.progress import following


@styled
def blank_page(width: float, height: float, text: str) -> Figure:
    """Draw a page (in inches) that says no more than why it is empty."""
    figure = new_figure(width, height)
    figure.text(0.5, 0.5, text, ha="center")
    return figure


def write_pages(path: str | Path, pages: Iterable[Figure], width: float, height: float, none: str) -> None:
    """Write figures as pages, the same bytes for the same pages; without any, one of this size that says `none`."""
    nothing = dict.fromkeys(("CreationDate", "Producer", "Creator"))
    with whole(path) as temporary, PdfPages(temporary, metadata=nothing) as file:
        for figure in following(pages, "drawing", "page"):
            file.savefig(figure)
        if not file.get_pagecount():
            file.savefig(blank_page(width, height, none))
