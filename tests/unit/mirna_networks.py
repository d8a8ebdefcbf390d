"""A prepared study of few pairs with networks of random weights, which the tests of miRNA analyses share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from consilience.configuration import own_methods
from consilience.dataset import Dataset
from consilience.domains.mirna.prepare import prepare
from consilience.domains.mirna.probing import Networks
from consilience.scaling import fit
from consilience.training.data import context_of, feature_axis
from consilience.training.ensemble import Ensemble
from consilience.training.members import Member
from tests.unit.mirna_examples import BRANCHES, TINY, drawn_sequence, image_of, network, partner, specification

K, TRAINED = 3, 16
ATTRIBUTION = {"methods": [], "reference": "dinucleotide_shuffle", "primary": "mutagenesis"}


def pairs_of(count=24, seed=0, planted=True):
    """Pairs of four families and of lengths of their own, half of them with a match of the seed; two hold N."""
    random = np.random.default_rng(seed)
    mirnas = [drawn_sequence(random, length) for length in (12, 14, 13, 15)]
    mirnas[3] = mirnas[3][:11] + "N" + mirnas[3][12:]
    rows = []
    for number in range(count):
        mirna, label = mirnas[number % 4], number // 4 % 2
        site = drawn_sequence(random, 18 + number % 5)
        start = int(random.integers(len(site) - 6))
        if label:
            site = site[:start] + partner(mirna[1:8]) + site[start + 7 :]
        if number == 6:
            site = site[:15] + "N" + site[16:]
        family = f"family-{number % 4}"
        rows.append((mirna, site, label, f"mir-{number % 4}", family, "", str(start + 1) if label and planted else ""))
    columns = ["mature_miRNA_Transcript", "mRNA_Site_Transcript", "validation", "mirna_name", "mirna_family"]
    return pd.DataFrame(rows, columns=[*columns, "gene_cluster", "planted_position"])


def write_study(folder, **changes):
    """Write the dataset of `pairs_of` and return its path."""
    pairs_of(**changes).to_csv(folder / "pairs.csv", index=False)
    settings = {"k": K, "source": {"kind": "csv", "path": str(folder / "pairs.csv")}}
    prepare([folder / "pairs.csv"], settings, folder / "dataset.h5", 0)
    return folder / "dataset.h5"


@dataclass
class Study:
    """An open dataset with its split and the members of one model, the first two of which are on real labels."""

    dataset: Dataset
    split: pd.DataFrame
    modules: list[torch.nn.Module]
    ensemble: Ensemble

    @classmethod
    def of(cls, dataset):
        ids = dataset.samples["id"].astype(str)
        roles = np.where(np.arange(len(ids)) < TRAINED, "train", "test")
        split = pd.DataFrame({"sample": ids, "group": dataset.samples["family"], "role": roles})
        modules = [network(K, seed, **TINY) for seed in range(3)]
        names = modules[0].state_dict()
        training = np.arange(TRAINED)
        ensemble = Ensemble(
            model="tiny", specification=specification(**TINY), task="classification", outputs=2, features=2 * 4**K,
            axis=feature_axis(dataset), branches=context_of(dataset).branches, auxiliary={},
            members=[Member(0, 0), Member(1, 1), Member(2, 0, permuted=1)],
            states={name: np.stack([one.state_dict()[name].numpy() for one in modules]) for name in names},
            scalings={branch: fit(dataset, branch, training) for branch in BRANCHES},
            target_center=0.0, target_scale=1.0,
        )  # fmt: skip
        return cls(dataset, split, modules, ensemble)

    @property
    def ids(self):
        return list(self.dataset.samples["id"].astype(str))

    def networks(self, path, methods=(), internal_batch=64):
        self.ensemble.save(path)
        settings = ATTRIBUTION | {"internal_batch": internal_batch}
        return Networks.load(
            self.dataset, self.split, str(path), settings, own_methods("mirna"), 0, "cpu", methods=methods
        )

    def scaled(self, branch, sequence):
        """The scaled image of one sequence, walked k-mer by k-mer."""
        scaling = self.ensemble.scalings[branch]
        return torch.from_numpy((image_of(sequence, K) - scaling.center) / scaling.scale).float()[None]

    @torch.no_grad()
    def log_odds(self, mirna, site):
        """F of a pair of sequences by every member on real labels."""
        inputs = self.scaled("mirna", mirna), self.scaled("site", site)
        outputs = [module(*inputs)[0].double().numpy() for module in self.modules[:2]]
        return np.array([output[1] - output[0] for output in outputs])

    def pair(self, sample):
        row = self.dataset.samples.iloc[self.ids.index(sample)]
        return row["mirna"], row["site"]
