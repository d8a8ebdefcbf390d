"""What is killed, or finds the disk full, is finished by the next run, to the bytes of an undisturbed one."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from run_workflow import STUDIES, command, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("faults")]
NAME = "steady"
MODELS = f"results/{NAME}/models"
CHECKPOINTS = f"checkpoints/{NAME}/train"
OUTPUTS = ("ensemble.safetensors", "members.tsv", "history.tsv", "predictions.tsv", "metrics.json")
CONTINUED = "continues from checkpoints"
PATIENCE = 120  # seconds that anything is waited for


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """A study that trains for seconds, so that it can be met at work."""
    study = yaml.safe_load((STUDIES / "toy.yaml").read_text())
    study["models"] = {name: study["models"][name] for name in ("perceptron", "recurrent")}
    study["attribution"] |= {"methods": ["gradient_x_input"], "primary": "gradient_x_input"}
    study["training"] |= {"epochs": 400, "patience": 400}
    folder = tmp_path_factory.mktemp("studies")
    (folder / f"{NAME}.yaml").write_text(yaml.safe_dump(study))
    return folder


@pytest.fixture(scope="module")
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


def start(directory, studies):
    """Start Snakemake as a process of its own, which keeps checkpoints as often as it may."""
    words = [*command(directory, studies=studies), "checkpoint_seconds=0"]
    with open(directory / "terminal.txt", "w") as terminal:
        return subprocess.Popen(words, stdout=terminal, stderr=subprocess.STDOUT)


def wait_for(what, condition):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited {PATIENCE} s for {what}")


def at_work(directory, script):
    """The processes of `directory` that run a script of the workflow; empty where there are none."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
            here = (process / "cwd").resolve() == directory.resolve()
        except (OSError, UnicodeDecodeError):
            continue
        if here and process.name.isdigit() and any(word.endswith(f".{script}.py") for word in words[:3]):
            found.append(int(process.name))
    return found


def first_checkpoint(directory):
    """The training process of the model that is the first to keep a checkpoint, and that model's name."""
    kept = wait_for("a checkpoint", lambda: list((directory / CHECKPOINTS).glob("[!.]*.safetensors")))
    return kept[0].stem


def killed_with(directory, model):
    """Kill the process that trains the model; only its log is open in it."""
    log = (directory / f"logs/{NAME}/train/{model}.log").resolve()
    for process in at_work(directory, "train"):
        opened = [link.resolve() for link in Path(f"/proc/{process}/fd").iterdir()]
        if log in opened:
            os.kill(process, signal.SIGKILL)
            return
    raise AssertionError(f"no process trains {model}")


def assert_whole(directory, undisturbed, complete=True):
    """Every result has the bytes it has after an undisturbed run, and there is nothing else that could be read."""
    results = {path.relative_to(directory): path for path in (directory / "results").rglob("*") if path.is_file()}
    expected = {path.relative_to(undisturbed): path for path in (undisturbed / "results").rglob("*") if path.is_file()}
    visible = {path for path in results if not any(part.startswith(".") for part in path.parts)}
    assert visible <= set(expected)
    assert {str(path) for path in visible if results[path].read_bytes() != expected[path].read_bytes()} == set()
    if complete:
        assert set(results) == set(expected)


def finish(directory, studies, undisturbed):
    """Run again, and hold what comes out against the undisturbed run."""
    snakemake(directory, studies=studies, check=True)
    assert_whole(directory, undisturbed)
    assert [path for path in directory.glob("checkpoints/**/*") if path.is_file()] == []
    assert "Nothing to be done" in snakemake(directory, studies=studies, check=True).stdout


def test_a_killed_training_goes_on_from_its_checkpoint(studies, undisturbed, tmp_path):
    directory = untrained(undisturbed, tmp_path / "run")
    run = start(directory, studies)
    model = first_checkpoint(directory)
    killed_with(directory, model)
    assert run.wait() != 0
    assert not [name for name in OUTPUTS if (directory / MODELS / model / name).exists()]
    assert_whole(directory, undisturbed, complete=False)
    finish(directory, studies, undisturbed)
    assert CONTINUED in (directory / f"logs/{NAME}/train/{model}.log").read_text()


def test_a_killed_snakemake_leaves_nothing_that_a_later_run_takes_for_whole(studies, undisturbed, tmp_path):
    """What it leaves behind is held up, works on when the study is finished, and is not let write."""
    directory = untrained(undisturbed, tmp_path / "run")
    run = start(directory, studies)
    model = first_checkpoint(directory)
    run.kill()
    run.wait()
    orphans = at_work(directory, "train")
    assert orphans
    for process in orphans:
        os.kill(process, signal.SIGSTOP)
    try:
        assert_whole(directory, undisturbed, complete=False)
        refused = snakemake(directory, studies=studies)
        assert refused.returncode != 0
        assert "unlock" in refused.stdout
        snakemake(directory, "--unlock", studies=studies, check=True)
        finish(directory, studies, undisturbed)
        written = {path: path.stat().st_mtime_ns for path in (directory / "results").rglob("*")}
    finally:
        for process in orphans:
            os.kill(process, signal.SIGCONT)
    wait_for("what was left behind to end", lambda: not at_work(directory, "train"))
    assert CONTINUED in (directory / f"logs/{NAME}/train/{model}.log").read_text()
    assert "a later run of the workflow has started this job" in (directory / "terminal.txt").read_text()
    assert {path: path.stat().st_mtime_ns for path in (directory / "results").rglob("*")} == written


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of 64 MB, which only root may mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_told_of_and_the_run_goes_on_when_there_is_room(studies, undisturbed, small_disk):
    directory = untrained(undisturbed, small_disk)
    left = 600_000  # bytes: enough for Snakemake's own notes, but not for all results
    free = shutil.disk_usage(directory).free
    with open(directory / "filler", "wb") as filler:
        filler.write(bytes(free - left))
    run = snakemake(directory, "--keep-going", studies=studies)
    assert run.returncode != 0
    assert "no space left on the disk" in run.stdout
    assert "nothing half-written is kept" in run.stdout
    assert_whole(directory, undisturbed, complete=False)
    (directory / "filler").unlink()
    finish(directory, studies, undisturbed)
