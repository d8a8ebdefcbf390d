"""Bars on a real terminal: one at a time, none elsewhere, and nothing left of them."""

import logging
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

import consilience
from consilience import progress as module
from consilience.progress import following, progress

# Runs in a process of its own: what counts is the file behind its error stream.
WORK = """
import sys, time
from consilience import progress
progress.PATIENCE_SECONDS = 0
with progress.progress(sys.argv[1], "epoch", 3) as advance:
    for item in progress.following([1, 2, 3], "within", "item"):
        advance()
    print("ready", flush=True)
    sys.stdin.readline()
"""


def start(name, errors):
    words, library = [sys.executable, "-c", WORK, name], Path(consilience.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(library)}
    return subprocess.Popen(
        words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
    )


def finish(*processes):
    for process in processes:
        process.communicate("\n")
        assert process.returncode == 0


@pytest.fixture
def terminal():
    """A terminal, as the number of its file, and what it was sent, as a function."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    os.set_blocking(master, False)

    def sent():
        text = b""
        while True:
            try:
                text += os.read(master, 2**16)
            except (BlockingIOError, OSError):
                return text.decode()

    yield slave, sent
    os.close(master)
    os.close(slave)


def test_of_jobs_side_by_side_the_first_draws(terminal):
    slave, sent = terminal
    first = start("first", slave)
    assert first.stdout.readline() == "ready\n"
    second = start("second", slave)
    assert second.stdout.readline() == "ready\n"
    finish(first, second)
    text = sent()
    assert "first:" in text
    assert "/3 [" in text
    assert "second" not in text
    assert "within" not in text
    # What stays on the line is blank.
    assert text.endswith("\r")
    assert text.split("\r")[-2].strip() == ""
    assert "\n" not in text
    third = start("third", slave)
    finish(third)
    assert "third" in sent()


def test_every_bar_is_one_of_these():
    library = Path(consilience.__file__).parent
    drawing = [
        path for path in library.parent.rglob("*.py") if re.search(r"^ *(from|import) tqdm", path.read_text(), re.M)
    ]
    assert drawing == [library / "progress.py"]


def test_a_file_gets_nothing(tmp_path):
    with open(tmp_path / "errors", "w") as errors:
        finish(start("first", errors))
    assert (tmp_path / "errors").read_text() == ""


def test_what_is_followed_is_what_comes_out_whatever_its_kind(capsys):
    assert list(following({"a": 1, "b": 2}, "reading", "item")) == ["a", "b"]
    assert list(following((item for item in "abc"), "reading", "item")) == ["a", "b", "c"]
    with progress("reading", "B", 10, scaled=True) as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_without_columns_gets_a_bar_of_the_usual_width(terminal):
    """As where a terminal's size has never been set."""
    slave, sent = terminal
    termios.tcsetwinsize(slave, (0, 0))
    one = start("first", slave)
    assert one.stdout.readline() == "ready\n"
    finish(one)
    text = sent()
    widths = [len(part) for part in text.split("\r") if "first: " in part]
    assert widths, repr(text)
    assert min(widths) > 60
    assert max(widths) <= 80


def test_the_log_tells_every_few_minutes_how_far_it_is(caplog, capsys, monkeypatch):
    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    caplog.set_level(logging.INFO, logger=consilience.__name__)
    with progress("training m, at most", "epoch", 4000) as advance:
        for _ in range(4):
            advance(500)
    with progress("reading", "call") as advance:
        advance()
        advance()
    assert caplog.messages == [
        "training m, at most: epoch 1,000 of 4,000",
        "training m, at most: epoch 2,000 of 4,000",
        "reading: call 2",
    ]
    assert capsys.readouterr().err == ""
