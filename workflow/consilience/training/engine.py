"""The training of one member: batches from memory, early stopping on the validation role, the best state kept.

What the loop here and the stack (`stacked`) share is here too: a member's job, its batches and noise, its curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from consilience.errors import ConsilienceError
from consilience.networks import Dropout, dropouts
from consilience.resume import Part, State, copy_into, flat
from consilience.training.loss import batch_loss, sample_losses
from consilience.training.members import Member, member_seed
from consilience.training.optimizer import Optimizer

EVALUATION_ROWS = 4096
EVALUATION_BATCHES = 4


@dataclass(frozen=True)
class Samples:
    """What networks read: branches (samples, *shape) in order, and auxiliary tensors (samples, ...) by name."""

    inputs: tuple[Tensor, ...]
    auxiliary: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.inputs[0])

    def take(self, rows: Tensor) -> Samples:
        """Return the samples at `rows`, which may have any shape: (*rows.shape, ...) each."""
        return Samples(
            tuple(_take(branch, rows) for branch in self.inputs),
            {name: _take(values, rows) for name, values in self.auxiliary.items()},
        )

    def between(self, start: int, stop: int) -> Samples:
        """Return a range of samples, without a copy."""
        return Samples(
            tuple(branch[start:stop] for branch in self.inputs),
            {name: values[start:stop] for name, values in self.auxiliary.items()},
        )


def _take(values: Tensor, rows: Tensor) -> Tensor:
    return values.index_select(0, rows.reshape(-1)).view(*rows.shape, *values.shape[1:])


@dataclass(frozen=True)
class Labels:
    """What is predicted, (samples,) or (samples, classes), and weights (samples,); None where all weigh the same."""

    target: Tensor
    weight: Tensor | None = None

    def take(self, rows: Tensor | slice) -> Labels:
        """Return the labels at `rows`."""
        return Labels(self.target[rows], None if self.weight is None else self.weight[rows])


@dataclass(frozen=True)
class Job:
    """What one member is trained on: positions in the shared samples, and labels of its own (permuted or not)."""

    member: Member
    rows: Tensor
    training: Labels
    validation: Labels


@dataclass(frozen=True)
class Course:
    """What all members of a job share: samples of both roles, task, resolved recipe, and who they are."""

    model: str
    task: str
    seed: int
    recipe: Mapping[str, Any]
    training: Samples
    validation: Samples

    @property
    def device(self) -> torch.device:
        """Where the samples lie and training runs."""
        return self.training.inputs[0].device

    def generator(self, member: Member, stream: str) -> torch.Generator:
        """Return a generator (on the CPU, so that every device draws alike) for one stream of one member."""
        return torch.Generator().manual_seed(member_seed(self.seed, self.model, member, stream))


def evaluation_rows(recipe: Mapping[str, Any]) -> int:
    """Return how many rows a network is given at once without gradients.

    Training gives it a batch and keeps all that it computes, which fits; a few batches of which little is kept take
    about as much. What a row takes need not be known: thousands of rows of a large network take many gigabytes.
    """
    return min(EVALUATION_ROWS, EVALUATION_BATCHES * recipe["batch_size"])


@dataclass
class Fit:
    """A member's curve: (training loss, validation loss) by epoch, its best epoch (from 1) and the state it had."""

    losses: list[tuple[float, float]] = field(default_factory=list)
    best: int = 0
    state: dict[str, Tensor] = field(default_factory=dict)

    def record(self, course: Course, member: Member, training: float, validation: float) -> bool:
        """Add an epoch, and say whether it is the best so far; refuses losses that are not finite."""
        self.losses.append((training, validation))
        epoch = len(self.losses)
        if not (math.isfinite(training) and math.isfinite(validation)):
            worst = "nan" if math.isnan(training) or math.isnan(validation) else "infinite"
            raise ConsilienceError(
                f"model {course.model}, seed {member.seed}, epoch {epoch}: the loss became {worst}; lower "
                f"training.learning_rate ({course.recipe['learning_rate']:g})"
            )
        if self.best == 0 or validation < self.losses[self.best - 1][1]:
            self.best = epoch
        return self.best == epoch

    def stopped(self, recipe: Mapping[str, Any]) -> bool:
        """Say whether the validation loss has not improved for `patience` epochs, or the epochs are used up."""
        return len(self.losses) - self.best >= recipe["patience"] or len(self.losses) >= recipe["epochs"]

    def kept(self) -> State:
        """Return what `restore` needs."""
        return State(flat({"best": self.state}), {"losses": list(self.losses), "best": self.best})

    def restore(self, saved: State, module: nn.Module) -> None:
        """Take the curve and the best state of an earlier try with the same module."""
        self.losses = [(training, validation) for training, validation in saved.facts["losses"]]
        self.best = saved.facts["best"]
        self.state = copied_state(module)
        copy_into(self.state, saved.tensors_of("best"))


