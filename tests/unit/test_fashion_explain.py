"""The network of fashion, and its own methods of attribution, against plain loops."""

import numpy as np
import pytest
import torch

from consilience.attribution.methods import Own, method_named
from consilience.configuration import own_methods, slice_schema
from consilience.domains import slices
from consilience.domains.fashion import explain
from consilience.domains.fashion.model import build
from consilience.networks import Encoded, NetworkContext
from consilience.study_checks import completed
from consilience.yaml_files import read_yaml
from tests.unit.attribution_examples import batch_of, drawn
from tests.unit.dictionary_examples import ensemble_of

CONTEXT = NetworkContext({"pixels": (28, 28)}, 10, {}, 784)
OWN = Own.of(explain, own_methods("fashion"))


def specification(**changes):
    schema = slice_schema("fashion")["properties"]["models"]["additionalProperties"]
    return completed(changes, schema)


def network(seed=0, **changes):
    torch.manual_seed(seed)
    module = build(specification(**{"atoms": 40, "k": 6, "hidden": [12], **changes}), CONTEXT).double().eval()
    with torch.no_grad():
        module.encoder.encoder.weight.mul_(3)
        module.encoder.threshold.fill_(0.2)
    return module


def batch(modules, pictures=3, reference=None):
    inputs = drawn(4, pictures, 28, 28, dtype=torch.float64).abs()
    references = None if reference is None else (torch.full((1, 28, 28), reference, dtype=torch.float64),)
    return batch_of(ensemble_of(modules), (inputs,), references=references)


def centered(module, codes):
    logits = module.head(codes)
    return logits - logits.mean(dim=1, keepdim=True)


def test_the_full_network_has_the_size_of_the_documented_one():
    module = build(specification(), CONTEXT)
    sizes = [tuple(values.shape) for name, values in module.named_parameters() if "weight" in name]
    assert sizes == [(1024, 784), (784, 1024), (512, 1024), (256, 512), (10, 256)]
    assert [part.rate for part in module.head.modules() if hasattr(part, "rate")] == [0.3, 0.3]
    # The earlier classifier had as many parameters; its autoencoder had the decoder's bias where this has the pre-bias.
    assert sum(values.numel() for values in module.head.parameters()) == 658_698
    assert sum(values.numel() for values in module.encoder.parameters()) == 1_607_440


@pytest.mark.parametrize("name", ["default", "batch_top_k", "small"])
def test_presets_build(name):
    presets = read_yaml(slices()["fashion"] / "presets.yaml")["models"]
    for own in presets[name].values():
        module = build(specification(**own), CONTEXT)
        assert isinstance(module, Encoded)
        assert module.encoder.k == own["k"]
        assert module.encoder.activation == ("batch_top_k" if name == "batch_top_k" else "top_k")


def test_the_schema_tells_the_methods_that_explain_has():
    assert set(slice_schema("fashion")["methods"]) == set(explain.methods)


@pytest.mark.parametrize("activation", ["top_k", "batch_top_k"])
def test_decoder_weighted_is_a_plain_loop(activation):
    modules = [network(0, activation=activation), network(1, activation=activation)]
    states = [module.state_dict() for module in modules]
    given = batch(modules)
    (found,) = given.attribute(method_named("decoder_weighted", OWN), {})
    (unsigned,) = given.attribute(method_named("decoder_weighted_unsigned", OWN), {})
    for member, state in enumerate(states):
        module = network(0, activation=activation)
        module.load_state_dict(state)
        for row, picture in enumerate(given.inputs[0]):
            codes = module.encoder(picture.reshape(1, 784)).detach().requires_grad_()
            for target in (0, 7):
                (gradient,) = torch.autograd.grad(centered(module, codes)[0, target], codes)
                expected = sum(
                    codes[0, atom].item() * gradient[0, atom].item() * module.encoder.atoms[:, atom].detach()
                    for atom in range(40)
                )
                assert torch.allclose(found[member, target, row].flatten(), expected, atol=1e-9)
                plain = (codes[0] * module.encoder.atoms.abs()).sum(dim=1).detach()
                assert torch.allclose(unsigned[member, target, row].flatten(), plain, atol=1e-9)


@pytest.mark.parametrize("internal_batch", [1, 512])
def test_window_occlusion_is_a_plain_loop(internal_batch):
    module = network()
    given = batch([module], pictures=2, reference=0.4)
    (found,) = given.attribute(method_named("window_occlusion", OWN), {"internal_batch": internal_batch})
    for row, picture in enumerate(given.inputs[0]):
        total, cover = torch.zeros(10, 28, 28, dtype=torch.float64), torch.zeros(28, 28)
        whole = centered(module, module.encoder(picture.reshape(1, 784)))[0].detach()
        for top in range(0, 25, 2):
            for left in range(0, 25, 2):
                hidden = picture.clone()
                hidden[top : top + 4, left : left + 4] = 0.4
                fall = whole - centered(module, module.encoder(hidden.reshape(1, 784)))[0].detach()
                total[:, top : top + 4, left : left + 4] += fall[:, None, None]
                cover[top : top + 4, left : left + 4] += 1
        assert cover.min() == 1
        assert torch.allclose(found[0, :, row], total / cover, atol=1e-9)


def test_jump_aware_integrated_gradients_are_complete_on_pictures():
    given = batch([network(0), network(1)], pictures=5)
    method = method_named("jump_aware_integrated_gradients", OWN)
    gap, change = given.gap(method, given.attribute(method, {}))
    assert gap.max() < 1e-8 * np.median(change)
