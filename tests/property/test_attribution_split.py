"""Networks drawn at random from what networks are made of: however they are taken apart, nothing changes."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from consilience.attribution.methods import METHODS
from consilience.errors import ConsilienceError
from tests.unit.attribution_examples import batch_of, drawn, function_of

SOME = settings(derandomize=True, deadline=None, max_examples=30)
DOUBLE = torch.float64
WIDTH = 6
KEPT = torch.tensor([True, False, True, True, False, True])

# From what was computed so far, each (samples, WIDTH), a layer's weights and the auxiliary gate, to one more.
LINEAR_STEPS = {
    "layer": lambda past, weights, gate: functional.linear(past[-1], weights),
    "skip": lambda past, weights, gate: past[-1] + past[0],
    "difference": lambda past, weights, gate: past[len(past) // 2] - 0.5 * past[-1],
    "joined": lambda past, weights, gate: torch.cat([past[-1][:, :2], past[0][:, 2:]], dim=1),
    "reshaped": lambda past, weights, gate: past[-1].reshape(-1, 2, 3).transpose(1, 2).flatten(1),
    "averaged": lambda past, weights, gate: functional.avg_pool1d(past[-1][:, None], 3, 1, 1)[:, 0],
    "masked": lambda past, weights, gate: past[-1].masked_fill(KEPT, 0.7),
    "chosen": lambda past, weights, gate: torch.where(KEPT, past[-1], past[0]),
    "scaled": lambda past, weights, gate: past[-1] * weights[0] / 1.5 - weights[1],
    "rows": lambda past, weights, gate: past[-1].view(past[-1].shape[0], -1),
}
BENDING_STEPS = {
    "relu": lambda past, weights, gate: past[-1].relu(),
    "in place": lambda past, weights, gate: functional.leaky_relu(past[-1] + 0.1, 0.2, inplace=True),
    "hardtanh": lambda past, weights, gate: functional.hardtanh(past[-1], -0.4, 0.6),
    "absolute": lambda past, weights, gate: past[-1].abs(),
    "early": lambda past, weights, gate: past[0].relu() + past[-1],
}
OTHER_STEPS = {
    "smooth": lambda past, weights, gate: torch.tanh(past[-1]),
    "gated": lambda past, weights, gate: past[-1] * torch.sigmoid(past[0]),
    "product": lambda past, weights, gate: past[-1] * past[0],
    "auxiliary": lambda past, weights, gate: past[-1] * gate,
    "attended": lambda past, weights, gate: past[-1] * past[-1].softmax(dim=1),
    "largest": lambda past, weights, gate: torch.maximum(past[-1], past[0]),
    "row count": lambda past, weights, gate: past[-1].reshape(len(past[0]), 2, 3).sum(dim=2).repeat(1, 3).abs(),
    "aliased": lambda past, weights, gate: aliased(past[-1] * 1.5),
    "told by the batch": lambda past, weights, gate: past[-1] * 2 if bool((gate > 0).any()) else past[-1],
}
STEPS = LINEAR_STEPS | BENDING_STEPS | OTHER_STEPS


def aliased(hidden):
    return functional.relu(hidden, inplace=True) + hidden


class Drawn(nn.Module):
    def __init__(self, steps, stackable):
        super().__init__()
        self.steps, self.stackable = steps, stackable
        self.weights = nn.ParameterList(torch.randn(WIDTH, WIDTH) / 2 for _ in steps)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, inputs, *, gate):
        past = [inputs]
        for step, weights in zip(self.steps, self.weights, strict=True):
            past.append(STEPS[step](past, weights, gate))
        return self.head(past[-1])


def made(steps, stackable, seed, samples):
    modules, function = function_of(lambda: Drawn(steps, stackable), members=2, seed=seed, dtype=DOUBLE)
    inputs, references, background, gate = (
        drawn(seed + offset, rows, width, dtype=DOUBLE)
        for offset, (rows, width) in enumerate([(samples, WIDTH), (1, WIDTH), (2, WIDTH), (samples, 1)])
    )
    return modules, batch_of(function, (inputs,), {"gate": gate}, (references,), (background,))


def attributed(name, batch, **options):
    try:
        return batch.attribute(METHODS[name], options)[0]
    except ConsilienceError as error:
        return str(error)


def plain(modules, batch, steps):
    """Return integrated gradients by quadrature, a point after the other."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    results = []
    for module in modules:
        total = torch.zeros_like(batch.inputs[0])
        difference = batch.inputs[0] - batch.references[0]
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            point = (batch.references[0] + node * difference).requires_grad_()
            total += weight * torch.autograd.grad(2 * module(point, **batch.auxiliary).sum(), point)[0]
        results.append(total * difference)
    return torch.stack(results)


def assert_close(own, expected):
    if isinstance(own, str):
        assert own == expected
    else:
        assert float((own - expected).abs().max()) <= 1e-9 * max(1.0, float(expected.abs().max()))


networks = st.lists(st.sampled_from(list(STEPS)), min_size=1, max_size=6)
piecewise_linear = st.lists(st.sampled_from([*LINEAR_STEPS, *BENDING_STEPS]), min_size=1, max_size=7)
seeds = st.integers(0, 1000)


@SOME
@given(networks, st.booleans(), seeds, st.integers(1, 4))
def test_any_network_gives_the_same_in_parts_and_whole(steps, stackable, seed, samples):
    modules, batch = made(steps, stackable, seed, samples)
    assert_close(attributed("integrated_gradients", batch, exact=False, steps=5)[:, 0], plain(modules, batch, 5))
    parts, batch.split = batch.split, batch.split.whole()
    whole = {name: attributed(name, batch) for name in ("smoothgrad", "expected_gradients", "deeplift", "occlusion")}
    batch.split = parts
    for name, expected in whole.items():
        assert_close(attributed(name, batch), expected)


@SOME
@given(piecewise_linear, st.booleans(), seeds)
def test_piecewise_linear_networks_are_integrated_exactly(steps, stackable, seed):
    _, batch = made(steps, stackable, seed, 3)
    assert batch.split.has_front
    rise = batch.rise()
    total = attributed("integrated_gradients", batch, steps=1).sum(dim=3)
    assert float(((total - rise).abs() / rise.abs().clamp(min=1)).max()) <= 1e-10


@SOME
@given(networks, seeds)
def test_deeplift_is_complete_or_refused(steps, seed):
    _, batch = made(steps, True, seed, 3)
    own = attributed("deeplift", batch)
    if isinstance(own, str):
        assert own.startswith("deeplift cannot explain this network: ")
    else:
        rise = batch.rise()
        assert float(((own.sum(dim=3) - rise).abs() / rise.abs().clamp(min=1)).max()) <= 1e-8
