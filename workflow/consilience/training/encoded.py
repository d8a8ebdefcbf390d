"""Training in two steps: an encoder without labels, then a head for every member on what the encoder gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from consilience.networks import Encoded, Encoder, flattened
from consilience.resume import Journal
from consilience.training.engine import EVALUATION_ROWS, Course, Fit, Job, Samples
from consilience.training.members import stable_seed

Train = Callable[[Course, Sequence[Job], Sequence[torch.nn.Module]], list[Fit]]


def train_encoded(
    course: Course,
    jobs: Sequence[Job],
    modules: Sequence[Encoded],
    train: Train,
    tick: Callable[[], None] = lambda: None,
    journal: Journal | None = None,
) -> tuple[list[Fit], dict[str, dict[str, Any]]]:
    """Train encoded modules; return each member's fit, and by subset of rows what its encoder tells of itself.

    Members that see the same rows share an encoder: it is fitted on these rows, whatever their labels, and encodes all
    samples once. `train` trains the heads on the codes. A member's state is that of the whole module.
    """
    journal = journal or Journal()
    fits: dict[int, Fit] = {}
    facts = {}
    for rows in dict.fromkeys(job.member.rows for job in jobs):
        places = [place for place, job in enumerate(jobs) if job.member.rows == rows]
        encoder, seen = modules[places[0]].encoder, jobs[places[0]].rows.to(course.device)
        training, validation = (flattened(role.inputs) for role in (course.training, course.validation))
        seed = stable_seed(course.seed, course.model, rows, "encoder")
        facts[rows] = encoder.fit(
            training.index_select(0, seen), validation, seed, tick, journal.part(f"encoder of {rows}")
        )
        coded = replace(
            course,
            training=Samples((_codes(encoder, training),), course.training.auxiliary),
            validation=Samples((_codes(encoder, validation),), course.validation.auxiliary),
        )
        state = {f"encoder.{name}": values.detach() for name, values in encoder.state_dict().items()}
        heads = train(coded, [jobs[place] for place in places], [modules[place].head for place in places])
        for place, fit in zip(places, heads, strict=True):
            head = {f"head.{name}": values for name, values in fit.state.items()}
            fits[place] = replace(fit, state=state | head)
    return [fits[place] for place in range(len(jobs))], facts


@torch.no_grad()
def _codes(encoder: Encoder, inputs: Tensor) -> Tensor:
    return torch.cat([encoder(rows) for rows in inputs.split(EVALUATION_ROWS)])
