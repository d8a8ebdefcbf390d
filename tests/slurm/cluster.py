"""A real SLURM on this host, for tests: munged, slurmctld and two slurmd, started and stopped by process id.

`plain` is the node of partition `compute`; `fast`, with two stand-in GPUs, that of `accelerated`.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from commands import ClusterError, end, fields, free_ports, run, search_path
from filelock import FileLock

from tests.processes import at_work, wait

HERE = Path(__file__).parent
# Jobs of Snakemake lose SLURM_CONF on their way, so that the configuration must lie where SLURM looks for it.
SYSTEM = Path("/etc/slurm")
# Not in a session's own TMPDIR, for all sessions share that folder.
LOCK = Path("/tmp/consilience-slurm.lock")
FILES = ("slurm.conf", "gres.conf")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel", "sinfo")
NODES = ("plain", "fast")
PREFIX = "consilience-slurm-"
UNFINISHED = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED")


def missing() -> str:
    """Say why no cluster can be started here; empty where one can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    if absent:
        return f"SLURM and munge are not installed here: no {', '.join(absent)}"
    if os.geteuid() != 0:
        return "SLURM's daemons are started as root, and this is another user"
    foreign = [str(SYSTEM / name) for name in FILES if (SYSTEM / name).exists() and not ours(SYSTEM / name)]
    if foreign:
        return f"this host has a SLURM of its own, which tests leave alone: {', '.join(foreign)}"
    return ""


def ours(link: Path) -> bool:
    """Whether a configuration is a link that a run of these tests has left."""
    return link.is_symlink() and link.readlink().parent.name.startswith(PREFIX)


