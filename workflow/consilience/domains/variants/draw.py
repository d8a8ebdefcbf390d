"""Draws which atoms true and false calls differ in, what these stand for, and what the dictionary is worth.

Every figure is drawn from tables that stand beside it, but for the codes of the atoms that have a card; needs no torch.
"""

from consilience.jobs import job

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from consilience.attribution.selection import check_split
from consilience.dataset import Dataset
from consilience.domains.variants.bias_plots import bias_support, confirmation, volcano
from consilience.domains.variants.card_pages import cards_of, write_cards
from consilience.domains.variants.codes import code_features, sparse_codes
from consilience.domains.variants.dictionary_plots import dictionary_panels
from consilience.domains.variants.landscape_plots import bias_landscape
from consilience.domains.variants.network_plots import coactivation_network
from consilience.domains.variants.raw_plots import raw_attribution_bars
from consilience.domains.variants.size_plots import size_profile_panels
from consilience.domains.variants.type_plots import type_specialization
from consilience.files import read_json, read_table, save_figure

TABLES = (
    "bias", "landscape", "specialization", "atoms", "cards", "coactivation", "size_profiles", "raw_attributions",
    "raw_branches", "dictionary", "sweep",
)  # fmt: skip


def codes_of_atoms(
    dataset: Dataset, split: pd.DataFrame, atoms: np.ndarray
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return by atom its codes above 0 in true and in false calls of the training role."""
    check_split(dataset, split)
    rows = np.flatnonzero((split["role"] == "train").to_numpy())
    places = {atom: place for place, atom in enumerate(code_features(dataset)["atom"])}
    columns = sparse_codes(dataset, rows)[:, [places[atom] for atom in atoms]].tocsc()
    found, labels = {}, dataset.labels[rows]
    for place, atom in enumerate(atoms):
        own = slice(*columns.indptr[place : place + 2])
        values, true = columns.data[own], labels[columns.indices[own]] == 1
        found[atom] = values[true], values[~true]
    return found


def figures(
    tables: Mapping[str, pd.DataFrame],
    facts: Mapping[str, Any],
    recovery: pd.DataFrame | None,
    voters: list[str],
    network: int,
) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of the analysis' tables, each with its name; `facts` are those of encoded.json."""
    bias = tables["bias"]
    yield "bias_landscape", bias_landscape(bias, tables["landscape"])
    yield "volcano", volcano(bias)
    yield "bias_support", bias_support(bias)
    yield "confirmation", confirmation(bias)
    yield "size_profiles", size_profile_panels(tables["size_profiles"], bias)
    yield "type_specialization", type_specialization(tables["specialization"], bias)
    yield "coactivation", coactivation_network(tables["coactivation"], bias, network)
    yield "dictionary", dictionary_panels(tables["dictionary"], tables["sweep"], tables["atoms"], facts)
    yield "raw_attributions", raw_attribution_bars(tables["raw_attributions"], tables["raw_branches"], voters, recovery)


if "snakemake" in globals():
    with job(snakemake) as log:
        given, params, output = snakemake.input, snakemake.params, snakemake.output
        tables = {name: read_table(Path(given[name])) for name in TABLES}
        recovery = read_table(given.raw_recovery[0]) if given.raw_recovery else None
        drawn = figures(tables, read_json(given.encoded), recovery, params.voters, params.analysis["network"])
        for name, figure in drawn:
            save_figure(output[name], figure)
        with Dataset.open(given.dataset) as dataset:
            atoms = tables["cards"]["atom"].unique()
            codes = codes_of_atoms(dataset, read_table(given.split, ("sample", "role")), atoms)
        write_cards(output.cards, cards_of(tables, codes))
        log.info("%s figures, and the cards of %s atoms", len(output) - 1, len(atoms))
