"""Dictionaries of calls: fitted one beside the other, held against controls, and one of them chosen by a rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from consilience.domains.variants.levels import DEAD, FAR_FROM_K
from consilience.errors import ConsilienceError
from consilience.principal_components import directions, errors_of
from consilience.resume import Part
from consilience.sparse_autoencoder import EVALUATION_ROWS, SMALLEST, Recipe, SparseAutoencoder, quality
from consilience.training.members import stable_seed

SHARE, MOST = 8, 64
RECIPE = ("epochs", "batch_size", "auxiliary", "auxiliary_atoms")
# Times 1 / sqrt(atoms), the law that Gao et al. (2024, appendix A.3) found. The factor is the one at which dictionaries
# of k-mers and attributes explained most of the validation role, and came again from another seed most often.
STEP = 0.08
RULE = (
    "the smallest k, then the fewest atoms, among the dictionaries whose explained variance on the validation role is "
    "no more than the tolerance below the best one's; those with more than {dead:.0%} dead atoms, or codes a call more "
    "than {far:.0%} away from k, only where there is no other"
)


@dataclass(frozen=True)
class Candidate:
    """One dictionary of a sweep, fitted; `quality` is of the validation role, `training` of the training role."""

    module: SparseAutoencoder
    quality: Mapping[str, float | None]
    training: Mapping[str, float | None]

    @property
    def atoms(self) -> int:
        """The number of atoms."""
        return self.module.decoder.in_features

    @property
    def name(self) -> str:
        """Inputs, atoms and k, as the earlier system named its folders: 4096to4096_k64."""
        return f"{self.module.decoder.out_features}to{self.atoms}_k{self.module.k}"

    @property
    def sound(self) -> bool:
        """Whether few atoms are dead, and codes are as many as was asked for, in training calls too.

        Of these a dictionary that knows them by heart has fewer or more, and networks learn from other codes than they
        are tested on: the threshold of batch_top_k is set on validation calls.
        """
        counts = (self.quality["l0"], self.training["l0"])
        return self.training["dead_share"] <= DEAD and all(abs(l0 / self.module.k - 1) <= FAR_FROM_K for l0 in counts)

    def told(self) -> dict[str, Any]:
        """Return what the sweep tells of it: its quality on validation calls, codes and dead atoms in training too."""
        own = {"dictionary": self.name, "atoms": self.atoms, "k": self.module.k, "sound": self.sound}
        return own | dict(self.quality) | {f"{name}_train": self.training[name] for name in ("l0", "dead_share")}


def sizes(settings: Mapping[str, Any], width: int) -> list[tuple[int, int]]:
    """Return (atoms, k) of the dictionary and of its sweep, each once; refuses a k beyond the atoms.

    Without a k it is a `SHARE` of the embedding's width, `MOST` at most, that of the earlier system.
    """
    usual = settings["k"] or max(1, min(MOST, width // SHARE))
    found = []
    for place, one in enumerate([{}, *settings["sweep"]]):
        expansion, k = one.get("expansion", settings["expansion"]), one.get("k", usual)
        atoms = max(1, round(expansion * width))
        if k > atoms:
            key = "dictionary" if place == 0 else f"dictionary.sweep.{place - 1}"
            raise ConsilienceError(
                f"{key}: k is {k}, but {expansion:g} times the embedding's {width} numbers are {atoms} atoms; lower k "
                "or raise expansion"
            )
        found.append((atoms, k))
    return list(dict.fromkeys(found))


def fitted(
    training: Tensor,
    validation: Tensor,
    size: tuple[int, int],
    settings: Mapping[str, Any],
    seed: int,
    tick: Callable[[], None] = lambda: None,
    part: Part | None = None,
) -> Candidate:
    """Fit a dictionary of `size` (atoms, k) on rows (rows, inputs); see `SparseAutoencoder.fit`."""
    step = settings["learning_rate"] or STEP / math.sqrt(size[0])
    recipe = Recipe(learning_rate=step, **{key: settings[key] for key in RECIPE})
    module = SparseAutoencoder(training.shape[1], *size, settings["activation"], recipe).to(training.device)
    found = module.fit(training, validation, stable_seed(seed, *size), tick, part)
    return Candidate(module, found["validation"], quality(module, training, training.mean(dim=0)))


def best(candidates: Sequence[Candidate], tolerance: float) -> Candidate:
    """Choose by `RULE`, on the validation role alone."""
    sound = [one for one in candidates if one.sound] or list(candidates)
    explained = [one.quality["explained_variance"] or 0.0 for one in sound]
    near = [one for one, value in zip(sound, explained, strict=True) if value >= max(explained) - tolerance]
    return min(near, key=lambda one: (one.module.k, one.atoms))


def codes_by_batch_size(module: SparseAutoencoder, inputs: Tensor, sizes: Sequence[int]) -> dict[str, float]:
    """Return the mean number of codes a row, the rows (rows, inputs) encoded in batches of each size, by its text."""
    with torch.no_grad():
        return {
            str(size): sum(int(torch.count_nonzero(module(rows))) for rows in inputs.split(size)) / len(inputs)
            for size in sizes
        }


def matched(atoms: Tensor, other: Tensor) -> np.ndarray:
    """Return each atom's cosine (atoms,) with its partner among `other`, both (inputs, atoms).

    Every atom has a partner of its own, the sum of cosines as large as it can be (Hungarian method).
    """
    cosines = (functional.normalize(atoms, dim=0).T @ functional.normalize(other, dim=0)).cpu().numpy()
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    return cosines[rows, columns]


def controls(training: Tensor, test: Tensor, atoms: int, k: int, seed: int) -> dict[str, dict[str, float | None]]:
    """Return the errors on `test` (rows, inputs) of what a dictionary is held against, by name.

    `principal_components` has k components, the same for all rows; `random_dictionary` has as many atoms and codes, but
    atoms as drawn, codes that are the k largest projections, and one factor on them all that least squares sets.
    """
    center, vectors = directions(training)
    return {
        "principal_components": errors_of(center, vectors[:, :k], test),
        "random_dictionary": quality(_random_dictionary(training, atoms, k, seed), test, training.mean(dim=0)),
    }


@torch.no_grad()
def _random_dictionary(training: Tensor, atoms: int, k: int, seed: int) -> SparseAutoencoder:
    module = SparseAutoencoder(training.shape[1], atoms, k).to(training.device)
    random = torch.Generator().manual_seed(stable_seed(seed, "random dictionary"))
    drawn = functional.normalize(torch.randn(module.atoms.shape, generator=random), dim=0).to(training)
    module.atoms.copy_(drawn)
    module.encoder.weight.copy_(drawn.T)
    module.encoder.bias.zero_()
    module.bias.copy_(training.mean(dim=0))
    fit, norm = 0.0, 0.0
    for rows in training.split(EVALUATION_ROWS):
        told = module.decode(module(rows)) - module.bias
        fit, norm = fit + float((told * (rows - module.bias)).sum()), norm + float(told.square().sum())
    module.atoms.mul_(fit / max(norm, SMALLEST))
    return module
