"""Least squares for any shape: what defines a minimum-norm solution, and what a held-out error is."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from consilience.linear.folds import group_folds
from consilience.linear.least_squares import minimum_norm, ridge_path

seeds = st.integers(0, 2**31)


@st.composite
def problems(draw):
    rows, features, rank = draw(st.integers(3, 14)), draw(st.integers(1, 20)), draw(st.integers(1, 20))
    generator = np.random.default_rng(draw(seeds))
    X = generator.normal(size=(rows, rank)) @ generator.normal(size=(rank, features)) + generator.normal(size=features)
    return X, X[:, 0] + generator.normal(size=rows), generator


@settings(derandomize=True, deadline=None, max_examples=60)
@given(problems())
def test_residuals_are_orthogonal_to_the_features_and_coefficients_lie_in_the_span_of_the_rows(problem):
    X, y, _ = problem
    intercept, coefficients = minimum_norm(X, y)
    centered = X - X.mean(axis=0)
    residuals = y - X @ coefficients - intercept
    scale = max(1.0, np.abs(centered).max() ** 2)
    assert abs(residuals.sum()) < 1e-8 * scale * len(y)
    np.testing.assert_allclose(centered.T @ residuals, 0, atol=1e-7 * scale * len(y))
    _, singular, right = np.linalg.svd(centered, full_matrices=True)
    absent = right[np.count_nonzero(singular > 1e-9 * singular.max(initial=1)) :]
    np.testing.assert_allclose(absent @ coefficients, 0, atol=1e-8 * max(1, np.abs(coefficients).max()))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(problems(), st.floats(-3, 3), st.integers(2, 6))
def test_held_out_errors_are_those_of_refits(problem, exponent, count):
    X, y, generator = problem
    groups = np.append(generator.integers(count, size=len(y) - 2), [0, 1])
    penalty = 10.0**exponent
    path = ridge_path(X, y, penalties=np.array([penalty]), groups=groups)
    errors = np.empty(len(y))
    for group in np.unique(groups):
        held = groups == group
        errors[held] = Ridge(alpha=penalty, solver="svd").fit(X[~held], y[~held]).predict(X[held]) - y[held]
    np.testing.assert_allclose(path.errors[0], np.mean(errors**2), rtol=1e-7)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=60).filter(lambda x: len(set(x)) > 1), st.integers(2, 6), seeds)
def test_folds_hold_whole_groups_whatever_the_order_of_rows(groups, count, seed):
    names = np.array([f"group {group}" for group in groups])
    folds = group_folds(names, count, seed)
    assert set(folds) == set(range(min(count, len(set(groups)))))
    assert all(len(set(folds[names == name])) == 1 for name in names)
    order = np.random.default_rng(seed).permutation(len(names))
    np.testing.assert_array_equal(group_folds(names[order], count, seed), folds[order])
    # Dealt from the largest down, the fold with most rows had the fewest before its last and smallest group came.
    sizes = np.bincount(folds)
    largest = names[folds == sizes.argmax()]
    assert sizes.max() - min(np.count_nonzero(names == name) for name in largest) <= sizes.min()
