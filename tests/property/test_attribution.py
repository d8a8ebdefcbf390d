import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from consilience.attribution.function import EnsembleFunction, target_map
from consilience.attribution.methods import METHODS
from consilience.attribution.pieces import pieces
from consilience.attribution.statistics import Magnitude, UnitSums
from consilience.networks import MultilayerPerceptron
from tests.unit.attribution_examples import FeedForward, Linear, Perceptron, batch_of, drawn, ensemble_of, function_of

FEW = settings(derandomize=True, deadline=None, max_examples=6)
DOUBLE = torch.float64
OWN = tuple(name for name in METHODS if not name.startswith("shap_"))


class Called(nn.Module):
    """A function as a module: torch's own modules pass on their defaults, and `ReLU6` calls `hardtanh`."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, inputs):
        return self.function(inputs)


ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "prelu": nn.PReLU,
    "abs": lambda: Called(torch.abs),
    "hardtanh": lambda: nn.Hardtanh(-0.4, 0.7),
    "hardtanh_default": lambda: Called(functional.hardtanh),
    "relu6": lambda: Called(functional.relu6),
}
SMOOTH = {"softplus": nn.Softplus, "tanh": nn.Tanh, "gelu": nn.GELU}
BOTH = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (DOUBLE, 1e-10)])
seeds = st.integers(0, 10_000)
sizes = st.integers(1, 9)
widths = st.lists(st.integers(1, 8), min_size=2, max_size=5)


def batch_for(function, seed, samples, features, dtype=DOUBLE, **parts):
    """Make a batch with a reference and a background of three rows."""
    references = (drawn(seed + 1, 1, features, dtype=dtype),)
    background = (drawn(seed + 2, 3, features, dtype=dtype),)
    return batch_of(function, (drawn(seed, samples, features, dtype=dtype),), {}, references, background, **parts)


def attribute(method, batch, **settings):
    return batch.attribute(METHODS[method], {"steps": 10, "draws": 3} | settings)[0]


def assert_complete(method, batch, tolerance):
    total = attribute(method, batch).sum(dim=3, dtype=DOUBLE)
    rise = batch.rise(background=METHODS[method].needs_background)
    assert ((total - rise).abs() <= tolerance * rise.abs().clamp(min=1)).all()


@BOTH
@pytest.mark.parametrize("activation", ACTIVATIONS)
@FEW
@given(seeds, sizes, widths, st.booleans(), st.sampled_from([0.3, 1.0, 2.0]), st.sampled_from([1, 10]))
def test_piecewise_linear_networks_are_integrated_exactly(
    activation, dtype, tolerance, seed, samples, widths, residual, scale, reach
):
    def make():
        network = FeedForward([*widths, 1], ACTIVATIONS[activation], residual)
        for layer in network.layers:
            # Steep networks need more digits: a bend's place is rounded, and the gradient jumps there.
            steep = scale if dtype == torch.float32 else 5 * scale
            nn.init.normal_(layer.weight, std=steep / layer.in_features**0.5)
        return network

    _, function = function_of(make, scale=1.0, seed=seed, dtype=dtype, members=2)
    batch = batch_for(function, seed, samples, widths[0], dtype)
    # Far enough for the upper bends.
    batch.inputs = (reach * batch.inputs[0],)
    assert pieces(batch.split, batch.split.project(batch.inputs, {}).cuts, {}) is not None
    assert_complete("integrated_gradients", batch, tolerance)


@BOTH
@FEW
@given(seeds, sizes, widths, st.booleans(), st.booleans())
def test_the_shared_perceptron_is_integrated_exactly(dtype, tolerance, seed, samples, widths, batchnorm, residual):
    features, *hidden = widths
    _, function = function_of(
        lambda: MultilayerPerceptron(features, hidden, 3, 0.1, batchnorm, residual), "votes", 3, seed=seed, dtype=dtype
    )
    assert_complete("integrated_gradients", batch_for(function, seed, samples, features, dtype), tolerance)


@BOTH
@pytest.mark.parametrize("method", ["deeplift", "deeplift_shap"])
@FEW
@given(seeds, sizes, widths, st.booleans(), st.sampled_from([*ACTIVATIONS, *SMOOTH]))
def test_deeplift_is_complete(method, dtype, tolerance, seed, samples, widths, residual, activation):
    make = (ACTIVATIONS | SMOOTH)[activation]
    _, function = function_of(lambda: FeedForward([*widths, 1], make, residual), seed=seed, dtype=dtype)
    assert_complete(method, batch_for(function, seed, samples, widths[0], dtype), tolerance)


@pytest.mark.parametrize("method", OWN)
@FEW
@given(seeds, sizes, sizes, st.integers(3, 5))
def test_centered_logits_sum_to_zero_over_targets(method, seed, samples, features, classes):
    _, function = function_of(lambda: Perceptron(features, classes), "votes", classes, dtype=DOUBLE, seed=seed)
    attributions = attribute(method, batch_for(function, seed, samples, features))
    if method != "saliency":
        assert torch.allclose(attributions.sum(dim=1), torch.zeros((), dtype=DOUBLE), atol=1e-12)
    else:
        # An absolute value, so that the sum bounds each.
        assert (attributions.sum(dim=1, keepdim=True) - 2 * attributions >= -1e-12).all()


@pytest.mark.parametrize("method", OWN)
@FEW
@given(seeds, sizes, sizes)
def test_linear_networks_have_closed_forms(method, seed, samples, features):
    modules, function = function_of(lambda: Linear(features), dtype=DOUBLE, seed=seed)
    units = np.random.default_rng(seed).integers(-1, 3, features)
    batch = batch_for(function, seed, samples, features, units=[units])
    weights = 2 * torch.stack([module.layer.weight.detach() for module in modules])[:, None]
    inputs, reference, background = batch.inputs[0], batch.references[0], batch.background[0].mean(dim=0)
    expected = {
        "saliency": weights.abs().expand(3, 1, samples, features),
        "smoothgrad": weights.expand(3, 1, samples, features),
        "gradient_x_input": weights * inputs,
    }
    ends = {"": None, "reference": reference, "background": background}[METHODS[method].facts.compares_with]
    values = expected[method] if method in expected else weights * (inputs - ends)
    if method == "occlusion":
        values = torch.stack(
            [values[..., units == unit].mean(dim=-1) if unit >= 0 else 0 * values[..., 0] for unit in units], dim=-1
        )
    assert torch.allclose(attribute(method, batch, steps=1), values, atol=1e-12)


@pytest.mark.parametrize("method", [name for name in OWN if name != "smoothgrad"])
@FEW
@given(seeds, sizes, sizes, sizes)
def test_renaming_features_renames_attributions(method, seed, samples, features, members):
    """Not so for SmoothGrad, whose noise belongs to the place."""
    modules, states = ensemble_of(lambda: Perceptron(features), members, seed, DOUBLE)
    order = torch.randperm(features, generator=torch.Generator().manual_seed(seed))
    moved = states | {"layers.0.weight": states["layers.0.weight"][:, :, order]}
    matrix = target_map("regression", 1)
    expected, own = (
        batch_for(EnsembleFunction(modules[0], part, *matrix), seed, samples, features) for part in (states, moved)
    )
    for name in ("inputs", "references", "background"):
        setattr(own, name, (getattr(own, name)[0][:, order],))
    assert torch.allclose(attribute(method, own), attribute(method, expected)[..., order], atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (DOUBLE, 1e-12)])
@pytest.mark.parametrize("method", OWN)
@FEW
@given(seeds, sizes, st.integers(1, 120), st.booleans())
def test_order_and_batches_of_samples_change_nothing(method, dtype, tolerance, seed, samples, internal_batch, smooth):
    _, function = function_of(lambda: Perceptron(6, smooth=smooth), seed=seed, dtype=dtype)
    batch = batch_for(function, seed, samples, 6, dtype)
    expected = attribute(method, batch)
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
    kept = order[: max(1, samples // 2)]
    batch.inputs, batch.keys = (batch.inputs[0][kept],), [batch.keys[row] for row in kept]
    batch.__dict__.pop("values_and_gradients", None)
    own = attribute(method, batch, internal_batch=internal_batch)
    assert torch.allclose(own, expected[:, :, kept], atol=tolerance)


class Folded(nn.Module):
    """What `FeedForward` with one hidden layer of ReLU computes, by other means.

    Its hidden units come in another order, twice over and halved, behind a linear layer that was split in two, and
    max(x, 0) is written as (x + |x|) / 2.
    """

    stackable = True

    def __init__(self, features, hidden):
        super().__init__()
        self.inner, self.outer = nn.Linear(features, features), nn.Linear(features, 2 * hidden)
        self.head = nn.Linear(2 * hidden, 1)

    def forward(self, inputs, **auxiliary):
        hidden = self.outer(self.inner(inputs))
        return self.head((hidden + hidden.abs()) / 2)


def folded(network, seed):
    """Return the `Folded` network that computes what a `FeedForward` does."""
    first, second = network.layers
    order = torch.randperm(first.out_features, generator=torch.Generator().manual_seed(seed))
    mix = torch.linalg.qr(drawn(seed, first.in_features, first.in_features, dtype=DOUBLE))[0]
    other = Folded(first.in_features, first.out_features).eval().to(DOUBLE)
    with torch.no_grad():
        other.inner.weight[:], other.inner.bias[:] = mix, 0
        other.outer.weight[:] = (first.weight @ mix.T)[order].repeat(2, 1)
        other.outer.bias[:] = first.bias[order].repeat(2)
        other.head.weight[:] = second.weight[:, order].repeat(1, 2) / 2
        other.head.bias[:] = second.bias
    return other


def states_of(modules):
    return {name: torch.stack([m.state_dict()[name] for m in modules]) for name in modules[0].state_dict()}


@pytest.mark.parametrize("method", [name for name in OWN if not name.startswith("deeplift")])
@FEW
@given(seeds, sizes, sizes, sizes)
def test_networks_that_compute_the_same_get_the_same(method, seed, samples, features, hidden):
    """Not so for DeepLIFT, whose rule is a layer's (Sundararajan, Taly & Yan 2017, section 2.2)."""
    modules, function = function_of(lambda: FeedForward([features, hidden, 1], nn.ReLU), seed=seed, dtype=DOUBLE)
    others = [folded(module, seed) for module in modules]
    other = EnsembleFunction(others[0], states_of(others), *target_map("regression", 1, 2.0, 5.0))
    expected, own = (batch_for(part, seed, samples, features) for part in (function, other))
    assert torch.allclose(own.rise(), expected.rise(), atol=1e-12)
    assert torch.allclose(attribute(method, own), attribute(method, expected), atol=1e-10)


@pytest.mark.parametrize("method", OWN)
@FEW
@given(seeds, sizes)
def test_an_input_that_is_not_read_gets_nothing(method, seed, samples):
    modules, states = ensemble_of(lambda: Perceptron(5), 3, seed, DOUBLE)
    states["layers.0.weight"][:, :, 2] = 0
    function = EnsembleFunction(modules[0], states, *target_map("regression", 1))
    assert not attribute(method, batch_for(function, seed, samples, 5))[..., 2].any()


@FEW
@given(seeds, st.integers(1, 30), st.lists(st.integers(1, 10), min_size=1, max_size=6))
def test_statistics_do_not_depend_on_how_samples_come(seed, samples, cuts):
    units = [np.random.default_rng(seed).integers(-1, 4, (3, 4))]
    labels = np.random.default_rng(seed).integers(0, 3, samples)
    labels[:3] = [0, 1, 2][:samples]
    block = drawn(seed, 2, 3, samples, 3, 4)
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
