"""Integrated gradients over the switches of a dictionary, against a fine grid with every jump added by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from consilience.attribution import jumps
from consilience.attribution.jumps import dictionaries, jump_aware_integrated_gradients
from consilience.attribution.methods import METHODS, Method
from consilience.attribution.names import MethodFacts
from consilience.errors import ConsilienceError
from tests.unit.attribution_examples import batch_of, drawn, function_of
from tests.unit.dictionary_examples import INPUTS, by_hand, encoded, ensemble_of, shared

JUMPS = Method("jumps", jump_aware_integrated_gradients, MethodFacts("reference", complete=True))
IG = METHODS["integrated_gradients"]
DOUBLE = torch.float64


def attribute(function, inputs, method=JUMPS, references=None, **settings):
    batch = batch_of(function, (inputs,), references=references)
    found = batch.attribute(method, settings)
    gap, change = batch.gap(method, found)
    return found[0], gap, change


@pytest.mark.parametrize("activation", ["top_k", "batch_top_k"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_slow_way_gives_the_same(activation, seed):
    network = encoded(seed, activation)
    sample, reference = drawn(seed + 5, 1, INPUTS, dtype=DOUBLE), drawn(seed + 9, 1, INPUTS, dtype=DOUBLE) / 2
    found, _, _ = attribute(ensemble_of([network]), sample, references=(reference,))
    expected, count = by_hand(network, sample[0], reference[0])
    assert count >= 2
    assert torch.allclose(found[0, :, 0], expected, atol=4e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("activation", ["top_k", "batch_top_k"])
@pytest.mark.parametrize("hidden", [(), (9,), (9, 6)])
@pytest.mark.parametrize("outputs", [2, 3])
def test_attributions_sum_to_the_change(activation, hidden, outputs):
    networks = shared([encoded(seed, activation, hidden, outputs) for seed in range(3)])
    _, gap, change = attribute(ensemble_of(networks), drawn(1, 40, INPUTS, dtype=DOUBLE))
    assert gap.max() < 1e-9 * np.median(change)
    plain = attribute(ensemble_of(networks), drawn(1, 40, INPUTS, dtype=DOUBLE), IG)
    assert np.median(plain[1]) > 0.05 * np.median(change)


@pytest.mark.parametrize(
    "changes",
    [
        {"k": 1}, {"k": 30}, {"residual": True}, {"residual": True, "hidden": (30, 6)}, {"batchnorm": True},
        {"residual": True, "batchnorm": True}, {"activation": "batch_top_k", "threshold": 0.0},
    ],
    ids=str,
)  # fmt: skip
def test_every_kind_of_head_and_of_k_is_complete(changes):
    networks = shared([encoded(seed, **changes) for seed in range(2)])
    _, gap, change = attribute(ensemble_of(networks), drawn(1, 20, INPUTS, dtype=DOUBLE))
    assert gap.max() < 1e-9 * np.median(change)


def test_a_threshold_that_lets_nothing_through_leaves_nothing():
    found, gap, change = attribute(
        ensemble_of([encoded(0, "batch_top_k", threshold=1e6)]), drawn(1, 5, INPUTS, dtype=DOUBLE)
    )
    assert not found.any() and not gap.any() and not change.any()


def test_branches_of_which_one_is_masked_move_together():
    """What is masked is the sample's own in the reference too, so that the references differ from sample to sample."""
    function = ensemble_of([encoded(0), encoded(1)])
    whole = drawn(3, 6, INPUTS, dtype=DOUBLE)
    parts = whole[:, :8].unflatten(1, (2, 4)).contiguous(), whole[:, 8:].contiguous()
    mask = torch.zeros(6, 2, 4, dtype=torch.bool)
    mask[torch.arange(6), 1, torch.arange(6) % 4] = True
    batch = batch_of(function, parts, masks=[mask, None])
    batch.references = batch.keep_masked(batch.references)
    found = batch.attribute(JUMPS, {})
    gap, change = batch.gap(JUMPS, found)
    assert gap.max() < 1e-9 * np.median(change)
    assert not found[0][:, :, mask].any()
    references = torch.cat([part.expand(6, *part.shape[1:]).flatten(1) for part in batch.references], dim=1)
    flat = attribute(function, whole, references=(references,))[0]
    assert torch.allclose(torch.cat([part.flatten(3) for part in found], dim=3), flat, atol=1e-9)


