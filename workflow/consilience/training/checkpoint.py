"""Weights that were trained elsewhere, imported strictly in place of training.

Three kinds of file: an `ensemble.safetensors` of this workflow, with its members and its scaling; one state dict as
.safetensors; one state dict as .pt or .pth (read with `weights_only`, so that nothing in it is executed), by itself or
under `state_dict` or `model_state_dict`. The last two become one member with identity scaling and an unscaled target:
a foreign network was trained on the inputs as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from consilience.errors import ConsilienceError, nearest
from consilience.files import read_tensors
from consilience.networks import NetworkContext
from consilience.scaling import identity
from consilience.torch_files import load_without_code
from consilience.training.ensemble import Arrays, Build, Ensemble, build_network
from consilience.training.members import Member

NESTED = ("state_dict", "model_state_dict")


def import_checkpoint(
    path: str | Path,
    build: Build,
    specification: Mapping[str, Any],
    context: NetworkContext,
    model: str,
    task: str,
    axis: str,
) -> Ensemble:
    """Read `path` as the weights of `model`; `axis` is the SHA-256 of the study's feature names.

    Raises ConsilienceError, naming the file, for weights that are missing, unexpected, of another shape or not finite,
    and for an ensemble trained on another task, other features or other branches.
    """
    path = Path(path)
    own = path.suffix == ".safetensors" and "members" in read_tensors(path)[1]
    if own:
        ensemble = Ensemble.load(path)
        _check_facts(path, ensemble, context, task, axis)
        states, members, scalings = ensemble.states, ensemble.members, ensemble.scalings
        center, scale = ensemble.target_center, ensemble.target_scale
    else:
        states = {name: values[None] for name, values in _read_state(path).items()}
        members, scalings = [Member(0, 0)], {name: identity(shape) for name, shape in context.branches.items()}
        center, scale = 0.0, 1.0
    states = _check_states(path, states, len(members), build, specification, context)
    if own:
        _check_network(path, ensemble, build, specification)
    return Ensemble(
        model=model,
        specification=dict(specification),
        task=task,
        outputs=context.outputs,
        features=context.features,
        axis=axis,
        branches=context.branches,
        auxiliary=context.auxiliary,
        members=members,
        states=states,
        scalings=scalings,
        target_center=center,
        target_scale=scale,
    )


def _check_facts(path: Path, ensemble: Ensemble, context: NetworkContext, task: str, axis: str) -> None:
    expected = {
        "task": (ensemble.task, task),
        "branches": (list(ensemble.branches.items()), list(context.branches.items())),
        "outputs": (ensemble.outputs, context.outputs),
        "auxiliary": (ensemble.auxiliary, context.auxiliary),
        "number of features": (ensemble.features, context.features),
    }
    for name, (found, wanted) in expected.items():
        if found != wanted:
            raise ConsilienceError(f"checkpoint {path}: its {name} is {found}; this study has {wanted}")
    if ensemble.axis != axis:
        raise ConsilienceError(f"checkpoint {path}: trained on other features, or in another order, than this study's")


def _check_network(path: Path, ensemble: Ensemble, build: Build, specification: Mapping[str, Any]) -> None:
    """Refuse an ensemble whose networks are built otherwise: weights' shapes do not tell all that a network does."""
    context = ensemble.context
    theirs, ours = (
        str(build_network(build, own, context, seed=0)).splitlines() for own in (ensemble.specification, specification)
    )
    for one, other in zip_longest(theirs, ours, fillvalue="nothing"):
        if one != other:
            raise ConsilienceError(
                f"checkpoint {path}: trained as {one.strip()}; this model is built as {other.strip()}; give the model "
                "the settings that it was trained with"
            )


def _read_state(path: Path) -> Arrays:
    """Read one state dict as arrays."""
    if path.suffix == ".safetensors":
        return read_tensors(path)[0]
    if path.suffix not in (".pt", ".pth"):
        raise ConsilienceError(
            f"checkpoint {path}: expected .safetensors, .pt or .pth, not {path.suffix or 'no suffix'}"
        )
    content = load_without_code(path, "checkpoint", "a state dict")
    for name in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not all(isinstance(values, torch.Tensor) for values in content.values()):
        raise ConsilienceError(
            f"checkpoint {path}: expected a state dict (names and tensors), by itself or under {' or '.join(NESTED)}"
        )
    return {str(name): values.detach().numpy() for name, values in content.items()}


def _check_states(
    path: Path,
    states: Arrays,
    members: int,
    build: Build,
    specification: Mapping[str, Any],
    context: NetworkContext,
) -> Arrays:
    """Hold the states against the network's own, and return them in its order and number types.

    Floating-point weights of another width are converted to the network's.
    """
    expected = build_network(build, specification, context, seed=0).state_dict()
    missing = [name for name in expected if name not in states]
    unexpected = [name for name in states if name not in expected]
    if missing:
        wanted = tuple(expected[missing[0]].shape)
        raise ConsilienceError(
            f"checkpoint {path}: parameter {missing[0]} {wanted} is missing{_more(missing)}"
            f"{nearest(missing[0], states)}"
        )
    if unexpected:
        found = states[unexpected[0]].shape[1:]
        raise ConsilienceError(
            f"checkpoint {path}: parameter {unexpected[0]} {found} is unexpected{_more(unexpected)}; the network has "
            f"none of that name"
        )
    checked = {}
    for name, values in expected.items():
        found, wanted = states[name].shape, (members, *values.shape)
        if found[:1] != (members,):
            raise ConsilienceError(
                f"checkpoint {path}: parameter {name} has {len(states[name])} members; expected {members}"
            )
        if found != wanted:
            raise ConsilienceError(f"checkpoint {path}: parameter {name} has shape {found[1:]}; expected {wanted[1:]}")
        if not np.isfinite(states[name]).all():
            raise ConsilienceError(f"checkpoint {path}: parameter {name} {found[1:]} has a value that is not finite")
        kind = values.numpy().dtype
        if (states[name].dtype.kind == "f") != (kind.kind == "f"):
            raise ConsilienceError(
                f"checkpoint {path}: parameter {name} {found[1:]} is of type {states[name].dtype}; expected {kind}"
            )
        checked[name] = states[name].astype(kind)
    return checked


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
