"""What becomes of predictions without heads of the attention between modalities, in tables; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from consilience.domains.eeg.asked import ALL, Asked
from consilience.domains.eeg.performance import divergence

KNOCKOUT_COLUMNS = (
    "direction", "head", "member", "kind", "samples", "kl_change", "low", "high", "logit_change",
)  # fmt: skip


class Said(Protocol):
    """What members say: F as `logits` (members, samples, targets), and `probabilities` (members, samples, classes)."""

    logits: np.ndarray
    probabilities: np.ndarray


def knockout_rows(
    before: Said, after: Mapping[tuple[str, int | str, str], Said], numbers: Sequence[int], asked: Asked
) -> list[dict[str, Any]]:
    """Return a row a direction, head, member and kind of knock-out; `after` is by direction, head and kind.

    `kl_change` is the mean over samples, by votes, of the Kullback-Leibler divergence of the predicted from the voted
    classes, less that of the whole network: above 0 where the head helps. `logit_change` is the mean size of the change
    of F of each sample's own class. Heads are those of one member, with its number, which is judged alone; `ALL` heads
    are taken from all members, whose mean is judged.
    """
    rows = []
    for (direction, head, kind), said in after.items():
        facts = {"direction": direction, "head": head, "kind": kind}
        for member, old, new in _judged(before, said, numbers, head):
            change = divergence(asked.votes, new[1]) - divergence(asked.votes, old[1])
            moved = np.abs(asked.own_class(new[0]) - asked.own_class(old[0]))
            found = asked.mean("kl_change", change, weight=asked.weight)
            rows.append(facts | {"member": member, **found, "logit_change": float(moved.mean())})
    return rows


def _judged(
    before: Said, after: Said, numbers: Sequence[int], head: int | str
) -> Iterator[tuple[int | str, list[np.ndarray], list[np.ndarray]]]:
    """Yield members, or all of them, with logits and probabilities (samples, ...) before and after."""
    parts = [(one.logits, one.probabilities) for one in (before, after)]
    if head == ALL:
        yield ALL, *([own.mean(axis=0) for own in pair] for pair in parts)
        return
    for place, number in enumerate(numbers):
        yield number, *([own[place] for own in pair] for pair in parts)
