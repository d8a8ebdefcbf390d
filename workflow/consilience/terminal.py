"""What Snakemake tells of a job that failed: the reason, as the job has told it, and nothing around it.

Its own file, under .snakemake/log, still has every word.
"""

from __future__ import annotations

from consilience.jobs import INTERRUPTED, REASON, named

import logging
import os
import re
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from snakemake.exceptions import WorkflowError

from consilience.progress import wipe
from consilience.runs import RUN

STREAM = "DefaultStreamHandler"  # Snakemake's own name
SCRIPT_FAILED = "returned non-zero exit status 1."
# What a script says that a signal ended, and the shell around a script, which adds the signal to 128.
SIGNAL = re.compile(r"died with <Signals\.(?P<name>\w+): \d+>\.\s*\Z|exit status (?P<status>1[2-9]\d)\.\s*\Z")
SHELL_ADDS = 128
TOLD = re.compile(rf"[\d:]+ ((?:{REASON}|{INTERRUPTED}) .*)")
# The lines that Snakemake puts around what a Snakefile raises.
AROUND = re.compile(r'\A\w+ in file ".*", line \d+:\n|(\n  File ".*", line \d+, in .*)+\s*\Z')


class BadInputError(WorkflowError):
    """What a person gave is wrong; the text says all, and where the workflow found it does not help."""


class ShortFilter(logging.Filter):
    """Tells of a failed job only why it failed, once, with the path of its log; all else passes.

    It comes before Snakemake's own filter, which under `--quiet rules` hides failures of jobs as well.
    """

    def __init__(self, handler: logging.StreamHandler) -> None:
        super().__init__()
        self._handler = handler
        self._names: dict[int, str] = {}  # of jobs, by their number
        self._signals: list[str] = []  # of scripts that died, until their jobs are told of
        self._known: dict[str, int] = {}  # when a log whose reason was told had been written

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is shown as it is; what is shown in its place goes to the handler at once."""
        event = getattr(record, "event", None)
        if event == "job_info":
            self._names[record.jobid] = named(record.rule_name, record.wildcards or {})
        text = {"error": self._error, "job_error": self._job, "group_error": self._group}.get(event, _as_it_is)(record)
        if text:
            level = {"levelno": logging.ERROR, "levelname": "ERROR"}
            self._handler.handle(logging.makeLogRecord({"name": record.name, "msg": text} | level))
        return text is None

    def _error(self, record: logging.LogRecord) -> str | None:
        text = record.getMessage()
        if getattr(record, "exception", None) == BadInputError.__name__:
            return AROUND.sub("", text)
        if text.rstrip().endswith(SCRIPT_FAILED):
            return ""
        name = _signal_in(text)
        if name:
            self._signals.append(name)
        return "" if name else None

    def _job(self, record: logging.LogRecord) -> str | None:
        if record.indent:  # jobs of a group are told after it, those that did not fail as well
            return ""
        log, elsewhere = record.log[:1], record.log[1:]
        told, name = self._told(log, elsewhere), self._names.get(record.jobid, record.rule_name)
        if told is None and self._signals:
            return _killed(name, self._signals.pop(0), log)
        if told is not None and signal.SIGINT.name in self._signals and _interrupted(log):
            self._signals.remove(signal.SIGINT.name)
        if told is None and any(map(reason_in, log)):  # of an earlier try, which Snakemake would show as well
            return f"{REASON} {name}: {record.rule_msg or 'it told no reason'}{_where(elsewhere or log)}"
        return told

    def _group(self, record: logging.LogRecord) -> str | None:
        return self._told([log for job in record.job_error_info for log in job["log"]], record.aux_logs)

    def _told(self, logs: Sequence[str], elsewhere: Sequence[str]) -> str | None:
        """Return the reasons in the jobs' own logs, nothing where jobs have told them here, None where there is none.

        A job that ran on another node has a log of that, `elsewhere`; what it told stands there.
        """
        reasons = [f"{reason}; log: {log}" for log in logs if self._is_new(log) and (reason := reason_in(log))]
        return ("\n".join(reasons) if elsewhere else "") if reasons else None

    def _is_new(self, log: str) -> bool:
        """Say whether a log was written in this run, and since it was last asked for: a later try may never start."""
        try:
            written = Path(log).stat().st_mtime_ns
        except OSError:
            return False
        before, self._known[log] = self._known.get(log, int(os.environ.get(RUN, 0))), written
        return written > before


def _interrupted(logs: Sequence[str]) -> bool:
    return any((reason_in(log) or "").startswith(INTERRUPTED) for log in logs)


def _killed(name: str, by: str, log: Sequence[str]) -> str:
    if by == signal.SIGINT.name:
        return ""
    return f"{REASON} {name}: killed by {by}{' (out of memory?)' * (by == signal.SIGKILL.name)}{_where(log)}"


def _where(logs: Sequence[str]) -> str:
    return f"; log: {', '.join(logs)}" if logs else ""


def _as_it_is(_: logging.LogRecord) -> None:
    return None


def _signal_in(text: str) -> str | None:
    """Return the name of the signal that ended a script, None where it ended otherwise."""
    found = SIGNAL.search(text)
    if not found:
        return None
    number = int(found["status"] or 0) - SHELL_ADDS
    return found["name"] or (signal.Signals(number).name if number in set(signal.Signals) else None)


def reason_in(log: str | Path) -> str | None:
    """Return the reason with which a job's log ends, without the hour; None where the job did not come to tell any."""
    try:
        lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # none was written, or a network file system does not show it yet
        return None
    found = TOLD.fullmatch(lines[-1]) if lines else None
    return found[1] if found else None


def shorten() -> None:
    """Let `ShortFilter` decide what Snakemake's stream to the terminal tells, each on a line of its own."""
    from snakemake.logging import logger

    for handler in logger.handlers:
        if handler.name == STREAM and not any(isinstance(one, ShortFilter) for one in handler.filters):
            handler.filters.insert(0, ShortFilter(handler))
            handler.addFilter(partial(_wiped, handler))


def _wiped(handler: logging.StreamHandler, _: logging.LogRecord) -> bool:
    wipe(handler.stream)
    return True
