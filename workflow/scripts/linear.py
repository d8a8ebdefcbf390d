"""Fits the linear model on the networks' features and evaluates it on the test role.

Ridge and minimum-norm least squares for a regression, logistic regression for classes.
"""

from consilience.jobs import job

from consilience.dataset import Dataset
from consilience.evaluation import describe
from consilience.files import read_table, write_json, write_table
from consilience.linear.fit import fit_linear

if "snakemake" in globals():
    with job(snakemake) as log:
        params, output = snakemake.params, snakemake.output
        split = read_table(snakemake.input.split, ("sample", "group", "role"))
        with Dataset.open(snakemake.input.dataset) as dataset:
            coefficients, metrics, predictions = fit_linear(dataset, split, params.settings, params.seed)
        write_table(output.coefficients, coefficients)
        write_table(output.predictions, predictions)
        write_json(output.metrics, metrics)
        log.info("%s", "; ".join(f"{kind}: {describe(one)}" for kind, one in metrics.items()))
