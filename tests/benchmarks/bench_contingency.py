"""CPU time of the tables and tests of all atoms against one atom after the other, at 20,000 calls and 4,096 atoms.

Run as `OMP_NUM_THREADS=1 python tests/benchmarks/bench_contingency.py [calls atoms k]`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.stats import chi2_contingency, false_discovery_control

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))

from consilience.domains.variants.bias import associations
from consilience.domains.variants.contingency import auroc, chi_square, mantel_haenszel, tables

REPEATS = 7
SHARE_TRUE = 0.6
STRATA = 30
LOOPED = 60  # atoms that the loop takes; its time is scaled to all of them


def active_atoms(calls: int, atoms: int, k: int, random: np.random.Generator) -> np.ndarray:
    """Draw k different atoms for each call, int64 (calls, k); some are hundreds of times as frequent as others."""
    popularity = random.normal(0, 1.5, atoms)
    blocks = [
        np.argpartition(-(popularity + random.gumbel(size=(min(1000, calls - start), atoms))), k, axis=1)[:, :k]
        for start in range(0, calls, 1000)
    ]
    return np.concatenate(blocks)


def atom_by_atom(active: np.ndarray, labels: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Return p of every atom (atoms,) from scipy, as the earlier system did: one pass over all calls for each."""
    values = []
    for atom in atoms:
        on = (active == atom).any(axis=1)
        table = [[(on & (labels == 1)).sum(), (on & (labels == 0)).sum()],
                 [(~on & (labels == 1)).sum(), (~on & (labels == 0)).sum()]]  # fmt: skip
        values.append(chi2_contingency(table, correction=False).pvalue)
    return np.array(values)


def as_matrix(active: np.ndarray, values: np.ndarray, atoms: int) -> csr_matrix:
    """Return the codes (calls, atoms) of which `active` and `values` (calls, k) hold the atoms and sizes."""
    calls, k = active.shape
    return csr_matrix((values.ravel(), active.ravel(), np.arange(0, calls * k + 1, k)), (calls, atoms))


def tested(active: np.ndarray, values: np.ndarray, labels: np.ndarray, atoms: int) -> tuple[np.ndarray, ...]:
    """Do all that the loop does and more: tables, p by chi-square or Fisher, odds ratios, corrected p."""
    exact, p, odds = associations(tables(as_matrix(active, values, atoms), labels))
    return exact, p, odds.ratio, false_discovery_control(p)


def timed(work: Callable[[], Any]) -> float:
    """Return the fewest CPU-seconds of several runs: the first pays for fresh memory, others for a busy machine."""
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def main() -> None:
    """Print CPU-seconds, ratios to the loop, and agreement."""
    calls, atoms, k = (int(value) for value in sys.argv[1:4]) if len(sys.argv) > 3 else (20_000, 4096, 64)
    random = np.random.default_rng(0)
    active = active_atoms(calls, atoms, k, random)
    values = random.exponential(size=active.shape).astype(np.float32) + np.float32(1e-3)
    labels, strata = (random.random(calls) < SHARE_TRUE).astype(np.int64), random.integers(STRATA, size=calls)
    codes = as_matrix(active, values, atoms)
    shown = random.choice(np.unique(active), LOOPED, replace=False)
    sparse_tables = timed(lambda: tables(codes, labels))
    whole = timed(lambda: tested(active, values, labels, atoms))
    stratified = timed(lambda: mantel_haenszel(tables(codes, labels, strata)))
    ranked = timed(lambda: auroc(codes, labels))
    loop = timed(lambda: atom_by_atom(active, labels, shown)) * atoms / len(shown)
    exact = tested(active, values, labels, atoms)[0]
    theirs = atom_by_atom(active, labels, shown)
    mine = chi_square(tables(codes, labels))[1][shown]
    print(f"{calls} calls, {atoms} atoms, {k} of them on in each call, CPU-seconds")
    print(f"atom by atom, scipy's chi-square         {loop:8.3f}  (of {LOOPED} atoms, scaled to all)")
    print(f"tables, tests, odds, corrected p         {whole:8.4f}  {loop / whole:4.0f}x")
    print(f"tables alone                             {sparse_tables:8.4f}  {loop / sparse_tables:4.0f}x")
    print(
        f"{STRATA} strata, tables and Mantel-Haenszel    {stratified:8.4f}  {loop / stratified:4.0f}x the loop without strata"
    )
    print(f"area under the curve, not in the loop    {ranked:8.4f}")
    print(
        f"Fisher's test for {exact.sum()} atoms; largest relative difference of p {np.abs(mine / theirs - 1).max():.0e}"
    )


if __name__ == "__main__":
    main()
