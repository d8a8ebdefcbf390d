"""Simulates a gene file in the schema of ARCHS4, in which the drivers of the target are planted and known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.domains.expression.metadata import Cohort, invent
from consilience.errors import ConsilienceError
from consilience.files import write_h5, write_strings

FILE = "human_gene_simulated.h5"
MODULE = 5
CHUNK = (2000, 1)
# The standard deviation of max(a, 0) · max(b, 0) for independent standard normals, so that all effects have one unit.
SYNERGY = np.sqrt(1 / 4 - 1 / (4 * np.pi**2))


def simulate(folder: Path, settings: dict[str, Any], seed: int) -> pd.DataFrame:
    """Write `folder`/human_gene_simulated.h5 and return the planted truth.

    Log-expression is normal: genes in modules of five share an activity, which in turn is shared in part by the
    samples of a series. The target's log-expression is the sum of the drivers' effects (linear; a step at the
    driver's mean; two drivers that act only where both are above their means) and noise. Counts are negative
    binomial around library size × expression. The truth has a row a driver: feature, target, sign, strength (standard
    deviations of the target's signal and noise together per standard deviation of the effect) and effect. Raises
    ConsilienceError where the drivers do not fit into the modules.
    """
    source, target = settings["source"], settings["target"]
    random = np.random.default_rng(seed)
    series = max(1, min(source["series"], source["samples"] // 3))
    cohort = invent(source["samples"], series, random)
    activity = _modules(cohort, source, random)
    truth, effect = _plant(activity, cohort, source, target, random)
    counts, genes = _measure(activity, effect, cohort, source, target, random)
    _write(folder / FILE, counts, genes, cohort.table)
    return truth


def _modules(cohort: Cohort, source: dict[str, Any], random: np.random.Generator) -> np.ndarray:
    """Return standardized log-expression (samples, genes): modules of five, series effects."""
    samples, genes = len(cohort.series), source["genes"]
    shared = _with_series(cohort, -(-genes // MODULE), source["series_share"], random)
    correlation = source["module_correlation"]
    own = random.standard_normal((samples, genes))
    return np.sqrt(correlation) * shared[:, np.arange(genes) // MODULE] + np.sqrt(1 - correlation) * own


def _with_series(cohort: Cohort, columns: int, share: float, random: np.random.Generator) -> np.ndarray:
    """Return standard normals (samples, columns), a `share` of whose variance lies between series."""
    own = random.standard_normal((len(cohort.series), columns))
    between = random.standard_normal((int(cohort.series.max()) + 1, columns))
    return np.sqrt(1 - share) * own + np.sqrt(share) * between[cohort.series]


def _names(source: dict[str, Any], target: str) -> list[str]:
    names = (f"GENE{index:04d}" for index in range(1, source["genes"] + 2))
    return [name for name in names if name != target][: source["genes"]]


def _plant(
    activity: np.ndarray, cohort: Cohort, source: dict[str, Any], target: str, random: np.random.Generator
) -> tuple[pd.DataFrame, np.ndarray]:
    """Choose the drivers; return the truth and the target's standardized log-expression (samples,)."""
    kinds = _kinds(source)
    modules = source["genes"] // MODULE
    drivers = MODULE * random.permutation(modules)[: len(kinds)] + random.integers(0, MODULE, len(kinds))
    signs = random.permutation(np.where(np.arange(len(kinds)) % 2, 1, -1))
    sizes = random.uniform(0.75, 1.25, len(kinds))
    second = np.arange(1, int((kinds == "interaction").sum()), 2)
    sizes[second] = sizes[second - 1]
    terms = activity[:, drivers]
    terms = np.where(kinds == "threshold", np.sign(terms), terms)
    # Both genes of a pair must be up: max(a, 0) · max(b, 0), which gives each the pair's sign on average.
    terms[:, second - 1] = np.maximum(terms[:, second - 1], 0) * np.maximum(terms[:, second], 0) / SYNERGY
    terms[:, second] = 0
    signs[second] = signs[second - 1]
    signal = terms @ (signs * sizes)
    unit = np.sqrt(source["explained"]) / signal.std()
    noise = np.sqrt(1 - source["explained"]) * _with_series(cohort, 1, source["series_share"], random)[:, 0]
    truth = pd.DataFrame(
        {
            "feature": np.array(_names(source, target), dtype=object)[drivers],
            "target": target,
            "sign": signs,
            "strength": sizes * unit,
            "effect": kinds,
        }
    )
    return truth.sort_values("feature", ignore_index=True), unit * signal + noise


def _kinds(source: dict[str, Any]) -> np.ndarray:
    """Return the kind of effect of every driver (drivers,): the pairs of interactions first."""
    drivers, modules = source["drivers"], source["genes"] // MODULE
    paired = 2 * round(drivers * source["interaction_share"] / 2)
    steps = round(drivers * source["threshold_share"])
    if drivers > modules or paired + steps > drivers:
        raise ConsilienceError(
            f"source: {drivers} drivers ({steps} thresholded, {paired} in interactions) in {modules} modules of "
            f"{MODULE} genes; expected at most one driver a module, and shares that add up to at most 1"
        )
    return np.repeat(
        np.array(["interaction", "threshold", "linear"], dtype=object), [paired, steps, drivers - paired - steps]
    )


def _measure(
    activity: np.ndarray,
    effect: np.ndarray,
    cohort: Cohort,
    source: dict[str, Any],
    target: str,
    random: np.random.Generator,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Return counts uint32 (rows, samples) and the table of the rows, both in shuffled order of the rows.

    On top of the genes and the target come non-coding genes (an eighth), and a hundredth each of symbols with a second
    row and of genes expressed nowhere.
    """
    samples, genes = activity.shape
    noncoding, few = max(2, genes // 8), max(1, genes // 100)
    standard = np.column_stack([activity, effect, random.standard_normal((samples, noncoding))])
    mean = np.r_[random.normal(5, 1, genes), 6, random.normal(3, 1, noncoding)]
    spread = np.r_[random.uniform(0.5, 1, genes), 1, random.uniform(0.5, 1, noncoding)]
    counts = _counts(mean + spread * standard, cohort, source, random)
    split = random.choice(genes, few, replace=False)
    second = random.binomial(counts[:, split], 0.3)
    counts[:, split] -= second
    counts = np.column_stack([counts, second, np.zeros((samples, few), dtype=np.int64)]).astype(np.uint32).T
    names = _names(source, target)
    other = [f"LNC{index:04d}" for index in range(1, noncoding + 1)]
    silent = [f"SILENT{index:04d}" for index in range(1, few + 1)]
    table = pd.DataFrame({"symbol": [*names, target, *other, *(names[index] for index in split), *silent]})
    table["biotype"] = np.where(table["symbol"].isin(other), "lncRNA", "protein_coding")
    table["ensembl_gene"] = [f"SENSG{index:011d}" for index in range(1, len(table) + 1)]
    order = random.permutation(len(table))
    return counts[order], table.iloc[order]


def _counts(
    log_expression: np.ndarray, cohort: Cohort, source: dict[str, Any], random: np.random.Generator
) -> np.ndarray:
    """Draw counts (samples, genes): negative binomial, as a Poisson whose rate varies as a gamma; fewer in cells."""
    library = source["library_spread"] * random.standard_normal(len(log_expression))
    library -= np.where(cohort.table["singlecellprobability"] > 0.5, 4.0, 0.0)
    dispersion = source["dispersion"]
    rate = np.exp(log_expression + library[:, None]) * random.gamma(1 / dispersion, dispersion, log_expression.shape)
    return random.poisson(rate)


def _write(path: Path, counts: np.ndarray, genes: pd.DataFrame, samples: pd.DataFrame) -> None:
    with write_h5(path) as file:
        for group, table in (("meta/genes", genes), ("meta/samples", samples)):
            for column in table:
                if table[column].dtype.kind == "f":
                    file[f"{group}/{column}"] = table[column].to_numpy()
                else:
                    write_strings(file.require_group(group), column, table[column])
        chunk = tuple(np.minimum(CHUNK, counts.shape).tolist())
        file.create_dataset("data/expression", data=counts, chunks=chunk, compression="gzip", compression_opts=4)
