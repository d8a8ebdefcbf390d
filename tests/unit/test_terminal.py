"""What Snakemake tells of failed jobs, through its own logger and handlers."""

import io
import logging
import time

import pytest
from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter, logger
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

from consilience.runs import RUN
from consilience.terminal import STREAM, ShortFilter, reason_in, shorten

TRACE = "17:35:18 Traceback (most recent call last):\n  File ...\nconsilience.errors.ConsilienceError: no gene\n"
REASON = "Error in train (study mine, model mlp_8): no gene"
SAID = f"17:35:17 train: seed 7\n{TRACE}17:35:18 {REASON}\n"


@pytest.fixture(params=[(), (Quietness.RULES,)], ids=["loud", "quiet"])
def quiet(request):
    return request.param


@pytest.fixture
def terminal(quiet, monkeypatch):
    """Snakemake's stream, shortened as a run does it; returns what a person sees."""
    monkeypatch.delenv(RUN, raising=False)
    stream = io.StringIO()
    handler = ColorizingTextHandler(stream=stream, formatter=DefaultFormatter(show_failed_logs=True))
    handler.name = STREAM
    handler.addFilter(DefaultFilter(quiet, False, False, False, False))
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    shorten()
    shorten()
    yield stream.getvalue
    logger.setLevel(level)
    logger.removeHandler(handler)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "mlp_8.log"
    path.write_text(SAID)
    return path


def job_error(*logs, indent=False, message=None):
    """As snakemake.jobs.Job.log_error; an executor elsewhere adds a log of its own after the job's."""
    facts = {
        "event": LogEvent.JOB_ERROR, "rule_name": "train", "rule_msg": message, "jobid": 3, "input": ["split.tsv"],
        "output": ["x.h5"], "log": [str(path) for path in logs], "conda_env": None, "container_img": None, "aux": {},
        "indent": indent, "shellcmd": None,
    }  # fmt: skip
    logger.error("Error in rule train, jobid: 3", extra=facts)
    return facts


def script_error(status):
    text = f"CalledProcessError in file train.smk, line 3:\nCommand 'python' {status}"
    logger.error(f"RuleException:\n{text}", extra={"event": LogEvent.ERROR, "exception": "RuleException"})


def test_a_job_that_told_its_reason_here_is_told_no_further(terminal, log):
    script_error("returned non-zero exit status 1.")
    job_error(log)
    assert terminal() == ""


def test_of_a_job_on_another_node_the_reason_is_told_without_its_trace(terminal, log, tmp_path):
    job_error(log, tmp_path / "slurm.log")
    assert terminal() == f"{REASON}; log: {log}\n"


def begin(jobid=3):
    """As Snakemake tells of a job that it starts."""
    facts = {"rule_msg": "m", "rule_name": "train", "local": True, "input": [], "output": [], "log": [], "reason": "r",
             "benchmark": None, "wildcards": {"study": "mine", "model": "mlp_8"}, "resources": {}, "priority": 0,
             "threads": 1, "is_checkpoint": False, "shellcmd": None, "is_handover": False, "indent": False}  # fmt: skip
    logger.info("Rule: train", extra={"event": LogEvent.JOB_INFO, "jobid": jobid, **facts})


@pytest.mark.parametrize("text", ["", "17:35:17 train: seed 7\n", SAID + "17:35:19 train: seed 7\n", None])
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("died with <Signals.SIGKILL: 9>.", "SIGKILL (out of memory?)"),
        ("returned non-zero exit status 137.", "SIGKILL (out of memory?)"),
        ("died with <Signals.SIGSEGV: 11>.", "SIGSEGV"),
    ],
)
def test_a_job_that_was_killed_is_told_in_one_line(terminal, log, text, how, said):
    log.unlink() if text is None else log.write_text(text)
    begin()
    before = terminal()
    script_error(how)
    job_error(log)
    told = f"Error in train (study mine, model mlp_8): killed by {said}; log: {log}\n"
    assert terminal().removeprefix(before) == told


def test_an_interrupted_job_is_told_no_further(terminal, log):
    for text in (f"17:35:18 Interrupted in {REASON.removeprefix('Error in ')}\n", "17:35:17 train: seed 7\n"):
        log.write_text(text)
        script_error("died with <Signals.SIGINT: 2>.")
        job_error(log)
    assert terminal() == ""


def test_what_is_killed_after_an_interruption_is_told(terminal, log, tmp_path):
    other = tmp_path / "mlp_16.log"
    log.write_text(f"17:35:18 Interrupted in {REASON.removeprefix('Error in ')}\n")
    script_error("died with <Signals.SIGINT: 2>.")
    job_error(log)
    script_error("died with <Signals.SIGKILL: 9>.")
    job_error(other)
    assert terminal() == f"Error in train: killed by SIGKILL (out of memory?); log: {other}\n"


