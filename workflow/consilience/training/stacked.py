"""All members of a model at once: torch.func over stacked parameters, each member with its own batches and noise.

The arithmetic is that of the loop (`engine.train_member`), so that a member's result depends neither on the path, up to
rounding, nor on which other members are in the stack. The optimizers are written out here because members that see
different rows take different numbers of steps, which torch.optim cannot hold for one stacked parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils.rnn import pad_sequence

from consilience.resume import Part, State, copy_into, flat
from consilience.training.engine import Batches, Course, Fit, Job, Labels, copied_state, evaluation_rows
from consilience.training.loss import batch_loss, sample_losses
from consilience.training.optimizer import EPSILON, SECOND_MOMENT

Tensors = dict[str, Tensor]


def train_stack(
    course: Course,
    jobs: Sequence[Job],
    modules: Sequence[nn.Module],
    tick: Callable[[], None] = lambda: None,
    part: Part | None = None,
) -> list[Fit]:
    """Train the members of `jobs` together and return their fits in order; `tick` after an epoch of a member.

    Members that stop early leave the stack. `modules` hold the initial states; the first also serves as the skeleton.
    `part` keeps what the stack has come to, and continues an earlier try.
    """
    stack, part = _Stack(course, jobs, modules), part or Part()
    if part.saved is not None:
        stack.restore(part.saved)
        for _ in range(sum(len(fit.losses) for fit in stack.fits)):
            tick()
    while stack.alive:
        training = stack.epoch()
        for place, (train, validation) in enumerate(zip(training, stack.evaluate(), strict=True)):
            number = stack.alive[place]
            if stack.fits[number].record(course, jobs[number].member, train, validation):
                stack.fits[number].state = stack.state(place)
            tick()
        stack.drop([place for place, number in enumerate(stack.alive) if stack.fits[number].stopped(course.recipe)])
        part.keep(stack.kept)
    part.end(stack.kept())
    return stack.fits


class _Stack:
    """The members still in training: `alive` are their numbers, and every tensor has them as its first axis."""

    def __init__(self, course: Course, jobs: Sequence[Job], modules: Sequence[nn.Module]) -> None:
        self.course = course
        self.module = modules[0]
        self.fits = [Fit() for _ in jobs]
        self.alive = list(range(len(jobs)))
        self.batches = [Batches(course, job, self.module) for job in jobs]
        self.training = _stack_labels([job.training for job in jobs])
        self.validation = _stack_labels([job.validation for job in jobs])
        persistent = self.module.state_dict()
        self.parameters = _stack_tensors([dict(module.named_parameters()) for module in modules])
        buffers = [
            {name: values for name, values in module.named_buffers() if name in persistent} for module in modules
        ]
        self.buffers = _stack_tensors(buffers)
        self.momenta = {name: torch.zeros_like(values) for name, values in self.parameters.items()}
        adaptive = course.recipe["optimizer"] != "sgd"
        self.squares = {name: torch.zeros_like(values) for name, values in self.momenta.items() if adaptive}
        # In double precision, for 1 - 0.999**steps cancels.
        self.steps = {"steps": torch.zeros(len(jobs), dtype=torch.float64, device=course.device)}

    def epoch(self) -> list[float]:
        """Train every member for an epoch and return their mean training losses."""
        drawn = [self.batches[number].epoch() for number in self.alive]
        lengths = [len(order) for order, _ in drawn]
        orders = pad_sequence([order for order, _ in drawn], batch_first=True)
        masks = {
            name: pad_sequence([own[name] for _, own in drawn], batch_first=True) for name in self.batches[0].dropouts
        }
        self.module.train()
        total = torch.zeros(len(drawn), dtype=torch.float64, device=orders.device)
        size = self.course.recipe["batch_size"]
        for start in range(0, max(lengths), size):
            for places, count in _by_count([min(size, length - start) for length in lengths], orders.device):
                part = slice(start, start + count)
                keep = {f"{name}.keep": mask[places, part] for name, mask in masks.items()}
                losses = self._step(places, orders[places, part], keep)
                total[places] += losses * count
        return (total / torch.tensor(lengths, device=total.device)).tolist()

    def _step(self, places: Tensor | slice, rows: Tensor, keep: Tensors) -> Tensor:
        """Take a step with the members at `places` on their batches `rows` (members, samples); return their losses."""
        samples, labels = self.course.training.take(rows), self._labels(places, rows)
        trees = tuple(self._changing().values())
        parameters, buffers, momenta, squares, steps = (
            {name: values[places] for name, values in tree.items()} for tree in trees
        )
        for values in parameters.values():
            values.requires_grad_()

        def loss(own: Tensors, inputs: tuple[Tensor, ...], auxiliary: Tensors, target: Tensors) -> Tensor:
            outputs = functional_call(self.module, own, inputs, auxiliary)
            return batch_loss(self.course.task, outputs, target["target"], target.get("weight"))

        losses = vmap(loss)({**parameters, **buffers, **keep}, samples.inputs, samples.auxiliary, labels)
        gradients = torch.autograd.grad(losses.sum(), list(parameters.values()), materialize_grads=True)
        with torch.no_grad():
            for values in parameters.values():
                values.requires_grad_(False)
            gradients = dict(zip(parameters, _clip(gradients, self.course.recipe["clip"]), strict=True))
            _update(self.course.recipe, parameters, gradients, momenta, squares, steps["steps"])
            if isinstance(places, Tensor):  # else all of these are views
                for tree, own in zip(trees, (parameters, buffers, momenta, squares, steps), strict=True):
                    for name, values in own.items():
                        tree[name][places] = values
        return losses.detach()

    def _labels(self, places: Tensor | slice, rows: Tensor) -> Tensors:
        members = torch.arange(len(self.alive), device=rows.device)[places][:, None]
        return {name: values[members, rows] for name, values in self.training.items()}

    @torch.no_grad()
    def evaluate(self) -> list[float]:
        """Return every member's mean loss over the validation samples, in eval mode."""
        self.module.eval()
        samples, size = self.course.validation, evaluation_rows(self.course.recipe)
        total = torch.zeros(len(self.alive), dtype=torch.float64, device=self.course.device)
        for start in range(0, len(samples), size):
            part = samples.between(start, start + size)

            def loss(own: Tensors, labels: Tensors, part: Any = part) -> Tensor:
                outputs = functional_call(self.module, own, part.inputs, part.auxiliary)
                losses = sample_losses(self.course.task, outputs, labels["target"])
                return (losses * labels["weight"] if "weight" in labels else losses).sum()

            labels = {name: values[:, start : start + size] for name, values in self.validation.items()}
            total += vmap(loss)({**self.parameters, **self.buffers}, labels)
        return (total / len(samples)).tolist()

    def state(self, place: int) -> Tensors:
        """Return a copy of one member's state, as its module's state_dict would name it."""
        # Through the module, because a parameter that two submodules share has one name here and two in the state.
        named = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        with torch.no_grad():
            for name, values in {**self.parameters, **self.buffers}.items():
                named[name].copy_(values[place])
        return copied_state(self.module)

    def kept(self) -> State:
        """Return what `restore` needs to go on with the next epoch."""
        fits = {str(number): fit.kept() for number, fit in enumerate(self.fits)}
        groups = {f"fit {number}": fit.tensors for number, fit in fits.items()} | self._changing()
        groups |= {f"batches {number}": batches.kept() for number, batches in enumerate(self.batches)}
        return State(flat(groups), {"alive": list(self.alive), "fits": [fit.facts for fit in fits.values()]})

    def restore(self, saved: State) -> None:
        """Go back to where an earlier try had come to, the end of an epoch."""
        for number, (fit, facts) in enumerate(zip(self.fits, saved.facts["fits"], strict=True)):
            fit.restore(State(saved.tensors_of(f"fit {number}"), facts), self.module)
            self.batches[number].restore(saved.tensors_of(f"batches {number}"))
        self.drop([place for place in self.alive if place not in saved.facts["alive"]])
        for kind, live in self._changing().items():
            copy_into(live, saved.tensors_of(kind))

    def _changing(self) -> dict[str, Tensors]:
        """Return what an epoch changes, by kind."""
        kinds = ("parameters", "buffers", "momenta", "squares", "steps")
        return {kind: getattr(self, kind) for kind in kinds}

    def drop(self, places: Sequence[int]) -> None:
        """Take the members at `places` out of the stack."""
        if not places:
            return
        kept = [place for place in range(len(self.alive)) if place not in places]
        self.alive = [self.alive[place] for place in kept]
        index = torch.tensor(kept, dtype=torch.long, device=self.course.device)
        for tree in (*self._changing().values(), self.training, self.validation):
            for name, values in tree.items():
                tree[name] = values[index]


