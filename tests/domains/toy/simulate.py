"""Writes panels.npz: images whose bright tiles, and readings whose level, decide the votes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

CLASSES = ("circle", "square", "triangle")


def simulate(folder: Path, settings: dict[str, Any], seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    samples = settings["source"]["samples"]
    images = random.normal(size=(samples, 7, 6)).astype(np.float32)
    readings = (random.normal(size=(samples, 12)) @ random.normal(size=(12, 12)) / 4).astype(np.float32)
    scores = np.stack([1.5 * images[:, :2, :2].mean((1, 2)), 1.5 * images[:, 2:4, 2:4].mean((1, 2)), readings[:, 0]], 1)
    count = random.integers(3, 12, size=samples)
    fractions = np.exp(2 * scores) / np.exp(2 * scores).sum(axis=1, keepdims=True)
    votes = np.stack([random.multinomial(*pair) for pair in zip(count, fractions, strict=True)])
    absent = random.random((samples, 7, 6)) < 0.05
    images[absent] = np.nan
    roles = np.where(np.arange(samples) % 4 == 3, "test", "train")
    np.savez(folder / "panels.npz", images=images, readings=readings, votes=votes, roles=roles, tempo=count / 12)
    planted = [("tile 0,0", "circle"), ("tile 1,1", "square")][: 2 if settings["votes"] else 1]
    return pd.DataFrame(
        [{"feature": f, "target": t, "sign": 1, "strength": 1.5, "effect": "linear"} for f, t in planted]
    )
