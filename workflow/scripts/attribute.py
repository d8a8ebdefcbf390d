"""Explains one model by every method of the study, from one reading of data and weights.

Each method has a file of its own.
"""

import sys

import numpy as np

from consilience.attribution.explain import explain_model
from consilience.attribution.methods import Own
from consilience.attribution.store import Attributions, write
from consilience.dataset import Dataset
from consilience.devices import choose_device
from consilience.domains import has_module, slice_module
from consilience.files import read_table
from consilience.jobs import job
from consilience.training.ensemble import Ensemble


def describe(attributions: Attributions) -> str:
    """Say what was explained, and how far the attributions miss the completeness that their method promises."""
    said = f"{attributions.method}: {len(attributions.samples)} samples"
    if not attributions.complete:
        return said
    relative = np.median(attributions.gap) / max(np.median(attributions.scale), np.finfo(float).tiny)
    return f"{said}, median completeness gap {np.median(attributions.gap):.2g} ({relative:.2%} of the median change)"


if "snakemake" in globals():
    with job(snakemake) as log:
        params, model = snakemake.params, snakemake.wildcards.model
        split = read_table(snakemake.input.split, ("sample", "group", "role"))
        ensemble = Ensemble.load(snakemake.input.ensemble)
        module = ensemble.network(slice_module(params.domain, "model").build)
        explain = slice_module(params.domain, "explain") if has_module(params.domain, "explain") else None
        own = Own.of(explain, params.own_methods)
        device = str(choose_device(params.device))
        log.info("explained on %s", device)
        with Dataset.open(snakemake.input.dataset) as dataset:
            explained = explain_model(
                dataset, split, ensemble, module, params.attribution["methods"], params.attribution, params.seed,
                device=device, progress=sys.stderr.isatty(),
                own=own,
            )  # fmt: skip
        for remark in next(iter(explained.values())).remarks:
            log.warning("%s: %s", model, remark)
        for method, attributions in explained.items():
            write(snakemake.output[method], attributions)
            log.info("%s", describe(attributions))
