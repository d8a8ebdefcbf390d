"""What the prediction loses without an edge of the graphs, in tables; needs no torch.

An edge is taken out in both directions and in all windows: exact and the same in every run, where a learned mask of
edges (GNNExplainer: Ying et al. 2019) depends on its start.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, rankdata

from consilience.domains.eeg.asked import Asked

EDGE_COLUMNS = (
    "branch", "first", "second", "target", "samples", "effect", "size", "low", "high", "spread", "agreeing", "rank",
    "p_value", "least_p", "q_value",
)  # fmt: skip
FALSE_SHARE = 0.05  # of the edges that are called clear
MOST_FLIPPED = 12  # patients, all of whose signs are tried
FLIPS = 9999  # of more patients
ROUNDING = 1e-9


def edge_rows(pairs: Sequence[tuple[str, str, str]], effects: np.ndarray, asked: Asked) -> list[dict[str, Any]]:
    """Return a row a target and edge that is there in some of its samples.

    `pairs` are (branch, first, second); `effects` (pairs, members, samples) are F of each sample's own class less F
    without the edge, NaN where the edge is not there. `effect` is the mean over members and samples, `size` the mean
    size of the members' mean, `spread` the standard deviation over members of a member's effect, and `rank` that by
    size among the target's edges of both branches, from 1. `agreeing` is the share of members whose effect has the
    sign of `effect`. `p_value` is that of `sign_flip_p`, `least_p` the
    smallest that so many patients can give, and `q_value` the share of false ones among all rows with a p
    as small (Benjamini & Hochberg 1995).
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
    adjusted = false_discovery_control([row["p_value"] for row in rows]) if rows else []
    return [row | {"q_value": float(q)} for row, q in zip(rows, adjusted, strict=True)]


def sign_flip_p(values: np.ndarray, patients: np.ndarray, seed: int) -> float:
    """Return p, two-sided, of a mean over samples (samples,), by turning the signs of whole patients.

    Without an effect what a patient's samples sum to is as likely above 0 as below it. Of up to twelve patients all
    turns are tried, so that p is no less than 2 / 2^patients; of more, 9999 random ones, and the observed one.
    """
    names, codes = np.unique(patients, return_inverse=True)
    sums = np.bincount(codes, weights=values)
    if len(names) <= MOST_FLIPPED:
        signs = np.array(list(product((1, -1), repeat=len(names))))
    else:
        signs = np.random.default_rng(seed).choice((1, -1), size=(FLIPS + 1, len(names)))
        signs[0] = 1
    found = np.abs(signs @ sums)
    return float(np.mean(found >= found[0] * (1 - ROUNDING)))


def least_p(patients: int) -> float:
    """Return the smallest p of `sign_flip_p` for so many patients."""
    return 2 / 2**patients if patients <= MOST_FLIPPED else 1 / (FLIPS + 1)


def can_be_clear(edges: pd.DataFrame) -> bool:
    """Say whether any edge of one model's rows would be clear if every p were as small as its patients allow."""
    return bool((false_discovery_control(edges["least_p"]) < FALSE_SHARE).any())


def clear_edges(edges: pd.DataFrame) -> np.ndarray:
    """Return which rows of edges.tsv are clear, bool: q below 0.05, and all members of one sign."""
    return ((edges["q_value"] < FALSE_SHARE) & (edges["agreeing"] == 1)).to_numpy(bool)


def _numbers(effects: np.ndarray, places: np.ndarray, asked: Asked) -> dict[str, Any]:
    """Return the numbers of one edge from (members, samples); nothing where no sample has it."""
    mean = effects.mean(axis=0)
    found = asked.mean("effect", mean, places)
    if not found:
        return {}
    there = places[np.isfinite(mean[places])]
    by_member = effects[:, there].mean(axis=1)
    spread = float(by_member.std(ddof=1)) if len(by_member) > 1 else float("nan")
    return found | {
        "size": float(np.abs(mean[there]).mean()),
        "spread": spread,
        "agreeing": float(np.mean(np.sign(by_member) == np.sign(found["effect"]))),
        "p_value": sign_flip_p(mean[there], asked.patients[there], asked.seed),
        "least_p": least_p(len(np.unique(asked.patients[there]))),
    }
