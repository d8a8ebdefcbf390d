"""Jobs that end before they begin, or are interrupted: scripts in processes of their own, as Snakemake runs them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import consilience
from consilience.terminal import reason_in

LIBRARY = Path(consilience.__file__).parent
NAME, LOG = "train (study mine, model mlp_8)", Path("logs", "mine", "train.log")
GIVEN = f"""
from types import SimpleNamespace
class Params(SimpleNamespace):
    get = lambda self, name, default=None: getattr(self, name, default)
snakemake = SimpleNamespace(log=["{LOG}"], params=Params(threads=1), rule="train",
                            wildcards={{"study": "mine", "model": "mlp_8"}})
"""
JOB = "from consilience.jobs import job\n"
INTERRUPT = "import signal\nsignal.raise_signal(signal.SIGINT)\n"


@pytest.fixture
def script(tmp_path):
    """Run the words of a script in a folder of work; modules given by name lie beside it."""

    def run(words, **modules):
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        (tmp_path / "script.py").write_text(words)
        environment = {**os.environ, "PYTHONPATH": str(LIBRARY.parent), "CONSILIENCE_LIBRARY": str(LIBRARY)}
        environment.pop("CONSILIENCE_RUN", None)
        return subprocess.run(
            [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    return run


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("raise OSError('libtorch.so: cannot open')", "library cannot be imported (OSError: libtorch.so: cannot open)"),
        ("import absent", "absent cannot be imported (ModuleNotFoundError: No module named 'absent')"),
        ("from os import absent", "os cannot be imported (ImportError: cannot import name 'absent' from 'os' "),
    ],
)
def test_a_module_that_cannot_be_imported_is_told_in_one_line(script, tmp_path, module, reason):
    ended = script(f"{GIVEN}{JOB}import library\n", library=module)
    told = f"Error in {NAME}: {reason}"
    assert ended.returncode == 1
    assert ended.stderr.startswith(told)
    assert ended.stderr.endswith(f"set the environment up again; log: {LOG}\n")
    assert ended.stderr.count("\n") == 1
    assert reason_in(tmp_path / LOG).startswith(told)
    assert "Traceback" in (tmp_path / LOG).read_text()


def test_where_no_log_can_be_written_the_reason_is_told_all_the_same(script, tmp_path):
    (tmp_path / "logs").write_text("no folder")
    ended = script(f"{GIVEN}{JOB}import absent\n")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"Error in {NAME}: absent cannot be imported")
    assert ended.stderr.count("\n") == 1


def test_what_is_no_script_of_snakemake_s_keeps_its_trace(script, tmp_path):
    ended = script(f"{JOB}import absent\n")
    assert ended.stderr.startswith("Traceback")
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("at", ["work", "its imports"])
@pytest.mark.parametrize("kept", [False, True])
def test_an_interrupted_job_says_so_and_ends_by_the_signal(script, tmp_path, at, kept):
    checkpoint = tmp_path / "checkpoints" / "mine" / "train.safetensors"
    if kept:
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()
    work = "with job(snakemake):\n    import interruption\n" if at == "work" else "import interruption\n"
    ended = script(f"{GIVEN}{JOB}{work}", interruption=INTERRUPT)
    reason = f"Interrupted in {NAME}" + "; the next run goes on from its last checkpoint" * kept
    assert ended.returncode == -signal.SIGINT
    assert ended.stderr == f"{reason}; log: {LOG}\n"
    assert reason_in(tmp_path / LOG) == reason
