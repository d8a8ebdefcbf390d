"""Trains all members of one model on a dataset, and predicts the test role: what the rule `train` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from consilience.dataset import Dataset
from consilience.devices import choose_device
from consilience.errors import ConsilienceError
from consilience.networks import Encoded, NetworkContext
from consilience.progress import progress
from consilience.resume import Journal
from consilience.scaling import Scaling, fit, scaled_inputs
from consilience.training.checkpoint import import_checkpoint
from consilience.training.data import TrainingData, context_of, feature_axis, rows_by_role
from consilience.training.encoded import train_encoded
from consilience.training.engine import Course, Fit, Job, evaluation_rows, train_member
from consilience.training.ensemble import Build, Ensemble, build_network, predict, stack_states
from consilience.training.members import Member, enumerate_members, member_seed, members_table
from consilience.training.recipes import resolve
from consilience.training.stacked import train_stack

NOT_OF_THE_NETWORK = ("checkpoint", "consensus", "explain")
HISTORY = ("member", "epoch", "train_loss", "validation_loss", "best")
PREDICTION_BYTES = 2**26


@dataclass(frozen=True)
class TrainedModel:
    """A trained model, its tables, and its predictions of the test role as arrays.

    `members` is members.tsv; `history` has `member, epoch, train_loss, validation_loss, best` (no row for imported
    weights); `predictions` has `sample, role, target, observed, predicted`, a row a sample and target or class.
    `rows` (test samples,) are positions in the dataset; `observed` and `predicted` are (samples,) float64 in the
    target's unit for a regression; otherwise `predicted` holds probabilities (samples, classes), and `observed` class
    indices (samples,) or vote fractions (samples, classes). Predictions are the mean over the members with real labels.
    `facts` says on what and how it was trained.
    """

    ensemble: Ensemble
    members: pd.DataFrame
    history: pd.DataFrame
    predictions: pd.DataFrame
    rows: np.ndarray
    observed: np.ndarray
    predicted: np.ndarray
    facts: dict[str, Any]


def train_model(
    dataset: Dataset,
    split: pd.DataFrame,
    build: Build,
    specification: Mapping[str, Any],
    training: Mapping[str, Any],
    model: str,
    seed: int,
    device: str = "cpu",
    members: Sequence[Member] | None = None,
    journal: Journal | None = None,
) -> TrainedModel:
    """Train `model`, or import its `specification["checkpoint"]`, and predict the test role.

    `split` has `sample, group, role` in the order of the dataset. `training` may leave keys to its recipe. `device` is
    cpu, cuda, or auto (cuda where there is one). `members` default to one a seed, on all rows, with real labels.
    `journal` keeps what training has come to, and continues an earlier try with the same arguments.
    Raises ConsilienceError for roles without samples, a constant target, class weights where there are no classes,
    losses that are not finite, an absent device, and weights that do not fit.
    """
    recipe, place = resolve(training), choose_device(device)
    roles = rows_by_role(dataset, split)
    own = {key: value for key, value in specification.items() if key not in NOT_OF_THE_NETWORK}
    checkpoint = specification.get("checkpoint")
    if checkpoint:
        context, axis = context_of(dataset), feature_axis(dataset)
        ensemble = import_checkpoint(checkpoint, build, own, context, model, dataset.task, axis)
        ensemble = replace(ensemble, scalings=_own_spread(dataset, ensemble.scalings, roles["train"]))
        history, facts = (
            pd.DataFrame(columns=list(HISTORY)),
            {"checkpoint": Path(checkpoint).name, "device": str(place)},
        )
    else:
        members = enumerate_members(recipe["seeds"]) if members is None else list(members)
        data = TrainingData.read(dataset, split, roles, recipe["maximum_samples"], seed, place, recipe["class_weights"])
        ensemble, history, found = _train(dataset, data, build, own, recipe, model, seed, members, journal or Journal())
        facts = _facts(data, recipe, place) | found
    module = ensemble.network(build).to(place)
    predicted = predict_rows(ensemble, module, dataset, roles["test"], evaluation_rows(recipe))
    return TrainedModel(
        ensemble=ensemble,
        members=members_table(ensemble.members, model),
        history=history,
        predictions=_predictions(dataset, roles["test"], predicted),
        rows=roles["test"],
        observed=dataset.target[roles["test"]],
        predicted=predicted,
        facts=facts,
    )


def _own_spread(dataset: Dataset, scalings: dict[str, Scaling], rows: np.ndarray) -> dict[str, Scaling]:
    """Keep the center and scale that imported weights need, with the spread of this study's training role."""
    return {branch: replace(scaling, spread=fit(dataset, branch, rows).spread) for branch, scaling in scalings.items()}


