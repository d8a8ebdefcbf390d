import numpy as np
import pytest
import torch

from consilience.attribution.function import EnsembleFunction, target_map
from consilience.errors import ConsilienceError
from tests.unit.attribution_examples import Linear, Perceptron, Recurrent, TwoBranch, ensemble_of, function_of


def two_branch_inputs(samples=5, seed=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(samples, 1, 4, 4, generator=generator, dtype=dtype)
    vector = torch.randn(samples, 6, generator=generator, dtype=dtype)
    gate = torch.randn(samples, 1, generator=generator, dtype=dtype)
    mask = torch.rand(samples, 1, 4, 4, generator=generator) < 0.2
    return (image, vector), {"gate": gate, "mask_image": mask}


def test_target_map_of_a_regression_is_the_target_in_its_own_unit():
    matrix, offset = target_map("regression", 1, 2.5, -1.0)
    assert (matrix @ torch.tensor([4.0]).double() + offset).item() == pytest.approx(9.0)


@pytest.mark.parametrize("task", ["classification", "votes"])
def test_target_map_of_two_classes_is_the_log_odds(task):
    matrix, offset = target_map(task, 2)
    logits = torch.tensor([0.3, 1.7]).double()
    probability = torch.softmax(logits, 0)
    expected = torch.log(probability[1] / probability[0])
    assert matrix.shape == (1, 2)
    assert (matrix @ logits + offset).item() == pytest.approx(expected.item())


def test_target_map_of_more_classes_centers_the_logits():
    matrix, offset = target_map("classification", 4)
    logits = torch.tensor([0.3, 1.7, -2.0, 5.0]).double()
    assert torch.allclose(matrix @ logits + offset, logits - logits.mean())


def test_classes_need_a_logit_each():
    with pytest.raises(ConsilienceError, match="two outputs or more"):
        target_map("classification", 1)


def test_values_are_those_of_every_member_by_itself():
    modules, function = function_of(lambda: Perceptron(7), scale=2.0, center=5.0)
    inputs = torch.randn(9, 7, generator=torch.Generator().manual_seed(0))
    values = function.values((inputs,))
    assert values.shape == (3, 9, 1)
    for module, own in zip(modules, values, strict=True):
        assert torch.allclose(own, (5 + 2 * module(inputs)).double(), atol=1e-5)


def test_gradients_are_the_jacobian_of_every_member_sample_and_target():
    modules, function = function_of(TwoBranch, "votes", 3, dtype=torch.float64)
    (image, vector), auxiliary = two_branch_inputs(dtype=torch.float64)
    values, gradients = function.gradients((image, vector), auxiliary)
    assert torch.allclose(values, function.values((image, vector), auxiliary))
    assert [tuple(part.shape) for part in gradients] == [(3, 3, 5, 1, 4, 4), (3, 3, 5, 6)]
    for member, module in enumerate(modules):
        for sample in range(5):
            one = {name: tensor[sample : sample + 1] for name, tensor in auxiliary.items()}

            def centered(image, vector, module=module, one=one):
                outputs = module(image[None], vector[None], **one)[0]
                return outputs - outputs.mean()

            jacobian = torch.autograd.functional.jacobian(centered, (image[sample], vector[sample]))
            for expected, part in zip(jacobian, gradients, strict=True):
                assert torch.allclose(part[member, :, sample], expected, atol=1e-12)


@pytest.mark.parametrize("limit", [1, 200, 2**22])
def test_stacked_members_equal_the_loop(monkeypatch, limit):
    modules, states = ensemble_of(TwoBranch, members=5)
    looped = TwoBranch().eval()
    looped.stackable = False
    matrix = target_map("votes", 3)
    inputs, auxiliary = two_branch_inputs()
    monkeypatch.setitem(EnsembleFunction.gradients.__globals__["NUMBERS_AT_ONCE"], "cpu", limit)
    values, gradients = EnsembleFunction(modules[0], states, *matrix).gradients(inputs, auxiliary)
    loop_values, loop_gradients = EnsembleFunction(looped, states, *matrix).gradients(inputs, auxiliary)
    assert torch.allclose(values, loop_values, atol=1e-6)
    for part, own in zip(gradients, loop_gradients, strict=True):
        assert torch.allclose(part, own, atol=1e-6)


def test_recurrent_networks_are_computed_member_by_member():
    modules, function = function_of(Recurrent, scale=1.0, center=0.0)
    series = torch.randn(4, 5, 4, generator=torch.Generator().manual_seed(0))
    _, (gradient,) = function.gradients((series,))
    assert not function.stackable
    for member, module in enumerate(modules):
        leaf = series.clone().requires_grad_()
        module(leaf).sum().backward()
        assert torch.allclose(gradient[member, 0], leaf.grad, atol=1e-6)


def test_a_branch_that_is_not_used_gets_zero():
    class First(Linear):
        def forward(self, first, second):
            return self.layer(first)

    _, function = function_of(lambda: First(3))
    _, gradients = function.gradients((torch.ones(2, 3), torch.ones(2, 2, 2)))
    assert gradients[1].shape == (3, 1, 2, 2, 2)
    assert gradients[1].abs().sum() == 0
    assert gradients[0].abs().sum() > 0


def test_the_callers_tensors_are_left_alone():
    modules, function = function_of(lambda: Perceptron(4))
    before = {name: tensor.clone() for name, tensor in modules[0].state_dict().items()}
    inputs = torch.ones(2, 4)
    function.gradients((inputs,))
    assert not inputs.requires_grad
    assert all(torch.equal(tensor, before[name]) for name, tensor in modules[0].state_dict().items())


@pytest.mark.parametrize("part", ["layers.3", ""])
def test_train_mode_is_refused(part):
    modules, states = ensemble_of(lambda: Perceptron(4))
    (modules[0].get_submodule(part)).train()
    with pytest.raises(ConsilienceError, match="eval mode; in train mode: " + (part or "the whole network")):
        EnsembleFunction(modules[0], states, *target_map("regression", 1))


@pytest.mark.parametrize("stackable", [True, False])
def test_probabilities_in_place_of_logits_are_refused(stackable):
    class Softmax(Perceptron):
        def forward(self, inputs):
            return super().forward(inputs).softmax(1)

    Softmax.stackable = stackable
    _, function = function_of(lambda: Softmax(4, 3), "classification", 3)
    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    for call in (function.values, function.gradients):
        with pytest.raises(ConsilienceError, match=r"probabilities.*leave out the final softmax"):
            call((inputs,))


def test_a_regression_between_zero_and_one_is_no_softmax():
    class Bounded(Linear):
        def forward(self, inputs):
            return torch.ones_like(super().forward(inputs))

    _, function = function_of(lambda: Bounded(2))
    assert function.values((torch.ones(3, 2),)).shape == (3, 3, 1)


def test_a_diverged_member_is_named():
    modules, states = ensemble_of(lambda: Linear(2))
    states["layer.weight"][1] = float("nan")
    function = EnsembleFunction(modules[0], states, *target_map("regression", 1))
    with pytest.raises(ConsilienceError, match="member 1 gives outputs that are not finite"):
        function.values((torch.ones(1, 2),))


def test_a_gradient_that_does_not_exist_is_refused():
    class Detached(Linear):
        def forward(self, inputs):
            return super().forward(inputs.detach())

    _, function = function_of(lambda: Detached(2))
    with pytest.raises(ConsilienceError, match="differentiable"):
        function.gradients((torch.ones(1, 2),))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda states: states.pop("layer.bias"), "lacks the tensor layer.bias"),
        (lambda states: states.update({"layer.bais": torch.ones(3, 1)}), "no tensor layer.bais; nearest: layer.bias"),
        (lambda states: states.update({"layer.weight": torch.ones(3, 1, 5)}), r"\(3, 1, 5\); expected \(members, "),
        (lambda states: states.update({"layer.bias": torch.ones(2, 1)}), r"layer.bias has shape \(2, 1\)"),
    ],
)
def test_states_that_do_not_fit_are_refused(change, message):
    modules, states = ensemble_of(lambda: Linear(2))
    change(states)
    with pytest.raises(ConsilienceError, match=message):
        EnsembleFunction(modules[0], states, *target_map("regression", 1))


def test_outputs_of_another_shape_are_refused():
    modules, states = ensemble_of(lambda: Linear(2, 3))
    function = EnsembleFunction(modules[0], states, *target_map("votes", 4))
    with pytest.raises(ConsilienceError, match=r"\(5, 3\); expected \(samples, outputs\) = \(5, 4\)"):
        function.values((torch.ones(5, 2),))


def test_inputs_and_auxiliary_hold_the_same_samples():
    _, function = function_of(lambda: Linear(2))
    with pytest.raises(ConsilienceError, match=r"same samples; they hold \[3, 2\]"):
        function.values((torch.ones(3, 2),), {"gate": torch.ones(2)})


def test_values_keep_their_digits_beside_a_large_center():
    _, function = function_of(lambda: Linear(2), scale=1.0, center=1e6)
    _, plain = function_of(lambda: Linear(2), scale=1.0, center=0.0)
    inputs = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    assert np.allclose(function.values((inputs,)) - 1e6, plain.values((inputs,)), atol=1e-8)
