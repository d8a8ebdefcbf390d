"""Batches of samples, read and scaled once for all methods, and what the methods share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch

from consilience.attribution.function import GRADIENT_NUMBERS, EnsembleFunction, Tensors
from consilience.attribution.methods import Method
from consilience.attribution.references import ReferenceSource
from consilience.attribution.split import Split
from consilience.attribution.statistics import UnitSums
from consilience.dataset import Dataset
from consilience.errors import ConsilienceError
from consilience.progress import progress
from consilience.scaling import Scaling, apply, scaled_inputs, unit_of_noise
from consilience.training.members import stable_seed


@dataclass
class Batch:
    """Some samples: what a method is given, and what methods share.

    `inputs` and `references` are scaled, a tensor (samples, *shape) a branch, references (1, *shape) where all samples
    share one; `others` are further references by name, for methods that name theirs; `masks` bool (samples, *shape),
    true where absent, None for a branch without. `background` are training samples (rows, *shape), `deviations` what
    noise on each branch is measured in, in scaled units. `keys` (samples,) seed each
    sample's random numbers, so that its company changes nothing. `sums` knows which element belongs to which feature.
    `about` is what the dataset tells of the samples, a row each, for a slice's own methods, and `scaled` turns an
    unscaled array (rows, *shape) of a branch into an input like these. `shared` is where methods keep what others of
    this very batch need too.
    """

    function: EnsembleFunction
    inputs: Tensors
    auxiliary: dict[str, torch.Tensor] = field(default_factory=dict)
    masks: Sequence[torch.Tensor | None] = ()
    references: Tensors | None = None
    others: Mapping[str, Tensors] = field(default_factory=dict)
    background: Tensors | None = None
    deviations: Sequence[float] = ()
    keys: Sequence[int] = ()
    sums: UnitSums | None = None
    split: Split | None = None
    about: pd.DataFrame | None = None
    scaled: Callable[[int, np.ndarray], torch.Tensor] | None = None
    # Never given: a batch that is made of another one shares nothing with it.
    shared: dict[str, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Take the network apart where nobody has yet."""
        self.masks = self.masks or [None] * len(self.inputs)
        if self.split is None:
            self.split = Split(self.function, self.inputs, self.auxiliary)

    @cached_property
    def values_and_gradients(self) -> tuple[torch.Tensor, Tensors]:
        """F, float64 (members, samples, targets), and dF/dz, (members, targets, samples, *shape) a branch."""
        values, gradients = self.function.gradients(self.inputs, self.auxiliary)
        return values, self.hide(gradients)

    def rise(self, background: bool = False) -> torch.Tensor:
        """Return F(x) less F(reference), or less the mean F of the background, float64 (members, targets, samples)."""
        base = self._background_values if background else self._reference_values
        return (self.values_and_gradients[0] - base).movedim(2, 1)

    @cached_property
    def _reference_values(self) -> torch.Tensor:
        return self._values_of(self.checked_references())

    @cached_property
    def _background_values(self) -> torch.Tensor:
        """The mean of F over the background, float64 (members, samples or 1, targets)."""
        if not self.auxiliary:
            return self.function.values(self.background).mean(dim=1, keepdim=True)
        return torch.stack([self._values_of(one) for one in self.each_background()]).mean(dim=0)

    def _values_of(self, references: Tensors) -> torch.Tensor:
        whole = tuple(part.expand_as(tensor).contiguous() for part, tensor in zip(references, self.inputs, strict=True))
        return self.function.values(whole, self.auxiliary)

    def checked_references(self) -> Tensors:
        """Return the references; refuses another number of branches, and another shape."""
        return check_references(self.inputs, self.references)

    @property
    def background_rows(self) -> int:
        """The number of background samples; refuses none."""
        if self.background is None:
            raise ConsilienceError("a background of training samples is needed; none was given")
        return len(self.background[0])

    def each_background(self) -> Iterator[Tensors]:
        """Yield the background one by one as references (samples or 1, *shape); what is masked is the sample's own."""
        for row in range(self.background_rows):
            one = check_references(self.inputs, tuple(part[row : row + 1] for part in self.background))
            yield self.keep_masked(one)

    def keep_masked(self, others: Tensors) -> Tensors:
        """Give `others` (samples or 1, *shape) the samples' own values where masked: the absent moves nothing."""
        return tuple(
            other if mask is None else torch.where(mask, tensor, other)
            for other, mask, tensor in zip(others, self.masks, self.inputs, strict=True)
        )

    def hide(self, tensors: Tensors) -> Tensors:
        """Make masked elements exactly 0, in place."""
        for tensor, mask in zip(tensors, self.masks, strict=True):
            if mask is not None:
                tensor.masked_fill_(mask, 0)
        return tensors

    def times_difference(self, slopes: Tensors) -> Tensors:
        """Multiply slopes (members, targets, samples, *shape) by how far the samples are from their references."""
        ends = zip(slopes, self.inputs, self.checked_references(), strict=True)
        return tuple(slope * (tensor - reference) for slope, tensor, reference in ends)

    def empty(self) -> Tensors:
        """Return room for attributions, (members, targets, samples, *shape) a branch."""
        shape = (self.function.members, self.function.targets)
        return tuple(tensor.new_empty((*shape, *tensor.shape)) for tensor in self.inputs)

    def splits(self) -> Iterator[tuple[slice, Split]]:
        """Yield members that are computed together, with their networks taken apart."""
        for members in self.function.parts(self.inputs, self.auxiliary):
            yield members, self.split.of(self.function.part(members))

    def against(self, reference: str) -> Batch:
        """Return the same samples beside one of the `others` as reference; beside their own where it is ""."""
        if not reference:
            return self
        other = copy(self)
        other.references, other.shared = self.others[reference], {}
        other.__dict__.pop("_reference_values", None)
        return other

    def gap(self, method: Method, attributions: Tensors) -> tuple[np.ndarray, np.ndarray]:
        """Return |sum of attributions - change| and |change|, float64 (members, targets, samples)."""
        change = self.against(method.reference).rise(method.needs_background)
        total = sum(tensor.flatten(3).sum(dim=3, dtype=torch.float64) for tensor in attributions)
        return (total - change).abs().cpu().numpy(), change.abs().cpu().numpy()

    def attribute(self, method: Method, settings: Mapping[str, Any]) -> Tensors:
        """Return a method's attributions, (members, targets, samples, *shape) a branch; 0 where masked."""
        return self.hide(method.function(self.against(method.reference), settings))


