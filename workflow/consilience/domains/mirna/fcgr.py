"""Frequency chaos game representation: a sequence as an image whose pixels are its k-mers, and the way back.

Jeffrey (1990) walks halfway towards the corner of each nucleotide in turn, A (0, 0), C (1, 0), G (1, 1), T (0, 1) as
(column, row), row 0 on top. Where the walk stands after the k-mer s_1...s_k has the closed form

    column = sum_i x(s_i) 2^(i-1),    row = sum_i y(s_i) 2^(i-1),

with (x, y) the corners: the last nucleotide is the most significant bit, so that k-mers which end alike are neighbors.
It is a bijection between k-mers and the pixels of an image of 2^k by 2^k.
"""

from __future__ import annotations

import numpy as np

from consilience.domains.mirna.sequences import encode

AT_ONCE = 512  # sequences
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])  # (column, row) of A, C, G, T


def pixels(codes: np.ndarray, k: int) -> np.ndarray:
    """Return the pixel, row * 2^k + column, of the k-mer that starts at every position; -1 where it holds no k-mer.

    `codes` are int8 (sequences, longest); the result is int64 (sequences, longest - k + 1). A k-mer with N in it, or
    beyond the end of its sequence, is none.
    """
    windows, none = max(0, codes.shape[1] - k + 1), 4**k
    # By code; one nucleotide that is not known takes the sum beyond all pixels.
    corners = np.array([*(column + (row << k) for column, row in CORNERS), none, none], np.int32)[codes]
    found = np.zeros((len(codes), windows), np.int32)
    for place in range(k):
        found += corners[:, place : place + windows] << place
    return np.where(found < none, found, -1).astype(np.int64)


def counts(codes: np.ndarray, k: int) -> np.ndarray:
    """Return how often every k-mer occurs, int64 (sequences, 2^k, 2^k), by one bincount."""
    places, _ = _places(codes, k)
    return np.bincount(places, minlength=len(codes) * 4**k).reshape(len(codes), 2**k, 2**k)


def frequencies(codes: np.ndarray, k: int) -> np.ndarray:
    """Return the share of every k-mer among a sequence's k-mers, float32 (sequences, 2^k, 2^k); each image sums to 1.

    K-mers with N do not count, neither above nor below the line. A sequence without any k-mer gives an empty image.
    """
    images = np.zeros((len(codes), 4**k), np.float32)
    # In parts that stay in a processor's reach. Nearly all pixels are empty: none of them is read or divided.
    for start in range(0, len(codes), AT_ONCE):
        places, totals = _places(codes[start : start + AT_ONCE], k)
        part = images[start : start + AT_ONCE].reshape(-1)
        np.add.at(part, places, np.float32(1))
        part[places] = part.take(places) / np.repeat(totals, totals)
    return images.reshape(len(codes), 2**k, 2**k)


def _places(codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels of all k-mers, counted on from image to image, and the number of k-mers of each sequence."""
    found = pixels(codes, k)
    known = found >= 0
    return (found + 4**k * np.arange(len(codes))[:, None])[known], known.sum(axis=1)


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
    """Return where a k-mer starts in a sequence, counted from 1 at the 5' end; nowhere if it has N in it."""
    (wanted,) = pixels(encode([kmer]), len(kmer))[0]
    found = pixels(encode([sequence]), len(kmer))[0]
    return np.flatnonzero((found == wanted) & (found >= 0)) + 1
