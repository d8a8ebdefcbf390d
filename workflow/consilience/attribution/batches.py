"""Batches of samples, read and scaled once for all methods, and what the methods share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from consilience.attribution.function import EnsembleFunction, Tensors
from consilience.attribution.methods import Method, check_references
from consilience.attribution.references import ReferenceSource
from consilience.dataset import Dataset
from consilience.scaling import Scaling, scaled_inputs

# Numbers in a gradient of all members and targets over a batch of samples: bounds memory, changes no result.
GRADIENT_NUMBERS = 2**23


@dataclass
class Batch:
    """Some samples: what a method is given, and what methods share.

    `inputs` and `references` are scaled, a tensor (samples, *shape) a branch; `masks` bool of the same shape, true
    where absent, None for a branch without.
    """

    function: EnsembleFunction
    inputs: Tensors
    auxiliary: dict[str, torch.Tensor]
    masks: list[torch.Tensor | None]
    references: Tensors | None

    @cached_property
    def values_and_gradients(self) -> tuple[torch.Tensor, Tensors]:
        """F, float64 (members, samples, targets), and dF/dz, (members, targets, samples, *shape) a branch."""
        values, gradients = self.function.gradients(self.inputs, self.auxiliary)
        return values, self.hide(gradients)

    @cached_property
    def rise(self) -> torch.Tensor:
        """F(x) - F(reference), float64 (members, targets, samples)."""
        reference = self.function.values(self.references, self.auxiliary)
        return (self.values_and_gradients[0] - reference).movedim(2, 1)

    def hide(self, tensors: Tensors) -> Tensors:
        """Make masked elements exactly 0, in place."""
        for tensor, mask in zip(tensors, self.masks, strict=True):
            if mask is not None:
                tensor.masked_fill_(mask, 0)
        return tensors

    def attribute(self, method: Method, settings: Mapping[str, Any]) -> Tensors:
        """Return a method's attributions, (members, targets, samples, *shape) a branch; 0 where masked."""
        return self.hide(method.function(_Remembering(self), self.inputs, self.auxiliary, self.references, settings))


class _Remembering:
    """The ensemble's function for methods, which computes the gradients at the samples themselves only once."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch.function, name)

    def gradients(self, inputs: Tensors, auxiliary: dict[str, torch.Tensor], reduce: Any = None) -> Any:
        if inputs is self._batch.inputs and reduce is None:
            return self._batch.values_and_gradients
        return self._batch.function.gradients(inputs, auxiliary, reduce)


@dataclass
class BatchReader:
    """Reads samples in batches, scaled, with their masks and references, onto the device."""

    dataset: Dataset
    scalings: Mapping[str, Scaling]
    function: EnsembleFunction
    source: ReferenceSource | None
    settings: Mapping[str, Any]
    device: str

    def read(self, rows: np.ndarray) -> Batch:
        """Read the samples at `rows`."""
        arrays, auxiliary = scaled_inputs(self.dataset, self.scalings, rows)
        inputs = tuple(self._tensor(array) for array in arrays)
        tensors = {name: self._tensor(array) for name, array in auxiliary.items()}
        masks = [tensors.get(f"mask_{name}") for name in self.dataset.branches]
        references = None
        if self.source:
            references = check_references(inputs, tuple(self._tensor(array) for array in self.source(rows)))
            # An absent element stays absent along the path: it moves nothing and gets nothing.
            references = tuple(
                reference if mask is None else torch.where(mask, tensor, reference)
                for reference, mask, tensor in zip(references, masks, inputs, strict=True)
            )
        return Batch(self.function, inputs, tensors, masks, references)

    def batches(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Cut `rows` into batches whose gradients fit in memory, of `internal_batch` rows at most."""
        elements = sum(branch.elements for branch in self.dataset.branches.values())
        fitting = GRADIENT_NUMBERS // (self.function.members * self.function.targets * elements)
        size = max(1, min(fitting, self.settings["internal_batch"]))
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)
