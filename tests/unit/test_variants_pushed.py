"""Attributions of atoms pushed on to raw features, against plain loops, a linear network, and a planted linear truth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logit
from sklearn.metrics import roc_auc_score

from consilience.attribution.api import Explainer
from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.domains.variants import pushed as pushed_module
from consilience.domains.variants.encode import encode
from consilience.domains.variants.pushed import (
    Encoder,
    check_same_calls,
    class_differences,
    linear_shares,
    push,
    raw_attributions,
)
from consilience.domains.variants.raw_recovery import LINEAR, VOTERS, raw_recovery
from consilience.errors import ConsilienceError
from consilience.linear.fit import fit_linear

CALLS, SIZES = 480, {"attributes": 6, "alleles": 12}
NAMES = [f"{branch} {place}" for branch, size in SIZES.items() for place in range(size)]
PLANTED = {"attributes 1": 1, "alleles 3": -1, "alleles 7": 1}
SETTINGS = {
    "dimension": 18,
    "dictionary": {
        "expansion": 3, "k": 9, "activation": "batch_top_k", "sweep": [], "tolerance": 0.02, "seeds": 1, "epochs": 30,
        "batch_size": 64, "learning_rate": 0.003, "auxiliary": 0.125, "auxiliary_atoms": 16, "maximum_samples": 5000,
    },
}  # fmt: skip
FIT = {"selection": "group_folds", "folds": 4, "maximum_samples": 5000}


def write_raw(path, seed=0, names=None):
    """Calls whose label follows three of their features; a third of them lack all `alleles`, some an attribute."""
    random = np.random.default_rng(seed)
    parts = {name: random.normal(2, 3, (CALLS, size)).astype(np.float32) for name, size in SIZES.items()}
    masks = {name: np.zeros((CALLS, size), bool) for name, size in SIZES.items()}
    masks["alleles"][random.random(CALLS) < 0.3] = True
    masks["attributes"][:, 4] = random.random(CALLS) < 0.5
    standard = np.concatenate([np.where(masks[name], 0, (parts[name] - 2) / 3) for name in SIZES], axis=1)
    log_odds = 2.0 * standard @ np.array([PLANTED.get(name, 0) for name in NAMES])
    labels = (random.random(CALLS) < 1 / (1 + np.exp(-log_odds))).astype(int)
    start = 0
    facts = {"unit": "-", "source": "-", "source_sha256": "-", "classes": ["FP", "TP"]}
    with write_dataset(path, "classification", "true call", **facts) as writer:
        branches = [branch for branch, size in SIZES.items() for _ in range(size)]
        writer.features(pd.DataFrame({"name": NAMES, "branch": branches}))
        for name, size in SIZES.items():
            writer.branch(name, np.arange(start, start + size), CALLS, scaling="feature", masked=True)
            writer.append(name, parts[name], masks[name])
            start += size
        writer.target(labels)
        ids = names or [f"call-{row}" for row in range(CALLS)]
        writer.samples(pd.DataFrame({"id": ids, "chromosome": [str(row % 12) for row in range(CALLS)]}))
    return path


def split_of():
    roles = np.array(["train"] * 8 + ["validation", "validation", "test", "test"])
    places = np.arange(CALLS) % 12
    return pd.DataFrame(
        {"sample": [f"call-{row}" for row in range(CALLS)], "group": places.astype(str), "role": roles[places]}
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A raw dataset and its encoding, both open."""
    folder = tmp_path_factory.mktemp("pushed")
    write_raw(folder / "dataset.h5")
    with Dataset.open(folder / "dataset.h5") as raw:
        encode(raw, split_of(), SETTINGS, folder / "encoded.h5", 3, "cpu")
        with Dataset.open(folder / "encoded.h5") as encoded:
            yield raw, encoded


def slowly_standardized(raw, encoded, row):
    """Features of one call by a plain loop, 0 where absent, and which are there."""
    kept, values, present = encoded.representation, [], []
    for name in raw.branches:
        for value, absent in zip(raw.inputs(name)[row], raw.mask(name)[row], strict=True):
            place = len(values)
            values.append(0.0 if absent else (value - kept["raw_center"][place]) / kept["raw_scale"][place])
            present.append(not absent)
    return np.array(values), np.array(present)


