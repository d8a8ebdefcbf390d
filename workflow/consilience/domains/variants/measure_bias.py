# ruff: noqa: F821
"""Tells which atoms true and false calls have on more often, within strata too, and whether held-out calls confirm it.

Needs no torch: the codes of all calls are read once.
"""

from consilience.jobs import job

from consilience.attribution.selection import check_split
from consilience.dataset import Dataset
from consilience.domains.variants.bias import bias_table, chi2_list, landscape, top_biased
from consilience.domains.variants.codes import code_features, sparse_codes
from consilience.domains.variants.levels import FALSE_SHARE
from consilience.files import read_table, write_json, write_table

if "snakemake" in globals():
    with job(snakemake) as log:
        given, params, output = snakemake.input, snakemake.params, snakemake.output
        split = read_table(given.split, ("sample", "group", "role"))
        with Dataset.open(given.dataset) as dataset:
            check_split(dataset, split)
            features, roles = code_features(dataset), split["role"].to_numpy(str)
            table = bias_table(
                sparse_codes(dataset), features, dataset.labels, dataset.samples, roles, params.minimum_support
            )
        write_table(output.bias, table)
        write_json(output.top, top_biased(table))
        write_table(output.chi2, chi2_list(table, params.top))
        write_table(output.landscape, landscape(table, len(features)))
        log.info(
            "%d of %d atoms tested, %d significant, %d of them confirmed by the test role; within strata %d and %d",
            len(table), len(features), table["significant"].sum(), table["confirmed"].sum(),
            (table["cmh_q"] < FALSE_SHARE).sum(), table["confirmed_within"].sum(),
        )  # fmt: skip
