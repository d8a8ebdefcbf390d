"""Tells what the atoms stand for, what attributions mean for raw features, and what the dictionary is worth."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.attribution.selection import check_split, explained_rows
from consilience.dataset import Dataset
from consilience.domains.variants.cards import atoms_table, card_atoms, card_examples, size_profiles
from consilience.domains.variants.coactivation import coactivation
from consilience.domains.variants.codes import code_features, sparse_codes
from consilience.domains.variants.dictionary_tables import (
    best_model,
    dictionary_facts,
    dictionary_table,
    dictionary_tensors,
    sweep_table,
)
from consilience.domains.variants.findings import Results, findings
from consilience.domains.variants.model import build
from consilience.domains.variants.notes import note_lines
from consilience.domains.variants.performance import metrics_table, trivial_intervals
from consilience.domains.variants.pushed import (
    check_same_calls,
    class_differences,
    linear_shares,
    load_explainers,
    raw_attributions,
)
from consilience.domains.variants.raw_recovery import raw_recovery, with_truth
from consilience.domains.variants.report_text import summary_text
from consilience.domains.variants.specialization import specialization
from consilience.evaluation import best_loss
from consilience.files import read_json, read_table, whole, write_json, write_table, write_tensors
from consilience.jobs import job
from consilience.splits import ROLES


def tables_of_atoms(
    dataset: Dataset, split: pd.DataFrame, bias: pd.DataFrame, settings: Mapping[str, Any]
) -> dict[str, pd.DataFrame]:
    """Return the tables that tell what the atoms of `bias` stand for, by name."""
    codes, features, roles = sparse_codes(dataset), code_features(dataset), split["role"].to_numpy(str)
    labels, samples, chosen = dataset.labels, dataset.samples, card_atoms(bias, settings["cards"])
    stability = dataset.representation.get("stability")
    return {
        "specialization": specialization(codes, features, samples, roles, bias),
        "coactivation": coactivation(codes, features, roles, bias, settings["network"]),
        "atoms": atoms_table(codes, features, labels, samples, roles, bias, stability),
        "cards": card_examples(codes, features, labels, samples, roles, chosen, settings["examples"]),
        "size_profiles": size_profiles(codes, features, labels, samples, roles, chosen),
    }


def pushed_on(
    dataset: Dataset, given: Any, params: Any, split: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, dict[str, float]], pd.DataFrame]:
    """Return what networks and the linear model attribute to raw features, facts by model, and `class_differences`."""
    settings = params.attribution
    facts = {"background": settings["background"], "seed": params.seed, "device": params.device}
    paths = dict(zip(params.voters, given.ensembles, strict=True))
    explainers = load_explainers(paths, given.dataset, given.split, build, facts)
    rows = explained_rows(split, settings["roles"], params.analysis["samples"], params.seed)
    training = np.flatnonzero(split["role"] == "train")
    linear = linear_shares(dataset, read_table(given.coefficients, ("feature", "target", "kind")), training)
    asked = {"steps": settings["steps"], "seed": params.seed}
    with Dataset.open(given.raw) as raw:
        check_same_calls(dataset, raw)
        table, facts = raw_attributions(dataset, raw, rows, explainers, linear, asked)
        return table, facts, class_differences(dataset, raw, rows)


def calls_by_role(dataset: Dataset, split: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Count calls by role and class."""
    counts = pd.crosstab(split["role"], dataset.labels).reindex(columns=range(len(dataset.classes)), fill_value=0)
    order = [role for role in (*ROLES, *counts.index.difference(ROLES)) if role in counts.index]
    return {role: dict(zip(dataset.classes, map(int, counts.loc[role]), strict=True)) for role in order}


def write_text(path: str, text: str) -> None:
    """Write a text as UTF-8."""
    with whole(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


if "snakemake" in globals():
    with job(snakemake) as log:
        given, params, output = snakemake.input, snakemake.params, snakemake.output
        split, encoded = read_table(given.split, ("sample", "group", "role")), read_json(given.encoded)
        bias = read_table(given.bias, ("atom", "feature", "near_end"))
        losses = {model: best_loss(path) for model, path in zip(params.voters, given.histories, strict=True)}
        networks = {model: read_json(path) for model, path in zip(params.models, given.metrics, strict=True)}
        with Dataset.open(given.raw) as raw:
            names = list(raw.features["name"])
        with Dataset.open(given.dataset) as dataset:
            check_split(dataset, split)
            tables = tables_of_atoms(dataset, split, bias, params.analysis)
            pushed, facts, marginal = pushed_on(dataset, given, params, split)
            trivial = trivial_intervals(dataset, split, params.seed)
            tensors, calls, alive = dataset.representation, calls_by_role(dataset, split), len(code_features(dataset))
        truth = read_table(given.truth[0], ("feature", "sign", "signal")) if given.truth else None
        tables["raw_attributions"] = with_truth(pushed, truth)
        if truth is not None:
            tables["raw_recovery"] = raw_recovery(pd.concat([pushed, marginal]), truth)
        tables["dictionary"], tables["sweep"] = dictionary_table(encoded), sweep_table(encoded)
        tables["metrics"] = metrics_table(networks, read_json(given.linear), trivial)
        for name, frame in tables.items():
            write_table(output[name], frame)
        best = min(params.voters, key=losses.__getitem__)
        found = findings(Results(tables | {"bias": bias}, encoded, facts, best, calls, alive))
        write_json(output.summary, found)
        write_text(output.text, summary_text(snakemake.wildcards.study, found))
        lines = note_lines(found)
        write_text(output.notes, "".join(f"{line}\n" for line in lines))
        write_json(output.best, best_model(encoded))
        write_tensors(output.tensors, dictionary_tensors(tensors), dictionary_facts(encoded, names))
        log.info("%s", lines[0])
