"""Simulates a table of miRNA-target pairs, with seed matches planted in the sites of the positives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.domains.mirna.pairs import CLASSES, SEED, SEQUENCES, SIX_MER, kmers_of
from consilience.domains.mirna.sequences import NUCLEOTIDES, dinucleotide_shuffle, reverse_complement
from consilience.files import write_table

MIRNA_LENGTHS, MIRNA_SHARES = (21, 22, 23), (0.2, 0.6, 0.2)
SITE_LENGTH = 50
# U and G pair too: where the miRNA has U, the site may have G for A, and where it has G, U for C.
WOBBLES = {"A": "G", "C": "T"}
SHUFFLES = 100
MUTATED_MEMBERS = 2  # nucleotides outside the seed in which the members of a family differ


def simulate(folder: Path, settings: dict[str, Any], seed: int) -> pd.DataFrame:
    """Write `pairs.csv` into `folder` and return the planted truth.

    There are `seeds` seeds (nucleotides 2 to 8), each that of `families` families, of `members` miRNAs each. The site
    of a positive is random but for one match of its miRNA's seed, in which each nucleotide is a wobble with the rate
    `wobble` where one is possible, or a mismatch with the rate `mismatch`. Every positive has one negative, of the same
    miRNA: a share of `decoys` carries, in a random site, a match of another seed, made alike, so that the site alone
    does not tell; the others are the positive's site with its dinucleotides shuffled, without a 6-mer match. A pair is
    of one of `gene_clusters`. The column `planted_position` says where the match starts, from 1.

    The truth has a row a k-mer of a match (branch site, sign 1, effect linear: on the average it speaks for a pair) and
    a row a k-mer of a seed (branch mirna, sign 0, effect interaction: it speaks for or against, as the site has it);
    strength is the share of positives whose miRNA has that seed.
    """
    source, k = settings["source"], settings["k"]
    plan, sites, negatives = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3))
    mirnas = _mirnas(plan, source)
    seeds = list(dict.fromkeys(mirna[SEED] for mirna in mirnas["mirna"]))
    rows = []
    for _ in range(source["pairs"] // 2):
        own = mirnas.iloc[int(sites.integers(len(mirnas)))]
        site, position = _site(own["mirna"][SEED], source, sites)
        cluster = int(sites.integers(source["gene_clusters"]))
        rows.append((own["mirna"], site, 1, own["name"], own["family"], cluster, position))
        decoy = negatives.random() < source["decoys"]
        other, position = _decoy(own["mirna"], seeds, source, negatives) if decoy else (
            _shuffled(site, own["mirna"], negatives), None)  # fmt: skip
        cluster = int(negatives.integers(source["gene_clusters"]))
        rows.append((own["mirna"], other, 0, own["name"], own["family"], cluster, position))
    columns = [*SEQUENCES, "validation", "mirna_name", "mirna_family", "gene_cluster", "planted_position"]
    table = pd.DataFrame(rows, columns=columns).astype({"planted_position": "Int64"})
    write_table(folder / "pairs.csv", table)
    return _truth(seeds, k)


def _random_sequence(length: int, random: np.random.Generator) -> str:
    return "".join(np.array(list(NUCLEOTIDES))[random.integers(4, size=length)])


def _mirnas(random: np.random.Generator, source: dict[str, Any]) -> pd.DataFrame:
    """Return name, family and sequence of every miRNA; no seed holds the six letters that match another."""
    seeds: list[str] = []
    while len(seeds) < source["seeds"]:
        drawn = _random_sequence(SEED.stop - SEED.start, random)
        if all(_apart(drawn, other) for other in seeds):
            seeds.append(drawn)
    rows = []
    for number, seed in enumerate(seeds):
        for family in range(source["families"]):
            length = int(random.choice(MIRNA_LENGTHS, p=MIRNA_SHARES))
            founder = f"{_random_sequence(1, random)}{seed}{_random_sequence(length - SEED.stop, random)}"
            name = f"sim-{1 + number * source['families'] + family}"
            for member in range(source["members"]):
                sequence = founder if not member else _mutated(founder, random)
                rows.append((f"{name}{chr(ord('a') + member)}", name, sequence))
    return pd.DataFrame(rows, columns=["name", "family", "mirna"])


def _apart(seed: str, other: str) -> bool:
    """Say whether seeds differ in more than two places, and share no six letters wherever these stand."""
    matches = SIX_MER.stop - SIX_MER.start
    shared = set(kmers_of(seed, matches)) & set(kmers_of(other, matches))
    return not shared and sum(a != b for a, b in zip(seed, other, strict=True)) > 2


def _mutated(founder: str, random: np.random.Generator) -> str:
    places = SEED.stop + random.choice(len(founder) - SEED.stop, MUTATED_MEMBERS, replace=False)
    return _replaced(founder, {int(place): _other(founder[place], random) for place in places})


def _other(letters: str, random: np.random.Generator) -> str:
    """Return a nucleotide that is none of the letters."""
    others = [letter for letter in NUCLEOTIDES if letter not in letters]
    return others[int(random.integers(len(others)))]


def _replaced(sequence: str, letters: dict[int, str]) -> str:
    return "".join(letters.get(place, letter) for place, letter in enumerate(sequence))


def _site(seed: str, source: dict[str, Any], random: np.random.Generator) -> tuple[str, int]:
    """Return a random site with one match of a seed, and where the match starts, from 1."""
    match = reverse_complement(seed)
    changed = {}
    for place, letter in enumerate(match):
        chance = random.random()
        if letter in WOBBLES and chance < source["wobble"]:
            changed[place] = WOBBLES[letter]
        elif chance > 1 - source["mismatch"]:
            changed[place] = _other(letter + WOBBLES.get(letter, ""), random)
    match = _replaced(match, changed)
    start = int(random.integers(SITE_LENGTH - len(match) + 1))
    flanks = _random_sequence(SITE_LENGTH - len(match), random)
    return f"{flanks[:start]}{match}{flanks[start:]}", start + 1


def _decoy(mirna: str, seeds: list[str], source: dict[str, Any], random: np.random.Generator) -> tuple[str, int]:
    """Return a site that matches another seed than the miRNA's, and where."""
    others = [seed for seed in seeds if seed != mirna[SEED]]
    return _site(others[int(random.integers(len(others)))], source, random)


def _shuffled(site: str, mirna: str, random: np.random.Generator) -> str:
    """Return the site with its dinucleotides shuffled until it has no 6-mer match (the last one, if all have)."""
    match = reverse_complement(mirna[SIX_MER])
    for _ in range(SHUFFLES):
        shuffled = dinucleotide_shuffle(site, random)
        if match not in shuffled:
            break
    return shuffled


def _truth(seeds: list[str], k: int) -> pd.DataFrame:
    """Return a row a k-mer that was planted; one that several seeds have in common stands once."""
    counts: dict[tuple[str, str], int] = {}
    for seed in seeds:
        for kmer in dict.fromkeys(kmers_of(seed, k)):
            for branch, name in (("site", reverse_complement(kmer)), ("mirna", kmer)):
                counts[branch, name] = counts.get((branch, name), 0) + 1
    rows = [
        {
            "feature": f"{branch}:{name}",
            "target": CLASSES[1],
            "sign": 1 if branch == "site" else 0,
            "strength": count / len(seeds),
            "effect": "linear" if branch == "site" else "interaction",
        }
        for (branch, name), count in counts.items()
    ]
    return pd.DataFrame(rows).sort_values("feature", ignore_index=True)
