"""Metrics against scikit-learn and SciPy, on the rows themselves and on resampled ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as peer
from sklearn.preprocessing import label_binarize

from consilience import metrics
from consilience.errors import ConsilienceError


def regression_case(seed: int, n: int = 90, groups: int = 12):
    generator = np.random.default_rng(seed)
    target = np.round(generator.normal(size=n) * 3) / 3 + 7
    prediction = np.round(2.8 + 0.6 * target + generator.normal(size=n), 1)
    return target, prediction, generator.integers(groups, size=n).astype(str)


def class_case(seed: int, classes: int, n: int = 150, groups: int = 20):
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), generator.integers(classes, size=n - classes)])
    scores = generator.dirichlet(np.ones(classes), n) + 0.4 * np.eye(classes)[labels]
    # Quarters make ties, within a class and between classes; rows still sum to one.
    probabilities = np.round(scores / scores.sum(axis=1, keepdims=True) * 12) / 12 + 0.01
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return labels, probabilities, generator.integers(groups, size=n).astype(str)


def regression_peer(target, prediction):
    return {
        "r2": peer.r2_score(target, prediction),
        "pearson": scipy.stats.pearsonr(target, prediction).statistic,
        "spearman": scipy.stats.spearmanr(target, prediction).statistic,
        "mean_squared_error": peer.mean_squared_error(target, prediction),
    }


def class_peer(labels, probabilities):
    classes = probabilities.shape[1]
    called = probabilities.argmax(axis=1)
    two = classes == 2
    membership = labels if two else label_binarize(labels, classes=range(classes))
    scores = probabilities[:, 1] if two else probabilities
    return {
        "accuracy": peer.accuracy_score(labels, called),
        "balanced_accuracy": peer.balanced_accuracy_score(labels, called),
        "f1_macro": peer.f1_score(labels, called, average="macro"),
        "roc_auc": peer.roc_auc_score(labels, scores, multi_class="ovr", average="macro"),
        "average_precision": peer.average_precision_score(membership, scores, average="macro"),
        "matthews_corrcoef": peer.matthews_corrcoef(labels, called),
        "log_loss": peer.log_loss(labels, probabilities, labels=range(classes)),
        **(two_class_peer(labels, called) if two else {}),
    }


def two_class_peer(labels, called):
    """The scores of two classes; NaN where scikit-learn would warn that it divides by zero."""
    options = {"zero_division": np.nan}
    return {
        "f1": peer.f1_score(labels, called, **options),
        "precision": peer.precision_score(labels, called, **options),
        "recall": peer.recall_score(labels, called, **options),
        "specificity": peer.recall_score(labels, called, pos_label=0, **options),
    }


def names(count: int) -> list[str]:
    return [f"class {index}" for index in range(count)]


@pytest.mark.parametrize("seed", range(3))
def test_regression_values_are_those_of_the_libraries(seed):
    target, prediction, groups = regression_case(seed)
    result = metrics.evaluate("regression", target, prediction, np.ones(90), groups, [], bootstrap=0)
    assert {name: entry["value"] for name, entry in result.items()} == pytest.approx(
        regression_peer(target, prediction), rel=1e-12, abs=1e-12
    )


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_class_values_are_those_of_scikit_learn(classes):
    labels, probabilities, groups = class_case(classes, classes)
    result = metrics.evaluate("classification", labels, probabilities, np.ones(150), groups, names(classes), 0)
    assert {name: entry["value"] for name, entry in result.items()} == pytest.approx(
        class_peer(labels, probabilities), rel=1e-12, abs=1e-12
    )


@pytest.mark.parametrize(("task", "count"), [("regression", 0), ("classification", 3), ("classification", 2)])
def test_intervals_are_percentiles_of_the_libraries_values_on_the_resampled_rows(task, count):
    target, prediction, groups = class_case(5, count) if count else regression_case(5)
    compute, classes = class_peer if count else regression_peer, names(count)
    result = metrics.evaluate(task, target, prediction, np.ones(len(target)), groups, classes, 60, seed=4)
    found, codes = np.unique(groups, return_inverse=True)
    (counts,) = metrics.draws(len(found), len(target), 60, 4)
    assert (counts.sum(axis=0) == len(found)).all()
    values = []
    for resample in counts.T:
        rows = np.repeat(np.arange(len(target)), resample[codes].astype(int))
        values.append(compute(target[rows], prediction[rows]))
    widened = 100 * scipy.stats.norm.cdf(
        -np.sqrt(len(found) / (len(found) - 1)) * scipy.stats.t.ppf(0.975, len(found) - 1)
    )
    assert set(result) == {*metrics.METRICS[task], *(metrics.TWO_CLASSES if count == 2 else ())}
    for name in result:
        low, high = np.percentile([value[name] for value in values], [widened, 100 - widened])
        assert (result[name]["low"], result[name]["high"]) == pytest.approx((low, high), rel=1e-11, abs=1e-11), name
        assert low < result[name]["value"] < high


def test_blocks_of_resamples_change_nothing(monkeypatch):
    target, prediction, groups = regression_case(1)
    whole = metrics.evaluate("regression", target, prediction, np.ones(90), groups, [], 100)
    monkeypatch.setattr(metrics, "BLOCK_ELEMENTS", 90 * 7)
    parts = metrics.evaluate("regression", target, prediction, np.ones(90), groups, [], 100)
    for name, entry in whole.items():
        assert parts[name] == pytest.approx(entry, rel=1e-12)


def test_groups_are_drawn_whole():
    target, prediction, _ = regression_case(2, n=40)
    single = metrics.evaluate("regression", target, prediction, np.ones(40), np.arange(40), [], seed=3)
    repeated = [np.repeat(values, 5) for values in (target, prediction, np.arange(40))]
    grouped = metrics.evaluate("regression", *repeated[:2], np.ones(200), repeated[2], [], seed=3)
    for name in metrics.METRICS["regression"]:
        assert grouped[name] == pytest.approx(single[name], rel=1e-9)
    apart = metrics.evaluate("regression", *repeated[:2], np.ones(200), np.arange(200), [], seed=3)
    widths = [entry["pearson"]["high"] - entry["pearson"]["low"] for entry in (apart, grouped)]
    assert widths[0] < 0.6 * widths[1]


def test_the_order_of_rows_is_of_no_consequence():
    labels, probabilities, groups = class_case(7, 4)
    order = np.random.default_rng(0).permutation(len(labels))
    first = metrics.evaluate("classification", labels, probabilities, np.ones(150), groups, names(4), 50)
    again = metrics.evaluate(
        "classification", labels[order], probabilities[order], np.ones(150), groups[order], names(4), 50
    )
    for name, entry in first.items():
        assert again[name] == pytest.approx(entry, rel=1e-11)


def test_votes_weigh_the_divergence_and_take_the_majority_for_what_counts_who_is_right():
    generator = np.random.default_rng(3)
    fractions = generator.dirichlet(np.full(3, 0.5), 80)
    fractions[:5] = np.eye(3)[[0, 1, 2, 0, 1]]
    _, probabilities, groups = class_case(3, 3, n=80)
    weight = generator.integers(1, 20, size=80).astype(float)
    result = metrics.evaluate("votes", fractions, probabilities, weight, groups, names(3))
    divergence = scipy.stats.entropy(fractions, probabilities, axis=1)
    assert result["kl_divergence"]["value"] == pytest.approx(np.average(divergence, weights=weight), rel=1e-12)
    expected = class_peer(fractions.argmax(axis=1), probabilities)
    assert set(result) == {"kl_divergence", "accuracy", "f1_macro", "roc_auc", "expected_calibration_error"}
    for name in ("accuracy", "f1_macro", "roc_auc"):
        assert result[name]["value"] == pytest.approx(expected[name], rel=1e-12)
        assert result[name]["low"] < result[name]["value"] < result[name]["high"]
    exact = metrics.evaluate("votes", fractions, fractions, weight, groups, names(3), 50)
    assert exact["kl_divergence"] == exact["expected_calibration_error"] == {"value": 0, "low": 0, "high": 0}


def test_what_is_undefined_is_none():
    target, _, groups = regression_case(0)
    flat = metrics.evaluate("regression", target, np.full(90, 0.1), np.ones(90), groups, [])
    assert flat["pearson"] == flat["spearman"] == {"value": None, "low": None, "high": None}
    assert flat["r2"]["value"] < 0 < flat["mean_squared_error"]["low"]
    constant = metrics.evaluate("regression", np.full(90, 0.1), target, np.ones(90), groups, [])
    assert constant["r2"]["value"] is None and constant["spearman"]["value"] is None
    labels, probabilities, groups = class_case(0, 2)
    one = metrics.evaluate("classification", np.zeros(150, int), probabilities, np.ones(150), groups, names(2))
    assert one["roc_auc"]["value"] is one["average_precision"]["value"] is one["matthews_corrcoef"]["value"] is None
    prior = metrics.evaluate("classification", labels, np.tile([0.7, 0.3], (150, 1)), np.ones(150), groups, names(2))
    assert prior["matthews_corrcoef"]["value"] is None and prior["roc_auc"]["value"] == 0.5


@pytest.mark.parametrize(
    ("labels", "called", "undefined"),
    [
        ([0, 1, 1, 0], [0, 0, 0, 0], {"precision"}),
        ([0, 0, 0, 0], [0, 1, 0, 1], {"recall"}),
        ([0, 0, 0, 0], [0, 0, 0, 0], {"f1", "precision", "recall"}),
        ([1, 1, 1, 1], [0, 1, 0, 1], {"specificity"}),
        ([1, 0, 1, 0], [0, 1, 0, 1], set()),
    ],
)
def test_scores_of_two_classes_are_undefined_where_scikit_learn_divides_by_zero(labels, called, undefined):
    expected = two_class_peer(labels, called)
    assert {name for name, value in expected.items() if np.isnan(value)} == undefined
    probabilities = np.eye(2)[called] * 0.8 + 0.1
    result = metrics.evaluate("classification", np.array(labels), probabilities, np.ones(4), range(4), names(2), 30)
    for name, value in expected.items():
        assert result[name]["value"] == (None if name in undefined else pytest.approx(value))
    assert all(result[name] == {"value": None, "low": None, "high": None} for name in undefined)


def test_resamples_without_positives_do_not_count_for_the_interval_of_recall():
    """All positives lie in one group of four, which three resamples in ten lack."""
    labels, called = (
        np.r_[np.ones(6, int), np.zeros(18, int)],
        np.r_[1, 0, 1, 1, 0, 1, np.arange(18) % 5 == 0].astype(int),
    )
    groups = np.repeat(np.arange(4), 6)
    result = metrics.evaluate("classification", labels, np.eye(2)[called], np.ones(24), groups, names(2), 200, seed=1)
    (counts,) = metrics.draws(4, 24, 200, 1)
    assert 30 < (counts[0] == 0).sum() < 100
    assert result["recall"] == pytest.approx({"value": 4 / 6, "low": 4 / 6, "high": 4 / 6})
    assert result["precision"]["low"] == 0


def test_other_tasks_and_more_classes_have_no_scores_of_a_second_class():
    labels, probabilities, groups = class_case(2, 3)
    found = metrics.evaluate("classification", labels, probabilities, np.ones(150), groups, names(3), 0)
    fractions, two = np.eye(2)[labels % 2], probabilities[:, :2] / probabilities[:, :2].sum(axis=1, keepdims=True)
    votes = metrics.evaluate("votes", fractions, two, np.ones(150), groups, names(2), 0)
    assert not {*found, *votes} & set(metrics.TWO_CLASSES)


def test_an_interval_needs_three_groups_and_resamples_in_which_the_metric_is_defined():
    target, prediction, _ = regression_case(0)
    two = metrics.evaluate("regression", target, prediction, np.ones(90), np.arange(90) % 2, [])
    assert two["r2"]["value"] is not None and two["r2"]["low"] is None and two["r2"]["high"] is None
    three = metrics.evaluate("regression", target, prediction, np.ones(90), np.arange(90) % 3, [])
    assert three["r2"]["low"] < three["r2"]["high"]
    # Positives are one group of three: 8 of 27 resamples lack them, and 1 has nothing else.
    labels, probabilities, _ = class_case(1, 2, n=60)
    groups = np.where(labels == 1, "a", np.where(np.arange(60) % 2 == 0, "b", "c"))
    rare = metrics.evaluate("classification", labels, probabilities, np.ones(60), groups, names(2))
    assert rare["roc_auc"]["low"] is not None
    # Two of three classes lie in one group each: about 60 of 100 resamples lack one of them.
    labels, probabilities, _ = class_case(1, 3)
    groups = np.choose(labels, ["a", "b", "c"]).astype(object)
    groups[labels == 2] = [f"c{index % 10}" for index in range((labels == 2).sum())]
    apart = metrics.evaluate("classification", labels, probabilities, np.ones(150), groups, names(3))
    assert apart["roc_auc"]["value"] is not None and apart["roc_auc"]["low"] is None
    assert apart["accuracy"]["low"] < apart["accuracy"]["high"]


@pytest.mark.parametrize(
    ("prediction", "groups", "message"),
    [
        (np.array([1.0, np.nan, 2.0]), "abc", "row 1 is nan, expected finite"),
        (np.zeros((3, 2)), "abc", r"shape \(3, 2\), expected \(3,\)"),
        (np.zeros(3), "ab", "2 groups for 3 samples"),
    ],
)
def test_bad_predictions_are_refused(prediction, groups, message):
    with pytest.raises(ConsilienceError, match=message):
        metrics.evaluate("regression", np.arange(3.0), prediction, np.ones(3), list(groups), [])


def test_document_is_json_with_counts_and_trivial_values():
    target, prediction, groups = regression_case(0)
    test = metrics.evaluate("regression", target, prediction, np.ones(90), groups, [], 20)
    document = metrics.document("regression", "ridge", test, {"mean": {"r2": -0.1, "pearson": None}}, np.int64(90), 12)
    read = json.loads(json.dumps(document, allow_nan=False))
    assert read["task"] == "regression" and read["model"] == "ridge"
    assert read["test"]["n"] == 90 and read["test"]["groups"] == 12
    assert set(read["test"]["r2"]) == {"value", "low", "high"}
    assert read["trivial"]["mean"] == {"r2": -0.1, "pearson": None}
