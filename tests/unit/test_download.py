import errno
import fcntl
import hashlib
import os
import resource

import numpy as np
import pytest
from urllib3.util import Retry

from consilience.download import download
from consilience.errors import ConsilienceError
from tests.unit.file_server import serving

CONTENT = np.random.default_rng(0).bytes(3_000_000)
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()
NAME = "file.h5"


@pytest.fixture
def server():
    with serving({NAME: CONTENT}) as running:
        yield running


def fetch(server, folder, checksum=CHECKSUM):
    download(server.url(NAME), checksum, folder / NAME)
    assert [path.name for path in folder.iterdir()] == [NAME]
    return (folder / NAME).read_bytes()


def refused(server, folder, checksum=CHECKSUM):
    """The one line that says why there is no file."""
    with pytest.raises(ConsilienceError) as caught:
        download(server.url(NAME), checksum, folder / NAME)
    assert "\n" not in str(caught.value)
    assert not (folder / NAME).exists()
    return str(caught.value)


def start(asked):
    return int(asked.removeprefix("bytes=").removesuffix("-"))


def test_a_dropped_connection_is_continued(server, tmp_path):
    server.plan[NAME] = ["drop", "drop"]
    assert fetch(server, tmp_path / "raw", CHECKSUM.upper()) == CONTENT
    first, second, third = server.asked[NAME]
    assert first is None
    assert 1_000_000 < start(second) <= 1_500_000 < start(third) <= 2_250_000


def test_a_connection_that_keeps_breaking_keeps_what_came(server, tmp_path):
    server.plan[NAME] = ["drop", *["nothing"] * 6]
    assert "run again to continue it" in refused(server, tmp_path)
    part = (tmp_path / f"{NAME}.part").read_bytes()
    assert len(part) > 1_000_000
    assert CONTENT.startswith(part)
    assert fetch(server, tmp_path) == CONTENT
    assert start(server.asked[NAME][-1]) == len(part)


def test_connections_that_break_after_a_while_are_as_many_as_it_takes(server, tmp_path):
    server.plan[NAME] = ["drop", "drop", *["nothing"] * 5, *["drop"] * 9, *["nothing"] * 5]
    assert fetch(server, tmp_path) == CONTENT
    assert len(server.asked[NAME]) == 22


def test_a_server_that_starts_over_and_breaks_at_the_same_place_is_given_up(server, tmp_path):
    server.plan[NAME] = ["drop", *["no ranges, drop"] * 6]
    assert "run again to continue it" in refused(server, tmp_path)


def test_what_an_earlier_run_left_is_continued(server, tmp_path):
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:1000])
    assert fetch(server, tmp_path) == CONTENT
    assert server.asked[NAME] == ["bytes=1000-"]


@pytest.mark.parametrize("step", ["serve", "no length"])
def test_a_whole_part_needs_no_more_bytes(server, tmp_path, step):
    server.plan[NAME] = [step]
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    assert fetch(server, tmp_path) == CONTENT
    assert server.asked[NAME] == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize(
    ("step", "part", "requests"),
    [
        ("no ranges", b"x" * 1000, 1),
        ("other bytes", CONTENT[:1000], 2),  # not those that were asked for
        ("serve", CONTENT + b"more", 2),  # longer than the file
    ],
)
def test_an_answer_that_does_not_continue_the_part_starts_over(server, tmp_path, step, part, requests):
    server.plan[NAME] = [step]
    (tmp_path / f"{NAME}.part").write_bytes(part)
    assert fetch(server, tmp_path) == CONTENT
    assert server.asked[NAME] == [f"bytes={len(part)}-", None][:requests]


def test_a_file_that_is_served_as_an_encoding_stays_as_it_lies_there(server, tmp_path):
    server.plan[NAME] = ["encoded"]
    assert fetch(server, tmp_path) == CONTENT


def test_a_wrong_checksum_is_refused_and_removed(server, tmp_path):
    line = refused(server, tmp_path, "0" * 64)
    assert line.endswith(f"{NAME}: sha256 {CHECKSUM}, expected {'0' * 64}; the download was removed")
    assert not list(tmp_path.iterdir())


def test_what_was_continued_wrongly_is_removed_and_fetched_anew(server, tmp_path):
    (tmp_path / f"{NAME}.part").write_bytes(b"x" * 1000)
    assert refused(server, tmp_path).endswith("what an earlier try left: run again to fetch all of it")
    assert not list(tmp_path.iterdir())
    assert fetch(server, tmp_path) == CONTENT


@pytest.mark.parametrize(("step", "status"), [("missing", 404), ("forbidden", 403)])
def test_a_refusal_keeps_the_part(server, tmp_path, step, status):
    server.plan[NAME] = [step]
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:1000])
    assert f"{NAME}: the server refuses it ({status}" in refused(server, tmp_path)
    assert (tmp_path / f"{NAME}.part").read_bytes() == CONTENT[:1000]


def test_a_server_out_of_reach_is_told_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(Retry, "sleep", lambda *_: None)
    with serving({NAME: CONTENT}) as server:
        pass
    assert "run snakemake fetch where there is one" in refused(server, tmp_path)


def test_a_part_that_another_process_writes_is_left_to_it(server, tmp_path):
    part = tmp_path / f"{NAME}.part"
    with open(part, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(CONTENT[:1000])
        file.flush()
        assert "another process is downloading it" in refused(server, tmp_path)
    assert server.asked[NAME] == []
    assert part.read_bytes() == CONTENT[:1000]
    assert fetch(server, tmp_path) == CONTENT


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_no_hindrance(server, tmp_path, monkeypatch, code):
    """As NFS without a lock daemon; none can be mounted here, so that its answers are given in its place."""

    def no_locks(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert fetch(server, tmp_path) == CONTENT


def test_a_full_disk_is_told_and_the_part_kept(server, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        line = refused(server, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert line == f"{tmp_path / NAME}.part: cannot be written (File too large); run again to continue it"
    assert (tmp_path / f"{NAME}.part").read_bytes() == CONTENT[:2_000_000]
    assert fetch(server, tmp_path) == CONTENT
    assert server.asked[NAME] == [None, "bytes=2000000-"]
