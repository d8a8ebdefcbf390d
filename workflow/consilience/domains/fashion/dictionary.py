"""What a dictionary is worth: its errors beside PCA's, the atoms of every class, and what is lost without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from consilience.attribution.function import EnsembleFunction
from consilience.dataset import Dataset
from consilience.domains.fashion.agreement import unit
from consilience.networks import flattened
from consilience.principal_components import errors_of
from consilience.scaling import Scaling, scaled_inputs
from consilience.sparse_autoencoder import EVALUATION_ROWS, SparseAutoencoder, quality
from consilience.training.members import stable_seed

ERRORS = ("mean_squared_error", "normalized_mean_squared_error", "explained_variance")
QUALITY = ("model", "role", "encoder", "size", *ERRORS, "l0", "dead_share", "samples")
COMPONENTS = 50  # of the PCA that every dictionary is held against, beside that with k components
DRAWS = 5  # random orders of atoms whose mean an ablation is held against
RESULTS = ("codes_removed", "true_class_logit", "recall")
POINTS = 14  # numbers of atoms at which an ablation curve is measured, beside 0


class Pictures:
    """Samples of a dataset, scaled and flat; like a tensor (samples, elements), with a length, and split into blocks.

    Blocks are read as they are asked for, so that a role is never in memory as a whole.
    """

    def __init__(self, dataset: Dataset, scalings: dict[str, Scaling], rows: np.ndarray, device: str = "cpu") -> None:
        self.dataset, self.scalings, self.rows, self.device = dataset, scalings, rows, device

    def __len__(self) -> int:
        return len(self.rows)

    def split(self, size: int) -> Iterator[Tensor]:
        """Yield float32 (block, elements) of `size` samples at most."""
        for start in range(0, len(self.rows), size):
            inputs, _ = scaled_inputs(self.dataset, self.scalings, self.rows[start : start + size])
            yield flattened([torch.from_numpy(part).to(self.device) for part in inputs])

    def whole(self) -> Tensor:
        """Return all samples at once."""
        return torch.cat(list(self.split(EVALUATION_ROWS)))


def component_rows(center: Tensor, vectors: Tensor, roles: Mapping[str, Pictures]) -> list[dict[str, Any]]:
    """Return the errors of principal components by role: those along `vectors`; see `errors_of`."""
    count = vectors.shape[1]
    return [
        {"role": role, "encoder": "pca", "size": count, "l0": count, "samples": len(pictures)}
        | errors_of(center, vectors, pictures)
        for role, pictures in roles.items()
    ]


def quality_rows(encoder: SparseAutoencoder, center: Tensor, roles: Mapping[str, Pictures]) -> list[dict[str, Any]]:
    """Return the quality of a dictionary by role; `center` (elements,) is the mean of the training rows."""
    return [
        {"role": role, "encoder": "autoencoder", "size": encoder.k, "samples": len(pictures)}
        | quality(encoder, pictures, center)
        for role, pictures in roles.items()
    ]


@dataclass(frozen=True)
class CodeStatistics:
    """How the codes of the training role differ between a class and all others, each (classes, atoms) but `samples`.

    `selectivity` is the difference of the two means in units of the standard deviation within both (Cohen 1988,
    "Statistical power analysis", section 2.2: pooled); NaN for an atom that no picture excites. `inside` and `outside`
    are the means, `share_inside` and `share_outside` the shares of the pictures that excite an atom.
    """

    selectivity: np.ndarray
    inside: np.ndarray
    outside: np.ndarray
    share_inside: np.ndarray
    share_outside: np.ndarray
    samples: np.ndarray

    @classmethod
    def of(cls, blocks: Iterator[tuple[np.ndarray, np.ndarray]], classes: int) -> CodeStatistics:
        """Gather them from blocks of codes (samples, atoms) and labels (samples,)."""
        sums, count = 0.0, np.zeros(classes)
        for codes, labels in blocks:
            member = (labels == np.arange(classes)[:, None]).astype(np.float64)
            codes = codes.astype(np.float64)
            sums = sums + np.stack([member @ part for part in (codes, codes**2, codes > 0)])
            count += member.sum(axis=1)
        own, others = count[:, None], (count.sum() - count)[:, None]
        inside, outside = sums / own, (sums.sum(axis=1, keepdims=True) - sums) / others
        spread = sum(n * (part[1] - part[0] ** 2) for n, part in ((own, inside), (others, outside)))
        # What rounding leaves of a constant is no spread.
        spread = np.where(spread > 1e-12 * sums[1].sum(axis=0), spread, 0) / (count.sum() - 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            selectivity = (inside[0] - outside[0]) / np.sqrt(spread)
        return cls(selectivity, inside[0], outside[0], inside[2], outside[2], count.astype(int))

    def ranked(self, target: int) -> np.ndarray:
        """Return the atoms that any picture excites, the most selective of a class first."""
        values = self.selectivity[target]
        return np.argsort(-values, kind="stable")[: np.count_nonzero(~np.isnan(values))]

    def active(self, target: int) -> np.ndarray:
        """Return the atoms that pictures of the class excite, the largest mean code within the class first."""
        values = self.inside[target]
        return np.argsort(-values, kind="stable")[: np.count_nonzero(values > 0)]

    def drawn(self, target: int, random: np.random.Generator) -> np.ndarray:
        """Return the atoms of `active`, drawn without replacement in proportion to the mean code within the class.

        The smallest of exponential variables with such rates is drawn first, and so on (Efraimidis and Spirakis 2006,
        "Weighted random sampling with a reservoir", algorithm A).
        """
        atoms = self.active(target)
        return atoms[np.argsort(random.exponential(size=len(atoms)) / self.inside[target, atoms], kind="stable")]


@torch.no_grad()
def code_blocks(
    encoder: SparseAutoencoder, pictures: Pictures, labels: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the codes of pictures with their labels; `labels` (samples of the dataset,) are all classes."""
    start = 0
    for block in pictures.split(EVALUATION_ROWS):
        rows = pictures.rows[start : start + len(block)]
        yield encoder(block).cpu().numpy(), labels[rows]
        start += len(block)


