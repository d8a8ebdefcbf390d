"""What is killed, or finds the disk full, is finished by the next run, to the bytes of an undisturbed one."""

import os
import pty
import shutil
import signal
import subprocess
import termios
import threading
from contextlib import suppress

import pytest
from disturbed import (
    CONTINUED,
    DRIVERS,
    LEFT_BEHIND,
    MODELS,
    NAME,
    assert_whole,
    first_checkpoint,
    log_of,
    untrained,
)
from run_workflow import command, snakemake

from tests.processes import alive, at_work, wait

pytestmark = pytest.mark.workflow
OUTPUTS = ("ensemble.safetensors", "members.tsv", "history.tsv", "predictions.tsv", "metrics.json")


def start(directory, studies, output=None, **options):
    """Start Snakemake as a process of its own, which keeps checkpoints as often as it may."""
    words = [*command(directory, DRIVERS, studies=studies), "checkpoint_seconds=0"]
    with open(directory / "terminal.txt", "w") as terminal:
        return subprocess.Popen(words, stdout=output or terminal, stderr=subprocess.STDOUT, **options)


def finish(directory, studies, undisturbed):
    """Run again, and hold what comes out against the undisturbed run."""
    snakemake(directory, DRIVERS, studies=studies, check=True)
    assert (directory / DRIVERS).is_file()
    assert_whole(directory, undisturbed)
    assert not [path for path in directory.glob("checkpoints/**/*") if path.is_file()]
    assert "Nothing to be done" in snakemake(directory, DRIVERS, studies=studies, check=True).stdout


def test_a_killed_training_goes_on_from_its_checkpoint(studies, undisturbed, tmp_path):
    directory = untrained(undisturbed, tmp_path / "run")
    run = start(directory, studies)
    model = first_checkpoint(directory)
    (process,) = at_work(log_of(directory, model))
    os.kill(process, signal.SIGKILL)
    assert run.wait() != 0
    assert not [name for name in OUTPUTS if (directory / MODELS / model / name).exists()]
    assert_whole(directory, undisturbed)
    finish(directory, studies, undisturbed)
    assert CONTINUED in log_of(directory, model).read_text()


def interruptible():
    """Let a process be interrupted, though tests run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(params=["file", "terminal"])
def output(request, tmp_path):
    """What Snakemake writes to, and all it has written, as a function."""
    if request.param == "file":
        with open(tmp_path / "output.txt", "w+") as file:
            yield file, lambda: (tmp_path / "output.txt").read_text()
        return
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 120))
    text = []

    def read():
        with suppress(OSError):  # nobody writes any longer
            while part := os.read(master, 2**16):
                text.append(part)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()

    def written():
        os.close(slave)
        reader.join()
        return b"".join(text).decode().replace("\r\n", "\n")

    yield slave, written
    os.close(master)


def test_an_interrupted_run_says_so_in_a_line_a_job_and_goes_on(studies, undisturbed, tmp_path, output):
    directory, (stream, written) = untrained(undisturbed, tmp_path / "run"), output
    run = start(directory, studies, stream, start_new_session=True, preexec_fn=interruptible)
    model = first_checkpoint(directory)
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait() != 0
    text = written()
    line = f"Interrupted in train (study {NAME}, model {model}); the next run goes on from its last checkpoint; log: "
    assert text.count(f"{line}{log_of(directory, model).relative_to(directory)}\n") == 1
    assert [word for word in ("Traceback", "Exception", "CalledProcessError", "Error in") if word in text] == []
    finish(directory, studies, undisturbed)
    assert CONTINUED in log_of(directory, model).read_text()


def test_what_a_killed_snakemake_leaves_behind_writes_nothing_later(studies, undisturbed, tmp_path):
    """Its jobs are held up, and let go when the study is finished."""
    directory = untrained(undisturbed, tmp_path / "run")
    run = start(directory, studies)
    model = first_checkpoint(directory)
    run.kill()
    run.wait()
    orphans = at_work(log_of(directory, model))
    assert orphans
    for process in orphans:
        os.kill(process, signal.SIGSTOP)
    try:
        assert_whole(directory, undisturbed)
        refused = snakemake(directory, studies=studies)
        assert refused.returncode != 0
        assert "unlock" in refused.stdout
        snakemake(directory, "--unlock", studies=studies, check=True)
        finish(directory, studies, undisturbed)
        written = {path: path.stat().st_mtime_ns for path in (directory / "results").rglob("*")}
    finally:
        for process in orphans:
            os.kill(process, signal.SIGCONT)
    wait(lambda: not any(map(alive, orphans)), "what was left behind to end")
    assert CONTINUED in log_of(directory, model).read_text()
    assert LEFT_BEHIND in (directory / "terminal.txt").read_text()
    assert {path: path.stat().st_mtime_ns for path in (directory / "results").rglob("*")} == written


def test_what_waited_in_a_queue_for_a_killed_snakemake_makes_no_room_for_itself(studies, undisturbed, tmp_path):
    """Snakemake in a job removes what lies there before its script is asked: it must not come so far."""
    directory = shutil.copytree(undisturbed, tmp_path / "run", symlinks=True)
    words = [
        "--mode",
        "remote",
        "--force",
        "--nolock",
        "--executor",
        "local",
        "--target-jobs",
        f"simulate:study={NAME}",
    ]
    raw = directory / f"results/{NAME}/raw"
    before = raw.stat().st_ino
    queued = snakemake(directory, *words, studies=studies, environment={**os.environ, "CONSILIENCE_RUN": "1"})
    assert queued.returncode != 0
    assert LEFT_BEHIND in queued.stdout
    assert raw.stat().st_ino == before
    latest = (directory / ".snakemake/consilience_run").read_text()
    snakemake(directory, *words, studies=studies, environment={**os.environ, "CONSILIENCE_RUN": latest}, check=True)
    assert raw.stat().st_ino != before


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
    assert_whole(directory, undisturbed)
    (directory / "filler").unlink()
    snakemake(directory, studies=studies, check=True)
    assert_whole(directory, undisturbed, complete=True)
