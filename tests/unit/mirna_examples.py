"""Pairs, chaos games walked step by step, and small networks that the tests of the mirna slice share."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import torch
from torch import nn

from consilience.attribution.function import EnsembleFunction, target_map
from consilience.configuration import slice_schema
from consilience.domains.mirna.model import build
from consilience.networks import NetworkContext
from consilience.study_checks import completed
from tests.unit.attribution_examples import batch_of

CORNERS = {"A": (0, 0), "C": (1, 0), "G": (1, 1), "T": (0, 1)}
PAIRED = {"A": "T", "C": "G", "G": "C", "T": "A", "N": "N"}
COLUMNS = ["mature_miRNA_Transcript", "mRNA_Site_Transcript", "validation"]
BRANCHES = ("mirna", "site")
DOUBLE = torch.float64
# What the examples scale with, by branch: z = (x - center) / scale.
CENTERS, SCALES = (0.015, 0.02), (0.04, 0.06)


def drawn_sequence(random, length, letters="ACGT"):
    return "".join(letters[place] for place in random.integers(len(letters), size=length))


def partner(sequence):
    """The strand that pairs with a sequence, letter by letter from its end."""
    return "".join(PAIRED[letter] for letter in reversed(sequence))


def neighbors(sequence):
    """How often each letter stands before each other."""
    return Counter(sequence[place : place + 2] for place in range(len(sequence) - 1))


def valid_kmers(sequence, k):
    """Start (from 0) and text of every k-mer without N."""
    windows = [(start, sequence[start : start + k]) for start in range(len(sequence) - k + 1)]
    return [(start, kmer) for start, kmer in windows if "N" not in kmer]


def walked(kmer):
    """Row and column where the chaos game ends after a k-mer's letters, in an image of 2^k by 2^k."""
    x = y = 0.5
    for letter in kmer:
        x, y = (x + CORNERS[letter][0]) / 2, (y + CORNERS[letter][1]) / 2
    return int(y * 2 ** len(kmer)), int(x * 2 ** len(kmer))


def counted(sequence, k):
    """The counts of a sequence's k-mers as an image, walked one by one."""
    image = np.zeros((2**k, 2**k), np.int64)
    for _, kmer in valid_kmers(sequence, k):
        image[walked(kmer)] += 1
    return image


def image_of(sequence, k):
    return (counted(sequence, k) / len(valid_kmers(sequence, k))).astype(np.float32)


