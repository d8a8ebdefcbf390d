"""Which atoms of a dictionary true calls have on more often than false ones, found in training and held up to test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.stats import false_discovery_control

from consilience.domains.variants.calls import CLASSES, size_bins
from consilience.domains.variants.contingency import (
    LEAST_EXPECTED,
    Odds,
    Tables,
    auroc,
    chi_square,
    fisher,
    least_expected,
    mantel_haenszel,
    odds_ratio,
    tables,
)
from consilience.domains.variants.levels import FALSE_SHARE
from consilience.errors import ConsilienceError

LISTED = 10  # atoms a direction in `top_biased`
POSITIVE, NEGATIVE, NONE = "positive", "negative", "none"
COUNTS = ("TP_on", "FP_on", "TP_off", "FP_off")
TOLD = ("atom", "odds", "support", "TP_on", "FP_on", "odds_low", "odds_high", "near_end", "fdr_corrected", "cmh_odds",
        "cmh_q", "confirmed", "confirmed_within")  # fmt: skip
# What else says both whether an atom is on and whether a call is true: calls are compared within groups of one kind.
STRATA = ["type", "bin", "dataset", "has_sequence"]
LIST_COLUMNS = ("feature", "target", "direction")


def strata_of(samples: pd.DataFrame) -> np.ndarray:
    """Return the stratum of calls (calls,), from 0: one for each combination of `STRATA` that occurs.

    That a call has a consensus sequence counts, since k-mers that it lacks stand at their mean: calls without one have
    few atoms on.
    """
    bins = size_bins(samples["size"].to_numpy())
    return samples.assign(bin=bins).groupby(STRATA, sort=True).ngroup().to_numpy()


def near_end(odds: Odds) -> np.ndarray:
    """Return the end of the interval of the log odds ratio that is nearest 0, and 0 where the interval holds 0."""
    with np.errstate(divide="ignore"):
        low, high = np.log(odds.low), np.log(odds.high)
    return np.where(low > 0, low, np.where(high < 0, high, 0))


def associations(counts: Tables) -> tuple[np.ndarray, np.ndarray, Odds]:
    """Test the pooled tables: whether Fisher's test was taken, since counts are small, p, and odds; (atoms,) each."""
    exact = least_expected(counts) < LEAST_EXPECTED
    _, p = chi_square(counts)
    p[exact] = fisher(counts, np.flatnonzero(exact))
    return exact, p, odds_ratio(counts)


def bias_table(
    codes: csr_matrix,
    features: pd.DataFrame,
    labels: np.ndarray,
    samples: pd.DataFrame,
    roles: np.ndarray,
    minimum_support: int,
) -> pd.DataFrame:
    """Return a row for every atom that at least `minimum_support` training calls have on, most biased first.

    `codes` (calls, atoms) has the columns that `features`, with name and atom, describes; `labels`, `samples` (type,
    size, dataset, has_sequence) and `roles` are by call, 1 being a true call. Counts, odds, `auroc` and
    `fdr_corrected`, over all rows, are of the training role, `cmh_*` within its strata (`strata`: those with
    information), and `test_*` of the test role, `test_cmh_*` within its strata; `test_q` is corrected over the atoms
    significant in training, `test_cmh_q` over those with a small `cmh_q`, and NaN for others. `confirmed` are those
    whose odds are on the same side of 1 in the test role and whose `test_q` is small, `confirmed_within` those of
    which `cmh_odds` and `test_cmh_q` say so. `near_end` is the end nearest 0 of the log odds ratio's interval;
    `direction` is that of `odds`, and `reversed` are atoms with a small `cmh_q` whose `cmh_odds` are on its other side.

    Raises ConsilienceError for a role without calls of both classes.
    """
    training, held_out = (_of_role(codes, labels, roles, role) for role in ("train", "test"))
    rows = np.flatnonzero(roles == "train")
    counts = tables(training, labels[rows], strata_of(samples.iloc[rows]))
    kept = np.flatnonzero(counts.on.sum(axis=(0, 1)) >= minimum_support)
    counts, training = Tables(counts.on[:, :, kept], counts.totals), training[:, kept]
    found = pd.DataFrame({"atom": features["atom"].to_numpy()[kept], "feature": features["name"].to_numpy()[kept]})
    found = pd.concat([found, _of_training(counts), _within_strata(counts)], axis=1)
    found["auroc"], found["auroc_active"] = auroc(training, labels[rows])
    rows = np.flatnonzero(roles == "test")
    test = tables(held_out[:, kept], labels[rows], strata_of(samples.iloc[rows]))
    found = pd.concat([found, _of_test(test, found)], axis=1)
    found["direction"] = np.select([found["odds"] > 1, found["odds"] < 1], [POSITIVE, NEGATIVE], NONE)
    turned = np.sign(found["odds"] - 1) * np.sign(found["cmh_odds"] - 1) < 0
    found["reversed"] = turned & (found["cmh_q"] < FALSE_SHARE)
    order = np.lexsort((found["atom"], found["p"], -found["near_end"].abs()))
    return found.iloc[order].reset_index(drop=True)


def _of_role(codes: csr_matrix, labels: np.ndarray, roles: np.ndarray, role: str) -> csr_matrix:
    false, true = np.bincount(labels[roles == role], minlength=2)
    if not (false and true):
        raise ConsilienceError(
            f"split: role {role} holds {true} {CLASSES[1]} and {false} {CLASSES[0]} calls; "
            "what the classes differ in needs calls of both"
        )
    return codes[np.flatnonzero(roles == role)]