def _stack_tensors(members: Sequence[Mapping[str, Tensor]]) -> Tensors:
    return {name: torch.stack([own[name].detach() for own in members]) for name in members[0]}


def _stack_labels(labels: Sequence[Labels]) -> Tensors:
    stacked = {"target": torch.stack([own.target for own in labels])}
    if labels[0].weight is not None:
        stacked["weight"] = torch.stack([own.weight for own in labels])
    return stacked


def _by_count(counts: Sequence[int], device: torch.device) -> Iterator[tuple[Tensor | slice, int]]:
    """Yield the places of members whose next batch has the same number of rows; a slice where all have."""
    for count in sorted({count for count in counts if count > 0}, reverse=True):
        places = [place for place, own in enumerate(counts) if own == count]
        yield slice(None) if len(places) == len(counts) else torch.tensor(places, device=device), count


def _clip(gradients: Sequence[Tensor], limit: float | None) -> Sequence[Tensor]:
    """Clip the norm of every member's gradient, as torch.nn.utils.clip_grad_norm_ does that of one."""
    if limit is None:
        return gradients
    norms = torch.stack([torch.linalg.vector_norm(own.flatten(1), dim=1) for own in gradients], dim=1)
    factor = (limit / (torch.linalg.vector_norm(norms, dim=1) + 1e-6)).clamp(max=1)
    return [own * _along(factor, own) for own in gradients]


