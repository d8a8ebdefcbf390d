"""Attributions of atoms pushed on to what calls were encoded from: k-mers, attributes, or numbers of an embedding.

The code of an active atom is affine in the standardized features r, z = w r + o, so that its attribution A is divided
as A / z (w_f r_f) over features, and A / z o, the constant, belongs to none: the part of A that the encoder's biases
and the means of the features have. Together they are A. An atom that is off has no attribution from zero codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from consilience.attribution.api import Explainer
from consilience.dataset import Dataset
from consilience.domains.variants.codes import BRANCH, sparse_codes
from consilience.domains.variants.projection import Projection
from consilience.domains.variants.raw_branches import BranchSums
from consilience.domains.variants.raw_recovery import LINEAR, MARGINAL, VOTERS
from consilience.errors import ConsilienceError
from consilience.progress import following
from consilience.scaling import Scaling, scaled_inputs

BLOCK_ROWS = 512
GAP = 1e-4  # relative to the summed sizes of a call's attributions: more is a fault
METHOD = "integrated_gradients"


@dataclass(frozen=True)
class Encoder:
    """What made codes of features: z = weight r + offset where an atom is active.

    `weight` (alive atoms, features), `offset` (alive atoms,), float64; `scalings` standardize the features by branch.
    """

    weight: np.ndarray
    offset: np.ndarray
    scalings: Mapping[str, Scaling]

    @classmethod
    def of(cls, encoded: Dataset, raw: Dataset) -> Encoder:
        """Take it from the dataset of codes; refuses a dataset of other features than those it was made of."""
        kept = encoded.representation
        widths = {name: branch.elements for name, branch in raw.branches.items()}
        theirs, ours = len(kept["raw_center"]), sum(widths.values())
        if theirs != ours:
            raise ConsilienceError(f"{encoded.path}: encoded from {theirs} features; {raw.path} has {ours}")
        scalings = Projection.of(kept, widths).scalings
        names = ("encoder_weight", "encoder_bias", "bias", "center", "scale")
        weight, shift, bias, center, scale = (kept[name].astype(np.float64) for name in names)
        weight, shift = weight[kept["alive"]], shift[kept["alive"]]
        offset = shift - weight @ (center / scale + bias)
        weight = weight / scale
        return cls(weight @ kept["map"].astype(np.float64) if "map" in kept else weight, offset, scalings)

    def features(self, raw: Dataset, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read standardized features (rows, features), 0 where absent, and which are there, bool."""
        inputs, auxiliary = scaled_inputs(raw, dict(self.scalings), rows)
        parts = zip(raw.branches, inputs, strict=True)
        absent = [auxiliary.get(f"mask_{name}", np.zeros(part.shape, bool)) for name, part in parts]
        return np.concatenate(inputs, axis=1).astype(np.float64), ~np.concatenate(absent, axis=1)


@dataclass(frozen=True)
class Pushed:
    """Attributions of calls by feature (calls, features), what belongs to none (calls,), and slopes (calls, features).

    A slope is what one standard deviation of a feature adds, as far as active atoms tell it.
    """

    contributions: np.ndarray
    constant: np.ndarray
    slopes: np.ndarray


def push(attributions: np.ndarray, codes: np.ndarray, features: np.ndarray, encoder: Encoder) -> Pushed:
    """Push attributions (calls, atoms) of codes, from zero codes, on to standardized features (calls, features).

    Raises ConsilienceError where the parts do not add up to the whole: the codes are not of these features.
    """
    attributions, active = attributions.astype(np.float64), codes > 0
    shares = np.divide(attributions, codes, out=np.zeros_like(attributions), where=active)
    slopes = shares @ encoder.weight
    found = Pushed(slopes * features, shares @ encoder.offset, slopes)
    wrong = np.abs(found.contributions.sum(axis=1) + found.constant - attributions.sum(axis=1))
    size = np.abs(attributions).sum(axis=1)
    if (wrong > GAP * np.maximum(size, 1)).any():
        row = int(np.argmax(wrong / np.maximum(size, 1)))
        raise ConsilienceError(
            f"attributions pushed on to features miss {wrong[row]:.3g} of {size[row]:.3g} of call {row} of a block; "
            f"expected less than {GAP:g} of it: the codes are not of these features"
        )
    return found


