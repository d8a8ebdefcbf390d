"""Attribution of a `votes_study` sample by sample and feature by feature, by captum where it is DeepLIFT."""

from __future__ import annotations

import numpy as np
import torch
from captum.attr import DeepLift, DeepLiftShap
from torch import nn

from consilience.attribution.references import background
from consilience.scaling import scaled_inputs
from consilience.training.members import stable_seed
from tests.unit.attribution_examples import IMAGE_UNITS, VECTOR_UNITS, opened

UNITS = {"image": IMAGE_UNITS, "vector": VECTOR_UNITS}
FEW = {"background": 3, "draws": 4}


def single_networks(study, make):
    """Yield every member by itself, loaded the plain way."""
    for member in range(len(study.ensemble.members)):
        module = make(study.ensemble.outputs).eval()
        states = {name: torch.as_tensor(values[member]) for name, values in study.ensemble.states.items()}
        module.load_state_dict(states, strict=True)
        yield module


def gradient_at(module, target, parts, auxiliary):
    """Return the gradient of one centered logit, an array (points, *shape) a branch; samples repeat `auxiliary`."""
    leaves = [part.clone().requires_grad_() for part in parts]
    copies = {name: values.expand(len(leaves[0]), *values.shape[1:]) for name, values in auxiliary.items()}
    outputs = module(*leaves, **copies)
    (outputs[:, target] - outputs.mean(dim=1)).sum().backward()
    return [leaf.grad.numpy() for leaf in leaves]


def value_at(module, target, parts, auxiliary):
    outputs = module(*parts, **auxiliary).detach()[0]
    return float(outputs[target] - outputs.mean())


class Sample:
    """One sample with all that the methods are told: what is compared with keeps the sample's values where masked."""

    def __init__(self, study, dataset, row):
        self.scalings = study.ensemble.scalings
        arrays, auxiliary = scaled_inputs(dataset, self.scalings, np.array([row]))
        self.parts = [torch.as_tensor(values) for values in arrays]
        self.auxiliary = {name: torch.as_tensor(values) for name, values in auxiliary.items()}
        self.hidden = {"image": dataset.mask("image", np.array([row]))[0], "vector": np.zeros(6, bool)}
        self.reference = self.keep_masked(
            [
                torch.as_tensor(-scaling.center / scaling.scale).expand_as(part)
                for part, scaling in zip(self.parts, self.scalings.values(), strict=True)
            ]
        )
        training = np.flatnonzero(study.split["role"] == "train")
        others = background(dataset, self.scalings, training, FEW["background"], 0)
        self.background = [self.keep_masked([torch.as_tensor(part[[n]]) for part in others]) for n in range(3)]
        self.key = stable_seed(0, study.split["sample"][row])

    def keep_masked(self, others):
        masks = [torch.as_tensor(mask) for mask in self.hidden.values()]
        return [torch.where(mask, part, other) for mask, part, other in zip(masks, self.parts, others, strict=True)]

    def noisy(self):
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence([self.key, 1]).generate_state(1)[0]))
        draws = []
        for _ in range(FEW["draws"]):
            copies = []
            for part, mask, scaling in zip(self.parts, self.hidden.values(), self.scalings.values(), strict=True):
                deviation = float(np.sqrt(np.mean((scaling.spread / scaling.scale) ** 2)))
                drawn = torch.randn(1, *part.shape[1:], generator=generator) * 0.15 * deviation
                copies.append(part + torch.where(torch.as_tensor(mask), 0, drawn))
            draws.append(copies)
        return [torch.cat(parts) for parts in zip(*draws, strict=True)]

    def places(self):
        random = np.random.default_rng([self.key, 2])
        return (random.permutation(3) + random.random(3)) / 3


def along(sample, reference, places):
    """Return the points from reference to sample, and the differences of both."""
    differences = [part - start for part, start in zip(sample.parts, reference, strict=True)]
    places = torch.as_tensor(places, dtype=torch.float32)
    points = [
        start + places.reshape(-1, *[1] * (start.ndim - 1)) * difference
        for start, difference in zip(reference, differences, strict=True)
    ]
    return points, [difference[0].numpy() for difference in differences]


