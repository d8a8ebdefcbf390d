"""Whether atoms are on more, or less, often in calls of one kind than in calls of all kinds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.stats import hypergeom

from consilience.domains.variants.contingency import FALSE, tables
from consilience.errors import ConsilienceError

TRAINING = "train"


def columns_of(features: pd.DataFrame, atoms: np.ndarray) -> np.ndarray:
    """Return the columns (atoms,) of codes that hold `atoms`, by number; refuses one that the codes lack."""
    atoms = np.asarray(atoms)
    columns = pd.Index(features["atom"]).get_indexer(atoms)
    if (columns < 0).any():
        raise ConsilienceError(f"bias table: atom {atoms[columns < 0][0]} is none of the {len(features)} encoded ones")
    return columns


def training_codes(codes: csr_matrix, features: pd.DataFrame, roles: np.ndarray, table: pd.DataFrame) -> csr_matrix:
    """Return the codes (training calls, atoms of the bias `table`), all above 0.

    Raises ConsilienceError for a table of other codes: one with an atom they lack, or with another support.
    """
    columns = columns_of(features, table["atom"].to_numpy())
    chosen = codes[np.flatnonzero(roles == TRAINING)][:, columns]
    chosen.eliminate_zeros()
    counted, support = chosen.getnnz(axis=0), table["support"].to_numpy()
    if (counted != support).any():
        place = int(np.argmax(counted != support))
        raise ConsilienceError(
            f"bias table: atom {table['atom'].iloc[place]}: support {support[place]}; expected {counted[place]}, the "
            "training calls that have it on"
        )
    return chosen


@dataclass(frozen=True)
class Enrichment:
    """Counts by group of calls, each call being of one: `on` (groups, atoms) and `calls` (groups,), both int64.

    `names` (groups,) are sorted. Every atom is on in a call at least.
    """

    names: np.ndarray
    on: np.ndarray
    calls: np.ndarray

    @classmethod
    def of(cls, active: csr_matrix, groups: pd.Series) -> Enrichment:
        """Count the calls of `active` (calls, atoms) by the text in `groups` (calls,)."""
        names, places = np.unique(groups.to_numpy(str), return_inverse=True)
        counts = tables(active, np.full(len(places), FALSE), places)
        return cls(names, counts.on[:, FALSE], counts.totals[:, FALSE])

    @property
    def support(self) -> np.ndarray:
        """Calls with the atom on, (atoms,)."""
        return self.on.sum(axis=0)

    @property
    def share(self) -> np.ndarray:
        """The share of the group among calls with the atom on, (groups, atoms)."""
        return self.on / self.support

    @property
    def base_rate(self) -> np.ndarray:
        """The share of the group among all calls, (groups, 1)."""
        return self.calls[:, None] / self.calls.sum()

    @property
    def lift(self) -> np.ndarray:
        """The share as a multiple of the base rate, (groups, atoms)."""
        return self.share / self.base_rate

    @property
    def excess(self) -> np.ndarray:
        """The sign of what is on beyond the base rate, (groups, atoms): -1, 0 or 1, exactly."""
        return np.sign(self.on * self.calls.sum() - self.calls[:, None] * self.support)

    def upper(self) -> np.ndarray:
        """Return the hypergeometric chance of so many calls or more with the atom on, (groups, atoms)."""
        return hypergeom.sf(self.on - 1, self.calls.sum(), self.calls[:, None], self.support)

    def lower(self) -> np.ndarray:
        """Return the hypergeometric chance of so many calls or fewer with the atom on, (groups, atoms)."""
        return hypergeom.cdf(self.on, self.calls.sum(), self.calls[:, None], self.support)


def in_order(frame: pd.DataFrame, *keys: np.ndarray) -> pd.DataFrame:
    """Return the rows sorted by `keys`, the first above all."""
    return frame.iloc[np.lexsort(keys[::-1])].reset_index(drop=True)
