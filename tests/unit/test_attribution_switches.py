"""Where the support of a dictionary's codes switches on a path, against a fine grid."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from consilience.attribution import switches
from consilience.attribution.switches import switches_of_largest, switches_of_threshold
from consilience.errors import ConsilienceError

DOUBLE = torch.float64


def lines(seed, samples, units, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    start, stop = (torch.randn(samples, units, generator=generator, dtype=DOUBLE) + shift for _ in range(2))
    return start, stop - start


def supports(found, positions):
    """The support at each of the positions (points,), bool (samples, points, units), as the events tell it."""
    result = found.first[:, None].repeat(1, len(positions), 1)
    for sample in range(len(found.first)):
        for at, comes, goes in zip(found.positions[sample], found.entering[sample], found.leaving[sample], strict=True):
            later = positions > at
            if comes >= 0:
                result[sample, later, comes] = True
            if goes >= 0:
                result[sample, later, goes] = False
    return result


def on_grid(start, slope, positions, k):
    values = start[:, None] + positions[None, :, None] * slope[:, None]
    chosen = torch.zeros_like(values, dtype=torch.bool)
    chosen.scatter_(2, values.topk(k, dim=2).indices, True)
    return chosen & (values > 0)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6), units=st.integers(2, 40), k=st.integers(1, 40), shift=st.sampled_from([-1.5, 0, 1.5])
)
def test_the_largest_are_those_of_a_fine_grid(seed, units, k, shift):
    start, slope = lines(seed, 3, units, shift)
    k = min(k, units)
    positions = torch.linspace(0, 1, 501, dtype=DOUBLE)[1:-1] + 1e-7
    found = switches_of_largest(start, slope, k)
    # A grid point may lie within rounding of a switch; a point beside it may not.
    assert torch.equal(supports(found, positions), on_grid(start, slope, positions, k))
    assert (found.positions.diff(dim=1) >= 0).all()
    assert torch.equal(found.jumps, (found.entering >= 0) & (found.leaving >= 0))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), units=st.integers(1, 40), threshold=st.sampled_from([0.0, 0.4, 3.0]))
def test_those_above_a_threshold_are_those_of_a_fine_grid(seed, units, threshold):
    start, slope = lines(seed, 3, units)
    positions = torch.linspace(0, 1, 501, dtype=DOUBLE)[1:-1] + 1e-7
    found = switches_of_threshold(start, slope, threshold)
    values = start[:, None] + positions[None, :, None] * slope[:, None]
    assert torch.equal(supports(found, positions), values > threshold)
    assert (found.jumps.any() == (threshold > 0)) or not found.jumps.any()


def test_a_switch_lies_where_the_two_lines_cross():
    start, slope = torch.tensor([[1.0, 0.5]], dtype=DOUBLE), torch.tensor([[-0.2, 0.6]], dtype=DOUBLE)
    found = switches_of_largest(start, slope, 1)
    assert found.positions.tolist() == [[pytest.approx(0.5 / 0.8)]]
    assert (found.entering.tolist(), found.leaving.tolist(), found.jumps.tolist()) == ([[1]], [[0]], [[True]])


def test_a_unit_that_falls_to_0_bends_and_does_not_jump():
    start, slope = torch.tensor([[1.0, -1.0]], dtype=DOUBLE), torch.tensor([[-2.0, 1.5]], dtype=DOUBLE)
    found = switches_of_largest(start, slope, 1)
    assert found.positions.tolist() == [[pytest.approx(0.5), pytest.approx(1 / 1.5)]]
    assert (found.entering.tolist(), found.leaving.tolist()) == ([[-1, 1]], [[0, -1]])
    assert not found.jumps.any()


def test_samples_do_not_depend_on_their_company():
    start, slope = lines(3, 6, 50)
    together = switches_of_largest(start, slope, 7)
    for sample in range(6):
        alone = switches_of_largest(start[sample : sample + 1], slope[sample : sample + 1], 7)
        count = alone.positions.shape[1]
        assert torch.equal(together.positions[sample, :count], alone.positions[0])
        assert (together.entering[sample, count:] == -1).all()
        assert (together.positions[sample, count:] == 1).all()


def test_a_path_of_no_length_has_no_switch():
    start, _ = lines(1, 2, 9)
    assert switches_of_largest(start, torch.zeros_like(start), 3).positions.shape == (2, 0)
    assert switches_of_threshold(start, torch.zeros_like(start), 0.3).positions.shape == (2, 0)


def test_an_endless_path_is_an_error(monkeypatch):
    monkeypatch.setattr(switches, "MOST_EVENTS", 3)
    with pytest.raises(ConsilienceError, match="over 3 switches"):
        switches_of_largest(*lines(0, 2, 60), 10)
