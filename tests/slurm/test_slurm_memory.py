"""A job that SLURM stops for memory is tried again with more, and leaves what an undisturbed one does."""

import shutil

import pytest
from commands import megabytes, minutes
from run_on_cluster import digests, on_cluster, run_id

pytestmark = pytest.mark.workflow
ATTRIBUTIONS = "results/toy/attributions/narrow"
TOO_LITTLE = 350  # megabytes: less than Snakemake and torch hold, and twice as much is more


def test_a_job_stopped_for_memory_is_tried_again_with_more(study, cluster, site_profile, tmp_path):
    copy = shutil.copytree(study[0], tmp_path / "run", symlinks=True)
    shutil.rmtree(copy / ATTRIBUTIONS)
    memory = f"toy_attribute:mem_mb=attempt*{TOO_LITTLE}"
    run = on_cluster(cluster, site_profile, copy, f"{ATTRIBUTIONS}/saliency.h5", "--set-resources", memory, check=True)
    first, second, *more = cluster.jobs(run_id(run.stdout))
    assert more == []
    assert (first["Rule"], second["Rule"]) == ("toy_attribute", "toy_attribute")
    assert (first["JobState"], second["JobState"]) == ("FAILED", "COMPLETED")
    # Without cgroups SLURM has no OUT_OF_MEMORY; the node says why it ended the job.
    assert f"StepId={first['JobId']}.0 exceeded memory limit" in cluster.log(first["BatchHost"])
    assert f"StepId={second['JobId']}.0 exceeded" not in cluster.log(second["BatchHost"])
    assert [megabytes(job["MinMemoryNode"]) for job in (first, second)] == [TOO_LITTLE, 2 * TOO_LITTLE]
    assert minutes(second["TimeLimit"]) == 2 * minutes(first["TimeLimit"])
    assert digests(copy / ATTRIBUTIONS) == digests(study[0] / ATTRIBUTIONS)
