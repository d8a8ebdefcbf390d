"""Explain a model: every method over the same samples, data read once and gradients computed once."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from consilience.attribution.batches import BatchReader
from consilience.attribution.function import EnsembleFunction, target_map
from consilience.attribution.methods import Method, Own, method_named
from consilience.attribution.references import ReferenceSource, background, reference_source
from consilience.attribution.remarks import remarks
from consilience.attribution.selection import check_split, explained_rows, showcase_rows
from consilience.attribution.statistics import Direction, Magnitude, combine
from consilience.attribution.store import MEAN, Attributions
from consilience.dataset import Dataset
from consilience.errors import ConsilienceError
from consilience.training.data import context_of, feature_axis
from consilience.training.ensemble import Ensemble

LOG = logging.getLogger(__name__)


def ensemble_function(ensemble: Ensemble, module: torch.nn.Module, device: str = "cpu") -> EnsembleFunction:
    """Return the ensemble's targets as a function of scaled inputs; `module` itself is left as it is."""
    module = copy.deepcopy(module).eval().to(device)
    states = {name: torch.as_tensor(values, device=device) for name, values in ensemble.states.items()}
    targets = target_map(ensemble.task, ensemble.outputs, ensemble.target_scale, ensemble.target_center)
    return EnsembleFunction(module, states, *targets)


def explain_model(
    dataset: Dataset,
    split: pd.DataFrame,
    ensemble: Ensemble,
    module: torch.nn.Module,
    methods: Sequence[str],
    settings: Mapping[str, Any],
    seed: int,
    device: str = "cpu",
    own: Own | None = None,
) -> dict[str, Attributions]:
    """Return the attributions of a model's ensemble by every one of `methods`.

    `split` has the columns sample and role, rows in dataset order; `settings` is the study's attribution section
    (`names.DEFAULTS` fills what it lacks); `seed` chooses samples where there are too many, and the showcase.
    `own` are the slice's references and methods. Raises ConsilienceError for unknown names and for parts that do not
    fit.
    """
    own = own or Own()
    settings = own.complete(settings)
    chosen = [method_named(name, own) for name in methods]
    check_ensemble(dataset, ensemble)
    check_split(dataset, split)
    rows = explained_rows(split, settings["roles"], settings["maximum_samples"], seed)
    labels = None if dataset.task == "regression" else np.asarray(dataset.labels)
    _check_classes(dataset, labels, rows)
    reader = batch_reader(dataset, split, ensemble, module, chosen, settings, seed, device, own)
    few = reader.read(rows[:3])
    said = remarks(reader.function, few.inputs, few.auxiliary)
    real = ensemble_function(ensemble.on_real_labels(), module, device)
    classes = labels
    if settings["class_of"] == "prediction" and labels is not None:
        classes = predicted_classes(reader, real, rows, labels)
        _check_classes(dataset, classes, rows, "is predicted for no sample")
    gathered = _gather(reader, chosen, rows, classes)
    suited = np.flatnonzero(split["role"] == "test")
    if settings["showcase_confidence"] is not None and labels is not None:
        suited = confident(reader, real, suited, labels, settings["showcase_confidence"])
        if len(suited) < settings["showcase"]:
            LOG.warning(
                "%d test samples are confident enough to be shown whole, of %d", len(suited), settings["showcase"]
            )
    shown = showcase_rows(split, labels, settings["showcase"], seed, suited)
    maps = _showcase(reader, chosen, shown) if len(shown) else {}
    ids = dataset.samples["id"].astype(str).to_numpy()
    return {
        method.name: Attributions(
            model=ensemble.model,
            method=method.name,
            reference=compared_with(method, settings),
            features=dataset.features[["name", "branch"]],
            targets=list(dataset.targets),
            members=pd.DataFrame([asdict(member) for member in ensemble.members]),
            samples=list(ids[rows]),
            showcase={"samples": list(ids[shown]), **maps[method.name]} if maps else None,
            roles=list(settings["roles"]),
            task=dataset.task,
            complete=method.complete,
            remarks=said,
            **gathered[method.name],
        )
        for method in chosen
    }