def _along(values: Tensor, like: Tensor) -> Tensor:
    """Shape a value per member (members,) so that it broadcasts against a stacked tensor."""
    return values.to(like.dtype).view(-1, *[1] * (like.dim() - 1))


def _update(
    recipe: Mapping[str, Any],
    parameters: Tensors,
    gradients: Tensors,
    momenta: Tensors,
    squares: Tensors,
    steps: Tensor,
) -> None:
    """Take an optimizer's step in place, as torch.optim does, with a count of `steps` (members,) for each member.

    SGD with momentum; Adam (Kingma & Ba 2015, algorithm 1); AdamW (Loshchilov & Hutter 2019, algorithm 2).
    """
    rate, decay, first, second = recipe["learning_rate"], recipe["weight_decay"], recipe["momentum"], SECOND_MOMENT
    steps += 1
    for name, values in parameters.items():
        gradient, momentum = gradients[name], momenta[name]
        if recipe["optimizer"] == "adamw":
            values.mul_(1 - rate * decay)
        elif decay:
            gradient = gradient + decay * values
        if recipe["optimizer"] == "sgd":
            values.sub_(momentum.mul_(first).add_(gradient), alpha=rate)
            continue
        momentum.lerp_(gradient, 1 - first)
        squares[name].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        scale = (squares[name] / _along(1 - second**steps, values)).sqrt_().add_(EPSILON)
        values.sub_(momentum / scale * _along(rate / (1 - first**steps), values))
