"""Processes of this machine that tests meet at work, and waiting for what they do."""

import time
from pathlib import Path


def wait(condition, what: str, seconds: float = 120, every: float = 0.01):
    """Return what `condition` gives as soon as it is true; TimeoutError once `seconds` have passed."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(every)
    return found


def alive(process: int) -> bool:
    """Whether a process is at work; one that has ended is not, though nobody has waited for it yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def at_work(file: Path) -> list[int]:
    """The processes that hold a file open, as a job does its log."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if file.resolve() in [link.resolve() for link in (process / "fd").iterdir()]:
                found.append(int(process.name))
        except OSError:  # it has ended
            continue
    return found