def batch_reader(
    dataset: Dataset,
    split: pd.DataFrame,
    ensemble: Ensemble,
    module: torch.nn.Module,
    methods: Sequence[Method],
    settings: Mapping[str, Any],
    seed: int,
    device: str = "cpu",
    own: Own | None = None,
) -> BatchReader:
    """Return a reader of batches that hold what `methods` need; `settings` is complete (`Own.complete`)."""
    training = np.flatnonzero(split["role"] == "train")
    names = {method.reference or settings["reference"] for method in methods if method.needs_reference}
    sources = reference_sources(sorted(names), dataset, split, ensemble, settings, seed, own)
    others = None
    if any(method.needs_background for method in methods):
        others = background(dataset, ensemble.scalings, training, settings["background"], seed)
    function = ensemble_function(ensemble, module, device)
    named = {method.reference: sources[method.reference] for method in methods if method.reference}
    return BatchReader(
        dataset, ensemble.scalings, function, sources.get(settings["reference"]), others, settings, seed, device, named
    )


def checked_reader(
    dataset: Dataset,
    split: pd.DataFrame,
    ensemble: Ensemble,
    module: torch.nn.Module,
    methods: Sequence[Method],
    attribution: Mapping[str, Any],
    seed: int,
    device: str,
    own: Own,
    reference: bool = False,
) -> BatchReader:
    """Return `batch_reader` of parts that are held against each other first; `attribution` is the study's section.

    With `reference`, batches have the study's reference whether a method needs it or not.
    """
    settings = own.complete(attribution)
    check_split(dataset, split)
    check_ensemble(dataset, ensemble)
    reader = batch_reader(dataset, split, ensemble, module, methods, settings, seed, device, own)
    if not reference or reader.source is not None:
        return reader
    name = settings["reference"]
    return replace(reader, source=reference_sources([name], dataset, split, ensemble, settings, seed, own)[name])


def reference_sources(
    names: Sequence[str],
    dataset: Dataset,
    split: pd.DataFrame,
    ensemble: Ensemble,
    settings: Mapping[str, Any],
    seed: int,
    own: Own | None = None,
) -> dict[str, ReferenceSource]:
    """Return references by name, fitted on the training role."""
    training, slices = np.flatnonzero(split["role"] == "train"), (own or Own()).references
    return {
        name: reference_source(name, dataset, ensemble.scalings, training, slices, seed, settings["blur"])
        for name in names
    }


def confident(
    reader: BatchReader, function: EnsembleFunction, rows: np.ndarray, labels: np.ndarray, least: float
) -> np.ndarray:
    """Return those of `rows` whose class the members' mean probability names, and puts above `least`.

    `function` has a target a class, or the log-odds of the second of two; `labels` (samples,) are the classes.
    """
    kept = []
    for part in reader.batches(rows):
        batch = reader.read(part)
        values = function.values(batch.inputs, batch.auxiliary)
        # Log-odds are the logits of two classes, the first of them 0.
        logits = values if values.shape[2] > 1 else torch.cat([torch.zeros_like(values), values], dim=2)
        probabilities = logits.softmax(dim=2).mean(dim=0).cpu().numpy()
        right = probabilities.argmax(axis=1) == labels[part]
        kept.append(part[right & (probabilities.max(axis=1) > least)])
    return np.concatenate(kept) if kept else rows[:0]


