"""Small datasets, splits and networks that the tests of scaling and training share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from consilience.dataset_writer import write_dataset
from consilience.networks import MultilayerPerceptron, NetworkContext
from consilience.training.engine import Course, Job, Labels, Samples
from consilience.training.members import enumerate_members, select_rows
from consilience.training.recipes import resolve
from consilience.training.train import initialize

SAMPLES, GENES = 90, 12


def perceptron(specification: dict, context: NetworkContext) -> nn.Module:
    return MultilayerPerceptron(context.elements, outputs=context.outputs, **specification)


class Masked(nn.Module):
    """Two branches, a mask and an auxiliary input; dropout of its own, so that it trains in a loop only."""

    first_layers = ("image", "genes")

    def __init__(self, context: NetworkContext) -> None:
        super().__init__()
        self.image = nn.LSTM(context.branches["image"][1], 4, batch_first=True)
        self.genes = nn.Linear(context.branches["genes"][0], 4)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(9, context.outputs)

    def forward(self, genes: Tensor, image: Tensor, *, depth: Tensor, mask_image: Tensor, **auxiliary) -> Tensor:
        seen = self.image(image * ~mask_image)[0][:, -1]
        joint = torch.cat([seen, torch.tanh(self.genes(genes)), depth], dim=1)
        return self.head(self.dropout(joint))


def masked(specification: dict, context: NetworkContext) -> nn.Module:
    return Masked(context)


def recording(module: nn.Module, seen: list[tuple[bool, int]]) -> nn.Module:
    """Note in `seen` whether the module trains and how many rows it is given, at every call."""
    module.register_forward_pre_hook(lambda own, inputs: seen.append((own.training, len(inputs[0]))))
    return module


def genes_dataset(path: Path, task: str = "regression", weights: bool = False, samples: int = SAMPLES) -> Path:
    """Write a dataset of one branch; the first two genes decide the target, with signs + and -."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(5, 2, (samples, GENES))
    signal = (inputs[:, 0] - inputs[:, 1]) / 2
    classes = {"regression": None, "classification": ["low", "middle", "high"], "votes": ["a", "b", "c"]}[task]
    logits = np.stack([-signal, np.zeros(samples), signal], axis=1)
    target = {
        "regression": 100 + 10 * (signal + generator.normal(0, 0.3, samples)),
        "classification": logits.argmax(axis=1),
        "votes": np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True),
    }[task]
    frame = pd.DataFrame({"id": [f"s{number}" for number in range(samples)]})
    if weights:
        frame["weight"] = generator.uniform(0.5, 3, samples)
    with write_dataset(path, task, "TARGET", "log1p CPM", "made", "0", classes) as writer:
        writer.features(pd.DataFrame({"name": [f"g{gene}" for gene in range(GENES)], "branch": "genes"}))
        writer.samples(frame)
        writer.target(target)
        writer.branch("genes", np.arange(GENES), samples, "feature")
        writer.append("genes", inputs)
    return path


def two_branch_dataset(path: Path, samples: int = SAMPLES) -> Path:
    """Write a dataset of genes and a masked image with an auxiliary input, and three-class votes with weights."""
    generator = np.random.default_rng(1)
    mask = generator.random((samples, 3, 5)) < 0.2
    votes = generator.dirichlet(np.ones(3), samples)
    names = [*(f"g{gene}" for gene in range(4)), "low", "high"]
    with write_dataset(path, "votes", "pattern", "z", "made", "0", ["a", "b", "c"]) as writer:
        writer.features(pd.DataFrame({"name": names, "branch": ["genes"] * 4 + ["image"] * 2}))
        ids = [f"s{number}" for number in range(samples)]
        writer.samples(pd.DataFrame({"id": ids, "weight": generator.uniform(1, 5, samples)}))
        writer.target(votes)
        writer.branch("genes", np.arange(4), samples, "feature")
        writer.append("genes", generator.normal(size=(samples, 4)))
        writer.branch("image", np.tile([4, 4, 4, 5, 5], (3, 1)), samples, "band", masked=True)
        writer.append("image", generator.normal(np.arange(5), np.arange(5) + 1, (samples, 3, 5)), mask)
        writer.auxiliary("depth", generator.normal(size=(samples, 1)))
    return path


def split_of(samples: int = SAMPLES) -> pd.DataFrame:
    """Return a split 60/20/20 whose groups hold three samples each."""
    number = np.arange(samples)
    role = np.select([number % 15 < 9, number % 15 < 12], ["train", "validation"], "test")
    return pd.DataFrame(
        {"sample": [f"s{sample}" for sample in number], "group": [f"p{sample // 3}" for sample in number], "role": role}
    )


def course_of(
    recipe: dict, task: str = "regression", weights: bool = False, rows: int = 75, kind: torch.dtype = torch.float32
) -> tuple[Course, Labels, Labels]:
    """Return a course of random samples, 25 of them for validation, and the labels of both roles."""
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(rows + 25, GENES, generator=generator, dtype=torch.float64)
    noise = torch.randn(rows + 25, generator=generator, dtype=torch.float64)
    signal = inputs[:, 0] - inputs[:, 1] + 0.5 * noise
    target = {
        "regression": signal.to(kind),
        "classification": (signal > 0).long() + (signal > 1).long(),
        "votes": torch.softmax(torch.stack([signal, -signal, 0 * signal], dim=1), dim=1).to(kind),
    }[task]
    weight = (torch.rand(rows + 25, generator=generator, dtype=torch.float64) + 0.5).to(kind) if weights else None
    parts = [Samples((inputs[part].to(kind),), {}) for part in (slice(rows), slice(rows, None))]
    labels = Labels(target, weight)
    return (
        Course("model", task, 0, resolve(recipe), *parts),
        labels.take(slice(rows)),
        labels.take(slice(rows, None)),
    )


def jobs_of(course: Course, training: Labels, validation: Labels, seeds: int = 2, rows=("all",)) -> list[Job]:
    """Return a job for every seed and subset of rows, in groups of five."""
    groups = [f"p{row // 5}" for row in range(len(course.training))]
    return [
        Job(member, torch.from_numpy(select_rows(groups, member.rows, 0)), training, validation)
        for member in enumerate_members(seeds, rows)
    ]


def modules_of(course: Course, jobs: list[Job], specification: dict, build=perceptron) -> list[nn.Module]:
    outputs = 1 if course.task == "regression" else 3
    context = NetworkContext({"genes": (GENES,)}, outputs, {}, GENES)
    kind = course.training.inputs[0].dtype
    return [initialize(build, specification, context, course, job.member).to(kind) for job in jobs]
