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
CHANCES = 5  # pairs of unrelated choices
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


def stability(
    resampled: Sequence[np.ndarray], kmers: np.ndarray, kind: str, top: int, clusters: int, found: dict[int, int]
) -> dict[str, Any]:
    """Return how far clusters come out again on resamples of the pairs, and how far apart they are.

    `resampled` are importances (4^k,). `stability` is the mean adjusted Rand index over the k-mers that both choices
    have in common, with the 2.5th and 97.5th percentile: 1 for the same clusters, 0 for labels drawn at random. Two
    choices of k-mers that have nothing to do with each other are above 0 nevertheless, since what is clustered is where
    the k-mers are, not what they have. `silhouette` is that of the clusters themselves, by the distance that made them.
    NaN where nothing can be compared.
    """
    from sklearn.metrics import adjusted_rand_score, silhouette_score

    indices = []
    for importance in resampled:
        other = clustered(importance, kmers, kind, top, clusters)
        common = [place for place in found if place in other]
        if len(common) > 1:
            indices.append(adjusted_rand_score([found[p] for p in common], [other[p] for p in common]))
    places, labels = list(found), list(found.values())
    apart = float("nan")
    if 1 < len(set(labels)) < len(labels):
        if kind == "sequence":
            matrix = distances([kmers.ravel()[place] for place in places])
            apart = float(silhouette_score(matrix, labels, metric="precomputed"))
        else:
            points = np.column_stack(np.unravel_index(places, kmers.shape))
            apart = float(silhouette_score(points, labels))
    low, high = np.percentile(indices, [2.5, 97.5]) if indices else (np.nan, np.nan)
    return {
        "kind": kind,
        "clusters": len(set(labels)),
        "kmers": len(labels),
        "silhouette": apart,
        "stability": float(np.mean(indices)) if indices else float("nan"),
        "low": float(low),
        "high": float(high),
        "resamples": len(indices),
    }


def chance_stability(importance: np.ndarray, kmers: np.ndarray, kind: str, top: int, clusters: int, seed: int) -> float:
    """Return the mean stability of unrelated choices: clusters of importances that are shuffled over the k-mers.

    Two clusterings cut one space, whatever is important, so that k-mers they have in common share clusters far beyond
    what the adjusted Rand index calls chance. NaN where nothing can be compared.
    """
    random = np.random.default_rng(seed)
    held = np.flatnonzero(importance > 0)

    def shuffled() -> np.ndarray:
        other = np.zeros_like(importance)
        other[held] = random.permutation(importance[held])
        return other

    found = [stability([shuffled()], kmers, kind, top, clusters, own) for own in
             (clustered(shuffled(), kmers, kind, top, clusters) for _ in range(CHANCES)) if own]  # fmt: skip
    values = [one["stability"] for one in found if np.isfinite(one["stability"])]
    return float(np.mean(values)) if values else float("nan")
