"""Writes the whole maps of a model's attribution files as arrays, a file a pair, method and branch: means over members.

The names are those of the earlier system, sample_{id}_{method}_{branch}.npy; float32 (side, side).
"""

from consilience.jobs import job

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from consilience.attribution.store import read
from consilience.domains.mirna.prepare import BRANCHES
from consilience.files import whole_folder


def export(folder: Path, paths: Iterable[str | Path]) -> int:
    """Write the maps of these attribution files into a folder, and return how many arrays there are."""
    count = 0
    for path in paths:
        found = read(path, showcase=True)
        for branch in BRANCHES if found.showcase else ():
            values = found.showcase[branch][found.real, 0].mean(axis=0)
            for sample, own in zip(found.showcase["samples"], values, strict=True):
                np.save(folder / f"sample_{sample}_{found.method}_{branch}.npy", own.astype(np.float32))
                count += 1
    return count


if "snakemake" in globals():
    with job(snakemake) as log:
        with whole_folder(snakemake.output.folder) as folder:
            count = export(folder, snakemake.input.attributions)
        log.info("%s arrays", count)
