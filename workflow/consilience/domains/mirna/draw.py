"""Draws where in the sequences the networks look: positions, pairing, clusters, k-mers and single pairs.

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
from consilience.dataset import Dataset
from consilience.domains.mirna.cluster_plots import cluster_panels
from consilience.domains.mirna.colors import BRANCH_NAMES
from consilience.domains.mirna.comparisons import outcome_panels
from consilience.domains.mirna.images import CHANNELS, average_attribution, channels, kmer_maps
from consilience.domains.mirna.interaction_plots import interaction_panels
from consilience.domains.mirna.pair_images import write_pairs
from consilience.domains.mirna.plots import agreement_matrix, position_profiles
from consilience.domains.mirna.prepare import BRANCHES
from consilience.domains.mirna.sheets import sheet, write_sheets
from consilience.domains.mirna.shown import Shown, read_shown
from consilience.files import read_h5, read_strings, read_table, read_tensors, save_figure, whole_folder

FILTERS = "state/{branch}.first.convolution.weight"


def read_maps(path: str | Path) -> dict[str, Any]:
    """Read what analysis/maps.h5 holds.

    `samples` and `chosen` are ids; `falls` by branch (samples, longest); `interactions` by pair the interactions and
    the complementary windows; `activations` by branch those of the first chosen pair (channels, side, side).
    """
    with read_h5(path) as file:
        samples, chosen = (list(read_strings(file, name)) for name in ("samples", "chosen"))
        pairs = file.get("interactions", {})
        return {
            "samples": samples,
            "chosen": chosen,
            "falls": {branch: file[f"nucleotides/{branch}"][...] for branch in BRANCHES},
            "interactions": {name: (pairs[name][...], file[f"complementary/{name}"][...]) for name in pairs},
            "activations": {branch: file[f"activations/{branch}/{chosen[0]}"][...] for branch in BRANCHES},
        }


def first_filters(path: str | Path, real: np.ndarray) -> dict[str, np.ndarray]:
    """Return by branch the first convolution's filters (channels, rows, columns) of the first member on real labels."""
    tensors, _ = read_tensors(path)
    return {branch: tensors[FILTERS.format(branch=branch)][real][0][:, 0] for branch in BRANCHES}


def pages(shown: Shown, maps: Mapping[str, Any], window: int) -> Iterator[Figure]:
    """Yield the sheet of every chosen pair."""
    for sample in maps["chosen"]:
        falls = {branch: values[maps["samples"].index(sample)] for branch, values in maps["falls"].items()}
        _, complementary = maps["interactions"].get(sample, (None, None))
        yield sheet(shown, shown.row(sample), falls, complementary, window)


def draw_channels(shown: Shown, maps: Mapping[str, Any], filters: Mapping[str, np.ndarray], output: Any) -> None:
    """Draw filters and activations of both branches."""
    about_first = f"{shown.model}, first member, {maps['chosen'][0]}"
    for branch in BRANCHES:
        count, own = len(filters[branch]), filters[branch].shape[1:]
        title = f"First convolution, {BRANCH_NAMES[branch]}: filters"
        about = f"{shown.model}, first member; {min(CHANNELS, count)} of {count} filters of {own[0]} x {own[1]} pixels."
        save_figure(output[f"{branch}_conv1_filters"], channels(filters[branch], title, about))
        title = f"First convolution, {BRANCH_NAMES[branch]}: activations"
        about = f"{about_first}; {min(CHANNELS, count)} of {count} channels. Above: least to largest."
        save_figure(output[f"{branch}_conv1_activations"], channels(maps["activations"][branch], title, about))


def draw_tables(
    shown: Shown, tables: Mapping[str, pd.DataFrame], maps: Mapping[str, Any], window: int, output: Any
) -> None:
    """Draw the figures of tables."""
    model, primary = shown.model, shown.primary
    save_figure(output.positions, position_profiles(tables["positions"], tables["enrichment"], model, primary))
    interactions = interaction_panels(maps["interactions"], tables["interactions"], maps["chosen"], window)
    save_figure(output.interactions, interactions)
    save_figure(output.methods_agreement, agreement_matrix(tables["agreement"]))
    clusters = cluster_panels(
        tables["clusters"],
        tables["cluster_stability"],
        model,
        primary,
        shown.k,
        len(shown.table),
        shown.signed[primary],
    )
    save_figure(output.clusters, clusters)
    save_figure(output.outcomes, outcome_panels(tables["outcomes"], tables["comparison"], shown))


if "snakemake" in globals():
    with job(snakemake) as log:
        given, params, output = snakemake.input, snakemake.params, snakemake.output
        tables = {Path(path).stem: read_table(path) for path in given.tables}
        predictions = read_table(given.predictions, ("sample", "target", "predicted"))
        real = (read_table(given.members, ("permuted",))["permuted"] == 0).to_numpy()
        paths = dict(zip(params.methods, given.attributions, strict=True))
        signed, window = signed_methods(params.methods, params.own_methods), params.analysis["window"]
        with Dataset.open(given.dataset) as dataset:
            shown, means, explained = read_shown(dataset, paths, signed, params.primary, predictions)
        maps = read_maps(given.maps)
        draw_tables(shown, tables, maps, window, output)
        truth = read_table(given.truth[0], ("feature",)) if given.truth else None
        save_figure(output.kmer_maps, kmer_maps(shown, read_table(given.drivers), read_table(given.top), truth))
        for method in params.methods:
            figure = average_attribution(method, means[method], signed[method], shown.model, explained)
            save_figure(output[f"average_attribution_{method}"], figure)
        draw_channels(shown, maps, first_filters(given.ensemble, real), output)
        write_sheets(output.sheets, pages(shown, maps, window))
        with whole_folder(output.pairs) as folder:
            clusters = params.analysis["clusters"]
            count = write_pairs(folder, shown, maps["chosen"], maps["interactions"], window, clusters)
        log.info("%s figures, and %s images of %s pairs", len(output) - 1, count, len(maps["chosen"]))
