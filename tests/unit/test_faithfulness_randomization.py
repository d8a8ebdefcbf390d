import numpy as np
import pytest
import torch

from consilience.faithfulness.randomization import STAGES, cascade, shuffled
from tests.unit.attribution_examples import Perceptron, TwoBranch, ensemble_of


def deep(layers):
    """States of so many modules with a weight and a bias each, in order of registration."""
    generator = torch.Generator().manual_seed(0)
    names = [f"layer.{layer}.{part}" for layer in range(layers) for part in ("weight", "bias")]
    return {name: torch.randn(2, *((4, 3) if name.endswith("weight") else (7,)), generator=generator) for name in names}


def same(first, second):
    return [name for name in first if torch.equal(first[name], second[name])]


def test_shuffling_keeps_the_values_of_every_member():
    tensor = torch.arange(60).reshape(3, 4, 5).float()
    found = shuffled(tensor, "weight", 0)
    assert found.shape == tensor.shape
    assert (found.flatten(1).sort(dim=1).values == tensor.flatten(1)).all()
    orders = found.flatten(1) - tensor.flatten(1)[:, :1]
    assert not (orders[0] == orders[1]).all()
    assert torch.equal(found, shuffled(tensor, "weight", 0))
    assert not torch.equal(found, shuffled(tensor, "bias", 0))
    assert not torch.equal(found, shuffled(tensor, "weight", 1))
    assert torch.equal(found[:2], shuffled(tensor[:2], "weight", 0))
    assert torch.equal(tensor, torch.arange(60).reshape(3, 4, 5).float())


def test_a_number_a_member_stays():
    counts = torch.tensor([3, 5])
    assert torch.equal(shuffled(counts, "num_batches_tracked", 0), counts)


def test_modules_are_randomized_from_the_output_and_stay_so():
    states = deep(4)
    trained = {name: tensor.clone() for name, tensor in states.items()}
    stages = list(cascade(states, states, 0))
    assert [label for label, _ in stages] == ["layer.3", "layer.2", "layer.1", "layer.0"]
    for number, (_, found) in enumerate(stages, start=1):
        untouched = [name for name in states if int(name.split(".")[1]) < 4 - number]
        assert same(states, found) == untouched
    assert same(stages[1][1], stages[3][1]) == [name for name in states if name.startswith(("layer.2", "layer.3"))]
    assert same(states, trained) == list(states)


@pytest.mark.parametrize("layers", [1, 2, 6, 7, 11, 40])
def test_a_long_cascade_is_cut_evenly_and_ends_with_everything(layers):
    states = deep(layers)
    stages = list(cascade(states, states, 0))
    assert len(stages) == min(layers, STAGES)
    assert stages[-1][0] == "layer.0"
    assert same(states, stages[-1][1]) == []
    done = np.array([layers - len(same(states, found)) // 2 for _, found in stages])
    steps = np.diff(done, prepend=0)
    assert steps.max() - steps.min() <= 1


def test_the_order_is_that_of_registration_whatever_the_order_of_states():
    modules, states = ensemble_of(lambda: Perceptron(5), 2)
    backwards = dict(reversed(states.items()))
    stages = [label for label, _ in cascade(modules[0].state_dict(), backwards, 0)]
    assert stages == ["layers.4", "layers.1", "layers.0"]
    modules, states = ensemble_of(TwoBranch, 2)
    assert [label for label, _ in cascade(modules[0].state_dict(), states, 0)] == ["head", "vector.0", "convolution.0"]


def test_buffers_are_randomized_too():
    modules, states = ensemble_of(lambda: Perceptron(5), 2)
    *_, (_, found) = cascade(modules[0].state_dict(), states, 0)
    # Tensors of one number or of equal ones have one order.
    assert set(same(states, found)) == {
        "layers.1.weight", "layers.1.bias", "layers.1.num_batches_tracked", "layers.4.bias",
    }  # fmt: skip


def test_a_parameter_of_the_network_itself_has_a_name():
    states = {"scale": torch.randn(2, 9), "layer.weight": torch.randn(2, 9)}
    assert [label for label, _ in cascade(states, states, 0)] == ["layer", "own parameters"]
