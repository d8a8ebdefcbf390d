"""Sequences as arrays of codes: A, C, G and T are 0 to 3, N is 4, and what pads a short sequence is 5."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from consilience.errors import ConsilienceError

NUCLEOTIDES = "ACGT"
UNKNOWN, PADDING = 4, 5
LETTERS = frozenset("ACGTUN")
_CODES = np.full(256, PADDING, np.int8)
for _code, _letters in enumerate(("Aa", "Cc", "Gg", "TtUu", "Nn")):
    _CODES[[ord(letter) for letter in _letters]] = _code
_COMPLEMENT = str.maketrans("ACGT", "TGCA")


def normalized(sequence: str) -> str:
    """Return a sequence in upper case, as DNA."""
    return sequence.upper().replace("U", "T")


def encode(sequences: Sequence[str]) -> np.ndarray:
    """Return codes, int8 (sequences, longest), of RNA or DNA in any case; refuses other letters."""
    lengths = [len(sequence) for sequence in sequences]
    codes = np.full((len(sequences), max(lengths, default=0)), PADDING, np.int8)
    filled = np.arange(codes.shape[1]) < np.asarray(lengths)[:, None]
    known = _CODES[np.frombuffer("".join(sequences).encode("ascii", "replace"), np.uint8)]
    if (known == PADDING).any():
        place = int((known == PADDING).argmax())
        row = int(np.searchsorted(np.cumsum(lengths), place, side="right"))
        letter = "".join(sequences)[place]
        raise ConsilienceError(f"sequence {row} (counted from 0) holds {letter!r}; expected A, C, G, T, U or N")
    codes[filled] = known
    return codes


def decode(codes: np.ndarray) -> str:
    """Return the sequence of one row of codes."""
    return "".join("ACGTN"[code] for code in codes if code != PADDING)


def reverse_complement(sequence: str) -> str:
    """Return the strand that pairs with a DNA sequence, read from its own 5' end."""
    return sequence.translate(_COMPLEMENT)[::-1]


def dinucleotide_shuffle(sequence: str, random: np.random.Generator) -> str:
    """Return a random sequence with the same first and last letter, and the same count of every pair of neighbors.

    A random Eulerian path, every one as likely (Altschul & Erickson 1985): for each letter a last exit is drawn until
    all exits lead to the sequence's last letter; the other exits come before it in random order.
    """
    exits: dict[str, list[str]] = {}
    for letter, following in pairwise(sequence):
        exits.setdefault(letter, []).append(following)
    letters = sorted(exits)
    while True:
        last = {letter: int(random.integers(len(exits[letter]))) for letter in letters if letter != sequence[-1]}
        ends = {letter: exits[letter][place] for letter, place in last.items()}
        if all(_leads_to(sequence[-1], letter, ends) for letter in ends):
            break
    order = {}
    for letter in letters:
        rest = list(exits[letter])
        final = [rest.pop(last[letter])] if letter in last else []
        order[letter] = [rest[place] for place in random.permutation(len(rest))] + final
    walk = [sequence[:1]]
    for _ in sequence[1:]:
        walk.append(order[walk[-1]].pop(0))
    return "".join(walk)


def _leads_to(goal: str, letter: str, ends: dict[str, str]) -> bool:
    """Say whether last exits lead from a letter to the goal, rather than into a circle."""
    for _ in range(len(ends) + 1):
        if letter == goal:
            return True
        letter = ends[letter]
    return False
