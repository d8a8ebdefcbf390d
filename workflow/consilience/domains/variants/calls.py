"""What is known of a structural-variant call, whatever file it comes from, and how calls are grouped."""

from __future__ import annotations

import re

import numpy as np

TYPES = ("INS", "DEL", "DUP", "INV", "BND")
CLASSES = ("FP", "TP")  # index 1, TP, is the class whose log-odds are attributed
NO_SIZE = -1  # the size of a call that tells none; breakends have none
SIZED = ("DEL", "DUP", "INV", "INS")  # the types of which every call has a size
# Lower edges of the size bins that calls are compared within; a call without a size has a bin of its own.
SIZE_EDGES = (0, 100, 300, 1_000, 10_000)
SIZE_BINS = ("none", "< 100", "100-299", "300-999", "1,000-9,999", ">= 10,000")
# What Truvari and its kin write into a call once it is compared with the truth: the answer, in other words.
LABEL_FIELDS = frozenset(
    {"TruScore", "MatchId", "PctSeqSimilarity", "PctSizeSimilarity", "PctRecOverlap", "SizeDiff", "StartDistance",
     "EndDistance", "GTMatch", "Multi", "NumNeighbors", "NumThresholdNeighbors", "NeighId", "RefineState",
     "BREAKPOINT_PRECISE", "TRUVARI_CLASS", "truvari_class", "state", "MatchID"}
)  # fmt: skip
_CHROMOSOME = re.compile(r"(?:chr)?(\d+|X|Y|MT?|Un)(?:_.*)?", re.IGNORECASE)


def chromosome_of(contig: str) -> str:
    """Return the chromosome a contig belongs to: chr1, 1 and chr1_KI270706v1_random are all chromosome 1.

    A name that is none of a chromosome, such as NC_000001.11 or scaffold_12, stays whole but for a leading chr.
    """
    known = _CHROMOSOME.fullmatch(contig)
    name = known[1] if known else re.sub(r"^chr(?=.)", "", contig, flags=re.IGNORECASE)
    return "MT" if name == "M" else name


def type_of(text: str) -> str:
    """Return the type of a call by its own name: DUP:TANDEM is DUP, and TRA, a translocation, is BND."""
    name = text.strip("<>").partition(":")[0].upper()
    return "BND" if name == "TRA" else name


def size_bins(sizes: np.ndarray) -> np.ndarray:
    """Return the place in `SIZE_BINS` of sizes (calls,) in base pairs; `NO_SIZE` has the first."""
    return np.where(sizes < 0, 0, np.searchsorted(SIZE_EDGES, sizes, side="right"))
