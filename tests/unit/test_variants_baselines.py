"""Predictors without a dictionary: whom they know, against scikit-learn on arrays; and what a network adds, resampled."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score

from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.domains.variants import baselines as module
from consilience.domains.variants.baseline_text import baseline_line
from consilience.domains.variants.baselines import (
    baseline_metrics,
    baseline_predictions,
    gain,
    network_probabilities,
)
from consilience.domains.variants.performance import GAIN, metric, metrics_table
from consilience.errors import ConsilienceError
from consilience.linear import logistic
from consilience.metrics import percentiles
from tests.unit.variants_findings_examples import performance

CALLS, SIZES = 600, {"attributes": 3, "consensus": 4}
GROUPS = np.arange(CALLS) % 15
ROLES = np.where(GROUPS < 8, "train", np.where(GROUPS < 10, "validation", "test"))
SPLIT = pd.DataFrame({"sample": np.arange(CALLS).astype(str), "group": GROUPS.astype(str), "role": ROLES})
TRAIN, TEST = (np.flatnonzero(role == ROLES) for role in ("train", "test"))


def arrays(seed=0):
    """Values and what is absent: the label follows two attributes' product, and a share of the consensus."""
    random = np.random.default_rng(seed)
    values = random.normal(1, 2, (CALLS, 7)).astype(np.float32)
    absent = np.zeros((CALLS, 7), bool)
    absent[random.random(CALLS) < 0.25, 3:] = True
    absent[:, 2] = random.random(CALLS) < 0.3
    absent[TRAIN, 6] = True  # no training call has it
    log_odds = 1.5 * np.sign((values[:, 0] - 1) * (values[:, 1] - 1)) + np.where(absent[:, 3], 0, values[:, 3] - 1)
    return values, absent, (random.random(CALLS) < 1 / (1 + np.exp(-log_odds))).astype(int)


def write(path, sizes, labels=None):
    values, absent, own = arrays()
    facts = {"unit": "-", "source": "-", "source_sha256": "-", "classes": ["FP", "TP"]}
    with write_dataset(path, "classification", "true call", **facts) as writer:
        names = [name for name, size in sizes.items() for _ in range(size)]
        writer.features(pd.DataFrame({"name": [f"f {place}" for place in range(7)], "branch": names}))
        start = 0
        for name, size in sizes.items():
            columns = slice(start, start + size)
            writer.branch(name, np.arange(start, start + size), CALLS, scaling="feature", masked=True)
            writer.append(name, values[:, columns], absent[:, columns])
            start += size
        writer.target(own if labels is None else labels)
        writer.samples(pd.DataFrame({"id": SPLIT["sample"]}))
    return path


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    with Dataset.open(write(tmp_path_factory.mktemp("baselines") / "dataset.h5", SIZES)) as dataset:
        yield dataset, baseline_predictions(dataset, SPLIT, 3)


def test_trees_are_scikit_learn_s_and_know_what_is_absent_but_in_all_training(calls):
    values, absent, labels = arrays()
    known = np.where(absent, np.nan, values)
    for name, columns in (("raw features", slice(0, 6)), ("attributes", slice(0, 3))):
        fitted = HistGradientBoostingClassifier(early_stopping=False, random_state=3)
        fitted.fit(known[TRAIN, columns], labels[TRAIN])
        np.testing.assert_array_equal(
            calls[1][f"trees ({name})"], fitted.predict_proba(known[TEST, columns]), err_msg=name
        )


