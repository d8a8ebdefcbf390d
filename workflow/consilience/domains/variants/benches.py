"""Which files of calls a study names: true and false ones, bench by bench."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consilience.errors import ConsilienceError

SUFFIXES = (".vcf", ".vcf.gz")
TRUE, FALSE, MISSED = ("tp-comp", "tp-call"), ("fp",), ("fn",)  # tp-call is what Truvari before 4 wrote


@dataclass(frozen=True)
class Bench:
    """The calls of one comparison with the truth; `missed` are truths no call matches, which are no calls."""

    dataset: str
    true: Path
    false: Path
    missed: Path | None = None

    @property
    def files(self) -> tuple[tuple[Path, int], ...]:
        """The files that hold calls with the class of each, true calls first."""
        return (self.true, 1), (self.false, 0)


def benches_of(raw: list[Path], source: Mapping[str, Any]) -> list[Bench]:
    """Return the benches of a source; simulated files are found among `raw`."""
    if source["kind"] == "simulate":
        return [_bench({"path": raw[0].parent}, "simulated")]
    benches = [_bench(own) for own in source.get("benches", [source])]
    names = [bench.dataset for bench in benches]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConsilienceError(f"benches: the dataset {repeated[0]!r} repeats; expected a name of its own for each")
    return benches


def reference_of(raw: list[Path], source: Mapping[str, Any]) -> Path | None:
    """Return the FASTA file of a source, if it has one; simulated data may be told to do without."""
    if source["kind"] == "simulate":
        return raw[0].parent / "reference.fa" if source.get("reference", True) else None
    return Path(source["reference"]) if source.get("reference") else None


def _bench(own: Mapping[str, Any], name: str | None = None) -> Bench:
    name = own.get("dataset", name)
    if "path" not in own:
        true, false = Path(own["tp"]), Path(own["fp"])
        return Bench(name or true.parent.name, true, false)
    folder = Path(own["path"])
    if not folder.is_dir():
        raise ConsilienceError(f"{folder}: no such folder; expected one that truvari bench has written")
    true, false = _one(folder, TRUE), _one(folder, FALSE)
    for path, names in ((true, TRUE), (false, FALSE)):
        if path is None:
            raise ConsilienceError(f"{folder}: no {' or '.join(f'{name}.vcf.gz' for name in names)}; expected a bench")
    return Bench(name or folder.name, true, false, _one(folder, MISSED))


def _one(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the file of one of `names`, plain or compressed; refuses several, which may differ."""
    found = [folder / f"{name}{suffix}" for name in names for suffix in SUFFIXES]
    found = [path for path in found if path.is_file()]
    if len(found) > 1:
        raise ConsilienceError(f"{folder}: both {found[0].name} and {found[1].name}; expected one of them")
    return found[0] if found else None
