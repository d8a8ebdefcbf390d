"""Draws the largest coefficients of the linear model that the consensus uses.

The twin is coefficients.tsv.
"""

from consilience.jobs import job

from consilience.consensus.linear import coefficient_table, consensus_kind, linear_list
from consilience.consensus.lists import DIRECTIONS
from consilience.figures.linear import coefficient_bars
from consilience.files import read_table, save_figure

if "snakemake" in globals():
    with job(snakemake) as log:
        table = read_table(snakemake.input.coefficients, ("feature", "target", "kind", "coefficient"))
        top, kind = snakemake.params.top, consensus_kind(table)
        features, targets = list(table["feature"].unique()), list(table["target"].unique())
        values = coefficient_table(table, kind, targets, features)
        lists = {direction: linear_list(values, targets, features, top, direction) for direction in DIRECTIONS}
        save_figure(snakemake.output[0], coefficient_bars(lists, targets, top, kind))
        log.info("%s: %d coefficients", kind, values.size)
