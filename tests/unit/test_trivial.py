"""Predictors without features, against scikit-learn fitted on the one column."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from consilience.errors import ConsilienceError
from consilience.metrics import METRICS, TWO_CLASSES, trivial_metrics, trivial_predictions

TRAIN, TEST = np.arange(0, 70), np.arange(70, 100)


def table(seed: int = 0) -> tuple[pd.DataFrame, np.random.Generator]:
    generator = np.random.default_rng(seed)
    size = generator.gamma(4, 1e6, size=100)
    return pd.DataFrame({"id": np.arange(100).astype(str), "trivial_library_size": size, "tissue": "blood"}), generator


def test_regression_predicts_the_training_mean_and_the_least_squares_line():
    samples, generator = table()
    target = samples["trivial_library_size"].to_numpy() / 1e6 + generator.normal(size=100)
    predictions = trivial_predictions("regression", samples, target, np.ones(100), TRAIN, TEST, [])
    assert list(predictions) == ["mean", "library_size"]
    np.testing.assert_allclose(predictions["mean"], np.full(30, target[:70].mean()))
    x = samples[["trivial_library_size"]].to_numpy()
    line = LinearRegression().fit(x[TRAIN], target[TRAIN]).predict(x[TEST])
    np.testing.assert_allclose(predictions["library_size"], line, rtol=1e-10)


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_are_predicted_by_scikit_learns_logistic_regression(classes):
    samples, generator = table(classes)
    x = np.log(samples[["trivial_library_size"]].to_numpy())
    samples["trivial_library_size"] = x[:, 0]
    target = (np.argsort(np.argsort(x[:, 0] + generator.normal(size=100))) * classes) // 100
    weight = generator.uniform(0.5, 3, size=100)
    names = [str(index) for index in range(classes)]
    predictions = trivial_predictions("classification", samples, target, weight, TRAIN, TEST, names)
    prior = np.bincount(target[TRAIN], weight[TRAIN], minlength=classes) / weight[TRAIN].sum()
    np.testing.assert_allclose(predictions["class_prior"], np.tile(prior, (30, 1)), rtol=1e-12)
    z = (x - x[TRAIN].mean()) / x[TRAIN].std()
    peer = LogisticRegression(tol=1e-9, max_iter=1000).fit(z[TRAIN], target[TRAIN], sample_weight=weight[TRAIN])
    np.testing.assert_allclose(predictions["library_size"], peer.predict_proba(z[TEST]), atol=1e-6)


def test_votes_are_predicted_by_rows_that_count_as_their_fractions():
    samples, generator = table()
    fractions = generator.dirichlet(np.ones(3), 100)
    weight = generator.uniform(1, 9, size=100)
    predictions = trivial_predictions("votes", samples, fractions, weight, TRAIN, TEST, list("abc"))
    np.testing.assert_allclose(
        predictions["class_prior"][0], np.average(fractions[TRAIN], axis=0, weights=weight[TRAIN]), rtol=1e-12
    )
    x = samples["trivial_library_size"].to_numpy()
    z = ((x - x[TRAIN].mean()) / x[TRAIN].std())[:, None]
    rows = np.repeat(z[TRAIN], 3, axis=0)
    peer = LogisticRegression(tol=1e-9, max_iter=1000).fit(
        rows, np.tile(np.arange(3), 70), sample_weight=(fractions[TRAIN] * weight[TRAIN, None]).ravel()
    )
    np.testing.assert_allclose(predictions["library_size"], peer.predict_proba(z[TEST]), atol=1e-6)


def test_a_constant_column_predicts_what_no_column_does():
    samples, generator = table()
    samples["trivial_constant"] = np.append(np.full(70, 0.1), generator.normal(size=30))
    target = generator.normal(size=100)
    predictions = trivial_predictions("regression", samples, target, np.ones(100), TRAIN, TEST, [])
    np.testing.assert_allclose(predictions["constant"], predictions["mean"])
    labels = generator.integers(2, size=100)
    predictions = trivial_predictions("classification", samples, labels, np.ones(100), TRAIN, TEST, ["a", "b"])
    np.testing.assert_allclose(predictions["constant"], predictions["class_prior"], atol=1e-6)


def test_a_column_that_separates_the_classes_has_a_finite_fit():
    samples, _ = table()
    samples["trivial_quality"] = np.arange(100) % 2 * 10.0
    labels = np.arange(100) % 2
    predictions = trivial_predictions("classification", samples, labels, np.ones(100), TRAIN, TEST, ["a", "b"])
    assert (predictions["quality"].argmax(axis=1) == labels[TEST]).all()
    assert predictions["quality"].max() < 1


def test_nothing_of_the_test_role_reaches_a_fit():
    samples, generator = table()
    target = generator.normal(size=100)
    first = trivial_predictions("regression", samples, target, np.ones(100), TRAIN, TEST, [])
    target[TEST] += 100
    again = trivial_predictions("regression", samples, target, np.ones(100), TRAIN, TEST, [])
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])


def test_metrics_are_those_of_the_test_rows_alone():
    samples, generator = table()
    target = generator.normal(size=100)
    result = trivial_metrics("regression", samples, target, np.ones(100), TRAIN, TEST, [])
    assert set(result) == {"mean", "library_size"}
    assert set(result["mean"]) == set(METRICS["regression"])
    assert result["mean"]["mean_squared_error"] == pytest.approx(np.mean((target[TEST] - target[TRAIN].mean()) ** 2))
    assert result["mean"]["pearson"] is None


def test_two_classes_have_the_scores_of_the_second():
    """The prior calls all test samples of the class that training has more of: here the second."""
    samples, _ = table()
    labels = (np.arange(100) % 3 > 0).astype(int)
    result = trivial_metrics("classification", samples, labels, np.ones(100), TRAIN, TEST, ["no", "yes"])["class_prior"]
    assert set(result) == {*METRICS["classification"], *TWO_CLASSES}
    assert (result["recall"], result["specificity"]) == (1, 0)
    assert result["precision"] == pytest.approx(labels[TEST].mean())


@pytest.mark.parametrize("bad", [np.nan, np.inf, "deep"])
def test_a_column_must_be_finite_numbers(bad):
    samples, _ = table()
    samples["trivial_depth"] = [bad if row == 4 else 1.5 for row in range(100)]
    with pytest.raises(ConsilienceError, match=r"column trivial_depth, row 4: .*expected a finite number"):
        trivial_predictions("regression", samples, np.zeros(100), np.ones(100), TRAIN, TEST, [])