def test_logistic_regression_has_the_training_mean_for_what_is_absent(calls):
    values, absent, labels = arrays()
    known = np.where(absent, np.nan, values).astype(float)
    for name, branches in (("raw features", [slice(0, 3), slice(3, 7)]), ("attributes", [slice(0, 3)])):
        parts = []
        for columns in branches:
            own = known[:, columns]
            some = ~np.isnan(own[TRAIN]).all(axis=0)
            mean, spread = np.zeros(own.shape[1]), np.zeros(own.shape[1])
            mean[some], spread[some] = (of(own[TRAIN][:, some], axis=0) for of in (np.nanmean, np.nanstd))
            floor = 0.05 * np.sqrt(np.mean(spread**2))
            parts.append(np.nan_to_num((own - mean) / np.maximum(spread, floor)))
        scaled = np.concatenate(parts, axis=1).astype(np.float32)
        fitted = logistic.fit(scaled[TRAIN], labels[TRAIN], np.ones(len(TRAIN)), SPLIT["group"].to_numpy(str)[TRAIN], 3)
        found = calls[1][f"logistic ({name})"]
        np.testing.assert_allclose(found, fitted.probabilities(scaled[TEST]), atol=1e-4, err_msg=name)


def test_neither_validation_nor_test_labels_are_known(calls, tmp_path):
    labels = calls[0].labels
    other = np.where(ROLES == "train", labels, 1 - labels)
    with Dataset.open(write(tmp_path / "other.h5", SIZES, other)) as dataset:
        assert (dataset.labels[TEST] != calls[0].labels[TEST]).all()
        again = baseline_predictions(dataset, SPLIT, 3)
    for name, values in calls[1].items():
        np.testing.assert_array_equal(values, again[name], err_msg=name)


def test_a_branch_that_is_alone_is_fitted_once(tmp_path):
    for place, sizes in enumerate(({"embedding": 7}, {"attributes": 7})):
        with Dataset.open(write(tmp_path / f"{place}.h5", sizes)) as dataset:
            assert set(baseline_predictions(dataset, SPLIT, 0)) == {"trees (raw features)", "logistic (raw features)"}


