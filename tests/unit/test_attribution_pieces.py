from itertools import pairwise

import pytest
import torch
from torch import nn

from consilience.attribution import pieces
from consilience.attribution.interception import Interception
from consilience.attribution.methods import METHODS
from consilience.attribution.paths import rows_of
from consilience.attribution.pieces import Layer
from consilience.networks import MultilayerPerceptron
from tests.unit.attribution_examples import (
    Convolutional,
    FeedForward,
    Linear,
    Perceptron,
    Recurrent,
    Reused,
    batch_of,
    drawn,
    function_of,
)

DOUBLE = torch.float64
MEMBERS, SAMPLES = 2, 3
BENDING = {
    "perceptron": (lambda: Perceptron(6), (6,)),
    "deep": (lambda: FeedForward([6, 9, 9, 7, 9, 8, 1], nn.ReLU), (6,)),
    "leaky residual": (lambda: FeedForward([6, 8, 8, 8, 1], nn.LeakyReLU, residual=True), (6,)),
    "batch norm and skips": (lambda: MultilayerPerceptron(6, [8, 8, 5], 1, 0.1, batchnorm=True, residual=True), (6,)),
    "two bends a unit": (lambda: FeedForward([6, 12, 10, 1], lambda: nn.Hardtanh(-0.2, 0.3)), (6,)),
    "bends apart": (lambda: FeedForward([6, 8, 8, 1], nn.ReLU6), (6,)),
    "learned slope": (lambda: FeedForward([6, 8, 8, 1], nn.PReLU), (6,)),
    "linear": (lambda: Linear(6), (6,)),
}


def paths(name, dtype=DOUBLE, scale=3.0):
    """Return the modules, a batch, its networks without a front, and the ends of its paths in their cuts, the inputs.

    Without a front no activation sees a cut itself, so that every bend ends a segment.
    """
    make, shape = BENDING[name]
    modules, function = function_of(make, members=MEMBERS, dtype=dtype, seed=len(name))
    inputs, references = (scale * drawn(seed, SAMPLES, *shape, dtype=dtype) for seed in (1, 2))
    batch = batch_of(function, (inputs,), references=(references,))
    split = batch.split.whole()
    return modules, batch, split, split.project(batch.inputs, {}).cuts, split.project(batch.references, {}).cuts


def slope_along(module, sample, reference, place):
    """Return dF/dalpha at a place of the path, by the chain rule through the whole network."""
    point = (reference + place * (sample - reference)).requires_grad_()
    (gradient,) = torch.autograd.grad(2 * module(point[None]).sum(), point)
    return float((gradient * (sample - reference)).sum())


def bends_by_bisection(module, sample, reference, grid=100):
    """Return where the slope changes: between the points of a grid at first, then by bisection."""

    def first_change(left, right, before):
        while right - left > 1e-10:
            middle = (left + right) / 2
            if abs(slope_along(module, sample, reference, middle) - before) > 1e-9:
                right = middle
            else:
                left = middle
        return right

    places = [index / grid for index in range(grid + 1)]
    slopes = [slope_along(module, sample, reference, place) for place in places]
    found = []
    for (left, right), (before, after) in zip(pairwise(places), pairwise(slopes), strict=True):
        # Several bends may lie between two points of the grid.
        while abs(after - before) > 1e-9:
            left = first_change(left, right, before)
            found.append(left)
            before = slope_along(module, sample, reference, left + 1e-9)
    return found


@pytest.mark.parametrize("name", ["perceptron", "deep", "two bends a unit", "batch norm and skips"])
def test_segments_end_where_a_plain_search_finds_the_bends(name):
    modules, batch, split, here, there = paths(name)
    layers = pieces.pieces(split, here, {})
    middles, lengths = pieces.segments(split, layers, here, there, {})
    total = 0
    for member, module in enumerate(modules):
        own, sample, reference = lengths[member, 0], batch.inputs[0][0], batch.references[0][0]
        ends = (middles[member, 0] + own / 2)[own > 0][:-1]
        expected = bends_by_bisection(module, sample, reference)
        # Units that nothing reads make bends that change no slope: they are among ours alone.
        for place in expected:
            assert float((ends - place).abs().min()) < 1e-6
        total += len(expected)
    assert total > 2


