"""Which atoms are on in the same calls more often than if they knew nothing of each other."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.stats import false_discovery_control, hypergeom

from consilience.domains.variants.enrichment import in_order, training_codes

FEWEST = 5  # calls that two atoms are on in together, for their pair to be told


def strongest(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the `count` most biased atoms of the bias `table`, among equals those of more support."""
    return in_order(table, -table["near_end"].abs(), -table["support"], table["atom"]).head(count)


def coactivation(
    codes: csr_matrix, features: pd.DataFrame, roles: np.ndarray, table: pd.DataFrame, network: int
) -> pd.DataFrame:
    """Return the pairs among the `network` strongest atoms that `FEWEST` training calls have both on, surest first.

    Columns: atom_a and atom_b, the smaller number first, support_a, support_b, together (calls with both on), expected
    (support_a support_b / calls), lift (together / expected), p_value (hypergeometric, so many together or more) and
    q_value, corrected over all pairs of these atoms, told or not.
    """
    chosen = strongest(table, network).sort_values("atom")
    active = training_codes(codes, features, roles, chosen)
    calls = active.shape[0]
    on = active.astype(bool).astype(np.int64)
    together = (on.T @ on).toarray()
    atom, support = chosen["atom"].to_numpy(), together.diagonal()
    first, second = np.triu_indices(len(atom), 1)
    both, expected = together[first, second], support[first] * support[second] / calls
    p = hypergeom.sf(both - 1, calls, support[first], support[second])
    pairs = pd.DataFrame(
        {
            "atom_a": atom[first],
            "atom_b": atom[second],
            "support_a": support[first],
            "support_b": support[second],
            "together": both,
            "expected": expected,
            "lift": both / expected,
            "p_value": p,
            "q_value": false_discovery_control(p),
        }
    )
    pairs = pairs[both >= FEWEST]
    return in_order(pairs, pairs["p_value"], -pairs["lift"], pairs["atom_a"], pairs["atom_b"])