def test_many_training_calls_are_sampled_with_the_seed(calls, monkeypatch):
    monkeypatch.setattr(module, "MOST_CALLS", 100)
    first, again, other = (baseline_predictions(calls[0], SPLIT, seed)["trees (attributes)"] for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


def test_blocks_of_test_calls_change_nothing(calls, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7)
    for name, values in baseline_predictions(calls[0], SPLIT, 3).items():
        np.testing.assert_allclose(values, calls[1][name], atol=1e-12, err_msg=name)


def test_the_gain_is_the_difference_of_areas_in_the_same_resamples():
    random = np.random.default_rng(0)
    groups = np.repeat([f"chr{place}" for place in range(8)], 30)
    labels = random.integers(2, size=len(groups))
    shared = labels + random.normal(0, 1, len(groups))
    first, second = (1 / (1 + np.exp(-shared - random.normal(0, 0.2, len(groups)))) for _ in range(2))
    found = gain(labels, *(np.column_stack([1 - own, own]) for own in (first, second)), groups, 5)
    assert found["value"] == pytest.approx(roc_auc_score(labels, first) - roc_auc_score(labels, second))
    names, generator, differences = np.unique(groups), np.random.default_rng(5), []
    for drawn in generator.integers(8, size=(1000, 8)):
        rows = np.concatenate([np.flatnonzero(groups == names[place]) for place in drawn])
        differences.append(roc_auc_score(labels[rows], first[rows]) - roc_auc_score(labels[rows], second[rows]))
    low, high = np.percentile(differences, percentiles(8))
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    # Paired: far narrower than the two areas' own intervals.
    assert found["high"] - found["low"] < 0.1


def test_two_groups_have_no_interval_and_one_class_no_area():
    probabilities = np.full((4, 2), 0.5)
    found = gain(np.array([0, 1, 0, 1]), probabilities, probabilities, np.array(["a", "a", "b", "b"]), 0)
    assert found == {"value": 0.0, "low": None, "high": None}
    assert gain(np.ones(4, int), probabilities, probabilities, np.array(list("abcd")), 0)["value"] is None


def test_metrics_of_baselines_join_the_table_with_their_gain(calls):
    dataset, predicted = calls
    labels, network = dataset.labels[TEST], np.random.default_rng(0).dirichlet((1, 1), len(TEST))
    found = baseline_metrics(dataset, SPLIT, predicted, network, 0)
    table = metrics_table({}, {}, found, {})
    assert set(table["predictor"]) == set(predicted) and set(table["kind"]) == {"baseline"}
    for name, values in predicted.items():
        area = roc_auc_score(labels, values[:, 1])
        assert metric(table, name, "baseline")["value"] == pytest.approx(area)
        assert metric(table, name, "baseline", "log_loss")["value"] == pytest.approx(log_loss(labels, values))
        expected = roc_auc_score(labels, network[:, 1]) - area
        assert metric(table, name, "baseline", GAIN)["value"] == pytest.approx(expected)
    # The label follows a product, which only trees see.
    trees, line = (metric(table, f"{model} (attributes)", "baseline") for model in ("trees", "logistic"))
    assert trees["value"] > line["value"] + 0.05


def test_predictions_of_other_calls_are_refused():
    table = pd.DataFrame({"sample": ["a", "a", "b", "b"], "predicted": [0.2, 0.8, 0.6, 0.4]})
    found = network_probabilities("p.tsv", table, np.array(["a", "b"]), 2)
    np.testing.assert_array_equal(found, [[0.2, 0.8], [0.6, 0.4]])
    for samples in (["b", "a"], ["a"]):
        with pytest.raises(ConsilienceError, match=rf"p\.tsv: 4 rows that are not of the {len(samples)} calls"):
            network_probabilities("p.tsv", table, np.array(samples), 2)


RAW, ALONE = "trees (raw features)", "logistic (attributes)"
RAW_WORDS, ALONE_WORDS = "boosted trees on the raw features", "logistic regression on the attributes alone"


def said(raw=None, alone=None):
    known = {name: own for name, own in ((RAW, raw), (ALONE, alone)) if own}
    return "".join(baseline_line(performance(baselines=known)))


@pytest.mark.parametrize(
    ("raw", "alone", "told"),
    [
        ((0.03, 0.01, 0.05), (0.2, 0.1, 0.3), f"wide is better than {RAW_WORDS}, by 0.030 [0.010, 0.050]"),
        (
            (-0.02, -0.03, -0.01), (0.2, 0.1, 0.3),
            f"atoms lose some of what calls tell: wide is worse than {RAW_WORDS}, by 0.020 [0.010, 0.030]",
        ),
        (
            (-0.02, -0.03, -0.01), (0.0, -0.1, 0.1),
            f"by 0.020 [0.010, 0.030]; it is not clearly better than {ALONE_WORDS} (difference 0.000 [-0.100, 0.100])",
        ),
        (
            (-0.02, -0.03, -0.01), (-0.01, -0.015, -0.004),
            f"by 0.020 [0.010, 0.030]; it is worse than {ALONE_WORDS}, by 0.010 [0.004, 0.015]",
        ),
        (
            (0.01, -0.03, 0.05), (0.2, 0.1, 0.3),
            f"nothing shows that atoms tell more: wide is not clearly better than {RAW_WORDS} (difference 0.010 "
            "[-0.030, 0.050])",
        ),
        ((0.01, None, None), None, f"wide is not clearly better than {RAW_WORDS} (difference 0.010)"),
    ],
)  # fmt: skip
def test_a_line_says_whether_the_network_adds_to_the_best_without_a_dictionary(raw, alone, told):
    line = said(((0.9, 0.8, 0.95), raw), alone and ((0.8, 0.7, 0.9), alone))
    assert line.startswith(f"the best without a dictionary: {RAW_WORDS} 0.900 [0.800, 0.950]") and line.endswith(told)


def test_the_best_may_know_attributes_alone_and_without_baselines_nothing_is_said():
    line = said(((0.8, 0.7, 0.9), (0.1, 0.05, 0.2)), ((0.9, 0.8, 0.95), (0.0, -0.1, 0.1)))
    assert line.endswith(f"wide is not clearly better than {ALONE_WORDS} (difference 0.000 [-0.100, 0.100])")
    assert said() == ""
