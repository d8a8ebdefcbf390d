"""A summary.json of a study in which all is well, which tests make worse, and the tables it could be of."""

import copy

import numpy as np
import pandas as pd

QUALITY = ("explained_variance", "normalized_mean_squared_error", "mean_squared_error", "l0", "dead_share")
ENCODED = {
    "dictionary": "24to48_k8", "imported": False, "inputs": 24, "atoms": 48, "k": 8, "rule": "the smallest k",
    "tolerance": 0.02, "codes_by_batch_size": {"32": 8.1, "256": 8.1},
    "quality": {
        role: dict(zip(QUALITY, (explained, 1 - explained, 0.3, l0, dead), strict=True))
        for role, explained, l0, dead in (("train", 0.8, 8.0, 0.02), ("validation", 0.7, 8.0, 0.1), ("test", 0.71, 8.3, 0.1))
    },
    "controls": {
        "principal_components": {"explained_variance": 0.61, "normalized_mean_squared_error": 0.39,
                                 "mean_squared_error": 0.4},
        "random_dictionary": dict(zip(QUALITY, (0.3, 0.7, 0.6, 8.0, 0.0), strict=True)),
    },
    "sweep": [
        {"dictionary": "24to48_k4", "atoms": 48, "k": 4, "sound": False}
        | dict(zip(QUALITY, (0.5, 0.5, 0.5, 4.9, 0.2), strict=True)),
        {"dictionary": "24to48_k8", "atoms": 48, "k": 8, "sound": True}
        | dict(zip(QUALITY, (0.7, 0.3, 0.3, 8.0, 0.1), strict=True)),
    ],
    "stability": {"seeds": 3, "mean_cosine": 0.8, "cosine_of_one_atom": 0.7, "matched_share": 0.75},
}  # fmt: skip


