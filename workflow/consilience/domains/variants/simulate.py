"""Simulates a Truvari bench of structural-variant calls, with signals of sequence, size and type planted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.domains.variants.calls import CLASSES
from consilience.domains.variants.simulated_calls import SIGNALS, draw_calls
from consilience.domains.variants.simulated_files import write_bench, write_reference
from consilience.domains.variants.simulated_sequences import (
    MICROSATELLITE,
    MOTIF,
    make_reference,
    make_sequences,
    reverse_complement,
)
from consilience.files import write_table


def simulate(folder: Path, settings: dict[str, Any], seed: int) -> pd.DataFrame:
    """Write `tp-comp.vcf.gz`, `fp.vcf.gz`, `reference.fa` and `planted.tsv` into `folder`; return the planted truth.

    A contig is random, with a share of G and C of its own, and calls lie on it one behind the other. What is planted,
    with the shares of true and of false calls in `SIGNALS` at strength 1: `element`, copies of a motif, each but the
    first mutated a little, in the allele (or what it spans of the reference) and in the consensus; `microsatellite`,
    (AC)n at the breakpoint of the consensus, which the reference lacks there; `size`, 50 to 90 base pairs; `inversion`,
    the type. `strength` multiplies the log odds ratios of all four and how far QUAL, PE and SR tell. IMPRECISE calls,
    as many of either class, have no consensus, so that less of them can be told. Chromosomes differ in the share of
    true calls. The reference is written where `reference` says so.

    `planted.tsv` has a row a call: id, and 1 where the files hold the signal. The truth has a row a raw feature: k-mers
    of the motif and of the microsatellite, `log10 size` (a small call is a false one, so its sign is 1) and `type INV`;
    strength is the absolute log odds ratio, and at strength 0 no feature has a sign. `carried_sign` is that of a call's
    carrying the `signal`: -1 for size, as a small call is a false one.
    """
    source = settings["source"]
    plan, bases, alleles, comparison = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(4))
    calls = draw_calls(source, plan)
    contigs = make_reference(calls, source["chromosomes"], bases)
    lengths = {name: len(sequence) for name, sequence in contigs.items()}
    write_bench(folder, calls, make_sequences(calls, contigs, alleles), lengths, comparison)
    if source["reference"]:
        write_reference(folder / "reference.fa", contigs)
    # Without a reference nobody sees what an imprecise call spans.
    planted = calls.assign(element=calls["element"] & (calls["precise"] | source["reference"]))
    write_table(folder / "planted.tsv", planted[["id", *SIGNALS]].astype(dict.fromkeys(SIGNALS, int)))
    return _truth(settings["k"], source["strength"])


def _truth(k: int, strength: float) -> pd.DataFrame:
    motif, repeat = _kmers(MOTIF, k), _kmers(MICROSATELLITE * k, k)
    features = {
        "element": [f"{branch} {kmer}" for branch in ("alleles", "consensus") for kmer in motif],
        "microsatellite": [f"consensus {kmer}" for kmer in repeat],
        "size": ["log10 size"],
        "inversion": ["type INV"],
    }
    rows = []
    for signal, names in features.items():
        log_odds = strength * SIGNALS[signal].log_odds
        carried = int(np.sign(log_odds))
        # The size signal is that a call is small.
        sign = -carried if signal == "size" else carried
        own = {"target": CLASSES[1], "sign": sign, "strength": abs(log_odds), "effect": "linear"}
        rows += [{"feature": name, **own, "signal": signal, "carried_sign": carried} for name in names]
    return pd.DataFrame(rows)


def _kmers(sequence: str, k: int) -> list[str]:
    """Return the k-mers of a sequence, each as the first in order of itself and its reverse complement."""
    words = (sequence[start : start + k] for start in range(len(sequence) - k + 1))
    return sorted({min(word, reverse_complement(word)) for word in words})