def slowly_pushed(attributions, codes, features, kept):
    """Contributions (features,), the constant and slopes (features,) of one call, atom by atom."""
    parts, slopes, constant = np.zeros(len(features)), np.zeros(len(features)), 0.0
    for place, atom in enumerate(kept["alive"]):
        if codes[place] == 0:
            continue
        share = attributions[place] / codes[place]
        weight = kept["encoder_weight"][atom].astype(float)
        for feature, value in enumerate(features):
            slope = share * float(np.sum(weight * kept["map"][:, feature].astype(float) / kept["scale"]))
            slopes[feature] += slope
            parts[feature] += slope * value
        shift = kept["center"].astype(float) / kept["scale"] + kept["bias"]
        constant += share * (float(kept["encoder_bias"][atom]) - float(np.sum(weight * shift)))
    return parts, constant, slopes


def linear_explainer(encoded, seed):
    """A network that is linear in the codes, so that integrated gradients from zero codes are weight times code."""
    torch.manual_seed(seed)
    module = torch.nn.Linear(len(encoded.features), 1).eval()
    background = {"codes": encoded.inputs("codes")[:20]}
    return Explainer(module, background, outputs=["TP"]), module.weight.detach().numpy()[0].astype(float)


def test_codes_are_affine_in_standardized_features_where_an_atom_is_active(study):
    raw, encoded = study
    codes, rows = encoded.inputs("codes"), np.arange(CALLS)
    encoder = Encoder.of(encoded, raw)
    features, _ = encoder.features(raw, rows)
    active = codes > 0
    assert 0.02 < active.mean() < 0.9
    np.testing.assert_allclose((features @ encoder.weight.T + encoder.offset)[active], codes[active], atol=2e-5)


def test_features_are_standardized_and_absent_ones_are_zero(study):
    raw, encoded = study
    rows = np.array([7, 3, 200])
    features, present = Encoder.of(encoded, raw).features(raw, rows)
    for place, row in enumerate(rows):
        values, there = slowly_standardized(raw, encoded, row)
        np.testing.assert_allclose(features[place], values, atol=1e-5)
        np.testing.assert_array_equal(present[place], there)


def test_pushed_attributions_are_those_of_a_plain_loop_and_add_up(study):
    raw, encoded = study
    encoder, rows = Encoder.of(encoded, raw), np.array([0, 5, 9, 401])
    codes = encoded.inputs("codes", rows)
    features, _ = encoder.features(raw, rows)
    attributions = np.random.default_rng(1).normal(size=codes.shape) * (codes > 0)
    found = push(attributions, codes, features, encoder)
    for place in range(len(rows)):
        slow = slowly_pushed(attributions[place], codes[place], features[place], encoded.representation)
        np.testing.assert_allclose(found.contributions[place], slow[0], atol=1e-9)
        np.testing.assert_allclose(found.constant[place], slow[1], atol=1e-9)
        np.testing.assert_allclose(found.slopes[place], slow[2], atol=1e-9)
    whole = found.contributions.sum(axis=1) + found.constant
    np.testing.assert_allclose(whole, attributions.sum(axis=1), atol=1e-4)


def test_codes_of_other_calls_are_refused(study):
    raw, encoded = study
    encoder, rows = Encoder.of(encoded, raw), np.arange(30)
    codes = encoded.inputs("codes", rows)
    features, _ = encoder.features(raw, rows[::-1])
    with pytest.raises(ConsilienceError, match=r"miss .* of call \d+ of a block; .* the codes are not of these feat"):
        push(codes.astype(float), codes, features, encoder)


def test_embeddings_made_elsewhere_need_no_map(study):
    raw, encoded = study
    encoder = Encoder.of(encoded, raw)
    kept = {name: values for name, values in encoded.representation.items() if name != "map"}

    class Without:
        representation, path = kept, encoded.path

    width = len(kept["center"])
    assert width == len(NAMES)
    without = Encoder.of(Without(), raw)
    mapped = without.weight @ encoded.representation["map"]
    np.testing.assert_allclose(mapped, encoder.weight, atol=1e-6)
    np.testing.assert_allclose(without.offset, encoder.offset)


