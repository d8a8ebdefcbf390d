"""Runs the workflow on the tests' studies as a user would: the command line, in a folder of its own."""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "tests" / "config" / "studies"
DOMAINS = ROOT / "tests" / "domains"
WORKFLOW = ("Snakefile", "config", "envs", "profiles", "resources", "workflow")


@cache
def no_network():
    """The words before a command that take its network away; empty where that is not permitted."""
    tries = ["unshare", "--net"], ["unshare", "--net", "--map-root-user"]
    found = shutil.which("unshare") is not None
    return next((words for words in tries if found and subprocess.run([*words, "true"]).returncode == 0), [])


def command(directory, *arguments, cores=2, studies=STUDIES, domains=DOMAINS, workflow=ROOT, names=()):
    """The command line that runs Snakemake in `directory`; without `cores` it says nothing of them."""
    config = [f"studies_directory={studies}", f"domains_directory={domains}"]
    config += [f"studies=[{','.join(names)}]"] if names else []
    words = [sys.executable, "-m", "snakemake", "--snakefile", workflow / "Snakefile", "--directory", directory]
    words += ["--cores", cores] if cores else []
    return [str(word) for word in (*words, *arguments, "--config", *config)]


def snakemake(directory, *arguments, workflow=ROOT, environment=None, before=(), check=False, **options):
    """Run Snakemake in `directory`; returns the completed process with all output in stdout.

    `before` are words before the command; the others are those of `command`.
    """
    finished = subprocess.run(
        [*before, *command(directory, *arguments, workflow=workflow, **options)],
        cwd=workflow,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if check:
        assert finished.returncode == 0, finished.stdout[-6000:]
    return finished


def jobs(output):
    """The rules that a run or dry-run lists, with their counts."""
    if "Nothing to be done" in output:
        return {}
    lines = output.split("Job stats:")[1].split("total")[0].splitlines()
    rows = [line.split() for line in lines if line.strip() and not line.startswith(("job ", "---"))]
    return {name: int(count) for name, count in rows if name != "all"}


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id):
    """The studies, run to the end without a network, once for all test processes: the folder and the terminal's output."""
    alone = worker_id == "master"
    base = tmp_path_factory.getbasetemp() if alone else tmp_path_factory.getbasetemp().parent
    directory, output = base / "finished", base / "finished.txt"
    with FileLock(f"{directory}.lock"):
        if not output.is_file():
            run = snakemake(directory, before=no_network(), check=True)
            output.write_text(run.stdout)
    return directory, output.read_text()


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished folder, since Snakemake locks a folder it works in."""
    return shutil.copytree(finished[0], tmp_path / "copy", symlinks=True)


@pytest.fixture
def clone(tmp_path):
    """A copy of the workflow that a test may edit."""
    for name in WORKFLOW:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    return tmp_path