def check_references(inputs: Tensors, references: Tensors | None) -> Tensors:
    """Return the references, one a branch; refuses another number of branches, and another shape."""
    if references is None or len(references) != len(inputs):
        raise ConsilienceError(
            f"a reference for each of {len(inputs)} branches is needed; given: {len(references or ())}"
        )
    for branch, (tensor, reference) in enumerate(zip(inputs, references, strict=True)):
        if reference.shape[1:] != tensor.shape[1:] or len(reference) not in (1, len(tensor)):
            raise ConsilienceError(
                f"the reference of branch {branch} has shape {tuple(reference.shape)}; expected "
                f"(1 or {len(tensor)}, *{tuple(tensor.shape[1:])})"
            )
    return references


@dataclass
class BatchReader:
    """Reads samples in batches, scaled, with all that methods need of them, onto the device.

    `source` gives references and `background` is an array (rows, *shape) a branch, both scaled, None where no method
    needs them; `others` give further references by name. `seed` makes the samples' keys.
    """

    dataset: Dataset
    scalings: Mapping[str, Scaling]
    function: EnsembleFunction
    source: ReferenceSource | None
    background: Sequence[np.ndarray] | None
    settings: Mapping[str, Any]
    seed: int
    device: str
    others: Mapping[str, ReferenceSource] = field(default_factory=dict)
    _split: Split | None = None

    def read(self, rows: np.ndarray) -> Batch:
        """Read the samples at `rows`."""
        arrays, auxiliary = scaled_inputs(self.dataset, self.scalings, rows)
        inputs = tuple(self._tensor(array) for array in arrays)
        tensors = {name: self._tensor(array) for name, array in auxiliary.items()}
        if self._split is None:
            self._split = Split(self.function, inputs, tensors)
        batch = Batch(
            self.function,
            inputs,
            tensors,
            masks=[tensors.get(f"mask_{name}") for name in self.dataset.branches],
            background=self._background,
            deviations=self._deviations,
            keys=[stable_seed(self.seed, name) for name in self.dataset.samples["id"].astype(str).iloc[rows]],
            sums=self.sums,
            split=self._split,
            about=self.dataset.samples.iloc[rows].reset_index(drop=True),
            scaled=self._scaled,
        )
        if self.source:
            batch.references = self._references(batch, self.source, rows)
        batch.others = {name: self._references(batch, source, rows) for name, source in self.others.items()}
        return batch

    def _references(self, batch: Batch, source: ReferenceSource, rows: np.ndarray) -> Tensors:
        references = check_references(batch.inputs, tuple(self._tensor(array) for array in source(rows)))
        return batch.keep_masked(references)

    def batches(self, rows: np.ndarray, description: str = "asking networks") -> Iterator[np.ndarray]:
        """Cut `rows` into batches whose gradients fit in memory, of `internal_batch` rows at most, with a bar."""
        elements = sum(branch.elements for branch in self.dataset.branches.values())
        fitting = GRADIENT_NUMBERS // (self.function.members * self.function.targets * elements)
        size = max(1, min(fitting, self.settings["internal_batch"]))
        with progress(description, "sample", len(rows)) as advance:
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                yield part
                advance(len(part))

    @cached_property
    def sums(self) -> UnitSums:
        """The sums over the elements of every feature."""
        units = [branch.units for branch in self.dataset.branches.values()]
        return UnitSums(units, len(self.dataset.features), self.device)

    @cached_property
    def _background(self) -> Tensors | None:
        return None if self.background is None else tuple(self._tensor(array) for array in self.background)

    @cached_property
    def _deviations(self) -> list[float]:
        """What noise on each branch is measured in."""
        branches = self.dataset.branches
        return [unit_of_noise(self.scalings[name], branch.scaling) for name, branch in branches.items()]

    def _scaled(self, place: int, array: np.ndarray) -> torch.Tensor:
        """Scale an array (rows, *shape) like the dataset's branch number `place`."""
        return self._tensor(apply(self.scalings[list(self.dataset.branches)[place]], array))

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)