def test_single_precision_is_as_complete_as_it_can_be():
    networks = shared([encoded(seed) for seed in range(2)])
    _, gap, change = attribute(ensemble_of(networks, double=False), drawn(1, 40, INPUTS))
    assert gap.max() < 1e-4 * np.median(change)


def test_where_nothing_switches_it_is_integrated_gradients():
    """With room for all units, and all excited, the codes are affine."""
    function = ensemble_of([encoded(0, k=30, shift=20.0)])
    inputs = drawn(2, 8, INPUTS, dtype=DOUBLE)
    own, expected = (attribute(function, inputs, method)[0] for method in (JUMPS, IG))
    # The library's own form has 50 points where it meets a dictionary.
    assert torch.allclose(own, expected, atol=2e-2 * float(expected.abs().max()))
    assert attribute(function, inputs)[1].max() < 1e-10


def test_units_that_only_bend_are_relus():
    """With room for all units, codes are a layer of ReLUs, whose integral is exact without a dictionary."""
    network = encoded(1, k=30)
    plain = nn.Sequential(nn.Linear(INPUTS, 30), nn.ReLU(), network.head).double().eval()
    encoder = network.encoder.double()
    with torch.no_grad():
        plain[0].weight.copy_(encoder.encoder.weight)
        plain[0].bias.copy_(encoder.encoder.bias - encoder.encoder.weight @ encoder.bias)
    states = {name: values[None] for name, values in plain.state_dict().items()}
    matrix = ensemble_of([network])
    other = type(matrix)(plain, states, matrix.target_map, matrix.offset)
    inputs = drawn(2, 8, INPUTS, dtype=DOUBLE)
    own, expected = attribute(matrix, inputs)[0], attribute(other, inputs, IG)[0]
    assert torch.allclose(own, expected, atol=1e-9 * float(expected.abs().max()))


def test_members_with_dictionaries_of_their_own_are_as_if_alone():
    networks = [encoded(seed) for seed in range(3)]
    networks[2].encoder.load_state_dict(networks[0].encoder.state_dict())
    alone = [attribute(ensemble_of([network]), drawn(1, 5, INPUTS, dtype=DOUBLE))[0] for network in networks]
    function = ensemble_of(networks)
    groups = [members for members, _, _ in dictionaries(batch_of(function, (drawn(1, 5, INPUTS, dtype=DOUBLE),)))]
    assert groups == [[0, 2], [1]]
    together = attribute(function, drawn(1, 5, INPUTS, dtype=DOUBLE))[0]
    assert torch.allclose(together, torch.cat(alone), atol=1e-10 * float(together.abs().max()))


@pytest.mark.parametrize(("at_once", "numbers"), [(3, 2**23), (32, 1)])
def test_batches_change_nothing(monkeypatch, at_once, numbers):
    function, inputs = ensemble_of(shared([encoded(0), encoded(1)])), drawn(3, 10, INPUTS, dtype=DOUBLE)
    whole = attribute(function, inputs)[0]
    monkeypatch.setattr(jumps, "SAMPLES_AT_ONCE", at_once)
    monkeypatch.setattr(jumps, "STRETCH_NUMBERS", numbers)
    parts = attribute(function, inputs, internal_batch=2)[0]
    assert torch.allclose(whole, parts, atol=1e-10 * float(whole.abs().max()))
    backwards = attribute(function, inputs.flip(0))[0].flip(2)
    assert torch.allclose(whole, backwards, atol=1e-10 * float(whole.abs().max()))


def test_a_reference_for_each_sample():
    function, inputs = ensemble_of([encoded(0)]), drawn(3, 4, INPUTS, dtype=DOUBLE)
    references = drawn(8, 4, INPUTS, dtype=DOUBLE)
    together, gap, _ = attribute(function, inputs, references=(references,))
    assert gap.max() < 1e-9
    for row in range(4):
        one = attribute(function, inputs[row : row + 1], references=(references[row : row + 1],))[0]
        assert torch.allclose(together[:, :, row], one[:, :, 0], atol=1e-10 * float(one.abs().max()))


def test_a_sample_that_is_its_reference_gets_nothing():
    inputs = drawn(3, 1, INPUTS, dtype=DOUBLE)
    assert not attribute(ensemble_of([encoded(0)]), inputs, references=(inputs,))[0].any()


def test_a_network_without_a_dictionary_is_refused():
    _, function = function_of(lambda: nn.Linear(3, 1))
    with pytest.raises(ConsilienceError, match="Linear reads no codes of a sparse dictionary.*attribution.methods"):
        batch_of(function, (drawn(0, 2, 3),)).attribute(JUMPS, {})
