"""Which types of calls an atom is on in more, or less, often than their number lets expect."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.stats import false_discovery_control

from consilience.domains.variants.bias import NONE
from consilience.domains.variants.calls import TYPES
from consilience.domains.variants.enrichment import TRAINING, Enrichment, in_order, training_codes

LEAST_LIFT = 1.5  # an atom is special to a type that its calls are of so many times as often as all calls, or more
DIRECTIONS = np.array(["depleted", NONE, "enriched"])


def types_in_order(names: np.ndarray) -> list[str]:
    """Return the types `names`, those that are known of in their own order and others, sorted, after them."""
    return [name for name in TYPES if name in names] + sorted(set(names) - set(TYPES))


def specialization(
    codes: csr_matrix, features: pd.DataFrame, samples: pd.DataFrame, roles: np.ndarray, table: pd.DataFrame
) -> pd.DataFrame:
    """Return a row for every atom of the bias `table` and every type of training calls, most significant first.

    Columns: atom, feature, type, on (calls of the type with the atom on), support (of any type), share (on / support),
    base_rate (the type's share of all training calls), lift (share / base_rate), p_value (twice the smaller
    hypergeometric tail, at most 1), q_value (corrected over all rows) and direction: enriched, depleted or none.
    """
    active = training_codes(codes, features, roles, table)
    found = Enrichment.of(active, samples["type"][roles == TRAINING])
    p = np.minimum(1, 2 * np.minimum(found.upper(), found.lower()))
    shape = found.on.shape
    rank = np.array([types_in_order(found.names).index(name) for name in found.names], np.int64)
    rows = pd.DataFrame(
        {
            "atom": np.tile(table["atom"], shape[0]),
            "feature": np.tile(table["feature"], shape[0]),
            "type": np.repeat(found.names.astype(object), shape[1]),
            "on": found.on.ravel(),
            "support": np.tile(found.support, shape[0]),
            "share": found.share.ravel(),
            "base_rate": np.repeat(found.base_rate, shape[1]),
            "lift": found.lift.ravel(),
            "p_value": p.ravel(),
            "q_value": false_discovery_control(p.ravel()),
            "direction": DIRECTIONS[found.excess.ravel() + 1],
        }
    )
    away = (found.share - found.base_rate).ravel()
    return in_order(rows, p.ravel(), -np.abs(away), rows["atom"], np.repeat(rank, shape[1]))
