import numpy as np
import pytest
import torch

from consilience.attribution.statistics import Direction, Magnitude, SampleMeans, UnitSums, combine
from consilience.errors import ConsilienceError

UNITS = [np.array([[2, 0], [0, -1]]), np.array([1, 3, 1])]
SHAPES = [(2, 2), (3,)]
MEMBERS, TARGETS, SAMPLES, FEATURES = 2, 3, 12, 4


def blocks(seed=0, samples=SAMPLES, targets=TARGETS):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(MEMBERS, targets, samples, *shape, generator=generator) for shape in SHAPES)


def feature_of(tensors, member, target, sample, weights=None):
    """Sum the elements of every feature, one by one."""
    sums = np.zeros(FEATURES)
    for branch, (tensor, units) in enumerate(zip(tensors, UNITS, strict=True)):
        for index in np.ndindex(units.shape):
            weight = 1 if weights is None else weights[branch][index]
            if units[index] >= 0:
                sums[units[index]] += float(tensor[(member, target, sample, *index)]) * weight
    return sums


def by_loop(tensors, labels, weights=None, magnitude=True, targets=TARGETS):
    every, own = np.zeros((MEMBERS, targets, FEATURES)), np.zeros((MEMBERS, targets, FEATURES))
    for member, target in np.ndindex(MEMBERS, targets):
        sums = [feature_of(tensors, member, target, sample, weights) for sample in range(len(labels))]
        sums = np.abs(sums) if magnitude else np.array(sums)
        every[member, target] = sums.mean(axis=0)
        own[member, target] = sums[labels == target].mean(axis=0)
    return every, own


LABELS = np.array([0, 1, 2, 2, 1, 0, 0, 2, 1, 0, 2, 2])


@pytest.mark.parametrize("size", [1, 5, 12])
def test_magnitude_is_the_mean_of_the_absolute_sum(size):
    tensors = blocks()
    magnitude = Magnitude(UnitSums(UNITS, FEATURES), 3)
    for start in range(0, SAMPLES, size):
        part = slice(start, start + size)
        magnitude.add(tuple(tensor[:, :, part] for tensor in tensors), LABELS[part])
    every, own = magnitude.means()
    expected, expected_own = by_loop(tensors, LABELS)
    np.testing.assert_allclose(every, expected, atol=1e-7)
    np.testing.assert_allclose(own, expected_own, atol=1e-7)


@pytest.mark.parametrize("size", [1, 5, 12])
def test_direction_is_the_mean_rise_of_a_standard_deviation(size):
    tensors = blocks(1)
    rises = [np.random.default_rng(0).uniform(0.1, 2, shape) for shape in SHAPES]
    direction = Direction(UnitSums(UNITS, FEATURES), 3, rises)
    for start in range(0, SAMPLES, size):
        part = slice(start, start + size)
        direction.add(tuple(tensor[:, :, part] for tensor in tensors), LABELS[part])
    every, own = direction.means()
    expected, expected_own = by_loop(tensors, LABELS, rises, magnitude=False)
    np.testing.assert_allclose(every, expected, atol=1e-7)
    np.testing.assert_allclose(own, expected_own, atol=1e-7)


def test_elements_of_a_feature_may_cancel():
    tensors = (torch.tensor([[0.0, 3.0], [-3.0, 0.0]]).expand(1, 1, 1, 2, 2), torch.zeros(1, 1, 1, 3))
    magnitude = Magnitude(UnitSums(UNITS, FEATURES), 0)
    magnitude.add(tensors, None)
    assert magnitude.means()[0][0, 0].tolist() == [0, 0, 0, 0]


def test_a_regression_has_no_own_class_and_two_classes_share_one_target():
    tensors = blocks(targets=1)
    for classes, labels in ((0, None), (2, LABELS % 2)):
        magnitude = Magnitude(UnitSums(UNITS, FEATURES), classes)
        magnitude.add(tensors, labels)
        every, own = magnitude.means()
        np.testing.assert_allclose(every, by_loop(tensors, np.zeros(SAMPLES), targets=1)[0], atol=1e-7)
        assert own is None if classes == 0 else (own == every).all()


