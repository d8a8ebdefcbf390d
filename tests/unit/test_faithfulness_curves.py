from itertools import permutations

import numpy as np
import pytest
import torch

from consilience.faithfulness.curves import (
    SHARES,
    areas,
    counts_of,
    curves,
    places_of,
    random_places,
    replaced,
)

IMAGE = np.array([[0, 0, -1], [1, 2, -1]])[None]
VECTOR = np.array([3, 1, -1, 2])
UNITS = [torch.as_tensor(IMAGE), torch.as_tensor(VECTOR)]


def drawn(samples=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(samples, *unit.shape, generator=generator) for unit in UNITS)


def value(inputs):
    """Something that every element enters by itself and with others."""
    flat = torch.cat([tensor.flatten(1) for tensor in inputs], dim=1).double()
    weights = torch.arange(1, flat.shape[1] + 1).double()
    return (torch.tanh(flat @ weights / 7) + (flat**2 @ weights.flip(0)) / 9).numpy()


def test_the_points_of_a_curve_are_unique_counts_from_none_to_all():
    assert counts_of(1000).tolist() == [0, 10, 20, 50, 100, 200, 300, 500, 700, 1000]
    assert counts_of(5).tolist() == [0, 1, 2, 3, 4, 5]
    assert counts_of(2).tolist() == [0, 1, 2]
    for features in range(2, 400):
        counts = counts_of(features)
        assert counts[0] == 0
        assert counts[-1] == features
        assert (np.diff(counts) > 0).all()
        assert set(counts) == {-int(-round(share * features, 6) // 1) for share in SHARES}


def test_places_put_the_highest_first_and_keep_the_order_of_ties():
    assert places_of(np.array([[0.5, 2.0, 0.5, -1.0], [1, 1, 1, 1]])).tolist() == [[1, 0, 2, 3], [0, 1, 2, 3]]


def test_a_random_ranking_follows_from_the_samples_id_alone():
    found = random_places(["a", "b", "c"], 9, 0, 5)
    assert (random_places(["c", "a"], 9, 0, 5) == found[[2, 0]]).all()
    assert (np.sort(found, axis=1) == np.arange(9)).all()
    others = [random_places(["a"], 9, 1, 5), random_places(["a"], 9, 0, 6), found[1:2]]
    assert all((other != found[:1]).any() for other in others)


def by_loop(inputs, references, places):
    """Both curves, an element at a time; elements of no feature change with the last point alone."""
    counts, samples = counts_of(places.shape[1]), len(places)
    result = {kind: np.zeros((samples, len(counts))) for kind in ("deletion", "insertion")}
    at, base = value(inputs), value(references)
    for kind, (start, end) in {"deletion": (inputs, references), "insertion": (references, inputs)}.items():
        for point, count in enumerate(counts):
            changed = [tensor.clone() for tensor in start]
            for tensor, new, unit in zip(changed, end, (IMAGE, VECTOR), strict=True):
                for sample in range(samples):
                    for place in np.ndindex(*unit.shape):
                        feature = unit[place]
                        first = places[sample, feature] < count if feature >= 0 else count == places.shape[1]
                        if first:
                            tensor[(sample, *place)] = new[(sample, *place)]
            for sample in range(samples):
                sign = np.sign(at[sample] - base[sample])
                result[kind][sample, point] = sign * (value(tuple(changed))[sample] - base[sample])
    return result


def test_curves_are_those_of_a_plain_loop():
    inputs, references = drawn(seed=1), drawn(seed=2)
    places = random_places([f"s{row}" for row in range(6)], 4, 0, 0)
    found = curves(value, inputs, references, UNITS, places, (value(inputs), value(references)))
    expected = by_loop(inputs, references, places)
    for kind in ("deletion", "insertion"):
        np.testing.assert_allclose(found[kind], expected[kind], atol=1e-9)
    change = np.abs(value(inputs) - value(references))
    np.testing.assert_allclose(found["deletion"][:, 0], change)
    np.testing.assert_allclose(found["insertion"][:, -1], change)
    assert (found["deletion"][:, -1] == 0).all()
    assert (found["insertion"][:, 0] == 0).all()


def test_elements_of_no_feature_stay_until_the_end():
    inputs, references = drawn(seed=1), drawn(seed=2)
    places = torch.as_tensor(random_places([f"s{row}" for row in range(6)], 4, 0, 0))
    found = replaced(inputs, references, UNITS, places, 4)
    for new, old, other, unit in zip(found, inputs, references, UNITS, strict=True):
        assert torch.equal(new, torch.where(unit < 0, old, other))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_order_of_the_contributions_is_the_best_of_all_permutations(sign):
    """For a linear network, whose contributions are w dz: brute force over the 120 rankings of five features."""
    weights = torch.tensor([0.7, -1.3, 2.1, 0.2, -0.4]).double()
    inputs, references = torch.tensor([[1.0, 0.5, 0.8, -2.0, -1.0]]), torch.tensor([[0.1, 0.0, -0.2, 0.3, 0.4]])
    inputs, references = (inputs, references) if sign > 0 else (references, inputs)

    def linear(parts):
        return (parts[0].double() @ weights).numpy()

    units, ends = [torch.arange(5)], (linear((inputs,)), linear((references,)))
    assert np.sign(ends[0] - ends[1]) == sign
    area = {}
    for places in permutations(range(5)):
        found = curves(linear, (inputs,), (references,), units, np.array([places]), ends)
        area[places] = [areas(found[kind], 5)[0] for kind in ("deletion", "insertion")]
    contributions = sign * (weights * (inputs - references)).numpy()
    best = tuple(int(place) for place in places_of(contributions)[0])
    assert min(area, key=lambda places: area[places][0]) == best
    assert max(area, key=lambda places: area[places][1]) == best


def test_areas_are_trapezoids_over_the_share():
    assert areas(np.array([1.0, 0.5, 0.0]), 2) == pytest.approx(0.25 * (1 + 0.5) + 0.25 * 0.5)
    assert areas(np.ones((3, len(counts_of(50)))), 50) == pytest.approx(np.ones(3))
