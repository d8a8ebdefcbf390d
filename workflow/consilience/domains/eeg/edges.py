"""What the prediction loses without an edge of the graphs, in tables; needs no torch.

An edge is taken out in both directions and in all windows: exact and the same in every run, where a learned mask of
edges (GNNExplainer: Ying et al. 2019) depends on its start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from consilience.domains.eeg.asked import Asked

EDGE_COLUMNS = (
    "branch", "first", "second", "target", "samples", "effect", "size", "low", "high", "spread", "rank",
)  # fmt: skip


def edge_rows(pairs: Sequence[tuple[str, str, str]], effects: np.ndarray, asked: Asked) -> list[dict[str, Any]]:
    """Return a row a target and edge that is there in some of its samples.

    `pairs` are (branch, first, second); `effects` (pairs, members, samples) are F of each sample's own class less F
    without the edge, NaN where the edge is not there. `effect` is the mean over members and samples, `size` the mean
    size of the members' mean, `spread` the standard deviation over members of a member's effect, and `rank` that by
    size among the target's edges of both branches, from 1.
    """
    rows = []
    for target, places in asked.targets():
        own = [
            {"branch": branch, "first": first, "second": second, "target": target}
            | _numbers(effects[place], places, asked)
            for place, (branch, first, second) in enumerate(pairs)
        ]
        own = [row for row in own if "samples" in row]
        ranks = rankdata([-row["size"] for row in own], method="min")
        rows += [row | {"rank": int(rank)} for row, rank in zip(own, ranks, strict=True)]
    return rows


def _numbers(effects: np.ndarray, places: np.ndarray, asked: Asked) -> dict[str, Any]:
    """Return the numbers of one edge from (members, samples); nothing where no sample has it."""
    mean = effects.mean(axis=0)
    found = asked.mean("effect", mean, places)
    if not found:
        return {}
    there = places[np.isfinite(mean[places])]
    by_member = effects[:, there].mean(axis=1)
    spread = float(by_member.std(ddof=1)) if len(by_member) > 1 else float("nan")
    return found | {"size": float(np.abs(mean[there]).mean()), "spread": spread}
