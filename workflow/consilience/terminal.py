"""What Snakemake tells of a job that failed, where the job has told the reason itself: that, and nothing around it.

Its own file, under .snakemake/log, still has every word.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from consilience.jobs import REASON
from consilience.progress import wipe

STREAM = "DefaultStreamHandler"  # Snakemake's own name
SCRIPT_FAILED = "returned non-zero exit status 1."  # a signal's, a shortage of memory say, is told
TOLD = re.compile(rf"[\d:]+ ({REASON} .*)")


class ShortFormatter(logging.Formatter):
    """Says of a failed job only why it failed, once, with the path of its log; all else as `inner` does."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self.inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return the text for the terminal; an empty one is not shown."""
        event = getattr(record, "event", None)
        text = self.inner.format(record)
        if event == "error" and text.rstrip().endswith(SCRIPT_FAILED):
            return ""
        if event == "job_error":
            # Jobs of a group are told after it, those that did not fail as well.
            return "" if record.indent else _short([record.log[0]], record.log[1:], text) if record.log else text
        if event == "group_error":
            return _short([log for job in record.job_error_info for log in job["log"]], record.aux_logs, text)
        return text


def _short(logs: Sequence[str], elsewhere: Sequence[str], text: str) -> str:
    """Return the reasons in the jobs' own logs, nothing where jobs have told them here, and `text` where there is none.

    A job that ran on another node has a log of that, `elsewhere`; what it told stands there.
    """
    reasons = [f"{reason}; log: {log}" for log in logs if (reason := reason_in(log))]
    return ("\n".join(reasons) if elsewhere else "") if reasons else text


def reason_in(log: str | Path) -> str | None:
    """Return the reason with which a job's log ends, without the hour; None where the job did not come to tell any."""
    try:
        lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # none was written, or a network file system does not show it yet
        return None
    found = TOLD.fullmatch(lines[-1]) if lines else None
    return found[1] if found else None


def shorten() -> None:
    """Let Snakemake's stream to the terminal format what it tells by `ShortFormatter`, on a line of its own."""
    from snakemake.logging import logger

    for handler in logger.handlers:
        if handler.name == STREAM and handler.formatter and not isinstance(handler.formatter, ShortFormatter):
            handler.setFormatter(ShortFormatter(handler.formatter))
            handler.addFilter(partial(_wiped, handler))


def _wiped(handler: logging.StreamHandler, _: logging.LogRecord) -> bool:
    wipe(handler.stream)
    return True
