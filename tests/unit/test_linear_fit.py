"""The linear models of a study: what is fitted on which rows, in which unit, and what the tables hold."""

from __future__ import annotations

import json
import logging

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss, r2_score

from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.errors import ConsilienceError
from consilience.linear.fit import fit_linear
from consilience.linear.folds import group_folds
from consilience.metrics import METRICS
from consilience.scaling import FLOOR

SAMPLES, FEATURES = 140, 60
SETTINGS = {"selection": "group_folds", "folds": 5, "maximum_samples": 20000}
ROLES = np.array(["train"] * 90 + ["validation"] * 20 + ["test"] * 30)


def study(path, task: str, classes: list[str] | None = None, features: int = FEATURES, change=None):
    """Write a dataset whose features 0 and 1 push the target (or the last class) up and down; return its split."""
    generator = np.random.default_rng(11)
    X = (generator.normal(size=(SAMPLES, features)) * np.linspace(0.5, 4, features) + 6).astype(np.float32)
    X[:, 5] = 0.1
    z = (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-9)
    signal = 2 * z[:, 0] - 2 * z[:, 1] + generator.normal(size=SAMPLES) * 0.5
    weight = generator.uniform(1, 5, size=SAMPLES)
    if task == "regression":
        target = 40 + 3 * signal
    else:
        logits = np.outer(signal, np.linspace(-1, 1, len(classes)))
        logits[:, 1:-1] += 1
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        target = shares.argmax(axis=1) if task == "classification" else shares
    if change is not None:
        target = change(target)
    samples = pd.DataFrame({"id": [f"s{index}" for index in range(SAMPLES)], "weight": weight})
    samples["trivial_depth"] = generator.normal(size=SAMPLES)
    with write_dataset(path, task, "IRF", "log1p", "test", "none", classes) as writer:
        writer.features(pd.DataFrame({"name": [f"g{index}" for index in range(features)], "branch": "genes"}))
        writer.samples(samples)
        writer.target(target)
        writer.branch("genes", np.arange(features), SAMPLES, "feature")
        writer.append("genes", X)
    groups = [f"series {index // 5}" for index in range(SAMPLES)]
    return pd.DataFrame({"sample": samples["id"], "group": groups, "role": ROLES}), X, target, weight


def run(path, split, settings=SETTINGS, seed=3):
    with Dataset.open(path) as dataset:
        return fit_linear(dataset, split, settings, seed)


