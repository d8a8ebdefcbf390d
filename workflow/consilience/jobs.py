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
from consilience.errors import ConsilienceError

LIBRARY = "CONSILIENCE_LIBRARY"  # set by the workflow
LIBRARIES = ("numpy", "pandas", "scipy", "scikit-learn", "h5py", "torch")


@contextmanager
def job(snakemake: Any) -> Iterator[logging.Logger]:
    """Run a script's work: yield its logger, whose first line names seed, device and versions.

    A ConsilienceError ends the job with one line on the terminal, any other error with its kind and text; the
    traceback goes to the log. Threads come from `params.threads`, never from --cores, since sums depend on them.
    """
    logger = _logger(Path(snakemake.log[0]))
    params = snakemake.params
    try:
        _check_library()
        logger.info(
            "%s: seed %s, device %s, threads %s, %s",
            snakemake.rule, params.get("seed", "none"), params.get("device", "cpu"), params.threads, _versions(),
        )  # fmt: skip
        with _threads(int(params.threads)):
            yield logger
    except ConsilienceError as error:
        _fail(_name(snakemake), str(error), error, logger)
    except Exception as error:
        message = f"{type(error).__name__}: {error} (a fault of the workflow; see {snakemake.log[0]})"
        _fail(_name(snakemake), message, error, logger)


def _logger(path: Path) -> logging.Logger:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.addHandler(handler)
    logging.captureWarnings(True)
    logger = logging.getLogger(consilience.__name__)
    logger.setLevel(logging.INFO)
    return logger


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


def _fail(name: str, message: str, error: BaseException, logger: logging.Logger) -> None:
    logger.error("".join(traceback.format_exception(error)))
    notes = "\n".join(getattr(error, "__notes__", []))
    print(f"Error in {name}: {message}" + (f"\n{notes}" if notes else ""), file=sys.stderr, flush=True)
    sys.exit(1)
