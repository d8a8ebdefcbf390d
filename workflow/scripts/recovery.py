"""Says how well each method, model and the consensus find the planted drivers.

The linear models are held to the same truth. Where a slice encodes samples, its `planted` says which of the features
that are left stand for what was planted.
"""

from consilience.jobs import job

from collections.abc import Sequence

import pandas as pd

from consilience.attribution.store import read
from consilience.consensus.lists import ModelAttribution, voting
from consilience.dataset import Dataset
from consilience.domains import has_module, slice_module
from consilience.figures.recovery import recovery_dots
from consilience.files import read_table, save_figure, write_table
from consilience.recovery import Score, attribution_scores, linear_scores, recovery


def recovery_table(
    truth: pd.DataFrame, paths: Sequence[str], voters: Sequence[str], coefficients: pd.DataFrame
) -> pd.DataFrame:
    """Score every attribution file and every linear model against the truth."""
    by_method: dict[str, list[ModelAttribution]] = {}
    for path in paths:
        attributions = read(path)
        model = ModelAttribution.of(attributions, consensus=attributions.model in voters)
        by_method.setdefault(attributions.method, []).append(model)
    scores: list[Score] = []
    for method, models in by_method.items():
        scores += attribution_scores(models, method)
    first = voting(next(iter(by_method.values())))[0]
    features, targets = first.features, first.targets
    return recovery(truth, features, targets, [*scores, *linear_scores(coefficients, targets, features)])


if "snakemake" in globals():
    with job(snakemake) as log:
        given, output = snakemake.input, snakemake.output
        truth = read_table(given.truth, ("feature", "target", "sign", "effect"))
        if has_module(snakemake.params.domain, "planted"):
            with Dataset.open(given.dataset) as dataset:
                truth = slice_module(snakemake.params.domain, "planted").planted(truth, dataset)
        coefficients = read_table(given.coefficients, ("feature", "target", "kind", "coefficient"))
        table = recovery_table(truth, given.attributions, snakemake.params.voters, coefficients)
        write_table(output.table, table)
        save_figure(output.figure, recovery_dots(table))
        consensus = table[(table["scope"] == "consensus") & (table["effect"] == "all")]
        best = consensus.groupby("method")["average_precision"].mean()
        told = ", ".join(f"{method} {value:.3f}" for method, value in best.items())
        log.info("average precision of the consensus: %s", told)
