"""Trains all members of one model, or imports its weights, and evaluates the ensemble on the test role.

The trivial predictors are evaluated beside it.
"""

from consilience.jobs import job

from consilience.dataset import Dataset
from consilience.devices import choose_device
from consilience.domains import slice_module
from consilience.evaluation import describe, evaluate_test_role
from consilience.files import read_table, write_json, write_table
from consilience.resume import journal_of
from consilience.training.train import train_model

if "snakemake" in globals():
    with job(snakemake) as log:
        params, output, model = snakemake.params, snakemake.output, snakemake.wildcards.model
        split = read_table(snakemake.input.split, ("sample", "group", "role"))
        journal = journal_of(snakemake, choose_device(params.device))
        build = slice_module(params.domain, "model").build
        with Dataset.open(snakemake.input.dataset) as dataset:
            trained = train_model(
                dataset, split, build, params.specification, params.training, model, params.seed, params.device,
                journal=journal,
            )  # fmt: skip
            metrics = evaluate_test_role(dataset, split, model, trained.predicted, params.seed)
        trained.ensemble.save(output.ensemble)
        write_table(output.members, trained.members)
        write_table(output.history, trained.history)
        write_table(output.predictions, trained.predictions)
        write_json(output.metrics, {**metrics, "training": trained.facts})
        journal.remove()
        log.info("trained on %s; %s", trained.facts["device"], describe(metrics))
