import copy
import warnings

import pytest
import torch
from captum.attr import DeepLift, DeepLiftShap
from torch import nn
from torch.nn import functional

from consilience.attribution.methods import METHODS
from consilience.errors import ConsilienceError
from tests.unit.attribution_examples import (
    ARCHITECTURES,
    Linear,
    Recurrent,
    Reused,
    TargetOf,
    Unrolled,
    batch_of,
    case,
    drawn,
    each_target,
    function_of,
)

DOUBLE = torch.float64
KNOWN_TO_CAPTUM = ("perceptron", "residual", "joined", "convolutional", "additive", "two_classes")
# In single precision, and what rounding leaves in double.
TOLERANCES = {torch.float32: 1e-5, DOUBLE: 1e-10}


def attribute(name, batch):
    return batch.attribute(METHODS[name], {})


def gaps(name, batch):
    total = sum(part.flatten(3).sum(3) for part in attribute(name, batch))
    return (total - batch.rise(background=name == "deeplift_shap")).abs()


def layers_apart(module):
    """Put a layer that does nothing between activation and pool.

    captum hooks the tensor between two nonlinear modules twice, and reads it before the second has changed it (captum's
    issue 1104), so that it is not complete without.
    """
    module = copy.deepcopy(module)
    for part in module.modules():
        if isinstance(part, nn.Sequential):
            for place in [place for place, layer in enumerate(part) if isinstance(layer, nn.MaxPool2d)]:
                part.insert(place, nn.AvgPool2d(1))
    return module


def by_captum(name, module, batch, target):
    """Attribute one target of one member by captum."""
    explained = TargetOf(layers_apart(module), batch, target).eval()
    extra = tuple(batch.auxiliary.values()) or None
    with warnings.catch_warnings():
        # captum tells that it sets hooks.
        warnings.simplefilter("ignore")
        if name == "deeplift":
            references = tuple(r.expand_as(tensor) for r, tensor in zip(batch.references, batch.inputs, strict=True))
            found = DeepLift(explained).attribute(batch.inputs, references, additional_forward_args=extra)
        else:
            found = DeepLiftShap(explained).attribute(batch.inputs, batch.background, additional_forward_args=extra)
    return tuple(part.detach() for part in found)


def assert_captum_agrees(name, batch, modules, tolerance):
    attributions = attribute(name, batch)
    largest = max(float(part.abs().max()) for part in attributions)
    assert largest > 0.01
    for member, module in enumerate(modules):
        for target in range(batch.function.targets):
            for own, expected in zip(attributions, by_captum(name, module, batch, target), strict=True):
                assert own[member, target].shape == expected.shape
                assert float((own[member, target] - expected).abs().max()) <= tolerance * max(1.0, largest)


@pytest.mark.parametrize("name", ["deeplift", "deeplift_shap"])
@pytest.mark.parametrize("architecture", KNOWN_TO_CAPTUM)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_captum_agrees(architecture, name, dtype):
    modules, batch = case(architecture, dtype)
    assert_captum_agrees(name, batch, modules, TOLERANCES[dtype])


@pytest.mark.parametrize("name", ["deeplift", "deeplift_shap"])
def test_reused_and_functional_activations_are_those_of_modules(name):
    """captum explains the network with a module for each call, which has the same weights."""
    modules, batch = case("reused", DOUBLE)
    unrolled = []
    for module in modules:
        unrolled.append(Unrolled(6).eval().to(DOUBLE))
        unrolled[-1].load_state_dict(module.state_dict(), strict=True)
    assert_captum_agrees(name, batch, unrolled, 1e-10)


@pytest.mark.parametrize("architecture", ["perceptron", "residual", "joined", "convolutional", "two_classes"])
def test_shaps_deep_explainer_agrees(architecture):
    shap = pytest.importorskip("shap")

    class Column(TargetOf):
        def forward(self, *inputs):
            return super().forward(*inputs)[:, None]

    modules, batch = case(architecture)
    attributions = attribute("deeplift_shap", batch)
    for member, target, _ in each_target(modules, batch):
        explainer = shap.DeepExplainer(Column(modules[member], batch, target).eval(), list(batch.background))
        found = explainer.shap_values(list(batch.inputs), check_additivity=False)
        for own, part in zip(attributions, found if isinstance(found, list) else [found], strict=True):
            expected = torch.as_tensor(part).reshape(own[member, target].shape)
            assert float((own[member, target] - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("name", ["deeplift", "deeplift_shap"])
@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "series"])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_completeness(architecture, name, dtype):
    _, batch = case(architecture, dtype)
    rise = batch.rise(background=name == "deeplift_shap")
    assert float(rise.abs().max()) > 0.1
    assert float((gaps(name, batch) / rise.abs().clamp(min=1)).max()) <= (1e-5 if dtype == torch.float32 else 1e-12)


