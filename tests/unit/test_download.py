import hashlib
import http.server
import threading
from functools import partial

import numpy as np
import pytest

from consilience.download import download
from consilience.errors import ConsilienceError

CONTENT = np.random.default_rng(0).bytes(3_000_000)
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; `plan` decides what each request meets: a dropped connection, no ranges, an error."""

    def __init__(self, plan, asked, *arguments):
        self.plan, self.asked = plan, asked
        super().__init__(*arguments)

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        step = self.plan.pop(0) if self.plan else "serve"
        if step == "missing":
            return self.send_error(404)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and step != "no ranges" else 0
        if start >= len(CONTENT):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        body = CONTENT[start:]
        self.wfile.write(body[: len(body) // 2] if step == "drop" else body)
        return None

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    plan, asked = [], []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, plan, asked)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/file.h5", plan, asked
        running.shutdown()


def test_a_dropped_connection_is_continued(server, tmp_path):
    url, plan, asked = server
    plan.append("drop")
    download(url, CHECKSUM.upper(), tmp_path / "raw" / "file.h5")
    assert (tmp_path / "raw" / "file.h5").read_bytes() == CONTENT
    assert len(asked) == 2
    assert 1_000_000 < int(asked[1].removeprefix("bytes=").removesuffix("-")) <= 1_500_000
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["file.h5"]


def test_what_an_earlier_run_left_is_continued(server, tmp_path):
    url, _, asked = server
    (tmp_path / "file.h5.part").write_bytes(CONTENT[:1000])
    download(url, CHECKSUM, tmp_path / "file.h5")
    assert asked == ["bytes=1000-"]
    assert (tmp_path / "file.h5").read_bytes() == CONTENT


def test_a_whole_part_needs_no_more_bytes(server, tmp_path):
    url, _, _ = server
    (tmp_path / "file.h5.part").write_bytes(CONTENT)
    download(url, CHECKSUM, tmp_path / "file.h5")
    assert (tmp_path / "file.h5").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(server, tmp_path):
    url, plan, _ = server
    plan.append("no ranges")
    (tmp_path / "file.h5.part").write_bytes(b"x" * 1000)
    download(url, CHECKSUM, tmp_path / "file.h5")
    assert (tmp_path / "file.h5").read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused_and_removed(server, tmp_path):
    with pytest.raises(ConsilienceError, match=f"sha256 {CHECKSUM}, expected {'0' * 64}"):
        download(server[0], "0" * 64, tmp_path / "file.h5")
    assert not list(tmp_path.iterdir())


def test_a_refusal_is_one_line(server, tmp_path):
    server[1].append("missing")
    with pytest.raises(ConsilienceError, match=r"file\.h5: the server refuses it \(404") as caught:
        download(server[0], CHECKSUM, tmp_path / "file.h5")
    assert "\n" not in str(caught.value)
