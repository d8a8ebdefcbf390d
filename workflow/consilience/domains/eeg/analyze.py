"""Tells what attention, modalities, edges and windows are worth to the networks, and how far to trust probabilities.

Tables for every model, maps of attention, a text report of some test samples, and the notes of the summary.
"""

from consilience.jobs import job

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
import pandas as pd

from consilience.attribution.names import signed_methods
from consilience.attribution.store import read
from consilience.dataset import Dataset
from consilience.domains.eeg.asked import Asked
from consilience.domains.eeg.capture import ExplainabilityCapture
from consilience.domains.eeg.explanation_text import create_explainability_report
from consilience.domains.eeg.montage import BRANCHES
from consilience.domains.eeg.notes import note_lines
from consilience.domains.eeg.patterns import Maps, head_maps
from consilience.domains.eeg.performance import ablation_rows, calibration_rows, nearest_member, predicted
from consilience.domains.eeg.probing import Networks
from consilience.domains.eeg.tables import Tables
from consilience.domains.eeg.wording import window_names
from consilience.files import read_json, read_table, write_h5, write_strings, write_table, write_text

OF_MEMBER = (
    "Predictions and attention below are those of member {1} of {0}, the one of {2} whose probabilities for these "
    "samples lie nearest to their mean."
)
NO_ATTENTION = "{}: it reads {} alone, and has no attention between modalities\n"


def write_attention(file: h5py.File, model: str, members: Sequence[Maps], asked: Asked, count: int) -> None:
    """Write a model's attention: `<model>/<direction>/mean` (members, heads, query, key), `classes`, and `samples`.

    `classes` is (members, classes, ...), NaN where a class has no sample; `samples` (members, samples, ...) are the
    maps of the first `count` asked samples. Heads of different members have nothing in common.
    """
    places = [np.flatnonzero(asked.labels == label) for label in range(len(asked.classes))]
    for direction in members[0]:
        own = [maps[direction] for maps in members]
        parts = {
            "mean": [head_maps(one) for one in own],
            "classes": [[head_maps(one, chosen) for chosen in places] for one in own],
            "samples": [one.values[:count] for one in own],  # noqa: PD011 (no frame)
        }
        for name, values in parts.items():
            file[f"{model}/{direction}/{name}"] = np.array(values, np.float32)


def write_report(path: str, networks: Networks, asked: Asked, count: int, times: tuple[float, float]) -> None:
    """Write the text report of the first `count` asked samples, by the member that predicts most like the mean."""
    if not networks.fused:
        write_text(path, NO_ATTENTION.format(networks.ensemble.model, *networks.modalities))
        return
    names, dataset = asked.ids[:count], networks.reader.dataset
    batch = networks.reader.read(dataset.rows_of(names))
    given = dict(zip(BRANCHES, batch.inputs, strict=True)) | batch.auxiliary | {"targets": asked.votes[:count]}
    probabilities = networks.predictions(names).probabilities
    place = nearest_member(probabilities)
    results = ExplainabilityCapture(networks.members[place], networks.heads).explain_batch(given)
    windows = {branch: window_names(dataset.branches[branch].shape[0], *times) for branch in BRANCHES}
    voted, own = (part.argmax(axis=-1) for part in (probabilities.mean(axis=0), probabilities[place]))
    member = networks.numbers[place]
    about = OF_MEMBER.format(networks.ensemble.model, member, len(probabilities))
    apart = [f"{name} ({asked.classes[label]})" for name, label in zip(names, voted, strict=True)]
    apart = [told for told, differs in zip(apart, voted != own, strict=True) if differs]
    about += (
        f" All members together see another class in {', '.join(apart)}."
        if apart
        else " All members together see the same classes."
    )
    create_explainability_report(results, path, asked.classes, windows, names, about)


def analyze_models(given: Any, params: Any, dataset: Dataset, split: pd.DataFrame, tables: Tables, output: Any) -> None:
    """Add the tables of every explained model, write maps and report."""
    methods, asked = params.methods, tables.asked
    signed, count = signed_methods(methods, params.own_methods), params.analysis["report_samples"]
    times = params.window, params.stride
    with write_h5(output.attention_maps) as file:
        write_strings(file, "classes", asked.classes)
        write_strings(file, "samples", asked.ids[:count])
        for place, model in enumerate(params.explained):
            paths = given.attributions[place * len(methods) : (place + 1) * len(methods)]
            kept = {name: read(path, showcase=True) for name, path in zip(methods, paths, strict=True)}
            tables.add_windows(model, kept, signed, dataset, split, times)
            facts = (params.attribution, params.seed, params.device)
            networks = Networks.load(dataset, split, given.ensembles[place], *facts)
            members = tables.add_networks(networks, times)
            if members:
                write_attention(file, model, members, asked, count)
            if model == params.shown:
                write_report(output.report, networks, asked, count, times)


def add_performance(given: Any, params: Any, tables: Tables, asked: Asked, metrics: dict[str, Any]) -> None:
    """Add calibration and ablations of all models, from the predictions of all test samples, `asked`."""
    told = {}
    for model, path in zip(params.models, given.predictions, strict=True):
        told[model] = predicted(read_table(path, ("sample", "target", "predicted")), asked)
        tables.extend("calibration", model, calibration_rows(told[model], asked))
    tables.rows["ablations"] += ablation_rows(told, params.modalities, metrics, params.shown, asked)


if "snakemake" in globals():
    with job(snakemake) as log:
        given, params, output = snakemake.input, snakemake.params, snakemake.output
        metrics = {model: read_json(path) for model, path in zip(params.models, given.metrics, strict=True)}
        split, settings = read_table(given.split, ("sample", "group", "role")), params.analysis
        with Dataset.open(given.dataset) as dataset:
            chances = settings["resamples"], params.seed
            asked = Asked.choose(dataset, split, settings["samples"], *chances)
            tables = Tables(asked, settings["permutations"])
            analyze_models(given, params, dataset, split, tables, output)
            test = Asked.of(dataset, split, np.flatnonzero(split["role"] == "test"), *chances)
            add_performance(given, params, tables, test, metrics)
        frames = tables.frames()
        for name, frame in frames.items():
            write_table(output[name], frame)
        lines = note_lines(frames, metrics, params.shown, asked)
        write_text(output.notes, "".join(f"{line}\n" for line in lines))
        log.info("%s", lines[0])
