import numpy as np
import pytest
import torch

from consilience.attribution import occlusion
from consilience.attribution.methods import METHODS
from consilience.errors import ConsilienceError
from tests.unit.attribution_examples import Linear, TwoBranch, batch_of, case, drawn, function_of

DOUBLE = torch.float64
METHOD = METHODS["occlusion"]


def by_loop(modules, batch, units):
    """Return effects (members, targets, samples, *shape) a branch: one sample, one feature after the other."""
    function = batch.function
    results = [torch.zeros(len(modules), function.targets, *tensor.shape, dtype=DOUBLE) for tensor in batch.inputs]
    features = 1 + max(int(part.max()) for part in units)
    owners = [torch.as_tensor(np.asarray(part)) for part in units]
    with torch.no_grad():
        for member, module in enumerate(modules):
            for sample in range(len(batch.inputs[0])):
                own = [tensor[sample] for tensor in batch.inputs]
                others = [r[sample] if len(r) > 1 else r[0] for r in batch.references]
                auxiliary = {name: part[sample : sample + 1] for name, part in batch.auxiliary.items()}
                value = module(*(tensor[None] for tensor in own), **auxiliary)
                for feature in range(features):
                    hidden = [
                        torch.where(owner == feature, r, z) for owner, r, z in zip(owners, others, own, strict=True)
                    ]
                    fall = (value - module(*(tensor[None] for tensor in hidden), **auxiliary)).double()[0]
                    elements = sum(int((owner == feature).sum()) for owner in owners)
                    for result, owner in zip(results, owners, strict=True):
                        share = (function.target_map @ fall)[:, None] / max(elements, 1)
                        result[member, :, sample][:, owner == feature] = share.expand(-1, int((owner == feature).sum()))
    for result, mask in zip(results, batch.masks, strict=True):
        if mask is not None:
            result.masked_fill_(mask, 0)
    return results


def units_of(batch):
    return [part.numpy() for part in batch.sums.by_branch]


@pytest.mark.parametrize("path", ["matrix", "inputs"])
@pytest.mark.parametrize(
    "name", ["perceptron", "residual", "joined", "convolutional", "two_branches", "two_classes", "reused", "series"]
)
def test_occlusion_is_a_plain_loop_over_features(name, path, monkeypatch):
    if path == "inputs":
        monkeypatch.setattr(occlusion, "MATRIX_NUMBERS", 0)
    modules, batch = case(name, DOUBLE, samples=3)
    own = batch.attribute(METHOD, {})
    for part, expected in zip(own, by_loop(modules, batch, units_of(batch)), strict=True):
        assert float(part.abs().max()) > 1e-3
        assert torch.allclose(part, expected, atol=1e-12)


def test_elements_of_no_feature_get_nothing_and_those_of_one_share_evenly():
    _, batch = case("two_branches", DOUBLE)
    image, vector = batch.attribute(METHOD, {})
    units, others = units_of(batch)
    assert not image[..., torch.as_tensor(units == -1)].any()
    for part, owner in ((image.masked_fill(batch.masks[0], torch.nan), units), (vector, others)):
        for feature in set(owner.ravel()) - {-1}:
            shares = part[..., torch.as_tensor(owner == feature)]
            first = shares.nan_to_num(-torch.inf).amax(dim=-1, keepdim=True)
            assert ((shares == first) | shares.isnan()).all()


def test_a_feature_may_lie_in_two_branches():
    units = [np.array([[0, 1], [2, -1]])[None], np.array([1, 0, 2])]

    class Joined(torch.nn.Module):
        stackable = True

        def __init__(self):
            super().__init__()
            self.image, self.vector = torch.nn.Linear(4, 6), torch.nn.Linear(3, 6)
            self.head = torch.nn.Linear(6, 1)

        def forward(self, image, vector):
            return self.head((self.image(image.flatten(1)) + self.vector(vector)).tanh())

    modules, function = function_of(Joined, dtype=DOUBLE)
    batch = batch_of(function, (drawn(0, 3, 1, 2, 2, dtype=DOUBLE), drawn(1, 3, 3, dtype=DOUBLE)), units=units)
    for part, expected in zip(batch.attribute(METHOD, {}), by_loop(modules, batch, units), strict=True):
        assert torch.allclose(part, expected, atol=1e-12)


def test_in_a_linear_network_a_feature_s_effect_is_its_share():
    modules, function = function_of(lambda: Linear(6), dtype=DOUBLE)
    inputs, reference = drawn(0, 4, 6, dtype=DOUBLE), drawn(1, 1, 6, dtype=DOUBLE)
    units = np.array([0, 1, 1, 2, -1, 1])
    batch = batch_of(function, (inputs,), references=(reference,), units=[units])
    (own,) = batch.attribute(METHOD, {})
    for member, module in enumerate(modules):
        terms = 2 * module.layer.weight[0].detach() * (inputs - reference)
        for feature in range(3):
            total = own[member, 0][:, units == feature].sum(dim=1)
            assert torch.allclose(total, terms[:, units == feature].sum(dim=1), atol=1e-12)


@pytest.mark.parametrize("path", ["matrix", "inputs"])
@pytest.mark.parametrize("internal_batch", [1, 2, 10_000])
def test_the_internal_batch_changes_nothing(internal_batch, path, monkeypatch):
    if path == "inputs":
        monkeypatch.setattr(occlusion, "MATRIX_NUMBERS", 0)
    _, batch = case("convolutional", DOUBLE)
    own = batch.attribute(METHOD, {"internal_batch": internal_batch})[0]
    assert torch.allclose(own, batch.attribute(METHOD, {})[0], atol=1e-12)


def test_the_matrix_is_the_front():
    _, batch = case("perceptron", DOUBLE)
    split = batch.split
    matrix = occlusion.front_matrix(split, batch)
    here, there = (
        torch.cat([cut.flatten(2) for cut in split.project(tensors, {}).cuts], dim=2)
        for tensors in (batch.inputs, batch.references)
    )
    moved = (batch.inputs[0] - batch.references[0]).flatten(1)
    assert torch.allclose(torch.einsum("mce,ne->mnc", matrix, moved), here - there, atol=1e-12)


def test_without_units_it_is_refused():
    _, batch = case("perceptron")
    batch.sums = None
    with pytest.raises(ConsilienceError, match="no units were given"):
        batch.attribute(METHOD, {})


def test_a_network_that_reads_auxiliary_tensors_in_its_front_goes_the_general_way():
    function = function_of(lambda: TwoBranch(3), "votes", 3)[1]
    inputs = (drawn(0, 3, 1, 4, 4), drawn(1, 3, 6))
    auxiliary = {"gate": drawn(2, 3, 1), "mask_image": drawn(3, 3, 1, 4, 4) < -0.5}
    batch = batch_of(function, inputs, auxiliary)
    assert "auxiliary" in batch.split.remark
    assert occlusion.front_matrix(batch.split, batch) is None