def metric(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


BASELINES = {
    "trees (raw features)": ((0.84, 0.8, 0.88), (0.06, 0.02, 0.1)),
    "logistic (raw features)": ((0.8, 0.7, 0.9), (0.1, 0.05, 0.15)),
    "trees (attributes)": ((0.7, 0.6, 0.8), (0.2, 0.1, 0.3)),
    "logistic (attributes)": ((0.72, 0.62, 0.82), (0.18, 0.1, 0.26)),
}


def performance(
    network=(0.9, 0.85, 0.94),
    quality=(0.65, 0.6, 0.7),
    size=(0.62, 0.58, 0.66),
    baselines=None,
    linear=(0.64, 0.6, 0.7),
):
    """The part of summary.json about predictors; None for a predictor that is not there.

    `baselines` are, by name, the area and what the network adds to it, as value, low and high.
    """

    def of(numbers):
        names = ("average_precision", "matthews_corrcoef", "balanced_accuracy", "f1", "precision", "recall",
                 "specificity", "log_loss")  # fmt: skip
        return (
            None if numbers is None else {"roc_auc": metric(*numbers)} | {name: metric(0.5, 0.4, 0.6) for name in names}
        )

    networks = {"narrow": of((0.7, 0.6, 0.8)), "wide": of(network)}
    gain = "network_roc_auc_gain"
    return {
        "best": "wide",
        "networks": networks,
        "baselines": {name: of(numbers) | {gain: metric(*more)} for name, (numbers, more) in (baselines or {}).items()},
        "logistic": of(linear),
        "quality": of(quality),
        "size": of(size),
    }


def atom(number, odds, confirmed=True):
    return {"feature": f"atom {number}", "odds": odds, "odds_low": 0.5 * odds, "odds_high": 2 * odds, "support": 31,
            "confirmed": confirmed, "strata": 4, "cmh_odds": 0.78, "cmh_low": 0.13, "cmh_high": 4.7, "cmh_q": 0.8,
            "reversed": False, "stability": 0.82}  # fmt: skip


def recovery_rows(**changes):
    """Rows of raw_recovery.tsv as in summary.json."""
    base = {"average_precision": 0.41, "p_value": 0.001, "slope_precision": 0.52, "slope_p_value": 0.001, "chance": 0.08,
            "sign_accuracy": 0.9, "planted": 10, "missing": 1, "features": 90, "atoms": 3}  # fmt: skip
    rows = [
        {"model": model, "signal": signal} | base | changes
        for model in ("wide", "voters", "logistic")
        for signal in ("all", "element", "size")
    ]
    marginal = {"average_precision": 0.99, "slope_precision": None, "slope_p_value": None}
    return [*rows, *({"model": "marginal", "signal": one} | base | marginal for one in ("all", "element", "size"))]


def good():
    """A summary.json without weaknesses."""
    by_role = copy.deepcopy(ENCODED["quality"])
    model = {"calls": 60, "whole": 0.5, "constant": 0.1, "gap": 1e-7,
             "branches": [{"branch": "alleles", "features": 32, "magnitude": 0.3, "share": 0.6, "auroc": None},
                          {"branch": "attributes", "features": 1, "magnitude": 0.2, "share": 0.4, "auroc": 0.7}],
             "strongest": ["+alleles ACG", "-type INV"]}  # fmt: skip
    return {
        "calls": {"train": {"FP": 74, "TP": 106}, "test": {"FP": 20, "TP": 30}},
        "performance": performance(baselines=BASELINES),
        "bias": {
            "alive": 48, "tested": 45, "significant": 20, "positive": 12, "negative": 8, "confirmed": 15,
            "confirmed_positive": 10, "confirmed_negative": 5, "within_strata": 18, "confirmed_within_strata": 12,
            "confirmed_both": 11, "turned_within_strata": 0, "several_strata": 17, "not_alike_in_strata": 2,
            "strongest_positive": [atom(3, 4.5)], "strongest_negative": [atom(7, 0.2, False)],
        },
        "types": {"atoms": 45, "specialized": 9, "by_type": {"DEL": 5, "INS": 4},
                  "strongest": [{"feature": "atom 8", "type": "INS", "share": 0.9, "base_rate": 0.2, "lift": 4.5}]},
        "together": {"pairs": 30, "significant": 3,
                     "strongest": [{"atom_a": 1, "atom_b": 5, "together": 8, "expected": 2.08, "lift": 3.8}]},
        "dictionary": {"name": "24to48_k8", "imported": False, "atoms": 48, "k": 8, "inputs": 24, "by_role": by_role,
                       "controls": copy.deepcopy(ENCODED["controls"]), "stability": dict(ENCODED["stability"]),
                       "negative_share": None, "codes_by_batch_size": {"32": 8.1, "256": 8.1},
                       "codes_by_sequence": None},
        "raw_attributions": {"models": {name: dict(model) for name in ("wide", "voters", "logistic")}},
        "recovery": recovery_rows(),
    }  # fmt: skip


def bias_table():
    """Seven tested atoms; four are significant, of which strata leave three, one of them turned.

    One that is not significant has an interval without 1, as is likely among many; no stratum tells of atom 4.
    """
    rows = [
        # atom, odds, near_end, significant, cmh_q, homogeneity_p, confirmed, confirmed_within, reversed
        (5, 6.0, 1.2, True, 0.001, 0.5, True, True, False),
        (9, 0.2, -1.1, True, 0.001, 0.01, True, False, False),
        (2, 3.0, 0.4, True, 0.02, np.nan, False, True, True),
        (4, 0.4, -0.2, True, 0.3, 0.9, False, False, False),
        (3, 1.9, 0.1, False, 0.2, 0.9, False, False, False),
        (1, 1.5, 0.0, False, 0.001, 0.9, False, True, False),
        (7, 0.9, 0.0, False, 0.9, 0.9, False, False, False),
    ]
    columns = ["atom", "odds", "near_end", "significant", "cmh_q", "homogeneity_p", "confirmed", "confirmed_within",
               "reversed"]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    names = [f"atom {number}" for number in table["atom"]]
    untold = table["atom"] == 4
    ratios = {"cmh_odds": 2.5, "cmh_low": 0.0, "cmh_high": np.inf}
    within = {name: np.where(untold, np.nan, value) for name, value in ratios.items()} | {
        "strata": np.where(untold, 0, 3)
    }
    return table.assign(
        feature=names, support=20, odds_low=table["odds"] / 2, odds_high=table["odds"] * 2, **within
    )  # fmt: skip