@pytest.mark.parametrize("name", BENDING)
def test_the_slope_is_the_same_all_over_a_segment(name):
    modules, batch, split, here, there = paths(name)
    layers = pieces.pieces(split, here, {})
    middles, lengths = pieces.segments(split, layers, here, there, {})
    for member, module in enumerate(modules):
        for row in range(2):
            sample, reference = batch.inputs[0][row], batch.references[0][row]
            for middle, length in zip(middles[member, row].tolist(), lengths[member, row].tolist(), strict=True):
                if length < 1e-9:
                    continue
                slopes = [
                    slope_along(module, sample, reference, middle + share * length) for share in (-0.499, 0.0, 0.499)
                ]
                assert slopes == pytest.approx([slopes[1]] * 3, abs=1e-10)


@pytest.mark.parametrize("name", BENDING)
def test_segments_cover_the_path_once(name):
    _, _, split, here, there = paths(name)
    middles, lengths = pieces.segments(split, pieces.pieces(split, here, {}), here, there, {})
    assert (lengths >= 0).all()
    assert torch.allclose(lengths.sum(dim=2), torch.ones((), dtype=DOUBLE), atol=1e-12)
    starts, ends = middles - lengths / 2, middles + lengths / 2
    assert torch.allclose(starts[..., 1:], ends[..., :-1], atol=1e-12)
    assert torch.allclose(starts[..., 0], torch.zeros((), dtype=DOUBLE), atol=1e-12)


def test_paths_with_fewer_pieces_end_in_pieces_of_no_length():
    _, _, split, here, there = paths("deep")
    # The first path has no length at all.
    there = tuple(torch.cat([sample[:, :1], other[:, 1:]], dim=1) for sample, other in zip(here, there, strict=True))
    _, lengths = pieces.segments(split, pieces.pieces(split, here, {}), here, there, {})
    assert torch.equal(lengths[:, 0, 0], torch.ones(MEMBERS, dtype=DOUBLE))
    assert not lengths[:, 0, 1:].any()
    assert ((lengths > 0).sum(dim=2)[:, 1:] > 2).all()


@pytest.mark.parametrize(
    "activation", [nn.ReLU(), nn.LeakyReLU(0.3), nn.ReLU6(), nn.Hardtanh(-0.5, 0.8), nn.PReLU(3).double(), torch.abs]
)
def test_the_mean_slope_is_that_of_many_points_on_the_piece(activation):
    middles, widths = 2 * drawn(0, 40, 3, dtype=DOUBLE), 3 * drawn(1, 40, 3, dtype=DOUBLE).abs()
    # A piece far from every bend, one of no width, and one that reaches over all of them.
    middles[0], widths[0] = -9, 0.1
    widths[1] = 0
    middles[2], widths[2] = 0, 50
    leaf = middles.clone().requires_grad_()
    cut = iter([leaf])
    with Interception([middles], cut=lambda _: next(cut), nonlinear=lambda call: pieces.mean_slope((widths,), call)):
        outputs = activation(middles)
    assert torch.allclose(outputs, activation(middles), atol=1e-12)
    (own,) = torch.autograd.grad(outputs.sum(), leaf)
    places = (torch.arange(5_000, dtype=DOUBLE) + 0.5) / 5_000 - 0.5
    points = (middles + places[:, None, None] * widths).requires_grad_()
    (slopes,) = torch.autograd.grad(activation(points.flatten(0, 1)).sum(), points)
    assert torch.allclose(own, slopes.mean(dim=0), atol=8e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (DOUBLE, 1e-10)])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, lambda: nn.Hardtanh(-0.3, 0.4), nn.LeakyReLU])
def test_an_activation_of_an_activation_bends_where_the_first_does(activation, dtype, tolerance):
    class Twice(nn.Module):
        stackable = True

        def __init__(self, front):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(6, 6) if front else nn.Identity(), nn.Linear(6, 5, bias=False)])
            self.activations = nn.ModuleList([activation(), activation(), activation()])
            self.head = nn.Linear(5, 1)

        def forward(self, inputs):
            first, second, third = self.activations
            return self.head(third(self.layers[1](second(first(self.layers[0](inputs))))))

    for front in (True, False):
        _, function = function_of(lambda front=front: Twice(front), dtype=dtype)
        inputs, references = (drawn(seed, 20, 6, dtype=dtype) for seed in (1, 2))
        batch = batch_of(function, (inputs,), references=(references,))
        for split in (batch.split, batch.split.whole()):
            batch.split = split
            total = batch.attribute(METHODS["integrated_gradients"], {"steps": 1})[0].sum(dim=3)
            rise = batch.rise()
            assert float(((total - rise).abs() / rise.abs().clamp(min=1)).max()) <= tolerance


