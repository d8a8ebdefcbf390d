"""A reference of the slice's own: every sample is compared with the first one."""

import numpy as np

from consilience.dataset import Dataset


def first_panel(dataset: Dataset, rows: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    return {branch: dataset.inputs(branch, np.array([0])) for branch in dataset.branches}


references = {"first_panel": first_panel}
