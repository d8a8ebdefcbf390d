import numpy as np
import pytest
import shap
import torch

from consilience.attribution.methods import METHODS
from consilience.attribution.sampling import noise, places
from consilience.errors import ConsilienceError
from tests.unit.attribution_examples import Perceptron, batch_of, case, drawn, each_target, function_of

DOUBLE = torch.float64


def copies_of(batch, level, draws):
    return tuple(torch.stack(parts, dim=1) for parts in zip(*noise(batch, level, draws), strict=True))


def gradient_at(explained, points, auxiliary):
    leaves = [point.detach().requires_grad_() for point in points]
    return torch.autograd.grad(explained(*leaves, *auxiliary).sum(), leaves)


@pytest.mark.parametrize("name", ["perceptron", "two_branches", "convolutional", "two_classes", "series"])
def test_smoothgrad_is_a_plain_loop_over_the_same_noise(name):
    modules, batch = case(name, DOUBLE)
    own = batch.attribute(METHODS["smoothgrad"], {"draws": 5, "noise": 0.3})
    copies = copies_of(batch, 0.3, 5)
    for member, target, explained in each_target(modules, batch):
        for sample in range(len(batch.inputs[0])):
            auxiliary = [part[sample : sample + 1] for part in batch.auxiliary.values()]
            sums = [torch.zeros_like(tensor[:1]) for tensor in batch.inputs]
            for draw in range(5):
                points = [copy[sample : sample + 1, draw] for copy in copies]
                for total, gradient in zip(sums, gradient_at(explained, points, auxiliary), strict=True):
                    total += gradient / 5
            for part, mask, total in zip(own, batch.masks, sums, strict=True):
                expected = total[0] if mask is None else total[0].masked_fill(mask[sample], 0)
                assert torch.allclose(part[member, target, sample], expected, atol=1e-12)


def test_smoothgrad_goes_to_the_gradient_as_noise_goes_away():
    _, batch = case("perceptron", DOUBLE)
    (own,) = batch.attribute(METHODS["smoothgrad"], {"noise": 1e-9})
    assert torch.allclose(own, batch.values_and_gradients[1][0], atol=1e-12)


def test_noise_has_the_sd_of_its_level_and_branch():
    _, batch = case("two_branches", DOUBLE, samples=60)
    batch.masks = [None, None]
    for copy, tensor, deviation in zip(copies_of(batch, 0.4, 30), batch.inputs, batch.deviations, strict=True):
        moved = copy - tensor[:, None]
        count = moved.numel()
        assert float(moved.std()) == pytest.approx(0.4 * deviation, rel=4 / np.sqrt(2 * count))
        assert abs(float(moved.mean())) < 4 * 0.4 * deviation / np.sqrt(count)
        # Draws, samples and elements move by themselves.
        assert len(moved.unique()) == count


def test_noise_belongs_to_the_sample_s_key():
    function = function_of(lambda: Perceptron(5))[1]
    inputs, keys = drawn(0, 4, 5), [3, 1, 2**40, 7]
    whole = copies_of(batch_of(function, (inputs,), keys=keys), 0.2, 6)[0]
    order = [2, 0]
    part = copies_of(batch_of(function, (inputs[order],), keys=[keys[place] for place in order]), 0.2, 6)[0]
    assert torch.equal(part, whole[order])
    other = copies_of(batch_of(function, (inputs[:1],), keys=[4]), 0.2, 6)[0]
    assert not torch.isclose(other, whole[:1]).any()


def test_what_is_masked_is_not_moved():
    _, batch = case("two_branches")
    mask = batch.masks[0]
    assert mask.any()
    copy, free = copies_of(batch, 0.5, 8)
    moved = copy != batch.inputs[0][:, None]
    assert torch.equal(moved, ~mask[:, None].expand_as(moved))
    assert (free != batch.inputs[1][:, None]).all()


