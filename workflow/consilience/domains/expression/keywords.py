"""Finds keywords in metadata text: on word boundaries, whatever the case, and not where the text denies them.

The patterns are RE2's (pyarrow), which reads a text once however many keywords there are. One pass over all texts finds
the few that mention any keyword; only in these are denied mentions struck out and keywords counted one by one.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consilience.errors import ConsilienceError

# What may stand, or be missing, between the parts of a name: HL-60, HL60, hl 60, HL.60, MV4;11, MV4:11.
SEPARATOR = r"[\s_:;/.\-‐‑‒–—−]?"
BEFORE = r"(?:\b|_)"
AFTER = r"(?:\b|_)"
POSITIVE = r"(?:\+|\(\+\))?"
CELLS = r"(?:[\s\-]cells?)?"
# A marker that only describes the name after it: CD14+ monocytes, CD14 monocytes.
DESCRIBING = rf"(?:CD\d+[a-z]?{POSITIVE}\s+)?"
DENYING_BEFORE = (
    r"(?:not|no|neither|without|lacking|lack of|minus|excluding|except|devoid of|free of|absence of"
    r"|(?:negative|neg\.?) for|(?:depleted|depletion) (?:of|for|from)|depleting)[\s\-]+(?:(?:a|an|any|the)\s+)?"
)
DENYING_AFTER = r"[\s\-(:]*(?:(?:is|are|was|were)\s+)?(?:negative|neg|depleted|depletion|free)"
# Words of denial that speak of something else than the name before them: a control, or what comes next, unless a
# hyphen ties them to the name.
CONTROL = r"\b(?:negative|neg)\b\.?[\s\-]*(?:control|ctrl|ctl|(?:si|sh|sg|mi|g)RNA)"
OF_ANOTHER = r"[\s(:](?:negative|neg|depleted|depletion|free)\b\.?\s+(?:of|for|in)\b"
OF_NEXT_GENE = r"[\s(:](?:negative|neg)\b\.?\s+((?-i:[A-Z]{2,}\d))"
# What a text must hold for any denial to be in it; most do not, and are spared the search.
SUSPECT = (
    BEFORE
    + r"(?:(?:no|non|not|neither|neg|without|minus|except)(?:\b|_)|negative|lack|exclud|devoid|free|absence|deplet)"
    + r"|\d[a-z]?[‐‑‒–—−\-]|\d[a-z]?\s?(?:\(-|-ve)"
)
MARKER = re.compile(r"CD\d+[A-Z]?", re.IGNORECASE)


def read_keywords(path: str | Path) -> list[str]:
    """Read a keyword list: one a line, `#` begins a comment, empty lines count for nothing."""
    path = Path(path)
    if not path.is_file():
        raise ConsilienceError(f"{path}: no such keyword file; expected a text file, one keyword a line")
    lines = [line.split("#", 1)[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    keywords = list(dict.fromkeys(line for line in lines if line))
    for keyword in keywords:
        if not _parts(keyword):
            raise ConsilienceError(f"{path}: keyword {keyword!r} has neither a letter nor a digit")
    if not keywords:
        raise ConsilienceError(f"{path}: no keyword in it; expected one a line (`keywords: null` filters by none)")
    return keywords


def _parts(keyword: str) -> list[str]:
    """Split a name at its separators and between letters and digits: HL-60 and HL60 are HL, 60."""
    return re.findall(r"[^\W\d_]+|\d+", keyword)


def _name(keyword: str) -> str:
    """Return the RE2 pattern of one keyword without its borders; words also match in the plural."""
    plural = "s?" if keyword[-1].isalpha() else ""
    return SEPARATOR.join(_parts(keyword)) + plural


def pattern(keywords: list[str]) -> str:
    """Return the one RE2 pattern, to be used without regard to case, that a mention of any of the keywords matches."""
    return BEFORE + _any(keywords) + AFTER


def mentions(texts: np.ndarray, keywords: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Find the keywords that `texts` (samples,) mention.

    Returns the mentions that are not denied, bool (samples, keywords), and whether a text mentions any keyword at
    all, denied or not, bool (samples,).
    """
    array = pa.array(texts, pa.large_string())
    mentioned = _match(array, keywords)
    found = np.zeros((len(texts), len(keywords)), dtype=bool)
    # Submitters repeat themselves: each text is looked at once.
    encoded = array.take(pa.array(np.flatnonzero(mentioned))).dictionary_encode()
    distinct = np.zeros((len(encoded.dictionary), len(keywords)), dtype=bool)
    _assign(_without_denied(encoded.dictionary, keywords), np.arange(len(distinct)), keywords, 0, distinct)
    found[mentioned] = distinct[encoded.indices.to_numpy()]
    return found, mentioned


