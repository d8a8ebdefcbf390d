"""The finished studies with all files of the earlier systems."""

import shutil

import pytest
from filelock import FileLock
from run_workflow import snakemake


@pytest.fixture(scope="session")
def legacy(finished):
    """The folder of the finished studies with all earlier files, and the terminal's output; made once."""
    directory, output = (finished[0].parent / name for name in ("legacy", "legacy.txt"))
    with FileLock(f"{directory}.lock"):
        if not output.is_file():
            shutil.copytree(finished[0], directory, symlinks=True)
            output.write_text(snakemake(directory, "legacy", check=True).stdout)
    return directory, output.read_text()


def folders(legacy, name):
    """Our results of a domain's study, and the earlier files."""
    base = legacy[0] / "results" / f"{name}_tiny"
    return base, base / "legacy"


def files(folder):
    """The earlier files of a folder, without what tells of them."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in names if name not in ("README.md", "index.tsv", ".snakemake_timestamp")}
