"""A local HTTP server of files, which does to chosen requests what servers do at their worst."""

import http.server
import threading
from contextlib import contextmanager
from functools import partial


class FileServer:
    """What is served under which name; what the next requests for a name meet; and who asked for which range."""

    def __init__(self, files):
        self.files = dict(files)
        self.plan = {name: [] for name in files}
        self.asked = {name: [] for name in files}
        self.closing = threading.Event()
        self.address = None

    def url(self, name):
        return f"{self.address}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, server, *arguments):
        self.served = server
        super().__init__(*arguments)

    def do_GET(self):
        name = self.path.removeprefix("/").split("?")[0]
        content, wanted = self.served.files[name], self.headers.get("Range")
        self.served.asked[name].append(wanted)
        step = self.served.plan[name].pop(0) if self.served.plan[name] else "serve"
        if step in ("forbidden", "missing"):
            return self.send_error(403 if step == "forbidden" else 404)
        start = (
            int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and not step.startswith("no ranges") else 0
        )
        if start >= len(content):
            self.send_response(416)
            if step != "no length":
                self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        partial_answer = start > 0
        if step == "other bytes":
            start += 10
        self.send_response(206 if partial_answer else 200)
        if partial_answer:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if step == "encoded":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        cut = {"drop": len(body) // 2, "stall": len(body) // 2, "no ranges, drop": len(body) // 2, "nothing": 0}.get(
            step, len(body)
        )
        self.wfile.write(body[:cut])
        if step == "stall":
            self.served.closing.wait()
        return None

    def log_message(self, *arguments):
        pass


@contextmanager
def serving(files):
    """Serve `files`, bytes by name, while the block lasts."""
    server = FileServer(files)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, server)) as running:
        server.address = f"http://127.0.0.1:{running.server_port}"
        threading.Thread(target=running.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.closing.set()
            running.shutdown()
