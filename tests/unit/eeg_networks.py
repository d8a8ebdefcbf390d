"""A study of few EEG samples with networks of random weights, which the tests of EEG analyses share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from consilience.configuration import slice_schema
from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.domains.eeg.model import build
from consilience.domains.eeg.montage import BANDS_OF, CHANNELS, NODES, REGIONS, feature_name
from consilience.domains.eeg.probing import Networks
from consilience.scaling import fit
from consilience.study_checks import completed
from consilience.training.data import context_of, feature_axis
from consilience.training.ensemble import Ensemble, build_network
from consilience.training.members import Member

BRANCHES = ("eeg", "spectrogram")
WINDOWS = {"eeg": 5, "spectrogram": 7}
CLASSES = ["seizure", "lpd", "other"]
SAMPLES, TRAINED = 24, 12
TINY = {
    "graph_channels": 3, "graph_heads": 2, "recurrent_width": 4, "recurrent_layers": 1, "heads": 2, "hidden": [6],
}  # fmt: skip
# Of test samples: a channel absent throughout, a window of either branch, a region in one window.
NO_CHANNEL, NO_EEG_WINDOW, NO_SPECTROGRAM_WINDOW, NO_REGION = (13, "F3"), (15, 2), (17, 0), (20, "LL", 3)


def specification(**changes):
    """A model's settings with the schema's defaults."""
    return completed(TINY | changes, slice_schema("eeg")["properties"]["models"]["additionalProperties"])


def masks():
    found = {
        branch: np.zeros((SAMPLES, WINDOWS[branch], len(NODES[branch]), len(BANDS_OF[branch])), bool)
        for branch in BRANCHES
    }
    found["eeg"][NO_CHANNEL[0], :, CHANNELS.index(NO_CHANNEL[1])] = True
    found["eeg"][NO_EEG_WINDOW] = True
    found["spectrogram"][NO_SPECTROGRAM_WINDOW] = True
    found["spectrogram"][NO_REGION[0], NO_REGION[2], REGIONS.index(NO_REGION[1])] = True
    return found


def coherences(random):
    """Symmetric weights of edges (samples, windows, channels, channels), few of them above 0."""
    values = random.uniform(size=(SAMPLES, WINDOWS["eeg"], len(CHANNELS), len(CHANNELS)))
    values = np.triu(np.where(values > 0.985, values, 0), 1)
    return (values + values.swapaxes(2, 3)).astype(np.float32)


def write_study(path, coherence=False, classes=3, seed=0, order=None):
    """Write a dataset of eight patients, three samples each, whose ids tell their places; `order` turns the rows."""
    random, order = np.random.default_rng(seed), np.arange(SAMPLES) if order is None else np.asarray(order)
    places, features = 0, []
    inputs = {branch: random.normal(size=own.shape).astype(np.float32) for branch, own in masks().items()}
    votes = (
        random.multinomial(5, np.full(classes, 1 / classes), size=SAMPLES)
        + 2 * np.eye(classes, dtype=int)[np.arange(SAMPLES) % classes]
    )
    weights = coherences(random)
    with write_dataset(path, "votes", "pattern", "log10", "test", "0" * 64, classes=CLASSES[:classes]) as writer:
        for branch in BRANCHES:
            names = [feature_name(node, band) for node in NODES[branch] for band in BANDS_OF[branch]]
            units = places + np.arange(len(names)).reshape(len(NODES[branch]), -1)
            places += len(names)
            features += [{"name": name, "branch": branch} for name in names]
            shape = inputs[branch].shape[1:]
            writer.branch(branch, np.broadcast_to(units, shape), SAMPLES, scaling="band", masked=True)
            writer.append(branch, inputs[branch][order], masks()[branch][order])
        if coherence:
            writer.auxiliary("coherence", weights[order])
        writer.features(pd.DataFrame(features))
        writer.target((votes / votes.sum(axis=1, keepdims=True))[order])
        table = {"id": [f"s{place:02d}" for place in order], "patient_id": [f"p{place // 3}" for place in order]}
        writer.samples(pd.DataFrame(table | {"weight": votes.sum(axis=1)[order].astype(float)}))
    return path


def restless(module, seed):
    """Give a network biases, tokens that differ from window to window, and attention that is far from uniform."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, values in module.named_parameters():
            if "bias" in name:
                nn.init.normal_(values, std=0.3)
            if "in_proj_weight" in name or "recurrent.weight" in name:
                values *= 4
    return module.eval()


@dataclass
class Study:
    """An open dataset with its split and the members of one model, the first two of which are on real labels."""

    dataset: Dataset
    split: pd.DataFrame
    modules: list[nn.Module]
    ensemble: Ensemble

    @classmethod
    def of(cls, dataset, model="tiny", modules=None, **changes):
        ids = dataset.samples["id"].astype(str)
        places = ids.str[1:].astype(int).to_numpy()
        roles = np.where(places < TRAINED, "train", "test")
        split = pd.DataFrame({"sample": ids, "group": dataset.samples["patient_id"], "role": roles})
        context = context_of(dataset)
        modules = modules or [
            restless(build_network(build, specification(**changes), context, seed), seed) for seed in range(3)
        ]
        training = np.flatnonzero(roles == "train")
        ensemble = Ensemble(
            model=model, specification=specification(**changes), task="votes", outputs=context.outputs,
            features=context.features, axis=feature_axis(dataset), branches=context.branches,
            auxiliary=context.auxiliary, members=[Member(0, 0), Member(1, 1), Member(2, 0, permuted=1)],
            states={name: np.stack([one.state_dict()[name].numpy() for one in modules]) for name in modules[0].state_dict()},
            scalings={branch: fit(dataset, branch, training) for branch in BRANCHES},
            target_center=0.0, target_scale=1.0,
        )  # fmt: skip
        return cls(dataset, split, modules, ensemble)

    def networks(self, path, internal_batch=64, reference="mean"):
        self.ensemble.save(path)
        settings = {"reference": reference, "internal_batch": internal_batch}
        return Networks.load(self.dataset, self.split, str(path), settings, 0, "cpu")

    def row(self, sample):
        return list(self.dataset.samples["id"]).index(sample)

    def inputs(self, sample):
        """What a network takes for one sample: scaled by hand, with masks and whatever is auxiliary."""
        row, inputs, auxiliary = np.array([self.row(sample)]), [], {}
        for branch in BRANCHES:
            scaling, mask = self.ensemble.scalings[branch], self.dataset.mask(branch, row)
            values = (self.dataset.inputs(branch, row) - scaling.center) / scaling.scale
            inputs.append(torch.from_numpy(np.where(mask, 0, values)).float())
            auxiliary[f"mask_{branch}"] = torch.from_numpy(mask)
        own = {name: torch.from_numpy(values) for name, values in self.dataset.auxiliary(row).items()}
        return inputs, auxiliary | own


def centered(outputs):
    """F of raw outputs (classes,)."""
    outputs = np.asarray(outputs, np.float64)
    return np.array([outputs[1] - outputs[0]]) if len(outputs) == 2 else outputs - outputs.mean()
