import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from consilience.attribution.function import EnsembleFunction, target_map
from consilience.attribution.methods import METHODS
from consilience.attribution.statistics import Magnitude, UnitSums
from tests.unit.attribution_examples import Linear, Perceptron, ensemble_of, function_of

FEW = settings(derandomize=True, deadline=None, max_examples=15)
DOUBLE = torch.float64
seeds = st.integers(0, 10_000)
sizes = st.integers(1, 9)


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def attribute(method, function, inputs, reference, **settings):
    return METHODS[method].function(function, (inputs,), {}, (reference,), settings)[0]


@FEW
@given(seeds, sizes, sizes, st.integers(2, 5))
@pytest.mark.parametrize("method", METHODS)
def test_centered_logits_sum_to_zero_over_targets(method, seed, samples, features, classes):
    classes = max(classes, 3)
    _, function = function_of(lambda: Perceptron(features, classes), "votes", classes, dtype=DOUBLE, seed=seed)
    attributions = attribute(method, function, drawn(seed, samples, features), drawn(seed + 1, 1, features))
    if method != "saliency":
        assert torch.allclose(attributions.sum(dim=1), torch.zeros((), dtype=DOUBLE), atol=1e-12)
    else:
        # An absolute value, so that the sum bounds each.
        assert (attributions.sum(dim=1, keepdim=True) - 2 * attributions >= -1e-12).all()


@FEW
@given(seeds, sizes, sizes)
def test_linear_networks_are_complete_in_one_step(seed, samples, features):
    _, function = function_of(lambda: Linear(features), dtype=DOUBLE, seed=seed)
    inputs, reference = drawn(seed, samples, features), drawn(seed + 1, 1, features)
    total = attribute("integrated_gradients", function, inputs, reference, steps=1).sum(dim=3)
    rise = function.values((inputs,)) - function.values((reference,))
    assert torch.allclose(total, rise.movedim(2, 1), atol=1e-12)


@FEW
@given(seeds, sizes, sizes, sizes)
@pytest.mark.parametrize("method", METHODS)
def test_renaming_features_renames_attributions(method, seed, samples, features, members):
    modules, states = ensemble_of(lambda: Perceptron(features), members, seed, DOUBLE)
    order = torch.randperm(features, generator=torch.Generator().manual_seed(seed))
    moved = states | {"layers.0.weight": states["layers.0.weight"][:, :, order]}
    matrix = target_map("regression", 1)
    inputs, reference = drawn(seed, samples, features), drawn(seed + 1, 1, features)
    expected = attribute(method, EnsembleFunction(modules[0], states, *matrix), inputs, reference)
    own = attribute(method, EnsembleFunction(modules[0], moved, *matrix), inputs[:, order], reference[:, order])
    assert torch.allclose(own, expected[..., order], atol=1e-12)


@FEW
@given(seeds, sizes, st.integers(1, 120))
@pytest.mark.parametrize("method", METHODS)
def test_order_and_batches_of_samples_change_nothing(method, seed, samples, internal_batch):
    _, function = function_of(lambda: Perceptron(6), seed=seed, dtype=DOUBLE)
    inputs, reference = drawn(seed, samples, 6), drawn(seed + 1, 1, 6)
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
    expected = attribute(method, function, inputs, reference)
    own = attribute(method, function, inputs[order], reference, internal_batch=internal_batch)
    assert torch.allclose(own, expected[:, :, order], atol=1e-12)


@FEW
@given(seeds, sizes)
@pytest.mark.parametrize("method", METHODS)
def test_networks_that_compute_the_same_get_the_same(method, seed, samples):
    class Deep(nn.Module):
        stackable = True

        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 4), nn.Linear(4, 1))

        def forward(self, inputs, **auxiliary):
            return self.layers(inputs)

    modules, deep = function_of(Deep, seed=seed, dtype=DOUBLE)
    flat = Linear(5).eval().to(DOUBLE)
    first, second, third = ([module.layers[layer] for module in modules] for layer in range(3))
    weights = [c.weight @ b.weight @ a.weight for a, b, c in zip(first, second, third, strict=True)]
    biases = [c.weight @ (b.weight @ a.bias + b.bias) + c.bias for a, b, c in zip(first, second, third, strict=True)]
    states = {"layer.weight": torch.stack(weights), "layer.bias": torch.stack(biases)}
    shallow = EnsembleFunction(flat, states, *target_map("regression", 1, 2.0, 5.0))
    inputs, reference = drawn(seed, samples, 5), drawn(seed + 1, 1, 5)
    expected, own = (attribute(method, function, inputs, reference) for function in (deep, shallow))
    assert torch.allclose(own, expected, atol=1e-12)


@FEW
@given(seeds, sizes)
@pytest.mark.parametrize("method", METHODS)
def test_an_input_that_is_not_read_gets_nothing(method, seed, samples):
    modules, states = ensemble_of(lambda: Perceptron(5), 3, seed, DOUBLE)
    states["layers.0.weight"][:, :, 2] = 0
    function = EnsembleFunction(modules[0], states, *target_map("regression", 1))
    attributions = attribute(method, function, drawn(seed, samples, 5), drawn(seed + 1, 1, 5))
    assert not attributions[..., 2].any()


@FEW
@given(seeds, st.integers(1, 30), st.lists(st.integers(1, 10), min_size=1, max_size=6))
def test_statistics_do_not_depend_on_how_samples_come(seed, samples, cuts):
    units = [np.random.default_rng(seed).integers(-1, 4, (3, 4))]
    labels = np.random.default_rng(seed).integers(0, 3, samples)
    labels[:3] = [0, 1, 2][:samples]
    block = drawn(seed, 2, 3, samples, 3, 4).float()
    order = np.random.default_rng(seed + 1).permutation(samples)

    def means(rows, ends):
        magnitude = Magnitude(UnitSums(units, 4), 3 if samples > 2 else 0)
        for part in np.split(rows, ends):
            magnitude.add((block[:, :, part],), labels[part])
        return magnitude.means()

    expected, own = means(np.arange(samples), []), means(order, np.cumsum(cuts))
    for part, other in zip(own, expected, strict=True):
        assert (part is None) == (other is None)
        if part is not None:
            np.testing.assert_allclose(part, other, atol=1e-12)
