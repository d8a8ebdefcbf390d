"""The attribution methods, through one interface: every member, target and sample at once, any number of branches.

A method is `method(function, inputs, auxiliary, references, settings)` and returns a tensor
(members, targets, samples, *shape) a branch: how much each element of the scaled inputs contributes to F.
`references` holds, where the method needs one, a tensor (samples or 1, *shape) a branch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from consilience.attribution.function import EnsembleFunction, Tensors
from consilience.attribution.names import DEFAULTS, METHOD_FACTS, METHOD_NAMES, check_name
from consilience.errors import ConsilienceError

Auxiliary = Mapping[str, torch.Tensor]
Settings = Mapping[str, Any]
MethodFunction = Callable[[EnsembleFunction, Tensors, Auxiliary, Tensors | None, Settings], Tensors]

# Larger interpolated inputs leave a CPU's caches and are slower a row.
NUMBERS_IN_A_BATCH = 2**21


@dataclass(frozen=True)
class Method:
    """A method with what it needs and promises; see `names.MethodFacts`."""

    name: str
    function: MethodFunction
    needs_reference: bool
    complete: bool


def saliency(
    function: EnsembleFunction, inputs: Tensors, auxiliary: Auxiliary, _references: Tensors | None, _settings: Settings
) -> Tensors:
    """Return |dF/dz| (Simonyan, Vedaldi & Zisserman 2014, section 3): sensitivity, without a sign."""
    return tuple(gradient.abs() for gradient in function.gradients(inputs, auxiliary)[1])


def gradient_x_input(
    function: EnsembleFunction, inputs: Tensors, auxiliary: Auxiliary, _references: Tensors | None, _settings: Settings
) -> Tensors:
    """Return z dF/dz (Shrikumar et al. 2016, "Not just a black box"), complete for linear functions of z alone."""
    gradients = function.gradients(inputs, auxiliary)[1]
    return tuple(tensor * gradient for tensor, gradient in zip(inputs, gradients, strict=True))


def integrated_gradients(
    function: EnsembleFunction, inputs: Tensors, auxiliary: Auxiliary, references: Tensors | None, settings: Settings
) -> Tensors:
    """Return (z - z_ref) times the mean gradient between them (Sundararajan, Taly & Yan 2017, eq. 1).

    All branches move along one path. The integral is a Gauss-Legendre quadrature with `steps` points; `internal_batch`
    bounds the rows that a network sees at once, and changes the order of summation alone.
    """
    steps = int(settings.get("steps", DEFAULTS["steps"]))
    references = check_references(inputs, references)
    differences = tuple(tensor - reference for tensor, reference in zip(inputs, references, strict=True))
    positions, weights = quadrature(steps, inputs[0])
    results = tuple(tensor.new_zeros((function.members, function.targets, *tensor.shape)) for tensor in inputs)
    for samples, points in _batches(inputs, steps, int(settings.get("internal_batch", DEFAULTS["internal_batch"]))):
        count = len(weights[points])
        path = tuple(
            _between(reference[samples], difference[samples], positions[points])
            for reference, difference in zip(references, differences, strict=True)
        )
        repeated = {name: _repeat(tensor[samples], count) for name, tensor in auxiliary.items()}
        _, sums = function.gradients(path, repeated, lambda kept, points=points: _weigh(kept, weights[points]))
        for result, part in zip(results, sums, strict=True):
            result[:, :, samples] += part
    return tuple(result.mul_(difference) for result, difference in zip(results, differences, strict=True))


def quadrature(steps: int, like: torch.Tensor) -> Tensors:
    """Return the points (steps,) and weights (steps,) of Gauss-Legendre quadrature on [0, 1], as `like` in type."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return tuple(torch.as_tensor(part, dtype=like.dtype, device=like.device) for part in ((nodes + 1) / 2, weights / 2))


def check_references(inputs: Tensors, references: Tensors | None) -> Tensors:
    """Return one reference a sample and branch; refuses another number of branches, and another shape."""
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
    return tuple(reference.expand_as(tensor) for tensor, reference in zip(inputs, references, strict=True))


def _batches(inputs: Tensors, steps: int, rows: int) -> Iterator[tuple[slice, slice]]:
    """Yield (samples, points of the path) with at most `rows` rows of samples x points together."""
    elements = sum(tensor[0].numel() for tensor in inputs) if len(inputs[0]) else 1
    rows = min(rows, max(steps, NUMBERS_IN_A_BATCH // elements))
    points, samples = min(steps, rows), max(1, rows // steps)
    for first in range(0, len(inputs[0]), samples):
        for start in range(0, steps, points):
            yield slice(first, first + samples), slice(start, start + points)


def _between(reference: torch.Tensor, difference: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return the points of the path, (points x samples, *shape), points slowest."""
    along = positions.reshape(-1, *[1] * difference.ndim)
    return torch.addcmul(reference, along, difference).flatten(0, 1)


def _repeat(tensor: torch.Tensor, count: int) -> torch.Tensor:
    return tensor.expand(count, *tensor.shape).flatten(0, 1)


def _weigh(gradients: Tensors, weights: torch.Tensor) -> Tensors:
    """Return the weighted sum over the points of the path: (members, points x samples, *shape) without points."""
    points = len(weights)
    return tuple(
        torch.einsum("p,mpx->mx", weights, gradient.reshape(len(gradient), points, -1)).reshape(
            len(gradient), -1, *gradient.shape[2:]
        )
        for gradient in gradients
    )


_FUNCTIONS: dict[str, MethodFunction] = {
    "gradient_x_input": gradient_x_input,
    "saliency": saliency,
    "integrated_gradients": integrated_gradients,
}
METHODS: dict[str, Method] = {
    name: Method(name, _FUNCTIONS[name], facts.needs_reference, facts.complete) for name, facts in METHOD_FACTS.items()
}


def method_named(name: str) -> Method:
    """Return a method by name; an unknown one is refused with the nearest names."""
    check_name("attribution method", name, METHOD_NAMES)
    return METHODS[name]
