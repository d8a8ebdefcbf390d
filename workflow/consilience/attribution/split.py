"""An ensemble's networks as head(front(inputs)), where the front is affine in the inputs.

Whatever moves along a straight line in the inputs moves along one in the front's outputs, the *cuts*: a path, noise or
a reference is projected once, the head alone is evaluated many times, and gradients go back through the front once.
Where a network cannot be taken apart so, the cuts are the inputs themselves, and everything holds as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any

import torch

from consilience.attribution.function import NUMBERS_AT_ONCE, EnsembleFunction, Network, Reduction, Tensors
from consilience.attribution.interception import Call, Interception, Nonlinear, UnsupportedError, Way
from consilience.attribution.projection import Projection, stacked
from consilience.errors import ConsilienceError

Auxiliary = Mapping[str, torch.Tensor]
# Where the last of the probed inputs lies between the others.
BETWEEN = 0.3
# Relative to the largest value: the parts must give what the whole gives.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


class _Reached(BaseException):
    """What was asked for is known; the rest of the network need not run, and must not take this for an error."""


class Split:
    """The networks of `function`, taken apart where they can be; `remark` says why not, where they cannot.

    `obstacle` says why their nonlinear functions cannot be followed one by one, where they cannot. `inputs` and
    `auxiliary` are examples of what the network takes, a row or more.
    """

    def __init__(self, function: EnsembleFunction, inputs: Tensors, auxiliary: Auxiliary) -> None:
        self.function = function
        self.shapes = [tensor.shape[1:] for tensor in inputs]
        self.numbers = function.numbers(inputs, auxiliary)
        self.device = inputs[0].device.type
        self.has_front = True
        self.remark = ""
        try:
            self._probe(inputs, auxiliary)
        # Whatever a network does that depends on its batch in another way fails here, before any result is made.
        except Exception as error:
            self.has_front = False
            self.width = sum(shape.numel() for shape in self.shapes)
            self.remark = str(error).partition("\n")[0] or type(error).__name__
            if isinstance(error, ConsilienceError):
                # Random inputs may lie where the network is not defined; those that are given may not.
                self.remark = f"random inputs do not suit it: {self.remark}"
                function.gradients(*_first_row(inputs, auxiliary))
        self.obstacle = self._obstacle(*_first_row(inputs, auxiliary))

    def of(self, function: EnsembleFunction) -> Split:
        """Return the same split for other members."""
        other = copy(self)
        other.function = function
        return other

    def whole(self) -> Split:
        """Return the same networks without a front, the cuts the inputs."""
        other = copy(self)
        other.has_front = False
        other.width = sum(shape.numel() for shape in self.shapes)
        return other

    def project(self, inputs: Tensors, auxiliary: Auxiliary, graph: bool = False) -> Projection:
        """Project inputs (rows, *shape), with what leads back to them where `graph`; a single row stands for all."""
        rows = max(len(tensor) for tensor in inputs)
        # Whole rows, because a network may take a view of them that merges its axes.
        whole = (tensor.detach().expand(rows, *tensor.shape[1:]).contiguous() for tensor in inputs)
        expanded = tuple(tensor.expand(self.function.members, *tensor.shape) for tensor in whole)
        if not self.has_front:
            return Projection(expanded)
        leaves = tuple(tensor.requires_grad_(graph) for tensor in expanded)
        one = {name: tensor[:1] for name, tensor in auxiliary.items()}

        def front(network: Network, *inputs: torch.Tensor) -> Tensors:
            cuts: list[torch.Tensor] = []

            def cut(tensor: torch.Tensor) -> torch.Tensor:
                cuts.append(tensor)
                # One row is enough for the head, whose outputs are not wanted here.
                return tensor[:1]

            with Interception(front=inputs, auxiliary=one, cut=cut) as interception:
                outputs = network(*inputs, **one)
            interception.cut(outputs)
            return tuple(cuts)

        with torch.set_grad_enabled(graph):
            cuts = self.function.apply(front, leaves)
        if not graph:
            return Projection(tuple(cuts))
        return Projection(tuple(tensor.detach() for tensor in cuts), tuple(cuts), leaves)

    def project_ends(self, inputs: Tensors, references: Tensors, auxiliary: Auxiliary) -> tuple[Projection, Tensors]:
        """Project inputs, with what leads back to them, and their references, of which the cuts are returned.

        A single reference goes with the inputs, because a front as large as its weights is read anew each time.
        """
        if not self.has_front or any(len(reference) > 1 for reference in references):
            here = self.project(inputs, auxiliary, graph=True)
            return here, self.project(references, auxiliary).cuts
        rows = len(inputs[0])
        both = tuple(torch.cat(pair) for pair in zip(inputs, references, strict=True))
        ends = self.project(both, auxiliary, graph=True)
        here, front = (tuple(cut[:, :rows] for cut in cuts) for cuts in (ends.cuts, ends.front))
        return Projection(here, front, ends.leaves), tuple(cut[:, rows:] for cut in ends.cuts)

    def outputs(
        self, cuts: Tensors, auxiliary: Auxiliary, nonlinear: Callable[..., Any] | None = None, beside: Tensors = ()
    ) -> torch.Tensor:
        """Return the networks' outputs (members, rows, outputs) for cuts (members, rows, *shape).

        `auxiliary` has the cuts' rows; `nonlinear(call)` takes the place of the head's nonlinear functions. With
        `beside`, tensors (members, ...), it is `nonlinear(own, call)`, where `own` is the member's share of them.
        """

        def run(network: Network, *own: torch.Tensor) -> torch.Tensor:
            replacement = partial(nonlinear, own[len(cuts) :]) if beside else nonlinear
            return self._head(network, own[: len(cuts)], auxiliary, replacement)

        return self.function.apply(run, (*cuts, *beside))

    def layer_inputs(self, cuts: Tensors, auxiliary: Auxiliary, layer: int) -> torch.Tensor:
        """Return what goes into the head's nonlinear function number `layer`, (members, rows, *shape)."""

        def inner(network: Network, *own: torch.Tensor) -> torch.Tensor:
            seen: list[torch.Tensor] = []

            def watch(call: Call) -> Any:
                seen.append(call.arguments[0])
                if len(seen) > layer:
                    raise _Reached
                return call.run()

            with suppress(_Reached):
                self._head(network, own, auxiliary, watch)
            return seen[layer]

        return self.function.apply(inner, cuts)

    def _head(self, network: Network, cuts: Tensors, auxiliary: Auxiliary, nonlinear: Nonlinear | None) -> torch.Tensor:
        """Run one member from its cuts (rows, *shape)."""
        if not self.has_front:
            if nonlinear is None:
                return network(*cuts, **auxiliary)
            with Interception(deep=cuts, auxiliary=auxiliary, nonlinear=nonlinear) as interception:
                outputs = network(*cuts, **auxiliary)
            return interception.cut(outputs)
        given = iter(cuts)
        # The front runs on one row, whose values are replaced where the head begins.
        row = tuple(cuts[0].new_zeros((1, *shape)) for shape in self.shapes)
        with Interception(row, (), auxiliary, lambda _: next(given), nonlinear, outline=True) as interception:
            outputs = network(*row, **auxiliary)
        return interception.cut(outputs)

    @torch.no_grad()
    def values(self, cuts: Tensors, auxiliary: Auxiliary) -> torch.Tensor:
        """Return F, float64 (members, rows, targets), for cuts (members, rows, *shape)."""
        return self.function.targets_of(self.outputs(cuts, auxiliary))

    def gradients(
        self,
        cuts: Tensors,
        auxiliary: Auxiliary,
        reduce: Reduction | None = None,
        nonlinear: Callable[..., Any] | None = None,
        rows: int | None = None,
        beside: Tensors = (),
    ) -> Tensors:
        """Return dF/dcuts of the first `rows` rows (all where None), (members, targets, rows, *shape) each.

        `reduce` maps the gradients of one target, (members, rows, *shape) each, to what is kept of them; `nonlinear`
        and `beside` are as for `outputs`.
        """
        leaves = tuple(tensor.detach().requires_grad_() for tensor in cuts)
        with torch.enable_grad():
            outputs = self.outputs(leaves, auxiliary, nonlinear, beside)[:, :rows]
        kept: list[Tensors] = []
        for target in range(self.function.targets):
            pulled = self.function.pull(outputs, leaves, target)
            kept.append(reduce(pulled) if reduce else pulled)
        return tuple(stacked(tensors) for tensors in zip(*kept, strict=True))

    def rows_at_once(self, internal_batch: int) -> int:
        """Return how many rows the head takes at once: as many numbers as `internal_batch` whole rows, and no more."""
        head = self.numbers - sum(shape.numel() for shape in self.shapes) + self.width
        limit = NUMBERS_AT_ONCE.get(self.device, NUMBERS_AT_ONCE["cpu"])
        return max(1, min(internal_batch * self.numbers, limit // self.function.members) // head)

    def _probe(self, inputs: Tensors, auxiliary: Auxiliary) -> None:
        """Raise UnsupportedError unless the front is affine and both give the whole's values and gradients.

        All at random inputs, of which the last lies between the others.
        """
        generator = torch.Generator().manual_seed(0)
        probes = tuple(torch.randn(3, *tensor.shape[1:], generator=generator).to(tensor) for tensor in inputs)
        for probe in probes:
            probe[2] = torch.lerp(probe[0], probe[1], BETWEEN)
        copies = repeated(_first_row(inputs, auxiliary)[1], len(probes[0]))
        function, ways = _watched(self.function)
        watched = self.of(function)
        expected, gradients = function.gradients(probes, copies)
        projection = watched.project(probes, copies, graph=True)
        self.width = sum(cut[0, 0].numel() for cut in projection.cuts)
        tolerance = max(TOLERANCE.get(tensor.dtype, TOLERANCE[torch.float32]) for tensor in (*probes, *projection.cuts))
        between = [torch.lerp(cut[:, 0], cut[:, 1], BETWEEN) for cut in projection.cuts]
        if not _agree(between, [cut[:, 2] for cut in projection.cuts], tolerance):
            raise UnsupportedError("what comes before its first nonlinearity is not affine")
        values = watched.values(projection.cuts, copies)
        pulled = projection.pull(watched.gradients(projection.cuts, copies))
        if any(way.names != ways[0].names for way in ways):
            raise UnsupportedError("which functions it calls depends on the number of samples")
        offset = self.function.offset
        if not _agree((values - offset, *pulled), (expected - offset, *gradients), tolerance):
            raise UnsupportedError("its parts give other values than the whole")

    def _obstacle(self, inputs: Tensors, auxiliary: Auxiliary) -> str:
        """Say what keeps the networks' nonlinear functions from being followed; empty for nothing.

        Two rows tell the samples' axis from one of length 1. The first member runs unstacked: under `vmap` no gradient
        betrays what passed elsewhere.
        """
        one = self.of(self.function.part(slice(0, 1)))
        one.function.stackable = False
        pair = repeated(auxiliary, 2)
        cuts = one.project(tuple(tensor.repeat_interleave(2, dim=0) for tensor in inputs), pair).cuts
        try:
            with torch.enable_grad():
                one.outputs(tuple(cut.detach().requires_grad_() for cut in cuts), pair, Call.run)
        except UnsupportedError as error:
            return str(error)
        return ""


def _watched(function: EnsembleFunction) -> tuple[EnsembleFunction, list[Way]]:
    """Return the same function, and the ways that its networks take whenever they are called."""
    other, call, ways = copy(function), function._call, []

    def watched(*arguments: Any, **keywords: Any) -> torch.Tensor:
        with Way() as way:
            ways.append(way)
            return call(*arguments, **keywords)

    other._call = watched
    return other, ways


def _agree(own: Sequence[torch.Tensor], others: Sequence[torch.Tensor], tolerance: float) -> bool:
    return all(
        part.shape == other.shape and bool((part - other).abs().max() <= tolerance * other.abs().max())
        for part, other in zip(own, others, strict=True)
    )


def _first_row(inputs: Tensors, auxiliary: Auxiliary) -> tuple[Tensors, dict[str, torch.Tensor]]:
    return tuple(tensor[:1] for tensor in inputs), {name: tensor[:1] for name, tensor in auxiliary.items()}


def repeated(auxiliary: Auxiliary, times: int) -> dict[str, torch.Tensor]:
    """Return auxiliary tensors with every sample `times` over, its copies side by side."""
    return {name: tensor.repeat_interleave(times, dim=0) for name, tensor in auxiliary.items()}
