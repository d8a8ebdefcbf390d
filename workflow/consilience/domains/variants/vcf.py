"""Reads structural-variant calls from VCF files, one by one: nothing of Truvari's own is read."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pysam

from consilience.domains.variants.calls import LABEL_FIELDS, NO_SIZE, type_of
from consilience.errors import ConsilienceError

NUMBERS = ("Integer", "Float")
SPANNING = ("DEL", "DUP", "INV")  # the types whose sequence is what they reach along the contig
REACHING = (*SPANNING, "CNV")  # the types whose size is how far they reach
LENGTHS = ("SVLEN", "INSLEN")  # the fields that tell a size
# Mapping qualities by the field that counts the reads they are of: Delly writes 0 where there is none to be mapped.
SUPPORTS = {"MAPQ": "PE", "SRMAPQ": "SR"}
_NUCLEOTIDES = re.compile("[ACGTUNRYSWKMBDHV]+", re.IGNORECASE)  # IUPAC codes
_GZIP, _BGZF = b"\x1f\x8b", b"\x1f\x8b\x08\x04"


@dataclass(frozen=True, slots=True)
class Call:
    """One call. Positions are 1-based; `size` is in base pairs; `end` is the last base it reaches.

    `explicit` says that `alt` is a sequence; `consensus` is empty and `quality` None where the file has none, and
    `attributes` are in the order they were asked for, None where the call lacks one; `unsupported` names those whose
    value was passed over because no read supports it (`SUPPORTS`). `multi` is what Truvari flags where another call
    took the match.
    """

    name: str
    contig: str
    position: int
    end: int
    type: str
    size: int
    ref: str
    alt: str
    explicit: bool
    quality: float | None
    filter: str
    consensus: str
    attributes: tuple[float | None, ...]
    unsupported: tuple[str, ...] = ()
    multi: bool = False

    @property
    def alleles(self) -> tuple[str, str]:
        """The bases that explicit alleles take away and put in: without the first where both begin with the same."""
        shared = int(self.ref[0] == self.alt[0])
        return self.ref[shared:], self.alt[shared:]

    @property
    def place(self) -> str:
        """The call as messages name it."""
        return f"{self.contig}:{self.position}:{self.name}"


def refuse_answers(names: Sequence[str]) -> None:
    """Raise ConsilienceError where one of the INFO fields `names` holds the answer."""
    answers = [name for name in names if name in LABEL_FIELDS]
    if answers:
        raise ConsilienceError(
            f"attributes: {answers[0]} is written by the comparison with the truth and gives the answer away; "
            "expected fields that the caller wrote"
        )


def declared(path: Path, attributes: Sequence[str]) -> set[str]:
    """Return which of the fields that `read_calls` reads a file's header declares: attributes, and what they go with.

    Refuses an attribute that is not one number. A field in `SUPPORTS` that is not one counts as not declared.
    """
    with _opened(path) as file:
        fields = file.header.info
        for name in attributes:
            if name in fields and not _is_number(fields[name]):
                raise ConsilienceError(
                    f"{path}: INFO/{name} is declared as Number={fields[name].number}, Type={fields[name].type}; "
                    "an attribute is Number=1 and Integer or Float"
                )
        supports = {SUPPORTS[name] for name in attributes if name in SUPPORTS}
        found = {name for name in supports if name in fields and _is_number(fields[name])}
        return found | {name for name in (*attributes, *LENGTHS, "CONSENSUS") if name in fields}


def read_calls(path: Path, attributes: Sequence[str] = (), unread: Collection[str] = ()) -> Iterator[Call]:
    """Yield the calls of a VCF (or BCF) file in its order, with the values of the INFO fields `attributes`.

    A file is read as if it had none of the fields in `unread`. A mapping quality is None where the support that the
    file declares for it (`SUPPORTS`) is 0 or absent. Raises ConsilienceError for a file that is no VCF or not whole,
    and for a call without a type, with other than one alternative allele, or beyond the end of its contig.
    """
    with _opened(path) as file:
        fields = file.header.info
        lengths = {name: contig.length for name, contig in file.header.contigs.items()}
        if not lengths:
            raise ConsilienceError(f"{path}: the header names no contig; expected a line ##contig=<ID=...> for each")
        if "SVTYPE" not in fields:
            raise ConsilienceError(f"{path}: the header declares no INFO/SVTYPE; expected structural-variant calls")
        known = frozenset(fields) - frozenset(unread)
        for name in known.intersection(LENGTHS):
            if fields[name].type != "Integer":
                raise ConsilienceError(f"{path}: INFO/{name} is declared as {fields[name].type}; expected Integer")
        pairs = {name: SUPPORTS[name] for name in attributes if SUPPORTS.get(name) in known}
        supports = {name: support for name, support in pairs.items() if _is_number(fields[support])}
        read = known.intersection((*attributes, *supports.values(), *LENGTHS, "CONSENSUS", "Multi"))
        header = _Header(path, lengths, read, tuple(attributes), supports)
        for record in _records(file, path):
            yield _call(record, header)


def count_calls(path: Path) -> int:
    """Return how many calls a file holds."""
    with _opened(path) as file:
        return sum(1 for _ in _records(file, path))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep htslib from writing to the terminal: what it refuses is told in the words of this module."""
    before = pysam.set_verbosity(0)
    try:
        yield
    finally:
        pysam.set_verbosity(before)