def pairs_table(count=12, seed=0, mirna=(20, 24), site=(30, 50)):
    """Random pairs, labels 1 and 0 in turn; sequences of any length in the half-open ranges."""
    random = np.random.default_rng(seed)
    lengths = [random.integers(*bounds, size=count) for bounds in (mirna, site)]
    rows = [
        (drawn_sequence(random, one), drawn_sequence(random, other), (number + 1) % 2)
        for number, (one, other) in enumerate(zip(*lengths, strict=True))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def specification(**changes):
    """A model's settings with the schema's defaults."""
    return completed(changes, slice_schema("mirna")["properties"]["models"]["additionalProperties"])


TINY = {"channels": [2, 3, 2, 3], "mirna_kernels": [1, 3], "site_kernels": [1, 5], "hidden": [6, 5], "dropout": 0.2}


def network(k, seed=0, dtype=torch.float32, **changes):
    """A network in eval mode whose batch norms are not neutral."""
    torch.manual_seed(seed)
    context = NetworkContext(dict.fromkeys(BRANCHES, (2**k, 2**k)), 2, {}, 2 * 4**k)
    module = build(specification(**changes), context)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            for values in (part.running_mean, part.bias):
                nn.init.normal_(values, std=0.2)
            for values in (part.running_var, part.weight):
                nn.init.uniform_(values, 0.5, 1.5)
    return module.to(dtype).eval()


def function_of(modules):
    """Networks of one kind as the members of one function, the log-odds of a pair."""
    states = {name: torch.stack([one.state_dict()[name] for one in modules]) for name in modules[0].state_dict()}
    return EnsembleFunction(modules[0], states, *target_map("classification", 2))


def scaler(dtype=DOUBLE):
    """What turns the frequencies of a branch, by its place, into inputs."""
    return lambda place, array: (torch.as_tensor(array).to(dtype) - CENTERS[place]) / SCALES[place]


def inputs_of(pairs, k, dtype=DOUBLE):
    """Scaled images (pairs, 2^k, 2^k) of each branch of pairs of sequences, walked one by one."""
    images = [np.stack([image_of(sequence, k) for sequence in branch]) for branch in zip(*pairs, strict=True)]
    return tuple(scaler(dtype)(place, part) for place, part in enumerate(images))


def log_odds(module, pairs, k):
    """F of pairs of sequences, (pairs,)."""
    with torch.no_grad():
        outputs = module(*inputs_of(pairs, k))
    return (outputs[:, 1] - outputs[:, 0]).numpy()


def replaced(sequence, place, letter):
    return sequence[:place] + letter + sequence[place + 1 :]


def slow_effects(module, pair, branch, k):
    """The mean fall of F under the three substitutions of every letter of one branch; None for N."""
    mutants = [
        [*pair[:branch], replaced(pair[branch], place, other), *pair[branch + 1 :]]
        for place, letter in enumerate(pair[branch])
        for other in "ACGT".replace(letter, "")
    ]
    wild, *values = log_odds(module, [pair, *mutants], k)
    values, falls = iter(values), []
    for letter in pair[branch]:
        own = [next(values) for _ in "ACGT".replace(letter, "")]
        falls.append(None if letter == "N" else wild - np.mean(own))
    return falls


def slowly_spread(effects, sequence, k):
    """Divide each letter's effect among the k-mers that cover it, one by one."""
    image, kmers = np.zeros((2**k, 2**k)), valid_kmers(sequence, k)
    for place in range(len(sequence)):
        covering = [kmer for start, kmer in kmers if start <= place < start + k]
        for kmer in covering:
            image[walked(kmer)] += float(effects[place]) / len(covering)
    return image


PAIRS = [
    ("TGAGGTAGTAGGTTGTATAGTT", "AAAGCTACTACCTCATTCCTTTGAGACC"),
    ("TAGCAGCACGTAAATATTGGCG", "TGCTGCTNACGGTTAACCGTGTGCTGCTA"),
    ("ACGTNACGTTGCA", "GGGGGGGGACGTACGTACGTACGTTTTTCC"),
]


def batch_of_pairs(modules, pairs=PAIRS, k=3, keys=None, references=None, **parts):
    """A batch of pairs of sequences, that tells what they are."""
    inputs = inputs_of(pairs, k)
    about = pd.DataFrame(pairs, columns=list(BRANCHES))
    keys = list(range(7, 7 + len(pairs))) if keys is None else keys
    function = function_of(modules)
    given = {"keys": keys, "references": references, "about": about, "scaled": scaler()}
    return batch_of(function, inputs, **(given | parts))


class Product(nn.Module):
    """F = weight x share of one k-mer of the miRNA x share of one of the site; shares are unscaled first."""

    def __init__(self, kmers, weight=50.0):
        super().__init__()
        self.places = [walked(kmer) for kmer in kmers]
        self.weight = nn.Parameter(torch.tensor(weight, dtype=DOUBLE))
        self.eval()

    def forward(self, mirna, site):
        shares = [
            images[:, row, column] * scale + center
            for images, (row, column), center, scale in zip((mirna, site), self.places, CENTERS, SCALES, strict=True)
        ]
        value = self.weight * shares[0] * shares[1]
        return torch.stack([-value, value], dim=1) / 2


class Sum(nn.Module):
    """A network of each branch alone, added up."""

    def __init__(self, k):
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Sequential(nn.Flatten(), nn.Linear(4**k, 8), nn.ReLU(), nn.Linear(8, 2)) for _ in BRANCHES
        )
        self.double().eval()

    def forward(self, mirna, site):
        return self.parts[0](mirna) + self.parts[1](site)
