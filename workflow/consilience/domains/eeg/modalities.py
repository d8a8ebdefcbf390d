"""What each modality gives a prediction: Shapley values of two players, exact; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from consilience.domains.eeg.asked import Asked, renamed
from consilience.domains.eeg.montage import BRANCHES

INTERACTION = "interaction"
MODALITY_COLUMNS = (
    "target", "player", "samples", "value", "low", "high", "size", "share", "share_low", "share_high",
)  # fmt: skip


def shapley(coalitions: Mapping[frozenset[str], np.ndarray]) -> dict[str, np.ndarray]:
    """Return by player the Shapley value, and the interaction of both; arrays as those of the coalitions.

    A coalition's value v is F with its modalities as they are and the others at the reference. Of two players (Shapley
    1953) phi_e = ((v(e) - v()) + (v(e, s) - v(s))) / 2, and both sum to v(e, s) - v(). The interaction is
    v(e, s) - v(e) - v(s) + v() (Grabisch & Roubens 1999): positive where both together say more than each alone, of
    which each player's value holds half.
    """
    eeg, spectrogram = (frozenset([name]) for name in BRANCHES)
    none, both = coalitions[frozenset()], coalitions[eeg | spectrogram]
    values = {
        name: ((coalitions[own] - none) + (both - coalitions[other])) / 2
        for name, own, other in zip(BRANCHES, (eeg, spectrogram), (spectrogram, eeg), strict=True)
    }
    return values | {INTERACTION: (both - coalitions[eeg]) - (coalitions[spectrogram] - none)}


def eeg_share(values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return |phi_eeg| / (|phi_eeg| + |phi_spectrogram|), as the values are shaped; NaN where both are 0."""
    sizes = [np.abs(values[name]) for name in BRANCHES]
    total = sizes[0] + sizes[1]
    return np.divide(sizes[0], total, out=np.full(total.shape, np.nan), where=total > 0)


def modality_rows(values: Mapping[str, np.ndarray], asked: Asked) -> list[dict[str, Any]]:
    """Return a row a target and player; `values` are those of each sample's own class, the members' mean, (samples,).

    Target rows are over the samples of that class, `all` over all. `size` is the mean |value|, `share` the player's
    part of the sizes of both; the interaction has none, as it is part of both.
    """
    sizes = {name: np.abs(own) for name, own in values.items()}
    total, rows = sizes[BRANCHES[0]] + sizes[BRANCHES[1]], []
    for target, places in asked.targets():
        for player, own in values.items():
            row = {"target": target, "player": player, **asked.mean("value", own, places)}
            row["size"] = float(sizes[player][places].mean())
            if player != INTERACTION:
                row |= renamed(asked.share(sizes[player], total, places), "share", "share_")
            rows.append(row)
    return rows