def test_the_table_is_that_of_plain_sums_whatever_the_blocks(study, monkeypatch):
    raw, encoded = study
    rows, labels = np.sort(np.random.default_rng(2).permutation(CALLS)[:23]), encoded.labels
    models = {name: linear_explainer(encoded, seed) for seed, name in enumerate(("a", "b"))}
    explainers = {name: one for name, (one, _) in models.items()}
    linear = np.random.default_rng(3).normal(size=len(encoded.features))
    weights = {name: weight for name, (_, weight) in models.items()}
    weights |= {VOTERS: (weights["a"] + weights["b"]) / 2, LINEAR: linear}
    monkeypatch.setattr(pushed_module, "BLOCK_ROWS", 7)
    table, branches, facts = raw_attributions(encoded, raw, rows, explainers, linear, {"steps": 10, "seed": 0})
    branches = branches.set_index(["model", "branch"])
    assert list(table["model"].unique()) == ["a", "b", VOTERS, LINEAR]
    codes = encoded.inputs("codes")
    for model, weight in weights.items():
        own = table[table["model"] == model].set_index("feature").loc[NAMES]
        parts, slopes, there, constants = [], [], [], []
        for row in rows:
            features, present = slowly_standardized(raw, encoded, row)
            part, constant, slope = slowly_pushed(weight * codes[row], codes[row], features, encoded.representation)
            parts.append(part)
            slopes.append(np.where(present, slope, np.nan))
            there.append(present)
            constants.append(constant)
        parts, sizes = np.array(parts), np.abs(parts).mean(axis=0)
        signs = np.sign(np.nanmean(slopes, axis=0))
        np.testing.assert_allclose(own["magnitude"], sizes, atol=2e-5)
        np.testing.assert_array_equal(own["direction"], signs)
        np.testing.assert_allclose(own["slope"], np.nanmean(slopes, axis=0), atol=2e-5)
        np.testing.assert_allclose(own["average_attribution"], signs * sizes, atol=2e-5)
        np.testing.assert_allclose(own["mean_attribution"], parts.mean(axis=0), atol=2e-5)
        np.testing.assert_allclose(own["mean_TP"], parts[labels[rows] == 1].mean(axis=0), atol=2e-5)
        np.testing.assert_allclose(own["mean_FP"], parts[labels[rows] == 0].mean(axis=0), atol=2e-5)
        assert facts[model]["calls"] == len(rows) and facts[model]["gap"] < 1e-4
        np.testing.assert_allclose(facts[model]["constant"], np.abs(constants).mean(), rtol=1e-4)
        for branch, size in SIZES.items():
            sums = parts[:, [name.startswith(branch) for name in NAMES]].sum(axis=1)
            told = branches.loc[(model, branch)]
            assert told["magnitude"] == pytest.approx(np.abs(sums).mean(), abs=2e-5) and told["features"] == size
            assert told["auroc"] == pytest.approx(roc_auc_score(labels[rows], sums))
        assert own["branch"].tolist() == [name.split()[0] for name in NAMES]
        assert table[table["model"] == model]["magnitude"].is_monotonic_decreasing


def test_shares_of_the_linear_model_are_the_changes_of_its_log_odds(study):
    _, encoded = study
    split = split_of()
    coefficients, _, predictions = fit_linear(encoded, split, FIT, 0)
    test = np.flatnonzero(split["role"] == "test")
    shares = linear_shares(encoded, coefficients, np.flatnonzero(split["role"] == "train"))
    own = predictions[(predictions["kind"] == LINEAR) & (predictions["target"] == "TP")].set_index("sample")
    log_odds = logit(own.loc[encoded.samples["id"].to_numpy()[test], "predicted"].to_numpy())
    told = encoded.inputs("codes", test) @ shares
    np.testing.assert_allclose(told - told[0], log_odds - log_odds[0], atol=1e-4)


