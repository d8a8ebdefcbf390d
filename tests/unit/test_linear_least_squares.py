"""Minimum-norm least squares and ridge against NumPy, scikit-learn, and refits without the rows held out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV

from consilience.errors import ConsilienceError
from consilience.linear import gram as gram_module
from consilience.linear.gram import CenteredGram
from consilience.linear.least_squares import RELATIVE_PENALTIES, minimum_norm, ridge_path


def case(rows: int, features: int, seed: int = 0, outputs: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(rows, features)) * generator.uniform(0.5, 3, size=features) + 5
    shape = features if outputs is None else (features, outputs)
    return X, X @ (generator.normal(size=shape) / np.sqrt(features)) + 3 + generator.normal(
        size=(rows, *shape_of(shape))
    )


def shape_of(shape) -> tuple[int, ...]:
    return () if np.ndim(shape) == 0 else shape[1:]


def degenerate(kind: str, rows: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = case(rows, features, seed=7)
    if kind == "duplicated columns":
        X[:, features // 2 :] = X[:, : features - features // 2]
    elif kind == "duplicated rows":
        X[rows // 2 :] = X[: rows - rows // 2]
    elif kind == "constant columns":
        X[:, ::3] = [4.0, 0.1, 1e5, -2.0][rows % 4]
    elif kind == "low rank":
        X = X[:, :3] @ np.random.default_rng(1).normal(size=(3, features))
    elif kind == "constant":
        X[:] = 0.1
    return X, y


def lstsq(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    center = X.mean(axis=0)
    coefficients = np.linalg.lstsq(X - center, y - y.mean(axis=0), rcond=1e-10)[0].T
    return y.mean(axis=0) - coefficients @ center, coefficients


@pytest.mark.parametrize("shape", [(30, 200), (200, 30), (40, 40), (41, 40), (2, 9), (9, 1)])
@pytest.mark.parametrize("outputs", [None, 3])
def test_minimum_norm_is_that_of_numpy_and_scikit_learn(shape, outputs):
    X, y = case(*shape, outputs=outputs)
    before = X.copy()
    intercept, coefficients = minimum_norm(X, y)
    np.testing.assert_array_equal(X, before)
    for peer_intercept, peer in (lstsq(X, y), (lambda m: (m.intercept_, m.coef_))(LinearRegression().fit(X, y))):
        np.testing.assert_allclose(coefficients, peer, rtol=0, atol=1e-8 * np.abs(peer).max())
        np.testing.assert_allclose(intercept, peer_intercept, rtol=1e-8, atol=1e-8)
    assert isinstance(intercept, float) if outputs is None else intercept.shape == (3,)


@pytest.mark.parametrize("shape", [(24, 100), (100, 24), (25, 101)])
@pytest.mark.parametrize("kind", ["duplicated columns", "duplicated rows", "constant columns", "low rank", "constant"])
def test_minimum_norm_where_x_is_singular(kind, shape):
    X, y = degenerate(kind, *shape)
    intercept, coefficients = minimum_norm(X, y)
    peer_intercept, peer = lstsq(X, y)
    if kind == "constant":
        peer_intercept, peer = y.mean(), np.zeros(shape[1])
    np.testing.assert_allclose(coefficients, peer, rtol=0, atol=1e-8 * max(1e-3, np.abs(peer).max()))
    np.testing.assert_allclose(intercept, peer_intercept, rtol=1e-8)


@pytest.mark.parametrize("shape", [(40, 120), (120, 40)])
def test_a_condition_number_that_the_gram_squares_costs_no_accuracy(shape):
    X, _ = case(*shape, seed=2)
    left, _, right = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    X = (left[:, :39] * np.geomspace(1, 1e-5, 39)) @ right[:39]
    # Without a residual, so that the problem is no worse conditioned than X itself.
    expected = right[:39].T @ np.random.default_rng(0).normal(size=39)
    _, coefficients = minimum_norm(X, X @ expected + 3)
    np.testing.assert_allclose(coefficients, expected, rtol=0, atol=1e-8 * np.abs(expected).max())


def test_the_intercept_is_no_part_of_the_norm():
    X, y = case(20, 90)
    _, coefficients = minimum_norm(X, y)
    intercept, shifted = minimum_norm(X + np.arange(90), y + 1000)
    np.testing.assert_allclose(shifted, coefficients, rtol=0, atol=1e-10)
    np.testing.assert_allclose((X + np.arange(90)) @ shifted + intercept, y + 1000, rtol=1e-10)


@pytest.mark.parametrize("shape", [(30, 200), (200, 30)])
def test_blocks_and_single_precision_change_the_rounding_alone(shape, monkeypatch):
    X, y = case(*shape)
    X = X.astype(np.float32)
    whole = minimum_norm(X.astype(np.float64), y)[1]
    monkeypatch.setattr(gram_module, "BLOCK_ELEMENTS", 7 * max(shape))
    blocks = minimum_norm(X, y)[1]
    assert blocks.dtype == np.float64
    np.testing.assert_allclose(blocks, whole, rtol=0, atol=1e-11)


def held_out_by_refits(X, y, penalty, groups):
    errors = []
    for group in np.unique(groups):
        held = groups == group
        model = Ridge(alpha=penalty, solver="svd").fit(X[~held], y[~held])
        errors.append((y[held] - model.predict(X[held])) ** 2)
    return np.concatenate(errors).mean(axis=0)


# The last three: fewer rows than directions in a fold, more of them, and folds of one row.
@pytest.mark.parametrize(("rows", "features", "folds"), [(30, 80, 4), (60, 12, 20), (60, 6, 4), (40, 9, 40)])
@pytest.mark.parametrize("outputs", [None, 2])
def test_held_out_errors_are_those_of_refits_without_the_group(rows, features, folds, outputs):
    X, y = case(rows, features, outputs=outputs)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    groups = np.random.default_rng(3).integers(folds, size=rows) if folds < rows else np.arange(rows)
    path = ridge_path(X, y, groups=groups)
    assert len(path.penalties) == len(RELATIVE_PENALTIES)
    for index in range(0, len(path.penalties), 4):
        expected = held_out_by_refits(X, y, path.penalties[index], groups)
        np.testing.assert_allclose(path.errors[..., index], expected, rtol=1e-8)


@pytest.mark.parametrize("shape", [(30, 80), (80, 12)])
@pytest.mark.parametrize("kind", ["", "duplicated rows", "duplicated columns"])
def test_leave_one_out_errors_are_those_of_refits(kind, shape):
    X, y = degenerate(kind, *shape)
    path = ridge_path(X, y)
    for index in (0, 8, 16, 24):
        expected = held_out_by_refits(X, y, path.penalties[index], np.arange(shape[0]))
        np.testing.assert_allclose(path.errors[index], expected, rtol=1e-7)


@pytest.mark.parametrize("shape", [(30, 80), (80, 12)])
def test_the_fit_is_that_of_scikit_learn_at_the_penalty_of_the_smallest_error(shape):
    X, y = case(*shape, seed=4)
    path = ridge_path(X, y)
    peer = RidgeCV(alphas=path.penalties).fit(X, y)
    assert path.penalty == peer.alpha_ == path.penalties[path.errors.argmin()]
    np.testing.assert_allclose(path.coefficients, peer.coef_, rtol=0, atol=1e-8 * np.abs(peer.coef_).max())
    assert path.intercept == pytest.approx(peer.intercept_, rel=1e-8)
    assert path.at_edge is False


def test_outputs_are_chosen_and_fitted_each_by_itself():
    X, y = case(30, 80, outputs=3)
    y[:, 1] = np.random.default_rng(0).normal(size=30)
    groups = np.arange(30) % 5
    path = ridge_path(X, y, groups=groups)
    assert path.coefficients.shape == (3, 80) and path.intercept.shape == (3,)
    for output in range(3):
        alone = ridge_path(X, y[:, output], groups=groups)
        assert path.penalty[output] == alone.penalty and bool(path.at_edge[output]) == alone.at_edge
        np.testing.assert_allclose(path.coefficients[output], alone.coefficients, rtol=1e-9, atol=1e-12)


def test_the_default_penalties_follow_the_scale_of_x():
    X, y = case(30, 80)
    path, larger = ridge_path(X, y), ridge_path(X * 100, y)
    assert larger.penalty == pytest.approx(path.penalty * 1e4)
    np.testing.assert_allclose(larger.coefficients * 100, path.coefficients, rtol=1e-8)
    centered = X - X.mean(axis=0)
    np.testing.assert_allclose(path.penalties, RELATIVE_PENALTIES * np.mean(np.diag(centered @ centered.T)), rtol=1e-10)


def test_an_edge_is_reported_and_equal_errors_take_the_larger_penalty():
    X, y = case(30, 80)
    assert ridge_path(X, y, penalties=np.array([1e7, 1e8, 1e9])).at_edge is True
    flat = ridge_path(X, np.full(30, 2.5))
    assert flat.penalty == flat.penalties[-1] and flat.at_edge and flat.intercept == 2.5
    assert not flat.coefficients.any()
    constant = ridge_path(np.full((30, 80), 0.1), y)
    assert constant.intercept == pytest.approx(y.mean()) and not constant.coefficients.any()


def test_one_gram_serves_both_fits():
    X, y = case(30, 80)
    gram = CenteredGram(X)
    np.testing.assert_array_equal(minimum_norm(X, y, gram)[1], minimum_norm(X, y)[1])
    np.testing.assert_array_equal(ridge_path(X, y, gram=gram).coefficients, ridge_path(X, y).coefficients)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"penalties": np.array([1.0, 0.5])}, "positive and ascending"),
        ({"penalties": np.array([0.0, 0.5])}, "positive and ascending"),
        ({"groups": np.zeros(30)}, "in 1 groups .* two groups at least"),
        ({"groups": np.arange(29)}, "29 rows in 29 groups"),
        ({"y": np.full(30, np.nan)}, "expected a finite"),
        ({"y": np.zeros(29)}, "expected a finite row a row"),
        ({"X": np.where(np.arange(80) == 6, np.inf, np.ones((30, 80)))}, "column 6 holds a value that is not finite"),
    ],
)
def test_bad_input_is_refused(change, message):
    X, y = case(30, 80)
    with pytest.raises(ConsilienceError, match=message):
        ridge_path(**({"X": X, "y": y} | change))
