"""Downloads a raw file: resumed where it broke off, checked by SHA-256, named only when whole."""

from __future__ import annotations

from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util import Retry

from consilience.errors import ConsilienceError
from consilience.files import sha256

BLOCK = 2**20
TIMEOUT_SECONDS = 60
BROKEN_CONNECTIONS = 5


def download(url: str, checksum: str, path: Path, progress: bool = False) -> None:
    """Fetch `url` to `path`; what an earlier try left in `path.part` is continued where the server allows ranges.

    Raises ConsilienceError where the server refuses, the connection keeps breaking, or the SHA-256 differs; a file
    that differs is removed, since continuing it could never come right.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    session = requests.Session()
    retry = Retry(total=5, backoff_factor=0.5, status_forcelist=(500, 502, 503, 504))
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    for broken in range(BROKEN_CONNECTIONS + 1):
        try:
            _continue(session, url, part, progress)
            break
        except requests.RequestException as error:
            refused = error.response is not None and error.response.status_code < 500
            if refused:
                raise ConsilienceError(f"{url}: the server refuses it ({error})") from error
            if broken == BROKEN_CONNECTIONS:
                raise ConsilienceError(f"{url}: download failed ({error}); run again to continue it") from error
    found = sha256(part)
    if found != checksum.lower():
        part.unlink()
        raise ConsilienceError(f"{url}: sha256 {found}, expected {checksum.lower()}; the download was removed")
    part.replace(path)


def _continue(session: requests.Session, url: str, part: Path, progress: bool) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        if have and response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # the part is whole already; the checksum decides
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        left = int(response.headers.get("Content-Length", 0))
        bar = tqdm(total=left or None, unit="B", unit_scale=True, desc=part.stem, disable=not progress)
        with open(part, "ab" if resumed else "wb") as file, bar:
            for block in response.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
