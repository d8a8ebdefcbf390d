"""Which run of the workflow works in a folder: one that was killed may leave jobs behind, on a node or in a queue.

Such a job must not write over what a later run makes, under other settings perhaps, nor must its Snakemake remove it.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from consilience.errors import ConsilienceError
from consilience.files import write_text

RUN = "CONSILIENCE_RUN"  # when the run began, in nanoseconds; its jobs inherit it, on other nodes too
STARTED_IN = "CONSILIENCE_STARTED_IN"  # the job of SLURM's that Snakemake was started in, empty outside of any
# In the folder of work: when the run began before which all others are over.
LATEST = Path(".snakemake", "consilience_run")
LOCKS = Path(".snakemake", "locks")


class LeftBehindError(ConsilienceError):
    """A job belongs to a run that is over."""


def begin() -> None:
    """Note that a run begins in the folder of work, and that those before it are over.

    Called when Snakemake has locked the folder. Where another run holds a lock too, both go on.
    """
    os.environ.update({RUN: str(time.time_ns()), STARTED_IN: os.environ.get("SLURM_JOB_ID", "")})
    if len(list(LOCKS.glob("*.output.lock"))) <= 1:
        write_text(LATEST, os.environ[RUN])


def check() -> None:
    """Refuse to go on in a job whose run is over; a job that no run has started is nobody's concern."""
    run = os.environ.get(RUN)
    with suppress(FileNotFoundError):
        if run and int(run) < int(LATEST.read_text()):
            raise LeftBehindError(
                "a later run of the workflow has begun in this folder; this job, left behind by an earlier one, writes "
                "nothing"
            )


def end_own_cluster_job() -> None:
    """Kill all else that runs in the SLURM job that a run left behind, if this is one.

    Its Snakemake would see the script fail, and remove what the later run has made; so it would if SLURM was asked to
    end the job, which is gentle at first. A job in which somebody has started Snakemake himself is left alone.
    """
    own = os.environ.get("SLURM_JOB_ID")
    if not own or own == os.environ.get(STARTED_IN, own):
        return
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # somebody else's, or ended by now
            if f"SLURM_JOB_ID={own}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    # All are stopped before the first dies, so that none can look after what becomes of it.
    for how in (signal.SIGSTOP, signal.SIGKILL):
        for process in found:
            if process != os.getpid():
                with suppress(OSError):
                    os.kill(process, how)
