"""Tables for the tests of the tabular slice, and the settings of a study as the workflow hands them over."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import yaml

from consilience.configuration import load_study
from consilience.dataset import Dataset
from consilience.domains.tabular.prepare import prepare

ROWS = 30


def settings(folder: Path, source, **changes):
    """Return what preparation sees of a study of `source`, a path or a mapping, checked and completed."""
    source = source if isinstance(source, dict) else {"kind": "file", "path": str(source)}
    file = folder / "study.yaml"
    content = {"domain": "tabular", "source": source, "target": "y", "models": "small", **changes}
    file.write_text(yaml.safe_dump(content))
    return load_study(file).preparation


def prepared(path: Path, memory: int = 2**20, source=None, **changes):
    """Prepare a table; returns the audit and the path of the dataset."""
    dataset = path.parent / "dataset.h5"
    own = settings(path.parent, {"kind": "file", "path": str(path), **(source or {})}, **changes)
    return prepare([path], own, dataset, 0, memory), dataset


def contents(dataset: Path):
    """Read a whole dataset: the names of features, inputs with NaN where masked, target, samples, classes."""
    with Dataset.open(dataset) as opened:
        inputs, mask = opened.inputs("columns").astype(np.float64), opened.mask("columns")
        if mask is not None:
            inputs[mask] = np.nan
        return opened.features["name"].tolist(), inputs, opened.target, opened.samples, opened.classes


def frame(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """A table with numbers in various units, texts of two and three levels, and a regression target."""
    random = np.random.default_rng(seed)
    x = random.normal(0, 1, rows)
    return pd.DataFrame(
        {
            "grams": 1e4 * x + random.normal(0, 1e3, rows),
            "years": random.integers(20, 80, rows),
            "color": random.choice(["red", "green", "blue"], rows),
            "smoker": random.choice(["yes", "no"], rows),
            "constant": 7,
            "y": x + random.normal(0, 0.5, rows),
        }
    )


def csv(folder: Path, table: pd.DataFrame, name: str = "table.csv") -> Path:
    """Write a table as its suffix says."""
    table.to_csv(folder / name, index=False, sep="\t" if ".tsv" in name else ",")
    return folder / name


def annotated(folder: Path, matrix, obs: dict, genes, encoding: str = "csr", layer: str | None = None) -> Path:
    """Write an .h5ad file by the documented layout; `matrix` is dense, `encoding` array, csr or csc."""
    from scipy.sparse import csc_matrix, csr_matrix

    path = folder / "cells.h5ad"
    with h5py.File(path, "w") as file:
        file.attrs["encoding-type"], file.attrs["encoding-version"] = "anndata", "0.1.0"
        place = "X" if layer is None else f"layers/{layer}"
        if encoding == "array":
            file[place] = matrix
        else:
            sparse = {"csr": csr_matrix, "csc": csc_matrix}[encoding](matrix)
            group = file.create_group(place)
            group.attrs["encoding-type"], group.attrs["shape"] = f"{encoding}_matrix", matrix.shape
            for name in ("data", "indices", "indptr"):
                group[name] = getattr(sparse, name)
        var = file.create_group("var")
        var.attrs["_index"], var.attrs["column-order"] = "symbol", np.array([], dtype="S1")
        var["symbol"] = np.asarray(genes, dtype=object)
        table = file.create_group("obs")
        table.attrs["_index"], table.attrs["column-order"] = "barcode", list(obs)
        table["barcode"] = np.asarray([f"cell {row}" for row in range(len(matrix))], dtype=object)
        for name, values in obs.items():
            if isinstance(values, pd.Categorical):
                group = table.create_group(name)
                group.attrs["encoding-type"] = "categorical"
                group["codes"], group["categories"] = values.codes, values.categories.to_numpy(object)
            else:
                table[name] = values
    return path
