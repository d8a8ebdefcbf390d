"""Downloads a raw file: resumed where it broke off, checked by SHA-256, named only when whole."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from consilience.errors import ConsilienceError
from consilience.files import sha256
from consilience.progress import progress

BLOCK = 2**16  # what a connection that breaks may cost
TIMEOUT_SECONDS = 60
BROKEN_CONNECTIONS = 5
# What file systems answer that know no locks, as some of clusters do.
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
PARTIAL = requests.codes.partial_content
NO_SUCH_RANGE = requests.codes.requested_range_not_satisfiable


def download(url: str, checksum: str, path: Path) -> None:
    """Fetch `url` to `path`; what an earlier try left in `path.part` is continued where the server allows ranges.

    Raises ConsilienceError where the server refuses or cannot be reached, the connection keeps breaking, the disk is
    full, another process is at it, or the SHA-256 differs; a file that differs is removed, since continuing it could
    never come right.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(part) as file:
            continued = file.tell() > 0
            _fetch(url, file)
            file.flush()
            found = sha256(part)
            if found != checksum.lower():
                part.unlink()
                again = "; it continued what an earlier try left: run again to fetch all of it" if continued else ""
                raise ConsilienceError(
                    f"{url}: sha256 {found}, expected {checksum.lower()}; the download was removed{again}"
                )
            part.replace(path)
    except requests.RequestException as error:
        if error.response is not None:
            raise ConsilienceError(f"{url}: the server refuses it ({error})") from error
        raise ConsilienceError(
            f"{url}: cannot be reached ({error}); without a network here, run snakemake fetch where there is one"
        ) from error
    except OSError as error:
        raise ConsilienceError(f"{part}: cannot be written ({error.strerror}); run again to continue it") from error


@contextmanager
def _locked(part: Path) -> Iterator[BinaryIO]:
    """Open a part at its end, for this process alone: a job that outlived its killed Snakemake may still write."""
    with open(part, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last owner may have renamed or removed it since it was opened.
            held = part.exists() and os.path.samestat(os.fstat(file.fileno()), part.stat())
        except OSError as error:
            held = error.errno in NO_LOCKS
        if not held:
            raise ConsilienceError(f"{part}: another process is downloading it; wait for it or end it, then run again")
        yield file


def _fetch(url: str, file: BinaryIO) -> None:
    """Append what is left of `url`; a connection that breaks is made again."""
    session = requests.Session()
    # The bytes as they lie on the server: what is compressed on its way can be neither counted nor continued.
    session.headers["Accept-Encoding"] = "identity"
    retry = Retry(total=5, backoff_factor=0.5, status_forcelist=(500, 502, 503, 504))
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    breaks, most = 0, file.tell()
    while True:
        try:
            return _continue(session, url, file)
        except HTTPError as error:
            # Only those count that brought nothing new: some proxies break every connection after a while.
            breaks = breaks + 1 if file.tell() <= most else 0
            most = max(most, file.tell())
            if breaks > BROKEN_CONNECTIONS:
                raise ConsilienceError(f"{url}: download failed ({error}); run again to continue it") from error


def _continue(session: requests.Session, url: str, file: BinaryIO) -> None:
    have = file.tell()
    headers = {"Range": f"bytes={have}-"} if have else {}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        status, extent = response.status_code, response.headers.get("Content-Range", "")
        if have and status == NO_SUCH_RANGE and extent in ("", f"bytes */{have}"):
            return  # the part is whole already; the checksum decides
        if have and status in (PARTIAL, NO_SUCH_RANGE) and not extent.startswith(f"bytes {have}-"):
            _empty(file)  # it offers other bytes than those that are missing
            _continue(session, url, file)
            return
        response.raise_for_status()
        if status != PARTIAL:
            _empty(file)
        left, name = response.raw.length_remaining, Path(file.name).stem
        with progress(f"downloading {name}", "B", left, scaled=True) as advance:
            for block in response.raw.stream(BLOCK, decode_content=False):
                file.write(block)
                advance(len(block))


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()
