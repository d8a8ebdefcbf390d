"""A study that trains for seconds, so that it can be met at work, and what a disturbed run of it is held against."""

import shutil

import pytest
import yaml
from run_workflow import STUDIES, snakemake

from tests.processes import wait

NAME = "steady"
MODELS = f"results/{NAME}/models"
# What training decides; figures are drawn from it.
DRIVERS = f"results/{NAME}/drivers.csv"
OF_A_RUN = ("run.js",)  # what the report tells of times and memory
CONTINUED = "continues from checkpoints"
LEFT_BEHIND = "a later run of the workflow has begun in this folder"


@pytest.fixture(scope="session")
def studies(tmp_path_factory):
    """The folder with the study's file."""
    study = yaml.safe_load((STUDIES / "toy.yaml").read_text())
    study["models"] = {name: study["models"][name] for name in ("perceptron", "recurrent")}
    study["attribution"] |= {"methods": ["gradient_x_input"], "primary": "gradient_x_input"}
    study["training"] |= {"epochs": 400, "patience": 400}
    folder = tmp_path_factory.mktemp("studies")
    (folder / f"{NAME}.yaml").write_text(yaml.safe_dump(study))
    return folder


@pytest.fixture(scope="session")
def undisturbed(studies, tmp_path_factory):
    """The folder of a run that nothing happens to; it keeps no checkpoint."""
    directory = tmp_path_factory.mktemp("undisturbed")
    snakemake(directory, studies=studies, check=True)
    assert not list(directory.rglob("checkpoints"))
    return directory


def untrained(undisturbed, directory):
    """A copy of the run as it was before training."""
    shutil.copytree(undisturbed, directory, symlinks=True, dirs_exist_ok=True)
    for path in (directory / f"results/{NAME}").iterdir():
        if path.is_dir() and path.name != "raw":
            shutil.rmtree(path)
        elif path.suffix in (".csv", ".png"):
            path.unlink()
    return directory


def log_of(directory, model):
    """The log of a model's training."""
    return directory / f"logs/{NAME}/train/{model}.log"


def first_checkpoint(directory):
    """The model that is the first to keep a checkpoint, as soon as it does."""
    folder = directory / f"checkpoints/{NAME}/train"
    return wait(lambda: list(folder.glob("[!.]*.safetensors")), "a checkpoint")[0].stem


def assert_whole(directory, undisturbed, complete=False):
    """Every result has the bytes it has after an undisturbed run, and there is nothing else that could be read.

    With `complete` none is missing, and no checkpoint is left.
    """
    expected, found = (
        {path.relative_to(folder): path for path in (folder / "results").rglob("*") if path.is_file()}
        for folder in (undisturbed, directory)
    )
    visible = {path for path in found if not any(part.startswith(".") for part in path.parts)}
    assert visible <= set(expected)
    compared = {path for path in visible if path.name not in OF_A_RUN}
    assert {str(path) for path in compared if found[path].read_bytes() != expected[path].read_bytes()} == set()
    if complete:
        assert set(found) == set(expected)
        assert [path for path in directory.glob("checkpoints/**/*") if path.is_file()] == []