def _counts(counts: Tables) -> dict[str, np.ndarray]:
    return {name: cell[0].astype(np.int64) for name, cell in zip(COUNTS, counts.pooled.cells, strict=True)}


def _of_training(counts: Tables) -> pd.DataFrame:
    exact, p, odds = associations(counts)
    support = counts.on.sum(axis=(0, 1))
    corrected = _corrected(p)
    return pd.DataFrame(
        {
            **_counts(counts),
            "odds": odds.ratio,
            "odds_low": odds.low,
            "odds_high": odds.high,
            "near_end": near_end(odds),
            "support": support,
            "support_share": support / counts.totals.sum(),
            "test": np.where(exact, "fisher", "chi2"),
            "p": p,
            "fdr_corrected": corrected,
            "significant": corrected < FALSE_SHARE,
        }
    )


def _within_strata(counts: Tables) -> pd.DataFrame:
    found = mantel_haenszel(counts)
    return pd.DataFrame(
        {
            "cmh_p": found.p,
            "cmh_q": _corrected(found.p),
            "cmh_odds": found.odds.ratio,
            "cmh_low": found.odds.low,
            "cmh_high": found.odds.high,
            "homogeneity_p": found.homogeneity_p,
            "strata": found.strata,
        }
    )


def _of_test(counts: Tables, training: pd.DataFrame) -> pd.DataFrame:
    _, p, odds = associations(counts)
    within, counted = mantel_haenszel(counts), _counts(counts)
    corrected = _corrected_of(p, training["significant"].to_numpy())
    corrected_within = _corrected_of(within.p, (training["cmh_q"] < FALSE_SHARE).to_numpy())
    same = (odds.ratio > 1) == (training["odds"] > 1)
    same_within = (within.odds.ratio > 1) == (training["cmh_odds"] > 1)
    return pd.DataFrame(
        {
            "test_TP_on": counted["TP_on"],
            "test_FP_on": counted["FP_on"],
            "test_odds": odds.ratio,
            "test_low": odds.low,
            "test_high": odds.high,
            "test_p": p,
            "test_q": corrected,
            "test_cmh_odds": within.odds.ratio,
            "test_cmh_p": within.p,
            "test_cmh_q": corrected_within,
            "confirmed": same & (corrected < FALSE_SHARE),
            "confirmed_within": same_within & (corrected_within < FALSE_SHARE),
        }
    )


def _corrected_of(p: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return p (atoms,) corrected for the number of those `asked`, NaN for others."""
    corrected = np.full(len(p), np.nan)
    corrected[asked] = _corrected(p[asked])
    return corrected


def _corrected(p: np.ndarray) -> np.ndarray:
    """Return p as Benjamini and Hochberg (1995) correct it for their number."""
    return false_discovery_control(p) if len(p) else np.zeros(0)


def top_biased(table: pd.DataFrame, count: int = LISTED) -> dict[str, list[dict[str, Any]]]:
    """Return the most biased atoms of either direction, at most `count`: significant, with an interval without 1.

    A ratio within strata that is not finite is null.
    """
    significant = table[table["significant"].astype(bool)]
    told = significant[list(TOLD)].rename(columns={"fdr_corrected": "q"})
    return {
        f"top_{name}_biased": [_plain(row) for row in told[sign * told["near_end"] > 0].head(count).to_dict("records")]
        for name, sign in (("tp", 1), ("fp", -1))
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"cmh_odds": row["cmh_odds"] if np.isfinite(row["cmh_odds"]) else None}


def chi2_list(table: pd.DataFrame, top: int) -> pd.DataFrame:
    """Return the significant atoms, at most `top` a direction, most biased first, as a list for the overlap."""
    significant = table[table["significant"]].assign(target=CLASSES[1])
    return significant.groupby("direction", sort=False).head(top)[list(LIST_COLUMNS)].reset_index(drop=True)


def landscape(table: pd.DataFrame, atoms: int) -> pd.DataFrame:
    """Count the atoms of `bias_table` by odds ratio, a row a set of them; `atoms` is the number of alive ones.

    Columns: set (tested, significant, cmh_significant, significant_within: both of these, confirmed, confirmed_within,
    or not_tested: too little support), atoms, above_1, below_1, above_2, below_half by odds ratio, that within strata
    for the three sets that strata tell, and support_mean, _median, _minimum and _maximum; what a set without atoms, or
    not tested, does not have is empty.
    """
    within = table["cmh_q"] < FALSE_SHARE
    sets = {
        "tested": (np.ones(len(table), bool), "odds"),
        "significant": (table["significant"], "odds"),
        "cmh_significant": (within, "cmh_odds"),
        "significant_within": (within & table["significant"].astype(bool), "cmh_odds"),
        "confirmed": (table["confirmed"], "odds"),
        "confirmed_within": (table["confirmed_within"], "cmh_odds"),
    }
    rows = [
        {"set": name} | _landscape_of(table[np.asarray(chosen, bool)], odds) for name, (chosen, odds) in sets.items()
    ]
    return pd.DataFrame([*rows, {"set": "not_tested", "atoms": atoms - len(table)}])


def _landscape_of(table: pd.DataFrame, ratio: str) -> dict[str, Any]:
    odds, support = table[ratio], table["support"]
    return {
        "atoms": len(table),
        "above_1": (odds > 1).sum(),
        "below_1": (odds < 1).sum(),
        "above_2": (odds > 2).sum(),
        "below_half": (odds < 0.5).sum(),
        "support_mean": support.mean(),
        "support_median": support.median(),
        "support_minimum": support.min(),
        "support_maximum": support.max(),
    }
