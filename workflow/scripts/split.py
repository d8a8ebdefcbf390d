"""Divides the samples of a dataset into roles by whole groups.

Overlaps of other groupings between the roles are reported beside the split; an audit tells what was left out.
"""

from consilience.jobs import job

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from consilience.audit import Audit
from consilience.dataset import Dataset
from consilience.files import write_json, write_table
from consilience.splits import ROLES, Division, divide, overlaps

SHOWN_CLASSES = 10


def facts(samples: pd.DataFrame, division: Division, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the counts of every role, of what was left out by column, and of the groups that roles share."""
    split = division.table
    roles = {
        role: {"samples": int(chosen.sum()), "groups": int(split.loc[chosen, "group"].nunique())}
        for role in ROLES
        for chosen in [split["role"] == role]
    }
    return {
        "mode": division.mode,
        "group": settings["group"],
        "apart": settings["apart"],
        "roles": roles,
        "excluded": {column: sum(counts.values()) for column, counts in division.excluded.items()},
        "shared": overlaps(samples, split, settings["apart"]),
    }


def class_shares(split: pd.DataFrame, labels: np.ndarray, classes: Sequence[str]) -> dict[str, str]:
    """Return the share of each class in every role as text, such as no pair 0.42, pair 0.58; none of many classes."""
    if len(classes) > SHOWN_CLASSES:
        return {}
    found = {role: np.bincount(labels[split["role"] == role], minlength=len(classes)) for role in ROLES}
    return {
        role: ", ".join(f"{name} {count / counts.sum():.2f}" for name, count in zip(classes, counts, strict=True))
        for role, counts in found.items()
    }


def audit_of(
    source: str, features: int, division: Division, summary: dict[str, Any], shares: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Return the audit of a split: what each column of split.apart left out, and the samples of every role.

    `shares` tell the classes of each role, where there are any.
    """
    audit = Audit(len(division.table), features, source, f"mode {summary['mode']}, group {summary['group']}")
    for column, counts in division.excluded.items():
        if any(counts.values()):
            note = f"{counts['train']} train and {counts['validation']} validation rows left out"
            where = "two roles" if summary["mode"] == "hash" else "train and validation"
            audit.step("apart", f"no {column} in {where}", audit.samples - sum(counts.values()), note=note)
    for role, count in summary["roles"].items():
        note = "; ".join([f"{count['groups']} groups", *([shares[role]] if shares else [])])
        audit.detail("role", role, count["samples"], audit.samples, note)
    return audit.frame()


if "snakemake" in globals():
    with job(snakemake) as log:
        settings, output = snakemake.params.settings, snakemake.output
        with Dataset.open(snakemake.input.dataset) as dataset:
            samples, features = dataset.samples, len(dataset.features)
            division = divide(samples, settings, None if dataset.task == "regression" else dataset.labels)
            shares = {}
            if dataset.task == "classification":
                shares = class_shares(division.table, dataset.labels, dataset.classes)
        write_table(output.split, division.table)
        summary = facts(samples, division, settings)
        write_json(output.facts, summary)
        write_table(output.audit, audit_of("dataset.h5", features, division, summary, shares))
        counts = [f"{role} {count['samples']} samples" for role, count in summary["roles"].items()]
        log.info("%s, %d left out", ", ".join(counts), sum(summary["excluded"].values()))
