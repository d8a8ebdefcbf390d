"""What every script does around its work: its own log, fixed threads, and one clear line when something is wrong."""

from __future__ import annotations

import logging
import os
import platform
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
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
# So begins the line that says why a job ended too early, here and at the end of its log.
REASON, INTERRUPTED = "Error in", "Interrupted in"
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
    with _telling(snakemake, logger):
        runs.check()
        _open_log(path, logger)
        _check_library()
        logger.info(
            "%s: seed %s, device %s, threads %s, %s",
            snakemake.rule, params.get("seed", "none"), params.get("device", "cpu"), params.threads, _versions(),
        )  # fmt: skip
        with _threads(int(params.threads)), guarded(runs.check), _of_this_run():
            yield logger


def checkpoint_of(snakemake: Any) -> Path:
    """Return where a job keeps its checkpoint, if its rule keeps any: checkpoints/ mirrors logs/."""
    log = Path(snakemake.log[0])
    return Path("checkpoints", *log.parts[log.parts.index("logs") + 1 :]).with_suffix(".safetensors")


@contextmanager
def _of_this_run() -> Iterator[None]:
    """Where the run is over, let that be the reason of any error.

    A later run may have taken away what was missed here, and an ordinary failure would let Snakemake remove what the
    later one has made.
    """
    try:
        yield
    except Exception:  # raised again
        runs.check()
        raise


@contextmanager
def _telling(snakemake: Any, logger: logging.Logger) -> Iterator[None]:
    """Tell in one line why the block ended too early, and end the process."""
    try:
        yield
    except KeyboardInterrupt as error:
        _tell_interruption(snakemake, error, logger)
        # By the signal itself: so shells and Snakemake see that nothing failed.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except Exception as error:  # of whatever kind, it is told
        _tell(f"{REASON} {_name(snakemake)}: {_reason(error)}", error, Path(snakemake.log[0]), logger)
        if isinstance(error, runs.LeftBehindError):
            runs.end_own_cluster_job()
        sys.exit(1)


def _tell_early(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Tell of what a script misses before its job begins, most often a library that cannot be imported.

    A hook of Python's for errors that nobody has caught; in a process that is no script of Snakemake's it changes
    nothing.
    """
    snakemake = getattr(sys.modules["__main__"], "snakemake", None)
    if not hasattr(snakemake, "log"):
        _usual_hook(kind, error, trace)
        return
    logger = logging.getLogger(consilience.__name__)
    with _telling(snakemake, logger):
        runs.check()
        with suppress(OSError):  # the terminal is told all the same
            _open_log(Path(snakemake.log[0]), logger)
        raise error


def _reason(error: Exception) -> str:
    if isinstance(error, ConsilienceError):
        return str(error)
    told, module = f"{type(error).__name__}: {error}", _not_imported(error)
    broken = f"{module} cannot be imported ({told}); install it, or set the environment up again" if module else None
    return _want(error) or broken or f"{told} (a fault of the workflow)"


def _not_imported(error: Exception) -> str | None:
    """Return the module that is absent or broken; None where it is one of the library's own, or none.

    Broken modules fail with errors of any kind, while they are imported.
    """
    code = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name == "<module>"]
    name = code[-1].f_globals["__name__"] if code else "__main__"
    if isinstance(error, ImportError) and error.name:
        name = error.name
    return None if name.partition(".")[0] in (consilience.__name__, "__main__") else name


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


def named(rule: str, wildcards: Mapping[str, str]) -> str:
    """Name a job by its rule and wildcards, as train (study expression, model mlp_32)."""
    values = ", ".join(f"{name} {value}" for name, value in wildcards.items())
    return f"{rule} ({values})" if values else rule


def _name(snakemake: Any) -> str:
    return named(snakemake.rule, snakemake.wildcards)


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


def _tell_interruption(snakemake: Any, error: KeyboardInterrupt, logger: logging.Logger) -> None:
    log = Path(snakemake.log[0])
    kept = "logs" in log.parts and checkpoint_of(snakemake).is_file()
    told = f"{INTERRUPTED} {_name(snakemake)}"
    _tell(f"{told}; the next run goes on from its last checkpoint" if kept else told, error, log, logger)


def _tell(message: str, error: BaseException, log: Path, logger: logging.Logger) -> None:
    reason, where = " ".join(message.splitlines()), ""
    if logger.hasHandlers():
        where = f"; log: {log}"
        logger.error("%s", "".join(traceback.format_exception(error)).rstrip())
        logger.error("%s", reason)
    notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", []))
    wipe(sys.stderr)
    # At once, since jobs side by side share the stream.
    sys.stderr.write(f"{reason}{where}{notes}\n")
    sys.stderr.flush()


_usual_hook, sys.excepthook = sys.excepthook, _tell_early