def test_the_mean_over_a_background_is_that_of_its_rows():
    for architecture in ("convolutional", "two_branches"):
        _, batch = case(architecture, DOUBLE)
        found = attribute("deeplift_shap", batch)
        rows = []
        for references in zip(*batch.background, strict=True):
            batch.references = batch.keep_masked(tuple(part[None] for part in references))
            rows.append(attribute("deeplift", batch))
        for own, parts in zip(found, zip(*rows, strict=True), strict=True):
            assert torch.allclose(own, torch.stack(parts).mean(dim=0), atol=1e-13)


@pytest.mark.parametrize("architecture", ["joined", "additive", "two_branches"])
def test_references_may_have_a_row_each_or_one_for_all(architecture):
    _, batch = case(architecture, DOUBLE)
    single = tuple(reference[:1] for reference in batch.references)
    batch.references = single
    expected = attribute("deeplift", batch)
    for branch in range(2):
        batch.references = tuple(
            part.expand(5, *part.shape[1:]) if place == branch else part for place, part in enumerate(single)
        )
        for own, part in zip(attribute("deeplift", batch), expected, strict=True):
            assert torch.allclose(own, part, atol=1e-13)


class Applied(nn.Module):
    """A function of a linear layer, summed."""

    stackable = True

    def __init__(self, function, features=4):
        super().__init__()
        self.layer, self.function = nn.Linear(features, 3), function

    def forward(self, inputs, **auxiliary):
        return self.function(self.layer(inputs)).sum(dim=1, keepdim=True)


