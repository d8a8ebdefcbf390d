"""A GPU against the CPU beside it: wall time of the library's own work on both, and whether they find the same.

The CPU has all its cores. Where it would take minutes, it does less of the same work (fewer epochs, steps or samples);
times are per piece of work, and the amounts are told. Without CUDA there is nothing to compare.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from attribution_cases import case_of
from torch import nn

from consilience.configuration import slice_schema
from consilience.domains.eeg import model as eeg
from consilience.domains.eeg.montage import BANDS_OF, BRANCHES, NODES
from consilience.domains.mirna import model as mirna
from consilience.networks import MultilayerPerceptron, NetworkContext
from consilience.sparse_autoencoder import Recipe, SparseAutoencoder
from consilience.study_checks import completed
from consilience.training.engine import Course, Fit, Job, Labels, Samples, train_member
from consilience.training.ensemble import build_network
from consilience.training.members import enumerate_members
from consilience.training.recipes import resolve
from consilience.training.stacked import train_stack

WINDOWS = {"eeg": 9, "spectrogram": 119}  # of 50 and 600 seconds, 10 seconds long, one every 5


@dataclass(frozen=True)
class Contest:
    """Some work on both devices: `work(device, amount)` does `amount` pieces of it, and returns what it found.

    `amounts` are the CPU's and the GPU's. What both find of the CPU's amount is told by `compare`.
    """

    name: str
    piece: str
    work: Callable[[torch.device, int], Any]
    amounts: tuple[int, int]
    compare: Callable[[Any, Any], str]

    def run(self, device: torch.device) -> None:
        """Print the seconds of a piece on both devices, their ratio, and how far the findings agree."""
        host = torch.device("cpu")
        few, many = self.amounts
        self.work(host, 1)
        on_host, slow = timed(partial(self.work, host, few), host)
        on_device = self.work(device, few)  # warms up, too
        fast = timed(partial(self.work, device, many), device)[1] / many
        slow /= few
        amounts = f"{few} on the CPU, {many} on {device.type}"
        print(f"{self.name}\n  seconds a {self.piece} ({amounts}): {slow:.4f} : {fast:.4f} = {slow / fast:.1f}x")
        print(f"  agreement: {self.compare(on_host, on_device)}", flush=True)


def timed(run: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """Return the result and the wall seconds, of a GPU's work to its end."""
    finish = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    finish()
    start = time.perf_counter()
    result = run()
    finish()
    return result, time.perf_counter() - start


def dictionary(size: int) -> Contest:
    """Fit a dictionary of as many atoms as inputs; a piece is an epoch, with its threshold and validation."""
    inputs, rows, k = 4096 // size, 8192 // size, 64 if size == 1 else 8
    generator = torch.Generator().manual_seed(0)
    low = torch.randn(rows, k, generator=generator) @ torch.randn(k, inputs, generator=generator)
    data = low + 0.1 * torch.randn(rows, inputs, generator=generator)
    cut = rows * 7 // 8

    def fit(device: torch.device, epochs: int) -> float:
        module = SparseAutoencoder(inputs, inputs, k, "batch_top_k", Recipe(epochs=epochs)).to(device)
        own = data.to(device)
        return module.fit(own[:cut], own[cut:], 0)["validation"]["explained_variance"]

    name = f"dictionary {inputs} -> {inputs}, batch_top_k, k = {k}, {rows} rows of rank {k} with noise"
    return Contest(
        name, "epoch", fit, (3, 30), lambda one, other: f"explained variance {one:.4f} : {other:.4f} after 3 epochs"
    )


def course_of(
    device: torch.device, task: str, recipe: dict[str, Any], parts: Sequence[tuple[Sequence[torch.Tensor], Any]]
) -> tuple[Course, list[Labels]]:
    """Return the course and the labels of (branches, target) of both roles, on a device."""
    samples = [Samples(tuple(branch.to(device) for branch in inputs), {}) for inputs, _ in parts]
    return Course("benchmark", task, 0, resolve(recipe), *samples), [Labels(target.to(device)) for _, target in parts]


def losses_differ(one: Sequence[Fit], other: Sequence[Fit]) -> str:
    """Tell the largest relative difference of any member's loss in any epoch, of training and validation."""
    pairs = [torch.tensor([fit.losses for fit in fits], dtype=torch.float64) for fits in (one, other)]
    return f"losses differ by {float((pairs[0] / pairs[1] - 1).abs().max()):.1e} at most"


