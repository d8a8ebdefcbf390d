"""Draws the lists of every model, and the drivers of either direction.

Their twins are the lists under top/ and top_drivers.csv.
"""

from consilience.jobs import job

from consilience.consensus.lists import DIRECTIONS
from consilience.figures.lists import driver_bars, signed_bars
from consilience.files import read_table, save_figure

CAPTION = "Bars: mean over the members of the model. Whiskers: standard deviation over members."

if "snakemake" in globals():
    with job(snakemake) as log:
        params, given, output = snakemake.params, snakemake.input, snakemake.output
        targets = list(read_table(given.drivers, ("target",))["target"].unique())
        for model, positive, negative, path in zip(
            params.models, given.positive, given.negative, output.lists, strict=True
        ):
            lists = {"positive": read_table(positive), "negative": read_table(negative)}
            save_figure(path, signed_bars(lists, targets, params.top, f"Top features of {model}", CAPTION))
        drivers = read_table(given.top)
        for direction in DIRECTIONS:
            save_figure(output[direction], driver_bars(drivers, direction, targets, params.top, len(params.voters)))
        log.info("%d drivers of %d models drawn", len(drivers), len(params.models))
