"""What a person sees: bars on a terminal alone, logs that end with what matters, and why a job failed."""

import os
import re
import shutil

import pytest
import yaml
from run_workflow import DOMAINS, STUDIES, snakemake

from consilience.terminal import reason_in

pytestmark = pytest.mark.workflow
STUDY = yaml.safe_load((STUDIES / "toy_two_classes.yaml").read_text())
SNAKEMAKE_S = ("Traceback", "RuleException", "CalledProcessError", "Error in rule", "message: None")


def test_every_log_ends_with_a_line_that_tells_a_number(finished):
    logs = sorted((finished[0] / "logs").rglob("*.log"))
    assert len(logs) > 50
    for log in logs:
        lines = log.read_text().splitlines()
        told = re.fullmatch(r"\d\d:\d\d:\d\d (.+)", lines[-1])
        assert len(lines) > 1, log
        assert told, f"{log}: {lines[-1]}"
        assert re.search(r"\d", told[1]), f"{log}: {lines[-1]}"
        assert not re.search(r"Warning|Traceback|^Error|^\{|: seed ", told[1]), f"{log}: {lines[-1]}"


def test_nothing_is_drawn_where_there_is_no_terminal(finished):
    """Neither bars nor colors, whatever ran side by side."""
    _, output = finished
    assert not re.search(r"[\r\x1b]|it/s|epoch/s|sample/s", output)


def run_failing(tmp_path, body, *arguments, names=("one",)):
    """Run studies whose preparation is `body`; returns the folder of work and what was told."""
    folder, studies, work = tmp_path / "domains" / "broken", tmp_path / "studies", tmp_path / "work"
    shutil.copytree(DOMAINS / "toy", folder)
    (folder / "rules.smk").unlink()
    (folder / "prepare.py").write_text(body)
    studies.mkdir()
    for name in names:
        (studies / f"{name}.yaml").write_text(yaml.safe_dump({**STUDY, "domain": "broken"}))
    run = snakemake(work, *arguments, studies=studies, domains=folder.parent)
    assert run.returncode != 0
    return work, run.stdout


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "from consilience.errors import ConsilienceError\n"
            "def prepare(*given): raise ConsilienceError('panels.npz: row 3: 17; expected 0 or 1')",
            "panels.npz: row 3: 17; expected 0 or 1",
        ),
        ("def prepare(*given): raise KeyError('votes')", "KeyError: 'votes' (a fault of the workflow)"),
        ("def prepare(*given): raise RuntimeError('a\\nb')", "RuntimeError: a b (a fault of the workflow)"),
    ],
)
def test_a_failed_job_is_told_by_its_reason_and_its_log_alone(tmp_path, body, reason):
    work, output = run_failing(tmp_path, body)
    whole = f"Error in prepare (study one): {reason}"
    assert output.count(f"{whole}; log: logs/one/prepare.log\n") == 1
    assert output.count(reason) == 1
    assert [word for word in SNAKEMAKE_S if word in output] == []
    assert reason_in(work / "logs" / "one" / "prepare.log") == whole
    assert "Traceback" in (work / "logs" / "one" / "prepare.log").read_text()
    (kept,) = (work / ".snakemake" / "log").glob("*.log")
    assert "Error in rule prepare" in kept.read_text()


def test_of_several_that_fail_each_is_told_once(tmp_path):
    body = "import os\ndef prepare(*given): raise OSError(28, 'No space left on device')"
    _, output = run_failing(tmp_path, body, "--keep-going", names=("one", "two", "three"))
    for name in ("one", "two", "three"):
        assert (
            len(re.findall(f"^Error in prepare .study {name}.: no space left .*log: logs/{name}/", output, re.M)) == 1
        )
    assert [word for word in SNAKEMAKE_S if word in output] == []


@pytest.mark.parametrize("arguments", [(), ("--quiet", "rules")])
def test_a_job_that_is_killed_is_told_in_one_line(tmp_path, arguments):
    """As where memory is short, and the system kills what asks for more."""
    _, output = run_failing(tmp_path, "import os\ndef prepare(*given): os.kill(os.getpid(), 9)", *arguments)
    told = "Error in prepare (study one): killed by SIGKILL (out of memory?); log: logs/one/prepare.log\n"
    assert output.count(told) == 1
    assert [word for word in (*SNAKEMAKE_S, "Signals") if word in output] == []


def test_a_library_that_is_broken_is_told_in_one_line(tmp_path):
    (tmp_path / "torch.py").write_text("raise OSError('libtorch.so: cannot open')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = snakemake(tmp_path / "work", "results/toy/encoded.h5", names=("toy",), environment=environment)
    assert run.returncode != 0
    reason = "Error in encode (study toy): torch cannot be imported (OSError: libtorch.so: cannot open); install it"
    assert run.stdout.count(reason) == 1
    assert [word for word in SNAKEMAKE_S if word in run.stdout] == []
    assert reason_in(tmp_path / "work/logs/toy/encode.log").startswith(reason)
