"""What a user must know of a study of fashion, a line each: how good the best model is, and what is weak."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from consilience.domains.fashion.agreement import FEWEST
from consilience.evaluation import with_interval

DEAD = 0.05
FAR_FROM_K = 0.10


def note_lines(
    quality: pd.DataFrame,
    agreement: pd.DataFrame,
    metrics: Mapping[str, Mapping[str, Any]],
    best: str,
    unsure: Sequence[str],
) -> list[str]:
    """Return the notes of a study.

    `quality` is dictionary.tsv and `agreement` agreement.tsv; `metrics` are the contents of metrics.json by model,
    `best` is the model to tell of, `unsure` names the models with too few confident pictures.
    """
    lines = [_headline(quality[quality["model"] == best], metrics[best], best)]
    for model in metrics:
        weak = list(_weaknesses(quality[quality["model"] == model], told=model == best))
        lines += [f"{model}: {'; '.join(weak)}"] if weak else []
    alone = list(_alone(agreement))
    if alone:
        lines.append(
            "these name no more of another method's top 1 % of pixels on the same picture than on others of its class: "
            f"{', '.join(alone)}"
        )
    if unsure:
        lines.append(
            f"fewer than {FEWEST} test pictures are right and confident, so that methods are not compared on them "
            f"alone: {', '.join(unsure)}"
        )
    return lines


def _entry(rows: pd.DataFrame, encoder: str, role: str, size: int | None = None) -> pd.Series:
    chosen = rows[(rows["encoder"] == encoder) & (rows["role"] == role)]
    return (chosen if size is None else chosen[chosen["size"] == size]).iloc[0]


def _components(rows: pd.DataFrame, size: int) -> pd.Series:
    """Return PCA on the test role with `size` components, or as many as there are where they are fewer."""
    most = rows.loc[rows["encoder"] == "pca", "size"].max()
    return _entry(rows, "pca", "test", min(size, most))


def _headline(rows: pd.DataFrame, metrics: Mapping[str, Any], model: str) -> str:
    test, trained = (_entry(rows, "autoencoder", role) for role in ("test", "train"))
    same = _components(rows, test["size"])
    return (
        f"{model}: accuracy {with_interval(metrics['test']['accuracy'])}; its dictionary leaves "
        f"{_percent(test)} of the variance of unseen pictures (PCA with {same['size']:.0f} components "
        f"{_percent(same)}), {100 * trained['dead_share']:.1f} % of atoms dead"
    )


def _weaknesses(rows: pd.DataFrame, told: bool) -> Iterator[str]:
    """Yield what is weak about a model's dictionary; its errors are `told` in the headline of the best model."""
    test, trained = (_entry(rows, "autoencoder", role) for role in ("test", "train"))
    same = _components(rows, test["size"])
    if trained["dead_share"] > DEAD:
        yield f"no training picture excites {100 * trained['dead_share']:.0f} % of its atoms"
    if test["normalized_mean_squared_error"] > same["normalized_mean_squared_error"] and not told:
        yield (
            f"its dictionary leaves more of unseen pictures ({_percent(test)}) than PCA with {same['size']:.0f} "
            f"components ({_percent(same)})"
        )
    if abs(test["l0"] - test["size"]) > FAR_FROM_K * test["size"]:
        yield f"unseen pictures excite {test['l0']:.1f} atoms rather than {test['size']:.0f}"


def _percent(row: pd.Series) -> str:
    return f"{100 * row['normalized_mean_squared_error']:.1f} %"


def _alone(agreement: pd.DataFrame) -> Iterator[str]:
    """Yield the methods, with their models, that share no more top pixels with another than maps of the class would."""
    rows = agreement[(agreement["metric"] == "jaccard_top_1_percent") & (agreement["set"] == "test")]
    rows = rows.dropna(subset=["low", "other_picture_of_class"])
    both = pd.concat([rows, rows.assign(method=rows["other"])])
    both["beyond"] = both["low"] > both["other_picture_of_class"]
    for method, beyond in both.groupby(["method", "model"], sort=False)["beyond"].any().groupby("method", sort=False):
        models = [model for (_, model), found in beyond.items() if not found]
        if models:
            yield f"{method} ({', '.join(models)})"
