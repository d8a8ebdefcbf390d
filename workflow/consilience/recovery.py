"""How well planted features are found again, by the consensus, every model and member, and the linear models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from consilience.consensus.linear import coefficient_table
from consilience.consensus.lists import ModelAttribution, consensus_of, ensemble
from consilience.errors import ConsilienceError, nearest

EFFECTS = ("linear", "threshold", "interaction")
PRECISION_AT = 30
COLUMNS = (
    "scope", "name", "method", "target", "effect", "average_precision", f"precision_at_{PRECISION_AT}", "sign_accuracy",
    "planted", "missing", "features", "chance",
)  # fmt: skip


@dataclass(frozen=True)
class Score:
    """Signed scores (targets, features) of one scope: consensus, model, member, linear or marginal."""

    scope: str
    name: str
    method: str
    scores: np.ndarray


def attribution_scores(models: Sequence[ModelAttribution], method: str) -> list[Score]:
    """Score by average attribution: the consensus of the models that vote, every model, and every member."""
    scores = [Score("consensus", "consensus", method, consensus_of(models).average_attribution)]
    for model in models:
        scores.append(Score("model", model.model, method, ensemble(model).average_attribution))
        members = model.average_attribution
        scores += [Score("member", f"{model.model}/{index}", method, one) for index, one in enumerate(members)]
    return scores


def linear_scores(coefficients: pd.DataFrame, targets: Sequence[str], features: Sequence[str]) -> list[Score]:
    """Score by the coefficients of every kind of linear model, in the order of the table."""
    return [
        Score("linear", str(kind), "coefficient", coefficient_table(coefficients, kind, targets, features))
        for kind in coefficients["kind"].unique()
    ]


def average_precision(scores: np.ndarray, planted: np.ndarray, total: int) -> float:
    """Give the average precision Σ (R_n - R_{n-1}) P_n of ranking (features,) by `scores`; equal scores come at once.

    scikit-learn's `average_precision_score`, except that recall counts `total` planted features: those that were
    filtered out before any model saw them are never found. NaN where nothing is planted.
    """
    if not total:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(planted[order])[last_of_tie]
    gained = np.diff(hits, prepend=0)
    return float(np.sum(gained * hits / (last_of_tie + 1)) / total)


def precision_at(scores: np.ndarray, planted: np.ndarray, count: int = PRECISION_AT) -> float:
    """Give the share of planted features among the best `count` (all where there are fewer); ties in feature order."""
    return float(planted[np.argsort(-scores, kind="stable")[:count]].mean())


def recovery(
    truth: pd.DataFrame, features: Sequence[str], targets: Sequence[str], scores: Sequence[Score]
) -> pd.DataFrame:
    """Hold scores against the planted truth: a row a score, target and effect (`all`, then each that was planted).

    Features are ranked by |score|; targets for which nothing is planted have no row, so that there may be none. For one
    kind of effect the features planted with another are left out of the ranking: they are neither hits nor false calls.
    Planted features that were filtered out before the models count as not found, in average_precision as in
    sign_accuracy; `missing` says how many.

    Columns: scope, name, method, target, effect, average_precision, precision_at_30, sign_accuracy (over all planted
    features with a sign; an undecided sign is wrong; NaN where none has a sign), planted, missing, features (ranked),
    chance (the prevalence, what a random ranking gets for both precisions).
    """
    _check_truth(truth, targets)
    for score in scores:
        if score.scores.shape != (len(targets), len(features)):
            raise ConsilienceError(
                f"recovery: {score.scope} {score.name} by {score.method} has scores of shape {score.scores.shape}; "
                f"expected (targets, features) = ({len(targets)}, {len(features)})"
            )
    position = {feature: index for index, feature in enumerate(features)}
    cases = {target: list(_cases(planted, position)) for target, planted in truth.groupby("target", sort=False)}
    rows = [
        {"scope": score.scope, "name": score.name, "method": score.method, "target": target, "effect": effect}
        | case.measure(score.scores[index])
        for score in scores
        for index, target in enumerate(targets)
        for effect, case in cases.get(target, ())
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


@dataclass(frozen=True)
class _Case:
    """What was planted for one target, all effects or one: ranked columns, hits among them, signs of the planted."""

    ranked: np.ndarray
    hits: np.ndarray
    signed: np.ndarray
    signs: np.ndarray
    planted: int
    signed_planted: int

    def measure(self, values: np.ndarray) -> dict[str, float]:
        size = np.abs(values[self.ranked])
        right = np.count_nonzero(np.sign(values[self.signed]) == self.signs)
        return {
            "average_precision": average_precision(size, self.hits, self.planted),
            f"precision_at_{PRECISION_AT}": precision_at(size, self.hits),
            "sign_accuracy": right / self.signed_planted if self.signed_planted else float("nan"),
            "planted": self.planted,
            "missing": self.planted - int(self.hits.sum()),
            "features": len(self.ranked),
            "chance": float(self.hits.mean()),
        }


def _cases(planted: pd.DataFrame, position: Mapping[str, int]) -> Iterator[tuple[str, _Case]]:
    columns = planted["feature"].map(position)
    for effect in ("all", *(effect for effect in EFFECTS if (planted["effect"] == effect).any())):
        chosen = (planted["effect"] == effect) | (effect == "all")
        others = columns[~chosen].dropna().astype(int)
        ranked = np.setdiff1d(np.arange(len(position)), others)
        seen = chosen & columns.notna()
        signed = seen & (planted["sign"] != 0)
        yield (
            effect,
            _Case(
                ranked,
                np.isin(ranked, columns[seen].astype(int)),
                columns[signed].to_numpy(int),
                planted.loc[signed, "sign"].to_numpy(int),
                int(chosen.sum()),
                int((chosen & (planted["sign"] != 0)).sum()),
            ),
        )


def _check_truth(truth: pd.DataFrame, targets: Sequence[str]) -> None:
    for column, known in (("target", list(targets)), ("effect", list(EFFECTS)), ("sign", [-1, 0, 1])):
        foreign = truth.loc[~truth[column].isin(known), ["feature", column]].to_dict("list")
        if foreign[column]:
            raise ConsilienceError(
                f"truth: {column} {foreign[column][0]!r} of feature {foreign['feature'][0]!r}; "
                f"expected one of {', '.join(map(str, known))}{nearest(foreign[column][0], known)}"
            )
    repeated = truth[truth.duplicated(["feature", "target"])]
    if len(repeated):
        feature, target = repeated.iloc[0][["feature", "target"]]
        raise ConsilienceError(f"truth: feature {feature!r} is planted twice for target {target!r}")
