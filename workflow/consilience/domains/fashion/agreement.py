"""How large the attributions of methods are, and whether methods point at the same pixels, picture by picture.

Plain arrays: what makes the maps is a reader of batches, and nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from consilience.faithfulness.agreement import chance_jaccard
from consilience.faithfulness.ranks import top, unit_ranks
from consilience.faithfulness.resampling import Resampling

if TYPE_CHECKING:
    from consilience.attribution.batches import BatchReader
    from consilience.attribution.methods import Method

STATISTICS = ("mean", "max", "sd", "percentile_99")
TOP_SHARE = 0.01
METRICS = ("pearson", "spearman", "jaccard_top_1_percent")
METHOD_COLUMNS = (
    "model", "set", "method", *(f"{name}{end}" for name in STATISTICS for end in ("", "_low", "_high")), "samples",
)  # fmt: skip
AGREEMENT_COLUMNS = (
    "model", "set", "method", "other", "metric", "value", "low", "high", "chance", "other_picture_of_class",
    "samples",
)  # fmt: skip
FEWEST = 10  # confident pictures of which means are told


def true_class_maps(reader: BatchReader, methods: Sequence[Method], rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the attributions to the true class, averaged over members, float32 (methods, rows, pixels).

    `labels` (samples of the dataset,) are all classes. Pictures of a class go together: one target is explained.
    """
    maps = np.empty((len(methods), len(rows), reader.sums.features), np.float32)
    for target in np.unique(labels[rows]):
        function = copy(reader.function)
        function.target_map = function.target_map[target : target + 1]
        function.offset = function.offset[target : target + 1]
        alone, places, done = replace(reader, function=function, _split=None), np.flatnonzero(labels[rows] == target), 0
        for part in alone.batches(rows[places]):
            batch = alone.read(part)
            own = places[done : done + len(part)]
            for line, method in enumerate(methods):
                found = alone.sums(batch.attribute(method, alone.settings))
                maps[line, own] = found[:, 0].mean(dim=0).cpu().numpy()
            done += len(part)
    return maps


def statistics(maps: np.ndarray) -> dict[str, np.ndarray]:
    """Return mean, max, sd (of the population) and 99th percentile of |a| over the pixels of maps (..., pixels)."""
    sizes = np.abs(maps.astype(np.float64))
    values = (sizes.mean(axis=-1), sizes.max(axis=-1), sizes.std(axis=-1), np.percentile(sizes, 99, axis=-1))
    return dict(zip(STATISTICS, values, strict=True))


def top_count(pixels: int) -> int:
    """Return how many pixels are one percent."""
    return max(1, round(TOP_SHARE * pixels))


def agreements(maps: np.ndarray, others: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return Pearson's and Spearman's correlation and the Jaccard index of the top 1 % of |a|, by metric.

    `maps` and `others` (the same where None) are (methods, samples, pixels); the measures (samples, methods, methods)
    compare every map with every other of the same sample. NaN where a map is constant.
    """
    count = top_count(maps.shape[-1])
    first = _lines(maps, count)
    second = first if others is None else _lines(others, count)
    found = [one @ other.transpose(0, 2, 1) for one, other in zip(first, second, strict=True)]
    found[2] = found[2] / (2 * count - found[2])
    return dict(zip(METRICS, (np.clip(found[0], -1, 1), np.clip(found[1], -1, 1), found[2]), strict=True))


def _lines(maps: np.ndarray, count: int) -> list[np.ndarray]:
    """Return rows (samples, methods, pixels) whose products are the measures (of the third, the shared pixels)."""
    sizes = np.abs(maps.astype(np.float64)).transpose(1, 0, 2)
    return [unit(sizes), unit_ranks(sizes), top(sizes, count).astype(np.float64)]


def unit(values: np.ndarray) -> np.ndarray:
    """Return rows (..., n) less their mean, of length one: products are Pearson's correlations; NaN for a constant."""
    centered = values - values.mean(axis=-1, keepdims=True, dtype=np.float64)
    # The mean of a constant may be rounded.
    centered[(values == values[..., :1]).all(axis=-1)] = 0
    lengths = np.linalg.norm(centered, axis=-1, keepdims=True)
    return np.divide(centered, lengths, out=np.full(centered.shape, np.nan), where=lengths > 0)


def method_rows(maps: np.ndarray, names: Sequence[str], resampling: Resampling) -> list[dict[str, Any]]:
    """Return the statistics of every method, means over pictures with their 95 % intervals, a row a method."""
    found = statistics(maps)
    rows = []
    for line, name in enumerate(names):
        row: dict[str, Any] = {"method": name}
        for statistic in STATISTICS:
            interval = resampling.interval(resampling.means(found[statistic][line]))
            row |= {statistic: interval["value"], f"{statistic}_low": interval["low"]}
            row[f"{statistic}_high"] = interval["high"]
        rows.append(row | {"samples": maps.shape[1]})
    return rows


def neighbors(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of samples with others of their class, and of another sample of the class for each of them.

    `labels` (samples,) are classes; the other sample is the one before, and the last one for the first of a class.
    """
    classes = [np.flatnonzero(labels == target) for target in np.unique(labels)]
    several = [places for places in classes if len(places) > 1] or [np.empty(0, int)]
    return np.concatenate(several), np.concatenate([np.roll(places, 1) for places in several])


def agreement_rows(
    maps: np.ndarray, names: Sequence[str], labels: np.ndarray, resampling: Resampling
) -> list[dict[str, Any]]:
    """Return the agreement of every pair of methods, means over pictures with their 95 % intervals, a row a metric.

    `labels` (samples,) are classes. `chance` is what unrelated maps give, `other_picture_of_class` what two methods
    give on different pictures of one class (see `neighbors`), a mean over pictures: how much maps agree that tell the
    class alone, whatever the picture shows.
    """
    places, others = neighbors(labels)
    found, elsewhere = agreements(maps), agreements(maps[:, places], maps[:, others])
    chance = dict.fromkeys(METRICS, 0.0)
    chance["jaccard_top_1_percent"] = chance_jaccard(maps.shape[2], top_count(maps.shape[2]))
    return [
        {"method": names[first], "other": names[second], "metric": metric}
        | resampling.interval(resampling.means(found[metric][:, first, second]))
        | {
            "chance": chance[metric],
            "other_picture_of_class": _mean(elsewhere[metric][:, [first, second], [second, first]]),
            "samples": maps.shape[1],
        }
        for metric in METRICS
        for first, second in combinations(range(len(names)), 2)
    ]


def _mean(values: np.ndarray) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")
