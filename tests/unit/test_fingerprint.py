import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "workflow" / "consilience"
CODE = """
import sys
sys.path.insert(0, {root!r})
from consilience.fingerprint import fingerprint
print(fingerprint({script!r}, {modules!r}))
"""


@pytest.fixture
def library(tmp_path):
    """A copy of what fingerprint needs, with a few modules of its own."""
    root = tmp_path / "consilience"
    (root / "domains" / "plants").mkdir(parents=True)
    for name in ("fingerprint.py", "errors.py", "__init__.py", "domains/__init__.py"):
        (root / name).write_text((PACKAGE / name).read_text())
    (root / "leaf.py").write_text("SIZE = 1\n")
    (root / "branch.py").write_text(
        '"""Doc."""\n\ndef grow():\n    from consilience.leaf import SIZE\n    return SIZE\n'
    )
    (root / "other.py").write_text("OTHER = 1\n")
    (root / "domains" / "plants" / "model.py").write_text("from . import parts\n")
    (root / "domains" / "plants" / "parts.py").write_text("PARTS = 1\n")
    (tmp_path / "script.py").write_text("import consilience.branch\nprint(1)\n")
    return tmp_path


def fingerprint(root, modules=()):
    code = CODE.format(root=str(root), script=str(root / "script.py"), modules=list(modules))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def edit(root, name, text):
    (root / name).write_text(text)
    return fingerprint(root, ["consilience.domains.plants.model"])


def test_edits_that_matter_change_it_and_others_do_not(library):
    before = fingerprint(library, ["consilience.domains.plants.model"])
    assert edit(library, "consilience/other.py", "OTHER = 2\n") == before
    assert edit(library, "consilience/leaf.py", "# why\nSIZE   = 1\n") == before
    assert edit(library, "consilience/leaf.py", "SIZE = 2\n") != before
    assert edit(library, "consilience/leaf.py", "SIZE = 1\n") == before
    assert edit(library, "script.py", "import consilience.branch\nprint(2)\n") != before
    assert edit(library, "script.py", '"""Doc."""\nimport consilience.branch\n\nprint(1)\n') == before
    assert edit(library, "consilience/domains/plants/parts.py", "PARTS = 2\n") != before


def test_a_slice_counts_only_where_it_is_named(library):
    before = fingerprint(library)
    (library / "consilience/domains/plants/parts.py").write_text("PARTS = 3\n")
    assert fingerprint(library) == before


def test_the_same_code_elsewhere_has_the_same_fingerprint(library, tmp_path_factory):
    copy = tmp_path_factory.mktemp("a") / "copy"
    shutil.copytree(library, copy)
    modules = ["consilience.domains.plants.model"]
    assert fingerprint(copy, modules) == fingerprint(library, modules)
