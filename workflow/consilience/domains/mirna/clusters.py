"""Groups important k-mers: by their sequences, and in the classical form by their places in the image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

SHIFTS = 2  # nucleotides that two k-mers may be shifted against each other
SHIFT_RANGE = range(-SHIFTS, SHIFTS + 1)
KINDS = ("sequence", "image")
PERCENTILE = 75  # of |attribution| over the pixels that have any, above which the classical form takes a pixel
STARTS = 10  # of k-means
CHANCES = {"sequence": 100, "image": 20}  # pairs of unrelated choices; k-means takes its time
LEAST_COMMON = 10  # k-mers in two choices whose clusters are compared
CLUSTER_COLUMNS = ("branch", "kind", "cluster", "kmer", "row", "column", "attribution", "motif")
STABILITY_COLUMNS = (
    "branch",
    "kind",
    "clusters",
    "kmers",
    "silhouette",
    "stability",
    "low",
    "high",
    "chance",
    "chance_high",
    "resamples",
)


def mismatches(kmers: Sequence[str], others: Sequence[str]) -> np.ndarray:
    """Return by shift, from -SHIFTS to SHIFTS, the mismatches and shifted nucleotides, (shifts, kmers, others).

    A shift of s lays letter i of the other k-mer on letter i + s of the first; what overhangs costs s in all.
    """
    first, second = (np.array([list(kmer) for kmer in part]) for part in (kmers, others))
    k, found = first.shape[1], []
    for shift in SHIFT_RANGE:
        own = first[:, None, max(shift, 0) : k + min(shift, 0)]
        found.append((own != second[None, :, max(-shift, 0) : k - max(shift, 0)]).sum(axis=2) + abs(shift))
    return np.array(found)


def distances(kmers: Sequence[str]) -> np.ndarray:
    """Return the least mismatches of all pairs over the shifts, float64 (kmers, kmers)."""
    return mismatches(kmers, kmers).min(axis=0).astype(np.float64)


def by_sequence(kmers: Sequence[str], clusters: int) -> np.ndarray:
    """Return the cluster of each k-mer, from 1: average linkage of `distances`, cut into as many at most."""
    if len(kmers) < 2:
        return np.ones(len(kmers), int)
    return fcluster(linkage(squareform(distances(kmers)), "average"), min(clusters, len(kmers)), "maxclust")


def by_place(points: np.ndarray, clusters: int) -> np.ndarray:
    """Return the cluster of each pixel (row, column), from 1, by k-means: the earlier system's."""
    from sklearn.cluster import KMeans

    count = min(clusters, len(np.unique(points, axis=0)))
    fitted = KMeans(count, n_init=STARTS, random_state=0).fit(points.astype(np.float64))
    return fitted.labels_ + 1


def motif(kmers: Sequence[str]) -> str:
    """Return what a cluster's k-mers spell, each shifted as it fits the first best; N where no letter has half."""
    columns: dict[int, Counter[str]] = {}
    costs = mismatches(kmers[:1], kmers)[:, 0]
    for kmer, own in zip(kmers, costs.T, strict=True):
        # Of equal ones the smallest shift.
        shift = min(zip(own, map(abs, SHIFT_RANGE), SHIFT_RANGE, strict=True))[2]
        for place, letter in enumerate(kmer, start=shift):
            columns.setdefault(place, Counter())[letter] += 1
    most = max(sum(column.values()) for column in columns.values())
    spelled = []
    for place in sorted(columns):
        letter, times = columns[place].most_common(1)[0]
        # At the ends, what few k-mers reach is no part of what they share.
        if sum(columns[place].values()) * 2 >= most:
            spelled.append(letter if times * 2 >= sum(columns[place].values()) else "N")
    return "".join(spelled)


def chosen_places(importance: np.ndarray, kind: str, top: int) -> np.ndarray:
    """Return which pixels are clustered, the most important first: the `top` ones, or those above the percentile."""
    order = np.argsort(-importance, kind="stable")
    positive = importance[order] > 0
    if kind == "sequence":
        return order[:top][positive[:top]]
    some = importance[importance > 0]
    least = np.percentile(some, PERCENTILE) if len(some) else np.inf
    return order[importance[order] >= least]


def clustered(importance: np.ndarray, kmers: np.ndarray, kind: str, top: int, clusters: int) -> dict[int, int]:
    """Return the cluster of every chosen pixel; `importance` (4^k,) is >= 0, `kmers` (2^k, 2^k) are the names."""
    places = chosen_places(importance, kind, top)
    if not len(places):
        return {}
    return labeled(places, kmers, kind, clusters)


