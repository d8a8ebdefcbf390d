"""How well the features that a simulation planted are found among those that attributions were pushed on to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from consilience.recovery import average_precision

ALL = "all"  # signals
VOTERS, LINEAR = "voters", "logistic"  # models: the mean of the voting networks, and logistic regression
MARGINAL = "marginal"  # no model: what single features tell by themselves


def with_truth(table: pd.DataFrame, truth: pd.DataFrame | None) -> pd.DataFrame:
    """Add to raw_attributions.tsv `planted`, the sign a feature was planted with (0: it was not), and its `signal`.

    Both are empty where no truth is known.
    """
    if truth is None:
        return table.assign(planted=np.nan, signal=None)
    known = truth.set_index("feature")
    signs = table["feature"].map(known["sign"]).fillna(0).astype(int)
    return table.assign(planted=signs, signal=table["feature"].map(known["signal"]))


def raw_recovery(table: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Hold raw_attributions.tsv against the truth, a row a model and signal (`all`, then each).

    For one signal, features planted with another are left out; what no dataset has was not found. Columns: model,
    signal, average_precision of ranking features by |average_attribution|, p_value (one-sided, that planted features
    rank no higher than others; Mann and Whitney), slope_precision and slope_p_value of ranking by |slope|, chance (the
    precision of random ranks), sign_accuracy (over planted features with a sign; empty without), planted, missing,
    features.
    """
    signals = [ALL, *truth["signal"].unique()]
    return pd.DataFrame(
        [
            {"model": model, "signal": signal} | _measured(own, truth, signal)
            for model, own in table.groupby("model", sort=False)
            for signal in signals
        ]
    )


def with_atoms(recovery: pd.DataFrame, standing: Mapping[str, int]) -> pd.DataFrame:
    """Add to raw_recovery.tsv `atoms`: how many stand for a signal, by its name in `standing`, and for any (`all`)."""
    known = dict(standing) | {ALL: sum(standing.values())}
    return recovery.assign(atoms=[int(known.get(signal, 0)) for signal in recovery["signal"]])


def _measured(own: pd.DataFrame, truth: pd.DataFrame, signal: str) -> dict[str, Any]:
    asked = truth if signal == ALL else truth[truth["signal"] == signal]
    others = truth.loc[~truth["feature"].isin(asked["feature"]), "feature"]
    ranked = own[~own["feature"].isin(others)].set_index("feature")
    hits = ranked.index.isin(asked["feature"])
    signed = asked[asked["sign"] != 0].set_index("feature")["sign"]
    right = np.sign(ranked["average_attribution"].reindex(signed.index)).to_numpy() == signed.to_numpy()
    precision, p_value = _ranked(ranked["average_attribution"], hits, len(asked))
    slope_precision, slope_p_value = _ranked(ranked["slope"], hits, len(asked))
    return {
        "average_precision": precision,
        "p_value": p_value,
        "slope_precision": slope_precision,
        "slope_p_value": slope_p_value,
        "chance": float(hits.mean()),
        "sign_accuracy": float(right.mean()) if len(signed) else np.nan,
        "planted": len(asked),
        "missing": len(asked) - int(hits.sum()),
        "features": len(ranked),
    }


def _ranked(scores: pd.Series, hits: np.ndarray, planted: int) -> tuple[float, float]:
    """Return average precision and p of ranking by size; NaN for scores that are not known."""
    sizes = scores.abs().to_numpy()
    if np.isnan(sizes).any():
        return np.nan, np.nan
    tested = hits.any() and not hits.all()
    p_value = mannwhitneyu(sizes[hits], sizes[~hits], alternative="greater").pvalue if tested else np.nan
    return average_precision(sizes, hits, planted), float(p_value)


def strongest(table: pd.DataFrame, model: str, count: int) -> Iterator[str]:
    """Yield the names of the strongest features of a model with their sign, such as +consensus ACGT."""
    for row in table[table["model"] == model].nlargest(count, "magnitude").itertuples():
        yield f"{'+' if row.direction > 0 else '-' if row.direction < 0 else ''}{row.feature}"
