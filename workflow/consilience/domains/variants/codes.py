"""Reads the codes of an encoded dataset as a sparse matrix: of thousands of atoms, a call excites a few dozen."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix, vstack

from consilience.dataset import Dataset
from consilience.errors import ConsilienceError

BRANCH = "codes"
BLOCK = 4096  # calls that are dense in memory at once


def code_features(dataset: Dataset) -> pd.DataFrame:
    """Return a row for every column of `sparse_codes`: name, branch and atom, its number in the dictionary."""
    _check(dataset)
    return dataset.features.iloc[dataset.branches[BRANCH].units].reset_index(drop=True)


def sparse_codes(dataset: Dataset, rows: np.ndarray | None = None) -> csr_matrix:
    """Read float32 (rows, alive atoms) in the order of `rows` (all where None), block by block.

    Raises ConsilienceError for a dataset without codes, and for a code below 0: an atom is on where its code is larger.
    """
    _check(dataset)
    rows = np.arange(len(dataset)) if rows is None else np.asarray(rows)
    starts = range(0, max(len(rows), 1), BLOCK)
    return vstack([_block(dataset, rows[start : start + BLOCK]) for start in starts], format="csr")


def _block(dataset: Dataset, rows: np.ndarray) -> csr_matrix:
    block = csr_matrix(dataset.inputs(BRANCH, rows))
    if block.data.min(initial=0) < 0:
        place = int(np.argmax(block.data < 0))
        row = rows[np.searchsorted(block.indptr, place, side="right") - 1]
        raise ConsilienceError(
            f"{dataset.path}: sample {dataset.samples['id'][row]!r}: the code of "
            f"{code_features(dataset)['name'][block.indices[place]]!r} is {block.data[place]}; expected 0 or more"
        )
    return block


def _check(dataset: Dataset) -> None:
    if BRANCH not in dataset.branches:
        raise ConsilienceError(
            f"{dataset.path}: no branch {BRANCH!r} but {', '.join(dataset.branches)}; expected an encoded dataset"
        )
