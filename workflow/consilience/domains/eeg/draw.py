"""Draws where on the scalp and when attributions lie, and what attention, modalities and edges are worth.

Every figure is drawn from tables and files that stand beside it; needs no torch.
"""

from consilience.jobs import job

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from consilience.attribution.names import signed_methods
from consilience.attribution.store import read
from consilience.domains.eeg.attention_figures import attention_maps, read_means
from consilience.domains.eeg.edge_plots import edge_maps
from consilience.domains.eeg.head_plots import head_panels
from consilience.domains.eeg.modality_plots import modality_panels
from consilience.domains.eeg.outcome_plots import outcome_panels
from consilience.domains.eeg.plots import calibration_curves, time_courses
from consilience.domains.eeg.topographies import topographies, topography_table
from consilience.files import read_h5, read_json, read_table, save_figure, write_table


def figures(
    tables: Mapping[str, pd.DataFrame],
    means: Mapping[str, np.ndarray],
    metrics: Mapping[str, Mapping[str, Any]],
    linear: Mapping[str, Mapping[str, Any]],
    params: Any,
) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of the analysis' tables, each with its name.

    `means` are the shown model's mean maps, `metrics` metrics.json by model, `linear` linear/metrics.json.
    """
    shown = params.shown
    yield "time_courses", time_courses(tables["windows"], shown)
    yield "attention", attention_maps(means, tables["attention"], shown, (params.window, params.stride))
    yield "heads", head_panels(tables["attention"], tables["knockouts"], tables["agreement"], shown)
    yield "modalities", modality_panels(tables["modalities"], tables["ablations"], linear, shown)
    yield "edges", edge_maps(tables["edges"], shown)
    yield "calibration", calibration_curves(tables["calibration"], metrics)
    yield "outcomes", outcome_panels(tables["outcomes"], tables["class_patterns"], shown)


if "snakemake" in globals():
    with job(snakemake) as log:
        given, params, output = snakemake.input, snakemake.params, snakemake.output
        tables = {Path(path).stem: read_table(path) for path in given.tables}
        truth = read_table(given.truth[0], ("feature", "target")) if given.truth else None
        found = read(given.attributions)
        signed = signed_methods([params.primary], params.own_methods)[params.primary]
        places = topography_table(found, signed, truth)
        write_table(output.topographies_table, places)
        explained = f"{len(found.samples)} explained samples ({', '.join(found.roles)})"
        save_figure(output.topographies, topographies(places, explained))
        with read_h5(given.attention_maps) as file:
            means = read_means(file, params.shown)
        metrics = {model: read_json(path) for model, path in zip(params.models, given.metrics, strict=True)}
        for name, figure in figures(tables, means, metrics, read_json(given.linear), params):
            save_figure(output[name], figure)
        log.info("%s figures of %s", len(output) - 1, params.shown)
