"""Reads YAML files strictly: UTF-8, keys that are text, every key once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from consilience.errors import ConsilienceError

TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a file of keys and values; raises ConsilienceError with a line for every key that is no text or repeated."""
    loader = None
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        content = loader.get_single_data()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problem = f"line {line}: not UTF-8 (byte 0x{error.object[error.start]:02x}); save the file as UTF-8"
        raise ConsilienceError(f"{path}: {problem}") from error
    except OSError as error:
        raise ConsilienceError(f"{path}: {_refusal(path, error)}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConsilienceError(f"{path}: {_fault(error)}") from error
    finally:
        if loader:
            loader.dispose()
    if loader.faults:
        raise ConsilienceError("\n".join(f"{path}: {fault}" for fault in loader.faults))
    if not isinstance(content, dict):
        found = "an empty file" if content is None else type(content).__name__
        raise ConsilienceError(f"{path}: expected keys and values, found {found}")
    return content


class _Loader(yaml.SafeLoader):
    """A safe loader that collects `faults`: keys that are no text, and keys given twice."""

    def __init__(self, text: str):
        super().__init__(text)
        self.faults: list[str] = []
        self.deep_construct = True  # so that a node that contains itself is refused

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):  # YAML refuses other keys itself
            line = key.start_mark.line + 1
            if key.tag not in (TEXT, MERGE):
                kind = key.tag.rpartition(":")[2]
                self.faults.append(
                    f'line {line}: the key {key.value} is {kind}, not text, to YAML; quote it: "{key.value}"'
                )
            elif key.value in lines:
                self.faults.append(f"line {line}: {key.value!r} is given twice (before in line {lines[key.value]})")
            else:
                lines[key.value] = line
        return node


def _refusal(path: Path, error: OSError) -> str:
    if path.is_dir():
        return "is a folder; expected a file"
    return "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"


def _fault(error: Exception) -> str:
    """Return one line on what YAML could not read."""
    if isinstance(error, RecursionError):
        return "not valid YAML (nested too deeply)"
    mark = getattr(error, "problem_mark", None)
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    return f"{f'line {mark.line + 1}: ' if mark else ''}not valid YAML ({problem})"
