"""The embedding of a call: its standardized features, every branch of equal weight, along random directions.

With r the features, each standardized on the training role (absent ones are 0, the mean), and w_f = 1 / sqrt(number of
features of the branch that vary), the embedding is z-scored Q^T (w r), Q the orthonormal basis that QR makes of a
Gaussian matrix (Johnson & Lindenstrauss 1984: random directions keep distances). Without the weights, hundreds of
k-mers would hide a dozen attributes. Embeddings that were made elsewhere are z-scored alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from consilience.dataset import Dataset
from consilience.scaling import Scaling, fit, scaled_inputs
from consilience.training.members import stable_seed

FLOOR = 0.05  # as for scalings: relative to the root mean square of all standard deviations
BLOCK_ROWS = 4096
EMBEDDING = "embedding"  # the branch of embeddings that were made elsewhere


@dataclass(frozen=True)
class Projection:
    """From the features of a dataset, standardized by `scalings`, to the inputs of a dictionary.

    An input is (map r - center) / scale; `map` (inputs, features) is None where it is the identity. `center` and
    `scale` are (inputs,).
    """

    scalings: Mapping[str, Scaling]
    map: np.ndarray | None
    center: np.ndarray
    scale: np.ndarray

    def features(self, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
        """Read standardized features, float32 (rows, features)."""
        return np.concatenate(scaled_inputs(dataset, dict(self.scalings), rows)[0], axis=1)

    def inputs(self, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
        """Read what the dictionary takes, float32 (rows, inputs)."""
        features = self.features(dataset, rows)
        mapped = features if self.map is None else features @ self.map.T
        return ((mapped - self.center) / self.scale).astype(np.float32)

    def blocks(self, dataset: Dataset, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the inputs of rows in blocks of bounded memory."""
        for start in range(0, len(rows), BLOCK_ROWS):
            yield self.inputs(dataset, rows[start : start + BLOCK_ROWS])

    @classmethod
    def of(cls, kept: Mapping[str, np.ndarray], widths: Mapping[str, int]) -> Projection:
        """Take what `arrays` kept, for branches of these numbers of features in order."""
        edges = np.cumsum(list(widths.values()))[:-1]
        parts = zip(widths, np.split(kept["raw_center"], edges), np.split(kept["raw_scale"], edges), strict=True)
        scalings = {name: Scaling(center, scale, scale) for name, center, scale in parts}
        return cls(scalings, kept.get("map"), kept["center"], kept["scale"])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what an encoded dataset keeps of it (`Dataset.representation`)."""
        kept = {
            "center": self.center,
            "scale": self.scale,
            "raw_center": np.concatenate([one.center for one in self.scalings.values()]),
            "raw_scale": np.concatenate([one.scale for one in self.scalings.values()]),
        }
        return kept if self.map is None else kept | {"map": self.map}


def fit_projection(dataset: Dataset, training: np.ndarray, dimension: int, seed: int) -> Projection:
    """Fit the embedding on the rows `training`; `dimension` bounds its width where it is the built-in one."""
    scalings = {name: fit(dataset, name, training) for name in dataset.branches}
    if EMBEDDING in dataset.branches:
        scaling = scalings[EMBEDDING]
        return Projection(scalings, None, np.zeros_like(scaling.center), np.ones_like(scaling.scale))
    mapping = _directions(scalings, dimension, seed)
    width = len(mapping)
    raw = Projection(scalings, mapping, np.zeros(width, np.float32), np.ones(width, np.float32))
    total, squares = np.zeros(width), np.zeros(width)
    for block in raw.blocks(dataset, training):
        total += block.sum(axis=0, dtype=np.float64)
        squares += np.square(block, dtype=np.float64).sum(axis=0)
    center = total / len(training)
    deviation = np.sqrt(np.maximum(squares / len(training) - center**2, 0))
    scale = np.maximum(deviation, FLOOR * np.sqrt(np.mean(deviation**2)))
    scale[scale == 0] = 1
    return Projection(scalings, mapping, center.astype(np.float32), scale.astype(np.float32))


def _directions(scalings: Mapping[str, Scaling], dimension: int, seed: int) -> np.ndarray:
    """Return Q^T diag(w), float32 (inputs, features)."""
    weights = np.concatenate(
        [np.full(len(one.spread), 1 / np.sqrt(max(1, np.count_nonzero(one.spread)))) for one in scalings.values()]
    )
    random = np.random.default_rng(stable_seed(seed, "projection"))
    drawn = random.standard_normal((len(weights), min(dimension, len(weights))))
    return (np.linalg.qr(drawn)[0].T * weights).astype(np.float32)