def atom_rows(
    statistics: CodeStatistics, atoms: np.ndarray, importance: np.ndarray, classes: Sequence[str], count: int
) -> list[dict[str, Any]]:
    """Return the `count` most selective atoms of every class, a row each.

    `atoms` (elements, atoms) is the dictionary, `importance` (classes, elements) the mean absolute attribution over a
    class; `importance_correlation` is Pearson's between it and the atom's absolute values. All atoms share the outline
    of what pictures show, so that its level is that of the atoms that any training picture excites:
    `median_correlation` is their median, `correlation_rank_share` the share of them whose correlation is smaller.
    """
    correlation = unit(importance) @ unit(np.abs(atoms).T).T
    ranked = [statistics.ranked(target) for target in range(len(classes))]
    return [
        {
            "class": name,
            "rank": rank,
            "atom": int(atom),
            "selectivity": statistics.selectivity[target, atom],
            "mean_in_class": statistics.inside[target, atom],
            "mean_elsewhere": statistics.outside[target, atom],
            "share_in_class": statistics.share_inside[target, atom],
            "share_elsewhere": statistics.share_outside[target, atom],
            "importance_correlation": correlation[target, atom],
            **_level(correlation[target, atom], correlation[target, ranked[target]]),
            "samples": int(statistics.samples[target]),
        }
        for target, name in enumerate(classes)
        for rank, atom in enumerate(ranked[target][:count], start=1)
    ]


def _level(value: float, values: np.ndarray) -> dict[str, float]:
    """Return the median of a class's correlations, and the share of them below one."""
    defined = values[np.isfinite(values)]
    if not np.isfinite(value):
        return dict.fromkeys(("median_correlation", "correlation_rank_share"), float("nan"))
    return {"median_correlation": np.median(defined), "correlation_rank_share": np.mean(defined < value)}


def removals(most: int) -> np.ndarray:
    """Return the numbers of atoms at which a curve is measured: 0, 1 and on to `most`, ever further apart."""
    return np.unique(np.minimum([0, *np.rint(np.geomspace(1, max(most, 1), POINTS)).astype(int)], most))


def without(head: EnsembleFunction, codes: Tensor, target: int, order: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return RESULTS (results, counts) of codes without the first atoms of `order`: what is removed, and what is left.

    `codes` (samples, atoms) are of pictures of the class `target`; `counts` says how many atoms are set to 0. What is
    removed is the mean number of codes that were not 0. The logit is centered and a mean over members and samples; a
    picture is recalled where the members' mean probability is largest.
    """
    kept = torch.ones(len(counts), codes.shape[1], dtype=codes.dtype, device=codes.device)
    for place, count in enumerate(counts):
        kept[place, torch.as_tensor(order[:count], device=codes.device)] = 0
    values = head.values(((codes * kept[:, None]).flatten(0, 1),)).unflatten(1, (len(counts), len(codes)))
    right = values.softmax(dim=3).mean(dim=0).argmax(dim=2) == target
    removed = (1 - kept).double() @ (codes > 0).double().mean(dim=0)
    found = (removed, values[..., target].mean(dim=(0, 2)), right.double().mean(dim=1))
    return np.stack([part.cpu().numpy() for part in found])


def ablation_rows(
    head: EnsembleFunction,
    codes_of: Callable[[int], Tensor],
    statistics: CodeStatistics,
    classes: Sequence[str],
    most: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Return what is left of every class when its atoms are set to 0 one after the other, a row a number of atoms.

    `codes_of(target)` gives codes (samples, atoms) of pictures of the class. `selective` takes the most selective atoms
    first, `active` those with the largest mean code within the class; `random` is the mean over seeded draws of the
    latter. All classes are measured at the same numbers of atoms, so that a mean over classes is one of all of them.
    """
    counts = removals(min(most, *(len(statistics.active(target)) for target in range(len(classes)))))
    rows = []
    for target, name in enumerate(classes):
        codes = codes_of(target)
        draws = [np.random.default_rng(stable_seed(seed, "ablation", name, draw)) for draw in range(DRAWS)]
        orders = {
            "selective": [statistics.ranked(target)],
            "active": [statistics.active(target)],
            "random": [statistics.drawn(target, random) for random in draws],
        }
        for order, lists in orders.items():
            found = np.mean([without(head, codes, target, one, counts) for one in lists], axis=0)
            rows += [
                {"class": name, "order": order, "removed": int(count)}
                | dict(zip(RESULTS, column, strict=True))
                | {"samples": len(codes)}
                for count, column in zip(counts, found.T, strict=True)
            ]
    return rows