def on_path(module, target, sample, reference, places):
    points, differences = along(sample, reference, places)
    slopes = gradient_at(module, target, points, sample.auxiliary)
    return [d * slope.mean(axis=0) for d, slope in zip(differences, slopes, strict=True)]


def occluded(module, target, sample):
    """Take every feature to its reference, one by one, and divide the effect among its elements."""
    whole = value_at(module, target, sample.parts, sample.auxiliary)
    maps = [np.zeros(part.shape[1:]) for part in sample.parts]
    for feature in range(6):
        changed = [part.clone() for part in sample.parts]
        for part, start, units in zip(changed, sample.reference, UNITS.values(), strict=True):
            part[0, units == feature] = start[0, units == feature]
        effect = whole - value_at(module, target, changed, sample.auxiliary)
        for values, units in zip(maps, UNITS.values(), strict=True):
            values[units == feature] = effect / max((units == feature).sum(), 1)
    return maps


def by_captum(method, module, target, sample):
    class Target(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self, image, vector, *auxiliary):
            outputs = self.module(image, vector, **dict(zip(sample.auxiliary, auxiliary, strict=True)))
            return outputs[:, target] - outputs.mean(dim=1)

    extra = tuple(sample.auxiliary.values())
    if method == "deeplift":
        found = DeepLift(Target()).attribute(
            tuple(sample.parts), tuple(sample.reference), additional_forward_args=extra
        )
    else:
        rows = tuple(torch.cat(parts) for parts in zip(*sample.background, strict=True))
        found = DeepLiftShap(Target()).attribute(tuple(sample.parts), rows, additional_forward_args=extra)
    return [part[0].detach().numpy() for part in found]


def map_by_hand(method, module, target, sample):
    """Attribute one sample, an array (*shape) a branch; paths by the midpoint rule."""
    here = [values[0] for values in gradient_at(module, target, sample.parts, sample.auxiliary)]
    if method == "saliency":
        return [np.abs(values) for values in here]
    if method == "gradient_x_input":
        return [part[0].numpy() * values for part, values in zip(sample.parts, here, strict=True)]
    if method == "integrated_gradients":
        return on_path(module, target, sample, sample.reference, (torch.arange(500) + 0.5) / 500)
    if method == "smoothgrad":
        return [values.mean(axis=0) for values in gradient_at(module, target, sample.noisy(), sample.auxiliary)]
    if method == "expected_gradients":
        each = [
            on_path(module, target, sample, reference, [place])
            for reference, place in zip(sample.background, sample.places(), strict=True)
        ]
        return [np.mean(parts, axis=0) for parts in zip(*each, strict=True)]
    return occluded(module, target, sample) if method == "occlusion" else by_captum(method, module, target, sample)


def summed(maps, hidden):
    """Sum what is not hidden over the elements of each feature, one by one."""
    sums = np.zeros(6)
    for (name, units), values in zip(UNITS.items(), maps, strict=True):
        for index in np.ndindex(units.shape):
            if units[index] >= 0 and not hidden[name][index]:
                sums[units[index]] += values[index]
    return sums


def by_hand(study, method, make):
    """Attribute sample by sample from zero in raw units.

    Returns attributions, and gradient x spread / scale, both (members, targets, samples, features).
    """
    with opened(study) as dataset:
        samples = [Sample(study, dataset, row) for row in range(len(dataset))]
    shape = (len(study.ensemble.members), study.ensemble.outputs, len(samples), 6)
    attributions, rises = np.zeros(shape), np.zeros(shape)
    for member, module in enumerate(single_networks(study, make)):
        for target, row in np.ndindex(shape[1:3]):
            sample = samples[row]
            maps = map_by_hand(method, module, target, sample)
            attributions[member, target, row] = summed(maps, sample.hidden)
            slopes = gradient_at(module, target, sample.parts, sample.auxiliary)
            rise = [
                slope[0] * scaling.spread / scaling.scale
                for slope, scaling in zip(slopes, sample.scalings.values(), strict=True)
            ]
            rises[member, target, row] = summed(rise, sample.hidden)
    return attributions, rises
