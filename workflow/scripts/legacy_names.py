"""Writes a study's results under the names of the earlier system that its slice comes from.

What has no equivalent, or another form, stands in the index with the reason.
"""

from consilience.jobs import job

from pathlib import Path

from consilience.domains import has_module, slice_module, slices
from consilience.files import whole_folder, write_table, write_text
from consilience.legacy.declaration import Declaration, Facts
from consilience.legacy.make import MADE, NONE, OURS, make
from consilience.legacy.pages import readme

DECLARATION, MODULE = "legacy.yaml", "legacy"

if "snakemake" in globals():
    with job(snakemake) as log:
        domain, facts = snakemake.params.domain, Facts(**snakemake.params.facts)
        declaration = Declaration.of(slices()[domain] / DECLARATION)
        module = slice_module(domain, MODULE) if has_module(domain, MODULE) else None
        with whole_folder(snakemake.output.folder) as folder:
            index = make(declaration, facts, Path("results", facts.study), folder, module)
            write_table(folder / "index.tsv", index)
            write_text(folder / "README.md", readme(declaration, index, facts.study))
        states = index["state"].value_counts()
        counts = [states.get(state, 0) for state in (MADE, OURS, NONE)]
        log.info("%d files under their earlier names, %d outputs under ours alone, %d without an equivalent", *counts)
