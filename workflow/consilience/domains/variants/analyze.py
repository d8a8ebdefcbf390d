"""Tells what the atoms stand for, what attributions mean for raw features, and what the dictionary is worth."""

from consilience.jobs import job

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from consilience.attribution.selection import check_split, explained_rows
from consilience.dataset import Dataset
from consilience.domains.variants.baselines import baseline_metrics, baseline_predictions, network_probabilities
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
from consilience.domains.variants.planted import planted
from consilience.domains.variants.pushed import (
    check_same_calls,
    class_differences,
    linear_shares,
    load_explainers,
    raw_attributions,
)
from consilience.domains.variants.raw_recovery import raw_recovery, with_atoms, with_truth
from consilience.domains.variants.report_text import summary_text
from consilience.domains.variants.specialization import specialization
from consilience.evaluation import best_loss
from consilience.files import read_json, read_table, write_json, write_table, write_tensors, write_text
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
    dataset: Dataset, raw: Dataset, given: Any, params: Any, split: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, dict[str, float]], pd.DataFrame]:
    """Return what networks and the linear model attribute to raw features: `raw_attributions`, `class_differences`."""
    settings = params.attribution
    facts = {"background": settings["background"], "seed": params.seed, "device": params.device}
    paths = dict(zip(params.voters, given.ensembles, strict=True))
    explainers = load_explainers(paths, given.dataset, given.split, build, facts)
    rows = explained_rows(split, settings["roles"], params.analysis["samples"], params.seed)
    training = np.flatnonzero(split["role"] == "train")
    linear = linear_shares(dataset, read_table(given.coefficients, ("feature", "target", "kind")), training)
    asked = {"steps": settings["steps"], "seed": params.seed}
    return *raw_attributions(dataset, raw, rows, explainers, linear, asked), class_differences(dataset, raw, rows)


def without_dictionary(
    raw: Dataset, path: str, split: pd.DataFrame, seed: int
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return `baseline_metrics`, beside the network whose predictions.tsv is at `path`."""
    table = read_table(path, ("sample", "predicted"))
    tested = split["sample"].to_numpy(str)[(split["role"] == "test").to_numpy()]
    network = network_probabilities(path, table, tested, len(raw.classes))
    return baseline_metrics(raw, split, baseline_predictions(raw, split, seed), network, seed)


def calls_by_role(dataset: Dataset, split: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Count calls by role and class."""
    counts = pd.crosstab(split["role"], dataset.labels).reindex(columns=range(len(dataset.classes)), fill_value=0)
    order = [role for role in (*ROLES, *counts.index.difference(ROLES)) if role in counts.index]
    return {role: dict(zip(dataset.classes, map(int, counts.loc[role]), strict=True)) for role in order}


if "snakemake" in globals():
    with job(snakemake) as log:
        given, params, output = snakemake.input, snakemake.params, snakemake.output
        split, encoded = read_table(given.split, ("sample", "group", "role")), read_json(given.encoded)
        bias = read_table(given.bias, ("atom", "feature", "near_end"))
        losses = {model: best_loss(path) for model, path in zip(params.voters, given.histories, strict=True)}
        networks = {model: read_json(path) for model, path in zip(params.models, given.metrics, strict=True)}
        best = min(params.voters, key=losses.__getitem__)
        truth = read_table(given.truth[0], ("feature", "sign", "signal", "carried_sign")) if given.truth else None
        with Dataset.open(given.dataset) as dataset, Dataset.open(given.raw) as raw:
            check_split(dataset, split)
            check_same_calls(dataset, raw)
            names = list(raw.features["name"])
            tables = tables_of_atoms(dataset, split, bias, params.analysis)
            pushed, tables["raw_branches"], facts, marginal = pushed_on(dataset, raw, given, params, split)
            predictions = dict(zip(params.models, given.predictions, strict=True))
            baselines = without_dictionary(raw, predictions[best], split, params.seed)
            standing = None if truth is None else planted(truth, dataset)["signal"].value_counts().to_dict()
            trivial = trivial_intervals(dataset, split, params.seed)
            tensors, calls, alive = dataset.representation, calls_by_role(dataset, split), len(code_features(dataset))
        tables["raw_attributions"] = with_truth(pushed, truth)
        if truth is not None:
            tables["raw_recovery"] = with_atoms(raw_recovery(pd.concat([pushed, marginal]), truth), standing)
        tables["dictionary"], tables["sweep"] = dictionary_table(encoded), sweep_table(encoded)
        tables["metrics"] = metrics_table(networks, read_json(given.linear), baselines, trivial)
        for name, frame in tables.items():
            write_table(output[name], frame)
        found = findings(Results(tables | {"bias": bias}, encoded, facts, best, calls, alive))
        write_json(output.summary, found)
        write_text(output.text, summary_text(snakemake.wildcards.study, found))
        lines = note_lines(found)
        write_text(output.notes, "".join(f"{line}\n" for line in lines))
        write_json(output.best, best_model(encoded))
        write_tensors(output.tensors, dictionary_tensors(tensors), dictionary_facts(encoded, names))
        log.info("%s", lines[0])
