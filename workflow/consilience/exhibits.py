"""What the reports show of a study: files that its rules marked, each with a caption and the section it stands in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# The endings of what the report offers as copies, beside what it shows.
OFFERED = (".tsv", ".csv", ".parquet", ".json", ".txt", ".pdf")
WILDCARD = re.compile(r"\{(\w+)\}")


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

    def shape(self, known: Mapping[str, Iterable[str]]) -> re.Pattern[str]:
        """Return what the whole of its paths match: a wildcard is one of its `known` values, or any without a slash."""
        texts, names = WILDCARD.split(self.pattern)[::2], WILDCARD.findall(self.pattern)
        values = ["|".join(map(re.escape, known[name])) if name in known else "[^/]+" for name in names]
        parts = [f"{re.escape(text)}(?:{value})" for text, value in zip(texts[:-1], values, strict=True)]
        return re.compile("".join(parts) + re.escape(texts[-1]))


def exhibits_of(
    domain: str, paths: Iterable[str], exhibits: Iterable[Exhibit], known: Mapping[str, Iterable[str]]
) -> list[dict[str, Any]]:
    """Return what is shown of a study of this domain: path, caption and section, in the order of its `paths`.

    `known` are the values that wildcards can have: {model}.tsv is no {model}_curves.tsv, of which no model is the name.
    A path that two rules marked, a slice's and the chain's, is shown once, as the slice's.
    """
    paths = list(dict.fromkeys(paths))
    fitting = [exhibit for exhibit in exhibits if exhibit.domain in (None, domain)]
    found: dict[str, dict[str, Any]] = {}
    for exhibit in fitting:
        for path in filter(exhibit.shape(known).fullmatch, paths):
            if path not in found or exhibit.domain:
                found[path] = {"path": path, "caption": exhibit.caption, "section": exhibit.section}
    # Not in the order of marks: it would follow from what other studies run beside this one.
    return [found[path] for path in paths if path in found]