def predicted_classes(
    reader: BatchReader, function: EnsembleFunction, rows: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Return `labels` (samples,) with the predictions of `function` at `rows`: the class with the largest mean F."""
    predicted = labels.copy()
    for part in reader.batches(rows):
        batch = reader.read(part)
        values = function.values(batch.inputs, batch.auxiliary).mean(dim=0).cpu().numpy()
        predicted[part] = values.argmax(axis=1) if values.shape[1] > 1 else values[:, 0] > 0
    return predicted


def _gather(
    reader: BatchReader, methods: Sequence[Method], rows: np.ndarray, labels: np.ndarray | None
) -> dict[str, dict[str, Any]]:
    """Return by method `all`, `own_class`, `gap` and `scale`, as in `Attributions`."""
    dataset, scalings = reader.dataset, reader.scalings
    sums = reader.sums
    rises = [
        np.broadcast_to(scalings[name].spread / scalings[name].scale, branch.shape)
        for name, branch in dataset.branches.items()
    ]
    direction = Direction(sums, len(dataset.classes), rises)
    magnitudes = {method.name: Magnitude(sums, len(dataset.classes)) for method in methods}
    gaps: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {method.name: [] for method in methods}
    for part in reader.batches(rows, "explaining"):
        batch = reader.read(part)
        own = None if labels is None else labels[part]
        direction.add(batch.values_and_gradients[1], own)
        for method in methods:
            attributions = batch.attribute(method, reader.settings)
            magnitudes[method.name].add(attributions, own)
            if method.complete:
                gaps[method.name].append(batch.gap(method, attributions))
    return {name: _statistics(magnitude, direction) | _joined(gaps[name]) for name, magnitude in magnitudes.items()}


def compared_with(method: Method, settings: Mapping[str, Any]) -> str:
    """Say what a method compares samples with; empty for nothing."""
    if method.needs_background:
        return f"{settings['background']} training samples"
    return (method.reference or settings["reference"]) if method.needs_reference else ""


def _statistics(magnitude: Magnitude, direction: Direction) -> dict[str, Any]:
    parts = zip(magnitude.means(), direction.means(), magnitude.signed_means(), strict=True)
    every, own = (
        None if size is None else combine(size, way) | {MEAN: mean.astype(np.float32)} for size, way, mean in parts
    )
    return {"all": every, "own_class": own}


def _joined(gaps: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray | None]:
    if not gaps:
        return {"gap": None, "scale": None}
    gap, scale = (np.concatenate(parts, axis=2).astype(np.float32) for parts in zip(*gaps, strict=True))
    return {"gap": gap, "scale": scale}


def _showcase(reader: BatchReader, methods: Sequence[Method], rows: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Return by method and branch the whole attributions, float32 (members, targets, rows, *shape)."""
    maps: dict[str, list[list[np.ndarray]]] = {method.name: [] for method in methods}
    for part in reader.batches(rows, "explaining whole samples"):
        batch = reader.read(part)
        for method in methods:
            attributions = batch.attribute(method, reader.settings)
            maps[method.name].append([tensor.cpu().numpy().astype(np.float32) for tensor in attributions])
    return {
        name: {
            branch: np.concatenate(arrays, axis=2)
            for branch, arrays in zip(reader.dataset.branches, zip(*parts, strict=True), strict=True)
        }
        for name, parts in maps.items()
    }


def check_ensemble(dataset: Dataset, ensemble: Ensemble) -> None:
    """Refuse an ensemble of another task, other branches or other features than the dataset's."""
    context = context_of(dataset)
    parts = {
        "task": (ensemble.task, dataset.task),
        "branches": (list(ensemble.branches.items()), list(context.branches.items())),
        "outputs": (ensemble.outputs, context.outputs),
    }
    for part, (own, expected) in parts.items():
        if own != expected:
            raise ConsilienceError(f"{dataset.path}: model {ensemble.model} has {part} {own}, the dataset {expected}")
    if ensemble.axis != feature_axis(dataset):
        raise ConsilienceError(
            f"{dataset.path}: model {ensemble.model} was trained on other features, or on these in another order"
        )


def _check_classes(
    dataset: Dataset, labels: np.ndarray | None, rows: np.ndarray, problem: str = "has no sample"
) -> None:
    if labels is None:
        return
    counts = np.bincount(labels[rows], minlength=len(dataset.classes))
    if not counts.all():
        raise ConsilienceError(
            f"class {dataset.classes[int(np.argmin(counts))]!r} {problem} among the {len(rows)} explained; "
            "take more roles (attribution.roles) or samples (attribution.maximum_samples)"
        )
