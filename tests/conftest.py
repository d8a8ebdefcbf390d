"""Puts the tests' own domain beside the shipped ones, and says where real data lie."""

import os
import signal
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
# One worker of pytest a core: threads beyond that wait for each other. Before torch and NumPy are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell that starts the tests in the background has them ignore it, and all that they start: Ctrl-C would reach nobody.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["CONSILIENCE_DOMAINS"] = str(TESTS / "domains")
TOGETHER = ("tests/slurm/", "tests/workflow/test_faults.py")
SHARED = Path(os.environ.get("CONSILIENCE_SHARED_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data in native formats; tests that use it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real data are not here ({SHARED}; set CONSILIENCE_SHARED_DATA)")
    return SHARED


def pytest_collection_modifyitems(items):
    """Start with the longest test, so that no process waits for it, or for the studies it runs, at the end."""
    items.sort(key=lambda item: item.name != "test_every_byte_is_the_same_on_one_core")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give all tests of SLURM and of faults to one process; others go where a process is free.

    A host has room for one cluster, and faults are held against one undisturbed run.

    (What --dist loadgroup is for, but pytest-xdist 3.8 does not see the marks of pytest 9.2.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "together" if nodeid.startswith(TOGETHER) else nodeid

    return Together(config, log)
