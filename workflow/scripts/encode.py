"""Fits a slice's representation on the training role and encodes every sample with it.

The result is a dataset like the first, which the rest of the chain reads.
"""

from consilience.jobs import job

from pathlib import Path

from consilience.dataset import Dataset
from consilience.devices import choose_device
from consilience.domains import slice_module
from consilience.files import read_table, write_json
from consilience.resume import journal_of

if "snakemake" in globals():
    with job(snakemake) as log:
        params, output = snakemake.params, snakemake.output
        split = read_table(snakemake.input.split, ("sample", "group", "role"))
        journal = journal_of(snakemake, choose_device(params.device))
        with Dataset.open(snakemake.input.dataset) as dataset:
            encode = slice_module(params.domain, "encode").encode
            facts = encode(dataset, split, params.settings, Path(output.encoded), params.seed, params.device, journal)
        write_json(output.facts, facts)
        journal.remove()
        log.info("%s", facts)
        with Dataset.open(output.encoded) as dataset:
            log.info("%d samples encoded by %d features", len(dataset), len(dataset.features))
