"""A small network of both modalities and batches it can be asked about, as arrays and as graphs, which the tests of what is captured share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.utils import dense_to_sparse

from consilience.configuration import slice_schema
from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.domains.eeg.model import build
from consilience.networks import NetworkContext
from consilience.scaling import fit
from consilience.study_checks import completed
from consilience.training.data import context_of, feature_axis
from consilience.training.ensemble import Ensemble, stack_states
from consilience.training.members import Member

TINY = {"graph_channels": 4, "graph_heads": 2, "recurrent_width": 4, "recurrent_layers": 1, "heads": 4, "hidden": [5]}
WINDOWS = {"eeg": 4, "spectrogram": 6}
SHAPES = {"eeg": (19, 5), "spectrogram": (4, 4)}
CLASSES = 3


def specification(**changes):
    return completed(TINY | changes, slice_schema("eeg")["properties"]["models"]["additionalProperties"])


def network(windows=WINDOWS, coherence=False, seed=0, **changes):
    torch.manual_seed(seed)
    auxiliary = {"coherence": (windows["eeg"], 19, 19)} if coherence else {}
    shapes = {name: (windows[name], *SHAPES[name]) for name in SHAPES}
    module = build(specification(**changes), NetworkContext(shapes, CLASSES, auxiliary, 111))
    for name, values in module.named_parameters():
        if "in_proj" in name or "weight_ih" in name:
            # So that attention is far from uniform.
            torch.nn.init.normal_(values, std=1.5)
    return module


def batch(samples=5, windows=WINDOWS, seed=0, masks=True):
    """Inputs with some channels and some whole windows absent, and votes."""
    generator = torch.Generator().manual_seed(seed)
    values = {
        name: torch.randn(samples, windows[name], *SHAPES[name], generator=generator) for name in ("eeg", "spectrogram")
    }
    if masks:
        for name, own in dict(values).items():
            mask = torch.zeros_like(own, dtype=torch.bool)
            mask[0, :, 1] = True
            mask[1, 0] = True
            mask[2, -2:] = True
            own[mask] = 0
            values[f"mask_{name}"] = mask
    votes = torch.rand(samples, CLASSES, generator=generator)
    return values | {"targets": votes / votes.sum(dim=1, keepdim=True)}


def graphs_of(values, coherence=None):
    """A torch_geometric Batch a window; without coherence, with edges that nothing reads."""
    found = []
    for window in range(values.shape[1]):
        parts = []
        for sample in range(len(values)):
            edges, weights = torch.tensor([[0, 1], [1, 0]]), torch.ones(2, 1)
            if coherence is not None:
                edges, weights = dense_to_sparse(coherence[sample, window])
                weights = weights.unsqueeze(1)
            parts.append(Data(x=values[sample, window], edge_index=edges, edge_attr=weights))
        found.append(Batch.from_data_list(parts))
    return found


def write_study(folder, samples=6):
    """A dataset of votes with masks, and an ensemble of two members on real labels and one on permuted ones."""
    random = np.random.default_rng(0)
    shapes = {name: (WINDOWS[name], *SHAPES[name]) for name in SHAPES}
    path = folder / "dataset.h5"
    with write_dataset(
        path, "votes", "pattern", classes=["a", "b", "c"], unit="dB", source="test", source_sha256="0"
    ) as new:
        names = [f"{name}{unit}" for name in SHAPES for unit in range(np.prod(SHAPES[name]))]
        branches = [name for name in SHAPES for _ in range(np.prod(SHAPES[name]))]
        new.features(pd.DataFrame({"name": names, "branch": branches}))
        start = 0
        for name, shape in shapes.items():
            count = int(np.prod(SHAPES[name]))
            units = np.broadcast_to(np.arange(start, start + count).reshape(SHAPES[name]), shape)
            start += count
            new.branch(name, units, samples, "band", masked=True)
            mask = np.zeros((samples, *shape), bool)
            mask[2, 0] = True
            new.append(name, random.normal(3, 2, (samples, *shape)), mask)
        new.target(random.dirichlet(np.ones(3), samples))
        new.samples(pd.DataFrame({"id": [f"segment-{place}" for place in range(samples)]}))
    with Dataset.open(path) as dataset:
        modules = [network(seed=seed) for seed in range(3)]
        ensemble = Ensemble(
            model="tiny", specification=specification(), task="votes", outputs=3, features=len(names),
            axis=feature_axis(dataset), branches=context_of(dataset).branches, auxiliary={},
            members=[Member(0, 0), Member(1, 1), Member(2, 0, permuted=1)],
            states=stack_states([module.state_dict() for module in modules]),
            scalings={name: fit(dataset, name, np.arange(4)) for name in shapes}, target_center=0.0, target_scale=1.0,
        )  # fmt: skip
    ensemble.save(folder / "ensemble.safetensors")
    return path, folder / "ensemble.safetensors", ensemble