def _match(texts: pa.Array, keywords: list[str]) -> np.ndarray:
    """Say which texts mention any of the keywords, bool (texts,)."""
    return pc.match_substring_regex(texts, pattern(keywords), ignore_case=True).to_numpy(zero_copy_only=False)


def _assign(texts: pa.Array, rows: np.ndarray, keywords: list[str], first: int, found: np.ndarray) -> None:
    """Mark in `found` which keywords `rows` mention, halving the list: a row follows only the halves it matches."""
    hits = _match(texts, keywords)
    if not hits.any():
        return
    if len(keywords) == 1:
        found[rows[hits], first] = True
        return
    half = len(keywords) // 2
    texts, rows = texts.filter(pa.array(hits)), rows[hits]
    _assign(texts, rows, keywords[:half], first, found)
    _assign(texts, rows, keywords[half:], first + half, found)


def _without_denied(texts: pa.Array, keywords: list[str]) -> pa.Array:
    """Strike denied mentions where any word of denial occurs."""
    suspect = pc.match_substring_regex(texts, SUSPECT, ignore_case=True)
    return pc.replace_with_mask(texts, suspect, strike_denied(texts.filter(suspect), keywords))


def strike_denied(texts: pa.Array, keywords: list[str]) -> pa.Array:
    """Remove the mentions of `keywords` that a text denies.

    Denied are a keyword after non-, not, no, without, lacking, depleted of, negative for and their like; before
    -negative, -depleted, -free, or "was depleted"; a surface marker (CD14) before "minus" or a minus sign that ends it
    (CD14-, CD14-CD16+, CD14(-), CD14-ve). Names joined by `/` share the denial, after phrases such as "depleted of"
    also those joined by `and`, `or`, `nor`; so does a marker that describes the name (CD14+ monocyte-depleted).

    A word of denial after a name is not the name's where it goes on with of, for, in ("THP-1 depleted of BRD4") or
    control, siRNA. "X negative Y", where Y looks like a gene (capitals, then a digit), denies X if it is a surface
    marker, and speaks of Y if it is anything else ("AML negative FLT3"). A hyphen ties a denial to the name whatever
    follows but a control ("myeloid-depleted in vivo" denies). "Negative selection" denies nothing (the cells so
    isolated are those named), nor does anti- (antibodies also select for their antigen).
    """
    name = _any(keywords)
    pair = rf"{name}{POSITIVE}{CELLS}(?:\s?/\s?{name}{POSITIVE}{CELLS})*"
    several = rf"{DESCRIBING}{name}{POSITIVE}{CELLS}(?:(?:\s?/\s?|,?\s(?:and|or|nor)\s){name}{POSITIVE}{CELLS})*"
    markers = [keyword for keyword in keywords if MARKER.fullmatch("".join(_parts(keyword)))]
    steps = [
        ("_", " "),
        ("[‐‑‒–—−]", "-"),
        (r"(?i)\b(?:negative|negatively|neg)[\s\-]+(?:select|isolat|enrich|purif)\w*", " "),
        (rf"(?i){CONTROL}", " , "),
        (r"(?i)-CD(\d)", r"- CD\1"),
        (rf"(?i)\bnon[\s\-]+{pair}\b", " "),
        (rf"(?i)\b{DENYING_BEFORE}{several}\b", " "),
        (rf"(?i){OF_ANOTHER}", " , "),
        *(_marker_steps(name, _any(markers)) if markers else []),
        (rf"(?i){OF_NEXT_GENE}", r" , \1"),
        (rf"(?i)\b{DESCRIBING}{pair}{DENYING_AFTER}\b", " "),
    ]
    for pattern, replacement in steps:
        texts = pc.replace_substring_regex(texts, pattern, replacement)
    return texts


def _any(keywords: list[str]) -> str:
    """Return the RE2 pattern of any of the keywords, without borders."""
    return "(?:" + "|".join(_name(keyword) for keyword in keywords) + ")"


def _marker_steps(name: str, marker: str) -> list[tuple[str, str]]:
    """Return the replacements that strike surface markers before a denial, and any `name` joined to them by `/`."""
    joined = rf"(?:{name}{POSITIVE}{CELLS}\s?/\s?)*{marker}{POSITIVE}{CELLS}"
    return [
        (rf"(?i)\b{joined}(?:{DENYING_AFTER}|[\s\-]+minus)\b", " "),
        (rf"(?i)\b{marker}(?:\s?\(-\)|\s?-ve\b|-([^0-9a-z]|$))", r" \1"),
    ]
