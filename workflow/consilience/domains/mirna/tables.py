"""The tables of a miRNA study's analysis, filled model by model from whole maps of test pairs; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from consilience.attribution.store import Attributions
from consilience.dataset import Dataset
from consilience.domains.mirna.agreement import AGREEMENT_COLUMNS, agreement_rows
from consilience.domains.mirna.clusters import (
    CLUSTER_COLUMNS,
    KINDS,
    STABILITY_COLUMNS,
    chance_stability,
    cluster_rows,
    clustered,
    stability,
)
from consilience.domains.mirna.fcgr import kmers, pixels
from consilience.domains.mirna.groups import (
    COMPARISON_COLUMNS,
    OUTCOME_COLUMNS,
    POSITIVES,
    comparison_rows,
    outcome_rows,
    outcomes,
)
from consilience.domains.mirna.pairing import centered_strands, p_value, strand_p_value
from consilience.domains.mirna.positions import (
    BEFORE,
    NO_MATCH,
    NUCLEOTIDE_FALLS,
    aligned,
    enrichment,
    inside_windows,
    match_regions,
    per_nucleotide,
    per_window,
    seed_region,
    without_ends,
)
from consilience.domains.mirna.prepare import BRANCHES
from consilience.domains.mirna.sequences import encode
from consilience.faithfulness.resampling import Resampling

if TYPE_CHECKING:
    from consilience.domains.mirna.mutagenesis import Interactions

STATISTICS = ("mean", "sd", "min", "max", "mean_abs", "l1", "l2")
COLUMNS = {
    "attribution_statistics": ("model", "method", "branch", *STATISTICS, "samples"),
    "agreement": ("model", *AGREEMENT_COLUMNS),
    "positions": ("model", "method", "branch", "label", "position", "value", "low", "high", "samples"),
    "enrichment": (
        "model", "method", "branch", "region", "label", "share", "expected", "ratio", "low", "high", "p_value",
        "p_value_less", "samples",
    ),
    "clusters": ("model", *CLUSTER_COLUMNS),
    "cluster_stability": ("model", *STABILITY_COLUMNS),
    "outcomes": ("model", *OUTCOME_COLUMNS),
    "comparison": ("model", "method", *COMPARISON_COLUMNS),
    "interactions": (
        "model", "sample", "outcome", "complementary", "at_complementary", "at_parallel", "elsewhere", "p_value",
        "parallel_p_value",
    ),
}  # fmt: skip
STABILITY_RESAMPLES = 20
# Its k-mers have their share by place: those at the ends, where fewer overlap, have more, which is no enrichment.
BY_NUCLEOTIDE = "mutagenesis"
LABELS = {"pair": 1, "no pair": 0}


@dataclass(frozen=True)
class Pairs:
    """The test pairs whose whole maps are kept, in the order of these.

    `codes` and `windows` are by branch; `table` is the dataset's rows, `present` bool (samples, features) their k-mers.
    """

    table: pd.DataFrame
    labels: np.ndarray
    codes: dict[str, np.ndarray]
    windows: dict[str, np.ndarray]
    present: np.ndarray
    branches: np.ndarray
    k: int

    @classmethod
    def of(cls, dataset: Dataset, samples: Sequence[str], k: int) -> Pairs:
        """Look the samples up."""
        rows = dataset.rows_of(samples)
        table = dataset.samples.iloc[rows].reset_index(drop=True)
        codes = {branch: encode(list(table[branch])) for branch in BRANCHES}
        windows = {branch: pixels(own, k) for branch, own in codes.items()}
        present = by_feature(dataset, {branch: dataset.inputs(branch, rows) > 0 for branch in BRANCHES})
        branches = dataset.features["branch"].to_numpy()
        return cls(table, np.asarray(dataset.labels)[rows], codes, windows, present, branches, k)

    def resampling(self, rows: np.ndarray, resamples: int, seed: int) -> Resampling:
        """Return resamples of the families of some of the pairs."""
        return Resampling.of(self.table["family"].to_numpy()[rows], resamples, seed)


def by_feature(dataset: Dataset, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return arrays (samples, *shape), one a branch, side by side in the order of the features."""
    units = [dataset.branches[branch].units.ravel() for branch in BRANCHES]
    flat = np.concatenate([arrays[branch].reshape(len(arrays[branch]), -1) for branch in BRANCHES], axis=1)
    result = np.empty_like(flat)
    result[:, np.concatenate(units)] = flat
    return result


