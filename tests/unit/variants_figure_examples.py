"""Codes of calls with planted leanings, and the tables of them, for the tests of the variants slice's figures."""

import functools
import itertools

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from consilience.domains.variants.bias import bias_table, landscape
from consilience.domains.variants.cards import atoms_table, card_atoms, card_examples, size_profiles
from consilience.domains.variants.coactivation import coactivation
from consilience.domains.variants.specialization import specialization

TYPES = {"DEL": 0.5, "INS": 0.22, "DUP": 0.12, "INV": 0.08, "BND": 0.08}


@functools.cache
def example_calls(calls=900, atoms=40, datasets=2, types=tuple(TYPES), strength=1.0, seed=0):
    """Samples, labels, roles and sparse codes; every third atom leans to true calls, every third to false ones."""
    random = np.random.default_rng(seed)
    labels = (random.random(calls) < 0.6).astype(int)
    shares = np.array([TYPES[name] for name in types]) / sum(TYPES[name] for name in types)
    kinds = random.choice(list(types), calls, p=shares)
    sizes = np.where(kinds == "BND", -1, 10 ** random.uniform(1.7, 4.3, calls)).astype(int)
    samples = pd.DataFrame(
        {
            "id": [f"call-{place:04d}" for place in range(calls)],
            "chromosome": random.integers(1, 11, calls).astype(str),
            "position": random.integers(1_000, 9_000_000, calls),
            "type": kinds,
            "size": sizes,
            "dataset": random.choice([f"bench_{place}" for place in range(datasets)], calls),
            "has_sequence": np.arange(calls) % 4 > 0,
        }
    )
    samples["contig"] = "chr" + samples["chromosome"]
    leanings = strength * np.resize([1, -1, 0], atoms) * random.uniform(0.3, 2.2, atoms)
    base = random.uniform(-4, -1, atoms)
    of_type = random.normal(0, 1.2, (len(types), atoms))[[list(types).index(kind) for kind in kinds]]
    # Atoms of a third share what excites them.
    shared = random.normal(0, 1, (calls, 3))[:, np.arange(atoms) % 3]
    logits = base + leanings * (labels[:, None] - 0.5) + of_type + shared
    on = random.random((calls, atoms)) < 1 / (1 + np.exp(-logits))
    codes = csr_matrix((on * random.gamma(2, 0.5, (calls, atoms))).astype(np.float32))
    roles = random.choice(["train", "validation", "test"], calls, p=[0.6, 0.1, 0.3])
    features = pd.DataFrame({"name": [f"atom {3 * place}" for place in range(atoms)], "atom": 3 * np.arange(atoms)})
    return {"codes": codes, "features": features, "labels": labels, "samples": samples, "roles": roles}


def example_tables(cards=5, network=40, minimum_support=5, **settings):
    """All tables of the analysis that tell of atoms, by name, as the slice's own functions make them."""
    given = example_calls(**settings)
    table = bias_table(**given, minimum_support=minimum_support)
    unlabeled = {name: value for name, value in given.items() if name != "labels"}
    chosen = card_atoms(table, cards)
    stability = np.random.default_rng(1).uniform(0.3, 1, given["features"]["atom"].max() + 1)
    coded = {name: given[name] for name in ("codes", "features", "roles")}
    return {
        "bias": table,
        "landscape": landscape(table, len(given["features"])),
        "specialization": specialization(**unlabeled, table=table),
        "atoms": atoms_table(**given, table=table, stability=stability),
        "cards": card_examples(**given, chosen=chosen, examples=10),
        "size_profiles": size_profiles(**given, chosen=chosen),
        "coactivation": coactivation(**coded, table=table, network=network),
    }


def example_facts(stability=True):
    """What encoded.json tells of a fitted dictionary."""
    facts = {
        "dictionary": "96to150_k16", "imported": False, "inputs": 96, "atoms": 150, "k": 16, "alive": 150,
        "rule": "the smallest k that explains enough", "codes_by_batch_size": {"32": 15.7, "256": 15.7, "4096": 15.7},
    }  # fmt: skip
    return facts | ({"stability": {"cosine_of_one_atom": 0.7}} if stability else {})


