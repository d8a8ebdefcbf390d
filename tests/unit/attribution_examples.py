"""Networks, ensembles and datasets that the attribution tests share."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from consilience.attribution.batches import Batch
from consilience.attribution.function import EnsembleFunction, target_map
from consilience.attribution.statistics import UnitSums
from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.networks import MultilayerPerceptron
from consilience.scaling import fit
from consilience.training.data import context_of, feature_axis
from consilience.training.ensemble import Ensemble
from consilience.training.members import enumerate_members

CLASSES = ["left", "middle", "right"]
IMAGE_UNITS = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, -1, -1], [2, 2, -1, -1]])[None]
VECTOR_UNITS = np.array([3, 4, 5, 4, 3, 3])


class Perceptron(nn.Module):
    stackable = True

    def __init__(self, inputs, outputs=1, hidden=8, smooth=False):
        super().__init__()
        activation = nn.Softplus() if smooth else nn.ReLU()
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), activation, nn.Dropout(0.3), nn.Linear(hidden, outputs)
        )

    def forward(self, inputs, **auxiliary):
        return self.layers(inputs)


class Linear(nn.Module):
    stackable = True

    def __init__(self, inputs, outputs=1):
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, inputs, **auxiliary):
        return self.layer(inputs)


class Convolutional(nn.Module):
    """An image of two channels, 6 x 6."""

    stackable = True

    def __init__(self, outputs=3):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 3, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(12, outputs),
        )

    def forward(self, image, **auxiliary):
        return self.layers(image)


class Reused(nn.Module):
    """One activation module called twice, and activations that are functions."""

    stackable = True

    def __init__(self, inputs, outputs=1):
        super().__init__()
        self.first, self.second = nn.Linear(inputs, 7), nn.Linear(7, 6)
        self.third, self.head = nn.Linear(6, 5), nn.Linear(5, outputs)
        self.activation = nn.ReLU()

    def forward(self, inputs, **auxiliary):
        hidden = self.activation(self.second(self.activation(self.first(inputs))))
        return self.head(functional.softplus(self.third(hidden)) + torch.tanh(hidden[:, :5]))


class Unrolled(Reused):
    """The same numbers as `Reused`, an activation module for each call."""

    def __init__(self, inputs, outputs=1):
        super().__init__(inputs, outputs)
        self.activations = nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Softplus(), nn.Tanh()])

    def forward(self, inputs, **auxiliary):
        first, second, third, fourth = self.activations
        hidden = second(self.second(first(self.first(inputs))))
        return self.head(third(self.third(hidden)) + fourth(hidden[:, :5]))


class FeedForward(nn.Module):
    """Linear layers of given widths with an activation between them, and skips between layers of one width."""

    stackable = True

    def __init__(self, widths, activation, residual=False):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.activations = nn.ModuleList(activation() for _ in widths[2:])
        self.residual = residual

    def forward(self, inputs, **auxiliary):
        first, *others = self.layers
        hidden = first(inputs)
        for activation, layer in zip(self.activations, others, strict=True):
            after = layer(activation(hidden))
            hidden = after + hidden if self.residual and after.shape[1:] == hidden.shape[1:] else after
        return hidden


class Additive(nn.Module):
    """`TwoBranch` without a product of its branches: layers that captum's DeepLIFT knows."""

    stackable = True

    def __init__(self, outputs=3):
        super().__init__()
        self.convolution = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.LeakyReLU(), nn.AvgPool2d(2))
        self.vector = nn.Sequential(nn.Linear(6, 5), nn.Tanh())
        self.head = nn.Sequential(nn.Linear(17, 6), nn.ELU(), nn.Linear(6, outputs))

    def forward(self, image, vector, *, gate, mask_image, **auxiliary):
        present = self.convolution(image.masked_fill(mask_image, 0)).flatten(1)
        return self.head(torch.cat([present, self.vector(vector) * gate], dim=1))


class TwoBranch(nn.Module):
    """An image with a mask and a vector with an auxiliary gate, smooth throughout."""

    stackable = True

    def __init__(self, outputs=3, smooth=True):
        super().__init__()
        activation = nn.Softplus() if smooth else nn.ReLU()
        self.convolution = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), activation, nn.AdaptiveAvgPool2d(2))
        self.vector = nn.Sequential(nn.Linear(6, 5), nn.Tanh())
        self.head = nn.Linear(17, outputs)

    def forward(self, image, vector, *, gate, mask_image, **auxiliary):
        present = self.convolution(image.masked_fill(mask_image, 0)).flatten(1)
        # A product, so that the branches interact.
        gated = self.vector(vector) * gate * (1 + present.mean(dim=1, keepdim=True))
        return self.head(torch.cat([present, gated], dim=1))


