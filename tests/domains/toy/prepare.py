"""Reads panels.npz: a masked image branch in tiles of 2 × 2 pixels, a branch of readings, votes as fractions."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.dataset_writer import write_dataset
from consilience.errors import ConsilienceError
from consilience.files import sha256

CLASSES = ("circle", "square", "triangle")
TILES = 3


def prepare(raw: list[Path], settings: dict[str, Any], dataset: Path, seed: int) -> pd.DataFrame:
    path = raw[0] / "panels.npz" if raw[0].is_dir() else raw[0]
    if path.suffix != ".npz":
        raise ConsilienceError(f"{path}: expected panels.npz")
    panels = np.load(path)
    votes = panels["votes"].astype(float)
    absent = np.isnan(panels["images"])
    samples = len(votes)
    # The seventh row of every image is a border that belongs to no tile.
    rows, columns = np.indices((7, 6))
    tiles = np.where(rows < 2 * TILES, rows // 2 * TILES + columns // 2, -1)
    readings = panels["readings"].shape[1]
    names = [f"tile {row},{column}" for row in range(TILES) for column in range(TILES)]
    features = pd.DataFrame(
        {
            "name": names + [f"reading {number}" for number in range(readings)],
            "branch": ["image"] * len(names) + ["readings"] * readings,
        }
    )
    soft = settings["votes"]
    task, classes = ("votes", list(CLASSES)) if soft else ("classification", ["other", "circle"])
    with write_dataset(dataset, task, "shape", "units", path.name, sha256(path), classes) as writer:
        writer.features(features)
        writer.branch("image", tiles, samples, scaling="band", masked=True)
        writer.branch("readings", len(names) + np.arange(readings), samples, scaling="feature")
        writer.append("image", panels["images"], absent)
        writer.append("readings", panels["readings"])
        writer.auxiliary("tempo", panels["tempo"][:, None])
        writer.target(votes / votes.sum(axis=1, keepdims=True) if soft else votes.argmax(axis=1) == 0)
        writer.samples(
            pd.DataFrame(
                {
                    "id": [f"panel {number}" for number in range(samples)],
                    "weight": votes.sum(axis=1),
                    "official_role": panels["roles"],
                    "artist": [f"artist {number // 3}" for number in range(samples)],
                    "trivial_votes": votes.sum(axis=1),
                }
            )
        )
    return pd.DataFrame(
        [{"step": 0, "rule": "read", "samples_before": samples, "samples_after": samples,
          "features_before": len(features), "features_after": len(features), "note": ""}]
    )  # fmt: skip
