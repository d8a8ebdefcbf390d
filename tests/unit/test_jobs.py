from consilience.jobs import job

import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import consilience
from consilience import runs
from consilience.errors import ConsilienceError
from consilience.files import read_json, write_json
from consilience.terminal import reason_in

LEFT_BEHIND = "a later run of the workflow has begun in this folder"


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


@pytest.fixture
def run_of(tmp_path, monkeypatch):
    """Let this be a job of one run, and another the latest that has begun in the folder of work."""
    monkeypatch.chdir(tmp_path)

    def of(own, latest):
        monkeypatch.setenv("CONSILIENCE_RUN", str(own))
        runs.LATEST.parent.mkdir(exist_ok=True)
        runs.LATEST.write_text(str(latest))

    return of


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
    reason, path = "Error in train (study mine, model mlp_8): counts.h5: no gene 'IRF2BP'", snakemake.log[0]
    assert capsys.readouterr().err == f"{reason}; log: {path}\n"
    lines = Path(path).read_text().splitlines()
    assert [line[9:] for line in lines[1:] if line[9:].startswith(("Traceback", "Error"))] == [
        "Traceback (most recent call last):",
        reason,
    ]
    assert lines[-1][9:] == reason == reason_in(path)


def test_notes_follow_the_line(snakemake, capsys):
    error = ConsilienceError("no sample passes")
    error.add_note("step  samples")
    with pytest.raises(SystemExit), job(snakemake):
        raise error
    reason, path = "Error in train (study mine, model mlp_8): no sample passes", snakemake.log[0]
    assert capsys.readouterr().err == f"{reason}; log: {path}\nstep  samples\n"
    assert reason_in(path) == reason


def test_an_unexpected_error_says_that_it_is_one(snakemake, capsys):
    with pytest.raises(SystemExit), job(snakemake):
        raise KeyError("member\nof a crowd")
    reason = "Error in train (study mine, model mlp_8): KeyError: 'member\\nof a crowd' (a fault of the workflow)"
    assert capsys.readouterr().err == f"{reason}; log: {snakemake.log[0]}\n"
    with pytest.raises(SystemExit), job(snakemake):
        raise RuntimeError("shapes differ:\n3 and 4")
    assert reason_in(snakemake.log[0]).endswith("RuntimeError: shapes differ: 3 and 4 (a fault of the workflow)")


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


def test_a_job_reads_its_orders_and_keeps_the_log_of_a_later_run(snakemake, capsys, run_of):
    """What had waited in a queue does not begin."""
    log = Path(snakemake.log[0])
    log.parent.mkdir(parents=True)
    log.write_text("of the later run\n")
    run_of(20, latest=31)
    with pytest.raises(SystemExit), job(snakemake):
        raise AssertionError("it does not begin")
    assert LEFT_BEHIND in capsys.readouterr().err
    assert log.read_text() == "of the later run\n"


def test_a_job_that_is_left_behind_at_work_names_no_file(snakemake, capsys, tmp_path, run_of):
    metrics = tmp_path / "metrics.json"
    run_of(20, latest=20)
    with pytest.raises(SystemExit), job(snakemake):
        write_json(metrics, {"of": "the earlier"})
        run_of(20, latest=31)
        write_json(metrics, {"of": "the earlier, too late"})
    assert LEFT_BEHIND in capsys.readouterr().err
    assert read_json(metrics) == {"of": "the earlier"}


def test_what_a_job_left_behind_misses_is_no_fault(snakemake, capsys, tmp_path, run_of):
    """The later run makes its inputs anew."""
    run_of(20, latest=20)
    with pytest.raises(SystemExit), job(snakemake):
        run_of(20, latest=31)
        (tmp_path / "dataset.h5").read_bytes()
    said = capsys.readouterr().err
    assert LEFT_BEHIND in said
    assert "fault of the workflow" not in said


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


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("libtorch.so: cannot open"), "OSError: libtorch.so: cannot open (a fault of the workflow)"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            "torch cannot be imported (ModuleNotFoundError: ",
        ),
        (
            ImportError("cannot import name 'x'", name="consilience.x"),
            "ImportError: cannot import name 'x' (a fault of",
        ),
    ],
)
def test_a_module_that_is_absent_is_no_fault_of_the_workflow(snakemake, capsys, error, reason):
    with pytest.raises(SystemExit), job(snakemake):
        raise error
    assert f": {reason}" in capsys.readouterr().err


def test_a_reason_is_one_write(snakemake, monkeypatch):
    """Jobs side by side share the stream, which keeps nothing back."""
    written = []
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(write=written.append, flush=bool, isatty=lambda: False))
    with pytest.raises(SystemExit), job(snakemake):
        raise ConsilienceError("no sample passes")
    assert written == [f"Error in train (study mine, model mlp_8): no sample passes; log: {snakemake.log[0]}\n"]