@pytest.mark.parametrize(
    ("units", "single"),
    [
        ([np.arange(6).reshape(2, 3), np.array([6, 7])], True),
        ([np.array([[5, 1, 3], [0, 7, 2]]), np.array([6, 4])], True),
        ([np.array([[5, -1, 3], [0, 4, 2]]), np.array([-1, 1])], True),
        ([np.array([[0, 0, 1], [2, 2, 3]]), np.array([4, 5])], False),
    ],
)
def test_one_element_a_feature_takes_the_short_way_to_the_same_sums(units, single):
    features = 1 + max(int(part.max()) for part in units)
    sums = UnitSums(units, features)
    assert sums.single is single
    generator = torch.Generator().manual_seed(0)
    tensors = (torch.randn(2, 1, 4, 2, 3, generator=generator), torch.randn(2, 1, 4, 2, generator=generator))
    flat = np.concatenate([tensors[0].reshape(2, 1, 4, 6), tensors[1]], axis=-1).astype(np.float64)
    owner = np.concatenate([part.ravel() for part in units])
    expected = np.stack([flat[..., owner == feature].sum(axis=-1) for feature in range(features)], axis=-1)
    np.testing.assert_allclose(sums(tensors).double().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_effect_is_spread_evenly_over_the_elements_of_its_feature(dtype):
    effects = torch.randn(MEMBERS, TARGETS, 5, FEATURES, generator=torch.Generator().manual_seed(0)).double()
    like = tuple(torch.zeros(5, *shape, dtype=dtype) for shape in SHAPES)
    parts = UnitSums(UNITS, FEATURES).spread(effects, like)
    counts = np.bincount(np.concatenate([units[units >= 0] for units in UNITS]))
    for part, units in zip(parts, UNITS, strict=True):
        assert part.dtype == dtype
        for index in np.ndindex(units.shape):
            owner = units[index]
            expected = effects[..., owner] / counts[owner] if owner >= 0 else torch.zeros(MEMBERS, TARGETS, 5)
            assert torch.allclose(part[(..., *index)], expected.to(dtype), atol=1e-12)


def test_summing_what_was_spread_gives_the_effects():
    effects = torch.randn(2, 3, 4, 7, generator=torch.Generator().manual_seed(0)).double()
    # Features 5 and 6 have no element, so that nothing of theirs arrives.
    units = [np.array([[0, 0, 1], [2, -1, 3]]), np.array([4, 2])]
    sums = UnitSums(units, 7)
    like = (torch.zeros(4, 2, 3, dtype=torch.float64), torch.zeros(4, 2, dtype=torch.float64))
    again = sums(sums.spread(effects, like))
    assert torch.allclose(again[..., :5], effects[..., :5], atol=1e-12)
    assert not again[..., 5:].any()


def test_many_samples_keep_their_digits():
    means = SampleMeans(0)
    for _ in range(200):
        means.add(torch.full((1, 1, 1000, 1), 0.1, dtype=torch.float32), None)
    assert means.means()[0].item() == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_nothing_to_explain_is_refused():
    with pytest.raises(ConsilienceError, match="no samples to explain"):
        SampleMeans(0).means()


def test_a_class_without_samples_is_refused():
    means = SampleMeans(3)
    means.add(torch.ones(1, 3, 2, 1), np.array([0, 2]))
    with pytest.raises(ConsilienceError, match=r"class 1 .* has no explained sample"):
        means.means()


def test_average_attribution_takes_the_sign_of_the_direction():
    parts = combine(np.array([1.0, 2.0, 3.0]), np.array([-0.1, 0.0, 5.0]))
    assert parts["average_attribution"].tolist() == [-1, 0, 3]
    assert all(values.dtype == np.float32 for values in parts.values())
