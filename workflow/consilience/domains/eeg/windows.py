"""When in a segment the attributions lie, window by window, and whether in the middle; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from consilience.attribution.names import FROM
from consilience.attribution.store import Attributions
from consilience.dataset import Dataset
from consilience.domains.eeg.asked import Asked, renamed
from consilience.domains.eeg.montage import BRANCHES

WINDOW_COLUMNS = (
    "method", "branch", "target", "window", "start_seconds", "stop_seconds", "samples", "share", "low", "high",
    "chance", "untrained", "beyond", "beyond_low", "beyond_high", "signed",
)  # fmt: skip
WINDOW_OCCLUSION = "window_occlusion"
BY_FEATURE = ("occlusion",)  # methods that take a feature out as a whole: what they tell has no window of its own


def has_windows(method: str) -> bool:
    """Say whether a method of the chain, whose name may say what it compares with, tells windows apart."""
    return method.partition(FROM)[0] not in BY_FEATURE


def occlusion_maps(falls: Mapping[str, np.ndarray], asked: Asked) -> dict[str, np.ndarray]:
    """Return by branch what F of each sample's own class loses without each window, (samples, windows, 1, 1).

    `falls` are (windows, members, samples, targets) by branch; the result is the members' mean, shaped like maps of
    attributions.
    """
    return {name: asked.own_class(own.mean(axis=1)).T[:, :, None, None] for name, own in falls.items()}


def own_class_maps(attributions: Attributions, asked: Asked, signed: bool) -> dict[str, np.ndarray]:
    """Return by branch the whole maps of each sample's own class, the members' mean, (samples, windows, nodes, bands).

    `asked` are the samples of the showcase, in its order; of a method without sign nothing is turned.
    """
    maps = {}
    for branch in BRANCHES:
        mean = attributions.showcase[branch][attributions.real].mean(axis=0, dtype=np.float64)
        own = np.moveaxis(asked.own_class(np.moveaxis(mean, (0, 1), (-1, -2))), -1, 0)
        maps[branch] = own if signed else np.abs(own)
    return maps


def window_shares(maps: np.ndarray) -> np.ndarray:
    """Return each window's part of the absolute attribution, (samples, windows); NaN for samples without any.

    `maps` are (samples, windows, nodes, bands). Absolute values of elements are summed, since what speaks for a class
    at one channel does not undo what speaks against it at another.
    """
    size = np.abs(maps).sum(axis=(2, 3))
    total = size.sum(axis=1, keepdims=True)
    return np.divide(size, total, out=np.full(size.shape, np.nan), where=total > 0)


def present_windows(dataset: Dataset, branch: str, rows: np.ndarray) -> np.ndarray:
    """Return which windows of the samples at `rows` are there at all, bool (samples, windows)."""
    mask = dataset.mask(branch, rows)
    if mask is None:
        return np.ones((len(rows), dataset.branches[branch].shape[0]), bool)
    return ~mask.all(axis=(2, 3))


def chances(present: np.ndarray) -> np.ndarray:
    """Return each window's share if all that are there had as much, (samples, windows)."""
    return present / np.maximum(present.sum(axis=1, keepdims=True), 1)


def central(windows: int) -> list[int]:
    """Return the window in the middle, or both of an even number."""
    return sorted({(windows - 1) // 2, windows // 2})


def central_share(shares: np.ndarray) -> np.ndarray:
    """Return the part of the windows in the middle, (samples,), from shares or chances (samples, windows)."""
    return shares[:, central(shares.shape[1])].sum(axis=1)


def window_rows(
    maps: Mapping[str, np.ndarray],
    present: Mapping[str, np.ndarray],
    asked: Asked,
    seconds: float,
    stride: float,
    signed: bool,
    untrained: Mapping[str, np.ndarray] | None = None,
) -> list[dict[str, Any]]:
    """Return a row a branch, target and window of one method: its share, and the mean of its summed attribution.

    `maps` are those of `own_class_maps`, `present` bool (samples, windows), by branch; a window is so many `seconds`
    long and starts `stride` after the one before, from the start of the branch's own segment. `signed` is NaN for a
    method without sign. `untrained` are maps of the networks before training: their share, and how far that of the
    trained ones lies `beyond` it, paired over samples. An even share is no null, since the architecture alone favors
    some windows.
    """
    rows = []
    for branch, own in maps.items():
        shares, totals, chance = window_shares(own), own.sum(axis=(2, 3)), chances(present[branch])
        blank = None if untrained is None else window_shares(untrained[branch])
        for target, places in asked.targets():
            places = places[np.isfinite(shares[places, 0])]
            if not len(places):
                continue
            resampling = asked.resampling(places)
            means = resampling.sums(shares[places]) / resampling.sums(np.ones((len(places), 1)))
            for window in range(own.shape[1]):
                start = window * stride
                row = {"branch": branch, "target": target, "window": window, "start_seconds": start}
                row |= {"stop_seconds": start + seconds, "samples": len(places)}
                row |= renamed(resampling.interval(means[:, window]), "share")
                row["chance"] = float(chance[places, window].mean())
                if blank is not None:
                    row["untrained"] = asked.mean("value", blank[:, window], places).get("value", float("nan"))
                    beyond = asked.mean("value", shares[:, window] - blank[:, window], places)
                    row |= renamed(beyond, "beyond", "beyond_") if beyond else {}
                row["signed"] = float(totals[places, window].mean()) if signed else float("nan")
                rows.append(row)
    return rows
