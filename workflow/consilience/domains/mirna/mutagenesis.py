"""In-silico mutagenesis: what becomes of a prediction when nucleotides are replaced, one by one and in pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from consilience.domains.mirna.fcgr import frequencies, pixels
from consilience.domains.mirna.prepare import BRANCHES
from consilience.domains.mirna.sequences import NUCLEOTIDES, PADDING, UNKNOWN, encode
from consilience.errors import ConsilienceError

if TYPE_CHECKING:
    from consilience.attribution.batches import Batch

OTHERS = len(NUCLEOTIDES) - 1
SAME = 1e-4  # relative to the largest input: images that differ by rounding alone


def side_and_k(batch: Batch) -> int:
    """Return k of a batch's images."""
    return int(batch.inputs[0].shape[-1]).bit_length() - 1


def sequences_of(batch: Batch) -> tuple[np.ndarray, ...]:
    """Return the codes (samples, longest) of both sequences; refuses samples of which nobody told the sequences."""
    about = batch.about
    if about is None or any(branch not in about for branch in BRANCHES) or batch.scaled is None:
        raise ConsilienceError(
            f"this method reads sequences; give them as `about`, a table with the columns {', '.join(BRANCHES)}"
        )
    for branch in BRANCHES:
        if about[branch].isna().any():
            raise ConsilienceError(f"about: row {int(about[branch].isna().argmax())} has no {branch} sequence")
    if "sequences" not in batch.shared:
        batch.shared["sequences"] = _checked_sequences(batch, about)
    return batch.shared["sequences"]


def _checked_sequences(batch: Batch, about: pd.DataFrame) -> tuple[np.ndarray, ...]:
    """Return the codes; refuses sequences whose images are not the batch's inputs."""
    codes = tuple(encode(list(about[branch].astype(str))) for branch in BRANCHES)
    for place, (branch, own) in enumerate(zip(BRANCHES, codes, strict=True)):
        apart = (scaled_images(batch, place, own) - batch.inputs[place]).abs().amax(dim=(1, 2))
        scale = batch.inputs[place].abs().amax().clamp(min=1)
        for row in (apart > SAME * scale).nonzero()[:1, 0].tolist():
            raise ConsilienceError(f"about: the {branch} sequence of row {row} is not the one that its image shows")
    return codes


