"""Where a piecewise-linear network bends on the way from a reference to a sample.

Between two bends the network is linear, so that its gradient there is constant and a path integral is a finite sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from consilience.attribution.function import Tensors
from consilience.attribution.interception import Call, UnsupportedError
from consilience.attribution.split import Auxiliary, Split, repeated

# Units of all piecewise-linear layers together, beyond which a quadrature is cheaper.
MAXIMUM_UNITS = 2048
# Width of a piece on which nothing moves.
SMALLEST = 1e-30
AT_ZERO = frozenset(("relu", "leaky_relu", "prelu", "abs", "absolute", "__abs__"))


@dataclass(frozen=True)
class Layer:
    """A layer that bends: at which values of its input, and of which cut where a cut itself goes in."""

    places: tuple[float, ...]
    cut: int | None


def bends(call: Call) -> tuple[float, ...] | None:
    """Return where an elementwise function bends; None for a function that is not piecewise linear."""
    if call.dependent != (0,):
        return None
    if call.name in AT_ZERO:
        return (0.0,)
    if call.name == "relu6":
        return (0.0, 6.0)
    if call.name == "hardtanh":
        positional = call.arguments[1:3]
        given = dict(zip(("min_val", "max_val")[: len(positional)], positional, strict=True)) | call.keywords
        return (float(given.get("min_val", -1.0)), float(given.get("max_val", 1.0)))
    return None


def pieces(split: Split, cuts: Tensors, auxiliary: Auxiliary) -> list[Layer] | None:
    """Return the head's bending layers in order; None where it is not piecewise linear, or too large."""
    if split.obstacle:
        return None
    found: list[Layer] = []
    units = 0

    def record(call: Call) -> Any:
        nonlocal units
        places = bends(call)
        if places is None:
            raise UnsupportedError(f"{call.name} is not piecewise linear")
        units += call.arguments[0][0].numel() * len(places)
        found.append(Layer(places, call.cut))
        return call.run()

    one = split.of(split.function.part(slice(0, 1)))
    try:
        one.outputs(tuple(cut[:1, :1] for cut in cuts), {name: part[:1] for name, part in auxiliary.items()}, record)
    except UnsupportedError:
        return None
    return found if units <= MAXIMUM_UNITS else None


@torch.no_grad()
def segments(
    split: Split, layers: list[Layer], here: Tensors, there: Tensors, auxiliary: Auxiliary
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the middles and lengths, (members, samples, segments), of the pieces between bends of deeper layers.

    `here` and `there` are the cuts of samples and references, (members, samples or 1, *shape); the path runs from 0
    (`there`) to 1. On a piece only layers that see a cut itself may bend, for which there is `mean_slope`. Samples
    with fewer pieces than others have pieces of length 0 at the end.
    """
    edges = kept = here[0].new_tensor([0.0, 1.0]).expand(*here[0].shape[:2], 2)
    deepest = max((number for number, layer in enumerate(layers) if layer.cut is None), default=-1)
    for number, layer in enumerate(layers[: deepest + 1]):
        for place in layer.places:
            if layer.cut is None:
                points = along(here, there, edges)
                values = split.layer_inputs(points, repeated(auxiliary, edges.shape[2]), number)
            else:
                values = along(here[layer.cut :][:1], there[layer.cut :][:1], edges)[0]
            found = _crossings(edges, values.reshape(*edges.shape, -1) - place)
            if number < deepest or place != layer.places[-1]:
                edges = torch.cat([edges, found], dim=-1).sort(dim=-1).values
            if layer.cut is None:
                kept = torch.cat([kept, found], dim=-1)
    kept = kept.sort(dim=-1).values
    return (kept[..., 1:] + kept[..., :-1]) / 2, kept.diff(dim=-1)


def mean_slope(widths: Tensors, call: Call) -> torch.Tensor:
    """Call a piecewise-linear function; its gradient with respect to a cut is the mean over a row's piece.

    A row of cuts is the middle of a piece; `widths` (rows, *shape) is how far the cuts move on it. What follows is
    linear on the piece, so that the mean gradient of the whole is the gradient through the mean slope.
    """
    outputs = call.run()
    if call.cut is None:
        return outputs
    inputs, width = call.arguments[0], widths[call.cut]
    middle = inputs.detach()
    places = bends(call)
    knots = (places[0] - 1, *places, places[-1] + 1)
    heights = [call.function(torch.full_like(middle[:1], knot), *call.arguments[1:], **call.keywords) for knot in knots]
    slopes = [(heights[n + 1] - heights[n]) / (knots[n + 1] - knots[n]) for n in range(len(knots) - 1)]
    mean = slopes[0]
    for place, before, after in zip(places, slopes[:-1], slopes[1:], strict=True):
        above = (middle - place).add_(width, alpha=0.5).div_(width.clamp_min(SMALLEST)).clamp(0, 1)
        mean = torch.addcmul(mean, after - before, above)
    return torch.addcmul(outputs.detach(), mean, inputs - middle)


def along(here: Tensors, there: Tensors, positions: torch.Tensor) -> Tensors:
    """Return the points there + position (here - there), (members, samples x positions, *shape), positions fastest."""
    points = []
    for sample, reference in zip(here, there, strict=True):
        place = positions.reshape(*positions.shape, *[1] * (sample.ndim - 2))
        points.append(torch.lerp(reference.unsqueeze(2), sample.unsqueeze(2), place).flatten(1, 2))
    return tuple(points)


def _crossings(edges: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return where values (members, samples, edges, units), linear between edges, cross 0: (members, samples, most).

    1, the path's end, fills the rows of samples with fewer crossings than others.
    """
    shape = edges.shape[:2]
    values, edges = values.flatten(0, 1), edges.flatten(0, 1)
    signs = values.sign()
    crossed = signs[:, 1:] != signs[:, :-1]
    row, piece, unit = crossed.nonzero(as_tuple=True)
    before, after = values[row, piece, unit], values[row, piece + 1, unit]
    start, stop = edges[row, piece], edges[row, piece + 1]
    places = start + (stop - start) * (before / (before - after))
    # What is 0 on one side of a bend, as after another of its kind, has that bend at either end: rounding decides.
    flat = (before == 0) | (after == 0)
    row, order = torch.cat([row, row[flat]]).sort(stable=True)
    places = torch.cat([places, (start + stop - places)[flat]])[order]
    counts = torch.bincount(row, minlength=len(values))
    order = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
    found = edges.new_ones(len(counts), int(counts.max()) if len(counts) else 0)
    found[row, order] = places
    return found.unflatten(0, shape)
