"""What the reports show of a study: files that its rules marked, each with a caption and the section it stands in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# The endings of what the report offers as copies, beside what it shows.
OFFERED = (".tsv", ".csv", ".parquet", ".json", ".txt", ".pdf")
WILDCARD = re.compile(r"\{\w+\}")


@dataclass(frozen=True)
class Exhibit:
    """A pattern of paths below results/, {wildcards} in it, that a rule marked for the reports.

    `caption` is the path of its text (reStructuredText), `section` the heading it stands under; `domain` is the slice
    whose own rule marked it, None for the chain.
    """

    pattern: str
    caption: str
    section: str
    domain: str | None = None

    def matches(self, path: str) -> bool:
        """Say whether the pattern makes this path, a wildcard being any text without a slash."""
        parts = [re.escape(part) for part in WILDCARD.split(self.pattern)]
        return re.fullmatch("[^/]+".join(parts), path) is not None


def exhibits_of(domain: str, paths: Iterable[str], exhibits: Iterable[Exhibit]) -> list[dict[str, Any]]:
    """Return what is shown of a study of this domain among its `paths`: path, caption and section, in marked order.

    A path that two rules marked, a slice's and the chain's, is shown once, as the slice's.
    """
    paths = list(dict.fromkeys(paths))
    fitting = [exhibit for exhibit in exhibits if exhibit.domain in (None, domain)]
    found: dict[str, dict[str, Any]] = {}
    for exhibit in fitting:
        for path in filter(exhibit.matches, paths):
            if path not in found or exhibit.domain:
                found[path] = {"path": path, "caption": exhibit.caption, "section": exhibit.section}
    return list(found.values())
