"""The slices, one folder a domain: the only place that knows a field.

Folders named in the environment variable CONSILIENCE_DOMAINS are searched beside this one, so that a domain can live
outside the repository.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType

from consilience.errors import ConsilienceError

FOLDERS = "CONSILIENCE_DOMAINS"

__path__ = [*__path__, *filter(None, os.environ.get(FOLDERS, "").split(os.pathsep))]


def search(folder: Path) -> None:
    """Look for slices in a further folder, here and in the processes started from here."""
    if not folder.is_dir():
        raise ConsilienceError(f"domains_directory: {folder}: no such folder")
    if str(folder) not in __path__:
        __path__.append(str(folder))
        os.environ[FOLDERS] = os.pathsep.join(filter(None, [os.environ.get(FOLDERS), str(folder)]))


def slices() -> dict[str, Path]:
    """Return the folder of every domain by name; a domain is a folder with a schema.yaml."""
    found: dict[str, Path] = {}
    for root in __path__:
        for schema in sorted(Path(root).glob("*/schema.yaml")):
            found.setdefault(schema.parent.name, schema.parent)
    return found


def has_module(domain: str, module: str) -> bool:
    """Say whether a slice brings the optional `module`, such as encode."""
    return (slices()[domain] / f"{module}.py").is_file()


def slice_module(domain: str, module: str) -> ModuleType:
    """Import `consilience.domains.<domain>.<module>`."""
    return importlib.import_module(f"{__name__}.{domain}.{module}")
