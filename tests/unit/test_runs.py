"""Runs of the workflow in one folder: which are over, and what becomes of the jobs they left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import consilience
from consilience import runs
from consilience.runs import LeftBehindError

VARIABLES = (runs.RUN, runs.STARTED_IN, "SLURM_JOB_ID")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of work that Snakemake has locked, and an environment that every test may change."""
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    runs.LOCKS.mkdir(parents=True)
    for kind in ("input", "output"):
        (runs.LOCKS / f"0.{kind}.lock").touch()
    return tmp_path


def begun():
    """Let a run begin, and return what its jobs inherit."""
    runs.begin()
    return {name: os.environ[name] for name in (runs.RUN, runs.STARTED_IN)}


def test_jobs_of_the_latest_run_go_on_and_those_of_earlier_ones_do_not(monkeypatch):
    earlier, later = begun(), begun()
    runs.check()
    monkeypatch.setenv(runs.RUN, earlier[runs.RUN])
    with pytest.raises(LeftBehindError, match="a later run of the workflow has begun in this folder"):
        runs.check()
    monkeypatch.setenv(runs.RUN, later[runs.RUN])
    runs.check()


def test_of_two_runs_at_a_time_both_go_on(monkeypatch):
    """Snakemake lets them, on different files."""
    first = begun()
    for kind in ("input", "output"):
        (runs.LOCKS / f"1.{kind}.lock").touch()
    begun()
    runs.check()
    monkeypatch.setenv(runs.RUN, first[runs.RUN])
    runs.check()


def test_a_job_that_no_run_has_started_is_nobodys_concern(monkeypatch):
    runs.check()
    begun()
    monkeypatch.delenv(runs.RUN)
    runs.check()


def test_a_run_that_another_runs_job_starts_is_a_run_of_its_own(monkeypatch):
    """As from a notebook, or a script that is submitted from a shell with such an environment."""
    first = begun()
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    second = begun()
    assert int(second[runs.RUN]) > int(first[runs.RUN])
    assert (first[runs.STARTED_IN], second[runs.STARTED_IN]) == ("", "12")


@pytest.mark.parametrize(("started_in", "killed"), [("", True), ("other", True), ("own", False), (None, False)])
def test_a_job_of_slurm_that_was_left_behind_is_killed_whole(started_in, killed):
    """What asks for it is spared; where Snakemake was started in the job itself, or nobody knows where, all is."""
    library = str(Path(consilience.__file__).parents[1])
    numbers = {"other": f"6{os.getpid()}", "own": f"7{os.getpid()}"}  # no other test's
    environment = {**os.environ, "SLURM_JOB_ID": numbers["own"], "PYTHONPATH": library}
    if started_in is not None:
        environment[runs.STARTED_IN] = numbers.get(started_in, "")
    other, own = (subprocess.Popen(["sleep", "60"], env={"SLURM_JOB_ID": number}) for number in numbers.values())
    asking = "from consilience.runs import end_own_cluster_job as end; end(); print('spared')"
    try:
        asked = subprocess.run([sys.executable, "-c", asking], env=environment, capture_output=True, text=True, cwd="/")
        assert asked.stdout == "spared\n", asked.stderr
        assert other.poll() is None
        if killed:
            assert own.wait(10) == -signal.SIGKILL
        else:
            assert own.poll() is None
    finally:
        for process in (own, other):
            process.kill()
            process.wait()