class Sums:
    """What is told of one model: sums over calls, block by block."""

    def __init__(self, features: int) -> None:
        self.size, self.slope, self.known = np.zeros(features), np.zeros(features), np.zeros(features)
        self.signed, self.calls = np.zeros((2, features)), np.zeros(2)
        self.constant, self.whole, self.gap = 0.0, 0.0, 0.0

    def add(self, attributions: np.ndarray, pushed: Pushed, present: np.ndarray, labels: np.ndarray) -> None:
        """Add calls: attributions of their atoms, what became of them, which features they have, and their classes."""
        self.size += np.abs(pushed.contributions).sum(axis=0)
        self.slope += np.where(present, pushed.slopes, 0).sum(axis=0)
        self.known += present.sum(axis=0)
        for label in (0, 1):
            self.signed[label] += pushed.contributions[labels == label].sum(axis=0)
            self.calls[label] += np.count_nonzero(labels == label)
        self.constant += np.abs(pushed.constant).sum()
        self.whole += np.abs(attributions.sum(axis=1, dtype=np.float64)).sum()
        missed = pushed.contributions.sum(axis=1) + pushed.constant - attributions.sum(axis=1, dtype=np.float64)
        self.gap = max(self.gap, float(np.abs(missed).max(initial=0)))

    def rows(self, names: np.ndarray, branches: np.ndarray) -> pd.DataFrame:
        """Return a row a feature, strongest first; see `raw_attributions`."""
        magnitude = self.size / self.calls.sum()
        slope = self.slope / np.maximum(self.known, 1)
        direction = np.sign(slope).astype(int)
        false, true = self.signed / np.where(self.calls > 0, self.calls, np.nan)[:, None]
        frame = pd.DataFrame(
            {
                "feature": names,
                "branch": branches,
                "magnitude": magnitude,
                "direction": direction,
                "slope": slope,
                "average_attribution": direction * magnitude,
                "mean_attribution": self.signed.sum(axis=0) / self.calls.sum(),
                "mean_TP": true,
                "mean_FP": false,
            }
        )
        return frame.sort_values("magnitude", ascending=False, kind="stable", ignore_index=True)

    def facts(self) -> dict[str, float]:
        """Return means over calls: |sum of attributions|, |constant|; and the largest gap between parts and whole."""
        calls = self.calls.sum()
        return {"calls": int(calls), "whole": self.whole / calls, "constant": self.constant / calls, "gap": self.gap}


def linear_shares(encoded: Dataset, coefficients: pd.DataFrame, training: np.ndarray) -> np.ndarray:
    """Return what a unit of each code adds to the log-odds by logistic regression, float64 (alive atoms,).

    `coefficients` are of linear/coefficients.tsv: per standard deviation of a code, here that of the rows `training`.
    """
    codes = sparse_codes(encoded, training).astype(np.float64)
    mean = np.asarray(codes.mean(axis=0)).ravel()
    spread = np.sqrt(np.maximum(np.asarray(codes.multiply(codes).mean(axis=0)).ravel() - mean**2, 0))
    own = coefficients[(coefficients["kind"] == LINEAR) & (coefficients["target"] == encoded.targets[0])]
    names = encoded.features["name"].to_numpy()[encoded.branches[BRANCH].units]
    values = own.set_index("feature")["coefficient"].reindex(names).to_numpy(np.float64)
    if np.isnan(values).any():
        raise ConsilienceError(f"linear/coefficients.tsv: no {LINEAR} coefficient of {names[np.isnan(values)][0]!r}")
    return np.divide(values, spread, out=np.zeros_like(values), where=spread > 0)


