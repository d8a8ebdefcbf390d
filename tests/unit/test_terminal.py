"""What Snakemake tells of failed jobs, through its own logger and handlers."""

import io
import logging

import pytest
from snakemake.logging import ColorizingTextHandler, DefaultFormatter, logger
from snakemake_interface_logger_plugins.common import LogEvent

from consilience.terminal import STREAM, ShortFormatter, reason_in, shorten

TRACE = "17:35:18 Traceback (most recent call last):\n  File ...\nconsilience.errors.ConsilienceError: no gene\n"
REASON = "Error in train (study mine, model mlp_8): no gene"
SAID = f"17:35:17 train: seed 7\n{TRACE}17:35:18 {REASON}\n"


@pytest.fixture
def terminal():
    """Snakemake's stream, shortened as a run does it; returns what a person sees."""
    stream = io.StringIO()
    handler = ColorizingTextHandler(stream=stream, formatter=DefaultFormatter(show_failed_logs=True))
    handler.name = STREAM
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


def job_error(*logs, indent=False):
    """As snakemake.jobs.Job.log_error; an executor elsewhere adds a log of its own after the job's."""
    facts = {
        "event": LogEvent.JOB_ERROR, "rule_name": "train", "rule_msg": None, "jobid": 3, "input": ["split.tsv"],
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


@pytest.mark.parametrize("text", ["", "17:35:17 train: seed 7\n", SAID + "17:35:19 train: seed 7\n", None])
def test_a_job_that_was_killed_is_told_in_snakemake_s_words(terminal, log, text):
    log.unlink() if text is None else log.write_text(text)
    script_error("died with <Signals.SIGKILL: 9>.")
    job_error(log)
    assert "died with <Signals.SIGKILL: 9>" in terminal()
    assert "Error in rule train:" in terminal()
    assert f"log: {log}" in terminal()


def test_a_group_is_told_once_by_those_of_its_jobs_that_failed(terminal, log, tmp_path):
    other = tmp_path / "mlp_16.log"
    other.write_text("17:35:17 train: seed 7\n17:35:18 test r2 0.5\n")
    jobs = [job_error(log, indent=True), job_error(other, indent=True)]
    facts = {"event": LogEvent.GROUP_ERROR, "groupid": "g", "aux_logs": [], "job_error_info": jobs}
    logger.error("Error in group g", extra=facts)
    assert terminal() == ""
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
    assert not isinstance(handler.formatter, ShortFormatter)


def test_a_reason_is_the_last_line_alone(log):
    assert reason_in(log) == REASON
    log.write_text(f"{REASON}\n17:35:19 test r2 0.5\n")
    assert reason_in(log) is None