@pytest.mark.parametrize("features", [60, 150])
def test_minimum_norm_is_least_squares_per_standard_deviation_in_the_targets_unit(tmp_path, features):
    split, X, y, _ = study(tmp_path / "d.h5", "regression", features=features)
    coefficients, metrics, predictions = run(tmp_path / "d.h5", split)
    assert list(coefficients) == ["feature", "target", "kind", "coefficient"]
    assert coefficients["kind"].tolist() == ["ridge"] * features + ["minimum_norm"] * features
    assert coefficients["feature"].tolist() == 2 * [f"g{index}" for index in range(features)]
    assert set(coefficients["target"]) == {"IRF"}
    train, test = split["role"] == "train", split["role"] == "test"
    wide = X.astype(np.float64)
    deviation = wide[train].std(axis=0)
    floor = FLOOR * np.sqrt(np.mean(deviation**2))
    z = (wide - wide[train].mean(axis=0)) / np.maximum(deviation, floor)
    peer = LinearRegression().fit(z[train], y[train])
    mine = coefficients[coefficients["kind"] == "minimum_norm"]["coefficient"].to_numpy()
    expected = peer.coef_ * deviation / np.maximum(deviation, floor)
    np.testing.assert_allclose(mine, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    assert mine[5] == 0
    own = predictions[predictions["kind"] == "minimum_norm"]
    np.testing.assert_allclose(own["predicted"], peer.predict(z[test]), rtol=1e-5)
    assert metrics["minimum_norm"]["test"]["r2"]["value"] == pytest.approx(r2_score(y[test], own["predicted"]))


def test_ridge_finds_planted_signs_and_predicts_the_test_role(tmp_path):
    split, _, y, _ = study(tmp_path / "d.h5", "regression", features=150)
    coefficients, metrics, predictions = run(tmp_path / "d.h5", split)
    ridge = coefficients[coefficients["kind"] == "ridge"].set_index("feature")["coefficient"]
    assert ridge.idxmax() == "g0" and ridge.idxmin() == "g1"
    document = json.loads(json.dumps(metrics["ridge"], allow_nan=False))
    assert document["task"] == "regression" and document["model"] == "ridge"
    test = document["test"]
    assert (test["n"], test["groups"]) == (30, 6)
    assert test["r2"]["low"] < test["r2"]["value"] < test["r2"]["high"]
    assert test["r2"]["value"] > 0 > document["trivial"]["mean"]["r2"]
    assert set(document["trivial"]) == {"mean", "depth"}
    training = document["training"]
    assert (training["n"], training["available"], training["groups"]) == (90, 90, 18)
    assert training["selection"] == "group_folds" and training["penalty"] > 0 and training["at_edge"] is False
    assert list(predictions) == ["sample", "role", "kind", "target", "observed", "predicted"]
    own = predictions[predictions["kind"] == "ridge"]
    assert own["sample"].tolist() == split["sample"][split["role"] == "test"].tolist()
    assert set(own["role"]) == {"test"}
    np.testing.assert_array_equal(own["observed"], y[split["role"] == "test"])


def test_coefficients_follow_the_targets_unit(tmp_path):
    split, *_ = study(tmp_path / "d.h5", "regression")
    study(tmp_path / "scaled.h5", "regression", change=lambda target: -10 * target + 7)
    first, second = (run(tmp_path / name, split)[0]["coefficient"] for name in ("d.h5", "scaled.h5"))
    np.testing.assert_allclose(second, -10 * first, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_only_the_training_role_is_fitted(tmp_path, task):
    def scramble(target):
        changed = target.copy()
        changed[90:] = changed[90:][::-1]
        return changed

    classes = None if task == "regression" else ["a", "b", "c"]
    split, *_ = study(tmp_path / "d.h5", task, classes)
    study(tmp_path / "changed.h5", task, classes, change=scramble)
    first, second = run(tmp_path / "d.h5", split), run(tmp_path / "changed.h5", split)
    pd.testing.assert_frame_equal(first[0], second[0])
    np.testing.assert_array_equal(first[2]["predicted"], second[2]["predicted"])
    assert first[1] != second[1]


def test_two_runs_are_the_same(tmp_path):
    split, *_ = study(tmp_path / "d.h5", "classification", ["a", "b"])
    first, second = run(tmp_path / "d.h5", split), run(tmp_path / "d.h5", split)
    assert first[0].equals(second[0]) and first[1] == second[1] and first[2].equals(second[2])


@pytest.mark.parametrize("classes", [["low", "high"], ["low", "middle", "high"]])
def test_classes_have_log_odds_or_centered_logits(tmp_path, classes):
    split, X, labels, weight = study(tmp_path / "d.h5", "classification", classes)
    coefficients, metrics, predictions = run(tmp_path / "d.h5", split)
    assert list(metrics) == ["logistic", "ridge"] and set(coefficients["kind"]) == {"logistic", "ridge"}
    coefficients, predictions = (part[part["kind"] == "logistic"] for part in (coefficients, predictions))
    table = coefficients.pivot_table(index="target", columns="feature", values="coefficient", sort=False)
    assert table.index.tolist() == (["high"] if len(classes) == 2 else classes)
    assert table.loc["high"].idxmax() == "g0" and table.loc["high"].idxmin() == "g1"
    if len(classes) == 3:
        np.testing.assert_allclose(table.sum(axis=0), 0, atol=1e-9)
    train, test = (split["role"] == role for role in ("train", "test"))
    wide = X.astype(np.float64)
    deviation = wide[train].std(axis=0)
    scale = np.maximum(deviation, FLOOR * np.sqrt(np.mean(deviation**2)))
    z = (wide - wide[train].mean(axis=0)) / scale
    model = LogisticRegression(C=metrics["logistic"]["training"]["C"], tol=1e-8, max_iter=5000)
    model.fit(z[train], labels[train], sample_weight=weight[train] / weight[train].mean())
    expected = (model.coef_ - (model.coef_.mean(axis=0) if len(classes) == 3 else 0)) * deviation / scale
    np.testing.assert_allclose(table.to_numpy(), expected, rtol=0, atol=1e-3 * np.abs(expected).max())
    wide_predictions = predictions.pivot_table(index="sample", columns="target", values="predicted", sort=False)
    assert wide_predictions.columns.tolist() == classes
    np.testing.assert_allclose(wide_predictions, model.predict_proba(z[test]), atol=1e-3)
    observed = predictions["observed"].to_numpy().reshape(-1, len(classes))
    np.testing.assert_array_equal(observed, np.eye(len(classes))[labels[test]])
    loss = log_loss(labels[test], wide_predictions, labels=range(len(classes)))
    assert metrics["logistic"]["test"]["log_loss"]["value"] == pytest.approx(loss, rel=1e-6)
    assert set(metrics["logistic"]["trivial"]) == {"class_prior", "depth"}
    assert metrics["logistic"]["test"]["accuracy"]["value"] > metrics["logistic"]["trivial"]["class_prior"]["accuracy"]


@pytest.mark.parametrize("classes", [["low", "high"], ["low", "middle", "high"]])
def test_ridge_on_classes_predicts_their_shares(tmp_path, classes):
    split, X, labels, _ = study(tmp_path / "d.h5", "classification", classes)
    coefficients, metrics, predictions = run(tmp_path / "d.h5", split)
    coefficients, predictions = (part[part["kind"] == "ridge"] for part in (coefficients, predictions))
    facts = metrics["ridge"]["training"]
    table = coefficients.pivot_table(index="target", columns="feature", values="coefficient", sort=False).to_numpy()
    train, test = (split["role"] == role for role in ("train", "test"))
    wide = X.astype(np.float64)
    deviation = wide[train].std(axis=0)
    scale = np.maximum(deviation, FLOOR * np.sqrt(np.mean(deviation**2)))
    z = (wide - wide[train].mean(axis=0)) / scale
    shares = np.eye(len(classes))[labels]
    gram = z[train].T @ z[train]
    unit = np.trace(gram) / len(gram) if len(gram) <= train.sum() else np.trace(gram) / train.sum()
    penalties = unit * np.asarray(facts["relative_penalties"])
    first = 1 if len(classes) == 2 else 0
    models = [
        Ridge(alpha=penalty).fit(z[train], shares[train, first + place]) for place, penalty in enumerate(penalties)
    ]
    raw = np.stack([model.coef_ for model in models])
    expected = (raw if len(classes) == 2 else raw - raw.mean(axis=0)) * deviation / scale
    np.testing.assert_allclose(table, expected, atol=1e-6 * np.abs(expected).max())
    scores = np.stack([model.predict(z[test]) for model in models], axis=1)
    scores = np.column_stack([1 - scores, scores]) if len(classes) == 2 else scores
    probabilities = predictions["predicted"].to_numpy().reshape(-1, len(classes))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), scores.argmax(axis=1))
    logits = facts["softmax_factor"] * scores
    np.testing.assert_allclose(probabilities, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), atol=1e-5)

    folds = group_folds(split["group"].to_numpy().astype(str)[train], SETTINGS["folds"], 3)
    held_out = np.empty((train.sum(), len(penalties)))
    for place, penalty in enumerate(penalties):
        for fold in np.unique(folds):
            model = Ridge(alpha=penalty).fit(z[train][folds != fold], shares[train][folds != fold, first + place])
            held_out[folds == fold, place] = model.predict(z[train][folds == fold])
    held_out = np.column_stack([1 - held_out, held_out]) if len(classes) == 2 else held_out

    def held_out_loss(factor):
        weights = np.exp(factor * held_out)
        return log_loss(labels[train], weights / weights.sum(axis=1, keepdims=True), labels=range(len(classes)))

    best = held_out_loss(facts["softmax_factor"])
    assert best <= min(held_out_loss(1.05 * facts["softmax_factor"]), held_out_loss(facts["softmax_factor"] / 1.05))


