"""Simulates a study's raw data in its native format, with planted drivers.

The folder is filled under another name and renamed when whole.
"""

from consilience.jobs import job

from pathlib import Path
from typing import Any

from consilience.domains import slice_module
from consilience.errors import ConsilienceError
from consilience.files import whole_folder, write_table

TRUTH = ("feature", "target", "sign", "strength", "effect")


def simulate(domain: str, settings: dict[str, Any], seed: int, raw: Path, truth: Path) -> int:
    """Fill the folder `raw`, write the planted drivers to `truth`, and return their number."""
    with whole_folder(raw) as partial:
        planted = slice_module(domain, "simulate").simulate(partial, settings, seed)
        absent = [column for column in TRUTH if column not in planted]
        if absent:
            raise ConsilienceError(
                f"the truth that {domain} plants lacks {', '.join(absent)}; expected {', '.join(TRUTH)}"
            )
        write_table(truth, planted)
    return len(planted)


if "snakemake" in globals():
    with job(snakemake) as log:
        params, output = snakemake.params, snakemake.output
        count = simulate(params.domain, params.settings, params.seed, Path(output.raw), Path(output.truth))
        log.info("%d planted drivers", count)
