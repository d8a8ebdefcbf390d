"""What is kept of attributions: magnitude and direction of every feature, streamed over batches of samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from consilience.attribution.function import Tensors
from consilience.errors import ConsilienceError


class UnitSums:
    """Sums over the elements of each feature: from tensors (..., *shape), one a branch, to (..., features).

    `units` are the unit maps, int (*shape) a branch; elements of unit -1 belong to no feature and are left out.
    """

    def __init__(self, units: Sequence[np.ndarray], features: int, device: torch.device | str = "cpu") -> None:
        flat = np.concatenate([np.asarray(part).ravel() for part in units]).astype(np.int64)
        self.by_branch = tuple(torch.as_tensor(np.asarray(part).astype(np.int64), device=device) for part in units)
        self.dimensions = [np.asarray(part).ndim for part in units]
        self.features = features
        elements = np.flatnonzero(flat >= 0)
        own = flat[elements]
        # One element a feature is the common case of genes, pixels and k-mers: then a sum is a choice of elements.
        self.single = len(own) == features and len(np.unique(own)) == features
        if self.single:
            elements = elements[np.argsort(own)]
            self.identity = len(elements) == len(flat) and bool((np.diff(elements) == 1).all())
        self.elements = torch.as_tensor(elements, device=device)
        self.own = torch.as_tensor(own, device=device)

    def __call__(self, tensors: Tensors) -> torch.Tensor:
        """Return (..., features), float64 where elements were added up."""
        flat = [tensor.flatten(-count) for tensor, count in zip(tensors, self.dimensions, strict=True)]
        joined = flat[0] if len(flat) == 1 else torch.cat(flat, dim=-1)
        if self.single:
            return joined if self.identity else joined.index_select(-1, self.elements)
        chosen = joined.index_select(-1, self.elements).double()
        sums = chosen.new_zeros((*joined.shape[:-1], self.features))
        return sums.index_add_(-1, self.own, chosen)

    def spread(self, effects: torch.Tensor, like: Tensors) -> Tensors:
        """Divide effects (..., features) evenly over the elements: tensors (..., *shape), one a branch."""
        counts = torch.bincount(torch.cat([part[part >= 0] for part in self.by_branch]), minlength=self.features)
        shares = effects / counts
        parts = []
        for units, tensor in zip(self.by_branch, like, strict=True):
            flat = units.flatten()
            part = torch.where(flat >= 0, shares[..., flat.clamp(min=0)], 0)
            parts.append(part.reshape(*effects.shape[:-1], *units.shape).to(tensor))
        return tuple(parts)


class SampleMeans:
    """Means over samples of blocks (members, targets, samples, size): over all, and of each class over its own.

    With `classes` of three or more, targets are the classes, and row c of the second mean is over the samples whose
    class is c. With two, the one target concerns both, so that the two means are the same. Sums are float64.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.total: torch.Tensor | None = None
        self.own: torch.Tensor | None = None
        self.counts = np.zeros(max(classes, 1), dtype=np.int64)

    def add(self, block: torch.Tensor, labels: np.ndarray | None) -> None:
        """Add samples; `labels` (samples,) are their classes, None for a regression."""
        if self.total is None:
            self.total = block.new_zeros((*block.shape[:2], block.shape[3]), dtype=torch.float64)
            self.own = torch.zeros_like(self.total) if self.classes > 2 else None
        if self.own is None:
            self.counts[0] += block.shape[2]
            self.total += block.sum(dim=2, dtype=torch.float64)
            return
        for label in np.unique(labels):
            part = block[:, :, torch.as_tensor(np.flatnonzero(labels == label), device=block.device)]
            sums = part.sum(dim=2, dtype=torch.float64)
            self.counts[label] += part.shape[2]
            self.total += sums
            self.own[:, label] += sums[:, label]

    def means(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return float64 (members, targets, size) over all, and over own class (None for a regression)."""
        if self.total is None:
            raise ConsilienceError("no samples to explain")
        total = self.total.cpu().numpy() / self.counts.sum()
        if self.own is None:
            return total, total if self.classes else None
        if not self.counts.all():
            raise ConsilienceError(f"class {int(np.argmin(self.counts))} (counted from 0) has no explained sample")
        return total, self.own.cpu().numpy() / self.counts[None, :, None]


class Magnitude:
    """The mean over samples of |sum of a feature's attributions|, and of the sum with its sign."""

    def __init__(self, sums: UnitSums, classes: int) -> None:
        self.sums = sums
        self.samples, self.signed = SampleMeans(classes), SampleMeans(classes)

    def add(self, attributions: Tensors, labels: np.ndarray | None) -> None:
        """Add attributions (members, targets, samples, *shape), a tensor a branch."""
        sums = self.sums(attributions)
        self.signed.add(sums, labels)
        self.samples.add(sums.abs(), labels)

    def means(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return float64 (members, targets, features) over all, and over own class (None for a regression)."""
        return self.samples.means()

    def signed_means(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the means with their sign, as `means` does those of sizes."""
        return self.signed.means()


class Direction:
    """The mean over samples of the sum over a feature's elements of dF/dz x spread / scale.

    That is the change of F when all elements of the feature rise by their own standard deviation, to first order.
    `rises` are spread / scale, (*shape) a branch.
    """

    def __init__(self, sums: UnitSums, classes: int, rises: Sequence[np.ndarray]) -> None:
        self.sums = sums
        self.rises = [torch.as_tensor(np.asarray(rise, dtype=np.float64)) for rise in rises]
        self.samples = [SampleMeans(classes) for _ in rises]

    def add(self, gradients: Tensors, labels: np.ndarray | None) -> None:
        """Add gradients (members, targets, samples, *shape), a tensor a branch; masked elements are 0 already."""
        for means, gradient in zip(self.samples, gradients, strict=True):
            means.add(gradient.flatten(3), labels)

    def means(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return float64 (members, targets, features) over all, and over own class (None for a regression)."""
        every, own = zip(*(means.means() for means in self.samples), strict=True)
        return self._sum(every), None if own[0] is None else self._sum(own)

    def _sum(self, means: Sequence[np.ndarray]) -> np.ndarray:
        device = self.sums.elements.device
        shaped = (
            torch.as_tensor(mean).reshape(*mean.shape[:2], *rise.shape) * rise
            for mean, rise in zip(means, self.rises, strict=True)
        )
        return self.sums(tuple(tensor.to(device) for tensor in shaped)).cpu().numpy()


def combine(magnitude: np.ndarray, direction: np.ndarray) -> dict[str, np.ndarray]:
    """Return magnitude, direction and average_attribution = sign(direction) x magnitude, by name, float32."""
    average = np.sign(direction) * magnitude
    parts = {"magnitude": magnitude, "direction": direction, "average_attribution": average}
    return {name: values.astype(np.float32) for name, values in parts.items()}