@dataclass(frozen=True, slots=True)
class _Header:
    """What a file says of all its records, and the INFO fields of theirs that are read, all of them declared."""

    path: Path
    lengths: Mapping[str, int | None]
    read: frozenset[str]
    attributes: tuple[str, ...]
    supports: Mapping[str, str]


def _is_number(field: pysam.VariantMetadata) -> bool:
    return field.number == 1 and field.type in NUMBERS


@contextmanager
def _opened(path: Path) -> Iterator[pysam.VariantFile]:
    if not path.is_file():
        raise ConsilienceError(f"{path}: no such file; expected a VCF file of calls")
    with path.open("rb") as plain:
        start = plain.read(4)
    if start[:2] == _GZIP and start != _BGZF:
        raise ConsilienceError(f"{path}: compressed by gzip; expected plain text or bgzip (gunzip it, then bgzip)")
    try:
        with quiet():
            file = pysam.VariantFile(str(path))
    except (OSError, ValueError) as error:
        problem = "truncated" if "EOF" in str(error) else "not a VCF file with a header"
        raise ConsilienceError(f"{path}: {problem}; expected plain or bgzipped VCF, whole") from error
    try:
        yield file
    finally:
        # Closing fails where reading did, and that was told.
        with quiet(), suppress(OSError):
            file.close()


def _records(file: pysam.VariantFile, path: Path) -> Iterator[pysam.VariantRecord]:
    for count in itertools.count(1):
        try:
            with quiet():
                record = next(file, None)
        except (OSError, ValueError) as error:
            raise ConsilienceError(f"{path}: record {count} cannot be read: truncated or malformed VCF") from error
        if record is None:
            return
        yield record


def _call(record: pysam.VariantRecord, header: _Header) -> Call:
    where = f"{header.path}: record {record.contig}:{record.pos}:{record.id or '.'}"
    kind = _type(record, where)
    info = {name: record.info.get(name) for name in header.read}
    if record.alts is None or len(record.alts) != 1:
        count = len(record.alts or ())
        raise ConsilienceError(f"{where}: {count} alternative alleles; expected 1 (bcftools norm -m- splits them)")
    end = record.pos if kind == "BND" else max(record.stop, record.pos)
    _check_place(record.contig, end, header.lengths, where)
    ref, alt = record.ref.upper(), record.alts[0]
    explicit = _NUCLEOTIDES.fullmatch(alt) is not None
    grown = len(alt) - len(ref) if explicit else 0
    values = {name: _finite(info.get(name), f"INFO/{name}", where) for name in header.attributes}
    unsupported = [name for name, support in header.supports.items() if not info.get(support)]
    return Call(
        name=record.id or ".",
        contig=record.contig,
        position=record.pos,
        end=end,
        type=kind,
        size=_size(kind, end - record.pos, grown, {name: _first(info.get(name)) for name in LENGTHS}),
        ref=ref,
        alt=alt.upper() if explicit else alt,
        explicit=explicit,
        quality=_finite(record.qual, "QUAL", where),
        filter=";".join(record.filter.keys()) or ".",
        consensus=_sequence(info.get("CONSENSUS"), where),
        attributes=tuple(None if name in unsupported else value for name, value in values.items()),
        unsupported=tuple(name for name in unsupported if values[name] is not None),
        multi=bool(info.get("Multi")),
    )


def _type(record: pysam.VariantRecord, where: str) -> str:
    kind = record.info.get("SVTYPE")
    if not isinstance(kind, str):
        raise ConsilienceError(f"{where}: no INFO/SVTYPE; expected the type of the call, such as DEL")
    return type_of(kind)


def _check_place(contig: str, end: int, lengths: Mapping[str, int | None], where: str) -> None:
    if contig not in lengths:
        raise ConsilienceError(f"{where}: the header names no contig {contig}")
    if lengths[contig] and end > lengths[contig]:
        raise ConsilienceError(f"{where}: reaches {end}, beyond the end of {contig} at {lengths[contig]}")


def _sequence(consensus: object, where: str) -> str:
    if consensus is None or consensus == ".":
        return ""
    if not isinstance(consensus, str) or not _NUCLEOTIDES.fullmatch(consensus):
        told = str(consensus)[:40]
        raise ConsilienceError(f"{where}: INFO/CONSENSUS is {told!r}; expected a sequence of nucleotides")
    return consensus.upper()


def _first(value: int | tuple[int, ...] | None) -> int | None:
    """Return a number declared as one, or as one for each alternative allele, as VCF 4.4 has SVLEN."""
    return value[0] if isinstance(value, tuple) else value


def _size(kind: str, reach: int, grown: int, told: Mapping[str, int | None]) -> int:
    """Return the size of a call in base pairs: as told, or how far it reaches, or what its explicit alleles add.

    SVLEN is 0 where VCF up to 4.3 has the difference of lengths, as of an inversion: then it tells no size.
    """
    if kind == "BND":
        return NO_SIZE
    size = told["SVLEN"]
    if not size and kind == "INS":
        size = told["INSLEN"] or grown
    elif not size and kind in REACHING:
        size = grown if kind == "DUP" and grown > 0 else reach
    return abs(size) if size else NO_SIZE


def _finite(value: float | None, name: str, where: str) -> float | None:
    if value is not None and not math.isfinite(value):
        raise ConsilienceError(f"{where}: {name} is {value}; expected a finite number")
    return value