def test_ridge_on_classes_claims_no_more_than_it_knows(tmp_path):
    """Where features outnumber rows, what is fitted is nearly the classes themselves."""
    random = np.random.default_rng(0)
    labels, X = random.integers(0, 3, len(ROLES)), random.normal(size=(len(ROLES), 600)).astype(np.float32)
    X[:, :5] += 0.4 * labels[:, None]
    with write_dataset(tmp_path / "w.h5", "classification", "y", "u", "made", "0", ["a", "b", "c"]) as writer:
        writer.features(pd.DataFrame({"name": [f"g{gene}" for gene in range(600)], "branch": "genes"}))
        writer.samples(pd.DataFrame({"id": [f"s{number}" for number in range(len(ROLES))]}))
        writer.target(labels)
        writer.branch("genes", np.arange(600), len(ROLES), "feature")
        writer.append("genes", X)
    ids = [f"s{number}" for number in range(len(ROLES))]
    split = pd.DataFrame({"sample": ids, "group": ids, "role": ROLES})
    _, metrics, _ = run(tmp_path / "w.h5", split)
    loss = metrics["ridge"]["test"]["log_loss"]["value"]
    assert loss < 1.1 * metrics["ridge"]["trivial"]["class_prior"]["log_loss"]


def test_votes_are_fitted_as_fractions(tmp_path):
    split, _, shares, _ = study(tmp_path / "d.h5", "votes", ["a", "b", "c"])
    coefficients, metrics, predictions = run(tmp_path / "d.h5", split)
    coefficients, predictions = (part[part["kind"] == "logistic"] for part in (coefficients, predictions))
    assert len(coefficients) == 3 * FEATURES
    assert set(metrics["logistic"]["test"]) == {"n", "groups", *METRICS["votes"]}
    np.testing.assert_array_equal(predictions["observed"].to_numpy().reshape(-1, 3), shares[ROLES == "test"])
    prior = metrics["logistic"]["trivial"]["class_prior"]["kl_divergence"]
    assert metrics["logistic"]["test"]["kl_divergence"]["value"] < prior


