"""Jobs, nodes and Snakemake itself are killed on a cluster: what comes out has the bytes of an undisturbed run."""

import os
import signal

import pytest
from disturbed import (
    CONTINUED,
    DRIVERS,
    LEFT_BEHIND,
    assert_whole,
    first_checkpoint,
    log_of,
    untrained,
)
from run_on_cluster import on_cluster, run_id, start_on_cluster

from tests.processes import alive, at_work, wait

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
    """The node's daemon is killed and started again, which no job notices; a training is; then the whole node."""
    directory, (words, options) = untrained(undisturbed, tmp_path / "run"), often
    run = start_on_cluster(cluster, site_profile, directory, DRIVERS, *words, **options)
    try:
        model = first_checkpoint(directory)
        log = log_of(directory, model)
        (process,) = at_work(log)
        cluster.kill_slurmd("fast", jobs=False)
        cluster.start_slurmd("fast")
        assert at_work(log) == [process]
        os.kill(process, signal.SIGKILL)
        wait(lambda: log.exists() and CONTINUED in log.read_text(), "the job to be tried again")
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
    moved = [job for job in jobs if job["Restarts"] != "0"]
    assert {job["Partition"] for job in moved} == {"accelerated"}
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
        wait(lambda: not alive(orphan), "what was left behind to end")
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
