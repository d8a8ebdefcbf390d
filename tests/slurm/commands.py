"""SLURM's commands and what they write; the end of processes, and free ports."""

import contextlib
import os
import re
import signal
import socket
import subprocess

from tests.processes import alive, wait


class ClusterError(Exception):
    """The cluster does not do what a test needs; the message says what, and what its logs end with."""


def search_path() -> str:
    """Where programs are looked for: daemons lie in folders that not every shell names."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def run(*command, check: bool = True) -> str:
    """Run one of SLURM's commands and return what it prints; ClusterError where it fails."""
    environment = os.environ | {"PATH": search_path()}
    found = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment)
    if check and found.returncode:
        raise ClusterError(f"{' '.join(command)}: {found.stderr.strip()}")
    return found.stdout


def fields(line: str) -> dict[str, str]:
    """The `Name=value` pairs of a line of scontrol; values may hold blanks."""
    pairs = re.findall(r"(?:^|\s)([A-Z][\w/:]*)=(.*?)(?=\s[A-Z][\w/:]*=|\s*$)", line)
    return {name: value.strip() for name, value in pairs}


def megabytes(text: str) -> int:
    """A size as SLURM writes it: 1500M, 3G."""
    return int(float(text[:-1]) * {"M": 1, "G": 1024}[text[-1]])


def minutes(text: str) -> int:
    """A time limit as SLURM writes it: 04:30:00, 1-00:00:00."""
    days, _, rest = text.rpartition("-")
    hours, left, _ = map(int, rest.split(":"))
    return (int(days or 0) * 24 + hours) * 60 + left


def end(pids: list[int]) -> None:
    """End processes with kill -9, and wait until they are."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait(lambda: not any(alive(pid) for pid in pids), f"processes {pids} to end", 10)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
