"""Writes results as the earlier system's arrays, weights, tables and figures."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from consilience.attribution.store import read
from consilience.consensus.lists import DIRECTIONS, ModelAttribution, ensemble
from consilience.dataset import Dataset
from consilience.figures.training import loss_curves, prediction_scatter
from consilience.files import read_json, read_table, save_figure, write_table
from consilience.legacy.make import Output
from consilience.legacy.weights import first_member, perceptron, save_state
from consilience.overlap import LINEAR, NETWORKS, SEPARATOR
from consilience.scaling import Scaling, fit
from consilience.splits import sampled

BRANCH = "genes"
LOGARITHM = "_log1p.npz"
BLOCK_BYTES = 2**24
MINIMUM_NORM = "minimum_norm"
LOSS = "mean squared error (standardized)"
SHORT = {"negative": "neg", "positive": "pos"}


def tag(specification: Mapping[str, Any]) -> str:
    """Name a network as the earlier system did."""
    widths = "_".join(str(width) for width in specification["hidden"])
    flags = {"batchnorm": "_bn", "residual": "_res"}
    return f"h{widths}_d{float(specification['dropout'])}" + "".join(
        short for name, short in flags.items() if specification[name]
    )


def processed_data(output: Output) -> None:
    """Write inputs X and target y of a role, with or without the logarithm; a block of rows is in memory at a time."""
    dataset_file, split_file = output.sources
    roles = read_table(split_file, ("sample", "role"))["role"]
    rows, path = np.flatnonzero(roles == output.words["role"]), output.path()
    with Dataset.open(dataset_file) as dataset, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        _write_arrays(path, dataset, rows, Path(folder, "X.npy"))


def _write_arrays(path: Path, dataset: Dataset, rows: np.ndarray, mapped: Path) -> None:
    change = (lambda values: values) if path.name.endswith(LOGARITHM) else np.expm1
    width = dataset.branches[BRANCH].elements
    # NumPy writes a mapped array piece by piece.
    X = np.lib.format.open_memmap(mapped, "w+", np.float32, (len(rows), width))
    step = max(1, BLOCK_BYTES // (4 * width))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        X[part] = change(dataset.inputs(BRANCH, rows[part]))
    np.savez(path, X=X, y=change(dataset.target[rows].astype(np.float32)))


def network(output: Output) -> str | None:
    """Write a network's first member as a state dict that takes unscaled inputs and gives the target's own unit."""
    members, state = first_member(output.sources[0])
    specification = members.specification
    if specification["residual"]:
        return "it has skips"
    layers = perceptron(state, "", specification["batchnorm"], specification["dropout"])
    scaling = members.scalings[BRANCH]
    _fold_inputs(layers[0], scaling)
    with torch.no_grad():
        layers[-1].weight *= members.target_scale
        layers[-1].bias.mul_(members.target_scale).add_(members.target_center)
    save_state(output.path(), layers.state_dict())
    return None


@torch.no_grad()
def _fold_inputs(layer: nn.Linear, scaling: Scaling) -> None:
    """Let a layer take x in place of (x - center) / scale."""
    center, scale = (torch.from_numpy(part.astype(np.float64)) for part in (scaling.center, scaling.scale))
    weight = layer.weight.double() / scale
    layer.bias.copy_(layer.bias.double() - weight @ center)
    layer.weight.copy_(weight)


def linear_weights(output: Output) -> None:
    """Write intercept and weights (1 + genes,) float64 of the minimum-norm fit, for unscaled inputs."""
    coefficients_file, dataset_file, split_file = output.sources
    coefficients = _minimum_norm(coefficients_file)["coefficient"].to_numpy(np.float64)
    available = np.flatnonzero(read_table(split_file, ("sample", "role"))["role"] == "train")
    settings = output.facts.settings
    rows = sampled(available, int(settings["linear"]["maximum_samples"]), settings["seed"])
    with Dataset.open(dataset_file) as dataset:
        scaling, mean = fit(dataset, BRANCH, rows), dataset.target[rows].mean()
    spread = scaling.spread.astype(np.float64)
    weights = np.divide(coefficients, spread, out=np.zeros_like(coefficients), where=spread > 0)
    np.save(output.path(), np.concatenate([[mean - weights @ scaling.center.astype(np.float64)], weights]))


def _minimum_norm(path: Path) -> pd.DataFrame:
    table = read_table(path, ("feature", "kind", "coefficient"))
    return table[table["kind"] == MINIMUM_NORM]


def linear_genes(output: Output) -> None:
    """List the genes with the largest coefficients of one sign, as many as networks list."""
    sign = DIRECTIONS[output.words["direction"]]
    table = _minimum_norm(output.sources[0])
    chosen = table[sign * table["coefficient"] > 0]
    order = (
        (-sign * chosen["coefficient"]).sort_values(kind="stable").index[: output.facts.settings["consensus"]["top"]]
    )
    genes = chosen.loc[order]
    write_table(output.path(), pd.DataFrame({"Gene": genes["feature"], "Weight": genes["coefficient"]}))


def loss_plot(output: Output) -> None:
    """Draw the losses of one model."""
    model = output.words["model"]
    save_figure(output.path(), loss_curves(read_table(output.sources[0]).assign(model=model), [model], LOSS))


def pred_scatter(output: Output) -> None:
    """Draw predicted against observed values of one model."""
    predictions, metrics = read_table(output.sources[0]), read_json(output.sources[1])
    model, target = output.words["model"], predictions["target"].iloc[0]
    figure = prediction_scatter(predictions.assign(model=model), {model: metrics["test"]}, target)
    save_figure(output.path(), figure)


def all_genes(output: Output) -> None:
    """List every gene with its attribution, in the dataset's order."""
    attribution = ModelAttribution.of(read(output.sources[0]))
    scores = ensemble(attribution).average_attribution[0]
    write_table(output.path(), pd.DataFrame({"Gene": attribution.features, "Attribution_Score": scores}))


