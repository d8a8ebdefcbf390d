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
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from consilience.errors import ConsilienceError
from consilience.networks import Dropout, dropouts
from consilience.training.loss import batch_loss, sample_losses
from consilience.training.members import Member, member_seed

EVALUATION_ROWS = 4096
EVALUATION_BATCHES = 4
SECOND_MOMENT = 0.999
EPSILON = 1e-8


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


def train_member(course: Course, job: Job, module: nn.Module, tick: Callable[[], None] = lambda: None) -> Fit:
    """Train `module` (on the course's device) in a loop, and return its curve and best state; `tick` after an epoch.

    Modules that draw random numbers of their own do so from the member's stream too.
    """
    batches, fit = Batches(course, job, module), Fit()
    optimizer = Optimizer(module, course.recipe)
    devices = [course.device] if course.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(member_seed(course.seed, course.model, job.member, "module"))
        while not fit.stopped(course.recipe):
            training = _epoch(course, job, module, optimizer, batches)
            if fit.record(course, job.member, training, evaluate(course, job, module)):
                fit.state = {name: values.detach().clone() for name, values in module.state_dict().items()}
            tick()
    for part in batches.dropouts.values():
        part.keep = torch.ones(1, device=course.device)
    return fit


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


class Optimizer:
    """SGD, Adam or AdamW by torch.optim's own functions, fused: one pass over memory a step.

    Its classes do the same, but building one imports torch's compiler, which takes as long as importing torch.
    """

    def __init__(self, module: nn.Module, recipe: Mapping[str, Any]) -> None:
        self.parameters = list(module.parameters())
        self.recipe = recipe
        self.momenta = [torch.zeros_like(values) for values in self.parameters]
        adaptive = recipe["optimizer"] != "sgd"
        self.squares = [torch.zeros_like(values) for values in self.parameters if adaptive]
        self.steps = [torch.zeros((), device=values.device) for values in self.parameters if adaptive]

    @torch.no_grad()
    def step(self) -> None:
        """Clip the parameters' gradients together, and take a step."""
        for values in self.parameters:
            if values.grad is None:  # it takes no part in the outputs
                values.grad = torch.zeros_like(values)
        recipe, gradients = self.recipe, [values.grad for values in self.parameters]
        if recipe["clip"] is not None:
            nn.utils.clip_grad_norm_(self.parameters, recipe["clip"])
        shared = {"lr": recipe["learning_rate"], "weight_decay": recipe["weight_decay"]}
        shared |= {"maximize": False, "fused": True}
        if recipe["optimizer"] == "sgd":
            rule = {"momentum": recipe["momentum"], "dampening": 0.0, "nesterov": False}
            sgd(self.parameters, gradients, self.momenta, **shared, **rule)
            return
        kind = {"adam": adam, "adamw": adamw}[recipe["optimizer"]]
        rule = {"beta1": recipe["momentum"], "beta2": SECOND_MOMENT, "eps": EPSILON, "amsgrad": False}
        kind(self.parameters, gradients, self.momenta, self.squares, [], self.steps, **shared, **rule)
