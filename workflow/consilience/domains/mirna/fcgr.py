"""Frequency chaos game representation: a sequence as an image whose pixels are its k-mers, and the way back.

Jeffrey (1990) walks halfway towards the corner of each nucleotide in turn, A (0, 0), C (1, 0), G (1, 1), T (0, 1) as
(column, row), row 0 on top. Where the walk stands after the k-mer s_1...s_k has the closed form

    column = sum_i x(s_i) 2^(i-1),    row = sum_i y(s_i) 2^(i-1),

with (x, y) the corners: the last nucleotide is the most significant bit, so that k-mers which end alike are neighbors.
It is a bijection between k-mers and the pixels of an image of 2^k by 2^k.
"""

from __future__ import annotations

import numpy as np

from consilience.domains.mirna.sequences import NUCLEOTIDES, encode

SMALLEST_K, LARGEST_K = 3, 6
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])  # (column, row) of A, C, G, T


def pixels(codes: np.ndarray, k: int) -> np.ndarray:
    """Return the pixel, row * 2^k + column, of the k-mer that starts at every position; -1 where it holds no k-mer.

    `codes` are int8 (sequences, longest); the result is int64 (sequences, longest - k + 1). A k-mer with N in it, or
    beyond the end of its sequence, is none.
    """
    windows = max(0, codes.shape[1] - k + 1)
    known = codes < len(NUCLEOTIDES)
    corners = CORNERS[np.where(known, codes, 0)]
    found, valid = np.zeros((len(codes), windows), np.int64), np.ones((len(codes), windows), bool)
    for place in range(k):
        part = slice(place, place + windows)
        found += (corners[:, part, 0] + (corners[:, part, 1] << k)) << place
        valid &= known[:, part]
    return np.where(valid, found, -1)


def counts(codes: np.ndarray, k: int) -> np.ndarray:
    """Return how often every k-mer occurs, int64 (sequences, 2^k, 2^k), by one bincount."""
    found = pixels(codes, k)
    rows, _ = np.nonzero(found >= 0)
    size = 4**k
    total = np.bincount(rows * size + found[found >= 0], minlength=len(codes) * size)
    return total.reshape(len(codes), 2**k, 2**k)


def frequencies(codes: np.ndarray, k: int) -> np.ndarray:
    """Return the share of every k-mer among a sequence's k-mers, float32 (sequences, 2^k, 2^k); each image sums to 1.

    K-mers with N do not count, neither above nor below the line. A sequence without any k-mer gives an empty image.
    """
    found = counts(codes, k)
    total = found.sum(axis=(1, 2), keepdims=True)
    return (found / np.maximum(total, 1)).astype(np.float32)


def kmers(k: int) -> np.ndarray:
    """Return the k-mer of every pixel, text (2^k, 2^k): nucleotide i follows from bit i - 1 of column and row."""
    row, column = np.indices((2**k, 2**k))
    # By corner as row * 2 + column: A, C, T, G.
    letters = np.array(["A", "C", "T", "G"], dtype=object)
    names = np.full(row.shape, "", dtype=object)
    for place in range(k):
        names = names + letters[(row >> place & 1) * 2 + (column >> place & 1)]
    return names


def positions(sequence: str, kmer: str) -> np.ndarray:
    """Return where a k-mer starts in a sequence, counted from 1 at the 5' end."""
    (wanted,) = pixels(encode([kmer]), len(kmer))[0]
    return np.flatnonzero(pixels(encode([sequence]), len(kmer))[0] == wanted) + 1
