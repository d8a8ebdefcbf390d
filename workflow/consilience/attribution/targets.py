"""What of a prediction is explained: every target, one class, the difference of two, or each sample's own class.

A rule gives the networks another target map, so that it holds for every method: saliency too, whose absolute value
does not distribute over targets.

Two classes have one target, F = the log-odds of the second. The second class is explained by F, the first by -F, and
their contrast is F once: the log-odds of the one against the other, as between any two of more classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
import torch

from consilience.attribution.batches import Batch
from consilience.attribution.function import EnsembleFunction
from consilience.attribution.names import check_name
from consilience.errors import ConsilienceError


@dataclass(frozen=True)
class FixedClass:
    """One class, or one output of a regression with several, for all samples; by its name or number."""

    which: int | str


@dataclass(frozen=True)
class Contrast:
    """F_a - F_b of two classes, or of two outputs of a regression, for all samples; by name or number."""

    a: int | str
    b: int | str


@dataclass(frozen=True)
class TrueClass:
    """Each sample's own class; `labels` (samples,) are names or numbers of classes."""

    labels: Sequence[Any] | np.ndarray | torch.Tensor


@dataclass(frozen=True)
class PredictedClass:
    """The class that the ensemble predicts for each sample, one for all members: that of the largest mean F."""


Rule = FixedClass | Contrast | TrueClass | PredictedClass
# A plain name or number is a fixed class, a pair of them a contrast, and None every target.
Target = Rule | int | str | tuple | None


@dataclass(frozen=True)
class OneForAll:
    """The same targets for every sample: `rows` (names, targets) say how each is made of the function's own."""

    names: list[str]
    rows: torch.Tensor

    def parts(self, batch: Batch, places: np.ndarray) -> Iterator[tuple[np.ndarray, int | None, Batch]]:
        """Yield the whole batch at its `places`, of no class in particular."""
        yield places, None, replace(batch, function=retargeted(batch.function, self.rows))


@dataclass(frozen=True)
class OneBySample:
    """One target, which depends on the sample's class; `labels` (samples,) are the classes, None for the predicted.

    `rows` (classes, targets) say how a class's target is made of the function's own.
    """

    names: list[str]
    rows: torch.Tensor
    labels: np.ndarray | None

    def parts(self, batch: Batch, places: np.ndarray) -> Iterator[tuple[np.ndarray, int | None, Batch]]:
        """Yield the samples of each class with their places among all, their class, and a batch of them alone.

        `places` (samples of the batch,) are where the batch's samples lie among all.
        """
        labels = self._predicted(batch) if self.labels is None else self.labels[places]
        for label in np.unique(labels):
            chosen = np.flatnonzero(labels == label)
            yield places[chosen], int(label), taken(batch, chosen, self.rows[label : label + 1])

    def _predicted(self, batch: Batch) -> np.ndarray:
        values = batch.function.values(batch.inputs, batch.auxiliary).mean(dim=0)
        return (values @ self.rows.T.to(values)).argmax(dim=1).cpu().numpy()


def choose(target: Target, task: str, outputs: Sequence[str], samples: int) -> OneForAll | OneBySample:
    """Return what is explained of `samples` samples; `outputs` names the classes, or a regression's outputs.

    Raises ConsilienceError for a class that is not there, labels that do not fit, and a class of a regression.
    """
    by_class = class_rows(task, len(outputs))
    if target is None:
        own = list(outputs[1:] if task != "regression" and len(outputs) == 2 else outputs)
        return OneForAll(own, torch.eye(len(own), dtype=torch.float64))
    if isinstance(target, TrueClass | PredictedClass):
        name = "true class" if isinstance(target, TrueClass) else "predicted class"
        if task == "regression":
            raise ConsilienceError(f"target: a regression has no {name}; name an output, or leave target out")
        labels = _labels(target.labels, outputs, samples) if isinstance(target, TrueClass) else None
        return OneBySample([name], by_class, labels)
    if isinstance(target, tuple) and len(target) == 2:
        target = Contrast(*target)
    if isinstance(target, Contrast):
        a, b = _place(target.a, outputs), _place(target.b, outputs)
        if a == b:
            raise ConsilienceError(f"target: a contrast needs two classes; given: {outputs[a]} twice")
        row = by_class[a] if by_class.shape[1] == 1 else by_class[a] - by_class[b]
        return OneForAll([f"{outputs[a]} - {outputs[b]}"], row[None])
    place = _place(target.which if isinstance(target, FixedClass) else target, outputs)
    return OneForAll([outputs[place]], by_class[place][None])


def class_rows(task: str, outputs: int) -> torch.Tensor:
    """Return float64 (outputs, targets): the combination of targets that speaks for each class, or output."""
    if task != "regression" and outputs == 2:
        return torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    return torch.eye(outputs, dtype=torch.float64)


def retargeted(function: EnsembleFunction, rows: torch.Tensor) -> EnsembleFunction:
    """Return the function whose targets are rows . F; `rows` is (new targets, targets)."""
    other = copy(function)
    rows = rows.to(function.target_map)
    other.target_map, other.offset = rows @ function.target_map, rows @ function.offset
    return other


def taken(batch: Batch, chosen: np.ndarray, rows: torch.Tensor) -> Batch:
    """Return a batch of the samples at `chosen` alone, whose targets are rows . F."""
    places = torch.as_tensor(chosen, device=batch.inputs[0].device)
    references = batch.references
    if references is not None:
        references = tuple(part if len(part) == 1 else part[places] for part in references)
    return replace(
        batch,
        function=retargeted(batch.function, rows),
        inputs=tuple(tensor[places] for tensor in batch.inputs),
        auxiliary={name: tensor[places] for name, tensor in batch.auxiliary.items()},
        masks=[None if mask is None else mask[places] for mask in batch.masks],
        references=references,
        others={
            name: tuple(part if len(part) == 1 else part[places] for part in parts)
            for name, parts in batch.others.items()
        },
        about=None if batch.about is None else batch.about.iloc[chosen].reset_index(drop=True),
        keys=[batch.keys[place] for place in chosen] if batch.keys else (),
    )


def _place(which: Any, outputs: Sequence[str]) -> int:
    if isinstance(which, str):
        check_name("target", which, tuple(outputs))
        return list(outputs).index(which)
    if not isinstance(which, Integral) or isinstance(which, bool):
        raise ConsilienceError(
            f"target: {which!r} is no target; expected a name or number, a pair of them for a contrast, "
            "TrueClass(labels), PredictedClass(), or None for all"
        )
    if not 0 <= which < len(outputs):
        raise ConsilienceError(f"target: number {which} is not among {len(outputs)}: {', '.join(outputs)}")
    return int(which)


def _labels(labels: Any, classes: Sequence[str], samples: int) -> np.ndarray:
    """Return the numbers of the classes (samples,) of labels that are names or numbers."""
    given = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    if given.shape != (samples,):
        raise ConsilienceError(f"target: labels have shape {given.shape}; expected ({samples},), one a sample")
    numeric = np.issubdtype(given.dtype, np.integer)
    known = {(place if numeric else name): place for place, name in enumerate(classes)}
    for sample, label in enumerate(given.tolist()):
        if label not in known:
            raise ConsilienceError(
                f"target: the label of sample {sample} is {label!r}; expected the name of a class, or its number: "
                f"{', '.join(classes)}"
            )
    return np.array([known[label] for label in given.tolist()])