@pytest.mark.parametrize("quiet", [()])
def test_a_job_that_ends_otherwise_without_a_reason_is_told_in_snakemake_s_words(terminal, log):
    log.write_text("")
    script_error("returned non-zero exit status 2.")
    job_error(log)
    assert "returned non-zero exit status 2." in terminal()
    assert "Error in rule train:" in terminal()
    assert f"log: {log}" in terminal()


def test_a_reason_of_an_earlier_try_is_not_told_again(terminal, log, tmp_path):
    """As where a job waits in a queue for the second time, and never begins."""
    elsewhere = tmp_path / "slurm.log"
    job_error(log, elsewhere)
    before = terminal()
    job_error(log, elsewhere, message="SLURM-job '7' failed, its status is TIMEOUT")
    told = f"Error in train: SLURM-job '7' failed, its status is TIMEOUT; log: {elsewhere}\n"
    assert terminal().removeprefix(before) == told


def test_a_reason_of_an_earlier_run_is_not_told(terminal, log, tmp_path, monkeypatch):
    monkeypatch.setenv(RUN, str(time.time_ns() + 10**9))
    job_error(log, tmp_path / "slurm.log")
    assert terminal() == f"Error in train: it told no reason; log: {tmp_path / 'slurm.log'}\n"


@pytest.mark.parametrize("quiet", [()])
def test_of_bad_input_the_reason_alone_is_told(terminal):
    """Snakemake puts the place in the workflow before and after it, and its class."""
    reason = 'mine.yaml: trainin: unknown key\nmine.yaml: target: "a"; expected a File'
    around = 'BadInputError in file "/w/common.smk", line 41:\n{}\n  File "/w/Snakefile", line 9, in <module>\n  File "/w/common.smk", line 41, in <module>'
    logger.error(around.format(reason), extra={"event": LogEvent.ERROR, "exception": "BadInputError"})
    assert terminal() == f"{reason}\n"
    other = around.format(reason).replace("BadInputError", "WorkflowError")
    logger.error(other, extra={"event": LogEvent.ERROR, "exception": "WorkflowError"})
    assert terminal() == f"{reason}\n{other}\n"


def test_a_group_is_told_once_by_those_of_its_jobs_that_failed(terminal, log, tmp_path):
    other = tmp_path / "mlp_16.log"
    other.write_text("17:35:17 train: seed 7\n17:35:18 test r2 0.5\n")
    jobs = [job_error(log, indent=True), job_error(other, indent=True)]
    facts = {"event": LogEvent.GROUP_ERROR, "groupid": "g", "aux_logs": [], "job_error_info": jobs}
    logger.error("Error in group g", extra=facts)
    assert terminal() == ""
    log.write_text(SAID)  # of another try
    logger.error("Error in group g", extra=facts | {"aux_logs": [str(tmp_path / "slurm.log")]})
    assert terminal() == f"{REASON}; log: {log}\n"


def test_all_else_is_told_as_it_was(terminal):
    logger.info("3 of 7 steps (43%) done")
    logger.error("WorkflowError:\nAt least one job did not complete successfully.")
    assert terminal() == "3 of 7 steps (43%) done\nWorkflowError:\nAt least one job did not complete successfully.\n"


def test_on_a_terminal_every_message_has_a_line_of_its_own():
    """Where a job's bar is, its rest would stand beside what Snakemake tells."""
    stream = io.StringIO()
    stream.isatty = lambda: True
    handler = ColorizingTextHandler(nocolor=True, stream=stream, formatter=DefaultFormatter())
    handler.name = STREAM
    logger.addHandler(handler)
    try:
        shorten()
        stream.write("training: 40%")
        logger.error("3 of 7 steps (43%) done")
    finally:
        logger.removeHandler(handler)
    assert stream.getvalue() == "training: 40%\r\x1b[K3 of 7 steps (43%) done\n"


def test_only_the_stream_is_short(tmp_path):
    """What lies under .snakemake/log keeps every word."""
    handler = logging.FileHandler(tmp_path / "whole.log")
    handler.setFormatter(DefaultFormatter())
    logger.addHandler(handler)
    shorten()
    logger.removeHandler(handler)
    assert not any(isinstance(one, ShortFilter) for one in handler.filters)


def test_a_reason_is_the_last_line_alone(log):
    assert reason_in(log) == REASON
    log.write_text(f"{REASON}\n17:35:19 test r2 0.5\n")
    assert reason_in(log) is None
