"""Makes the sequences of simulated calls: a reference, alleles that agree with it, and consensus of split reads."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from consilience.domains.variants.simulated_calls import CHROMOSOMES, MARGIN, NEAREST, SPANNING

MOTIF = "GATTCGTCCATA"  # of the element; it shares no 3-mer, on either strand, with the microsatellite
MICROSATELLITE = "AC"
MUTATION_RATE = 0.05  # share of bases drawn anew in every copy of the motif but the first of an element
COMPLEMENTS = str.maketrans("ACGT", "TGCA")
GC_CONTENTS = (0.36, 0.54)  # lowest and highest of a contig
INSERTED_GC = 0.42
ALLELE_ELEMENTS, CONSENSUS_ELEMENTS = (150, 400), (60, 120)  # shortest and longest, bases
REPEATS = (12, 28)  # fewest and most of the microsatellite
ARM = (50, 80)  # shortest and longest part of a consensus on one side of the breakpoint, bases
INSERTED = 60  # bases of an insertion that a consensus holds


class Sequences(NamedTuple):
    """REF and ALT of a call, where a breakend's mate lies, and the consensus with the place of its breakpoint."""

    ref: str
    alt: str
    mate: tuple[str, int] | None
    consensus: str
    breakpoint: int


def reverse_complement(sequence: str) -> str:
    """Return the other strand of a sequence of A, C, G and T."""
    return sequence.translate(COMPLEMENTS)[::-1]


def random_bases(length: int, gc: float, random: np.random.Generator) -> str:
    """Return independent bases, a share of which is G or C."""
    edges = np.array([(1 - gc) / 2, 0.5, (1 + gc) / 2])
    return np.frombuffer(b"ACGT", np.uint8)[np.searchsorted(edges, random.random(length))].tobytes().decode()


def element(length: int, random: np.random.Generator) -> str:
    """Return copies of the motif on one strand, with 2 to 5 random bases between, no longer than `length`."""
    copies = MOTIF
    while True:
        more = random_bases(int(random.integers(2, 6)), 0.5, random) + _mutated(random)
        if len(copies) + len(more) > length:
            break
        copies += more
    return copies if random.random() < 0.5 else reverse_complement(copies)


def _mutated(random: np.random.Generator) -> str:
    others = random_bases(len(MOTIF), 0.5, random)
    changed = random.random(len(MOTIF)) < MUTATION_RATE
    return "".join(other if new else base for base, other, new in zip(MOTIF, others, changed, strict=True))


def _with_element(sequence: str, random: np.random.Generator) -> str:
    """Return a sequence in which an element has taken the place of as many bases."""
    planted = element(min(int(random.integers(*ALLELE_ELEMENTS, endpoint=True)), len(sequence)), random)
    start = int(random.integers(len(sequence) - len(planted) + 1))
    return f"{sequence[:start]}{planted}{sequence[start + len(planted) :]}"


def make_reference(calls: pd.DataFrame, chromosomes: int, random: np.random.Generator) -> dict[str, str]:
    """Return contigs as long as their calls need; what a call that carries the element spans holds it."""
    contigs = {}
    for name in CHROMOSOMES[:chromosomes]:
        own = calls[calls["chromosome"] == name]
        gc = random.uniform(*GC_CONTENTS)
        sequence = random_bases(int(own["end"].max() if len(own) else MARGIN) + MARGIN, gc, random)
        parts, last = [], 0
        for call in own[own["element"] & own["type"].isin(SPANNING)].itertuples():
            parts += [sequence[last : call.position], _with_element(sequence[call.position : call.end], random)]
            last = call.end
        contigs[name] = "".join([*parts, sequence[last:]])
    return contigs


def make_sequences(calls: pd.DataFrame, contigs: dict[str, str], random: np.random.Generator) -> list[Sequences]:
    """Return the sequences of every call; those of contigs agree with the reference."""
    return [_sequences(call, calls, contigs, random) for call in calls.itertuples()]


def _sequences(call: Any, calls: pd.DataFrame, contigs: dict[str, str], random: np.random.Generator) -> Sequences:
    contig, mate, inserted = contigs[call.chromosome], None, ""
    ref, alt = contig[call.position - 1], f"<{call.type}>"
    before, after = (int(length) for length in random.integers(*ARM, size=2, endpoint=True))
    if call.type == "BND":
        mate = _mate(call, calls, random)
        alt, left, right = _breakend(contig, call.position, contigs, mate, (before, after), random)
    else:
        left, right = _arms(contig, call, before, after)
    if call.type == "INS":
        inserted = random_bases(call.length, INSERTED_GC, random)
        inserted = _with_element(inserted, random) if call.element else inserted
        alt = ref + inserted if call.explicit else alt
    elif call.explicit:
        ref, alt = contig[call.position - 1 : call.end], ref
    junction = inserted[:INSERTED] + _planted(call, random)
    return Sequences(ref, alt, mate, f"{left}{junction}{right}" if call.precise else "", len(left))


def _planted(call: Any, random: np.random.Generator) -> str:
    """Return what stands at the breakpoint of a consensus beside what the reference and the allele put there."""
    planted = element(int(random.integers(*CONSENSUS_ELEMENTS, endpoint=True)), random) if call.element else ""
    if call.microsatellite:
        repeat = MICROSATELLITE * int(random.integers(*REPEATS, endpoint=True))
        planted += repeat if random.random() < 0.5 else reverse_complement(repeat)
    return planted


def _arms(contig: str, call: Any, before: int, after: int) -> tuple[str, str]:
    """Return what a read across the new adjacency sees on its two sides."""
    position, end = call.position, call.end
    left, right = contig[position - before : position], contig[end : end + after]
    if call.type == "DUP":
        left, right = contig[max(position, end - before) : end], contig[position : min(end, position + after)]
    elif call.type == "INV":
        right = reverse_complement(contig[max(position, end - after) : end])
    return left, right


def _mate(call: Any, calls: pd.DataFrame, random: np.random.Generator) -> tuple[str, int]:
    """Return a place on another chromosome, between two calls."""
    others = calls[calls["chromosome"] != call.chromosome]
    other = others.iloc[int(random.integers(len(others)))]
    return other["chromosome"], int(other["position"]) - NEAREST // 2


def _breakend(
    contig: str,
    position: int,
    contigs: dict[str, str],
    mate: tuple[str, int],
    arms: tuple[int, int],
    random: np.random.Generator,
) -> tuple[str, str, str]:
    """Return ALT in one of the four notations of VCF 4.2 (section 5.4) and the two sides of the adjacency."""
    (name, place), (before, after), base = mate, arms, contig[position - 1]
    other = contigs[name]
    own_left, own_right = contig[position - before : position], contig[position - 1 : position - 1 + after]
    mate_left, mate_right = other[place - after : place], other[place - 1 : place - 1 + before]
    forms = (
        (f"{base}[{name}:{place}[", own_left, mate_right),
        (f"{base}]{name}:{place}]", own_left, reverse_complement(mate_left)),
        (f"]{name}:{place}]{base}", mate_left, own_right),
        (f"[{name}:{place}[{base}", reverse_complement(mate_right), own_right),
    )
    return forms[int(random.integers(len(forms)))]
