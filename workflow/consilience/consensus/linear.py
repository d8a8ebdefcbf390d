"""The linear model's coefficients on the consensus' axes, and its lists of top features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from consilience.consensus.lists import top_cells
from consilience.errors import ConsilienceError, nearest

CONSENSUS_KINDS = ("logistic", "ridge")


def consensus_kind(coefficients: pd.DataFrame) -> str:
    """Return the kind of linear model the consensus uses; refuses a table without one."""
    kinds = coefficients["kind"].unique()
    found = [kind for kind in CONSENSUS_KINDS if kind in kinds]
    if not found:
        raise ConsilienceError(f"coefficients: no {' or '.join(CONSENSUS_KINDS)} among {', '.join(sorted(kinds))}")
    return found[0]


def coefficient_table(
    coefficients: pd.DataFrame, kind: str, targets: Sequence[str], features: Sequence[str]
) -> np.ndarray:
    """Turn rows of (feature, target, kind, coefficient) into float64 (targets, features) of one kind.

    Refuses an unknown kind, a pair of target and feature that is missing or given twice, and what is not finite.
    """
    rows = coefficients[coefficients["kind"] == kind]
    if rows.empty:
        kinds = sorted(coefficients["kind"].unique())
        raise ConsilienceError(f"coefficients: no kind {kind!r}; it has {', '.join(kinds)}{nearest(kind, kinds)}")
    repeated = rows[rows.duplicated(["target", "feature"])]
    if len(repeated):
        target, feature = repeated.iloc[0][["target", "feature"]]
        raise ConsilienceError(f"coefficients: {kind}: target {target!r}, feature {feature!r} is given twice")
    wanted = pd.MultiIndex.from_product([list(targets), list(features)])
    values = rows.set_index(["target", "feature"])["coefficient"].reindex(wanted).to_numpy(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        target, feature = wanted[bad[0]]
        raise ConsilienceError(
            f"coefficients: {kind}: target {target!r}, feature {feature!r} has no finite coefficient "
            f"({len(bad)} of {len(values)} have none)"
        )
    return values.reshape(len(targets), len(features))


def linear_list(
    coefficients: np.ndarray, targets: Sequence[str], features: Sequence[str], top: int, direction: str
) -> pd.DataFrame:
    """List the top features of one sign by coefficient (targets, features), best first.

    Columns: target, rank (from 1), feature, coefficient; fewer than `top` rows for a target mean that fewer have it.
    """
    cells, rank = top_cells(coefficients, top, direction)
    return pd.DataFrame(
        {
            "target": np.array(targets, object)[cells[0]],
            "rank": rank,
            "feature": np.array(features, object)[cells[1]],
            "coefficient": coefficients[cells],
        }
    )