@pytest.mark.parametrize("method", ["smoothgrad", "expected_gradients"])
def test_random_numbers_need_a_key_for_each_sample(method):
    _, batch = case("perceptron")
    for keys in ((), [1, 2]):
        batch.keys = keys
        with pytest.raises(ConsilienceError, match=f"a key for each of 5 samples; given: {len(keys)}"):
            batch.attribute(METHODS[method], {})


@pytest.mark.parametrize("name", ["perceptron", "two_branches", "two_classes", "series"])
def test_expected_gradients_are_a_plain_loop_over_the_background(name):
    modules, batch = case(name, DOUBLE)
    own = batch.attribute(METHODS["expected_gradients"], {})
    chosen = places(batch.keys, 4)
    for member, target, explained in each_target(modules, batch):
        for sample in range(len(batch.inputs[0])):
            auxiliary = [part[sample : sample + 1] for part in batch.auxiliary.values()]
            here = [tensor[sample : sample + 1] for tensor in batch.inputs]
            sums = [torch.zeros_like(tensor) for tensor in here]
            for row in range(4):
                there = [part[row : row + 1] for part in batch.background]
                there = [
                    other if mask is None else torch.where(mask[sample], tensor, other)
                    for other, mask, tensor in zip(there, batch.masks, here, strict=True)
                ]
                share = chosen[sample, row]
                points = [r + share * (z - r) for z, r in zip(here, there, strict=True)]
                gradients = gradient_at(explained, points, auxiliary)
                for total, gradient, z, r in zip(sums, gradients, here, there, strict=True):
                    total += gradient * (z - r) / 4
            for part, total in zip(own, sums, strict=True):
                assert torch.allclose(part[member, target, sample], total[0], atol=1e-12)


def test_expected_gradients_go_to_the_mean_of_integrated_gradients():
    _, few = case("two_classes", DOUBLE, samples=3, rows=3)
    (background,) = few.background
    expected = 0
    for row in range(3):
        few.references = (background[row : row + 1],)
        expected = expected + few.attribute(METHODS["integrated_gradients"], {})[0] / 3
    errors = []
    for times in (1, 60):
        few.background = (background.repeat(times, 1),)
        (own,) = few.attribute(METHODS["expected_gradients"], {})
        errors.append(float((own - expected).abs().max() / expected.abs().max()))
    assert errors[1] < 0.05
    assert errors[1] < errors[0] / 4


def test_expected_gradients_are_what_shap_s_explainer_goes_to():
    modules, batch = case("perceptron", samples=2, rows=4)
    batch.background = (batch.background[0].repeat(100, 1),)
    own = batch.attribute(METHODS["expected_gradients"], {})[0]
    for member, _, explained in each_target(modules, batch):
        explainer = shap.GradientExplainer(WithColumn(explained), [batch.background[0][:4]])
        values = np.asarray(explainer.shap_values([batch.inputs[0]], nsamples=2500, rseed=0)).reshape(2, -1)
        np.testing.assert_allclose(own[member, 0], values, atol=0.07 * float(own.abs().max()))


class WithColumn(torch.nn.Module):
    """A target as a column, which shap asks for."""

    def __init__(self, explained):
        super().__init__()
        self.explained = explained

    def forward(self, *arguments):
        return self.explained(*arguments)[:, None]


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_places_fall_one_in_each_stratum(count):
    chosen = places([5, 9, 2**50], count)
    assert chosen.shape == (3, count)
    assert (np.sort(np.floor(chosen * count).astype(int), axis=1) == np.arange(count)).all()
    if count == 50:
        # Which background sample gets which stratum is drawn too.
        assert (np.diff(chosen, axis=1) < 0).any(axis=1).all()


def test_places_belong_to_the_sample_s_key():
    whole = places([5, 9, 4], 6)
    np.testing.assert_array_equal(places([4, 5], 6), whole[[2, 0]])
    assert not np.isclose(places([6], 6), whole[:1]).any()


def test_places_are_uniform():
    chosen = places(range(400), 5).ravel()
    counts = np.histogram(chosen, 20, (0, 1))[0]
    assert ((counts - 100) ** 2 / 100).sum() < 40
