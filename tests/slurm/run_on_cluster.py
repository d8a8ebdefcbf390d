"""Runs the workflow on the tests' cluster as a user would, through the shipped profile with a site's names in it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cluster import Cluster, missing
from run_workflow import ROOT, command, snakemake

from consilience.files import sha256

PROFILE = ROOT / "profiles" / "slurm"
# What a site writes on the lines marked SITE.
PARTITIONS = {"cpu": "compute", "gpu": "accelerated"}
# A test waits for nobody's jobs: looks come sooner than the profile has them.
SOONER = ("--slurm-init-seconds-before-status-checks", "1")


@pytest.fixture(scope="session")
def cluster():
    """A SLURM of this session's own."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    running = Cluster()
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="session")
def site_profile(tmp_path_factory):
    """A copy of the shipped profile in which the partitions have this cluster's names, and all else is as shipped."""
    copy = shutil.copytree(PROFILE, tmp_path_factory.mktemp("site") / "slurm")
    file = copy / "partitions.yaml"
    lines = file.read_text().splitlines()
    edited = [re.sub(r"\w+(?=:)", rename, line, count=1) if "SITE" in line else line for line in lines]
    file.write_text("\n".join(edited) + "\n")
    return copy


@pytest.fixture(scope="session")
def study(cluster, site_profile, tmp_path_factory):
    """The toy study, run to the end on the cluster: the folder, and SLURM's records of its jobs."""
    directory = tmp_path_factory.mktemp("cluster") / "run"
    run = on_cluster(cluster, site_profile, directory, check=True)
    return directory, cluster.jobs(run_id(run.stdout))


def digests(folder):
    """SHA-256 of every file below a folder, but those with hidden names, which hold times."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): sha256(path) for path in files}


def rename(found):
    return PARTITIONS[found[0]]


def on_cluster(cluster, profile, directory, *arguments, names=("toy",), **options):
    """Run Snakemake on the cluster, to the end; options are those of `snakemake`."""
    words = ("--workflow-profile", profile, *SOONER, *arguments)
    return snakemake(directory, *words, cores=None, names=names, environment=cluster.environment(), **options)


def run_id(output):
    """The name that all jobs of a run have in SLURM, from what Snakemake prints; empty where it never got so far."""
    found = re.search(r"SLURM run ID: (\S+)", output)
    return found[1] if found else ""


def start_on_cluster(cluster, profile, directory, *arguments, names=("toy",), **options):
    """Start Snakemake on the cluster in the background; its output goes to `snakemake.out` in `directory`."""
    Path(directory).mkdir(exist_ok=True)
    words = ("--workflow-profile", profile, *SOONER, *arguments)
    with Path(directory, "snakemake.out").open("ab") as output:
        return subprocess.Popen(
            command(directory, *words, cores=None, names=names, **options),
            cwd=ROOT,
            env=cluster.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