def predict_rows(
    ensemble: Ensemble, module: nn.Module, dataset: Dataset, rows: np.ndarray, batch: int = 1024
) -> np.ndarray:
    """Return the mean prediction of the members with real labels: (rows,), or probabilities (rows, classes).

    Reads the rows in blocks of bounded memory, and gives `module` at most `batch` of them at once.
    """
    real = [place for place, member in enumerate(ensemble.members) if member.permuted == 0]
    states = {name: values[real] for name, values in ensemble.states.items()}
    size = max(1, PREDICTION_BYTES // (4 * ensemble.context.elements))
    parts = []
    for start in range(0, len(rows), size):
        inputs, auxiliary = scaled_inputs(dataset, ensemble.scalings, rows[start : start + size])
        parts.append(ensemble.predictions(predict(module, states, inputs, auxiliary, batch)).mean(axis=0))
    return np.concatenate(parts)


def _train(
    dataset: Dataset,
    data: TrainingData,
    build: Build,
    specification: dict[str, Any],
    recipe: dict[str, Any],
    model: str,
    seed: int,
    members: list[Member],
    journal: Journal,
) -> tuple[Ensemble, pd.DataFrame, dict[str, Any]]:
    """Train the members; return the ensemble, its curves, and how they were trained."""
    course = Course(model, dataset.task, seed, recipe, data.samples["train"], data.samples["validation"])
    jobs = [data.job(member, seed) for member in members]
    context = context_of(dataset)
    modules = [initialize(build, specification, context, course, member) for member in members]
    stacked = stacks(modules, recipe, course.device)
    facts: dict[str, Any] = {"stacked": stacked}

    def together(course: Course, jobs: Sequence[Job], modules: Sequence[nn.Module]) -> list[Fit]:
        if stacked:
            # By its first member: encoded members are a stack for every subset of rows.
            return train_stack(course, jobs, modules, tick, journal.part(f"stack of {jobs[0].member.member}"))
        parts = [journal.part(f"member {job.member.member}") for job in jobs]
        return [train_member(course, *own, tick, part) for *own, part in zip(jobs, modules, parts, strict=True)]

    # Early stopping may end it long before.
    with progress(f"training {model}, at most", "epoch", _epochs(modules, jobs, recipe)) as tick:
        if isinstance(modules[0], Encoded):
            fits, facts["encoder"] = train_encoded(course, jobs, modules, together, tick, journal)
        else:
            fits = together(course, jobs, modules)
    ensemble = Ensemble(
        model=model,
        specification=specification,
        task=dataset.task,
        outputs=context.outputs,
        features=context.features,
        axis=feature_axis(dataset),
        branches=context.branches,
        auxiliary=context.auxiliary,
        members=members,
        states=stack_states([own.state for own in fits]),
        scalings=data.scalings,
        target_center=data.center,
        target_scale=data.scale,
    )
    return ensemble, _history(members, fits), facts


def _epochs(modules: Sequence[nn.Module], jobs: Sequence[Job], recipe: Mapping[str, Any]) -> int:
    """Return the most epochs that the members take, with those of their encoders; they may stop early."""
    heads, first = len(jobs) * recipe["epochs"], modules[0]
    encoders = len({job.member.rows for job in jobs})
    return heads + encoders * first.encoder.epochs if isinstance(first, Encoded) else heads


def initialize(
    build: Build, specification: Mapping[str, Any], context: NetworkContext, course: Course, member: Member
) -> nn.Module:
    """Build a member's network from its own seed, with its first layers scaled, on the course's device."""
    module = build_network(
        build, specification, context, member_seed(course.seed, course.model, member, "initialization")
    )
    if course.recipe["first_layer_scale"] != 1:
        _scale_first_layers(module, course.recipe["first_layer_scale"], course.model)
    return module.to(course.device)


@torch.no_grad()
def _scale_first_layers(module: nn.Module, scale: float, model: str) -> None:
    """Multiply the weights that touch an input branch: `weight`, or an LSTM's and GRU's `weight_ih_l0`."""
    names = getattr(module, "first_layers", None)
    if names is None:
        raise ConsilienceError(
            f"model {model}: training.first_layer_scale is {scale:g}, but {type(module).__name__} does not say which "
            "layers touch the inputs; give it `first_layers` (an empty list for none)"
        )
    for name in names:
        parameters = dict(module.get_submodule(name).named_parameters(recurse=False))
        weights = [own for own in parameters if own == "weight" or own.startswith("weight_ih_l0")]
        if not weights:
            raise ConsilienceError(f"model {model}: first_layers names {name!r}, which has no weight of its own")
        for own in weights:
            parameters[own].mul_(scale)


def stacks(modules: Sequence[nn.Module], recipe: Mapping[str, Any], device: torch.device) -> bool:
    """Say whether the members are stacked: `always`, `never`, or (`auto`) on CUDA where the module allows it.

    On a CPU the loop is no slower, because members keep their own batch order.
    """
    stackable = getattr(modules[0], "stackable", False)
    if recipe["stack"] == "always" and not stackable:
        raise ConsilienceError(f"training.stack: always, but {type(modules[0]).__name__} cannot be stacked; use auto")
    wanted = recipe["stack"] == "always" or (recipe["stack"] == "auto" and device.type == "cuda" and len(modules) > 1)
    return bool(wanted and stackable)


def _facts(data: TrainingData, recipe: dict[str, Any], device: torch.device) -> dict[str, Any]:
    used = {f"{role}_samples": len(rows) for role, rows in data.rows.items()}
    available = {f"{role}_samples_available": count for role, count in data.available.items()}
    return {"device": str(device), "recipe": recipe, **used, **available}


def _history(members: Sequence[Member], fits: Sequence[Fit]) -> pd.DataFrame:
    rows = [
        (member.member, epoch, training, validation, epoch == own.best)
        for member, own in zip(members, fits, strict=True)
        for epoch, (training, validation) in enumerate(own.losses, start=1)
    ]
    return pd.DataFrame(rows, columns=list(HISTORY))


def _predictions(dataset: Dataset, rows: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """Return a row a sample and target (regression) or class."""
    names = [dataset.target_name] if dataset.task == "regression" else dataset.classes
    observed = dataset.target[rows]
    if dataset.task == "classification":
        observed = (observed[:, None] == np.arange(len(names))).astype(np.int64)
    return pd.DataFrame(
        {
            "sample": np.repeat(dataset.samples["id"].to_numpy()[rows], len(names)),
            "role": "test",
            "target": np.tile(np.asarray(names, dtype=object), len(rows)),
            "observed": observed.reshape(-1),
            "predicted": predicted.reshape(-1),
        }
    )
