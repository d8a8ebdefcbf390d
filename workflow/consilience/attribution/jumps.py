"""Integrated gradients for networks that read the codes of a sparse dictionary, whose support switches on the way.

Where a code switches on or off the prediction jumps, which no gradient sees: the mean gradient alone misses a third of
the change and more, however many its steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from consilience.attribution.function import EnsembleFunction, Tensors
from consilience.attribution.paths import mean_gradients
from consilience.attribution.split import Split, repeated
from consilience.attribution.switches import Switches, switches_of_largest, switches_of_threshold
from consilience.errors import ConsilienceError
from consilience.networks import Encoded, flattened
from consilience.sparse_autoencoder import SparseAutoencoder

if TYPE_CHECKING:
    from consilience.attribution.batches import Batch

# Samples whose paths are followed at once.
SAMPLES_AT_ONCE = 32
# Of a head, on a stretch between two switches.
PIECES = 4
# Numbers in the integrals of all stretches that are held at once.
STRETCH_NUMBERS = 2**23


def jump_aware_integrated_gradients(batch: Batch, settings: Mapping[str, Any]) -> Tensors:
    """Return integrated gradients with the share of every jump; complete.

    With W the encoder's weights, the attribution of element p is (x_p - b_p) Σ_j W_jp c_j. The effect c_j of unit j
    sums the integral of ∂F/∂z_j over the stretches of the path on which it is supported, and over the switches at which
    it comes (+) or goes (-), ΔF / Σ_q (∂g/∂x_q)(x_q - b_q): g is the difference of the two pre-activations that cross,
    or of one and the threshold. So a jump ΔF is divided as the distributional gradient of its step is,
    ΔF (∂g/∂x_p)(x_p - b_p) / Σ_q (∂g/∂x_q)(x_q - b_q). Between switches the integral is exact where the head is
    piecewise linear (see `paths.integrated_gradients`). Raises ConsilienceError for a network without a dictionary.
    """
    references = batch.checked_references()
    # Where a branch is masked, its references differ from sample to sample, others are one for all.
    most = max(len(part) for part in references)
    references = tuple(part.expand(most, *part.shape[1:]) for part in references)
    here, there = flattened(batch.inputs).double(), flattened(references).double()
    results = batch.empty()
    for members, encoder, head in dictionaries(batch):
        columns = _Columns.of(head, encoder.encoder.bias, batch.auxiliary)
        for rows, lines in _paths(encoder, here, there, columns):
            effects = _effects(columns, lines, {name: part[rows] for name, part in batch.auxiliary.items()}, settings)
            ends = here[rows], there if len(there) == 1 else there[rows]
            moves = (effects @ encoder.encoder.weight) * (ends[0] - ends[1]).to(effects)
            sizes = [tensor[0].numel() for tensor in batch.inputs]
            for result, part in zip(results, moves.split(sizes, dim=3), strict=True):
                result[members, :, rows] = part.unflatten(3, result.shape[3:])
    return results


def dictionaries(batch: Batch) -> Iterator[tuple[list[int], SparseAutoencoder, EnsembleFunction]]:
    """Yield members that share a dictionary, the dictionary, and these members' heads as a function of codes.

    Raises ConsilienceError for a network that has none.
    """
    function, module = batch.function, batch.function.module
    if not isinstance(module, Encoded) or not isinstance(module.encoder, SparseAutoencoder):
        raise ConsilienceError(
            f"{type(module).__name__} reads no codes of a sparse dictionary, which this method of attribution follows; "
            "leave it out of attribution.methods"
        )
    encoders, heads = (
        {name.removeprefix(prefix): values for name, values in function.states.items() if name.startswith(prefix)}
        for prefix in ("encoder.", "head.")
    )
    left = list(range(function.members))
    while left:
        same = [m for m in left if all(torch.equal(part[m], part[left[0]]) for part in encoders.values())]
        encoder = function.member_module(left[0]).encoder.requires_grad_(False)
        own = {name: values[same] for name, values in heads.items()}
        yield same, encoder, EnsembleFunction(module.head, own, function.target_map, function.offset)
        left = [member for member in left if member not in same]


def _first(auxiliary: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: part[:1] for name, part in auxiliary.items()}


@dataclass(frozen=True)
class _Columns:
    """The affine front of heads: `base` (members, 1, width) and `matrix` (members, units + 1, width).

    Nobody's row, of zeros, is the last. The front's outputs, its cuts, lie side by side; `shapes` are theirs.
    """

    split: Split
    base: Tensor
    matrix: Tensor
    shapes: list[torch.Size]

    @classmethod
    def of(cls, head: EnsembleFunction, like: Tensor, auxiliary: Mapping[str, Tensor]) -> _Columns:
        """Read the front off its outputs for each unit alone; `like` (units,) is of the type that heads take."""
        zeros, units, first = torch.zeros_like(like)[None], torch.eye(len(like)).to(like), _first(auxiliary)
        split = Split(head, (zeros,), first)
        cuts = split.project((zeros,), first).cuts
        base = torch.cat([cut.flatten(2) for cut in cuts], dim=2)
        columns = torch.cat([cut.flatten(2) for cut in split.project((units,), first).cuts], dim=2)
        matrix = torch.cat([columns - base, torch.zeros_like(base)], dim=1)
        return cls(split, base, matrix, [cut.shape[2:] for cut in cuts])

    @property
    def numbers(self) -> int:
        """The numbers in the integral of a stretch."""
        return len(self.matrix) * self.split.function.targets * self.matrix.shape[2]

    def cuts(self, joined: Tensor) -> Tensors:
        """Return what the split takes, cuts (members, rows, *shape), of joined ones (members, rows, width)."""
        sizes = [shape.numel() for shape in self.shapes]
        parts = joined.to(self.matrix).split(sizes, dim=2)
        return tuple(part.unflatten(2, shape) for part, shape in zip(parts, self.shapes, strict=True))


@dataclass(frozen=True)
class _Lines:
    """The pre-activations on the way, `start` and `slope` (samples, units + 1), nobody's last, and their switches.

    `comes` and `goes` are the units that enter and leave, nobody where there is none.
    """

    start: Tensor
    slope: Tensor
    switches: Switches

    @classmethod
    def of(cls, encoder: SparseAutoencoder, here: Tensor, there: Tensor) -> _Lines:
        """Follow paths from `there` (samples or 1, inputs) to `here` (samples, inputs), float64."""
        weight, bias = encoder.encoder.weight.double(), encoder.encoder.bias.double()
        start = ((there - encoder.bias) @ weight.T + bias).expand(len(here), -1).contiguous()
        slope = (here - there) @ weight.T
        if encoder.activation == "top_k":
            found = switches_of_largest(start, slope, encoder.k)
        else:
            found = switches_of_threshold(start, slope, float(encoder.threshold))
        return cls(pad(start, (0, 1)), pad(slope, (0, 1)), found)

    def of_samples(self, rows: slice) -> _Lines:
        """Return some of the samples."""
        switches = Switches(**{name: part[rows] for name, part in vars(self.switches).items()})
        return _Lines(self.start[rows], self.slope[rows], switches)

    @property
    def first(self) -> Tensor:
        """The support at the start, bool (samples, units + 1)."""
        return pad(self.switches.first, (0, 1))

    @property
    def comes(self) -> Tensor:
        """The units that come, (samples, events)."""
        return self.switches.entering % self.start.shape[1]

    @property
    def goes(self) -> Tensor:
        """The units that go, (samples, events)."""
        return self.switches.leaving % self.start.shape[1]

    @property
    def edges(self) -> Tensor:
        """The ends of stretches, (samples, stretches + 1)."""
        return pad(pad(self.switches.positions, (1, 0)), (0, 1), value=1.0)


def _paths(
    encoder: SparseAutoencoder, here: Tensor, there: Tensor, columns: _Columns
) -> Iterator[tuple[slice, _Lines]]:
    """Yield a few samples at a time with their lines, so many that the integrals of their stretches fit in memory."""
    for first in range(0, len(here), SAMPLES_AT_ONCE):
        block = slice(first, min(first + SAMPLES_AT_ONCE, len(here)))
        lines = _Lines.of(encoder, here[block], there if len(there) == 1 else there[block])
        size = max(1, STRETCH_NUMBERS // (columns.numbers * (lines.edges.shape[1] - 1)))
        for begin in range(block.start, block.stop, size):
            rows = slice(begin, min(begin + size, block.stop))
            yield rows, lines.of_samples(slice(rows.start - first, rows.stop - first))


def _effects(columns: _Columns, lines: _Lines, auxiliary: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Tensor:
    """Return the effects of units (members, targets, samples, units)."""
    matrix = columns.matrix
    values = [_on_stretches(matrix, part, lines) for part in (lines.start, lines.slope)]
    values[0] += columns.base[:, :, None]
    # From the start of every stretch to the path's end, so that one less another is a stay.
    ahead = _integrals(columns, *values, lines.edges, auxiliary, settings).flip(3).cumsum(dim=3).flip(3)
    effects = torch.einsum("mtsw,muw->mtsu", ahead[:, :, :, 0], matrix) * lines.first
    jumps, real = _jumps(columns, *values, lines.switches.positions, auxiliary), lines.switches.jumps
    runs = lines.slope.gather(1, lines.comes) - lines.slope.gather(1, lines.goes)
    shares = torch.where(real, jumps / torch.where(real, runs, 1.0), 0.0)
    for units, sign in ((lines.comes, 1), (lines.goes, -1)):
        stays = torch.einsum("mtsew,msew->mtse", ahead[:, :, :, 1:], matrix[:, units])
        effects.scatter_add_(3, units.expand_as(stays), sign * (stays + shares.to(stays)))
    return effects[..., :-1]


def _on_stretches(matrix: Tensor, values: Tensor, lines: _Lines) -> Tensor:
    """Return what the supported units' `values` (samples, units + 1) put into the cuts of every stretch.

    float64 (members, samples, stretches, width), of which each is the one before and a unit more or less.
    """
    matrix = matrix.double()
    begin = torch.einsum("su,muw->msw", values * lines.first, matrix)[:, :, None]
    changes = sum(
        sign * matrix[:, units] * values.gather(1, units)[None, :, :, None]
        for units, sign in ((lines.comes, 1), (lines.goes, -1))
    )
    return torch.cat([begin, changes], dim=2).cumsum(dim=2)


def _integrals(
    columns: _Columns,
    starts: Tensor,
    slopes: Tensor,
    edges: Tensor,
    auxiliary: Mapping[str, Tensor],
    settings: Mapping[str, Any],
) -> Tensor:
    """Return the integral of dF/dcuts over every stretch, (members, targets, samples, stretches, width)."""
    lengths = edges.diff(dim=1)
    # Long stretches together: a head bends the more often, and what goes together takes the most pieces of any.
    order = lengths.flatten().argsort(descending=True, stable=True)
    order = order[: int((lengths > 0).sum())]
    samples, stretches = order // lengths.shape[1], order % lengths.shape[1]
    own = [part[:, samples, stretches] for part in (starts, slopes)]
    before, after = (edges[samples, stretches + step][None, :, None] for step in (0, 1))
    ends = [columns.cuts(own[0] + place * own[1]) for place in (after, before)]
    beside = {name: part[samples] for name, part in auxiliary.items()}
    means = mean_gradients(columns.split, *ends, beside, settings, PIECES)
    joined = torch.cat([mean.flatten(3) for mean in means], dim=3)
    result = joined.new_zeros(*joined.shape[:2], *lengths.shape, joined.shape[3])
    result[:, :, samples, stretches] = joined.mul_((after - before).to(joined))
    return result


def _jumps(
    columns: _Columns, starts: Tensor, slopes: Tensor, positions: Tensor, auxiliary: Mapping[str, Tensor]
) -> Tensor:
    """Return by how much F jumps at every switch, float64 (members, targets, samples, events)."""
    place = positions[None, :, :, None]
    before, after = (
        (starts[:, :, part] + place * slopes[:, :, part]).flatten(1, 2) for part in (slice(None, -1), slice(1, None))
    )
    beside = repeated(auxiliary, positions.shape[1])
    values = [columns.split.values(columns.cuts(part), beside) for part in (before, after)]
    return (values[1] - values[0]).unflatten(1, positions.shape).movedim(3, 1)
