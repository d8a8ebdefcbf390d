"""The tables of a model's checks: scores with their intervals, and the curves behind them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from consilience.attribution.store import Attributions
from consilience.faithfulness.agreement import agreement, attributed, chance_jaccard, mean_over_pairs
from consilience.faithfulness.collect import Stage, Trained
from consilience.faithfulness.curves import KINDS, RANDOM, areas, counts_of
from consilience.faithfulness.randomization import TRAINED
from consilience.faithfulness.resampling import Resampling

SCORES = ("check", "method", "other", "metric", "value", "low", "high", "chance", "samples", "groups")
CURVES = ("curve", "method", "position", "label", "value")

Interval = dict[str, float | None]


class Scores:
    """The rows of the table of scores; each `add_` adds those of one check.

    `names` are the methods.
    """

    def __init__(self, names: Sequence[str], resampling: Resampling) -> None:
        self.names = list(names)
        self.resampling = resampling
        self.rows: list[dict[str, Any]] = []

    def _add(self, check: str, method: str, metric: str, interval: Interval, **more: Any) -> None:
        facts = {"samples": len(self.resampling.codes), "groups": self.resampling.groups}
        self.rows.append({"check": check, "method": method, "metric": metric, "other": "", **facts, **interval, **more})

    def frame(self) -> pd.DataFrame:
        """Return the table, with the columns `SCORES`; what is not defined is NaN."""
        frame = pd.DataFrame(self.rows, columns=SCORES)
        return frame.astype(dict.fromkeys(("value", "low", "high", "chance"), np.float64))

    def add_completeness(self, attributions: Attributions, groups: pd.Series) -> None:
        """Add how far a method's sums miss F(x) - F(reference), over all samples of its file.

        `groups` are the groups of samples by id. The relative gaps are the median and the 95th percentile, both
        divided by the median of |F(x) - F(reference)|.
        """
        if not attributions.complete:
            return
        real = attributions.real
        gap, change = attributions.gap[real], float(np.median(attributions.scale[real]))
        median, worst = float(np.median(gap)), float(np.percentile(gap, 95))
        relative, worst = (part / change if change > 0 else None for part in (median, worst))
        facts = {
            "other": attributions.reference,
            "samples": len(attributions.samples),
            "groups": groups.loc[[str(sample) for sample in attributions.samples]].nunique(),
        }
        metrics = {"median_gap": median, "relative_gap": relative, "worst_relative_gap": worst}
        for name, value in metrics.items():
            interval = {"value": value, "low": None, "high": None}
            self._add("completeness", attributions.method, name, interval, **facts)

    def add_curves(self, trained: Trained, features: int) -> None:
        """Add the areas under deletion and insertion, and their differences to that of random rankings."""
        resampling = self.resampling
        for kind in KINDS:
            scores = {
                name: resampling.ratios(areas(curve, features), trained.change)
                for name, curve in trained.curves[kind].items()
            }
            for name, score in scores.items():
                self._add(kind, name, "area", resampling.interval(score), chance=scores[RANDOM][0])
                if name != RANDOM:
                    interval = resampling.interval(score - scores[RANDOM])
                    self._add(kind, name, "area_minus_random", interval, chance=0.0)

    def add_randomization(self, trained: Trained, last: Stage, resampling: Resampling) -> None:
        """Add the rank correlation after the `last` stage; its chance level is what the input alone reaches.

        `resampling` is of the samples that were explained by the randomized networks.
        """
        facts = {"samples": len(resampling.codes), "groups": resampling.groups}
        for name in self.names:
            interval = resampling.interval(resampling.means(over_members(last[1][name])))
            level = resampling.means(over_members(trained.input_correlation[name]))[0]
            self._add("randomization", name, "rank_correlation", interval, chance=level, **facts)

    def add_agreement(self, trained: Trained, length: int) -> None:
        """Add the agreement of every two methods, and the mean over pairs of members of each method.

        Both, and their chance, are over the features to which any of those compared attributes something.
        """

        def chance(sums: np.ndarray) -> dict[str, float]:
            level = chance_jaccard(int(attributed(sums).sum()), length)
            return {"spearman": 0.0, f"jaccard_top_{length}": level}

        means = np.stack([trained.sums[name][0] for name in self.names])
        between, level = agreement(means, self.resampling, length), chance(means)
        for (row, first), (column, second) in combinations(enumerate(self.names), 2):
            pair = [measure[:, row, column] for measure in between]
            self._add_measures("methods", first, pair, level, second)
        for name in self.names:
            members = trained.sums[name][1:]
            if len(members) > 1:
                pairs = [mean_over_pairs(measure) for measure in agreement(members, self.resampling, length)]
                self._add_measures("seeds", name, pairs, chance(members))

    def _add_measures(
        self, check: str, name: str, measures: Sequence[np.ndarray], chance: dict[str, float], other: str = ""
    ) -> None:
        for (metric, level), least, values in zip(chance.items(), (-1.0, 0.0), measures, strict=True):
            interval = self.resampling.spread_interval(values, least, 1.0)
            self._add(check, name, metric, interval, other=other, chance=level)


def over_members(values: np.ndarray) -> np.ndarray:
    """Average (members, samples) over the members in which a correlation is defined; NaN where it is in none."""
    defined = np.isfinite(values)
    count, total = defined.sum(axis=0), np.where(defined, values, 0).sum(axis=0)
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def curve_table(trained: Trained, stages: Sequence[Stage], features: int) -> pd.DataFrame:
    """Return a row a point of every curve, with the columns `CURVES`.

    `position` is the share of features that are replaced, or the number of a stage; `label` what a stage randomized
    last.
    """
    shares, total = counts_of(features) / features, trained.change.sum()
    rows = []
    for kind in KINDS:
        for name, curve in trained.curves[kind].items():
            values = curve.sum(axis=0) / total if total > 0 else np.full(len(shares), np.nan)
            rows += [(kind, name, share, "", value) for share, value in zip(shares, values, strict=True)]
    for name in trained.ranks:
        rows.append(("randomization", name, 0, TRAINED, 1.0))
        for number, (label, found) in enumerate(stages, start=1):
            defined = over_members(found[name])
            defined = defined[np.isfinite(defined)]
            rows.append(("randomization", name, number, label, defined.mean() if len(defined) else np.nan))
    return pd.DataFrame(rows, columns=CURVES)
