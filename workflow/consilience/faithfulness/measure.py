"""All checks of a model: one reading of its samples a stage, two tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from consilience.attribution.methods import Own
from consilience.attribution.store import Attributions
from consilience.dataset import Dataset
from consilience.faithfulness.collect import RANDOMIZED_SAMPLES, explain_randomized, explain_trained
from consilience.faithfulness.randomization import stages
from consilience.faithfulness.resampling import Resampling
from consilience.faithfulness.subject import Subject, check_attributions
from consilience.faithfulness.tables import Scores, curve_table
from consilience.progress import progress
from consilience.training.ensemble import Ensemble


@dataclass(frozen=True)
class Faithfulness:
    """The tables of a model: `scores` and `curves`, with the columns `tables.SCORES` and `tables.CURVES`.

    `samples` counts those that were explained again: fewer than asked for where the test role has no more, or where
    the attributions of so many features would not fit in memory.
    """

    scores: pd.DataFrame
    curves: pd.DataFrame
    samples: int


def measure(
    dataset: Dataset,
    split: pd.DataFrame,
    ensemble: Ensemble,
    module: torch.nn.Module,
    attributions: Sequence[Attributions],
    settings: Mapping[str, Any],
    samples: int,
    resamples: int,
    top: int,
    seed: int,
    device: str = "cpu",
    own: Own | None = None,
) -> Faithfulness:
    """Check how far the attributions of a model can be trusted; `attributions` are its files, one a method.

    `split` has the columns sample, group and role, rows in dataset order; `settings` is the study's attribution
    section, `samples` how many of the test role are explained again, `resamples` how many times groups are resampled,
    and `top` the length of the lists that are compared. The other arguments are those of `explain_model`. Raises
    ConsilienceError without a test role, real labels or two features, and for parts that do not fit.
    """
    names = [one.method for one in attributions]
    subject = Subject.of(dataset, split, ensemble, module, names, settings, samples, seed, device, own)
    groups = pd.Series(split["group"].to_numpy(), index=split["sample"].astype(str))
    check_attributions(subject, attributions, groups.index)
    resampling = Resampling.of(subject.groups, resamples, seed)
    again = min(len(subject.rows), RANDOMIZED_SAMPLES) * stages(subject.function.states)
    with progress("checking", "sample", len(subject.rows) + again) as advance:
        trained = explain_trained(subject, resampling.codes, seed, advance)
        randomized = list(explain_randomized(subject, trained, seed, advance))
    scores = Scores(names, resampling)
    for one in attributions:
        scores.add_completeness(one, groups)
    scores.add_curves(trained, subject.features)
    few = Resampling.of(subject.groups[:RANDOMIZED_SAMPLES], resamples, seed)
    scores.add_randomization(trained, randomized[-1], few)
    scores.add_agreement(trained, min(top, subject.features))
    return Faithfulness(scores.frame(), curve_table(trained, randomized, subject.features), len(subject.rows))