def test_a_planted_linear_truth_is_found_with_its_signs_and_not_under_shuffled_labels(study):
    raw, encoded = study
    split, rows = split_of(), np.arange(CALLS)
    explainers = {"a": linear_explainer(encoded, 0)[0]}
    truth = pd.DataFrame({"feature": PLANTED.keys(), "sign": PLANTED.values(), "signal": "sum"})
    coefficients, _, _ = fit_linear(encoded, split, FIT, 0)
    linear = linear_shares(encoded, coefficients, np.flatnonzero(split["role"] == "train"))
    table, *_ = raw_attributions(encoded, raw, rows, explainers, linear, {"steps": 10, "seed": 0})
    own = table[table["model"] == LINEAR].set_index("feature")
    assert set(own["slope"].abs().nlargest(3).index) == set(PLANTED)
    assert (np.sign(own["slope"]) == own["direction"]).all()
    found = raw_recovery(table, truth).set_index(["model", "signal"]).loc[(LINEAR, "all")]
    assert found["average_precision"] > 0.8 and found["sign_accuracy"] == 1 and found["p_value"] < 0.01
    assert found["slope_precision"] == 1
    shuffled = np.random.default_rng(0).permutation(linear)
    table, *_ = raw_attributions(encoded, raw, rows, explainers, shuffled, {"steps": 10, "seed": 0})
    found = raw_recovery(table, truth).set_index(["model", "signal"]).loc[(LINEAR, "all")]
    assert found["average_precision"] < 0.5 and found["slope_precision"] < 0.5


def test_class_differences_are_those_of_present_features(study, monkeypatch):
    raw, encoded = study
    rows = np.arange(40, 95)
    monkeypatch.setattr(pushed_module, "BLOCK_ROWS", 9)
    found = class_differences(encoded, raw, rows).set_index("feature")["average_attribution"]
    start = 0
    for branch, size in SIZES.items():
        values, absent = raw.inputs(branch, rows).astype(float), raw.mask(branch, rows)
        for place in range(size):
            scaled = values[:, place] - encoded.representation["raw_center"][start]
            scaled /= encoded.representation["raw_scale"][start]
            means = [scaled[~absent[:, place] & (encoded.labels[rows] == label)].mean() for label in (0, 1)]
            assert found[NAMES[start]] == pytest.approx(means[1] - means[0], abs=1e-5)
            start += 1
    assert found.abs().idxmax() in PLANTED


def test_a_missing_coefficient_is_named(study):
    _, encoded = study
    names = encoded.features["name"].to_numpy()
    table = pd.DataFrame({"feature": names[1:], "target": "TP", "kind": LINEAR, "coefficient": 1.0})
    with pytest.raises(ConsilienceError, match=f"no logistic coefficient of '{names[0]}'"):
        linear_shares(encoded, table, np.arange(50))


def test_an_atom_that_never_varies_in_training_has_no_share(study):
    _, encoded = study
    codes = encoded.inputs("codes")
    column = int(np.argmin((codes > 0).sum(axis=0)))
    quiet = np.flatnonzero(codes[:, column] == 0)
    table = pd.DataFrame({"feature": encoded.features["name"], "target": "TP", "kind": LINEAR, "coefficient": 1.0})
    assert linear_shares(encoded, table, quiet)[column] == 0


def test_datasets_that_do_not_belong_together_are_refused(study, tmp_path):
    raw, encoded = study
    other = write_raw(tmp_path / "other.h5", names=[f"call-{row}" for row in range(CALLS)][::-1])
    with Dataset.open(other) as opened, pytest.raises(ConsilienceError, match="do not hold the same calls in the same"):
        check_same_calls(encoded, opened)
    check_same_calls(encoded, raw)

    class Wider:
        path = "wider.h5"
        branches = raw.branches | {"flanks": replace(raw.branches["alleles"], name="flanks")}

    with pytest.raises(ConsilienceError, match=r"encoded from 18 features; wider\.h5 has 30"):
        Encoder.of(encoded, Wider())