def perceptrons(size: int) -> Contest:
    """Train the members of an expression model as `stack: auto` does: one by one, or all together on a GPU."""
    genes, rows, members = 20000 // size, 1500 // size, 12
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(rows, genes, generator=generator)
    target = inputs[:, :20].sum(dim=1) / 20**0.5 + torch.randn(rows, generator=generator)
    cut = rows * 4 // 5
    halves = [((inputs[:cut],), target[:cut]), ((inputs[cut:],), target[cut:])]

    def train(device: torch.device, epochs: int) -> list[Fit]:
        course, labels = course_of(device, "regression", {"epochs": epochs, "patience": epochs}, halves)
        jobs = [Job(member, torch.arange(cut), *labels) for member in enumerate_members(members)]
        modules: list[nn.Module] = []
        for job in jobs:
            torch.manual_seed(job.member.seed)
            modules.append(MultilayerPerceptron(genes, [64, 32], 1, dropout=0.1, batchnorm=True).to(device))
        if device.type == "cuda":
            return train_stack(course, jobs, modules)
        return [train_member(course, *pair) for pair in zip(jobs, modules, strict=True)]

    name = f"{members} perceptrons [64, 32], {genes} genes, {rows} samples, stacked on a GPU"
    return Contest(name, "epoch of all members", train, (3, 20), losses_differ)


def full_network(
    name: str, domain: str, build: Any, context: NetworkContext, recipe: dict[str, Any], task: str, size: int
) -> Contest:
    """Train the documented network on random samples; a piece is a step, with a tenth of one in validation."""
    keys = {} if size == 1 else SMALL[domain]
    schema = slice_schema(domain)["properties"]["models"]["additionalProperties"]
    specification = completed(keys, schema)
    batch, amounts = recipe["batch_size"], (4, 100) if size == 1 else (2, 4)
    generator, most = torch.Generator().manual_seed(2), max(amounts) * batch
    drawn = [torch.randn(most, *shape, generator=generator) for shape in context.branches.values()]
    votes = torch.randn(most, context.outputs, generator=generator).softmax(dim=1)
    target = votes if task == "votes" else votes.argmax(dim=1)

    def train(device: torch.device, steps: int) -> list[Fit]:
        rows, few = steps * batch, max(1, steps * batch // 10)
        parts = [([branch[:count] for branch in drawn], target[:count]) for count in (rows, few)]
        course, labels = course_of(device, task, recipe | {"epochs": 1}, parts)
        module = build_network(build, specification, context, 0).to(device)
        (member,) = enumerate_members(1)
        return [train_member(course, Job(member, torch.arange(rows), *labels), module)]

    told = "dropout drawn by each device itself; " if domain == "eeg" else ""
    return Contest(f"{name}, batches of {batch}", "step", train, amounts, lambda *found: told + losses_differ(*found))


SMALL = {
    "eeg": {"graph_channels": 4, "recurrent_width": 8, "hidden": [8]},
    "mirna": {"channels": [4, 4, 6, 4], "hidden": [16]},
}


def eeg_network(size: int) -> Contest:
    """Return the contest of eeg's default network, on six classes' votes."""
    branches = {name: (WINDOWS[name] // size + 1, len(NODES[name]), len(BANDS_OF[name])) for name in BRANCHES}
    context = NetworkContext(branches, 6, {}, 0)
    recipe = {"recipe": "adamw", "weight_decay": 1e-4, "clip": 1.0, "first_layer_scale": 1.0, "batch_size": 32}
    return full_network("eeg's default network", "eeg", eeg.build, context, recipe, "votes", size)


def mirna_network(size: int) -> Contest:
    """Return the contest of mirna's default network, k = 6."""
    side = 64 if size == 1 else 16
    context = NetworkContext({"mirna": (side, side), "site": (side, side)}, 2, {}, 2 * side**2)
    recipe = {"recipe": "adam", "batch_size": 64 if size == 1 else 8}
    return full_network("mirna's default network", "mirna", mirna.build, context, recipe, "classification", size)


def integrated_gradients(size: int) -> Contest:
    """Explain the members of an expression model together; a piece is a sample."""
    genes, most = 20000 // size, 512 // size
    cases = {}

    def explain(device: torch.device, samples: int) -> torch.Tensor:
        if device not in cases:
            cases[device] = case_of("perceptrons", genes, most, device)
        parts = cases[device].ours("integrated_gradients", samples, {})
        # Batches end where the workflow leaves them: summed over samples, on the device.
        return torch.stack([part.double().abs().sum(dim=1) for part in parts]).sum(dim=0).cpu()

    name = f"integrated gradients of 12 perceptrons [64, 32], {genes} genes"
    return Contest(
        name, "sample", explain, (most // 8, most),
        lambda one, other: f"magnitudes differ by {float((one - other).norm() / one.norm()):.1e} of their norm",
    )  # fmt: skip


def main() -> None:
    """Hold all of it against the CPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", help="what is held against the CPU; cpu tries the benchmark out")
    parser.add_argument("--small", action="store_true", help="a size that says nothing of speed")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("torch finds no CUDA device on this machine: nothing to hold against the CPU")
        return
    device, size = torch.device(arguments.device), 16 if arguments.small else 1
    name = torch.cuda.get_device_name() if device.type == "cuda" else "the CPU itself"
    print(f"wall time, CPU of {torch.get_num_threads()} threads : {name}; torch {torch.__version__}")
    for contest in (dictionary, perceptrons, eeg_network, mirna_network, integrated_gradients):
        contest(size).run(device)


if __name__ == "__main__":
    main()