def test_more_training_rows_than_allowed_are_a_seeded_sample(tmp_path, caplog):
    split, *_ = study(tmp_path / "d.h5", "regression")
    settings = SETTINGS | {"maximum_samples": 50}
    with caplog.at_level(logging.INFO):
        coefficients, metrics, _ = run(tmp_path / "d.h5", split, settings)
    assert "a sample of 50 of 90 training rows" in caplog.text
    assert metrics["ridge"]["training"]["n"] == 50 and metrics["ridge"]["training"]["available"] == 90
    assert coefficients.equals(run(tmp_path / "d.h5", split, settings)[0])
    assert not coefficients.equals(run(tmp_path / "d.h5", split, settings, seed=4)[0])


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_single_samples_can_be_left_out_where_there_is_one_group(tmp_path, task):
    split, *_ = study(tmp_path / "d.h5", task, None if task == "regression" else ["a", "b"])
    split.loc[split["role"] == "train", "group"] = "one"
    with pytest.raises(ConsilienceError, match="has 1 \\(one\\); set `linear: {selection: leave_one_out}`"):
        run(tmp_path / "d.h5", split)
    _, metrics, _ = run(tmp_path / "d.h5", split, SETTINGS | {"selection": "leave_one_out"})
    assert next(iter(metrics.values()))["training"]["selection"] == "leave_one_out"


def test_a_split_of_other_samples_is_refused(tmp_path):
    split, *_ = study(tmp_path / "d.h5", "regression")
    with pytest.raises(ConsilienceError, match="not the dataset's 140 in their order"):
        run(tmp_path / "d.h5", split.iloc[::-1])
