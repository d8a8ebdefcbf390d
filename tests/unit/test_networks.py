from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.func import functional_call, vmap

from consilience.domains import slices
from consilience.domains.expression.model import build
from consilience.networks import Dropout, MultilayerPerceptron, NetworkContext, dropouts

CONTEXT = NetworkContext({"genes": (6,)}, 1, {}, 6)


def randomized(module: nn.Module) -> nn.Module:
    """Give every parameter and buffer a random value, so that none is neutral."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, values in module.state_dict().items():
            if values.is_floating_point():
                values.copy_(torch.rand(values.shape, generator=generator) + (0.5 if "running_var" in name else -0.5))
    return module.eval()


def by_hand(state: dict[str, np.ndarray], x: np.ndarray, depth: int) -> np.ndarray:
    """Linear-[BatchNorm]-ReLU, plus the skip where there is one, for every layer; then the last linear map."""
    for layer in range(depth):
        own = {name.removeprefix(f"hidden.{layer}."): values for name, values in state.items()}
        y = x @ own["linear.weight"].T + own.get("linear.bias", 0)
        if "normalization.weight" in own:
            y = (y - own["normalization.running_mean"]) / np.sqrt(own["normalization.running_var"] + 1e-5)
            y = y * own["normalization.weight"] + own["normalization.bias"]
        y = np.maximum(y, 0)
        if "skip.weight" in own:
            y = y + x @ own["skip.weight"].T
        elif state["identity"] and y.shape == x.shape:
            y = y + x
        x = y
    return x @ state["output.weight"].T + state["output.bias"]


@pytest.mark.parametrize("hidden", [[], [5], [4, 4], [6, 3, 3, 7]])
@pytest.mark.parametrize("batchnorm", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_forward_is_the_formula(hidden, batchnorm, residual):
    module = randomized(MultilayerPerceptron(6, hidden, 2, dropout=0.3, batchnorm=batchnorm, residual=residual))
    x = torch.randn(9, 6, generator=torch.Generator().manual_seed(1))
    state = {name: values.double().numpy() for name, values in module.state_dict().items()} | {"identity": residual}
    expected = by_hand(state, x.double().numpy(), len(hidden))
    assert np.allclose(module(x).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_residual_is_honored_at_every_depth(depth):
    plain = MultilayerPerceptron(6, [6] * depth, 1, residual=False)
    skipped = MultilayerPerceptron(6, [6] * depth, 1, residual=True)
    for module in (plain, skipped):
        for layer in module.hidden:
            nn.init.zeros_(layer.linear.weight)
            nn.init.zeros_(layer.linear.bias)
    x = torch.randn(4, 6)
    assert torch.allclose(skipped(x), skipped.output(x))  # nothing but the skips is left
    assert torch.allclose(plain(x), plain.output.bias.expand(4, 1))


def test_no_hidden_layer_is_a_linear_model():
    module = MultilayerPerceptron(6, [], 3, dropout=0.5, batchnorm=True, residual=True)
    assert [name for name, _ in module.named_parameters()] == ["output.weight", "output.bias"]


def test_branches_are_flattened_and_joined_in_order():
    module = MultilayerPerceptron(10, [], 1)
    first, second = torch.randn(5, 2, 3), torch.randn(5, 4)
    joined = torch.cat([first.reshape(5, 6), second], dim=1)
    assert torch.equal(module(first, second, depth=torch.zeros(5)), module(joined))


@pytest.mark.parametrize("hidden", [[], [5], [6, 4]])
@pytest.mark.parametrize("residual", [False, True])
def test_first_layers_are_those_that_touch_the_inputs(hidden, residual):
    module = MultilayerPerceptron(6, hidden, 1, residual=residual)
    called = {}
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear):
            part.register_forward_pre_hook(lambda _, given, name=name: called.update({name: given[0]}))
    x = torch.randn(3, 6)
    module(x)
    assert sorted(module.first_layers) == sorted(name for name, given in called.items() if given is x)


def test_a_mask_drops_entries_and_keeps_the_mean():
    part = Dropout(0.25, (40,)).train()
    masks = part.draw(500, torch.Generator().manual_seed(0))
    assert masks.shape == (500, 40)
    assert masks.unique().tolist() == [0, pytest.approx(4 / 3)]
    assert float((masks == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    part.keep = masks
    activations = torch.randn(500, 40)
    assert torch.equal(part(activations), activations * masks)
    assert torch.equal(part.eval()(activations), activations)
    assert not part.state_dict()


def test_draws_follow_the_generator_alone():
    part = Dropout(0.5, (3, 1, 1))
    first = part.draw(4, torch.Generator().manual_seed(5))
    torch.manual_seed(99)
    assert first.shape == (4, 3, 1, 1)
    assert torch.equal(first, part.draw(4, torch.Generator().manual_seed(5)))


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_outside_its_range_is_refused(rate):
    with pytest.raises(ValueError, match="dropout rate"):
        Dropout(rate, (1,))


def test_only_dropouts_that_drop_are_listed():
    module = nn.Sequential(Dropout(0.0, (1,)), nn.Sequential(Dropout(0.1, (1,))))
    assert [name for name, _ in dropouts(module)] == ["1.0"]
    assert not list(dropouts(MultilayerPerceptron(6, [3], 1)))


def test_the_perceptron_can_be_stacked():
    modules = [MultilayerPerceptron(6, [5, 5], 2, 0.1, True, True).eval() for _ in range(3)]
    assert modules[0].stackable
    states = {name: torch.stack([own.state_dict()[name] for own in modules]) for name in modules[0].state_dict()}
    x = torch.randn(7, 6)
    stacked = vmap(lambda state: functional_call(modules[0], state, (x,)))(states)
    assert torch.allclose(stacked, torch.stack([module(x) for module in modules]), atol=1e-6)


def test_presets_are_those_of_the_design_and_of_the_earlier_system():
    presets = yaml.safe_load((slices()["expression"] / "presets.yaml").read_text())["models"]
    default = {name: (own["hidden"], own.get("batchnorm", False)) for name, own in presets["default"].items()}
    assert default == {"mlp_64_32": ([64, 32], True), "mlp_128_64": ([128, 64], True), "mlp_32": ([32], False)}
    assert {own["dropout"] for own in presets["default"].values()} == {0.1}
    earlier = [(own["hidden"], own["dropout"]) for own in presets["earlier_seven"].values()]
    assert earlier == [
        ([64], 0.1), ([128], 0.03), ([128], 0.05), ([128], 0.35), ([128], 0.5), ([256], 0.1), ([512], 0.1),
    ]  # fmt: skip
    assert all(own["batchnorm"] for own in presets["earlier_seven"].values())
    for preset in presets.values():
        for name, specification in preset.items():
            assert build(specification, CONTEXT).eval()(torch.zeros(2, 6)).shape == (2, 1), name