class Batches:
    """The batches and the dropout masks of one member, epoch by epoch, from its own generators.

    A last batch of a single row is left out, since batch norm has no variance there; the rows are in another order
    every epoch, so none is left out for good.
    """

    def __init__(self, course: Course, job: Job, module: nn.Module) -> None:
        self.rows = job.rows.cpu()
        self.size = course.recipe["batch_size"]
        self.device = course.device
        self.order = course.generator(job.member, "order")
        self.noise = course.generator(job.member, "noise")
        self.dropouts: dict[str, Dropout] = dict(dropouts(module))

    def epoch(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the rows in a new order, whose consecutive runs are the batches, and the masks of every dropout."""
        order = self.rows[torch.randperm(len(self.rows), generator=self.order)]
        if len(order) % self.size == 1 and len(order) > 1:
            order = order[:-1]
        masks = {name: part.draw(len(order), self.noise) for name, part in self.dropouts.items()}
        return order.to(self.device), {name: mask.to(self.device) for name, mask in masks.items()}

    def kept(self) -> dict[str, Tensor]:
        """Return the states of the generators."""
        return {"order": self.order.get_state(), "noise": self.noise.get_state()}

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Draw on from where an earlier try had come to."""
        self.order.set_state(saved["order"])
        self.noise.set_state(saved["noise"])


def train_member(
    course: Course, job: Job, module: nn.Module, tick: Callable[[], None] = lambda: None, part: Part | None = None
) -> Fit:
    """Train `module` (on the course's device) in a loop, and return its curve and best state; `tick` after an epoch.

    Modules that draw random numbers of their own do so from the member's stream too. `part` keeps what the loop has
    come to, and continues an earlier try.
    """
    loop, part = _Loop(course, job, module), part or Part()
    with torch.random.fork_rng(devices=loop.devices):
        torch.manual_seed(member_seed(course.seed, course.model, job.member, "module"))
        if part.saved is not None:
            loop.restore(part.saved)
            for _ in loop.fit.losses:
                tick()
        while not loop.fit.stopped(course.recipe):
            loop.epoch()
            tick()
            part.keep(loop.kept)
    part.end(loop.fit.kept())
    for own in loop.batches.dropouts.values():
        own.keep = torch.ones(1, device=course.device)
    return loop.fit


class _Loop:
    """A member in training: all that an epoch changes."""

    def __init__(self, course: Course, job: Job, module: nn.Module) -> None:
        self.course, self.job, self.module = course, job, module
        self.batches, self.fit = Batches(course, job, module), Fit()
        self.optimizer = Optimizer(module, course.recipe)
        self.devices = [course.device] if course.device.type == "cuda" else []

    def epoch(self) -> None:
        """Train for an epoch, evaluate, and hold the state if it is the best so far."""
        training = _epoch(self.course, self.job, self.module, self.optimizer, self.batches)
        if self.fit.record(self.course, self.job.member, training, evaluate(self.course, self.job, self.module)):
            self.fit.state = copied_state(self.module)

    def kept(self) -> State:
        """Return what `restore` needs to go on with the next epoch."""
        fit, random = self.fit.kept(), {"cpu": torch.get_rng_state()}
        for device in self.devices:
            random["cuda"] = torch.cuda.get_rng_state(device)
        groups = {
            "module": _changing(self.module), "optimizer": self.optimizer.tensors,
            "batches": self.batches.kept(), "random": random,
        }  # fmt: skip
        return State(fit.tensors | flat(groups), fit.facts)

    def restore(self, saved: State) -> None:
        """Go back to where an earlier try had come to: its end, or the end of an epoch."""
        self.fit.restore(saved, self.module)
        if self.fit.stopped(self.course.recipe):
            return
        copy_into(_changing(self.module), saved.tensors_of("module"))
        copy_into(self.optimizer.tensors, saved.tensors_of("optimizer"))
        self.batches.restore(saved.tensors_of("batches"))
        random = saved.tensors_of("random")
        torch.set_rng_state(random["cpu"])
        for device in self.devices:
            torch.cuda.set_rng_state(random["cuda"], device)


def copied_state(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a module's state, which later steps leave alone."""
    return {name: values.detach().clone() for name, values in module.state_dict().items()}


def _changing(module: nn.Module) -> dict[str, Tensor]:
    """Return what an epoch may change in a module: its state, and all other buffers but the masks of dropout."""
    masks = {f"{name}.keep" for name, _ in dropouts(module)}
    buffers = {name: own for name, own in module.named_buffers() if name not in masks}
    return buffers | module.state_dict()


def _epoch(course: Course, job: Job, module: nn.Module, optimizer: Optimizer, batches: Batches) -> float:
    """Train for an epoch and return the mean training loss."""
    module.train()
    order, masks = batches.epoch()
    total = torch.zeros((), dtype=torch.float64, device=course.device)
    for start in range(0, len(order), batches.size):
        rows = order[start : start + batches.size]
        for name, part in batches.dropouts.items():
            part.keep = masks[name][start : start + batches.size]
        samples, labels = course.training.take(rows), job.training.take(rows)
        outputs = module(*samples.inputs, **samples.auxiliary)
        loss = batch_loss(course.task, outputs, labels.target, labels.weight)
        for values in optimizer.parameters:
            values.grad = None
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(rows)
    return float(total) / len(order)


@torch.no_grad()
def evaluate(course: Course, job: Job, module: nn.Module) -> float:
    """Return the mean loss over the validation samples, in eval mode."""
    module.eval()
    total = torch.zeros((), dtype=torch.float64, device=course.device)
    size = evaluation_rows(course.recipe)
    for start in range(0, len(course.validation), size):
        part = slice(start, start + size)
        samples, labels = course.validation.between(part.start, part.stop), job.validation.take(part)
        losses = sample_losses(course.task, module(*samples.inputs, **samples.auxiliary), labels.target)
        total += (losses if labels.weight is None else losses * labels.weight).sum()
    return float(total) / len(course.validation)
