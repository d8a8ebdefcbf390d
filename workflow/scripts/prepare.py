"""Turns raw data into dataset.h5 through the study's slice.

The audit tells every filter's losses.
"""

from consilience.jobs import job

from pathlib import Path
from typing import Any

import pandas as pd

from consilience.dataset import Dataset
from consilience.domains import slice_module
from consilience.files import write_table


def raw_files(raw: list[str], simulated: bool) -> list[Path]:
    """Return the raw files: those a simulation left in its folder, or the paths as they are."""
    paths = [Path(path) for path in raw]
    return sorted(path for path in paths[0].iterdir() if not path.name.startswith(".")) if simulated else paths


def prepare(domain: str, settings: dict[str, Any], seed: int, raw: list[Path], dataset: Path) -> pd.DataFrame:
    """Write the dataset and return its audit."""
    return slice_module(domain, "prepare").prepare(raw, settings, dataset, seed)


if "snakemake" in globals():
    with job(snakemake) as log:
        params, output = snakemake.params, snakemake.output
        files = raw_files(list(snakemake.input.raw), params.settings["source"]["kind"] == "simulate")
        audit = prepare(params.domain, params.settings, params.seed, files, Path(output.dataset))
        write_table(output.audit, audit)
        log.info("audit:\n%s", audit.to_string(index=False))
        with Dataset.open(output.dataset) as data:
            log.info("%d samples, %d features", len(data), len(data.features))
