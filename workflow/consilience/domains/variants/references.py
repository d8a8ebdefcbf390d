"""The bases of a reference genome around and within calls, from a FASTA file that samtools has indexed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pysam

from consilience.domains.variants.spectrum import BREAK, NUCLEOTIDES
from consilience.domains.variants.vcf import SPANNING, Call, quiet
from consilience.errors import ConsilienceError


class Reference:
    """A reference opened for reading; `open_reference(path)` is a context manager."""

    def __init__(self, file: pysam.FastaFile, path: Path) -> None:
        self.path = path
        self._file = file
        self._lengths = dict(zip(file.references, file.lengths, strict=True))

    def check(self, call: Call, calls: Path, maximum: int) -> None:
        """Refuse a call that is not of this reference: an unknown contig, a place beyond its end, or other bases.

        Of the reference allele the first `maximum` bases are compared, where both are one of A, C, G and T.
        """
        where = f"{calls}: record {call.place}"
        length = self._lengths.get(call.contig)
        if length is None:
            raise ConsilienceError(f"{where}: the reference {self.path} has no contig {call.contig}")
        if call.end > length:
            raise ConsilienceError(
                f"{where}: reaches {call.end}, beyond the end of {call.contig} at {length} in {self.path}"
            )
        told = call.ref[:maximum] if call.position else ""  # position 0 is before the first base
        found = self._bases(call.contig, call.position - 1, call.position - 1 + len(told))
        pairs = zip(told, found.ljust(len(told), BREAK), strict=True)
        if any(one != other and one in NUCLEOTIDES and other in NUCLEOTIDES for one, other in pairs):
            raise ConsilienceError(
                f"{where}: REF is {told[:20]}, and {self.path} has {found[:20]} there; "
                "expected the reference that the calls were made on"
            )

    def within(self, call: Call, maximum: int) -> str:
        """Return the first `maximum` bases of a call's span, after its position up to its end."""
        return self._bases(call.contig, call.position, min(call.end, call.position + maximum))

    def around(self, call: Call, flank: int) -> str:
        """Return `flank` bases on either side of a call with a break between; fewer at the edges of a contig.

        Before it stand the bases up to its position, which it leaves as they are; after it those beyond its end, or,
        where it spans nothing (INS, BND), beyond its position.
        """
        end = call.end if call.type in SPANNING else call.position
        before = self._bases(call.contig, max(0, call.position - flank), call.position)
        return f"{before}{BREAK}{self._bases(call.contig, end, end + flank)}"

    def _bases(self, contig: str, start: int, stop: int) -> str:
        """Return bases counted from 0, the stop not among them, in upper case."""
        start = max(start, 0)
        return self._file.fetch(contig, start, stop).upper() if start < min(stop, self._lengths[contig]) else ""


@contextmanager
def open_reference(path: Path | None) -> Iterator[Reference | None]:
    """Yield the reference at `path`, or None where there is none; refuses a FASTA file without its index."""
    if path is None:
        yield None
        return
    if not path.is_file():
        raise ConsilienceError(f"{path}: no such file; expected a reference in FASTA")
    for suffix in (".fai", ".gzi") if path.suffix == ".gz" else (".fai",):
        # pysam would write the index itself, into a folder that is not ours.
        if not Path(f"{path}{suffix}").is_file():
            raise ConsilienceError(f"{path}: no index {path.name}{suffix} beside it; make it: samtools faidx {path}")
    try:
        with quiet():
            file = pysam.FastaFile(str(path))
    except (OSError, ValueError) as error:
        raise ConsilienceError(f"{path}: not a FASTA file that samtools has indexed") from error
    with file:
        yield Reference(file, path)
