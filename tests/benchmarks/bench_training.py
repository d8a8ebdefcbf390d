"""Training the members of one model: the engine's loop and stack against a plain DataLoader loop, same arithmetic.

CPU time on a CPU; wall time, the device synchronized, on a GPU where there is one. The peer is what one writes first:
a TensorDataset, a DataLoader, torch.optim, a validation pass an epoch, a copy of the best state. It is given the
engine's initial states and batch orders, and has to arrive at the same losses and weights.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

from consilience.domains.expression.model import build
from consilience.networks import NetworkContext
from consilience.training.engine import Batches, Course, Fit, Job, Labels, Samples, train_member
from consilience.training.members import enumerate_members
from consilience.training.recipes import resolve
from consilience.training.stacked import train_stack
from consilience.training.train import initialize

TOLERANCE = 1e-5


class EngineOrder(Sampler[int]):
    """Yields the rows in the order in which the engine trains on them, another one every epoch."""

    def __init__(self, course: Course, job: Job, module: nn.Module) -> None:
        self.batches = Batches(course, job, module)

    def __iter__(self) -> Iterator[int]:
        return iter(self.batches.epoch()[0].tolist())


def plain_loop(course: Course, job: Job, module: nn.Module) -> Fit:
    """Train one member as one writes it without an engine."""
    recipe, fit, loss_of = course.recipe, Fit(), nn.MSELoss()
    training = TensorDataset(course.training.inputs[0].cpu(), job.training.target.cpu())
    validation = TensorDataset(course.validation.inputs[0].cpu(), job.validation.target.cpu())
    loader = DataLoader(training, recipe["batch_size"], sampler=EngineOrder(course, job, module))
    validation_loader = DataLoader(validation, recipe["batch_size"])
    optimizer = torch.optim.SGD(
        module.parameters(), recipe["learning_rate"], recipe["momentum"], weight_decay=recipe["weight_decay"]
    )
    while not fit.stopped(recipe):
        module.train()
        total, count = 0.0, 0
        for inputs, target in loader:
            inputs, target = inputs.to(course.device), target.to(course.device)
            loss = loss_of(module(inputs).squeeze(1), target)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), recipe["clip"])
            optimizer.step()
            total, count = total + loss.item() * len(inputs), count + len(inputs)
        module.eval()
        validated = 0.0
        with torch.no_grad():
            for inputs, target in validation_loader:
                inputs, target = inputs.to(course.device), target.to(course.device)
                validated += loss_of(module(inputs).squeeze(1), target).item() * len(inputs)
        if fit.record(course, job.member, total / count, validated / len(validation)):
            fit.state = copy.deepcopy(module.state_dict())
    return fit


def problem(arguments: argparse.Namespace, device: torch.device) -> tuple[Course, list[Job], NetworkContext]:
    """Return a regression with ten drivers and every epoch in use."""
    generator = torch.Generator().manual_seed(0)
    samples, genes = arguments.samples, arguments.genes
    inputs = torch.randn(samples, genes, generator=generator)
    target = inputs[:, :10].sum(dim=1) / 3 + torch.randn(samples, generator=generator)
    cut = int(0.8 * samples)
    recipe = resolve({"epochs": arguments.epochs, "patience": arguments.epochs})
    parts = [Samples((part.to(device),), {}) for part in (inputs[:cut], inputs[cut:])]
    course = Course("benchmark", "regression", 0, recipe, *parts)
    labels = [Labels(part.to(device)) for part in (target[:cut], target[cut:])]
    jobs = [Job(member, torch.arange(cut), *labels) for member in enumerate_members(arguments.members)]
    return course, jobs, NetworkContext({"genes": (genes,)}, 1, {}, genes)


def timed(run: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """Return the result and the seconds: CPU time, or wall time where the device is a GPU."""
    if device.type == "cpu":
        start = time.process_time()
        return run(), time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    result = run()
    torch.cuda.synchronize()
    return result, time.perf_counter() - start


def difference(first: list[Fit], second: list[Fit]) -> float:
    """Return the largest difference of any loss or weight."""
    losses = max(
        abs(a - b)
        for one, other in zip(first, second, strict=True)
        for pair in zip(one.losses, other.losses, strict=True)
        for a, b in zip(*pair, strict=True)
    )
    weights = max(
        float((one.state[name].double() - other.state[name].double()).abs().max())
        for one, other in zip(first, second, strict=True)
        for name in one.state
    )
    return max(losses, weights)


def compare(arguments: argparse.Namespace, device: torch.device, dropout: float) -> None:
    """Train the members by every path, interleaved, and print best times and ratios."""
    course, jobs, context = problem(arguments, device)
    specification = {"hidden": [64, 32], "dropout": dropout, "batchnorm": True}
    paths = {
        "plain DataLoader loop": lambda modules: [
            plain_loop(course, *pair) for pair in zip(jobs, modules, strict=True)
        ],
        "engine, loop": lambda modules: [train_member(course, *pair) for pair in zip(jobs, modules, strict=True)],
        "engine, stacked": lambda modules: train_stack(course, jobs, modules),
    }
    seconds, fits = dict.fromkeys(paths, math.inf), {}
    for _ in range(arguments.repeats):
        for name, path in paths.items():
            modules = [initialize(build, specification, context, course, job.member) for job in jobs]
            if dropout and path is paths["plain DataLoader loop"]:
                for module in modules:
                    for layer in module.hidden:
                        layer.dropout = nn.Dropout(dropout)
            fits[name], taken = timed(lambda path=path, modules=modules: path(modules), device)
            seconds[name] = min(seconds[name], taken)
    peer = seconds["plain DataLoader loop"]
    print(f"{device.type}, dropout {dropout}: {'CPU' if device.type == 'cpu' else 'wall'} seconds, ratio to the peer")
    for name, taken in seconds.items():
        equal = ""
        if not dropout and name != "plain DataLoader loop":
            gap = difference(fits[name], fits["plain DataLoader loop"])
            equal = f"  largest difference {gap:.1e} {'ok' if gap <= TOLERANCE else 'TOO LARGE'}"
        print(f"  {name:24s}{taken:8.2f}{peer / taken:8.2f}x{equal}")


def main() -> None:
    """Compare on the CPU, and on CUDA where there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--genes", type=int, default=1000)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)  # imports torch's compiler, once, for nobody's account
    devices = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
    for device in devices:
        for dropout in (0.0, 0.1):
            compare(arguments, device, dropout)


if __name__ == "__main__":
    main()
