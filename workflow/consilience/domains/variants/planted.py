"""Which atoms stand for what a simulation planted, so that the chain can say how well they are found."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, hypergeom

from consilience.dataset import Dataset
from consilience.domains.variants.codes import code_features, sparse_codes
from consilience.domains.variants.levels import FALSE_SHARE

PREFIX = "planted_"
MOSTLY = 2 / 3  # of the calls that an atom is active in
FEWEST = 5  # calls


def planted(truth: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Return the truth of an encoded dataset, a row an atom, from that of the features before encoding.

    `truth` names for every feature the `signal` it is part of, and `carried_sign`, what carrying it says of a call;
    /samples tells of every call which signals it carries (`planted_<signal>`). An atom stands for a signal if at least
    two thirds of the calls it is active in carry it, more than by chance (hypergeometric, q < 0.05 by Benjamini and
    Hochberg over atoms and signals); for the one of which it holds the largest multiple of the base rate where that
    holds of several.
    """
    signals = truth.drop_duplicates("signal").set_index("signal")
    carried = dataset.samples[[PREFIX + name for name in signals.index]].to_numpy(np.float64)
    active = (sparse_codes(dataset) > 0).astype(np.float64)
    support, together = active.getnnz(axis=0), active.T @ carried
    share = together / np.maximum(support, 1)[:, None]
    chance = hypergeom.sf(together - 1, len(dataset), carried.sum(axis=0), support[:, None])
    certain = false_discovery_control(chance.ravel()).reshape(chance.shape) < FALSE_SHARE
    fits = certain & (share >= MOSTLY) & (support >= FEWEST)[:, None]
    lift = np.where(fits, share / np.maximum(carried.mean(axis=0), 1e-12), 0)
    chosen = signals.iloc[lift.argmax(axis=1)].reset_index()
    chosen["feature"] = code_features(dataset)["name"].to_numpy()
    chosen["sign"] = chosen["carried_sign"]
    return chosen[fits.any(axis=1)][["feature", "target", "sign", "strength", "effect", "signal"]]
