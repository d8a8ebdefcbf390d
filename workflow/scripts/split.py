"""Divides the samples of a dataset into roles by whole groups.

Overlaps of other groupings between the roles are reported beside the split.
"""

from typing import Any

import pandas as pd

from consilience.dataset import Dataset
from consilience.files import write_json, write_table
from consilience.jobs import job
from consilience.splits import ROLES, assign, overlaps


def facts(samples: pd.DataFrame, split: pd.DataFrame, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the counts of every role and the groups that roles share."""
    roles = {
        role: {"samples": int(chosen.sum()), "groups": int(split.loc[chosen, "group"].nunique())}
        for role in ROLES
        for chosen in [split["role"] == role]
    }
    return {"mode": settings["mode"], "group": settings["group"], "roles": roles, "shared": overlaps(samples, split)}


if "snakemake" in globals():
    with job(snakemake) as log:
        settings = snakemake.params.settings
        with Dataset.open(snakemake.input.dataset) as dataset:
            samples = dataset.samples
            split = assign(samples, settings, None if dataset.task == "regression" else dataset.labels)
        write_table(snakemake.output.split, split)
        summary = facts(samples, split, settings)
        write_json(snakemake.output.facts, summary)
        log.info("%s", ", ".join(f"{role} {count['samples']} samples" for role, count in summary["roles"].items()))