def labeled(places: np.ndarray, kmers: np.ndarray, kind: str, clusters: int) -> dict[int, int]:
    """Return the cluster of every pixel of some (places,)."""
    if kind == "sequence":
        labels = by_sequence(list(kmers.ravel()[places]), clusters)
    else:
        labels = by_place(np.column_stack(np.unravel_index(places, kmers.shape)), clusters)
    return dict(zip(places.tolist(), labels.tolist(), strict=True))


def cluster_rows(
    importance: np.ndarray, signed: np.ndarray, kmers: np.ndarray, kind: str, found: dict[int, int]
) -> list[dict[str, Any]]:
    """Return a row a clustered k-mer, clusters by their summed importance, numbered from 1."""
    totals: Counter[int] = Counter()
    for place, label in found.items():
        totals[label] += importance[place]
    rows = []
    for number, (label, _) in enumerate(totals.most_common(), start=1):
        places = [place for place, own in found.items() if own == label]
        spelled = motif([kmers.ravel()[place] for place in places]) if kind == "sequence" else ""
        for place in places:
            row, column = divmod(place, kmers.shape[1])
            rows.append(
                {
                    "kind": kind,
                    "cluster": number,
                    "kmer": kmers.ravel()[place],
                    "row": row,
                    "column": column,
                    "attribution": float(signed[place]),
                    "motif": spelled,
                }
            )
    return rows


def recurrence(found: dict[int, int], other: dict[int, int]) -> float:
    """Return the adjusted Rand index of two clusterings over the k-mers that both hold; NaN below `LEAST_COMMON`."""
    from sklearn.metrics import adjusted_rand_score

    common = [place for place in found if place in other]
    if len(common) < LEAST_COMMON:
        return float("nan")
    return float(adjusted_rand_score([found[place] for place in common], [other[place] for place in common]))


def silhouette(found: dict[int, int], kmers: np.ndarray, kind: str) -> float:
    """Return how far apart clusters lie by the distance that made them; NaN where nothing can be compared."""
    from sklearn.metrics import silhouette_score

    places, labels = list(found), list(found.values())
    if not 1 < len(set(labels)) < len(labels):
        return float("nan")
    if kind == "sequence":
        matrix = distances([kmers.ravel()[place] for place in places])
        return float(silhouette_score(matrix, labels, metric="precomputed"))
    return float(silhouette_score(np.column_stack(np.unravel_index(places, kmers.shape)), labels))


def stability(others: Sequence[dict[int, int]], kmers: np.ndarray, kind: str, found: dict[int, int]) -> dict[str, Any]:
    """Return how far clusters come out again on resamples of the pairs, and how far apart they are.

    `others` are the clusters of the resamples. `stability` is the mean `recurrence` with the 2.5th and 97.5th
    percentile: 1 for the same clusters, 0 for labels drawn at random. NaN where nothing can be compared.
    """
    values = [recurrence(found, other) for other in others]
    known = [value for value in values if np.isfinite(value)]
    low, high = np.percentile(known, [2.5, 97.5]) if known else (np.nan, np.nan)
    return {
        "kind": kind,
        "clusters": len(set(found.values())),
        "kmers": len(found),
        "silhouette": silhouette(found, kmers, kind),
        "stability": float(np.mean(known)) if known else float("nan"),
        "low": float(low),
        "high": float(high),
        "resamples": len(known),
    }


def chance_stability(
    others: Sequence[dict[int, int]],
    kmers: np.ndarray,
    kind: str,
    found: dict[int, int],
    held: np.ndarray,
    clusters: int,
    seed: int,
) -> dict[str, float]:
    """Return the mean recurrence of unrelated choices, and its 97.5th percentile: `chance` and `chance_high`.

    What is clustered is where the k-mers are, not what they have, and two choices with many in common cut one space
    alike, whatever is important. So each draw has the sizes of the clusters that were found and of those of a resample,
    and as many k-mers in common, or as many as there are; k-mers are drawn from `held`, the pixels (places,) with any
    importance. NaN where nothing can be compared.
    """
    random, values = np.random.default_rng(seed), []
    for draw in range(CHANCES[kind] if others else 0):
        other = others[draw % len(others)]
        common, drawn = sum(place in other for place in found), random.permutation(held)
        if common < LEAST_COMMON:
            continue
        first, rest = drawn[: len(found)], drawn[len(found) : len(found) + len(other) - common]
        second = np.concatenate([first[:common], rest])
        values.append(recurrence(*(labeled(places, kmers, kind, clusters) for places in (first, second))))
    known = [value for value in values if np.isfinite(value)]
    high = float(np.percentile(known, 97.5)) if known else float("nan")
    return {"chance": float(np.mean(known)) if known else float("nan"), "chance_high": high}