def substitutions(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return every single substitution of a sequence: mutants, int8 (3 x known nucleotides, longest), and positions.

    `codes` (longest,) is one sequence; N is not replaced.
    """
    places = np.repeat(np.flatnonzero(codes < len(NUCLEOTIDES)), OTHERS)
    mutants = np.repeat(codes[None], len(places), axis=0)
    steps = np.tile(np.arange(1, OTHERS + 1), len(places) // OTHERS)
    rows = np.arange(len(places))
    mutants[rows, places] = (mutants[rows, places] + steps) % len(NUCLEOTIDES)
    return mutants, places


def position_effects(batch: Batch, internal_batch: int) -> tuple[torch.Tensor, ...]:
    """Return by branch how far F falls, on the average, under the three substitutions of every nucleotide.

    float64 (members, targets, samples, longest); NaN for N and beyond a sequence's end. `internal_batch` is how many
    mutants a network sees at once.
    """
    codes = sequences_of(batch)
    wild = batch.function.values(batch.inputs, batch.auxiliary).movedim(2, 1)
    results = []
    for place, branch in enumerate(codes):
        falls = wild.new_full((*wild.shape, branch.shape[1]), torch.nan)
        for sample, own in enumerate(branch):
            mutants, places = substitutions(own)
            values = _values(batch, sample, place, mutants, internal_batch)
            change = wild[:, :, sample, None] - values
            known = torch.as_tensor(places[::OTHERS], device=falls.device)
            falls[:, :, sample, known] = change.unflatten(2, (-1, OTHERS)).mean(dim=-1)
        results.append(falls)
    return tuple(results)


def _values(batch: Batch, sample: int, place: int, mutants: np.ndarray, size: int) -> torch.Tensor:
    """Return F (members, targets, mutants) of one sample, whose branch at `place` is each of the mutants."""
    parts = [batch.inputs[other][sample : sample + 1] for other in range(len(batch.inputs))]
    values = []
    for start in range(0, len(mutants), size):
        own = scaled_images(batch, place, mutants[start : start + size])
        inputs = tuple(own if other == place else part.expand(len(own), -1, -1) for other, part in enumerate(parts))
        values.append(batch.function.values(tuple(part.contiguous() for part in inputs)))
    return torch.cat(values, dim=1).movedim(2, 1)


def scaled_images(batch: Batch, place: int, codes: np.ndarray) -> torch.Tensor:
    """Return the scaled images of sequences (rows, longest) as the batch's branch number `place` has them."""
    return batch.scaled(place, frequencies(codes, side_and_k(batch)))


def spread_over_kmers(effects: torch.Tensor, codes: np.ndarray, k: int) -> torch.Tensor:
    """Divide the effect of every nucleotide evenly over the k-mers that cover it: an image a sample, same total.

    `effects` are (members, targets, samples, longest) and `codes` (samples, longest); the result is (members, targets,
    samples, 2^k, 2^k). What no k-mer covers, for N nearby, is lost.
    """
    result = effects.new_zeros((*effects.shape[:3], 4**k))
    for sample, own in enumerate(pixels(codes, k)):
        starts = np.flatnonzero(own >= 0)
        if not len(starts):
            continue
        covered = starts[:, None] + np.arange(k)
        times = np.bincount(covered.ravel(), minlength=effects.shape[-1])
        shares = effects[:, :, sample].nan_to_num() / torch.as_tensor(np.maximum(times, 1)).to(effects)
        kmers = shares[..., torch.as_tensor(covered, device=effects.device)].sum(dim=-1)
        result[:, :, sample].index_add_(-1, torch.as_tensor(own[starts], device=effects.device), kmers)
    return result.unflatten(-1, (2**k, 2**k))


def mutated(codes: np.ndarray, rate: float, random: np.random.Generator) -> np.ndarray:
    """Return a copy of one sequence (longest,) in which each nucleotide is replaced with the rate, by any other."""
    copy = codes.copy()
    # Nothing is drawn for padding, which depends on what other sequences there are.
    own = copy[codes != PADDING]
    change = (random.random(len(own)) < rate) & (own < len(NUCLEOTIDES))
    steps = random.integers(1, OTHERS + 1, len(own))
    copy[codes != PADDING] = np.where(change, (own + steps) % len(NUCLEOTIDES), own)
    return copy


@dataclass(frozen=True)
class Interactions:
    """The interactions of one pair: `map` (miRNA windows, site windows), and which windows pair, bool alike.

    `complementary` are those that pair as strands do, `parallel` those that would if the strands ran side by side: the
    control, since both hold the same letters.

    Entry (i, j) is F(ab) - F(a) - F(b) + F(0): F of the pair with both windows replaced, with either, and as it is. It
    is positive where two windows together say more than each alone.
    """

    map: np.ndarray
    complementary: np.ndarray
    parallel: np.ndarray

    def at_complementary(self, permutations: int, random: np.random.Generator) -> tuple[float, np.ndarray]:
        """Return the mean where windows are complementary, and after random turns of both axes, (permutations,).

        A turn keeps the map's own texture, so that it says what complementary windows have beyond any others as near to
        each other.
        """
        rows, columns = np.nonzero(self.complementary)
        turns = random.integers(self.map.shape, size=(permutations, 2))
        places = (rows + turns[:, :1]) % self.map.shape[0], (columns + turns[:, 1:]) % self.map.shape[1]
        return float(self.map[rows, columns].mean()), self.map[places].mean(axis=1)


def interactions(batch: Batch, width: int, draws: int, internal_batch: int) -> Iterator[Interactions]:
    """Yield the interactions of every sample, means over members and over `draws` random replacements of each window.

    A window is `width` nucleotides; each of a window's is replaced by another. There is one target (two classes).
    """
    codes = sequences_of(batch)
    for sample, key in enumerate(batch.keys):
        random = np.random.default_rng([key, width])
        own = [branch[sample][branch[sample] != PADDING] for branch in codes]
        shortest = min(map(len, own))
        if shortest < width:
            raise ConsilienceError(f"analysis.window: {width}, but a sequence has only {shortest} nucleotides")
        total = 0
        for _ in range(draws):
            scrambled = [_scrambled(sequence, width, random) for sequence in own]
            total = total + _interaction_map(batch, scrambled, internal_batch)
        yield Interactions(total / draws, complementary(*own, width), complementary(*own, width, parallel=True))


def _scrambled(sequence: np.ndarray, width: int, random: np.random.Generator) -> np.ndarray:
    """Return copies of a sequence, the one as it is first, then one for every window, all of it replaced."""
    starts = np.arange(len(sequence) - width + 1)
    copies = np.repeat(sequence[None], 1 + len(starts), axis=0)
    covered = starts[:, None] + np.arange(width)
    steps = random.integers(1, OTHERS + 1, covered.shape)
    before = sequence[covered]
    copies[1 + starts[:, None], covered] = np.where(before == UNKNOWN, UNKNOWN, (before + steps) % len(NUCLEOTIDES))
    return copies


def _interaction_map(batch: Batch, scrambled: Sequence[np.ndarray], size: int) -> np.ndarray:
    images = [scaled_images(batch, place, codes) for place, codes in enumerate(scrambled)]
    counts = [len(part) for part in images]
    rows, columns = (part.ravel() for part in np.indices(counts))
    values = []
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        inputs = images[0][rows[part]], images[1][columns[part]]
        values.append(batch.function.values(inputs).mean(dim=0)[:, -1].cpu().numpy())
    table = np.concatenate(values).reshape(counts)
    return table[1:, 1:] - table[1:, :1] - table[:1, 1:] + table[0, 0]


def complementary(mirna: np.ndarray, site: np.ndarray, width: int, parallel: bool = False) -> np.ndarray:
    """Return which windows pair by Watson and Crick throughout, bool (miRNA windows, site windows).

    The strands run against each other, or, as none do, side by side (`parallel`).
    """
    windows = [np.lib.stride_tricks.sliding_window_view(part, width) for part in (mirna, site)]
    other = windows[1] if parallel else windows[1][:, ::-1]
    # A pairs with T and C with G: codes that sum to 3.
    paired = windows[0][:, None] + other[None] == len(NUCLEOTIDES) - 1
    return paired.all(axis=2)
