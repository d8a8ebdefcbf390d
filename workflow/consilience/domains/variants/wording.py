"""How the texts of a study write numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from consilience.evaluation import with_interval


def percent(share: float | None) -> str:
    """Write a share as per cent, such as 12.5 %."""
    return "undefined" if share is None else f"{100 * share:.1f} %"


def of_all(count: int, total: int) -> str:
    """Write a count of a total, such as 31 of 40 (78 %)."""
    return f"{count} of {total} ({100 * count / total:.0f} %)" if total else f"{count} of {total}"


def interval_or_none(metric: Mapping[str, float | None] | None) -> str:
    """Write a metric with its interval, or that there is none."""
    return "not known" if metric is None else with_interval(metric)


def counted(count: int, one: str, several: str) -> str:
    """Write a count with its noun."""
    return f"{count} {one if count == 1 else several}"


def are(count: int) -> str:
    """Return the verb of a count."""
    return "is" if count == 1 else "are"


def listed(words: Sequence[str]) -> str:
    """Join words, such as a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def components(count: int) -> str:
    """Name the first principal components."""
    return "the first principal component" if count == 1 else f"{count} principal components"