FUNCTIONS = {
    "relu": functional.relu,
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.3),
    "elu": functional.elu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "mish": functional.mish,
    "softplus": functional.softplus,
    "sigmoid": torch.sigmoid,
    "tanh": lambda x: x.tanh(),
    "hardtanh": lambda x: functional.hardtanh(x, -0.3, 0.6),
    "relu6": functional.relu6,
    "clamp": lambda x: x.clamp(-0.5, 0.2),
    "exp": torch.exp,
    "square": lambda x: x**2,
    "reciprocal": lambda x: 1 / (x * 0.01 + 5),
    "abs": abs,
    "twice": lambda x: torch.tanh(torch.exp(x)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_elementwise_functions_multiplier_is_the_slope_of_its_secant(name):
    modules, function = function_of(lambda: Applied(FUNCTIONS[name]), scale=3.0, dtype=DOUBLE)
    batch = batch_of(function, (drawn(1, 6, 4, dtype=DOUBLE),), references=(drawn(2, 1, 4, dtype=DOUBLE),))
    (found,) = attribute("deeplift", batch)
    for module, own in zip(modules, found[:, 0], strict=True):
        with torch.no_grad():
            here, there = module.layer(batch.inputs[0]), module.layer(batch.references[0])
            slopes = (FUNCTIONS[name](here) - FUNCTIONS[name](there)) / (here - there)
            expected = 3 * (slopes @ module.layer.weight) * (batch.inputs[0] - batch.references[0])
        assert torch.allclose(own, expected, atol=1e-12)


class Product(Linear):
    def forward(self, first, second):
        return self.layer(torch.cat([torch.tanh(first) * second, first[:, :1] * 2], dim=1))


def test_a_products_rise_is_divided_as_shapley_values():
    modules, function = function_of(lambda: Product(4), scale=1.0, dtype=DOUBLE)
    inputs, references = ((drawn(n, 5, 3, dtype=DOUBLE), drawn(n + 1, 5, 3, dtype=DOUBLE)) for n in (1, 3))
    found = attribute("deeplift", batch_of(function, inputs, references=references))
    a, a0, b, b0 = torch.tanh(inputs[0]), torch.tanh(references[0]), inputs[1], references[1]
    for member, module in enumerate(modules):
        weights = module.layer.weight[0].detach()
        first = weights[:3] * (a - a0) * (b + b0) / 2
        first[:, 0] += weights[3] * 2 * (inputs[0] - references[0])[:, 0]
        assert torch.allclose(found[0][member, 0], first, atol=1e-12)
        assert torch.allclose(found[1][member, 0], weights[:3] * (b - b0) * (a + a0) / 2, atol=1e-12)


class Pooled(nn.Module):
    stackable = True

    def __init__(self, pool, features):
        super().__init__()
        self.pool, self.head = pool, nn.Linear(features, 1)

    def forward(self, inputs, **auxiliary):
        return self.head(torch.tanh(self.pool(inputs).flatten(1)))


POOLS = {
    "overlapping": (lambda x: functional.max_pool1d(x, 3, 1), (2, 7), 10),
    "padded": (nn.MaxPool2d(3, 2, padding=1), (1, 5, 5), 9),
    "dilated": (nn.MaxPool2d((2, 3), stride=1, dilation=(2, 1)), (2, 5, 4), 12),
    "ceiled": (nn.MaxPool1d(2, ceil_mode=True), (1, 5), 3),
    "cubes": (nn.MaxPool3d(2), (1, 4, 2, 4), 4),
    "functional": (lambda x: functional.max_pool2d(x, kernel_size=2), (1, 4, 4), 4),
}


@pytest.mark.parametrize("name", POOLS)
def test_a_pools_rise_goes_to_the_larger_maximum(name):
    pool, shape, features = POOLS[name]
    modules, function = function_of(lambda: Pooled(pool, features), scale=1.0, dtype=DOUBLE)
    here, there = drawn(5, 6, *shape, dtype=DOUBLE), drawn(6, 6, *shape, dtype=DOUBLE)
    batch = batch_of(function, (here,), references=(there,))
    assert float(gaps("deeplift", batch).max()) < 1e-13
    (found,) = attribute("deeplift", batch)
    with torch.no_grad():
        outputs = [pool(part).flatten(1) for part in (here, there)]
        for sample in range(6):
            expected = torch.zeros_like(here[0]).flatten()
            for window in range(features):
                # The element that, alone at its value, gives the larger maximum.
                side = 0 if outputs[0][sample, window] >= outputs[1][sample, window] else 1
                element = (here, there)[side][sample].flatten() == outputs[side][sample, window]
                ends = [torch.tanh(part[sample, window]) for part in outputs]
                expected[element] += modules[1].head.weight[0, window] * (ends[0] - ends[1])
            assert torch.allclose(found[1, 0, sample].flatten(), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_where_nothing_differs_the_multiplier_is_the_derivative(dtype):
    for architecture in ("perceptron", "convolutional", "reused"):
        _, batch = case(architecture, dtype)
        # The first sample is its own reference, the second but for one element, the third but for rounding.
        (inputs,) = batch.inputs
        (references,) = (inputs.clone(),)
        references[1].flatten()[0] += 1
        references[2] *= 1 + torch.finfo(dtype).eps
        batch.references = (references,)
        (found,) = attribute("deeplift", batch)
        assert found.isfinite().all()
        assert not found[:, :, 0].any()
        assert float(found[:, :, 1].flatten(2)[..., 1:].abs().max()) == 0 < float(found[:, :, 1].abs().max())
        expected = (inputs - references)[2] * batch.values_and_gradients[1][0][:, :, 2]
        assert torch.allclose(found[:, :, 2], expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.head = nn.Linear(4, 1), nn.Linear(4, 1)

    def forward(self, series, **auxiliary):
        weights = functional.softmax(torch.tanh(self.query(series)), dim=1)
        return self.head((weights * series).sum(dim=1))


class Normalized(Recurrent):
    def forward(self, series, **auxiliary):
        return self.head(functional.layer_norm(functional.pad(torch.relu(series[:, -1]), (0, 2)), (6,)))


class Ratio(Recurrent):
    def forward(self, series, **auxiliary):
        return self.head(functional.pad(series[:, -1] / (2 + series[:, 0].square()), (0, 2)))


@pytest.mark.parametrize("name", ["deeplift", "deeplift_shap"])
@pytest.mark.parametrize(
    ("make", "function"), [(Attention, "softmax"), (Recurrent, "lstm"), (Normalized, "layer_norm"), (Ratio, "div")]
)
def test_functions_without_a_rule_are_refused_by_name(make, function, name):
    _, whole = function_of(make)
    series = drawn(1, 3, 5, 4)
    batch = batch_of(whole, (series,), background=(series,))
    with pytest.raises(ConsilienceError, match=f"cannot explain this network: DeepLIFT has no rule for .*{function}"):
        attribute(name, batch)


def test_shaps_hooks_miss_functional_and_reused_activations():
    """Which is why such a network is refused there; `deeplift_shap` follows them."""
    pytest.importorskip("shap")
    _, batch = case("reused")
    message = (
        r"calls 4 nonlinear functions \(relu, softplus, tanh\) and has 1 activation modules; .*escape shap's hooks"
    )
    with pytest.raises(ConsilienceError, match=message):
        attribute("shap_deep_explainer", batch)
    assert float(gaps("deeplift_shap", batch).max()) < 1e-5


def test_no_background_is_refused():
    _, batch = case("perceptron")
    batch.background = None
    with pytest.raises(ConsilienceError, match="a background of training samples is needed; none was given"):
        attribute("deeplift_shap", batch)


def test_a_background_of_another_shape_is_refused():
    _, function = function_of(lambda: Reused(6))
    batch = batch_of(function, (drawn(1, 3, 6),), background=(drawn(2, 4, 5),))
    with pytest.raises(ConsilienceError, match=r"branch 0 has shape \(1, 5\); expected \(1 or 3, \*\(6,\)\)"):
        attribute("deeplift_shap", batch)


def test_members_stacked_or_not_are_the_same():
    _, batch = case("convolutional", DOUBLE)
    expected = attribute("deeplift", batch)
    batch.function.stackable = False
    for own, part in zip(attribute("deeplift", batch), expected, strict=True):
        assert torch.allclose(own, part, atol=1e-14)
