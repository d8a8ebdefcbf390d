"""The two-branch network against its documented sizes, and against one written plainly with the same weights."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from consilience.attribution.methods import METHODS
from consilience.domains import slices
from consilience.domains.mirna.model import build
from consilience.errors import ConsilienceError
from consilience.networks import Dropout, NetworkContext, dropouts
from consilience.yaml_files import read_yaml
from tests.unit.attribution_examples import batch_of, drawn
from tests.unit.mirna_examples import BRANCHES, DOUBLE, TINY, function_of, network, specification

SIZES = [3, 4, 5, 6]
PRESETS = read_yaml(slices()["mirna"] / "presets.yaml")["models"]
# Few channels in the documented shape.
NARROW = {"channels": [3, 4, 3, 2], "hidden": [7, 64, 32]}


def context(k, outputs=2):
    return NetworkContext(dict.fromkeys(BRANCHES, (2**k, 2**k)), outputs, {}, 2 * 4**k)


def size_of(module):
    return sum(values.numel() for values in module.parameters())


def images(k, count=4, seed=0, dtype=torch.float32):
    return tuple(drawn(seed + place, count, 2**k, 2**k, dtype=dtype) for place in range(2))


@pytest.mark.parametrize("k", SIZES)
def test_the_full_network_has_the_documented_size(k):
    module = build(specification(), context(k))
    assert size_of(module.site) == 515_584
    assert size_of(module.mirna) == 368_128
    assert size_of(module.head) + size_of(module.output) == 2_702_562
    assert size_of(module) == 3_586_274


def shapes_of(module, inputs):
    found = {}
    for name, part in module.named_modules():
        part.register_forward_hook(
            lambda _part, _inputs, output, name=name: found.update({name: tuple(output.shape[1:])})
        )
    with torch.no_grad():
        module(*inputs)
    return found


def test_the_full_network_is_the_documented_one_layer_by_layer():
    module = network(6)
    found = shapes_of(module, images(6, 1))
    for branch, kernels in (("site", [1, 5, 9]), ("mirna", [1, 3, 5])):
        part = getattr(module, branch)
        expected = {
            "first": (32, 64, 64), "inception.0": (64, 64, 64), "inception.1": (64, 64, 64), "inception.2": (64, 64, 64),
            "pools.0": (192, 32, 32), "second": (128, 32, 32), "pools.1": (128, 16, 16), "third": (64, 16, 16),
            "pools.2": (64, 4, 4), "dropout": (64, 4, 4), "": (1024,),
        }  # fmt: skip
        assert {name: found[f"{branch}.{name}".strip(".")] for name in expected} == expected
        assert [one.convolution.kernel_size for one in part.inception] == [(size, size) for size in kernels]
        convolutions = [part.first, part.second, part.third]
        assert [one.convolution.kernel_size for one in convolutions] == [(3, 3)] * 3
        assert all(layer.stride == (1, 1) for layer in part.modules() if isinstance(layer, nn.Conv2d))
    widths = [found[f"head.{layer}"] for layer in range(5)]
    assert widths == [(1024,), (512,), (128,), (64,), (32,)]
    assert found["output"] == (2,)


@pytest.mark.parametrize(("k", "sides"), [(3, (8, 4, 4)), (4, (8, 4, 4)), (5, (16, 8, 4)), (6, (32, 16, 4))])
def test_other_sizes_are_pooled_as_documented(k, sides):
    found = shapes_of(network(k, **NARROW), images(k))
    for branch in BRANCHES:
        assert tuple(found[f"{branch}.pools.{place}"][-1] for place in range(3)) == sides
        assert found[branch] == (2 * 16,)


@pytest.mark.parametrize(
    ("step", "final_side", "k", "side"), [(2, 4, 6, 4), (4, 8, 5, 8), (4, 8, 6, 8), (4, 8, 3, 2), (1, 8, 6, 8)]
)
def test_steps_and_final_sides(step, final_side, k, side):
    found = shapes_of(network(k, step=step, final_side=final_side, **NARROW), images(k))
    for branch in BRANCHES:
        assert found[f"{branch}.first"] == (3, 2**k // step, 2**k // step)
        assert found[f"{branch}.pools.2"] == (2, side, side)


class PlainBranch(nn.Module):
    """A branch as it is documented, with the adaptive pool, of modules in the order of their weights."""

    def __init__(self, k, kernels, channels):
        super().__init__()
        first, block, second, third = channels
        self.first = self.layer(1, first, 3)
        self.inception = nn.ModuleList(self.layer(first, block, size) for size in kernels)
        self.second = self.layer(block * len(kernels), second, 3)
        self.third = self.layer(second, third, 3)
        self.pools = {3: [None, 2, None], 4: [2, 2, None], 5: [2, 2, 2], 6: [2, 2, "adaptive"]}[k]

    @staticmethod
    def layer(inputs, outputs, size):
        return nn.Sequential(nn.Conv2d(inputs, outputs, size, padding="same"), nn.BatchNorm2d(outputs), nn.ReLU())

    def pool(self, place, found):
        size = self.pools[place]
        if size is None:
            return found
        return nn.AdaptiveMaxPool2d(4)(found) if size == "adaptive" else nn.MaxPool2d(size)(found)

    def forward(self, picture):
        found = self.first(picture[:, None])
        found = self.pool(0, torch.cat([part(found) for part in self.inception], dim=1))
        found = self.pool(1, self.second(found))
        return self.pool(2, self.third(found)).flatten(1)


class Plain(nn.Module):
    def __init__(self, k, mirna_kernels, site_kernels, channels, hidden):
        super().__init__()
        self.mirna, self.site = (PlainBranch(k, kernels, channels) for kernels in (mirna_kernels, site_kernels))
        layers = []
        for before, after in pairwise([2 * channels[-1] * 16, *hidden]):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
        self.head = nn.Sequential(*layers, nn.Linear(hidden[-1], 2))

    def forward(self, mirna, site):
        return self.head(torch.cat([self.site(site), self.mirna(mirna)], dim=1))


def plain_twin(module, k, **settings):
    twin = Plain(k, **settings)
    own, others = twin.state_dict(), module.state_dict()
    assert len(own) == len(others)
    twin.load_state_dict(dict(zip(own, others.values(), strict=True)))
    return twin.to(next(module.parameters()).dtype).eval()


@pytest.mark.parametrize("k", SIZES)
def test_it_computes_what_the_plain_network_does(k):
    settings = {**NARROW, "mirna_kernels": [1, 3, 5], "site_kernels": [1, 5, 9]}
    module = network(k, dtype=DOUBLE, **settings)
    given = images(k, dtype=DOUBLE)
    found, expected = module(*given), plain_twin(module, k, **settings)(*given)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_the_full_network_computes_what_the_plain_one_does():
    settings = {"channels": [32, 64, 128, 64], "hidden": [1024, 512, 128, 64, 32]}
    settings |= {"mirna_kernels": [1, 3, 5], "site_kernels": [1, 5, 9]}
    module = network(6)
    given = images(6, 2)
    with torch.no_grad():
        found, expected = module(*given), plain_twin(module, 6, **settings)(*given)
    assert (found[0] - found[1]).abs().max() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_branches_cannot_be_swapped_unnoticed():
    module = network(4, **NARROW)
    mirna, site = images(4)
    with torch.no_grad():
        assert not torch.allclose(module(mirna, site), module(site, mirna), atol=1e-3)
        changed = module(mirna, site + 1)
        torch.testing.assert_close(module.mirna(mirna), module.mirna(mirna.clone()))
        assert not torch.allclose(changed, module(mirna, site), atol=1e-3)


@pytest.mark.parametrize("k", SIZES)
def test_a_sample_does_not_depend_on_its_company(k):
    module = network(k, **NARROW)
    given = images(k, 7)
    with torch.no_grad():
        together = module(*given)
        alone = torch.cat([module(*(part[row : row + 1] for part in given)) for row in range(7)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_dropout_is_where_and_as_strong_as_documented():
    module = build(specification(dropout=0.2), context(6))
    found = {name: (part.rate, part.shape) for name, part in dropouts(module)}
    expected = {}
    for branch in BRANCHES:
        expected |= {f"{branch}.inception.{place}.dropout": (0.1, (64, 1, 1)) for place in range(3)}
        expected |= {f"{branch}.second.dropout": (0.2, (128, 1, 1)), f"{branch}.third.dropout": (0.2, (64, 1, 1))}
        expected |= {f"{branch}.dropout": (0.2, (64, 1, 1))}
    for layer, (width, share) in enumerate([(1024, 1), (512, 1), (128, 1), (64, 0.6), (32, 0.3)]):
        expected[f"head.{layer}.3"] = (pytest.approx(0.2 * share), (width,))
    assert found == expected


@pytest.mark.parametrize("k", SIZES)
def test_the_last_dropout_is_left_out_for_k_5_alone(k):
    names = [name for name, _ in dropouts(build(specification(**NARROW), context(k)))]
    assert [f"{branch}.dropout" in names for branch in BRANCHES] == [k != 5] * 2


def test_without_dropout_nothing_drops():
    module = build(specification(dropout=0.0, inception_dropout=0.0, **NARROW), context(4))
    assert list(dropouts(module)) == []
    assert not any(isinstance(part, nn.Dropout | nn.Dropout2d | Dropout) for part in module.modules())


def test_training_drops_whole_channels_by_the_masks_it_is_given():
    module = network(4, **{**NARROW, "channels": [3, 20, 30, 40], "dropout": 0.3, "inception_dropout": 0.4}).train()
    generator = torch.Generator().manual_seed(0)
    for _, part in dropouts(module):
        part.keep = part.draw(16, generator)
    seen = {}
    for name, part in dropouts(module):
        part.register_forward_hook(lambda part, given, output, name=name: seen.update({name: (part, given[0], output)}))
    with torch.no_grad():
        first = module(*images(4, 16))
        again = module(*images(4, 16))
    assert torch.equal(first, again), "it draws nothing by itself"
    for name, (part, before, after) in seen.items():
        if part.shape[1:] != (1, 1):
            continue
        assert before.shape[1] == part.shape[0]
        alive = (before != 0).flatten(2).any(dim=2)
        gone = (after == 0).flatten(2).all(dim=2)
        whole = torch.isclose(after, before / (1 - part.rate)).flatten(2).all(dim=2)
        assert bool((gone | whole).all()), name
        share, count = float(gone[alive].float().mean()), int(alive.sum())
        assert abs(share - part.rate) < 5 * np.sqrt(part.rate * (1 - part.rate) / count), name
    assert len([name for name, (part, *_) in seen.items() if part.shape[1:] == (1, 1)]) == 12


def test_weights_start_as_documented():
    torch.manual_seed(0)
    module = build(specification(), context(5))
    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d):
            expected = np.sqrt(2 / (part.out_channels * part.kernel_size[0] ** 2))
        elif isinstance(part, nn.Linear):
            expected = np.sqrt(2 / (part.in_features + part.out_features))
        elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert (part.weight == 1).all(), name
            assert (part.bias == 0).all(), name
            continue
        else:
            continue
        assert (part.bias == 0).all()
        error = 5 * expected / np.sqrt(2 * part.weight.numel())
        assert abs(float(part.weight.detach().std()) - expected) < error, name
        assert abs(float(part.weight.detach().mean())) < 5 * expected / np.sqrt(part.weight.numel()), name


def test_the_first_layers_are_those_that_see_an_image():
    module = build(specification(**TINY), context(3))
    found = [module.get_submodule(name) for name in module.first_layers]
    assert [part.in_channels for part in found] == [1, 1]
    assert {id(part) for part in found} == {
        id(part) for part in module.modules() if isinstance(part, nn.Conv2d) and part.in_channels == 1
    }


@pytest.mark.parametrize("name", ["default", "small"])
@pytest.mark.parametrize("k", SIZES)
def test_presets_build(name, k):
    sizes = []
    for own in PRESETS[name].values():
        module = build(specification(**own), context(k)).eval()
        sizes.append(size_of(module))
        if name == "small":
            with torch.no_grad():
                assert module(*images(k, 2)).shape == (2, 2)
    assert len(sizes) == len(set(sizes)) == 3, "models that do not differ have no say of their own"
    if name == "small":
        assert max(sizes) < 400_000
    else:
        assert sizes[0] == 3_586_274


def deeplift(modules, given, reference):
    batch = batch_of(function_of(modules), given, references=reference)
    return batch.gap(METHODS["deeplift"], batch.attribute(METHODS["deeplift"], {}))


@pytest.mark.parametrize("k", SIZES)
def test_deeplift_is_complete(k):
    gap, change = deeplift([network(k, seed, **NARROW) for seed in (0, 1)], images(k), images(k, seed=9))
    assert gap.shape == (2, 1, 4)
    assert change.max() > 0.1
    assert gap.max() < 1e-4 * max(1, change.max())


@pytest.mark.parametrize("own", PRESETS["small"].values(), ids=PRESETS["small"])
def test_deeplift_is_complete_on_the_small_networks(own):
    gap, change = deeplift([network(5, **own)], images(5), images(5, seed=9))
    assert change.max() > 0.1
    assert gap.max() < 1e-4 * max(1, change.max())


def test_the_adaptive_pool_would_be_in_deeplifts_way():
    settings = {**NARROW, "mirna_kernels": [1, 3, 5], "site_kernels": [1, 5, 9]}
    twin = plain_twin(network(6, **settings), 6, **settings)
    with pytest.raises(ConsilienceError, match="deeplift cannot explain this network: .*adaptive_max_pool2d"):
        deeplift([twin], images(6), images(6, seed=9))
