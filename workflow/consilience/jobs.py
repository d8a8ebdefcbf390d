"""What every script does around its work: its own log, fixed threads, and one clear line when something is wrong."""

from __future__ import annotations

import logging
import os
import platform
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import consilience
from consilience import runs
from consilience.errors import ConsilienceError
from consilience.files import guarded
from consilience.progress import wipe

LIBRARY = "CONSILIENCE_LIBRARY"  # set by the workflow
# Libraries tell of it in errors of many kinds, but in the system's words.
DISK_IS_FULL = ("No space left on device", "Disk quota exceeded")
MEMORY_IS_SHORT = ("CUDA out of memory", "can't allocate memory", "Unable to allocate")
REASON = "Error in"  # so begins the line that says why a job failed, here and at the end of its log
LIBRARIES = ("numpy", "pandas", "scipy", "scikit-learn", "h5py", "torch")


@contextmanager
def job(snakemake: Any) -> Iterator[logging.Logger]:
    """Run a script's work: yield its logger, whose first line names seed, device and versions.

    A ConsilienceError ends the job with one line on the terminal, and so does a full disk or a want of memory; any
    other error its kind and text. The log, which the line names, has the traceback, and the same line as its last.
    Threads come from `params.threads`, never from --cores, since sums depend on them. No file gets its name where a
    later run of the workflow has begun (see `runs`).
    """
    path, params = Path(snakemake.log[0]), snakemake.params
    logger = logging.getLogger(consilience.__name__)
    try:
        runs.check()
        _open_log(path, logger)
        _check_library()
        logger.info(
            "%s: seed %s, device %s, threads %s, %s",
            snakemake.rule, params.get("seed", "none"), params.get("device", "cpu"), params.threads, _versions(),
        )  # fmt: skip
        with _threads(int(params.threads)), guarded(runs.check):
            try:
                yield logger
            except Exception:
                # Raised again; but where the run is over, that is the reason: a later one may have taken away what was
                # missed here, and an ordinary failure would let Snakemake remove what the later one has made.
                runs.check()
                raise
    except ConsilienceError as error:
        _tell(_name(snakemake), str(error), error, path, logger)
        if isinstance(error, runs.LeftBehindError):
            runs.end_own_cluster_job()
        sys.exit(1)
    except Exception as error:
        fault = f"{type(error).__name__}: {error} (a fault of the workflow)"
        _tell(_name(snakemake), _want(error) or fault, error, path, logger)
        sys.exit(1)


def _want(error: Exception) -> str | None:
    """Say in a line what the machine lacks, or return None where the error is none of that kind."""
    text = str(error)
    if any(words in text for words in DISK_IS_FULL):
        where = f" for {error.filename}" if getattr(error, "filename", None) else ""
        return f"no space left on the disk{where}; nothing half-written is kept: make room and run again"
    if isinstance(error, MemoryError) or any(words in text for words in MEMORY_IS_SHORT):
        return f"out of memory ({text or 'MemoryError'}); give the job more, or its model or batches less"
    return None


def _open_log(path: Path, logger: logging.Logger) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    # Appending, since what a killed run left behind may still write to it.
    handler = logging.FileHandler(path, mode="a", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.addHandler(handler)
    logging.captureWarnings(True)
    logger.setLevel(logging.INFO)


def _check_library() -> None:
    """Refuse a library that is not the one beside the running workflow: an older install would win silently."""
    running, expected = Path(consilience.__file__).resolve().parent, Path(os.environ[LIBRARY]).resolve()
    if running != expected:
        raise ConsilienceError(f"the library in use is {running}; expected the workflow's own, {expected}")


def _name(snakemake: Any) -> str:
    """Name a job by its rule and wildcards, as train (study expression, model mlp_32)."""
    values = ", ".join(f"{name} {value}" for name, value in snakemake.wildcards.items())
    return f"{snakemake.rule} ({values})" if values else snakemake.rule


def _versions() -> str:
    found = [f"Python {platform.python_version()}", f"consilience {consilience.__version__}"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} absent")
    return ", ".join(found)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    from threadpoolctl import threadpool_limits

    # Libraries that are loaded later read the environment; those already loaded take the limit.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
    with threadpool_limits(limits=count):
        yield


def _tell(name: str, message: str, error: BaseException, log: Path, logger: logging.Logger) -> None:
    reason, where = " ".join(f"{REASON} {name}: {message}".splitlines()), ""
    if logger.hasHandlers():
        where = f"; log: {log}"
        logger.error("%s", "".join(traceback.format_exception(error)).rstrip())
        logger.error("%s", reason)
    notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", []))
    wipe(sys.stderr)
    print(f"{reason}{where}{notes}", file=sys.stderr, flush=True)
