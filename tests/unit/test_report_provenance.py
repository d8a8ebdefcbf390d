"""Where results come from, held against git, importlib and the files themselves."""

import json
import platform
import subprocess
from importlib.metadata import version

import h5py
import pytest
import yaml

import consilience
from consilience.report.pages import write_run
from consilience.report.provenance import DECISIVE, commit_of, inputs_of, measured, portable, settings_text, versions

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
LONG = "24.3649\t0:00:24\t203.68\t1471.91\t141.12\t147.67\t0.00\t0.68\t15.35\t3.84\n"
SHORT = "0.0412\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA\n"
DASHED = "0.5\t0:00:00\t-\t-\t-\t-\t0.00\t0.00\t0.00\t0.01\n"


def test_versions_are_those_installed():
    found = versions()
    assert {name: found["decisive"][name] for name in DECISIVE} == {name: version(name) for name in DECISIVE}
    assert found["decisive"]["consilience"] == consilience.__version__
    assert found["decisive"]["Python"] == platform.python_version()
    assert found["others"]["pytest"] == version("pytest")
    assert all(version(name) == number for name, number in found["others"].items())
    assert list(found["others"]) == sorted(found["others"])
    assert not found["others"].keys() & found["decisive"].keys()


def test_an_installation_without_a_name_is_passed_over(tmp_path, monkeypatch):
    expected = versions()
    (tmp_path / "broken-1.0.dist-info").mkdir()
    (tmp_path / "worse-1.0.dist-info").mkdir()
    (tmp_path / "worse-1.0.dist-info" / "METADATA").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert versions() == expected


def test_inputs_are_what_the_dataset_says(tmp_path):
    attributes = {"source": "a b.h5", "source_sha256": "ab" * 32, "task": "regression", "target": "β", "unit": "log"}
    with h5py.File(tmp_path / "dataset.h5", "w") as file:
        file.attrs.update(attributes | {"version": 3})
    assert inputs_of(tmp_path / "dataset.h5") == attributes


def test_settings_are_read_back_in_their_order():
    settings = {"target": "β-catenin", "models": {"b": {"hidden": [8]}, "a": None}, "rate": 1e-5, "seed": 3}
    text = settings_text(settings)
    assert yaml.safe_load(text) == settings
    assert text.startswith("target: β-catenin\nmodels:\n")


def test_every_job_is_told_with_its_time_and_memory(tmp_path):
    files = {"mine/train/wide": LONG, "mine/overlap": SHORT, "mine/figures": DASHED, "other/train/deep": LONG}
    for name, row in files.items():
        path = tmp_path / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + row)
    (tmp_path / "summary.tsv").write_text(HEADER + LONG)
    found = measured(tmp_path, {"mine": ["wide"], "other": ["deep"], "none": []})
    long = {"seconds": 24.36, "cpu_seconds": 3.84, "megabytes": 203.68}
    assert found == {
        "mine": [
            {"job": "figures", "seconds": 0.5, "cpu_seconds": 0.01, "megabytes": None},
            {"job": "overlap", "seconds": 0.04, "cpu_seconds": None, "megabytes": None},
            {"job": "train wide"} | long,
        ],
        "other": [{"job": "train deep"} | long],
        "none": [],
    }


def test_of_a_job_that_was_tried_again_the_last_time_counts(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "split.tsv").write_text(HEADER + DASHED + LONG)
    assert measured(tmp_path, {"mine": []})["mine"][0]["seconds"] == 24.36


def test_models_that_a_study_no_longer_has_do_not_count(tmp_path):
    for job in ("train/wide", "train/removed", "attribute/removed", "faithfulness/wide", "linear", "pairs/sample"):
        path = tmp_path / "mine" / f"{job}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + LONG)
    found = [one["job"] for one in measured(tmp_path, {"mine": ["wide"]})["mine"]]
    assert found == ["faithfulness wide", "linear", "pairs sample", "train wide"]


@pytest.mark.parametrize("content", ["", HEADER, "\n", "s\n1\n", HEADER.replace("max_rss", "rss") + LONG])
def test_a_file_that_was_cut_off_is_passed_over(tmp_path, content):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "split.tsv").write_text(content)
    (tmp_path / "mine" / "linear.tsv").write_text(HEADER + LONG)
    assert [one["job"] for one in measured(tmp_path, {"mine": []})["mine"]] == ["linear"]


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_what_is_no_number_is_told_as_not_measured(tmp_path, number):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "split.tsv").write_text(HEADER + LONG.replace("203.68", number))
    found = measured(tmp_path, {"mine": []})
    write_run(tmp_path / "run.js", {"jobs": found})
    assert found["mine"][0]["megabytes"] is None
    assert json.dumps(found["mine"][0]) in json.dumps(found, allow_nan=False)


def test_settings_name_no_folder_of_this_machine(tmp_path):
    inner = str(tmp_path / "data" / "a.csv")
    settings = {"source": {"path": inner, "more": ["/elsewhere/b.csv", "c/d"]}, "seed": 3, "unit": "m/s"}
    expected = {"source": {"path": "data/a.csv", "more": ["b.csv", "c/d"]}, "seed": 3, "unit": "m/s"}
    assert portable(settings, tmp_path) == expected
    assert settings["source"]["path"] == inner
    (tmp_path / "linked").symlink_to(tmp_path)
    assert portable(settings, tmp_path / "linked") == expected


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository" / "inner"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text("a = 1\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    for words in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "--message", "first"]):
        subprocess.run(["git", "-C", folder, *words], check=True)
    return folder


def test_the_commit_is_gits_and_changed_files_are_told(repository):
    # The branch's file, which git itself reads.
    (branch,) = (repository.parents[0] / "inner" / ".git" / "refs" / "heads").iterdir()
    commit = branch.read_text().strip()
    assert commit_of(repository) == {"commit": commit, "changed": False}
    (repository / "new.txt").write_text("of no commit")
    assert commit_of(repository) == {"commit": commit, "changed": False}
    (repository / "a.py").write_text("a = 2\n")
    assert commit_of(repository) == {"commit": commit, "changed": True}


def test_outside_a_repository_and_without_git_nothing_is_told(tmp_path, repository, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_of(tmp_path) == {}
    assert commit_of(tmp_path / "nowhere") == {}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(repository) == {}


def test_a_copy_in_somebody_elses_repository_is_not_of_its_commit(repository):
    copy = repository / "site-packages" / "consilience"
    copy.mkdir(parents=True)
    (copy / "__init__.py").write_text("")
    assert commit_of(copy) == {}
    assert commit_of(repository)["changed"] is False