def example_quality():
    """dictionary.tsv and sweep.tsv."""
    kinds = [("dictionary", "train", 0.82), ("dictionary", "validation", 0.76), ("dictionary", "test", 0.74)]
    kinds += [("principal_components", "test", 0.61), ("random_dictionary", "test", 0.22)]
    quality = pd.DataFrame(kinds, columns=["encoder", "role", "explained_variance"])
    quality["l0"] = [15.2, 16.0, 15.7, np.nan, np.nan]
    sweep = pd.DataFrame(
        {
            "dictionary": ["96to150_k16", "96to150_k8", "96to300_k16"],
            "atoms": [150, 150, 300],
            "k": [16, 8, 16],
            "chosen": [True, False, False],
            "sound": [True, True, False],
            "explained_variance": [0.76, 0.65, 0.78],
            "dead_share": [0.01, 0.0, 0.08],
        }
    )
    return quality, sweep


def example_raw(planted=True, models=("narrow", "wide"), sides=(-1, 1)):
    """raw_attributions.tsv: k-mers of two branches and attributes, a row a model and feature; models may disagree."""
    random = np.random.default_rng(3)
    kmers = ["".join(letters) for letters in itertools.product("ACGT", repeat=3) if letters[1] in "AC"]
    names = [f"{branch} {kmer}" for branch in ("alleles", "consensus") for kmer in kmers]
    features = pd.DataFrame({"feature": ["type INV", "log10 size", "log1p PE", *names]})
    features["branch"] = ["attributes"] * 3 + [name.split()[0] for name in names]
    features["planted"] = 0.0
    features.loc[[0, 1, 10, 40], "planted"] = [-1.0, 1.0, 1.0, -1.0]
    size = random.gamma(1, 0.05, len(features)) + 0.3 * features["planted"].abs()
    sign = np.where(features["planted"] != 0, features["planted"], random.choice(sides, len(features)))
    sign = np.where(np.isin(sign, sides), sign, sides[0])
    rows = []
    for model in [*models, "logistic"]:
        magnitude = size * random.uniform(0.6, 1.4, len(features))
        # Of one model the first two, of the largest, have the other sign.
        sign = np.where((features.index < 2) & (model == "logistic"), -1, 1) * sign
        rows.append(features.assign(model=model, magnitude=magnitude, average_attribution=sign * magnitude))
    mean = pd.concat(rows[:-1]).groupby("feature", sort=False)[["magnitude", "average_attribution"]].mean()
    rows.insert(-1, features.assign(model="voters", **{name: mean[name].to_numpy() for name in mean}))
    table = pd.concat(rows, ignore_index=True)
    return table if planted else table.assign(planted=np.nan)


def example_branches(table):
    """raw_branches.tsv: of each model the features and half of the summed sizes by branch, without an area for one."""
    sums = (
        table.groupby(["model", "branch"], sort=False)["magnitude"].agg(features="size", magnitude="sum").reset_index()
    )
    sums["magnitude"] *= np.where(sums["branch"] == "attributes", 1.0, 0.5)
    total = sums.groupby("model")["magnitude"].transform("sum")
    area = np.where(sums["branch"] == "alleles", np.nan, 0.75)
    return sums.assign(share=sums["magnitude"] / np.maximum(total, 1e-300), auroc=area)


def example_recovery():
    return pd.DataFrame({"model": ["voters"], "signal": ["all"], "average_precision": [0.83], "chance": [0.06]})


def example_codes(tables, **settings):
    """By atom of the cards, its codes in true and in false training calls."""
    given, found = example_calls(**settings), {}
    rows = given["roles"] == "train"
    for atom in tables["cards"]["atom"].unique():
        column = given["codes"][:, list(given["features"]["atom"]).index(atom)].toarray()[:, 0]
        found[atom] = tuple(column[rows & (given["labels"] == label) & (column > 0)] for label in (1, 0))
    return found
