"""A quick look at one pair: where in its sequences one model's prediction comes from, by three methods.

A figure, and the same numbers as a table, a row a nucleotide.
"""

from consilience.jobs import job

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from consilience.dataset import Dataset
from consilience.domains.mirna.fcgr import pixels
from consilience.domains.mirna.pairs import SEED
from consilience.domains.mirna.positions import match_regions, per_nucleotide, per_window
from consilience.domains.mirna.prepare import BRANCHES
from consilience.domains.mirna.probing import Networks
from consilience.domains.mirna.sequences import encode
from consilience.figures.style import NEGATIVE, POSITIVE, entitle, new_figure, styled
from consilience.files import read_table, save_figure, write_table

METHODS = ("mutagenesis", "integrated_gradients", "deeplift")
SHADE = "#EAEAEA"
TITLES = {"mirna": "miRNA", "site": "site"}


def look(networks: Networks, sample: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Explain one pair; return a row a nucleotide with its share by every method, and what is known of the pair.

    The mutagenesis of a nucleotide is its own mean fall; other methods' k-mers are divided over their nucleotides.
    Means over members.
    """
    (row,) = networks.reader.dataset.rows_of([sample])
    batch = networks.reader.read(np.array([row]))
    pair, label = networks.reader.dataset.samples.iloc[row], int(networks.reader.dataset.labels[row])
    log_odds = networks.reader.function.values(batch.inputs, batch.auxiliary)
    found: dict[str, dict[str, np.ndarray]] = {METHODS[0]: {b: v[0] for b, v in networks.falls([sample]).items()}}
    for method in networks.methods[1:]:
        maps = batch.attribute(method, networks.reader.settings)
        found[method.name] = {
            branch: _per_nucleotide(part.mean(dim=0)[0].cpu().numpy(), pair[branch])
            for branch, part in zip(BRANCHES, maps, strict=True)
        }
    tables = []
    for branch in BRANCHES:
        letters = list(pair[branch])
        places = {"branch": branch, "position": np.arange(1, len(letters) + 1), "nucleotide": letters}
        tables.append(pd.DataFrame({**places, **{method: own[branch] for method, own in found.items()}}))
    facts = {"sample": sample, "label": label, "planted": int(pair["planted_position"])}
    # The ensemble predicts the members' mean probability, which is not that of their mean log-odds.
    facts |= {"log_odds": float(log_odds.mean()), "probability": float(log_odds.sigmoid().mean())}
    return pd.concat(tables, ignore_index=True), facts | {branch: pair[branch] for branch in BRANCHES}


def _per_nucleotide(image: np.ndarray, sequence: str) -> np.ndarray:
    """Divide an image (1, side, side) of attributions over the nucleotides of the sequence it is of."""
    k = int(image.shape[-1]).bit_length() - 1
    return per_nucleotide(per_window(image.reshape(1, -1), pixels(encode([sequence]), k)), k)[0]


@styled
def draw(table: pd.DataFrame, facts: Mapping[str, Any], model: str, classes: list[str], role: str = "") -> Figure:
    """Draw bars along both sequences, a row a method; the seed and its match are shaded, the pair's `role` is told."""
    methods = [name for name in table.columns if name not in ("branch", "position", "nucleotide")]
    lengths = [len(facts[branch]) for branch in BRANCHES]
    figure = new_figure(11, 1.4 + 1.25 * len(methods))
    panels = figure.subplots(len(methods), 2, width_ratios=lengths, sharex="col", sharey="row", squeeze=False)
    _, match, kind = match_regions([facts["mirna"]], [facts["site"]], [facts["planted"]], lengths[1])
    for row, method in zip(panels, methods, strict=True):
        for axes, branch in zip(row, BRANCHES, strict=True):
            own = table[table["branch"] == branch]
            _bars(axes, own[method].to_numpy(), own["nucleotide"].tolist())
            places = np.arange(*SEED.indices(lengths[0])) if branch == "mirna" else np.flatnonzero(match[0])
            if len(places):
                axes.axvspan(places[0] + 0.5, places[-1] + 1.5, color=SHADE, zorder=0, linewidth=0)
        row[0].set_ylabel(method.replace("_", "\n"), fontsize=8)
    for axes, branch in zip(panels[0], BRANCHES, strict=True):
        axes.set_title(f"{TITLES[branch]}, 5' to 3'")
    caption = (
        f"What each nucleotide adds to the log-odds of a pair ({model}, mean over members): up speaks for a pair, down "
        "against it. Mutagenesis: mean fall under the three substitutions; the others: k-mers divided over their "
        "nucleotides, in comparison with the same sequence, its dinucleotides shuffled. "
        f"Shaded: nucleotides 2-8 and the {kind}, if any."
    )
    said = f"predicted probability of a pair {facts['probability']:.2f}"
    title = f"{facts['sample']}{role and f' ({role})'}: {classes[facts['label']]}, {said}"
    entitle(figure, title, caption)
    return figure


def _bars(axes: Axes, values: np.ndarray, letters: list[str]) -> None:
    places = np.arange(1, len(values) + 1)
    known = np.nan_to_num(values)
    axes.bar(places, known, color=np.where(known >= 0, POSITIVE, NEGATIVE), width=0.85, zorder=2)
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set_xticks(places, letters, fontsize=7, family="monospace")
    axes.set_xlim(0.4, len(values) + 0.6)
    axes.tick_params(axis="x", length=0)


if "snakemake" in globals():
    with job(snakemake) as log:
        given, params, output = snakemake.input, snakemake.params, snakemake.output
        split = read_table(given.split, ("sample", "group", "role"))
        with Dataset.open(given.dataset) as dataset:
            facts = (params.attribution, params.own_methods, params.seed, params.device, METHODS)
            networks = Networks.load(dataset, split, given.ensemble, *facts)
            table, pair = look(networks, snakemake.wildcards.sample)
            role = split.set_index("sample").loc[pair["sample"], "role"]
            classes = dataset.classes
        write_table(output.table, table)
        save_figure(output.figure, draw(table, pair, params.model, classes, role))
        log.info("%s: log-odds of a pair %.3f", pair["sample"], pair["log_odds"])
