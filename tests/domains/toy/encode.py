"""Replaces the readings by their principal components, fitted on the training role."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.resume import Journal


def encode(
    dataset: Dataset,
    split: pd.DataFrame,
    settings: dict[str, Any],
    encoded: Path,
    seed: int,
    device: str,
    journal: Journal,
) -> dict[str, Any]:
    readings = dataset.inputs("readings").astype(np.float64)
    train = readings[(split["role"] == "train").to_numpy()]
    center, components = train.mean(axis=0), settings["components"]
    directions = np.linalg.svd(train - center, full_matrices=False)[2][:components]
    image = dataset.branches["image"]
    tiles = dataset.features[dataset.features["branch"] == "image"]
    names = [f"component {number}" for number in range(components)]
    features = pd.concat([tiles, pd.DataFrame({"name": names, "branch": "components"})], ignore_index=True)
    attributes = dataset.file.attrs
    with write_dataset(
        encoded, dataset.task, dataset.target_name, dataset.unit, attributes["source"], attributes["source_sha256"],
        dataset.classes,
    ) as writer:  # fmt: skip
        writer.features(features)
        writer.branch("image", image.units, len(dataset), image.scaling, image.reduce, masked=True)
        writer.branch("components", len(tiles) + np.arange(components), len(dataset), scaling="feature")
        writer.append("image", dataset.inputs("image"), dataset.mask("image"))
        writer.append("components", (readings - center) @ directions.T)
        for name, values in dataset.auxiliary().items():
            writer.auxiliary(name, values)
        writer.target(dataset.target)
        writer.samples(dataset.samples)
    kept = float(((train - center) @ directions.T).var(axis=0).sum() / (train - center).var(axis=0).sum())
    return {"components": components, "explained_variance": kept}
