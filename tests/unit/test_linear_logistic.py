"""Logistic regression against direct fits by scikit-learn and by SciPy on the penalized likelihood itself."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from consilience.errors import ConsilienceError
from consilience.linear import logistic
from consilience.linear.folds import group_folds


@pytest.fixture(autouse=True)
def strict():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def case(rows: int, features: int, classes: int, seed: int = 0):
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(rows, features)) + generator.normal(size=features)
    logits = X[:, :6] @ generator.normal(size=(6, classes))
    labels = (logits - logits.mean(axis=0) + generator.gumbel(size=(rows, classes))).argmax(axis=1)
    groups = np.array([f"group {index}" for index in generator.integers(15, size=rows)])
    return X, labels, generator.uniform(0.5, 2, size=rows), groups


@pytest.mark.parametrize("shape", [(90, 25), (60, 300)])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_fit_is_that_of_scikit_learn_on_the_features_themselves(shape, classes):
    X, labels, weight, groups = case(*shape, classes)
    fitted = logistic.fit(X, labels, weight, groups, seed=1)
    model = LogisticRegression(C=fitted.C, tol=1e-8, max_iter=5000)
    model.fit(X, labels, sample_weight=weight / weight.mean())
    peer = model.coef_ - model.coef_.mean(axis=0) if classes > 2 else model.coef_
    assert fitted.coefficients.shape == (1 if classes == 2 else 3, shape[1])
    np.testing.assert_allclose(fitted.coefficients, peer, rtol=0, atol=2e-4 * np.abs(peer).max())
    np.testing.assert_allclose(fitted.probabilities(X), model.predict_proba(X), rtol=0, atol=1e-4)
    if classes > 2:
        np.testing.assert_allclose(fitted.coefficients.sum(axis=0), 0, atol=1e-12)
        assert fitted.intercepts.sum() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("shape", [(90, 8), (40, 120)])
@pytest.mark.parametrize("classes", [2, 3])
def test_fractions_maximize_their_own_penalized_likelihood(shape, classes):
    X, labels, weight, groups = case(*shape, classes)
    generator = np.random.default_rng(2)
    fractions = 0.6 * np.eye(classes)[labels] + 0.4 * generator.dirichlet(np.ones(classes), shape[0])
    fitted = logistic.fit(X, fractions, weight, groups, seed=1)
    outputs = len(fitted.intercepts)

    def loss(parameters):
        table = parameters.reshape(outputs, -1)
        scores = X @ table[:, 1:].T + table[:, 0]
        logits = np.column_stack([np.zeros(len(X)), scores]) if classes == 2 else scores
        entropy = -(fractions * log_softmax(logits, axis=1)).sum(axis=1)
        value = np.average(entropy, weights=weight) * len(X) + (table[:, 1:] ** 2).sum() / fitted.C / 2
        error = ((softmax(logits, axis=1) - fractions) * (weight / weight.mean())[:, None])[:, -outputs:]
        return value, np.column_stack([error.sum(axis=0), error.T @ X + table[:, 1:] / fitted.C]).ravel()

    found = minimize(loss, np.zeros(outputs * (shape[1] + 1)), jac=True, method="BFGS", options={"gtol": 1e-6})
    peer = found.x.reshape(outputs, -1)[:, 1:]
    np.testing.assert_allclose(fitted.coefficients, peer, rtol=0, atol=2e-4 * np.abs(peer).max())


@pytest.mark.parametrize("shape", [(90, 25), (60, 300)])
def test_the_penalty_has_the_smallest_held_out_loss_of_direct_fits(shape):
    X, labels, weight, groups = case(*shape, 3)
    fitted = logistic.fit(X, labels, weight, groups, seed=1, folds=4)
    folds = group_folds(groups, 4, 1)
    for index in range(0, len(fitted.losses), 3):
        total = 0.0
        for fold in range(4):
            held = folds == fold
            model = LogisticRegression(C=1 / fitted.penalties[index], tol=1e-7, max_iter=5000)
            model.fit(X[~held], labels[~held], sample_weight=weight[~held] / weight.mean())
            proba = model.predict_proba(X[held])
            total += log_loss(labels[held], proba, sample_weight=weight[held], labels=range(3)) * weight[held].sum()
        assert fitted.losses[index] == pytest.approx(total / weight.sum(), rel=1e-3)
    assert fitted.penalties[fitted.losses.argmin()] == 1 / fitted.C
    assert (np.diff(fitted.penalties) < 0).all()
    # Not all of the grid: the path ends once weaker penalties have stopped paying.
    assert len(fitted.losses) == fitted.losses.argmin() + 1 + logistic.PATIENCE
    assert not fitted.at_edge


def test_two_classes_are_one_log_odds_that_changes_sign_with_their_order():
    X, labels, weight, groups = case(60, 300, 2)
    fitted = logistic.fit(X, labels, weight, groups, seed=0)
    flipped = logistic.fit(X, 1 - labels, weight, groups, seed=0)
    scale = np.abs(fitted.coefficients).max()
    np.testing.assert_allclose(flipped.coefficients, -fitted.coefficients, rtol=0, atol=1e-3 * scale)
    odds = X @ fitted.coefficients[0] + fitted.intercepts[0]
    np.testing.assert_allclose(fitted.probabilities(X)[:, 1], 1 / (1 + np.exp(-odds)), rtol=1e-10)
    assert np.corrcoef(odds, labels)[0, 1] > 0.5


def test_only_ratios_of_weights_matter():
    X, labels, weight, groups = case(60, 300, 2)
    fitted, scaled = (logistic.fit(X, labels, weight * factor, groups, seed=0) for factor in (1, 64))
    np.testing.assert_allclose(scaled.coefficients, fitted.coefficients, rtol=1e-6, atol=1e-9)


def test_what_turns_around_between_groups_takes_the_strongest_penalty_and_says_so():
    X, _, weight, _ = case(80, 200, 2)
    groups = np.array(["a", "b"])[np.arange(80) % 2]
    labels = ((X[:, 0] > np.median(X[:, 0])) == (groups == "a")).astype(int)
    fitted = logistic.fit(X, labels, weight, groups, seed=0)
    assert fitted.at_edge
    assert fitted.penalties[0] == 1 / fitted.C


def test_a_constant_x_predicts_the_prior():
    _, labels, _, groups = case(80, 6, 3)
    fitted = logistic.fit(np.full((80, 5), 0.1), labels, np.ones(80), groups, seed=0)
    np.testing.assert_allclose(
        fitted.probabilities(np.full((1, 5), 0.1))[0], np.bincount(labels) / 80, rtol=0, atol=1e-5
    )


def test_rows_of_a_class_that_the_other_folds_lack_are_not_scored():
    X, labels, weight, groups = case(90, 10, 3)
    groups[labels == 2] = "lone"
    fitted = logistic.fit(X, labels, weight, groups, seed=0)
    assert np.isfinite(fitted.losses).all() and len(fitted.intercepts) == 3
    groups = np.array(["a", "b", "c"])[labels]
    with pytest.raises(ConsilienceError, match="every class needs two groups in the training role"):
        logistic.fit(X[labels < 2], labels[labels < 2], weight[labels < 2], groups[labels < 2], seed=0)


def test_a_class_or_group_too_few_is_refused():
    X, labels, weight, groups = case(60, 10, 3)
    with pytest.raises(ConsilienceError, match="class 1 has no training sample"):
        logistic.fit(X, np.where(labels == 1, 2, labels), weight, groups, seed=0)
    with pytest.raises(ConsilienceError, match="need two groups in the training role, which has 1"):
        logistic.fit(X, labels, weight, np.full(60, "one"), seed=0)
