"""The inputs that networks take, and the training data that they are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch

from consilience.attribution.arrays import (
    Arrays,
    check_finite,
    check_names,
    check_shape,
    feature_table,
    in_order,
    named,
    samples_of,
    tensor_of,
    unit_maps,
)
from consilience.attribution.function import Tensors
from consilience.attribution.names import REFERENCE_NAMES, check_name
from consilience.attribution.references import background as training_sample
from consilience.attribution.references import blur, reference_source
from consilience.attribution.statistics import UnitSums
from consilience.dataset import Dataset
from consilience.errors import ConsilienceError
from consilience.scaling import Scaling, identity, unit_of_noise
from consilience.training.members import stable_seed

Masks = Sequence[torch.Tensor | None]


@dataclass(frozen=True)
class InputSpace:
    """Branches by name with their scalings, the feature of each element, and what stands for the training data.

    `units` are the unit maps, int (*shape) a branch; `features` has the columns name and branch. `means` (1, *shape)
    and `background` (rows, *shape) are scaled tensors, of the type and on the device of the networks. `auxiliary` has
    the shape of one sample of every auxiliary tensor; None where networks may take any. `kinds` are the branches'
    kinds of scaling, where they are those of a dataset.
    """

    scalings: dict[str, Scaling]
    units: list[np.ndarray]
    features: pd.DataFrame
    means: Tensors
    background: Tensors
    auxiliary: Mapping[str, tuple[int, ...]] | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_dataset(
        cls,
        dataset: Dataset,
        scalings: dict[str, Scaling],
        training: np.ndarray,
        count: int,
        seed: int,
        device: str | torch.device,
    ) -> InputSpace:
        """Take the branches of a dataset; `count` of the `training` samples (indices) become the background."""
        means = reference_source("mean", dataset, scalings, training)(training[:1])
        rows = training_sample(dataset, scalings, training, count, seed)
        masked = [name for name in dataset.branches if dataset.mask(name, training[:1]) is not None]
        return cls(
            scalings,
            [branch.units for branch in dataset.branches.values()],
            dataset.features[["name", "branch"]],
            tuple(torch.as_tensor(array, device=device) for array in means),
            tuple(torch.as_tensor(array, device=device) for array in rows),
            dataset.auxiliary_shapes | {f"mask_{name}": dataset.branches[name].shape for name in masked},
            {name: branch.scaling for name, branch in dataset.branches.items()},
        )

    @classmethod
    def of_background(
        cls, background: Arrays, units: Arrays | None, features: Sequence[str] | None, like: torch.Tensor
    ) -> InputSpace:
        """Take inputs as they come, in the type and on the device of `like`.

        `background` holds samples like those of training; `units` and `features` say which element belongs to which
        feature, each to its own where left out.
        """
        tensors = {name: tensor_of(f"background: branch {name}", array) for name, array in named(background).items()}
        for name, tensor in tensors.items():
            check_finite(f"background: branch {name}", tensor)
        if samples_of("background", tensors) < 2:
            raise ConsilienceError("background: one sample; expected two or more, whose spread gives directions")
        shapes = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
        maps = unit_maps(shapes, units)
        spreads = (tensor.double().std(dim=0, correction=0).numpy() for tensor in tensors.values())
        return cls(
            {
                name: replace(identity(shape), spread=spread.astype(np.float32))
                for (name, shape), spread in zip(shapes.items(), spreads, strict=True)
            },
            maps,
            feature_table(shapes, maps, features),
            tuple(tensor.double().mean(dim=0, keepdim=True).to(like) for tensor in tensors.values()),
            tuple(tensor.to(like) for tensor in tensors.values()),
        )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one sample of every branch, in the networks' order."""
        return {name: part.shape for name, part in zip(self.scalings, self.units, strict=True)}

    @cached_property
    def sums(self) -> UnitSums:
        """The sums over the elements of every feature."""
        return UnitSums(self.units, len(self.features), self.means[0].device)

    @cached_property
    def rises(self) -> list[np.ndarray]:
        """The sd of every element in training, in scaled units, (*shape) a branch."""
        parts = zip(self.scalings.values(), self.shapes.values(), strict=True)
        return [np.broadcast_to(scaling.spread / scaling.scale, shape) for scaling, shape in parts]

    @cached_property
    def deviations(self) -> list[float]:
        """What noise on each branch is measured in."""
        return [unit_of_noise(scaling, self.kinds.get(name, "")) for name, scaling in self.scalings.items()]

    def inputs(self, arrays: Arrays, auxiliary: Mapping[str, Any] | None) -> tuple[Tensors, dict[str, torch.Tensor]]:
        """Return unscaled branches and auxiliary tensors of the same samples, in the networks' type, on the CPU.

        A bool auxiliary tensor `mask_<branch>` is true where the branch is absent. Refuses other branches, names and
        shapes, and values that are not finite where they are not masked.
        """
        others = self._auxiliary(auxiliary or {})
        tensors = self.branches("inputs", arrays, others)
        samples_of("inputs", dict(zip(self.shapes, tensors, strict=True)) | others)
        return tensors, others

    def branches(self, what: str, arrays: Arrays, auxiliary: Mapping[str, torch.Tensor]) -> Tensors:
        """Return checked, unscaled branches in the networks' order and type, on the CPU."""
        tensors = []
        given = in_order(what, arrays, list(self.shapes))
        for (name, shape), array in zip(self.shapes.items(), given, strict=True):
            tensor = tensor_of(f"{what}: branch {name}", array)
            check_shape(f"{what}: branch {name}", tensor, shape)
            check_finite(f"{what}: branch {name}", tensor, auxiliary.get(f"mask_{name}"))
            tensors.append(tensor.to(self.means[0].dtype))
        return tuple(tensors)

    def _auxiliary(self, auxiliary: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        if self.auxiliary is not None:
            check_names("auxiliary", "tensor", auxiliary, list(self.auxiliary))
        masks = {f"mask_{name}": shape for name, shape in self.shapes.items()}
        tensors = {}
        for name, array in auxiliary.items():
            what = f"auxiliary: {name}"
            tensor = tensor_of(what, array)
            check_shape(what, tensor, masks.get(name) or (self.auxiliary or {}).get(name, tuple(tensor.shape[1:])))
            if name in masks and tensor.dtype != torch.bool:
                raise ConsilienceError(f"{what} holds {tensor.dtype}; expected bool, true where the branch is absent")
            tensors[name] = tensor.to(self.means[0].dtype) if tensor.is_floating_point() else tensor
        return tensors

    def scaled(self, tensors: Tensors, masks: Masks = ()) -> Tensors:
        """Scale branches (samples, *shape) where they lie; what is masked becomes exactly 0, the center."""
        results = []
        for place, (tensor, mask) in enumerate(zip(tensors, masks or [None] * len(tensors), strict=True)):
            result = self.scaled_branch(place, tensor)
            results.append(result if mask is None else result.masked_fill(mask, 0))
        return tuple(results)

    def scaled_branch(self, place: int, tensor: torch.Tensor) -> torch.Tensor:
        """Scale the branch (samples, *shape) at `place` in the networks' order, without a mask."""
        scaling = list(self.scalings.values())[place]
        center, scale = (torch.as_tensor(part).to(tensor) for part in (scaling.center, scaling.scale))
        return (tensor - center) / scale

    def references(
        self, reference: str | Tensors, tensors: Tensors, masks: Masks, keys: Sequence[int], share: float
    ) -> Tensors:
        """Return the scaled references (samples or 1, *shape) of unscaled samples.

        `reference` is one of `names.REFERENCE_NAMES`, or unscaled tensors (samples or 1, *shape). `keys` (samples,)
        draw from the background, `share` is the sd of a blur as a share of an axis.
        """
        if not isinstance(reference, str):
            return self.scaled(reference)
        check_name("attribution reference", reference, REFERENCE_NAMES)
        if reference == "mean":
            return self.means
        if reference == "zero":
            return self.scaled(tuple(torch.zeros_like(tensor[:1]) for tensor in tensors))
        if reference == "sample":
            return self._partners(self.scaled(tensors, masks), keys)
        return self._blurred(tensors, masks, share)

    def _partners(self, inputs: Tensors, keys: Sequence[int]) -> Tensors:
        """Return a sample of the background for each of `inputs`, by its key; never the sample itself."""
        rows = len(self.background[0])
        places = torch.as_tensor([stable_seed(key, "reference") % rows for key in keys], device=inputs[0].device)
        pairs = zip(self.background, inputs, strict=True)
        same = torch.stack([(part[places] == tensor).flatten(1).all(dim=1) for part, tensor in pairs]).all(dim=0)
        return tuple(part[(places + same) % rows] for part in self.background)

    def _blurred(self, tensors: Tensors, masks: Masks, share: float) -> Tensors:
        results = []
        for (name, shape), tensor, mask in zip(self.shapes.items(), tensors, masks, strict=True):
            if len(shape) < 2:
                raise ConsilienceError(
                    f"reference: blurred needs branches with two axes or more; {name} has shape {shape}"
                )
            block, absent = tensor.cpu().numpy(), None if mask is None else mask.cpu().numpy()
            results.append(torch.from_numpy(blur(self.scalings[name], block, absent, share)).to(tensor))
        return tuple(results)
