"""Draws the loss curves and the predictions of every model of a study.

Their twins are history.tsv and predictions.tsv of each model.
"""

from consilience.jobs import job

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from consilience.figures.training import confusion_matrices, loss_curves, prediction_scatter
from consilience.files import read_json, read_table, save_figure

LOSSES = {
    "regression": "mean squared error (standardized)",
    "classification": "cross-entropy",
    "votes": "Kullback-Leibler divergence",
}


def together(models: Sequence[str], paths: Sequence[str]) -> pd.DataFrame:
    """Join the tables of all models, with a column `model`."""
    tables = [read_table(path).assign(model=model) for model, path in zip(models, paths, strict=True)]
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def called_classes(predictions: pd.DataFrame) -> pd.DataFrame:
    """Turn a row a sample and class (observed and predicted fractions) into a row a sample (observed, predicted)."""
    classes = pd.Index(predictions["target"].unique())
    wide = predictions.set_index(["model", "sample", "target"])[["observed", "predicted"]].unstack("target")
    wide = wide.loc[predictions["model"].unique()]
    called = {
        column: pd.Categorical.from_codes(wide[column][classes].to_numpy().argmax(axis=1), classes)
        for column in ("observed", "predicted")
    }
    return pd.DataFrame({"model": wide.index.get_level_values("model"), **called})


def prediction_figure(task: str, predictions: pd.DataFrame, metrics: dict[str, dict]) -> Figure:
    """Draw predictions as a scatter (regression) or as confusion matrices."""
    if task == "regression":
        return prediction_scatter(predictions, metrics, predictions["target"].iloc[0])
    return confusion_matrices(called_classes(predictions), metrics, list(predictions["target"].unique()))


if "snakemake" in globals():
    with job(snakemake) as log:
        models, given = list(snakemake.params.models), snakemake.input
        documents = [read_json(path) for path in given.metrics]
        task = documents[0]["task"]
        history, predictions = together(models, given.histories), together(models, given.predictions)
        save_figure(snakemake.output.loss, loss_curves(history, models, LOSSES[task]))
        tests = {model: document["test"] for model, document in zip(models, documents, strict=True)}
        save_figure(snakemake.output.prediction, prediction_figure(task, predictions, tests))
        log.info("%d models drawn", len(models))
