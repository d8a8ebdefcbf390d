"""Invents the metadata of simulated samples: texts as GEO submitters write them, accessions, series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

# (text, kind of tissue); the spelling varies as it does in GEO.
MYELOID = (
    ("CD14+ monocytes", "peripheral blood"),
    ("primary human MONOCYTES", "peripheral blood"),
    ("monocyte-derived macrophages", "peripheral blood"),
    ("Macrophage, M-CSF day 7", "peripheral blood"),
    ("THP-1 cells", "cell line"),
    ("thp1, PMA differentiated", "cell line"),
    ("HL-60", "cell line"),
    ("hl 60 cells", "cell line"),
    ("HL60_DMSO", "cell line"),
    ("U937", "cell line"),
    ("MOLM-13", "cell line"),
    ("MV4;11 cells", "cell line"),
    ("NB4 cell line", "cell line"),
    ("MUTZ-3", "cell line"),
    ("AML blasts", "bone marrow"),
    ("aml patient sample", "bone marrow"),
    ("acute myeloid leukemia, diagnosis", "bone marrow"),
    ("MDS, CD34+ cells", "bone marrow"),
    ("CD33+ cells", "bone marrow"),
    ("neutrophils", "peripheral blood"),
    ("plasmacytoid Dendritic cells", "peripheral blood"),
)
OTHER = (
    ("HEK293 cells", "cell line"),
    ("MCF7", "cell line"),
    ("liver biopsy", "liver"),
    ("CD4+ T cells", "peripheral blood"),
    ("naive B cells", "peripheral blood"),
    ("dermal fibroblasts", "skin"),
    ("iPSC-derived neurons", "cell line"),
    ("CD141+ sorted cells", "peripheral blood"),
)
DENIED = (
    ("non-myeloid fraction", "bone marrow"),
    ("Non myeloid cells", "bone marrow"),
    ("myeloid-depleted PBMC", "peripheral blood"),
    ("CD14-negative cells", "peripheral blood"),
    ("CD14- CD3+ lymphocytes", "peripheral blood"),
)
SINGLE = (
    ("monocyte, single cell", "peripheral blood"),
    ("AML blast, Smart-seq2 single cell", "bone marrow"),
)
TREATMENTS = ("untreated", "vehicle", "LPS 6h", "IFNg 24h", "siRNA control", "day 0")
SEXES = ("female", "male")


@dataclass(frozen=True)
class Cohort:
    """The simulated samples: their metadata and the index of their own series (samples,)."""

    table: pd.DataFrame
    series: np.ndarray


def invent(samples: int, series: int, random: np.random.Generator) -> Cohort:
    """Invent `samples` samples that pass the default filters, and a quarter more that do not, in shuffled order.

    Of the others, half are single cells, a quarter is not myeloid and a quarter says so ("non-myeloid"). Every series
    has at least one sample that passes; one series in twenty shares a super-series with another, so that its samples
    name two.
    """
    extra = max(4, samples // 4)
    kinds = np.repeat([0, 1, 2, 3], [samples, extra - 2 * (extra // 4), extra // 4, extra // 4])
    own = np.concatenate([np.arange(series), random.choice(series, samples - series, p=_sizes(series, random))])
    own = np.concatenate([own, random.integers(0, series, extra)])
    order = random.permutation(samples + extra)
    kinds, own = kinds[order], own[order]
    table = pd.DataFrame(
        {
            "geo_accession": [f"SGSM{index:06d}" for index in range(1, len(own) + 1)],
            "series_id": _series_names(series, random)[own],
            **_texts(kinds, random),
            "singlecellprobability": np.where(
                kinds == 1, random.uniform(0.7, 1.0, len(own)), random.beta(1, 9, len(own)) / 2
            ).astype(np.float32),
        }
    )
    return Cohort(table, own)


def _sizes(series: int, random: np.random.Generator) -> np.ndarray:
    """Return the share of every series; a few are much larger than the others, as in GEO."""
    weights = random.lognormal(0, 0.8, series)
    return weights / weights.sum()


def _series_names(series: int, random: np.random.Generator) -> np.ndarray:
    names = np.array([f"SGSE{index:04d}" for index in range(1, series + 1)], dtype=object)
    pairs = random.permutation(series)[: 2 * (series // 20)].reshape(-1, 2)
    for number, (first, second) in enumerate(pairs):
        names[first] += f",SGSE{9001 + number}"
        names[second] = f"SGSE{9001 + number}," + names[second]
    return names


def _texts(kinds: np.ndarray, random: np.random.Generator) -> dict[str, list[str]]:
    """Write what a sample is into its source name, its title or its characteristics; the others stay neutral."""
    texts: dict[str, list[str]] = {"title": [], "source_name_ch1": [], "characteristics_ch1": []}
    place = random.choice(3, len(kinds), p=[0.6, 0.25, 0.15])
    for number, kind in enumerate(kinds):
        choices = (MYELOID, SINGLE, OTHER, DENIED)[kind]
        name, tissue = choices[random.integers(len(choices))]
        treatment, sex = TREATMENTS[random.integers(len(TREATMENTS))], SEXES[random.integers(2)]
        replicate = 1 + number % 4
        named = f"{name}, {treatment}, rep{replicate}"
        texts["title"].append(named if place[number] == 1 else f"donor{1 + number % 37}_{treatment}_rep{replicate}")
        texts["source_name_ch1"].append(name if place[number] == 0 else tissue)
        cells = f",cell type: {name}" if place[number] == 2 else ""
        texts["characteristics_ch1"].append(f"tissue: {tissue}{cells},Sex: {sex},treatment: {treatment}")
    return texts
