"""A study on SLURM: which jobs are submitted, where they go and what they ask for, and that results are those of one machine."""

import re
import shutil

import pytest
from commands import megabytes, minutes
from run_on_cluster import digests, on_cluster, run_id
from run_workflow import snakemake

pytestmark = pytest.mark.workflow
# What only draws or tells, in one job.
CONCLUSIONS = ("linear_figures", "overlap", "recovery", "toy_consensus_figures", "training_figures")
# By rule or group: how many jobs; partition and GPUs; CPUs; megabytes; minutes.
EXPECTED = {
    "toy_preparation_prepare_simulate_split": (1, "compute", 0, 2, 3000, 30 + 240 + 10),
    "encode": (1, "accelerated", 1, 1, 3000, 240),
    "train": (4, "accelerated", 1, 1, 3000, 240),
    "toy_attribute": (3, "accelerated", 1, 1, 3000, 240),
    "toy_faithfulness": (3, "accelerated", 1, 1, 3000, 240),
    "linear": (1, "compute", 0, 1, 2500, 120),
    "toy_variable": (1, "compute", 0, 1, 1000, 30),
    "toy_consensus": (1, "compute", 0, 1, 1000, 30),
    "_".join(("toy_conclusions", *CONCLUSIONS)): (1, "compute", 0, 5, 5 * 1000, 30),
    "page": (1, "compute", 0, 1, 1500, 30),
    "report": (1, "compute", 0, 1, 1500, 10),
}


def gpus(job):
    """How many GPUs SLURM gave a job."""
    return int(re.sub(r"^gres:gpu:", "", job.get("TresPerJob", "0")))


def test_a_study_is_few_jobs(study):
    names = [job["Rule"] for job in study[1]]
    assert {name: names.count(name) for name in names} == {name: count for name, (count, *_) in EXPECTED.items()}
    assert {job["JobState"] for job in study[1]} == {"COMPLETED"}


def test_every_job_goes_where_it_belongs_with_what_it_needs(study):
    asked = {
        (job["Rule"], job["Partition"], gpus(job), int(job["NumCPUs"]), minutes(job["TimeLimit"])) for job in study[1]
    }
    expected = {
        (name, partition, count, cpus, limit) for name, (_, partition, count, cpus, _, limit) in EXPECTED.items()
    }
    assert asked == expected


def test_more_threads_are_not_for_what_only_draws(clone):
    """Jobs of a group run side by side: it asks for the CPUs of all of them, which one node has to have."""
    settings = clone / "settings.yaml"
    settings.write_text("threads: 8\n")
    with (clone / "Snakefile").open("a") as file:
        file.write('for rule in workflow.rules:\n    print("THREADS", rule.name, rule.resources["_cores"].value)\n')
    words = ("--list-rules", "--configfile", settings)
    run = snakemake(clone / "run", *words, workflow=clone, names=("toy",), check=True)
    threads = dict(re.findall(r"^THREADS (\w+) (\d+)$", run.stdout, re.MULTILINE))
    assert {name: threads[name] for name in CONCLUSIONS} == dict.fromkeys(CONCLUSIONS, "1")
    assert {threads[name] for name in ("train", "linear", "toy_attribute")} == {"8"}


def test_memory_is_what_the_rule_says_and_a_little_for_its_input(study):
    for job in study[1]:
        base = EXPECTED[job["Rule"]][4]
        assert base <= megabytes(job["MinMemoryNode"]) <= base + 10, job["Rule"]


def test_every_job_may_be_started_again_when_its_node_fails(study):
    assert {job["Requeue"] for job in study[1]} == {"1"}


def test_results_have_the_bytes_of_one_machine(study, finished):
    expected, found = (digests(folder / "results" / "toy") for folder in (finished[0], study[0]))
    assert any(path.endswith(".png") for path in expected)
    assert [path for path in expected if expected[path] != found.get(path)] == []
    assert set(expected) == set(found)


def test_a_second_run_submits_nothing(study, cluster, site_profile):
    before = len(cluster.jobs())
    run = on_cluster(cluster, site_profile, study[0], check=True)
    assert "Nothing to be done" in run.stdout
    assert len(cluster.jobs()) == before


def test_a_study_on_cpus_asks_for_no_gpu(study, cluster, site_profile, tmp_path):
    copy = shutil.copytree(study[0], tmp_path / "run", symlinks=True)
    settings = tmp_path / "settings.yaml"
    settings.write_text("device: cpu\n")
    run = on_cluster(
        cluster, site_profile, copy, "--configfile", settings, "--until", "encode", "results/toy/encoded.h5", check=True
    )
    (job,) = cluster.jobs(run_id(run.stdout))
    assert (job["Rule"], job["Partition"], gpus(job)) == ("encode", "compute", 0)
    assert digests(copy / "results")["toy/encoded.h5"] == digests(study[0] / "results")["toy/encoded.h5"]
