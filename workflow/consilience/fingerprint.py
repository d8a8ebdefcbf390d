"""Fingerprints the code a rule runs, so that an edit reruns exactly what it affects and a comment nothing."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import consilience
import consilience.domains

PACKAGE = consilience.__name__


def fingerprint(script: str | Path, modules: Iterable[str] = ()) -> str:
    """Return a hash of the parsed code of `script`, of `modules`, and of all of the project that they import.

    Modules that are imported by name at run time (a slice's) are given in `modules`. Comments, docstrings and layout
    do not count, and neither do libraries: their versions are the environment's.
    """
    files: dict[str, Path | None] = {}
    pending = [*_imports(Path(script), ""), *modules]
    while pending:
        module = pending.pop()
        if module not in files:
            file = files[module] = _file(module)
            pending.extend(_parents(module))
            pending.extend(_imports(file, module) if file else ())
    digest = hashlib.sha256(_parsed(Path(script)).encode())
    # By name, not by path: the same code in another folder is the same code.
    for module in sorted(name for name, file in files.items() if file):
        digest.update(f"{module}\n{_parsed(files[module])}\n".encode())
    return digest.hexdigest()[:16]


def _parents(module: str) -> Iterator[str]:
    """Yield the packages around a module, whose __init__ runs before it."""
    parts = module.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts)))


@cache
def _file(module: str) -> Path | None:
    """Return the file of a project module, or None for a name that is not a module (a function of one, say)."""
    prefix = f"{consilience.domains.__name__}."
    if module.startswith(prefix):
        roots, rest = [Path(root) for root in consilience.domains.__path__], module.removeprefix(prefix)
    else:
        roots, rest = [Path(consilience.__file__).parent], module.removeprefix(PACKAGE).removeprefix(".")
    for root in roots:
        path = root.joinpath(*rest.split(".")) if rest else root
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file.resolve()
    return None


@cache
def _imports(file: Path, module: str) -> tuple[str, ...]:
    """Return the project modules a file imports anywhere, also inside functions."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                around = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*around, *([base] if base else [])])
            found += [base, *(f"{base}.{name.name}" for name in node.names)]
    return tuple(name for name in found if name == PACKAGE or name.startswith(f"{PACKAGE}."))


@cache
def _parsed(file: Path) -> str:
    """Return the syntax tree without docstrings and positions."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
