"""Why a job failed on another node is told on the terminal that Snakemake runs in: once, and without its trace."""

import shutil

import pytest
import yaml
from run_on_cluster import on_cluster
from run_workflow import DOMAINS, STUDIES

REASON = "panels.npz: row 3: 17; expected 0 or 1"
BODY = f"from consilience.errors import ConsilienceError\ndef prepare(*given): raise ConsilienceError('{REASON}')\n"
CONTENT = yaml.safe_load((STUDIES / "toy_two_classes.yaml").read_text())


@pytest.mark.parametrize("source", ["a job", "a group of jobs"])
def test_a_job_that_fails_on_a_node_is_told_by_its_reason_and_its_log(cluster, site_profile, tmp_path, source):
    """Raw data that are simulated are prepared in one job of SLURM's with what simulates them."""
    folder, studies = tmp_path / "domains" / "broken", tmp_path / "studies"
    shutil.copytree(DOMAINS / "toy", folder)
    (folder / "rules.smk").unlink()
    (folder / "prepare.py").write_text(BODY)
    studies.mkdir()
    (studies / "panels").mkdir()
    kind = {"kind": "folder", "path": "panels"} if source == "a job" else {"kind": "simulate"}
    (studies / "mine.yaml").write_text(yaml.safe_dump({**CONTENT, "domain": "broken", "source": kind}))
    run = on_cluster(
        cluster, site_profile, tmp_path / "run", "--retries", "0", "results/mine/split.tsv",
        names=("mine",), studies=studies, domains=folder.parent,
    )  # fmt: skip
    assert run.returncode
    assert run.stdout.count(f"Error in prepare (study mine): {REASON}; log: logs/mine/prepare.log\n") == 1
    assert run.stdout.count(REASON) == 1
    assert [word for word in ("Traceback", "RuleException", "Error in rule", "Logfile") if word in run.stdout] == []
