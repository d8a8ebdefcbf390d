"""Where the codes of a sparse dictionary switch on and off on the way from a reference to a sample.

On a straight line every pre-activation is a line too: a unit's is `start + position slope`, from 0 (the reference) to 1
(the sample). A unit is *supported* where its code is not 0. All here is float64: a switch has a place of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from consilience.errors import ConsilienceError

# Far beyond what a path of any real dictionary has: an endless walk is an error, not a wait.
MOST_EVENTS = 1_000_000


@dataclass(frozen=True)
class Switches:
    """The changes of support in order, (samples, events); samples with fewer than others end with some at 1 of nobody.

    `positions` float64, ascending; `entering` and `leaving` int64, the units that the support gains and loses, -1 for
    none; `jumps` bool, whether codes jump there: where a unit comes or goes at 0, they only bend. `first` bool
    (samples, units) is the support at the path's start.
    """

    first: Tensor
    positions: Tensor
    entering: Tensor
    leaving: Tensor
    jumps: Tensor


def switches_of_threshold(start: Tensor, slope: Tensor, threshold: float) -> Switches:
    """Return the switches of units, (samples, units) lines, that are supported above a threshold of 0 or more."""
    first = (start > threshold) | ((start == threshold) & (slope > 0))
    crossing = (threshold - start) / slope
    inside = (slope != 0) & (crossing > 0) & (crossing < 1)
    positions, units = torch.where(inside, crossing, 1.0).sort(dim=1, stable=True)
    most = int(inside.sum(dim=1).max()) if len(inside) else 0
    positions, units = positions[:, :most], units[:, :most]
    real = inside.gather(1, units)
    rising = slope.gather(1, units) > 0
    return Switches(
        first,
        torch.where(real, positions, 1.0),
        torch.where(real & rising, units, -1),
        torch.where(real & ~rising, units, -1),
        real & (threshold > 0),
    )


def switches_of_largest(start: Tensor, slope: Tensor, k: int) -> Switches:
    """Return the switches of units, (samples, units) lines, of which the k largest are supported where positive.

    The support is followed from event to event: a supported unit falls to 0; or one rises above 0, while there are
    fewer than k; or the largest of the others overtakes the smallest of the supported.
    """
    walk = _Walk(start, slope, k)
    events = []
    for _ in range(MOST_EVENTS):
        event = walk.next()
        if event is None:
            break
        events.append(event)
    else:
        raise ConsilienceError(f"the path from reference to sample has over {MOST_EVENTS} switches of the dictionary")
    if not events:
        nothing = torch.empty(len(start), 0, dtype=torch.long, device=start.device)
        return Switches(walk.first, nothing.double(), nothing, nothing, nothing.bool())
    positions, entering, leaving = (torch.stack(parts, dim=1) for parts in zip(*events, strict=True))
    return Switches(walk.first, positions, entering, leaving, (entering >= 0) & (leaving >= 0))


class _Walk:
    """The supports of all samples, each at its own position on its path."""

    def __init__(self, start: Tensor, slope: Tensor, k: int) -> None:
        self.start, self.slope, self.k = start, slope, k
        self.first = torch.zeros_like(start, dtype=torch.bool)
        self.first.scatter_(1, start.topk(k, dim=1).indices, True)
        self.first &= (start > 0) | ((start == 0) & (slope > 0))
        self.support = self.first.clone()
        self.position = start.new_zeros(len(start))
        # Where each line crosses 0; infinity for one that never does.
        self.zero = torch.where(slope != 0, -start / slope, torch.inf)

    def next(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Go to every sample's next event: position, entering and leaving, (samples,); None where all have ended."""
        full = self.support.sum(dim=1) == self.k
        falls, falling = torch.where(self.support & (self.slope < 0), self.zero, torch.inf).min(dim=1)
        rises, rising = torch.where(~self.support & (self.slope > 0), self.zero, torch.inf).min(dim=1)
        rises = torch.where(full, torch.inf, rises)
        overtakes, entering, leaving = self._overtaking(full, falls)
        places = torch.stack([falls, rises, overtakes]).maximum(self.position)
        places, kind = places.min(dim=0)
        here = places < 1
        if not here.any():
            return None
        entering = torch.where(here & (kind == 1), rising, torch.where(here & (kind == 2), entering, -1))
        leaving = torch.where(here & (kind == 0), falling, torch.where(here & (kind == 2), leaving, -1))
        self.position = torch.where(here, places, 1.0)
        for units, supported in ((entering, True), (leaving, False)):
            rows = (units >= 0).nonzero().squeeze(1)
            self.support[rows, units[rows]] = supported
        return self.position, entering, leaving

    def _overtaking(self, full: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return where one of the others overtakes a supported unit, and who whom; infinity where none does.

        The largest of the others less the smallest supported is a convex, piecewise linear function of the position,
        not above 0 at present: Newton's method from the right comes down to its root in as many steps as it has pieces.
        """
        place = before.clamp(max=1.0).maximum(self.position)
        entering = leaving = torch.full_like(place, -1, dtype=torch.long)
        going = full & (self.position < 1)
        while going.any():
            values = self.start + place[:, None] * self.slope
            least, inner = torch.where(self.support, values, torch.inf).min(dim=1)
            most, outer = torch.where(self.support, -torch.inf, values).max(dim=1)
            gain = _at(self.slope, outer) - _at(self.slope, inner)
            crossing = (_at(self.start, inner) - _at(self.start, outer)) / gain
            # Once the pair is that of the step before, the crossing is its own.
            going = going & (most > least) & (gain > 0) & (crossing < place)
            entering, leaving = torch.where(going, outer, entering), torch.where(going, inner, leaving)
            place = torch.where(going, crossing, place)
        return torch.where(entering >= 0, place, torch.inf), entering, leaving


def _at(lines: Tensor, units: Tensor) -> Tensor:
    return lines.gather(1, units[:, None]).squeeze(1)
