"""What the trained and the randomized network give for each sample, gathered batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from consilience.attribution.batches import Batch
from consilience.attribution.function import EnsembleFunction, Tensors
from consilience.faithfulness.curves import (
    CONTROLS,
    DRAWS,
    KINDS,
    MAGNITUDE,
    RANDOM,
    counts_of,
    curves,
    places_of,
    random_places,
)
from consilience.faithfulness.randomization import cascade
from consilience.faithfulness.ranks import correlations_where_held, unit_ranks
from consilience.faithfulness.subject import Subject

# Every stage of randomization explains its samples again by every method, so that it takes the first few alone.
RANDOMIZED_SAMPLES = 16
# The module randomized last, and the rank correlations by method (members, samples).
Stage = tuple[str, dict[str, np.ndarray]]


@dataclass
class Trained:
    """What the trained members give; samples in the subject's order.

    `targets` (samples,) are the explained ones: the only target, or the one that the members' mean puts first;
    `change` is |F(x) - F(reference)|, (samples,). `curves` by kind and method are float64 (samples, points),
    `sums` by method those of absolute attributions over the samples of each group, (1 + members, targets, groups,
    features), the mean member's first. Of the first `RANDOMIZED_SAMPLES` alone are `ranks` by method, `unit_ranks` of
    absolute attributions to the explained target, (members, samples, features), `held`, where these are not 0, and
    `input_correlation` by method, the rank correlation with the magnitude of the input, (members, samples).
    """

    targets: np.ndarray
    change: np.ndarray
    curves: dict[str, dict[str, np.ndarray]]
    input_correlation: dict[str, np.ndarray]
    ranks: dict[str, np.ndarray]
    held: dict[str, np.ndarray]
    sums: dict[str, np.ndarray] = field(default_factory=dict)


def explain_trained(subject: Subject, codes: np.ndarray, seed: int, advance: Callable) -> Trained:
    """Explain every sample by every method; `codes` (samples,) are the samples' groups, counted from 0."""
    samples, features, members = len(subject.rows), subject.features, subject.function.members
    few = min(samples, RANDOMIZED_SAMPLES)
    names, points = [method.name for method in subject.methods], len(counts_of(features))
    trained = Trained(
        targets=np.zeros(samples, np.int64),
        change=np.zeros(samples),
        curves={kind: {name: np.zeros((samples, points)) for name in [*names, *CONTROLS]} for kind in KINDS},
        input_correlation={name: np.zeros((members, few)) for name in names},
        ranks={name: np.zeros((members, few, features), np.float32) for name in names},
        held={name: np.zeros((members, few, features), bool) for name in names},
    )
    of_groups = (codes == np.arange(codes.max() + 1)[:, None]).astype(np.float64)
    for place, batch in subject.batches(samples):
        _add(trained, subject, of_groups[:, place], place, batch, seed)
        advance(of_groups[:, place].shape[1])
    return trained


def _add(trained: Trained, subject: Subject, of_groups: np.ndarray, place: slice, batch: Batch, seed: int) -> None:
    """Add the samples at `place`; `of_groups` (groups, samples) is 1 where a sample is of a group."""
    function, auxiliary = subject.function, batch.auxiliary
    values = function.values(batch.inputs, auxiliary).mean(dim=0).cpu().numpy()
    targets, own = values.argmax(axis=1), np.arange(len(values))
    references = tuple(other.expand_as(tensor) for other, tensor in zip(batch.references, batch.inputs, strict=True))

    def value(inputs: Tensors) -> np.ndarray:
        return function.values(inputs, auxiliary).mean(dim=0).cpu().numpy()[own, targets]

    ends = values[own, targets], value(references)
    trained.targets[place], trained.change[place] = targets, np.abs(ends[0] - ends[1])
    # The sum over each feature's elements of |z - z_ref|.
    distances = tuple((tensor - other).abs() for tensor, other in zip(batch.inputs, references, strict=True))
    magnitude = subject.reader.sums(distances).double().cpu().numpy()
    rankings = {MAGNITUDE: [places_of(magnitude)]}
    rankings[RANDOM] = [random_places(subject.ids[place], subject.features, draw, seed) for draw in range(DRAWS)]
    for method in subject.methods:
        attributions = subject.by_feature(batch, method)
        explained = attributions[:, targets, own]
        mean, sign = explained.mean(axis=0), np.sign(ends[0] - ends[1])[:, None]
        oriented = method.signed
        rankings[method.name] = [places_of(sign * mean if oriented else np.abs(mean))]
        _add_ranks(trained, method.name, place, np.abs(explained), magnitude)
        lines = np.abs(np.concatenate([attributions.mean(axis=0, keepdims=True), attributions]))
        trained.sums[method.name] = trained.sums.get(method.name, 0) + of_groups @ lines
    for name, places in rankings.items():
        found = [curves(value, batch.inputs, references, subject.units, one, ends) for one in places]
        for kind in KINDS:
            trained.curves[kind][name][place] = np.mean([one[kind] for one in found], axis=0)


def _add_ranks(trained: Trained, name: str, place: slice, absolute: np.ndarray, magnitude: np.ndarray) -> None:
    """Add what randomization is held against, of those samples at `place` that are among the first few."""
    few = trained.ranks[name][:, place].shape[1]
    if few:
        absolute, magnitude = absolute[:, :few], magnitude[:few]
        ranks, held = unit_ranks(absolute), absolute != 0
        trained.ranks[name][:, place], trained.held[name][:, place] = ranks, held
        found = correlations_where_held(ranks, held, unit_ranks(magnitude), magnitude != 0)
        trained.input_correlation[name][:, place] = found


def explain_randomized(subject: Subject, trained: Trained, seed: int, advance: Callable) -> Iterator[Stage]:
    """Yield each stage of randomization with the rank correlations with the trained network's attributions.

    A correlation is that of one sample and member, over the features to which either network attributes anything.
    """
    function, few = subject.function, min(len(subject.rows), RANDOMIZED_SAMPLES)
    for label, states in cascade(function.module.state_dict(), function.states, seed):
        randomized = EnsembleFunction(function.module, states, function.target_map, function.offset)
        found = {method.name: np.zeros((function.members, few)) for method in subject.methods}
        for place, batch in subject.batches(few, randomized):
            targets = trained.targets[place]
            for method in subject.methods:
                explained = subject.by_feature(batch, method)[:, targets, np.arange(len(targets))]
                known = trained.ranks[method.name][:, place], trained.held[method.name][:, place]
                found[method.name][:, place] = correlations_where_held(
                    unit_ranks(np.abs(explained)), explained != 0, *known
                )
            advance(len(targets))
        yield label, found