def maps_of(dataset: Dataset, attributions: Attributions) -> np.ndarray:
    """Return the whole maps of the showcase, the mean over the members on real labels, (samples, features)."""
    shown = attributions.showcase
    return by_feature(dataset, {branch: shown[branch][attributions.real, 0].mean(axis=0) for branch in BRANCHES})


def statistics_row(values: np.ndarray) -> dict[str, float]:
    """Return the statistics of attributions (samples, features), pooled; L1 and L2 are norms of all of them."""
    flat = values.astype(np.float64).ravel()
    size = np.abs(flat)
    found = (flat.mean(), flat.std(), flat.min(), flat.max(), size.mean(), size.sum(), np.sqrt(flat @ flat))
    return dict(zip(STATISTICS, map(float, found), strict=True))


class Tables:
    """The rows of all tables, as models are analyzed; `settings` are the study's analysis section."""

    def __init__(self, pairs: Pairs, settings: Mapping[str, Any], seed: int) -> None:
        self.pairs, self.settings, self.seed = pairs, settings, seed
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in COLUMNS}

    def add(
        self,
        model: str,
        maps: Mapping[str, np.ndarray],
        signed: Mapping[str, bool],
        predicted: np.ndarray,
        primary: str,
    ) -> None:
        """Analyze a model: `maps` (samples, features) by method, `predicted` probabilities (samples,) of a pair."""
        pairs, every = self.pairs, np.arange(len(self.pairs.labels))
        outcome = outcomes(pairs.labels, predicted)
        for method, own in maps.items():
            facts = {"model": model, "method": method}
            for branch in BRANCHES:
                part = own[:, pairs.branches == branch]
                row = facts | {"branch": branch} | statistics_row(part) | {"samples": len(own)}
                self.rows["attribution_statistics"].append(row)
                scores = per_window(part, pairs.windows[branch])
                self.add_positions(facts, branch, scores, pairs.k, enriched=method != BY_NUCLEOTIDE)
            self._extend("outcomes", {"model": model}, outcome_rows(own, method, pairs.branches, outcome))
        stacked, names = np.stack(list(maps.values())), list(maps)
        resampling = pairs.resampling(every, self.settings["resamples"], self.seed)
        held = pairs.present, pairs.branches
        rows = agreement_rows(stacked, names, [signed[name] for name in names], *held, resampling, self.seed)
        self._extend("agreement", {"model": model}, rows)
        features = np.array([f"{b}:{name}" for b in BRANCHES for name in kmers(pairs.k).ravel()], dtype=object)
        families = pairs.table["family"].to_numpy()
        rows = comparison_rows(maps[primary], pairs.present, features, pairs.labels, predicted, families)
        self._extend("comparison", {"model": model, "method": primary}, rows)

    def _extend(self, table: str, facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows[table] += [{**facts, **row} for row in rows]

    def add_falls(self, model: str, falls: Mapping[str, np.ndarray]) -> None:
        """Add profile and enrichment of the falls (samples, longest) under mutation, by branch."""
        for branch, values in falls.items():
            self.add_positions({"model": model, "method": NUCLEOTIDE_FALLS}, branch, values, 1)

    def add_positions(
        self, facts: Mapping[str, str], branch: str, scores: np.ndarray, width: int, enriched: bool = True
    ) -> None:
        """Add the profile of `scores` (samples, windows of `width` nucleotides), and their enrichment if asked."""
        pairs = self.pairs
        nucleotides = per_nucleotide(scores, width)
        length = nucleotides.shape[1]
        if branch == "mirna":
            region, name = np.broadcast_to(seed_region(length), nucleotides.shape), "nucleotides 2-8"
            profile, first, matched = nucleotides, 1, np.ones(len(nucleotides), bool)
        else:
            table = pairs.table
            starts, region, name = match_regions(table["mirna"], table["site"], table["planted_position"], length)
            profile, first, matched = aligned(nucleotides, starts), 1 - BEFORE, starts > NO_MATCH
            # Fewer k-mers cover the ends of a sequence, so that mutations change less there, match or not.
            scores = without_ends(scores, self.pairs.k - 1) if width == 1 else scores
        for label, value in LABELS.items():
            rows = np.flatnonzero((pairs.labels == value) & matched)
            if not len(rows):
                continue
            resampling = pairs.resampling(rows, self.settings["resamples"], self.seed)
            about = {**facts, "branch": branch, "label": label}
            self._add_profile(about, profile[rows], first, resampling)
            inside = inside_windows(region, width)[rows]
            chances = (resampling, self.settings["permutations"], self.seed)
            found = enrichment(np.abs(scores[rows]), inside, *chances) if enriched else None
            if found is not None:
                ratio = {"ratio": found.ratio["value"], "low": found.ratio["low"], "high": found.ratio["high"]}
                row = {"region": name, "share": found.share, "expected": found.expected}
                chance = {"p_value": found.p_value, "p_value_less": found.p_value_less}
                self.rows["enrichment"].append({**about, **row, **ratio, **chance, "samples": found.samples})

    def _add_profile(self, about: Mapping[str, str], profile: np.ndarray, first: int, resampling: Resampling) -> None:
        for place in range(profile.shape[1]):
            known = int(np.isfinite(profile[:, place]).sum())
            if known:
                interval = resampling.interval(resampling.means(profile[:, place]))
                self.rows["positions"].append({**about, "position": first + place, **interval, "samples": known})

    def add_clusters(self, model: str, maps: np.ndarray) -> None:
        """Add the clusters of important k-mers by `maps` (samples, features), and whether they come out again."""
        settings, names = self.settings, kmers(self.pairs.k)
        resampling = self.pairs.resampling(np.arange(len(maps)), STABILITY_RESAMPLES, self.seed)
        for branch in BRANCHES:
            part = maps[:, self.pairs.branches == branch]
            sizes = resampling.sums(np.abs(part)) / len(part)
            for kind in KINDS:
                choice = (names, kind, settings["top"], settings["clusters"])
                found = clustered(sizes[0], *choice)
                if found:
                    facts = {"model": model, "branch": branch}
                    self._extend("clusters", facts, cluster_rows(sizes[0], part.mean(axis=0), names, kind, found))
                    others = [clustered(own, *choice) for own in sizes[1:]]
                    about = (others, names, kind, found)
                    chance = chance_stability(*about, np.flatnonzero(sizes[0]), settings["clusters"], self.seed)
                    self._extend("cluster_stability", facts, [stability(*about) | chance])

    def add_interactions(
        self, model: str, found: Mapping[str, Interactions], outcome: Mapping[str, str], permutations: int
    ) -> None:
        """Add a row a pair, and one for all of label 1: whether complementary windows interact more than others.

        Others are the same places after a random turn (`at_complementary`), and for all also windows of the same
        letters on parallel strands (`strand_p_value`). Pairs of a family turn, and swap, together, since the maps of
        one miRNA look alike. Chosen negatives say nothing of pairing, and have rows of their own alone.
        """
        table = self.pairs.table
        family = dict(zip(table["id"].astype(str), np.unique(table["family"], return_inverse=True)[1], strict=True))
        nulls, own, strands = [], [], []
        for sample, one in found.items():
            here = one.complementary
            row = {"model": model, "sample": sample, "outcome": outcome[sample], "complementary": int(here.sum())}
            row |= {"elsewhere": float(one.map[~here].mean())}
            if one.parallel.any():
                row["at_parallel"] = float(one.map[one.parallel].mean())
            if here.any():
                value, null = one.at_complementary(permutations, np.random.default_rng([self.seed, family[sample]]))
                row |= {"at_complementary": value, "p_value": p_value(null, value)}
            self.rows["interactions"].append(row)
            if outcome[sample] in POSITIVES:
                own.append(row)
                nulls += [null] if here.any() else []
                strands.append((*centered_strands(one.map, here, one.parallel), family[sample]))
        if nulls:
            sums, counts, families = (np.array(part) for part in zip(*strands, strict=True))
            random = np.random.default_rng(self.seed)
            more = {"parallel_p_value": strand_p_value(sums, counts, families, permutations, random)}
            self.rows["interactions"].append({"model": model, **_of_all(own, np.sum(nulls, axis=0)), **more})

    def frames(self) -> dict[str, pd.DataFrame]:
        """Return all tables."""
        return {name: pd.DataFrame(rows).reindex(columns=list(COLUMNS[name])) for name, rows in self.rows.items()}


def _of_all(rows: Sequence[Mapping[str, Any]], null: np.ndarray) -> dict[str, Any]:
    """Return the row of all pairs: means over those with such windows, and p by the sum of their nulls."""
    tested = [row for row in rows if row["complementary"]]
    inside = [row["at_complementary"] for row in tested]
    parallel = [row["at_parallel"] for row in rows if "at_parallel" in row]
    return {
        "sample": "all",
        "outcome": "",
        "complementary": len(tested),
        "at_complementary": float(np.mean(inside)),
        "at_parallel": float(np.mean(parallel)) if parallel else float("nan"),
        "elsewhere": float(np.mean([row["elsewhere"] for row in tested])),
        "p_value": p_value(null, sum(inside)),
    }
