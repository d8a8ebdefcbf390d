"""The Python API: load an ensemble or take networks of one's own, attribute arrays, get a table of features."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from consilience.attribution.arrays import Arrays
from consilience.attribution.batches import GRADIENT_NUMBERS, Batch, check_references
from consilience.attribution.explain import check_ensemble, compared_with, ensemble_function
from consilience.attribution.function import EnsembleFunction, Tensors, target_map
from consilience.attribution.methods import Method, Own, method_named
from consilience.attribution.names import check_name, complete_settings
from consilience.attribution.remarks import remarks
from consilience.attribution.results import Attribution, Gathered
from consilience.attribution.selection import check_split
from consilience.attribution.space import InputSpace
from consilience.attribution.split import Split
from consilience.attribution.targets import Target, choose
from consilience.dataset import TASKS, Dataset
from consilience.devices import choose_device
from consilience.errors import ConsilienceError
from consilience.files import read_table
from consilience.training.ensemble import Build, Ensemble
from consilience.training.members import stable_seed

SETTINGS = ("steps", "draws", "noise", "blur", "internal_batch")


class Explainer:
    """Attributes the predictions of an ensemble to the features of its inputs.

    `networks` is a torch module in eval mode, or a list of them that differ in their weights alone, called as
    `network(*inputs, **auxiliary) -> (samples, outputs)` on inputs as they are given here: scale them beforehand.
    `background` holds two samples or more like those of training, an array or tensor (samples, *shape), or one a branch
    in a tuple or by name: the reference `mean`, the samples that expected gradients and DeepLIFT-SHAP compare with, and
    the spread that directions and noise are measured in. `task` is `regression` (also for a single logit) or
    `classification`, of logits; `outputs` names the outputs, or the classes. `units` gives each element, by int arrays
    (*shape) a branch, its feature (-1: none), and `features` names these; without, every element is a feature.

    Computes in the type and on the device of the networks' parameters. A module with the attribute `stackable = True`
    lets members be computed together. Raises ConsilienceError for networks and data that do not fit.
    """

    def __init__(
        self,
        networks: nn.Module | Sequence[nn.Module],
        background: Arrays,
        *,
        task: str = "regression",
        outputs: Sequence[str] = ("output",),
        features: Sequence[str] | None = None,
        units: Arrays | None = None,
    ) -> None:
        check_name("task", task, TASKS)
        several = isinstance(networks, Sequence | nn.ModuleList) and not isinstance(networks, nn.Sequential)
        members = list(networks) if several else [networks]
        states = _stacked(members)
        targets = (torch.eye(len(outputs)), torch.zeros(len(outputs)))
        if task != "regression":
            targets = target_map(task, len(outputs))
        function = EnsembleFunction(deepcopy(members[0]), states, *targets)
        like = next(tensor for tensor in states.values() if tensor.is_floating_point())
        space = InputSpace.of_background(background, units, features, like)
        self._set(function, space, task, outputs)

    @classmethod
    def load(
        cls,
        ensemble: str | Path,
        dataset: str | Path,
        build: Build,
        *,
        split: str | Path | None = None,
        background: int = 50,
        seed: int = 0,
        device: str = "cpu",
        own: Own | None = None,
    ) -> Explainer:
        """Load an ensemble that the workflow trained, of the members with real labels; inputs are then unscaled.

        `dataset` names the features and holds the training samples, of which `seed` draws `background`; `split` is the
        split.tsv beside it unless given. `build` is that of the slice: `consilience.domains.<domain>.model.build`.
        `device` is cpu, cuda or auto. `own` are the slice's methods, `consilience.domains.own.own(domain)`, which can
        then be named too. Raises ConsilienceError for files that do not belong together.
        """
        loaded = Ensemble.load(ensemble).on_real_labels()
        place = choose_device(device)
        with Dataset.open(dataset) as opened:
            check_ensemble(opened, loaded)
            table = read_table(split or Path(dataset).with_name("split.tsv"), ("sample", "role"))
            check_split(opened, table)
            training = np.flatnonzero(table["role"] == "train")
            space = InputSpace.of_dataset(opened, loaded.scalings, training, background, seed, place)
            outputs = opened.classes or opened.targets
        explainer = cls.__new__(cls)
        function = ensemble_function(loaded, loaded.network(build), str(place))
        explainer._set(function, space, loaded.task, outputs, own)
        return explainer

    def _set(
        self, function: EnsembleFunction, space: InputSpace, task: str, outputs: Sequence[str], own: Own | None = None
    ) -> None:
        self.function, self.space, self.own = function, space, own
        self.task, self.outputs = task, [str(name) for name in outputs]
        # By the names of the auxiliary tensors: what a network does may depend on which it is given.
        self._splits: dict[frozenset[str], Split] = {}

    def attribute(
        self,
        inputs: Arrays,
        method: str | Method = "integrated_gradients",
        *,
        target: Target = None,
        reference: str | Arrays | None = None,
        auxiliary: Mapping[str, Any] | None = None,
        samples: Sequence[Any] | None = None,
        about: pd.DataFrame | None = None,
        per_member: bool = False,
        seed: int = 0,
        **settings: Any,
    ) -> Attribution:
        """Attribute the predictions of `inputs`, an array (samples, *shape), or one a branch in a tuple or by name.

        `method` is a name, or a slice's own `Method`. `target`: every target (None), a class by name or number, a pair
        (a, b) for F_a - F_b, `TrueClass(labels)` or `PredictedClass()`; see `targets`. `reference`: `mean` (where
        nothing else is said), `zero`, `blurred`, `sample`, or arrays like the inputs with as many samples, or one.
        `auxiliary`: what the networks read beside the inputs, by name; `mask_<branch>` is true where that branch is
        absent. `samples`: the samples' names; with `seed` they draw random numbers, which else follow from the samples'
        values: neither order nor company changes a result. `about` has a row a sample, with what a slice's own method
        reads of it beside its inputs: the columns of the dataset's table of samples. `settings` are `steps`, `draws`,
        `noise`, `blur` and `internal_batch`, as in config/README.md.
        """
        chosen = method if isinstance(method, Method) else method_named(method, self.own)
        settings = _settings(settings)
        if chosen.reference and reference is not None:
            raise ConsilienceError(f"attribution method {chosen.name!r} names its reference; give no other")
        reference = (chosen.reference or "mean") if reference is None else reference
        chosen = replace(chosen, reference="")
        given = self._given(inputs, auxiliary, reference, samples, about, seed)
        choice = choose(target, self.task, self.outputs, len(given.keys))
        gathered = Gathered(self.space, self.function.members, len(choice.names), len(given.keys), per_member)
        for rows in self._parts(len(given.keys), settings["internal_batch"]):
            batch = self._batch(given, rows, chosen, settings)
            for places, label, part in choice.parts(batch, rows):
                gathered.add(places, label, part, chosen, settings)
        compared = compared_with(
            chosen,
            {
                "background": len(self.space.background[0]),
                "reference": reference if isinstance(reference, str) else "given",
            },
        )
        return gathered.result(chosen, compared, choice.names, self.outputs, given.names)

    def _given(
        self,
        inputs: Arrays,
        auxiliary: Mapping[str, Any] | None,
        reference: str | Arrays,
        names: Sequence[Any] | None,
        about: pd.DataFrame | None,
        seed: int,
    ) -> _Given:
        """Check what a caller gives."""
        tensors, others = self.space.inputs(inputs, auxiliary)
        if not isinstance(reference, str):
            reference = check_references(tensors, self.space.branches("reference", reference, {}))
        count = len(tensors[0])
        for what, rows in (("samples", names), ("about", about)):
            if rows is not None and len(rows) != count:
                raise ConsilienceError(
                    f"{what}: {len(rows)} {'names' if what == 'samples' else 'rows'} for {count} samples"
                )
        if names is None:
            return _Given(tensors, others, reference, list(map(str, range(count))), _keys(tensors, seed), about)
        names = [str(name) for name in names]
        return _Given(tensors, others, reference, names, [stable_seed(seed, name) for name in names], about)

    def _parts(self, samples: int, internal_batch: int) -> Iterator[np.ndarray]:
        """Cut the samples into batches whose gradients fit in memory, of `internal_batch` at most."""
        elements = sum(part.size for part in self.space.units)
        fitting = GRADIENT_NUMBERS // (self.function.members * self.function.targets * elements)
        size = max(1, min(fitting, internal_batch))
        for start in range(0, samples, size):
            yield np.arange(start, min(start + size, samples))

    def _batch(self, given: _Given, rows: np.ndarray, method: Method, settings: Mapping[str, Any]) -> Batch:
        """Put the samples at `rows` on the device, scaled, with what they are compared with."""
        device = self.space.means[0].device
        unscaled = tuple(tensor[rows].to(device) for tensor in given.tensors)
        auxiliary = {name: tensor[rows].to(device) for name, tensor in given.auxiliary.items()}
        masks = [auxiliary.get(f"mask_{name}") for name in self.space.shapes]
        inputs = self.space.scaled(unscaled, masks)
        known = frozenset(auxiliary)
        if known not in self._splits:
            self._splits[known] = Split(self.function, inputs, auxiliary)
            for remark in remarks(self.function, inputs, auxiliary):
                warnings.warn(remark, stacklevel=4)
        keys = [given.keys[row] for row in rows]
        batch = Batch(
            self.function, inputs, auxiliary, masks,
            background=self.space.background, deviations=self.space.deviations,
            keys=keys, sums=self.space.sums, split=self._splits[known],
            about=None if given.about is None else given.about.iloc[rows].reset_index(drop=True),
            scaled=self._scaled,
        )  # fmt: skip
        if method.needs_reference:
            reference = given.reference
            if not isinstance(reference, str):
                reference = tuple((part if len(part) == 1 else part[rows]).to(device) for part in reference)
            references = self.space.references(reference, unscaled, masks, keys, settings["blur"])
            batch.references = batch.keep_masked(references)
        return batch

    def _scaled(self, place: int, array: np.ndarray) -> torch.Tensor:
        """Scale an array (rows, *shape) of the branch number `place`."""
        return self.space.scaled_branch(place, torch.as_tensor(array).to(self.space.means[0]))


@dataclass(frozen=True)
class _Given:
    """Checked samples, unscaled, on the CPU, with the seed of each one's random numbers, and the reference."""

    tensors: Tensors
    auxiliary: dict[str, torch.Tensor]
    reference: str | Tensors
    names: list[str]
    keys: list[int]
    about: pd.DataFrame | None


def _keys(tensors: Tensors, seed: int) -> list[int]:
    """Return a seed for each sample that follows from its values."""
    rows = zip(*(tensor.numpy() for tensor in tensors), strict=True)
    return [stable_seed(seed, hashlib.sha256(b"".join(part.tobytes() for part in row)).hexdigest()) for row in rows]


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    for name in settings:
        check_name("attribution setting", name, SETTINGS)
    return complete_settings(settings)


def _stacked(networks: Sequence[nn.Module]) -> dict[str, torch.Tensor]:
    """Return the states of networks (members, ...); refuses networks in train mode, and of different architectures."""
    if not networks or not all(isinstance(network, nn.Module) for network in networks):
        raise ConsilienceError(f"networks: expected a torch module or a list of them; given: {networks!r:.80}")
    for place, network in enumerate(networks):
        if any(part.training for part in network.modules()):
            raise ConsilienceError(f"networks: number {place} is in train mode; call its eval() first")
        if (type(network), str(network)) != (type(networks[0]), str(networks[0])):
            raise ConsilienceError(f"networks: number {place} is built otherwise than number 0; use an Explainer each")
    states = [network.state_dict() for network in networks]
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}
