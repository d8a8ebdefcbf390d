"""Checks how far the attributions of one model can be trusted, method by method.

The tables hold the scores with their intervals, and the curves that the figure draws.
"""

from consilience.jobs import job

import pandas as pd

from consilience.attribution.methods import Own, method_named
from consilience.attribution.store import read
from consilience.dataset import Dataset
from consilience.devices import choose_device
from consilience.domains import has_module, slice_module
from consilience.faithfulness.measure import measure
from consilience.figures.faithfulness import faithfulness_panels
from consilience.files import read_table, save_figure, write_table
from consilience.training.ensemble import Ensemble


def describe(scores: pd.DataFrame) -> str:
    """Say by how much each method's deletion falls faster than that of a random ranking."""
    rows = scores[(scores["check"] == "deletion") & (scores["metric"] == "area_minus_random")]
    parts = [f"{row.method} {row.value:.3f}" for row in rows.itertuples()]
    return f"area under deletion less that of a random ranking: {', '.join(parts)}"


if "snakemake" in globals():
    with job(snakemake) as log:
        params, given, output = snakemake.params, snakemake.input, snakemake.output
        split = read_table(given.split, ("sample", "group", "role"))
        ensemble = Ensemble.load(given.ensemble)
        module = ensemble.network(slice_module(params.domain, "model").build)
        explain = slice_module(params.domain, "explain") if has_module(params.domain, "explain") else None
        own, methods = Own.of(explain, params.own_methods), params.attribution["methods"]
        unsigned = [name for name in methods if not method_named(name, own).signed]
        device = str(choose_device(params.device))
        log.info("checked on %s", device)
        with Dataset.open(given.dataset) as dataset:
            found = measure(
                dataset, split, ensemble, module, [read(path) for path in given.attributions], params.attribution,
                **params.faithfulness, top=params.top, seed=params.seed, device=device, own=own,
            )  # fmt: skip
        write_table(output.scores, found.scores)
        write_table(output.curves, found.curves)
        save_figure(output.figure, faithfulness_panels(found.scores, found.curves, ensemble.model, unsigned))
        log.info("%s of %s samples were checked", found.samples, params.faithfulness["samples"])
        log.info("%s", describe(found.scores))
