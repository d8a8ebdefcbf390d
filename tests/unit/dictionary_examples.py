"""Small networks behind sparse dictionaries, and the slow way to integrate gradients over their switches."""

from __future__ import annotations

from itertools import pairwise

import torch

from consilience.attribution.function import EnsembleFunction, target_map
from consilience.networks import Encoded, MultilayerPerceptron
from consilience.sparse_autoencoder import SparseAutoencoder

INPUTS, ATOMS, K = 12, 30, 4


def encoded(seed, activation="top_k", hidden=(9, 6), outputs=3, atoms=ATOMS, k=K, shift=0.0, threshold=0.8, **head):
    """A network whose codes are of the size of its inputs; `shift` moves the encoder's bias."""
    generator = torch.Generator().manual_seed(seed)
    encoder = SparseAutoencoder(INPUTS, atoms, k, activation)
    with torch.no_grad():
        for values in (encoder.encoder.weight, encoder.encoder.bias, encoder.bias):
            values.copy_(torch.randn(values.shape, generator=generator) * (0.6 if values.ndim > 1 else 0.3))
        encoder.encoder.bias.add_(shift)
        encoder.atoms.copy_(torch.randn(encoder.atoms.shape, generator=generator))
        encoder.threshold.fill_(threshold)
    torch.manual_seed(seed)
    perceptron = MultilayerPerceptron(atoms, list(hidden), outputs, **head)
    for part in perceptron.modules():
        if isinstance(part, torch.nn.BatchNorm1d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return Encoded(encoder, perceptron).eval()


def ensemble_of(networks, double=True):
    """The networks as members of one function."""
    outputs = networks[0].head.output.out_features
    states = {name: torch.stack([one.state_dict()[name] for one in networks]) for name in networks[0].state_dict()}
    if double:
        networks[0].double()
        states = {name: values.double() for name, values in states.items()}
    return EnsembleFunction(networks[0], states, *target_map("classification", outputs))


def shared(networks):
    """Give all networks the first one's dictionary."""
    for one in networks[1:]:
        one.encoder.load_state_dict(networks[0].encoder.state_dict())
    return networks


def support(encoder, excited):
    """Which units of one sample, (units,), have a code."""
    if encoder.activation == "batch_top_k":
        return excited > encoder.threshold
    chosen = torch.zeros_like(excited, dtype=torch.bool)
    chosen[excited.argsort(descending=True)[: encoder.k]] = True
    return chosen & (excited > 0)


def by_hand(network, sample, reference, points=400, steps=2000):
    """Integrate one sample's gradients, (targets, inputs), float64, over a fine grid, and add its jumps one by one.

    Between two points of the grid that differ in support, the switch is found by halving.
    """
    network = network.double()
    encoder, head = network.encoder, network.head
    matrix, offset = target_map("classification", head.output.out_features)
    weight = encoder.encoder.weight.detach()

    def excited(place):
        return encoder.pre_activations((reference + place * (sample - reference))[None])[0].detach()

    def value(place, units):
        return (matrix @ head((excited(place) * units)[None])[0] + offset).detach()

    def gradient(place, units):
        codes = (excited(place) * units)[None].requires_grad_()
        rows = torch.autograd.functional.jacobian(lambda own: matrix @ head(own)[0], codes)
        return (rows[:, 0] * units) @ weight

    edges = [0.0]
    for start, stop in pairwise(torch.linspace(0, 1, steps + 1).tolist()):
        first, last = support(encoder, excited(start)), support(encoder, excited(stop))
        while start < stop - 1e-12 and not torch.equal(first, last):
            low, high = start, stop
            while high - low > 1e-13:
                middle = (low + high) / 2
                low, high = (middle, high) if torch.equal(support(encoder, excited(middle)), first) else (low, middle)
            edges.append(high)
            start, first = high + 1e-12, support(encoder, excited(high + 1e-12))
    edges.append(1.0)
    total, slope, jumps = 0.0, weight @ (sample - reference), 0
    for place, (start, stop) in enumerate(pairwise(edges)):
        units = support(encoder, excited((start + stop) / 2))
        inner = start + (stop - start) * (torch.arange(points) + 0.5) / points
        few = inner[:: max(1, int(points * (1 - (stop - start)) / 2))] if stop - start < 0.01 else inner
        total = total + (stop - start) * torch.stack([gradient(at.item(), units) for at in few]).mean(dim=0)
        if place + 2 < len(edges):
            after = support(encoder, excited((stop + edges[place + 2]) / 2))
            comes, goes = (after & ~units).nonzero().flatten().tolist(), (units & ~after).nonzero().flatten().tolist()
            assert len(comes) <= 1 and len(goes) <= 1
            jump = value(stop, after) - value(stop, units)
            row = sum(weight[unit] for unit in comes) - sum(weight[unit] for unit in goes)
            run = sum(slope[unit] for unit in comes) - sum(slope[unit] for unit in goes)
            if float(jump.abs().max()) > 1e-9:
                jumps += 1
                total = total + jump[:, None] * row / run
    return total * (sample - reference), jumps
