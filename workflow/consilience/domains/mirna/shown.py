"""The shown model's pairs, predictions and whole maps, as the figures read them; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from consilience.attribution.store import MEAN, Attributions, read
from consilience.dataset import Dataset
from consilience.domains.mirna.fcgr import pixels
from consilience.domains.mirna.groups import outcomes, probabilities
from consilience.domains.mirna.positions import per_nucleotide, per_window
from consilience.domains.mirna.prepare import BRANCHES
from consilience.domains.mirna.sequences import encode

Images = Mapping[str, np.ndarray]  # by branch


@dataclass(frozen=True)
class Shown:
    """The test pairs whose whole maps are kept, under one model.

    `signed` says of every method whether it has a sign; `table` holds a row a pair: id, mirna, site, planted_position,
    label (0 or 1), predicted (probability of a pair) and outcome. `frequencies` and, by method, `maps` are by branch
    (pairs, side, side): means over the members, sizes where a method has no sign.
    """

    model: str
    primary: str
    signed: Mapping[str, bool]
    table: pd.DataFrame
    frequencies: Images
    maps: Mapping[str, Images]

    @property
    def k(self) -> int:
        """The length of the k-mers."""
        return self.frequencies[BRANCHES[0]].shape[-1].bit_length() - 1

    def row(self, sample: str) -> int:
        """Return where a pair stands."""
        return int(np.flatnonzero(self.table["id"] == sample)[0])

    def title(self, row: int) -> str:
        """Say what a pair is, and what is predicted."""
        pair = self.table.iloc[row]
        label = "pair" if pair["label"] == 1 else "no pair"
        return f"{pair['id']}: {label}, probability of a pair {pair['predicted']:.2f} ({pair['outcome']})"

    def nucleotides(self, method: str, branch: str, row: int) -> np.ndarray:
        """Return a method's attribution of every nucleotide of one sequence, (length,)."""
        windows = pixels(encode([self.table[branch].iloc[row]]), self.k)
        values = self.maps[method][branch][row].reshape(1, -1)
        return per_nucleotide(per_window(values, windows), self.k)[0]


def read_shown(
    dataset: Dataset, paths: Mapping[str, str], signed: Mapping[str, bool], primary: str, predictions: pd.DataFrame
) -> tuple[Shown, dict[str, Images], str]:
    """Read a model's attribution files, `paths` by method.

    Returns also the means over all explained pairs and the members, by method and branch (side, side), and what was
    explained in words.
    """
    maps, means, found = {}, {}, None
    for method, path in paths.items():
        found = read(path, showcase=True)
        maps[method] = {branch: _own(found, branch, signed[method]) for branch in BRANCHES}
        means[method] = _means(dataset, found, signed[method])
    rows = dataset.rows_of(found.showcase["samples"])
    table = dataset.samples.iloc[rows].reset_index(drop=True)
    predicted = probabilities(predictions, list(table["id"]), dataset.targets[0])
    labels = np.asarray(dataset.labels)[rows]
    table = table.assign(label=labels, predicted=predicted, outcome=outcomes(labels, predicted))
    frequencies = {branch: dataset.inputs(branch, rows) for branch in BRANCHES}
    explained = f"{len(found.samples)} explained pairs ({', '.join(found.roles)})"
    return Shown(found.model, primary, signed, table, frequencies, maps), means, explained


def _own(found: Attributions, branch: str, signed: bool) -> np.ndarray:
    values = found.showcase[branch][found.real, 0].mean(axis=0)
    return values if signed else np.abs(values)


def _means(dataset: Dataset, found: Attributions, signed: bool) -> dict[str, np.ndarray]:
    values = found.all[MEAN if signed else "magnitude"][found.real, 0].mean(axis=0)
    return {branch: values[dataset.branches[branch].units] for branch in BRANCHES}
