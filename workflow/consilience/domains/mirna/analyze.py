"""Tells what attributions of pairs say: methods held against mutagenesis, positions, interactions, clusters, groups.

Tables for every model, and maps of the one that is shown, from the attribution files' whole maps of test pairs.
"""

from consilience.jobs import job

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.attribution.names import signed_methods
from consilience.attribution.store import read
from consilience.dataset import Dataset
from consilience.domains.mirna.evidence import DRIVER_COLUMNS, METRIC_COLUMNS, driver_rows, metric_rows
from consilience.domains.mirna.groups import in_turn, outcomes, probabilities
from consilience.domains.mirna.mutagenesis import Interactions
from consilience.domains.mirna.notes import note_lines
from consilience.domains.mirna.probing import Networks
from consilience.domains.mirna.tables import Pairs, Tables, maps_of
from consilience.evaluation import best_loss
from consilience.files import read_json, read_table, write_h5, write_json, write_strings, write_table, write_text


def predicted_of(path: str, samples: Sequence[str], target: str) -> np.ndarray:
    """Return the predicted probability of a pair of each sample, from a model's predictions.tsv."""
    return probabilities(read_table(path, ("sample", "target", "predicted")), samples, target)


def write_maps(
    path: str,
    networks: Networks,
    samples: Sequence[str],
    chosen: Sequence[str],
    found: Mapping[str, Interactions],
    falls: Mapping[str, np.ndarray],
) -> None:
    """Write what is drawn of the shown model beside its attributions.

    `samples` are all pairs, of which `nucleotides/<branch>` (pairs, longest) are the falls under mutation; `chosen` are
    those with sheets. By pair: `interactions/<pair>` and `complementary/<pair>` (miRNA windows, site windows), and of
    the first chosen one `activations/<branch>/<pair>` (channels, side, side) of the first convolution.
    """
    with write_h5(path) as file:
        write_strings(file, "samples", samples)
        write_strings(file, "chosen", chosen)
        for branch, values in falls.items():
            file[f"nucleotides/{branch}"] = values.astype(np.float32)
        for sample, one in found.items():
            file[f"interactions/{sample}"] = one.map.astype(np.float32)
            file[f"complementary/{sample}"] = one.complementary
        for branch, values in networks.activations(chosen[:1]).items():
            file[f"activations/{branch}/{chosen[0]}"] = values[0].astype(np.float32)


def summary(
    study: str,
    params: Any,
    pairs: Pairs,
    metrics: Mapping[str, Any],
    frames: Mapping[str, pd.DataFrame],
    ensembles: list,
) -> dict[str, Any]:
    """Return analysis_summary.json: the earlier system's keys, and what came out."""
    seed = frames["enrichment"]
    seed = seed[(seed["branch"] == "mirna") & (seed["label"] == "pair")]
    return {
        "n_samples_analyzed": len(pairs.labels),
        "n_samples_with_sheets": min(params.analysis["n_samples"], len(pairs.labels)),
        "n_background_samples": params.attribution["background"],
        "model_checkpoint": {model: str(path) for model, path in zip(params.explained, ensembles, strict=True)},
        "k_mer": pairs.k,
        "methods_used": list(params.methods),
        "output_directory": f"results/{study}/analysis",
        "test": {model: one["test"] for model, one in metrics.items()},
        "trivial": next(iter(metrics.values()))["trivial"],
        "seed_enrichment": [
            {key: None if pd.isna(value) else value for key, value in row.items()} for row in seed.to_dict("records")
        ],
    }


def analyze_models(
    given: Any, params: Any, dataset: Dataset, split: pd.DataFrame, tables: Tables, samples: Sequence[str]
) -> tuple[Networks, dict[str, np.ndarray]]:
    """Add the tables of every explained model; return the networks of the shown one, and its falls under mutation."""
    methods, signed = params.methods, signed_methods(params.methods, params.own_methods)
    for place, model in enumerate(params.explained):
        paths = given.attributions[place * len(methods) : (place + 1) * len(methods)]
        maps = {name: maps_of(dataset, read(path, showcase=True)) for name, path in zip(methods, paths, strict=True)}
        predicted = predicted_of(given.predictions[place], samples, dataset.targets[0])
        tables.add(model, maps, signed, predicted, params.primary)
        facts = (params.attribution, params.own_methods, params.seed, params.device)
        networks = Networks.load(dataset, split, given.ensembles[place], *facts)
        falls = networks.falls(samples)
        tables.add_falls(model, falls)
        if model == params.shown:
            tables.add_clusters(model, maps[params.primary])
            shown = networks, falls
    return shown


def probe_shown(
    given: Any,
    params: Any,
    networks: Networks,
    falls: Mapping[str, np.ndarray],
    tables: Tables,
    samples: Sequence[str],
    path: str,
) -> None:
    """Ask the shown model's networks about pairs of windows; adds their table and writes maps, `falls` among them."""
    settings, labels = params.analysis, tables.pairs.labels
    place = params.explained.index(params.shown)
    outcome = outcomes(labels, predicted_of(given.predictions[place], samples, networks.target))
    chosen = [samples[row] for row in in_turn(outcome, settings["n_samples"])]
    positives = [name for name, label in zip(samples, labels, strict=True) if label == 1]
    asked = list(dict.fromkeys([*chosen, *positives[: settings["interaction_samples"]]]))
    found = networks.interactions(asked, settings["window"], settings["draws"])
    of = dict(zip(samples, outcome, strict=True))
    tables.add_interactions(params.shown, found, of, settings["permutations"])
    write_maps(path, networks, samples, chosen, found, falls)


if "snakemake" in globals():
    with job(snakemake) as log:
        given, params, output = snakemake.input, snakemake.params, snakemake.output
        metrics = {model: read_json(path) for model, path in zip(params.models, given.metrics, strict=True)}
        losses = {model: best_loss(path) for model, path in zip(params.explained, given.histories, strict=True)}
        best = min(params.voters, key=losses.__getitem__)
        split = read_table(given.split, ("sample", "group", "role"))
        with Dataset.open(given.dataset) as dataset:
            samples = list(read(given.attributions[0], showcase=True).showcase["samples"])
            tables = Tables(Pairs.of(dataset, samples, params.k), params.analysis, params.seed)
            networks, falls = analyze_models(given, params, dataset, split, tables, samples)
            log.info("networks are asked on %s", networks.reader.device)
            probe_shown(given, params, networks, falls, tables, samples, output.maps)
            drivers = read_table(given.drivers, ("feature", "direction", "average_attribution"))
            primary = [
                read(path)
                for path in given.attributions
                if Path(path).stem == params.primary and Path(path).parent.name in params.voters
            ]
            beside = driver_rows(dataset, drivers, primary)
        frames = tables.frames() | {
            "drivers": pd.DataFrame(beside, columns=list(DRIVER_COLUMNS)),
            "metrics": pd.DataFrame(metric_rows(metrics, read_json(given.linear)), columns=list(METRIC_COLUMNS)),
        }
        for name, frame in frames.items():
            write_table(output[name], frame)
        facts = summary(snakemake.wildcards.study, params, tables.pairs, metrics, frames, given.ensembles)
        write_json(output.summary, facts)
        lines = note_lines(frames, metrics, best, params.shown, params.primary)
        write_text(output.notes, "".join(f"{line}\n" for line in lines))
        log.info("%s", lines[0])