def attributed(
    encoded: Dataset, rows: np.ndarray, explainers: Mapping[str, Explainer], steps: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
    """Yield blocks of rows: their indices, codes (calls, atoms), and attributions of the same shape by model."""
    ids = encoded.samples["id"].astype(str).to_numpy()
    for start in following(range(0, len(rows), BLOCK_ROWS), "pushing attributions on", "block"):
        part = rows[start : start + BLOCK_ROWS]
        codes = encoded.inputs(BRANCH, part)
        settings = {"reference": "zero", "samples": list(ids[part]), "seed": seed, "steps": steps}
        found = {
            name: one.attribute(codes, METHOD, **settings).arrays[BRANCH][0].astype(np.float64)
            for name, one in explainers.items()
        }
        yield part, codes, found


def raw_attributions(
    encoded: Dataset,
    raw: Dataset,
    rows: np.ndarray,
    explainers: Mapping[str, Explainer],
    linear: np.ndarray,
    settings: Mapping[str, Any],
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, dict[str, float]]]:
    """Return what calls `rows` attribute to raw features by model, `BranchSums.rows` and `Sums.facts` of all models.

    Models are those of `explainers`, `voters` (the mean of these), and `logistic`, of which `linear` is
    `linear_shares`; `settings` are steps and seed. Columns: model, feature, branch, magnitude (mean |attribution| to
    the log-odds), slope (mean over calls that have the feature, per standard deviation), direction (its sign),
    average_attribution (direction times magnitude), mean_attribution, mean_TP and mean_FP (signed).
    """
    encoder = Encoder.of(encoded, raw)
    order = np.concatenate([branch.units.ravel() for branch in raw.branches.values()])
    names, branches = (raw.features[column].to_numpy()[order] for column in ("name", "branch"))
    models = (*explainers, VOTERS, LINEAR)
    sums, together = {name: Sums(len(order)) for name in models}, {name: BranchSums(branches) for name in models}
    for part, codes, found in attributed(encoded, rows, explainers, settings["steps"], settings["seed"]):
        features, present = encoder.features(raw, part)
        found = found | {VOTERS: np.mean(list(found.values()), axis=0), LINEAR: codes * linear}
        for name, values in found.items():
            pushed, labels = push(values, codes, features, encoder), encoded.labels[part]
            sums[name].add(values, pushed, present, labels)
            together[name].add(pushed.contributions, labels)
    table = pd.concat([one.rows(names, branches).assign(model=name) for name, one in sums.items()], ignore_index=True)
    return (
        table[["model", *table.columns.drop("model")]],
        pd.concat([one.rows(name) for name, one in together.items()], ignore_index=True),
        {name: one.facts() for name, one in sums.items()},
    )


def class_differences(encoded: Dataset, raw: Dataset, rows: np.ndarray) -> pd.DataFrame:
    """Return by feature how true calls differ from false ones without any network, over the calls that have it.

    Columns: model (`marginal`), feature, average_attribution: the difference of means, in standard deviations.
    """
    encoder = Encoder.of(encoded, raw)
    order = np.concatenate([branch.units.ravel() for branch in raw.branches.values()])
    sums, known = np.zeros((2, len(order))), np.zeros((2, len(order)))
    for start in range(0, len(rows), BLOCK_ROWS):
        part = rows[start : start + BLOCK_ROWS]
        features, present = encoder.features(raw, part)
        for label in (0, 1):
            own = encoded.labels[part] == label
            sums[label] += features[own].sum(axis=0)
            known[label] += present[own].sum(axis=0)
    false, true = sums / np.maximum(known, 1)
    names = raw.features["name"].to_numpy()[order]
    return pd.DataFrame({"model": MARGINAL, "feature": names, "average_attribution": true - false})


def load_explainers(
    paths: Mapping[str, str], dataset: str, split: str, build: Any, settings: Mapping[str, Any]
) -> dict[str, Explainer]:
    """Load the ensembles at `paths`, by model; `settings` are background, seed and device."""
    return {name: Explainer.load(path, dataset, build, split=split, **settings) for name, path in paths.items()}


def check_same_calls(encoded: Dataset, raw: Dataset) -> None:
    """Refuse datasets whose calls are not the same in the same order."""
    if not np.array_equal(encoded.samples["id"].to_numpy(str), raw.samples["id"].to_numpy(str)):
        raise ConsilienceError(f"{encoded.path} and {raw.path} do not hold the same calls in the same order")
