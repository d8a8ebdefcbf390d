"""Spectra of canonical k-mers: the shares of a sequence's k-mers, whichever strand they were read from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate

import numpy as np

NUCLEOTIDES = "ACGT"
BREAK = "N"  # no k-mer spans it; it also stands between the parts of a sequence
_BREAK = 4
_CODES = np.full(256, _BREAK, np.uint8)
for _code, _letters in enumerate(("Aa", "Cc", "Gg", "TtUu")):
    _CODES[[ord(letter) for letter in _letters]] = _code
# Bases that are counted at once: what is in memory is about thirty bytes a base.
BASES = 2**20


@cache
def canonical_codes(k: int) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the number of every k-mer's canonical form (4^k,), k-mers in the order of the alphabet, and the names.

    The canonical form is the first, by the alphabet, of a k-mer and its reverse complement.
    """
    count = 4**k
    codes = np.arange(count)
    digits = codes[:, None] // 4 ** np.arange(k)[::-1] % 4
    reversed_codes = ((3 - digits)[:, ::-1] * 4 ** np.arange(k)[::-1]).sum(axis=1)
    first = np.minimum(codes, reversed_codes)
    kept, places = np.unique(first, return_inverse=True)
    names = tuple("".join(NUCLEOTIDES[digit] for digit in row) for row in digits[kept])
    return tuple(int(place) for place in places), names


def kmers(k: int) -> tuple[str, ...]:
    """Return the canonical k-mers in the order of the alphabet: 136 for k = 4."""
    return canonical_codes(k)[1]


def spectra(sequences: Sequence[str], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of canonical k-mers, float32 (sequences, k-mers), and which sequences have none, bool.

    Letters other than A, C, G, T and U, in either case, break a sequence: a k-mer that holds one is not counted. The
    shares of a sequence that has a k-mer sum to one.
    """
    counts = np.zeros((len(sequences), len(kmers(k))), np.int64)
    # Parts of about BASES bases: the sequences whose first base falls into the same stretch.
    starts = [0, *accumulate(len(sequence) + 1 for sequence in sequences)][:-1]
    stretch = np.asarray(starts, np.int64) // BASES
    for rows in np.split(np.arange(len(sequences)), np.flatnonzero(np.diff(stretch)) + 1):
        if len(rows):
            counts[rows] = _counts([sequences[row] for row in rows], k)
    total = counts.sum(axis=1, keepdims=True)
    return (counts / np.maximum(total, 1)).astype(np.float32), total[:, 0] == 0


def _counts(sequences: Sequence[str], k: int) -> np.ndarray:
    """Return counts of canonical k-mers, int64 (sequences, k-mers), of sequences laid end to end."""
    places, names = canonical_codes(k)
    text = BREAK.join([*sequences, ""])
    letters = _CODES[np.frombuffer(text.encode("ascii", "replace"), np.uint8)]
    windows = max(0, len(letters) - k + 1)
    codes, broken = np.zeros(windows, np.int32), np.zeros(windows, bool)
    for offset in range(k):
        part = letters[offset : offset + windows]
        codes = 4 * codes + np.minimum(part, 3)
        broken |= part == _BREAK
    rows = np.repeat(np.arange(len(sequences)), [len(sequence) + 1 for sequence in sequences])[:windows]
    whole = ~broken
    found = rows[whole] * len(names) + np.asarray(places)[codes[whole]]
    return np.bincount(found, minlength=len(sequences) * len(names)).reshape(len(sequences), len(names))
