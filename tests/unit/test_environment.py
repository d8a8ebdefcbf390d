"""The lock, the conda environment and pyproject.toml describe one tree."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def lock():
    lines = (ROOT / "envs" / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


PACKED = (".py", ".yaml", ".md", ".smk", ".rst", ".html", ".css", ".js")


def test_every_line_of_the_lock_is_an_exact_public_pin():
    assert [line for line in lock() if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line)] == []
    assert "torch==2.13.0" in lock()


def test_the_conda_environment_installs_the_lock():
    environment = yaml.safe_load((ROOT / "envs" / "consilience.yaml").read_text())
    pins = next(part["pip"] for part in environment["dependencies"] if isinstance(part, dict))
    assert pins == lock()


def test_the_lock_holds_all_that_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for group in project["optional-dependencies"].values() for name in group),
    ]
    names = {canonical(re.match(r"[A-Za-z0-9._-]+", requirement)[0]) for requirement in wanted}
    assert names <= {canonical(line.split("==")[0]) for line in lock()}


def test_the_library_builds_with_all_its_slices_need(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT / "workflow", source / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        tmp_path,
        source,
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("consilience-*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if not name.startswith("consilience-")}
    files = (ROOT / "workflow" / "consilience").rglob("*")
    wanted = {str(path.relative_to(ROOT / "workflow")) for path in files if path.suffix in PACKED}
    assert packed == wanted


def test_hooks_before_a_commit_have_the_versions_of_the_lock():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    pins = {pin for hook in local["hooks"] for pin in hook["additional_dependencies"]}
    assert pins <= set(lock())
    assert {pin.split("==")[0] for pin in pins} == {"ruff", "snakefmt"}
