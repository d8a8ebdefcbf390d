"""Holds the networks' lists against the linear model's, and any list a slice adds, with the chance level.

The Venn diagrams are drawn from the same table.
"""

from consilience.jobs import job

from consilience.consensus.lists import DIRECTIONS
from consilience.figures.overlap import venn_diagrams
from consilience.files import read_table, save_figure, write_table
from consilience.overlap import named_sets, overlaps

if "snakemake" in globals():
    with job(snakemake) as log:
        params, given, output = snakemake.params, snakemake.input, snakemake.output
        drivers = read_table(given.drivers, ("feature", "target", "linear_coefficient"))
        extra = {name: read_table(path) for name, path in zip(params.names, given.lists, strict=True)}
        arguments = (drivers, params.settings["top"], params.settings["minimum_models"], extra)
        table, sets = overlaps(*arguments), named_sets(*arguments)
        write_table(output.overlap, table)
        for direction in DIRECTIONS:
            save_figure(output[direction], venn_diagrams(sets, table, direction))
        log.info("%d features shared in %d comparisons", table["intersection"].sum(), len(table))
