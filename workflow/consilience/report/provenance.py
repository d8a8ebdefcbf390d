"""Where results come from: versions, settings, inputs by hash; and of the last run, its commit, times and memory."""

from __future__ import annotations

import math
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import yaml

import consilience
from consilience.errors import ConsilienceError
from consilience.files import read_h5, read_table

# What decides the numbers; all that is installed follows in the list below them.
DECISIVE = ("numpy", "scipy", "scikit-learn", "pandas", "h5py", "torch", "captum", "shap", "snakemake", "matplotlib")
WITHIN = 10  # seconds that git may take to answer
PER_MODEL = ("train", "attribute", "faithfulness")  # rules that run once for every model


def versions() -> dict[str, Any]:
    """Return Python's version, ours, those of the libraries that decide the numbers, and of all others installed."""
    # An installation that broke off leaves a folder without a name.
    named = ((package.metadata or {}, package) for package in distributions())
    found = {facts["Name"].lower(): package.version for facts, package in named if "Name" in facts}
    own = {"consilience": consilience.__version__, "Python": platform.python_version()}
    decisive = own | {name: found[name] for name in DECISIVE if name in found}
    return {"decisive": decisive, "others": {name: found[name] for name in sorted(found) if name not in decisive}}


def inputs_of(dataset: str | Path) -> dict[str, str]:
    """Return what a dataset says of its source: name and SHA-256, task, target and unit."""
    with read_h5(dataset) as file:
        keys = ("source", "source_sha256", "task", "target", "unit")
        return {key: str(file.attrs[key]) for key in keys}


def portable(value: Any, folder: Path) -> Any:
    """Return settings without this machine's folders: paths relative to the study file's `folder`, or names alone."""
    if isinstance(value, dict):
        return {key: portable(one, folder) for key, one in value.items()}
    if isinstance(value, list):
        return [portable(one, folder) for one in value]
    if not isinstance(value, str) or not Path(value).is_absolute():
        return value
    path, base = Path(value), folder.resolve()
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return a study's settings, defaults filled, as YAML in the order of the study file."""
    return yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True, width=110)


def commit_of(folder: str | Path = Path(consilience.__file__).parent) -> dict[str, Any]:
    """Return git's commit of a folder and whether files differ from it; empty where git knows nothing of it.

    A copy that lies in somebody else's repository is not of its commit: git has to track files of the folder.
    """
    try:
        _git(folder, "ls-files", "--error-unmatch", ".")
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):  # no git here, or no repository: a copy of the files
        return {}
    return {"commit": commit, "changed": bool(changed)}


def _git(folder: str | Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=WITHIN).stdout.strip()


def measured(folder: Path, studies: Mapping[str, Sequence[str]]) -> dict[str, list[dict[str, Any]]]:
    """Return what Snakemake measured of every job of every study, from its benchmark files below `folder`.

    `studies` names the models of each: files of models that a study no longer has do not count, nor unreadable ones.
    Each has the `job` (the rule, and the model where there are several), wall-clock `seconds`, `cpu_seconds` and
    `megabytes`, the largest resident memory; None where a job was too short to be measured.
    """
    return {
        name: [
            job
            for path in sorted((folder / name).rglob("*.tsv"))
            if path.parent.name not in PER_MODEL or path.stem in models
            for job in _jobs(path, folder / name)
        ]
        for name, models in studies.items()
    }


def _jobs(path: Path, base: Path) -> list[dict[str, Any]]:
    """Return the job of a benchmark file, as a list: empty where the file was cut off."""
    try:
        table = read_table(path, ("s", "max_rss", "cpu_time"))
    except (ConsilienceError, ValueError):  # columns are missing, or pandas finds none
        return []
    if table.empty:
        return []
    row = table.iloc[-1]
    names = {"seconds": "s", "cpu_seconds": "cpu_time", "megabytes": "max_rss"}
    job = path.relative_to(base).with_suffix("").as_posix().replace("/", " ")
    return [{"job": job} | {name: _number(row[column]) for name, column in names.items()}]


def _number(value: Any) -> float | None:
    try:
        found = round(float(value), 2)
    except ValueError:  # Snakemake writes "-" or NA where it could not look
        return None
    return found if math.isfinite(found) else None