@pytest.mark.parametrize("name", BENDING)
def test_exact_gradients_are_the_limit_of_many_steps(name):
    _, batch, *_ = paths(name)
    method = METHODS["integrated_gradients"]
    exact = batch.attribute(method, {})[0]
    few, many = (batch.attribute(method, {"exact": False, "steps": steps})[0] for steps in (10, 400))
    scale = float(exact.abs().max())
    distances = [float((part - exact).abs().max()) / scale for part in (few, many)]
    assert distances[1] < 1e-2
    assert name == "linear" or distances[1] < distances[0] / 5


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (DOUBLE, 1e-10)])
@pytest.mark.parametrize("name", BENDING)
def test_exact_gradients_are_complete(name, dtype, tolerance):
    _, batch, *_ = paths(name, dtype)
    total = batch.attribute(METHODS["integrated_gradients"], {})[0].sum(dim=3)
    rise = batch.rise()
    assert float(((total - rise).abs() / rise.abs().clamp(min=1)).max()) <= tolerance


def test_the_bends_of_a_network_are_counted_layer_by_layer():
    for name, expected in (
        ("deep", [(0.0,)] * 5),
        ("two bends a unit", [(-0.2, 0.3)] * 2),
        ("bends apart", [(0.0, 6.0)] * 2),
        ("linear", []),
    ):
        _, batch, split, here, _ = paths(name)
        assert pieces.pieces(split, here, {}) == [Layer(places, None) for places in expected]
        # With a front, the first activation sees the cut.
        own = pieces.pieces(batch.split, batch.split.project(batch.inputs, {}).cuts, {})
        assert own == [Layer(places, None if number else 0) for number, places in enumerate(expected)]


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: Perceptron(6, smooth=True), (6,)),
        (lambda: Reused(6), (6,)),
        (lambda: Convolutional(1), (2, 6, 6)),
        (Recurrent, (5, 4)),
    ],
)
def test_other_networks_have_no_pieces(make, shape):
    batch = batch_of(function_of(make, members=2)[1], (drawn(1, 3, *shape),))
    assert pieces.pieces(batch.split, batch.split.project(batch.inputs, {}).cuts, {}) is None


def test_a_large_network_is_left_to_a_quadrature(monkeypatch):
    _, batch, split, here, _ = paths("two bends a unit")
    units = 2 * (12 + 10)
    monkeypatch.setattr(pieces, "MAXIMUM_UNITS", units)
    assert pieces.pieces(split, here, {}) is not None
    method = METHODS["integrated_gradients"]
    exact = batch.attribute(method, {"steps": 7})[0]
    monkeypatch.setattr(pieces, "MAXIMUM_UNITS", units - 1)
    assert pieces.pieces(split, here, {}) is None
    own = batch.attribute(method, {"steps": 7})[0]
    assert torch.equal(own, batch.attribute(method, {"steps": 7, "exact": False})[0])
    assert not torch.allclose(own, exact, atol=1e-6)


@pytest.mark.parametrize("single", [False, True])
def test_points_lie_along_the_path(single):
    here, there = (drawn(seed, 2, 3, 4, 5, dtype=DOUBLE) for seed in (1, 2))
    there = there[:, :1] if single else there
    positions = drawn(3, 2, 3, 6, dtype=DOUBLE)
    (points,) = pieces.along((here,), (there,), positions)
    for member in range(2):
        for sample in range(3):
            start = there[member, 0 if single else sample]
            for place in range(6):
                expected = start + positions[member, sample, place] * (here[member, sample] - start)
                assert torch.allclose(points[member, sample * 6 + place], expected, atol=1e-14)


def test_a_single_row_of_cuts_stands_for_every_sample():
    cuts = (drawn(1, 2, 5, 3), drawn(2, 2, 1, 3))
    many, one = rows_of(cuts, slice(1, 4))
    assert torch.equal(many, cuts[0][:, 1:4])
    assert torch.equal(one, cuts[1])
