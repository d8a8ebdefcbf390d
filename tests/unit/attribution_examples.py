"""Networks, ensembles and datasets that the attribution tests share."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from consilience.attribution.function import EnsembleFunction, target_map
from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.scaling import fit
from consilience.training.data import context_of, feature_axis
from consilience.training.ensemble import Ensemble
from consilience.training.members import enumerate_members


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
            if isinstance(part, nn.BatchNorm1d):
                nn.init.normal_(part.running_mean, std=0.3)
                nn.init.uniform_(part.running_var, 0.5, 2.0)
    states = {name: torch.stack([m.state_dict()[name] for m in modules]) for name in modules[0].state_dict()}
    return modules, states


def function_of(make, task="regression", outputs=1, scale=2.0, center=5.0, members=3, dtype=torch.float32, seed=0):
    """Return the modules, and all of them as one function."""
    modules, states = ensemble_of(make, members, seed, dtype)
    return modules, EnsembleFunction(modules[0], states, *target_map(task, outputs, scale, center))


@dataclass
class Study:
    """A dataset file with its split, an ensemble and a module."""

    path: object
    split: pd.DataFrame
    ensemble: Ensemble
    module: nn.Module


CLASSES = ["left", "middle", "right"]
IMAGE_UNITS = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, -1, -1], [2, 2, -1, -1]])[None]
VECTOR_UNITS = np.array([3, 4, 5, 4, 3, 3])


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