def gene_matrix(output: Output) -> None:
    """Write who lists which gene, a column a network and direction."""
    matrix = read_table(output.sources[0])
    columns = {"Gene": matrix["feature"]}
    for model in output.facts.voters:
        columns |= {f"{output.spelled[model]}_{short}": matrix[f"{model}_{name}"] for name, short in SHORT.items()}
    totals = {f"Total_{short.capitalize()}": matrix[f"total_{name}"] for name, short in SHORT.items()}
    frame = pd.DataFrame(columns | totals | {"Avg_Attribution": matrix["average_attribution"]})
    write_table(output.path(), frame)


def regulators(output: Output) -> None:
    """Write the drivers with the earlier scores of their lists."""
    drivers = read_table(output.sources[0])
    positive, negative, average = (
        drivers[name] for name in ("total_positive", "total_negative", "average_attribution")
    )
    total, confidence = positive + negative, (positive - negative).abs()
    columns = {
        "Gene": drivers["feature"],
        "Total_Pos": positive,
        "Total_Neg": negative,
        "Total_Models": total,
        "Stability_Score": total,
        "Directional_Confidence": confidence,
        "Confidence_Score": total * confidence,
        "Direction": drivers["direction"],
        "Avg_Attribution": average,
        "Avg_Attribution_Abs": average.abs(),
    }
    write_table(output.path(), pd.DataFrame(columns))


def overlap_genes(output: Output) -> None:
    """Write the genes that networks and the linear model share, and how many networks list them."""
    overlap, drivers = (read_table(path) for path in output.sources)
    counts, columns = drivers.set_index("feature"), {}
    for direction in DIRECTIONS:
        row = overlap[(overlap["direction"] == direction) & (overlap["sets"] == SEPARATOR.join((NETWORKS, LINEAR)))]
        text = row["features"].iloc[0]
        genes = pd.Series(text.split(SEPARATOR) if isinstance(text, str) else [], dtype=object)
        columns[f"{direction.capitalize()}_Overlap_Genes"] = genes
        listed = counts[f"total_{direction}"].reindex(genes).to_numpy()
        columns[f"{direction.capitalize()}_NN_Model_Count"] = pd.Series(listed, dtype="Int64")
    write_table(output.path(), pd.DataFrame(columns))