class Cluster:
    """The daemons, and what tests ask of them."""

    def __init__(self):
        self.lock = FileLock(LOCK)
        self.folder: Path
        self.daemons: dict[str, subprocess.Popen] = {}

    def start(self) -> "Cluster":
        """Write the configuration, start the daemons, and wait until both nodes are idle.

        One cluster at a time: others on this host, of other sessions too, wait until it is stopped.
        """
        self.lock.acquire(timeout=1800)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        clear_leftovers()
        names = ("@CONTROLLER_PORT@", "@PLAIN_PORT@", "@FAST_PORT@")
        words = dict(zip(names, map(str, free_ports(3)), strict=True))
        words |= {"@RUN@": str(self.folder), "@HOST@": socket.gethostname().partition(".")[0]}
        SYSTEM.mkdir(exist_ok=True)
        for name in FILES:
            text = re.sub(r"@\w+@", lambda found: words[found[0]], (HERE / name).read_text())
            (self.folder / name).write_text(text)
            (SYSTEM / name).symlink_to(self.folder / name)
        for number in range(2):
            (self.folder / f"gpu{number}").touch()
        (self.folder / "state").mkdir()
        self._start_munge()
        self._daemon("slurmctld", "slurmctld", "-D", "-c", "-f", self.folder / "slurm.conf")
        for node in NODES:
            self.start_slurmd(node)
        self.wait_for_nodes()
        return self

    def stop(self) -> None:
        """Cancel what still runs, stop every daemon, and take the configuration away again."""
        if not self.lock.is_locked:
            return
        if "slurmctld" in self.daemons and self.daemons["slurmctld"].poll() is None:
            with contextlib.suppress(ClusterError, OSError, subprocess.SubprocessError):
                self.cancel()
        for name in reversed(list(self.daemons)):
            self._end(name, signal.SIGTERM)
        self._end_all()
        remove_links()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.release()

    def start_slurmd(self, node: str) -> None:
        """Start a node's daemon; the node takes jobs again a moment later (`wait_for_nodes`)."""
        (self.folder / f"spool.{node}").mkdir(exist_ok=True)
        self._daemon(f"slurmd.{node}", "slurmd", "-D", "-N", node, "-f", self.folder / "slurm.conf")

    def kill_slurmd(self, node: str, jobs: bool = True) -> None:
        """End a node's daemon with kill -9, and with `jobs` all that runs on it, as when the power fails."""
        self._end(f"slurmd.{node}", signal.SIGKILL)
        if jobs:
            # The daemons of steps first: they would report that their jobs have ended.
            end(self.step_daemons(node))
            end(self.processes(f"SLURMD_NODENAME={node}"))

    def wait_for_nodes(self, state: str = "IDLE", nodes: tuple[str, ...] = NODES, seconds: float = 60) -> None:
        """Wait until every one of `nodes` is in `state`, a word that `scontrol show node` uses."""

        def reached() -> bool:
            gone = [name for name, process in self.daemons.items() if process.poll() is not None]
            if gone:
                raise ClusterError(f"{', '.join(gone)} ended")
            return all(state in self.node(name)["State"].split("+") for name in nodes)

        try:
            wait(reached, f"{' and '.join(nodes)} to be {state}", seconds, every=0.2)
        except (ClusterError, TimeoutError) as error:
            raise ClusterError(f"{error}\n{self.logs()}") from None

    def node(self, name: str) -> dict[str, str]:
        """SLURM's record of a node; its state is UNKNOWN while the controller does not answer."""
        found = run("scontrol", "--oneliner", "show", "node", name, check=False)
        return {"State": "UNKNOWN"} | fields(found)

    def jobs(self, name: str = "") -> list[dict[str, str]]:
        """SLURM's records of all jobs, or of those of a run of Snakemake, by number; fields as in `scontrol show job`.

        Added is `Rule`, from Snakemake's comment: a rule's name, or a group's with the names of its rules.
        """
        lines = run("scontrol", "--oneliner", "show", "jobs").splitlines()
        found = [fields(line) for line in lines if line.startswith("JobId=")]
        for job in found:
            job["Rule"] = job.get("Comment", "").removeprefix("rule_").partition("_wildcards_")[0]
        return sorted((job for job in found if name in ("", job["JobName"])), key=lambda job: int(job["JobId"]))

    def processes(self, variable: str = "") -> list[int]:
        """The processes of this cluster's jobs whose environment holds `variable`, such as `SLURM_JOB_ID=3`."""
        sought = {f"CONSILIENCE_CLUSTER={self.folder}".encode()} | ({variable.encode()} if variable else set())
        daemons, found = {process.pid for process in self.daemons.values()}, []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if sought <= set((folder / "environ").read_bytes().split(b"\0")):
                    found.append(int(folder.name))
        return sorted(set(found) - daemons)

    def step_daemons(self, node: str) -> list[int]:
        """The slurmstepd of a node: SLURM wipes their environment, but they hold the node's log open."""
        found = []
        for process in at_work(self.folder / f"slurmd.{node}.log"):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{process}/comm").read_text().startswith("slurmstepd"):
                    found.append(process)
        return found

    def cancel(self) -> None:
        """Cancel all jobs, and wait until none is left."""
        run("scancel", "--user", "root", check=False)

        def done() -> bool:
            return not [job for job in self.jobs() if job["JobState"] in UNFINISHED]

        wait(done, "jobs to be canceled", 20, every=0.2)

    def environment(self) -> dict[str, str]:
        """The environment for commands that submit jobs: `processes` knows by it which belong to this cluster."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SNAKEMAKE_SLURM"))}
        return kept | {"PATH": search_path(), "CONSILIENCE_CLUSTER": str(self.folder)}

    def log(self, node: str) -> str:
        """All that the daemons of a node and of its steps have told."""
        return (self.folder / f"slurmd.{node}.log").read_text(errors="replace")

    def logs(self, lines: int = 5) -> str:
        """The last lines of every daemon's log."""
        files = [*sorted(self.folder.glob("*.log")), *self.folder.glob("munged.out")]
        texts = [(path.name, path.read_text(errors="replace")) for path in files]
        return "\n".join(f"{name}: {line}" for name, text in texts for line in text.splitlines()[-lines:])

    def _start_munge(self) -> None:
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o400)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed"}
        options = [f"--{option}={self.folder / f'munge.{name}'}" for option, name in files.items()]
        # --force: folders for temporary files may be written by all.
        self._daemon("munged", "munged", "--foreground", "--force", *options)
        wait((self.folder / "munge.socket").is_socket, "munged to listen", 10)

    def _daemon(self, name: str, *command) -> None:
        """Start a daemon that stays this process's child, and where `tied` can ends with it."""
        with (self.folder / f"{name}.out").open("ab") as output:
            words = [*tied(), *map(str, command)]
            environment = self.environment() | {"CONSILIENCE_DAEMON": name}
            self.daemons[name] = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
            )

    def _end_all(self) -> None:
        for node in NODES:
            end(self.step_daemons(node))
        end(self.processes())

    def _end(self, name: str, how: int) -> None:
        process = self.daemons.pop(name)
        process.send_signal(how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tied() -> list[str]:
    """The words before a command that end it when this process ends, killed or not; none where setpriv is not installed."""
    found = shutil.which("setpriv", path=search_path())
    return [found, "--pdeathsig", "TERM"] if found else []


def remove_links() -> None:
    """Take away the links to our configuration, and no other."""
    for name in FILES:
        if ours(SYSTEM / name):
            (SYSTEM / name).unlink()


def clear_leftovers() -> None:
    """End what a run left that was killed itself: daemons and jobs of the cluster that the links lead to."""
    link = SYSTEM / FILES[0]
    if ours(link):
        left = Cluster.__new__(Cluster)
        left.folder, left.daemons = link.readlink().parent, {}
        left._end_all()
        shutil.rmtree(left.folder, ignore_errors=True)
    remove_links()
