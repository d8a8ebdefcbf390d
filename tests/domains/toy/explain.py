"""A reference of the slice's own: every sample is compared with the first one; and a method that tells how far it is."""

import numpy as np

from consilience.dataset import Dataset


def first_panel(dataset: Dataset, rows: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    return {branch: dataset.inputs(branch, np.array([0])) for branch in dataset.branches}


def distance(batch, settings):
    pairs = zip(batch.inputs, batch.checked_references(), strict=True)
    shape = batch.function.members, batch.function.targets
    return tuple((tensor - other).abs().expand(*shape, *tensor.shape).contiguous() for tensor, other in pairs)


references = {"first_panel": first_panel}
methods = {"distance": distance}
