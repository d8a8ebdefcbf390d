"""Fractions of votes against scipy and plain loops."""

import math

import numpy as np
import pytest
from scipy import stats

from consilience.votes import disagreement, divergence


@pytest.fixture
def fractions():
    return np.random.default_rng(0).dirichlet(np.ones(4), size=(3, 5))


def test_the_divergence_is_that_of_scipy(fractions):
    predicted = np.random.default_rng(1).dirichlet(np.ones(4), size=(3, 5))
    np.testing.assert_allclose(divergence(fractions, predicted), stats.entropy(fractions, predicted, axis=-1))
    assert divergence(fractions, fractions) == pytest.approx(np.zeros((3, 5)))


def test_no_votes_add_nothing_and_impossible_ones_are_finite():
    assert divergence(np.array([0.0, 1.0]), np.array([0.25, 0.75])) == pytest.approx(-math.log(0.75))
    found = divergence(np.array([0.5, 0.5]), np.array([0.0, 1.0]))
    assert found == pytest.approx(math.log(0.5) - 0.5 * math.log(np.finfo(float).eps))


def test_disagreement_runs_from_one_voice_to_equal_ones(fractions):
    expected = stats.entropy(fractions, axis=-1) / math.log(4)
    np.testing.assert_allclose(disagreement(fractions), expected)
    assert disagreement(np.array([0.0, 1.0, 0.0])) == 0
    assert disagreement(np.full(3, 1 / 3)) == pytest.approx(1)
