"""Jobs, nodes and Snakemake itself are killed on a cluster: what comes out has the bytes of an undisturbed run."""

import os
import signal

import pytest
from disturbed import (
    CONTINUED,
    DRIVERS,
    LEFT_BEHIND,
    alive,
    assert_whole,
    at_work,
    first_checkpoint,
    log_of,
    untrained,
    wait_for,
)
from run_on_cluster import on_cluster, run_id, start_on_cluster

pytestmark = pytest.mark.workflow


@pytest.fixture
def often(studies):
    """Options for a run of the study that keeps checkpoints as often as it may."""
    settings = studies / "often" / "config.yaml"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text("checkpoint_seconds: 0\n")
    return ["--configfile", settings], {"names": (), "studies": studies}


def output(directory):
    return (directory / "snakemake.out").read_text()


def test_a_killed_training_and_a_failed_node_are_made_good_in_the_same_run(
    cluster, site_profile, often, undisturbed, tmp_path
):
    directory, (words, options) = untrained(undisturbed, tmp_path / "run"), often
    run = start_on_cluster(cluster, site_profile, directory, DRIVERS, *words, **options)
    try:
        model = first_checkpoint(directory)
        log = log_of(directory, model)
        (process,) = at_work(log)
        os.kill(process, signal.SIGKILL)
        wait_for("the job to be tried again", lambda: log.exists() and CONTINUED in log.read_text())
        assert_whole(directory, undisturbed)
        cluster.kill_slurmd("fast")
        cluster.start_slurmd("fast")
        assert run.wait(300) == 0, output(directory)[-6000:]
    finally:
        run.kill()
        cluster.cancel()
    cluster.wait_for_nodes()
    jobs = cluster.jobs(run_id(output(directory)))
    trained = [job for job in jobs if job["Rule"] == "train" and job["Comment"].endswith(model)]
    assert trained[0]["JobState"] == "FAILED"
    assert trained[-1]["JobState"] == "COMPLETED"
    fallen = [job for job in jobs if job["JobState"] == "NODE_FAIL" or job["Restarts"] != "0"]
    assert {job["Partition"] for job in fallen} == {"accelerated"}
    assert CONTINUED in log.read_text()
    assert_whole(directory, undisturbed)


def test_a_killed_snakemake_leaves_jobs_that_write_nothing_once_they_are_started_again(
    cluster, site_profile, often, undisturbed, tmp_path
):
    directory, (words, options) = untrained(undisturbed, tmp_path / "run"), often
    run = start_on_cluster(cluster, site_profile, directory, DRIVERS, *words, **options)
    model = first_checkpoint(directory)
    run.kill()
    run.wait()
    (orphan,) = at_work(log_of(directory, model))
    os.kill(orphan, signal.SIGSTOP)
    try:
        on_cluster(cluster, site_profile, directory, "--unlock", check=True, **options)
        again = on_cluster(cluster, site_profile, directory, DRIVERS, *words, check=True, **options)
        assert_whole(directory, undisturbed)
        written = {path: path.stat().st_mtime_ns for path in (directory / "results").rglob("*")}
    finally:
        os.kill(orphan, signal.SIGCONT)
        wait_for("what was left behind to end", lambda: not alive(orphan))
        cluster.cancel()
    assert CONTINUED in log_of(directory, model).read_text()
    assert {path: path.stat().st_mtime_ns for path in (directory / "results").rglob("*")} == written
    (left,) = [
        job
        for job in cluster.jobs(run_id(output(directory)))
        if job["Rule"] == "train" and job["Comment"].endswith(model)
    ]
    assert left["JobState"] in ("FAILED", "CANCELLED")
    told = list((directory / ".snakemake" / "slurm_logs").rglob(f"{left['JobId']}.log"))
    assert LEFT_BEHIND in told[0].read_text()
    assert run_id(again.stdout) != left["JobName"]
