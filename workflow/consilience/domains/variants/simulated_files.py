"""Writes simulated calls as Truvari leaves them, and their reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pysam

from consilience.domains.variants.calls import TYPES
from consilience.domains.variants.simulated_calls import SPANNING
from consilience.domains.variants.simulated_sequences import Sequences

SAMPLE = "sample"
LINE_LENGTH = 60
# Name, Number, Type, Description; those of the caller as Delly has them, then those that Truvari adds.
FIELDS = (
    ("SVTYPE", 1, "String", "Type of structural variant"),
    ("SVMETHOD", 1, "String", "Type of approach used to detect SV"),
    ("END", 1, "Integer", "End position of the structural variant"),
    ("CHR2", 1, "String", "Chromosome for POS2 coordinate in case of an inter-chromosomal translocation"),
    ("POS2", 1, "Integer", "Genomic position for CHR2 in case of an inter-chromosomal translocation"),
    ("SVLEN", 1, "Integer", "Length of the structural variant, negative for a deletion"),
    ("IMPRECISE", 0, "Flag", "Imprecise structural variation"),
    ("PRECISE", 0, "Flag", "Precise structural variation"),
    ("PE", 1, "Integer", "Paired-end support of the structural variant"),
    ("MAPQ", 1, "Integer", "Median mapping quality of paired-ends"),
    ("SR", 1, "Integer", "Split-read support"),
    ("SRMAPQ", 1, "Integer", "Median mapping quality of split-reads"),
    ("INSLEN", 1, "Integer", "Predicted length of the insertion"),
    ("HOMLEN", 1, "Integer", "Predicted microhomology length"),
    ("CONSENSUS", 1, "String", "Split-read consensus sequence"),
    ("CONSBP", 1, "Integer", "Consensus SV breakpoint position"),
    ("TruScore", 1, "Integer", "Truvari score for similarity of match"),
    ("PctSeqSimilarity", 1, "Float", "Pct sequence similarity between this variant and its closest match"),
    ("PctSizeSimilarity", 1, "Float", "Pct size similarity between this variant and its closest match"),
    ("PctRecOverlap", 1, "Float", "Percent reciprocal overlap percent of the two calls' coordinates"),
    ("StartDistance", 1, "Integer", "Distance of the base call's end from comparison call's start"),
    ("EndDistance", 1, "Integer", "Distance of the base call's end from comparison call's end"),
    ("SizeDiff", 1, "Float", "Difference in size of base and comp calls"),
    ("GTMatch", 1, "Integer", "Base/Comparison genotypes AC difference"),
    ("MatchId", ".", "String", "Tuple of base and comparison call ids which were matched"),
    ("Multi", 0, "Flag", "Call is false due to non-multimatching"),
)
COMPARED = 0.4  # share of false calls that have something near in the truth to be compared with


def write_reference(path: Path, contigs: dict[str, str]) -> None:
    """Write contigs as FASTA, and its index beside it."""
    with open(path, "w", newline="\n") as file:
        for name, sequence in contigs.items():
            lines = (sequence[start : start + LINE_LENGTH] for start in range(0, len(sequence), LINE_LENGTH))
            file.write("\n".join([f">{name}", *lines, ""]))
    pysam.faidx(str(path))


def write_bench(
    folder: Path,
    calls: pd.DataFrame,
    sequences: Sequence[Sequences],
    lengths: dict[str, int],
    random: np.random.Generator,
) -> None:
    """Write `tp-comp.vcf.gz` and `fp.vcf.gz`; `lengths` are those of the contigs, in their order."""
    header = _header(lengths)
    with (
        pysam.VariantFile(str(folder / "tp-comp.vcf.gz"), "wz", header=header) as true,
        pysam.VariantFile(str(folder / "fp.vcf.gz"), "wz", header=header) as false,
    ):
        for number, (call, own) in enumerate(zip(calls.itertuples(), sequences, strict=True)):
            file = true if call.true else false
            record = file.header.new_record(
                contig=call.chromosome, start=call.position - 1, stop=_stop(call, own.ref), alleles=(own.ref, own.alt),
                id=call.id, qual=call.quality, filter=call.filter,
            )  # fmt: skip
            record.info.update(_caller_fields(call, own))
            record.info.update(_truvari_fields(call, number, random))
            record.samples[SAMPLE]["GT"] = (0, 1) if random.random() < 0.7 else (1, 1)
            file.write(record)


def _header(lengths: dict[str, int]) -> pysam.VariantHeader:
    header = pysam.VariantHeader()
    header.filters.add("LowQual", None, None, "Poor quality and insufficient number of PEs and SRs.")
    for name in TYPES:
        header.add_line(f'##ALT=<ID={name},Description="{name}">')
    for name, length in lengths.items():
        header.contigs.add(name, length=length)
    for field in FIELDS:
        header.info.add(*field)
    header.formats.add("GT", 1, "String", "Genotype")
    header.add_sample(SAMPLE)
    return header


def _stop(call: Any, ref: str) -> int:
    """Return the last base; htslib writes END where it is not that of REF."""
    return call.end if call.type in SPANNING else call.position - 1 + len(ref)


def _caller_fields(call: Any, own: Sequences) -> dict[str, Any]:
    fields = {"SVTYPE": call.type, "SVMETHOD": "SIMULATED", "PE": call.PE, "MAPQ": call.MAPQ}
    if own.mate:
        fields["CHR2"], fields["POS2"] = own.mate
    else:
        fields["SVLEN"] = -call.length if call.type == "DEL" else call.length
    if not call.precise:
        return fields | {"IMPRECISE": True}
    return fields | {
        "PRECISE": True, "SR": call.SR, "SRMAPQ": call.SRMAPQ, "HOMLEN": call.HOMLEN, "CONSENSUS": own.consensus,
        "INSLEN": call.length if call.type == "INS" else 0, "CONSBP": own.breakpoint,
    }  # fmt: skip


def _truvari_fields(call: Any, number: int, random: np.random.Generator) -> dict[str, Any]:
    """Return what Truvari tells of the closest call of the truth; a false call may have none, or one that differs."""
    match = f"{number}.0"
    if not call.true and random.random() >= COMPARED:
        return {"MatchId": (None, match)}
    low, high, shift = (0.9, 1, 20) if call.true else (0, 0.6, 900)
    sequence, size, overlap = (round(share, 4) for share in random.uniform(low, high, 3))
    start, difference = (int(value) for value in random.integers(-shift, shift, 2, endpoint=True))
    fields = {
        "TruScore": int(100 * (sequence + size + overlap) / 3), "PctSeqSimilarity": sequence,
        "PctSizeSimilarity": size, "PctRecOverlap": overlap, "StartDistance": start,
        "EndDistance": start + difference, "SizeDiff": difference, "GTMatch": int(random.integers(2)),
        "MatchId": (match, match),
    }  # fmt: skip
    return fields if call.true or random.random() < 0.8 else fields | {"Multi": True}
