"""Codes of calls with planted truths, and the bias table of them, for the tests of the tables that tell of atoms."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from consilience.domains.variants.bias import bias_table

LEAST = 5
INVERSIONS, FIRST, SECOND, OF_TRUE, OF_FALSE, SMALL, PLACED = 0, 1, 2, 3, 4, 5, 6  # columns with a planted truth


@dataclass(frozen=True)
class Calls:
    """Codes (calls, atoms) and what is known of the calls and atoms."""

    codes: np.ndarray
    labels: np.ndarray
    samples: pd.DataFrame
    roles: np.ndarray
    features: pd.DataFrame

    @property
    def table(self):
        return bias_table(csr_matrix(self.codes), self.features, self.labels, self.samples, self.roles, LEAST)

    @property
    def training(self):
        return self.roles == "train"

    def atom(self, column):
        return int(self.features["atom"][column])

    def code(self, atom, training=True):
        """The codes (calls,) of an atom, by number, of the training calls or of all."""
        values = self.codes[:, int(np.flatnonzero(self.features["atom"] == atom)[0])]
        return values[self.training] if training else values

    def permuted(self, seed):
        order = np.random.default_rng(seed).permutation(len(self.labels))
        return replace(
            self,
            codes=self.codes[order],
            labels=self.labels[order],
            samples=self.samples.iloc[order].reset_index(drop=True),
            roles=self.roles[order],
        )


def drawn_calls(seed, calls=900, atoms=24, planted=True, datasets=("a", "b")):
    """Codes that know nothing, but for the first seven where `planted`; alive atoms have every third number."""
    random = np.random.default_rng(seed)
    on = random.random((calls, atoms)) < np.geomspace(0.5, 0.004, atoms)
    codes = on * random.exponential(size=(calls, atoms)).round(1)
    labels = random.integers(2, size=calls)
    chromosome = random.choice(["1", "2", "3", "10", "X"], calls, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    samples = pd.DataFrame(
        {
            "id": [f"call-{place}" for place in random.permutation(calls)],
            "chromosome": chromosome,
            "contig": np.char.add("chr", chromosome),
            "position": random.integers(1, 10**6, calls),
            "type": random.choice(["DEL", "INS", "INV", "BND", "CNV"], calls, p=[0.5, 0.2, 0.1, 0.1, 0.1]),
            "dataset": random.choice(datasets, calls),
        }
    )
    samples["has_sequence"] = np.arange(calls) % 4 > 0
    samples["size"] = np.where(samples["type"] == "BND", -1, 10 ** random.uniform(1.7, 4.5, calls)).astype(int)
    roles = random.choice(["train", "validation", "test", "excluded"], calls, p=[0.6, 0.1, 0.2, 0.1])
    if planted:
        chance = random.random(calls)
        codes[:, INVERSIONS] = (samples["type"] == "INV") & (chance < 0.8)
        codes[:, FIRST] = 7 * (chance < 0.3)
        codes[:, SECOND] = 2 * (chance < 0.3)
        codes[:, OF_TRUE] = 3 * (chance < np.where(labels, 0.6, 0.1))
        codes[:, OF_FALSE] = 3 * (chance < np.where(labels, 0.05, 0.7))
        codes[:, SMALL] = (samples["size"] >= 0) & (samples["size"] < 100)
        codes[:, PLACED] = ((samples["chromosome"] == "X") | (samples["dataset"] == datasets[-1])) & (chance < 0.9)
        codes[:, : PLACED + 1] *= 0.1 + random.exponential(size=(calls, PLACED + 1)).round(1)
    features = pd.DataFrame({"name": [f"atom {3 * place}" for place in range(atoms)], "atom": 3 * np.arange(atoms)})
    return Calls(codes.astype(np.float32), labels, samples, roles, features)
