"""Explains one model by every method of the study, from one reading of data and weights.

Each method has a file of its own.
"""

from consilience.jobs import job

from collections.abc import Mapping

import numpy as np

from consilience.attribution.explain import explain_model
from consilience.attribution.methods import Own
from consilience.attribution.store import Attributions, write
from consilience.dataset import Dataset
from consilience.devices import choose_device
from consilience.domains import has_module, slice_module
from consilience.files import read_table
from consilience.training.ensemble import Ensemble


def relative_gap(attributions: Attributions) -> float:
    """Return the median completeness gap of a method that promises one, as a share of the median change."""
    return float(np.median(attributions.gap) / max(np.median(attributions.scale), np.finfo(float).tiny))


def describe(explained: Mapping[str, Attributions]) -> str:
    """Say how much was explained, and which method misses the completeness that it promises by most."""
    first = next(iter(explained.values()))
    said = f"{len(first.samples)} samples, {len(first.features)} features, {len(explained)} methods"
    gaps = {method: relative_gap(one) for method, one in explained.items() if one.complete}
    if not gaps:
        return said
    worst = max(gaps, key=gaps.__getitem__)
    return f"{said}; largest median completeness gap {gaps[worst]:.2%} of the median change ({worst})"


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
                device=device, own=own,
            )  # fmt: skip
        for remark in next(iter(explained.values())).remarks:
            log.warning("%s: %s", model, remark)
        for method, attributions in explained.items():
            write(snakemake.output[method], attributions)
            if attributions.complete:
                log.info("%s: median completeness gap %.2g of the median change", method, relative_gap(attributions))
        log.info("%s", describe(explained))
