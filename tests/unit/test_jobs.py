import logging
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import consilience
from consilience.errors import ConsilienceError
from consilience.files import read_json, write_json
from consilience.jobs import job

LEFT_BEHIND = "a later run of the workflow has started this job"


class Params(SimpleNamespace):
    def get(self, name, default=None):
        return getattr(self, name, default)


@pytest.fixture
def snakemake(tmp_path, monkeypatch):
    monkeypatch.setenv("CONSILIENCE_LIBRARY", str(Path(consilience.__file__).parent))
    yield SimpleNamespace(
        log=[str(tmp_path / "logs" / "study" / "train.log")],
        params=Params(seed=7, device="cpu", threads=1),
        rule="train",
        wildcards={"study": "mine", "model": "mlp_8"},
    )
    for handler in logging.getLogger().handlers[:]:
        if isinstance(handler, logging.FileHandler):
            logging.getLogger().removeHandler(handler)
            handler.close()
    logging.captureWarnings(False)


def test_the_log_opens_with_seed_device_and_versions_and_ends_with_the_result(snakemake):
    with job(snakemake) as log:
        log.info("test r2 0.5")
    lines = Path(snakemake.log[0]).read_text().splitlines()
    assert "train: seed 7, device cpu, threads 1, Python" in lines[0]
    assert f"numpy {np.__version__}" in lines[0]
    assert lines[-1].endswith("test r2 0.5")


def test_an_error_for_people_is_one_line_and_its_trace_goes_to_the_log(snakemake, capsys):
    with pytest.raises(SystemExit) as stopped, job(snakemake):
        raise ConsilienceError("counts.h5: no gene 'IRF2BP'")
    assert stopped.value.code == 1
    assert capsys.readouterr().err == "Error in train (study mine, model mlp_8): counts.h5: no gene 'IRF2BP'\n"
    assert "Traceback" in Path(snakemake.log[0]).read_text()


def test_notes_follow_the_line(snakemake, capsys):
    error = ConsilienceError("no sample passes")
    error.add_note("step  samples")
    with pytest.raises(SystemExit), job(snakemake):
        raise error
    assert capsys.readouterr().err == "Error in train (study mine, model mlp_8): no sample passes\nstep  samples\n"


def test_an_unexpected_error_names_the_log(snakemake, capsys):
    with pytest.raises(SystemExit), job(snakemake):
        raise KeyError("member")
    assert capsys.readouterr().err.startswith(
        "Error in train (study mine, model mlp_8): KeyError: 'member' (a fault of the workflow; see "
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "No space left on device", "drivers.csv"), "no space left on the disk for drivers.csv; nothing"),
        (
            RuntimeError("Can't decrement id ref count (errno = 28, error message = 'No space left on device')"),
            "no space",
        ),
        (OSError(122, "Disk quota exceeded"), "no space left on the disk; nothing half-written is kept: make room"),
        (MemoryError(), "out of memory (MemoryError); give the job more"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out of memory (CUDA out of memory. Tried"),
    ],
)
def test_what_the_machine_lacks_is_said_and_no_fault_of_the_workflow(snakemake, capsys, error, expected):
    with pytest.raises(SystemExit), job(snakemake):
        raise error
    said = capsys.readouterr().err
    assert said.startswith(f"Error in train (study mine, model mlp_8): {expected}")
    assert "fault of the workflow" not in said
    assert said.count("\n") == 1


def test_numpy_and_h5py_say_it_in_words_that_are_known(snakemake, capsys):
    """A real allocation that fails, and a real device that is full."""
    with pytest.raises(SystemExit), job(snakemake):
        np.zeros(2**58)
    assert "out of memory (Unable to allocate" in capsys.readouterr().err
    with pytest.raises(SystemExit), job(snakemake), open("/dev/full", "w") as full:
        full.write("x" * 100_000)
    assert "no space left on the disk" in capsys.readouterr().err


def test_a_run_that_another_has_followed_names_no_file(snakemake, capsys, tmp_path, monkeypatch):
    """As what a killed Snakemake leaves behind, on this machine or another: both work, the later alone writes."""
    path, metrics = Path(snakemake.log[0]), tmp_path / "metrics.json"
    monkeypatch.setenv("CONSILIENCE_RUN", "20")
    with pytest.raises(SystemExit), job(snakemake) as log:
        write_json(metrics, {"of": "the earlier"})
        later = path.read_text().replace("run 20", "run 31")
        path.write_text(later)
        log.info("the earlier is at work")
        write_json(metrics, {"of": "the earlier, too late"})
    assert LEFT_BEHIND in capsys.readouterr().err
    assert read_json(metrics) == {"of": "the earlier"}
    assert path.read_text().splitlines()[1].endswith("the earlier is at work")
    with pytest.raises(SystemExit), job(snakemake):  # it had waited in a queue
        raise AssertionError("it does not begin")
    assert LEFT_BEHIND in capsys.readouterr().err
    assert path.read_text().startswith(later)
    monkeypatch.setenv("CONSILIENCE_RUN", "31")  # the later run tries the job again
    with job(snakemake):
        write_json(metrics, {"of": "the later"})
    assert read_json(metrics) == {"of": "the later"}


@pytest.mark.parametrize(("started_in", "killed"), [("", True), ("6000001", True), ("7000001", False)])
def test_a_job_of_slurm_that_was_left_behind_is_killed_whole(snakemake, monkeypatch, started_in, killed):
    """Its Snakemake would remove the later run's results; where Snakemake was started in the job itself, it goes on."""
    words = ["sleep", "60"]
    other, own = (subprocess.Popen(words, env={"SLURM_JOB_ID": f"{number}"}) for number in (6_000_001, 7_000_001))
    monkeypatch.setenv("SLURM_JOB_ID", "7000001")
    monkeypatch.setenv("CONSILIENCE_STARTED_IN", started_in)
    monkeypatch.setenv("CONSILIENCE_RUN", "20")
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True)
    path.write_text("12:00:00 train: seed 7, run 31\n")
    try:
        with pytest.raises(SystemExit), job(snakemake):
            pass
        assert other.poll() is None
        if killed:
            assert own.wait(10) == -signal.SIGKILL
        else:
            assert own.poll() is None
    finally:
        for process in (own, other):
            process.kill()
            process.wait()


def test_a_job_writes_on_where_its_log_was_removed(snakemake, tmp_path):
    with job(snakemake):
        Path(snakemake.log[0]).unlink()
        write_json(tmp_path / "metrics.json", {"r2": 1})
    assert read_json(tmp_path / "metrics.json") == {"r2": 1}


def test_a_library_elsewhere_is_refused(snakemake, capsys, monkeypatch):
    monkeypatch.setenv("CONSILIENCE_LIBRARY", "/somewhere/else/consilience")
    with pytest.raises(SystemExit), job(snakemake):
        pass
    assert "expected the workflow's own, /somewhere/else/consilience" in capsys.readouterr().err


def test_threads_are_those_of_the_params(snakemake):
    with job(snakemake):
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        if "torch" in sys.modules:
            assert sys.modules["torch"].get_num_threads() == 1
