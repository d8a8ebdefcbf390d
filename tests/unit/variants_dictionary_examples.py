"""Small datasets of calls, with sequences that some calls lack, and embeddings of few atoms each."""

from __future__ import annotations

import numpy as np
import pandas as pd

from consilience.dataset_writer import write_dataset
from consilience.domains.variants.calls import CLASSES

DICTIONARY = {
    "expansion": 2, "k": 3, "activation": "batch_top_k", "sweep": [], "tolerance": 0.02, "seeds": 1, "epochs": 12,
    "batch_size": 32, "learning_rate": 5e-3, "auxiliary": 0.125, "auxiliary_atoms": 64, "maximum_samples": 50000,
}  # fmt: skip


def settings(dimension=12, **dictionary):
    return {"dimension": dimension, "dictionary": DICTIONARY | dictionary}


def branches(seed=0, calls=160):
    """Attributes (calls, 5), some absent, and k-mers (calls, 20), absent altogether for a fifth of the calls."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(calls, 4))
    attributes = hidden @ random.normal(size=(4, 5)) * [1, 10, 0.1, 1, 1] + random.normal(size=(calls, 5))
    kmers = random.dirichlet(np.ones(20), calls)
    masks = random.random((calls, 5)) < 0.1, np.repeat(random.random((calls, 1)) < 0.2, 20, axis=1)
    return {"attributes": (attributes, masks[0]), "consensus": (kmers, masks[1])}


def embeddings(seed=0, calls=400, width=16, atoms=20, active=2):
    """Rows made of few atoms each; one branch without a mask."""
    random = np.random.default_rng(seed)
    dictionary = random.standard_normal((width, atoms))
    dictionary /= np.linalg.norm(dictionary, axis=0)
    codes = random.uniform(1, 2, (calls, atoms)) * (random.random((calls, atoms)).argsort(axis=1) < active)
    return {"embedding": (3 + codes @ dictionary.T + 0.02 * random.standard_normal((calls, width)), None)}


def write(path, parts, labels=None, **columns):
    """Write a dataset of branches by name, (values, mask) each; return the path."""
    calls = len(next(iter(parts.values()))[0])
    labels = np.arange(calls) % 2 if labels is None else labels
    with write_dataset(path, "classification", "true call", "units", "made", "0" * 64, list(CLASSES)) as writer:
        names = [(f"{name} {place}", name) for name, (values, _) in parts.items() for place in range(values.shape[1])]
        writer.features(pd.DataFrame(names, columns=["name", "branch"]))
        start = 0
        for name, (values, mask) in parts.items():
            writer.branch(name, start + np.arange(values.shape[1]), calls, "feature", masked=mask is not None)
            writer.append(name, values, mask)
            start += values.shape[1]
        writer.target(labels)
        writer.samples(pd.DataFrame({"id": [f"call {place}" for place in range(calls)], **columns}))
    return path


def roles(calls):
    """A split: of seven calls, five train, one each validates and tests."""
    names = np.array(["train"] * 5 + ["validation", "test"])[np.arange(calls) % 7]
    return pd.DataFrame({"sample": [f"call {place}" for place in range(calls)], "group": "1", "role": names})
