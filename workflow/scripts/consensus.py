"""Forms the lists of every model, their matrix, and the drivers the models agree on.

The linear model's coefficients stand beside them.
"""

from consilience.jobs import job

from consilience.attribution.store import read
from consilience.consensus.drivers import drivers, top_drivers
from consilience.consensus.linear import coefficient_table, consensus_kind
from consilience.consensus.lists import DIRECTIONS, ModelAttribution, short_lists, top_list, top_matrix, voting
from consilience.files import read_table, write_table

if "snakemake" in globals():
    with job(snakemake) as log:
        params, output = snakemake.params, snakemake.output
        top, minimum = params.settings["top"], params.settings["minimum_models"]
        models = [
            ModelAttribution.of(read(path), consensus=model in params.voters)
            for model, path in zip(params.models, snakemake.input.attributions, strict=True)
        ]
        targets, features = voting(models)[0].targets, voting(models)[0].features
        for direction in DIRECTIONS:
            for model, path in zip(models, output[direction], strict=True):
                table = top_list(model, top, direction)
                write_table(path, table)
                for target, count in short_lists(table, model.targets, top).items():
                    log.info("%s: only %d %s features for %s, of %d", model.model, count, direction, target, top)
        coefficients = read_table(snakemake.input.coefficients, ("feature", "target", "kind", "coefficient"))
        linear = coefficient_table(coefficients, consensus_kind(coefficients), targets, features)
        scored = drivers(models, linear, top, minimum)
        chosen = top_drivers(scored, top, minimum)
        write_table(output.matrix, top_matrix(models, top))
        write_table(output.drivers, scored)
        write_table(output.top, chosen)
        log.info("%d drivers in at least %d of %d models", len(chosen), minimum, len(params.voters))
