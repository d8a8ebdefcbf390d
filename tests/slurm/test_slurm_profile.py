"""The cluster profile: Snakemake knows every line of it, and only names are a site's."""

import shutil

import pytest
import yaml
from run_on_cluster import PROFILE
from run_workflow import ROOT, jobs, snakemake

DEFAULT = ROOT / "profiles" / "default"


def test_snakemake_takes_every_line(tmp_path):
    run = snakemake(tmp_path, "--workflow-profile", PROFILE, "--dry-run", cores=None, names=("toy",), check=True)
    assert jobs(run.stdout)["train"] == 4


def test_a_line_that_snakemake_does_not_know_is_refused(tmp_path):
    profile = shutil.copytree(PROFILE, tmp_path / "slurm")
    with (profile / "config.yaml").open("a") as file:
        file.write("slurm-reqeue: true\n")
    run = snakemake(tmp_path, "--workflow-profile", profile, "--dry-run", cores=None, names=("toy",))
    assert run.returncode
    assert "slurm-reqeue" in run.stdout


def test_it_keeps_what_the_default_profile_sets():
    # --workflow-profile replaces the default profile.
    ours, default = (yaml.safe_load((folder / "config.yaml").read_text()) for folder in (PROFILE, DEFAULT))
    assert {key: ours.get(key) for key in default} == default


def test_a_site_edits_the_names_of_partitions_and_the_account():
    marked = [
        line.split(":")[0].strip("# ")
        for name in ("config.yaml", "partitions.yaml")
        for line in (PROFILE / name).read_text().splitlines()
        if "# SITE:" in line
    ]
    assert marked == ["slurm_account", "cpu", "gpu"]


@pytest.mark.parametrize("name", ["config.yaml", "partitions.yaml"])
def test_every_line_says_why(name):
    lines = (PROFILE / name).read_text().splitlines()
    # What opens a block is explained by what it holds.
    assert [line for line in lines if "#" not in line and not line.endswith(":")] == []
