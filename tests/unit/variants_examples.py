"""Small call files, references and benches that the tests of the variants slice share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pysam

CONTIGS = {"chr1": 10_000, "chr2": 5_000, "chrX": 3_000}
FIELDS = {
    "SVTYPE": "1,String", "SVLEN": "1,Integer", "END": "1,Integer", "CHR2": "1,String", "INSLEN": "1,Integer",
    "HOMLEN": "1,Integer", "PE": "1,Integer", "SR": "1,Integer", "MAPQ": "1,Integer", "SRMAPQ": "1,Integer",
    "SRQ": "1,Float", "CONSENSUS": "1,String", "PRECISE": "0,Flag", "IMPRECISE": "0,Flag",
    "TruScore": "1,Integer", "PctSeqSimilarity": "1,Float", "MatchId": ".,String", "Multi": "0,Flag",
}  # fmt: skip
TRUVARI = ("TruScore", "PctSeqSimilarity", "MatchId", "Multi")
HEADER = "CHROM POS ID REF ALT QUAL FILTER INFO"
PAIRED = {"A": "T", "C": "G", "G": "C", "T": "A"}


def drawn_sequence(random, length, letters="ACGT"):
    return "".join(letters[place] for place in random.integers(len(letters), size=length))


def partner(sequence):
    """The other strand, read from its own 5' end; N stays N."""
    return "".join(PAIRED.get(letter, letter) for letter in reversed(sequence))


def record(name, position=100, contig="chr1", ref="A", alt="<DEL>", quality="60", filters="PASS", **info):
    """The line of a call; INFO fields by name, True for a flag, None for one that is not there."""
    told = [key if value is True else f"{key}={value}" for key, value in info.items() if value is not None]
    return "\t".join([contig, str(position), name, ref, alt, str(quality), filters, ";".join(told) or "."])


def write_vcf(path, records, contigs=CONTIGS, fields=FIELDS, filters=("LowQual",)):
    """Write lines of calls below a header, bgzipped where the name ends with .gz; return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    header = ["##fileformat=VCFv4.2"]
    header += [f'##FILTER=<ID={name},Description="-">' for name in filters]
    header += [f"##contig=<ID={name},length={length}>" for name, length in contigs.items()]
    for name, kind in fields.items():
        number, _, type_name = kind.partition(",")
        header.append(f'##INFO=<ID={name},Number={number},Type={type_name},Description="-">')
    text = "\n".join([*header, "#" + "\t".join(HEADER.split()), *records]) + "\n"
    plain = path.with_name(f".{path.name}.plain") if path.suffix == ".gz" else path
    plain.write_text(text)
    if plain != path:
        pysam.tabix_compress(str(plain), str(path), force=True)
        plain.unlink()
    return path


def write_fasta(path, sequences):
    """Write sequences by contig with their index; return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in sequences.items()))
    pysam.faidx(str(path))
    return path


def drawn_reference(seed=0, contigs=CONTIGS):
    """A random sequence for every contig."""
    random = np.random.default_rng(seed)
    return {name: drawn_sequence(random, length) for name, length in contigs.items()}


def deletion(name, position, size=60, sequences=None, contig="chr1", explicit=False, **info):
    """A deletion, by a symbolic allele or with the bases of `sequences` spelled out."""
    bases = sequences[contig][position - 1 : position + size] if sequences else "A"
    own = {"SVTYPE": "DEL", "SVLEN": -size, "END": None if explicit else position + size} | info
    ref, alt = (bases, bases[0]) if explicit else (bases[0], "<DEL>")
    return record(name, position, contig, ref, alt, **own)


def write_bench(folder, true, false, suffix=".vcf.gz", **header):
    """Write the two files of a Truvari bench; return the folder."""
    write_vcf(folder / f"tp-comp{suffix}", true, **header)
    write_vcf(folder / f"fp{suffix}", false, **header)
    return folder