class Recurrent(nn.Module):
    def __init__(self, outputs=1):
        super().__init__()
        self.recurrent = nn.LSTM(4, 6, batch_first=True)
        self.head = nn.Linear(6, outputs)

    def forward(self, series, **auxiliary):
        return self.head(self.recurrent(series)[0][:, -1])


def ensemble_of(make, members=3, seed=0, dtype=torch.float32):
    """Return modules in eval mode with running statistics of their own, and their states (members, ...)."""
    torch.manual_seed(seed)
    modules = [make().eval().to(dtype) for _ in range(members)]
    for module in modules:
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(part.running_mean, std=0.3)
                nn.init.uniform_(part.running_var, 0.5, 2.0)
    states = {name: torch.stack([m.state_dict()[name] for m in modules]) for name in modules[0].state_dict()}
    return modules, states


def function_of(make, task="regression", outputs=1, scale=2.0, center=5.0, members=3, dtype=torch.float32, seed=0):
    """Return the modules, and all of them as one function."""
    modules, states = ensemble_of(make, members, seed, dtype)
    return modules, EnsembleFunction(modules[0], states, *target_map(task, outputs, scale, center))


def drawn(seed, *shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def batch_of(function, inputs, auxiliary=None, references=None, background=None, units=None, **parts):
    """Return a batch; every element is a feature of its own where no `units` are given, and the reference 0."""
    if units is None:
        ends = np.cumsum([0] + [tensor[0].numel() for tensor in inputs])
        units = [
            np.arange(first, last).reshape(tensor.shape[1:])
            for tensor, (first, last) in zip(inputs, pairwise(ends), strict=True)
        ]
    zeros = tuple(torch.zeros_like(tensor[:1]) for tensor in inputs)
    settings = {
        "deviations": [0.5 + branch for branch in range(len(inputs))],
        "keys": list(range(7, 7 + len(inputs[0]))),
        "sums": UnitSums(units, max(int(part.max()) for part in units) + 1),
    }
    references = zeros if references is None else references
    return Batch(function, inputs, auxiliary or {}, references=references, background=background, **settings | parts)


# By name: what makes a network, the task, the number of outputs, the branches' shapes, what is auxiliary, the units.
SQUARES = np.arange(72).reshape(2, 6, 6) // 2 % 9
ARCHITECTURES = {
    "perceptron": (lambda: Perceptron(11), "regression", 1, [(11,)], False, None),
    "residual": (
        lambda: MultilayerPerceptron(9, [8, 8, 5], 1, 0.1, batchnorm=True, residual=True),
        "regression",
        1,
        [(9,)],
        False,
        [np.array([0, 1, 1, 2, 3, -1, 0, 3, 4])],
    ),
    "joined": (lambda: MultilayerPerceptron(10, [6], 2), "classification", 2, [(2, 3), (4,)], False, None),
    "convolutional": (Convolutional, "classification", 3, [(2, 6, 6)], False, [SQUARES]),
    "additive": (Additive, "votes", 3, [(1, 4, 4), (6,)], True, None),
    "two_branches": (lambda: TwoBranch(3, smooth=False), "votes", 3, [(1, 4, 4), (6,)], True, None),
    "two_classes": (lambda: Perceptron(8, 2), "classification", 2, [(8,)], False, None),
    "reused": (lambda: Reused(6), "regression", 1, [(6,)], False, None),
    "series": (Recurrent, "regression", 1, [(6, 4)], False, None),
}


def case(name, dtype=torch.float32, samples=5, rows=4):
    """Return the modules of an architecture, and a batch with references, a background and all it may need."""
    make, task, outputs, shapes, reads_auxiliary, units = ARCHITECTURES[name]
    modules, function = function_of(make, task, outputs, dtype=dtype, seed=len(name))
    inputs = tuple(drawn(branch, samples, *shape, dtype=dtype) for branch, shape in enumerate(shapes))
    # A reference of its own for each sample in the first branch, one for all in the others.
    counts = [samples] + [1] * (len(shapes) - 1)
    references = tuple(drawn(10 + n, n, *shape, dtype=dtype) for n, shape in zip(counts, shapes, strict=True))
    background = tuple(drawn(20 + branch, rows, *shape, dtype=dtype) for branch, shape in enumerate(shapes))
    auxiliary, masks = {}, []
    if reads_auxiliary:
        mask = drawn(30, samples, *shapes[0]) < -0.5
        auxiliary = {"gate": drawn(31, samples, 1, dtype=dtype), "mask_image": mask}
        masks = [mask, None]
    units = units or ([IMAGE_UNITS, VECTOR_UNITS] if reads_auxiliary else None)
    return modules, batch_of(function, inputs, auxiliary, references, background, units, masks=masks)


class TargetOf(nn.Module):
    """One target of one member as a function of branches and then auxiliary tensors: what captum explains."""

    def __init__(self, module, batch, target):
        super().__init__()
        self.module, self.names, self.branches = module, list(batch.auxiliary), len(batch.inputs)
        self.map, self.offset = batch.function.target_map[target], batch.function.offset[target]

    def forward(self, *arguments):
        auxiliary = dict(zip(self.names, arguments[self.branches :], strict=True))
        outputs = self.module(*arguments[: self.branches], **auxiliary)
        return outputs @ self.map.to(outputs.dtype) + self.offset.to(outputs.dtype)


def each_target(modules, batch):
    """Yield member, target, and the function that captum explains."""
    for member, module in enumerate(modules):
        for target in range(batch.function.targets):
            yield member, target, TargetOf(module, batch, target).eval()


@dataclass
class Study:
    """A dataset file with its split, an ensemble and a module."""

    path: object
    split: pd.DataFrame
    ensemble: Ensemble
    module: nn.Module


@contextmanager
def opened(study):
    with Dataset.open(study.path) as dataset:
        yield dataset


def votes_study(folder, samples=40, seed=0, order=None, outputs=3, smooth=True):
    """Write a study of votes: an image with a mask and several elements a feature, a vector, an auxiliary gate."""
    random = np.random.default_rng(seed)
    image, vector = random.normal(3, 2, (samples, 1, 4, 4)), random.normal(-1, 3, (samples, 6))
    mask = random.random(image.shape) < 0.2
    gate = random.normal(size=(samples, 1))
    votes = random.dirichlet(np.ones(outputs), samples)
    ids = np.array([f"sample_{row}" for row in range(samples)])
    roles = random.choice(["train", "validation", "test"], samples, p=[0.6, 0.15, 0.25])
    order = np.arange(samples) if order is None else order
    path = folder / "dataset.h5"
    features = pd.DataFrame({"name": list("abcdef"), "branch": ["image"] * 3 + ["vector"] * 3})
    with write_dataset(path, "votes", "side", "counts", "made", "0", CLASSES[:outputs]) as writer:
        writer.features(features)
        writer.samples(pd.DataFrame({"id": ids[order]}))
        writer.target(votes[order])
        writer.branch("image", IMAGE_UNITS, samples, "scalar", masked=True)
        writer.append("image", image[order], mask[order])
        writer.branch("vector", VECTOR_UNITS, samples, "band")
        writer.append("vector", vector[order])
        writer.auxiliary("gate", gate[order])
    split = pd.DataFrame({"sample": ids[order], "group": ids[order], "role": roles[order]})
    return finish(path, split, "votes", outputs, lambda: TwoBranch(outputs, smooth))


def regression_study(folder, samples=30, features=5, seed=0, make=None):
    """Write a study of a regression on a vector of genes, one element a feature."""
    random = np.random.default_rng(seed)
    genes = random.normal(4, random.uniform(0.5, 3, features), (samples, features))
    path = folder / "dataset.h5"
    ids = [f"sample_{row}" for row in range(samples)]
    names = [f"gene_{column}" for column in range(features)]
    with write_dataset(path, "regression", "response", "log1p CPM", "made", "0") as writer:
        writer.features(pd.DataFrame({"name": names, "branch": "genes"}))
        writer.samples(pd.DataFrame({"id": ids}))
        writer.target(genes @ random.normal(size=features))
        writer.branch("genes", np.arange(features), samples, "feature")
        writer.append("genes", genes)
    roles = np.array(["train"] * (samples // 2) + ["validation"] * 5 + ["test"] * samples)[:samples]
    split = pd.DataFrame({"sample": ids, "group": ids, "role": roles})
    return finish(path, split, "regression", 1, make or (lambda: Perceptron(features)))


def finish(path, split, task, outputs, make, members=2):
    """Give a study an ensemble whose scaling is fitted on the training role."""
    modules, states = ensemble_of(make, members)
    with Dataset.open(path) as dataset:
        rows = np.flatnonzero(split["role"] == "train")
        context = context_of(dataset)
        ensemble = Ensemble(
            model="small",
            specification={},
            task=task,
            outputs=outputs,
            features=context.features,
            axis=feature_axis(dataset),
            branches=context.branches,
            auxiliary=context.auxiliary,
            members=enumerate_members(members),
            states={name: tensor.numpy() for name, tensor in states.items()},
            scalings={name: fit(dataset, name, rows) for name in dataset.branches},
            target_center=5.0,
            target_scale=2.0,
        )
    return Study(path, split, ensemble, modules[0])
