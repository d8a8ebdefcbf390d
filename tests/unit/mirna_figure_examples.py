"""Pairs, maps and tables for the tests of the mirna slice's figures."""

import numpy as np
import pandas as pd

from consilience.domains.mirna.clusters import cluster_rows, clustered
from consilience.domains.mirna.fcgr import frequencies, kmers
from consilience.domains.mirna.groups import outcomes
from consilience.domains.mirna.sequences import encode, reverse_complement
from consilience.domains.mirna.shown import Shown
from consilience.domains.mirna.tables import COLUMNS

BRANCHES = ("mirna", "site")
MIRNA = "TGAGGTAGTAGGTTGTATAGTT"
MATCH = reverse_complement(MIRNA[1:8])
SIGNED = {"mutagenesis": True, "saliency": False, "grad_cam": False}


def example_shown(k=3, signed=SIGNED, pairs=6, primary="mutagenesis"):
    """Pairs of one miRNA; every other site holds its match at 11. Attributions lie on the k-mers that are there."""
    random = np.random.default_rng(1)
    sites = ["".join(random.choice(list("ACGT"), 30)) for _ in range(pairs)]
    sites = [site[:10] + MATCH + site[17:] if number % 2 == 0 else site for number, site in enumerate(sites)]
    table = pd.DataFrame({"id": [f"pair-{number:05d}" for number in range(pairs)], "mirna": MIRNA, "site": sites})
    labels = (np.arange(pairs) + 1) % 2
    predicted = np.linspace(0.9, 0.2, pairs)
    table = table.assign(
        label=labels,
        predicted=predicted,
        outcome=outcomes(labels, predicted),
        planted_position=np.where(labels == 1, 11, -1),
    )
    images = {branch: frequencies(encode(list(table[branch])), k) for branch in BRANCHES}
    maps = {
        name: {branch: _attributions(random, own, sign) for branch, own in images.items()}
        for name, sign in signed.items()
    }
    return Shown("small", primary, signed, table, images, maps)


def _attributions(random, images, signed):
    values = random.normal(size=images.shape) * (images > 0)
    return (values if signed else np.abs(values)).astype(np.float32)


def example_maps(shown, complementary=True):
    """Interactions of every pair, 3 windows of 5 along the match complementary in those that have one."""
    random, found = np.random.default_rng(2), {}
    for name, label in zip(shown.table["id"], shown.table["label"], strict=True):
        here = np.zeros((18, 26), bool)
        if label and complementary:
            here[[1, 2, 3], [12, 11, 10]] = True
        found[name] = random.normal(size=here.shape) + 3 * here, here
    return found


def interactions_table(shown, maps, parallel=0.03):
    rows = []
    for name, (values, here) in maps.items():
        outcome = shown.table["outcome"].iloc[shown.row(name)]
        row = {"model": "small", "sample": name, "outcome": outcome, "complementary": int(here.sum())}
        inside = {"at_complementary": values[here].mean(), "p_value": 0.01} if here.any() else {}
        rows.append(row | {"elsewhere": values[~here].mean(), "at_parallel": 0.25} | inside)
    tested = [row for row in rows if row["complementary"]]
    if tested:
        mean = np.mean([row["at_complementary"] for row in tested])
        more = {
            "complementary": len(tested),
            "at_complementary": mean,
            "elsewhere": 0.0,
            "p_value": 0.002,
            "parallel_p_value": parallel,
        }
        rows.append({"model": "small", "sample": "all", "outcome": "", **more})
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS["interactions"]))


def falls_of(shown):
    random = np.random.default_rng(3)
    return {branch: random.normal(size=(len(shown.table), shown.table[branch].str.len().max())) for branch in BRANCHES}


def drivers_of(k):
    names = [f"{branch}:{name}" for branch in BRANCHES for name in kmers(k).ravel()]
    table = pd.DataFrame({"feature": names, "average_attribution": np.linspace(-1, 1, len(names))})
    table["direction"] = np.where(table["average_attribution"] > 0, "positive", "negative")
    return table, table.iloc[[3, 70, 100]]


def names_in(folder):
    return {path.name for path in folder.iterdir()}


def cluster_tables(shown, clusters=2, chance=0.125):
    rows, stabilities, names = [], [], kmers(shown.k)
    for branch in BRANCHES:
        values = shown.maps["mutagenesis"][branch].reshape(len(shown.table), -1)
        sizes = np.abs(values).mean(axis=0)
        for kind in ("sequence", "image"):
            found = clustered(sizes, names, kind, 12, clusters)
            facts = {"model": "small", "branch": branch}
            rows += [facts | row for row in cluster_rows(sizes, values.mean(axis=0), names, kind, found)]
            more = {"kind": kind, "silhouette": 0.25, "stability": 0.75, "low": 0.5, "high": np.nan, "chance": chance}
            more |= {"chance_high": 0.9}
            stabilities.append(facts | more)
    return pd.DataFrame(rows), pd.DataFrame(stabilities)
