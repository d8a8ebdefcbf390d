"""Runs the workflow on the tests' studies as a user would: the command line, in a folder of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "tests" / "config" / "studies"
DOMAINS = ROOT / "tests" / "domains"
WORKFLOW = ("Snakefile", "config", "envs", "profiles", "resources", "workflow")


def snakemake(directory, *arguments, cores=2, studies=STUDIES, workflow=ROOT, names=(), check=False):
    """Run Snakemake in `directory`; returns the completed process with all output in stdout."""
    config = [f"studies_directory={studies}", f"domains_directory={DOMAINS}"]
    config += [f"studies=[{','.join(names)}]"] if names else []
    command = [sys.executable, "-m", "snakemake", "--snakefile", workflow / "Snakefile", "--directory", directory]
    command += ["--cores", str(cores), *arguments, "--config", *config]
    finished = subprocess.run(
        [str(part) for part in command],
        cwd=workflow,
        env={**os.environ, "PWD": str(workflow)},
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
def finished(tmp_path_factory):
    """Both studies run to the end, once: the folder and the terminal's output."""
    directory = tmp_path_factory.mktemp("finished")
    run = snakemake(directory, check=True)
    return directory, run.stdout


@pytest.fixture
def clone(tmp_path):
    """A copy of the workflow that a test may edit."""
    for name in WORKFLOW:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    return tmp_path
