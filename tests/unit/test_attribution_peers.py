import numpy as np
import pytest
import shap
import torch
from torch import nn

from consilience.attribution.methods import METHODS
from consilience.errors import ConsilienceError
from tests.unit.attribution_examples import Recurrent, Reused, batch_of, case, drawn, function_of


class Targets(nn.Module):
    """All targets of one member, (samples, targets), as shap wants a network."""

    def __init__(self, module, function):
        super().__init__()
        self.module = module
        self.map, self.offset = function.target_map.float(), function.offset.float()

    def forward(self, *inputs):
        return self.module(*inputs) @ self.map.T + self.offset


def assert_by_hand(name, batch, modules, explain):
    """Compare with shap's arrays, one a branch, (samples, *shape) or (samples, *shape, targets)."""
    own = batch.attribute(METHODS[name], {})
    for member, module in enumerate(modules):
        arrays = explain(Targets(module, batch.function).eval())
        for part, values in zip(own, arrays if isinstance(arrays, list) else [arrays], strict=True):
            assert np.abs(values).max() > 1e-3
            for target in range(batch.function.targets):
                expected = values if values.ndim == part.ndim - 2 else values[..., target]
                np.testing.assert_allclose(part[member, target], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["perceptron", "residual", "two_classes", "joined"])
def test_deep_explainer_is_shap_s(name):
    modules, batch = case(name)

    def explain(module):
        explainer = shap.DeepExplainer(module, list(batch.background))
        return explainer.shap_values(list(batch.inputs), check_additivity=False)

    assert_by_hand("shap_deep_explainer", batch, modules, explain)


@pytest.mark.parametrize("name", ["perceptron", "two_classes", "joined", "reused", "series"])
def test_gradient_explainer_is_shap_s_sample_by_sample(name):
    modules, batch = case(name, samples=3)
    batch.keys = [5, 2**40 + 1, 9]

    def explain(module):
        explainer = shap.GradientExplainer(module, list(batch.background))
        parts = []
        for row, seed in enumerate((5, 1, 9)):
            values = explainer.shap_values([z[row : row + 1] for z in batch.inputs], nsamples=16, rseed=seed)
            parts.append(values if isinstance(values, list) else [values])
        return [np.concatenate(branch) for branch in zip(*parts, strict=True)]

    assert_by_hand("shap_gradient_explainer", batch, modules, explain)


def test_gradient_explainer_does_not_depend_on_a_sample_s_company():
    _, batch = case("perceptron", samples=3)
    whole = batch.attribute(METHODS["shap_gradient_explainer"], {})[0]
    alone = batch_of(batch.function, (batch.inputs[0][2:],), background=batch.background, keys=batch.keys[2:])
    own = alone.attribute(METHODS["shap_gradient_explainer"], {})[0]
    assert torch.allclose(own, whole[:, :, 2:], atol=1e-6)


def test_deep_explainer_agrees_with_our_deeplift_shap():
    _, batch = case("residual")
    own, expected = (batch.attribute(METHODS[name], {})[0] for name in ("deeplift_shap", "shap_deep_explainer"))
    assert torch.allclose(own, expected, atol=1e-5)


def test_functional_and_reused_activations_are_refused():
    inputs, background = (drawn(0, 3, 6),), (drawn(1, 4, 6),)
    batch = batch_of(function_of(lambda: Reused(6))[1], inputs, background=background)
    message = r"calls 4 nonlinear functions \(relu, softplus, tanh\) and has 1 activation modules"
    with pytest.raises(ConsilienceError, match=message):
        batch.attribute(METHODS["shap_deep_explainer"], {})


def test_a_network_that_cannot_be_followed_is_refused():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(6, 4), nn.Linear(4, 1)

        def forward(self, inputs):
            return self.second(self.first(inputs).relu_())

    batch = batch_of(function_of(InPlace)[1], (drawn(0, 3, 6),), background=(drawn(1, 4, 6),))
    with pytest.raises(ConsilienceError, match="cannot explain this network: relu_ changes a tensor in place"):
        batch.attribute(METHODS["shap_deep_explainer"], {})
    batch = batch_of(function_of(Recurrent)[1], (drawn(0, 3, 5, 4),), background=(drawn(1, 4, 5, 4),))
    with pytest.raises(ConsilienceError, match="cannot explain this network"):
        batch.attribute(METHODS["shap_deep_explainer"], {})


@pytest.mark.parametrize("name", ["shap_deep_explainer", "shap_gradient_explainer"])
def test_auxiliary_tensors_and_a_missing_background_are_refused(name):
    _, batch = case("additive")
    with pytest.raises(ConsilienceError, match="no auxiliary tensors; the network reads gate, mask_image"):
        batch.attribute(METHODS[name], {})
    _, batch = case("perceptron")
    batch.background = None
    with pytest.raises(ConsilienceError, match="a background of training samples is needed; none was given"):
        batch.attribute(METHODS[name], {})
