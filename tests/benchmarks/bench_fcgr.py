"""CPU time of the k-mer images of mirna against plain Python loops that walk the chaos game, at 5,000 sites of 50 nt.

Run as `OMP_NUM_THREADS=1 python tests/benchmarks/bench_fcgr.py [sites k]`.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))

from consilience.domains.mirna.fcgr import frequencies
from consilience.domains.mirna.sequences import encode

LENGTH = 50
CORNERS = {"A": (0, 0), "C": (1, 0), "G": (1, 1), "T": (0, 1)}
REPEATS, PEER_REPEATS = 20, 2
# Sites that `prepare` takes at once for k = 6.
BLOCK = 512


def kmer_by_kmer(sequences: Sequence[str], k: int) -> np.ndarray:
    """Count the k-mers of each sequence, and walk to the pixel of each with plain numbers, as the earlier system did."""
    images = np.zeros((len(sequences), 2**k, 2**k), np.float32)
    for image, sequence in zip(images, sequences, strict=True):
        found = Counter(sequence[start : start + k] for start in range(len(sequence) - k + 1))
        for kmer, count in found.items():
            x = y = 0.5
            for letter in kmer:
                corner = CORNERS[letter]
                x, y = (x + corner[0]) / 2, (y + corner[1]) / 2
            image[int(y * 2**k), int(x * 2**k)] = count / (len(sequence) - k + 1)
    return images


def one_walk(sequences: Sequence[str], k: int) -> np.ndarray:
    """Walk once over each sequence, as Jeffrey (1990) does: the last k letters alone decide the pixel."""
    images = np.zeros((len(sequences), 2**k, 2**k), np.float32)
    for image, sequence in zip(images, sequences, strict=True):
        x = y = 0.5
        for place, letter in enumerate(sequence):
            corner = CORNERS[letter]
            x, y = (x + corner[0]) / 2, (y + corner[1]) / 2
            if place >= k - 1:
                image[int(y * 2**k), int(x * 2**k)] += 1
        image /= len(sequence) - k + 1
    return images


def array_steps(sequences: Sequence[str], k: int) -> np.ndarray:
    """Walk to the pixel of each k-mer with the place as an array of two."""
    corners = {letter: np.array(corner, float) for letter, corner in CORNERS.items()}
    images = np.zeros((len(sequences), 2**k, 2**k), np.float32)
    for image, sequence in zip(images, sequences, strict=True):
        for start in range(len(sequence) - k + 1):
            place = np.array([0.5, 0.5])
            for letter in sequence[start : start + k]:
                place = (place + corners[letter]) / 2
            column, row = (place * 2**k).astype(int)
            image[row, column] += 1
        image /= len(sequence) - k + 1
    return images


def in_blocks(sequences: Sequence[str], k: int) -> None:
    """Make the images block by block, as `prepare` does, each block in the memory of the last."""
    for start in range(0, len(sequences), BLOCK):
        frequencies(encode(sequences[start : start + BLOCK]), k)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return a result and the CPU-seconds it took."""
    start = time.process_time()
    return work(), time.process_time() - start


def least(work: Callable[[], Any], repeats: int) -> float:
    """Return the fewest CPU-seconds of several runs: the first pays for fresh memory, others for a busy machine."""
    return min(timed(work)[1] for _ in range(repeats))


def main() -> None:
    """Print CPU-seconds, ratios to both ways of `frequencies`, and agreement."""
    sites, k = (int(value) for value in sys.argv[1:3]) if len(sys.argv) > 2 else (5000, 6)
    random = np.random.default_rng(0)
    sequences = ["".join(letters) for letters in random.choice(list("ACGT"), (sites, LENGTH))]
    mine = frequencies(encode(sequences), k)
    once = least(lambda: frequencies(encode(sequences), k), REPEATS)
    blocks = least(lambda: in_blocks(sequences, k), REPEATS)
    print(f"{sites} sites of {LENGTH} nucleotides, k = {k}, CPU-seconds")
    print(f"frequencies, all at once         {once:8.4f}")
    print(f"frequencies, in blocks of {BLOCK:<6} {blocks:8.4f}")
    for name, walk in PEERS.items():
        seconds = least(lambda walk=walk: walk(sequences, k), PEER_REPEATS)
        difference = float(np.abs(walk(sequences[:500], k) - mine[:500]).max())
        print(f"{name:32} {seconds:8.4f}  {seconds / once:4.0f}x  {seconds / blocks:4.0f}x in blocks  {difference:.0e}")


PEERS = {
    "plain loop, an array a step": array_steps,
    "plain loop, k-mer by k-mer": kmer_by_kmer,
    "plain loop, one walk a site": one_walk,
}

if __name__ == "__main__":
    main()
