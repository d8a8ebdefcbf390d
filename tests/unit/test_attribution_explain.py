import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from consilience.attribution import batches, methods, store
from consilience.attribution.explain import batch_reader, explain_model, predicted_classes
from consilience.attribution.names import METHOD_FACTS, METHOD_NAMES, complete_settings
from consilience.errors import ConsilienceError
from consilience.scaling import scaled_inputs
from consilience.training.members import Member
from tests.unit.attribution_by_hand import FEW, Sample, by_hand, map_by_hand, single_networks, summed, value_at
from tests.unit.attribution_examples import (
    IMAGE_UNITS,
    Additive,
    Linear,
    Perceptron,
    Recurrent,
    TwoBranch,
    finish,
    opened,
    regression_study,
    votes_study,
)

OWN = tuple(name for name in METHOD_NAMES if not name.startswith("shap_"))
COMPLETE = tuple(name for name in OWN if METHOD_FACTS[name].complete)


def explain(study, names=OWN, references=None, **settings):
    with opened(study) as dataset:
        return explain_model(
            dataset, study.split, study.ensemble, study.module, names, FEW | settings, seed=0,
            own=methods.Own(references=references or {}),
        )  # fmt: skip


class Careless(TwoBranch):
    """Reads masked elements as if they were there."""

    def forward(self, image, vector, *, gate, mask_image, **auxiliary):
        return super().forward(image, vector, gate=gate, mask_image=torch.zeros_like(mask_image))


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks", "ignore:Input Tensor")
@pytest.mark.parametrize("method", OWN)
def test_statistics_are_those_of_a_plain_loop(tmp_path, method):
    # captum has no rule for a product.
    make = Additive if method.startswith("deeplift") else Careless
    study = votes_study(tmp_path, samples=9)
    study = finish(study.path, study.split, "votes", 3, make)
    found = explain(study, [method], reference="zero")[method]
    attributions, rises = by_hand(study, method, make)
    tolerance = 2e-6 if method == "integrated_gradients" else 1e-6
    with opened(study) as dataset:
        labels = dataset.labels
    direction, magnitude = rises.mean(axis=2), np.abs(attributions).mean(axis=2)
    np.testing.assert_allclose(found.all["direction"], direction, atol=1e-6)
    np.testing.assert_allclose(found.all["magnitude"], magnitude, atol=tolerance)
    np.testing.assert_allclose(found.all["average_attribution"], np.sign(direction) * magnitude, atol=tolerance)
    for target in range(3):
        own = labels == target
        expected = np.abs(attributions[:, target, own]).mean(axis=1)
        np.testing.assert_allclose(found.own_class["magnitude"][:, target], expected, atol=tolerance)
        expected = rises[:, target, own].mean(axis=1)
        np.testing.assert_allclose(found.own_class["direction"][:, target], expected, atol=1e-6)


def test_what_is_returned_can_be_stored_and_says_what_it_is(tmp_path):
    study = votes_study(tmp_path)
    for method, found in explain(study, roles=["train", "test"]).items():
        store.write(tmp_path / f"{method}.h5", found)
        read = store.read(tmp_path / f"{method}.h5", showcase=True)
        assert (read.model, read.method, read.task, read.roles) == ("small", method, "votes", ["train", "test"])
        assert read.targets == ["left", "middle", "right"]
        assert read.features["name"].tolist() == list("abcdef")
        assert read.samples == study.split["sample"][study.split["role"].isin(["train", "test"])].tolist()
        facts = METHOD_FACTS[method]
        named = {"": "", "reference": "mean", "background": "3 training samples"}[facts.compares_with]
        assert (read.complete, read.reference) == (facts.complete, named)
        assert (read.gap is not None) == facts.complete == (read.scale is not None)


@pytest.mark.parametrize("method", COMPLETE)
def test_complete_methods_carry_their_gap(tmp_path, method):
    """The rise is written out: from the mean of the training role, or the mean over the background."""
    study = votes_study(tmp_path, samples=12)
    found = explain(study, [method], steps=20, reference="zero")[method]
    assert found.gap.shape == found.scale.shape == (2, 3, len(found.samples))
    with opened(study) as dataset:
        samples = [Sample(study, dataset, row) for row in range(len(dataset))]
    for member, module in enumerate(single_networks(study, TwoBranch)):
        for target, row in np.ndindex(3, 12):
            sample = samples[row]
            starts = sample.background if METHOD_FACTS[method].compares_with == "background" else [sample.reference]
            base = np.mean([value_at(module, target, start, sample.auxiliary) for start in starts])
            rise = value_at(module, target, sample.parts, sample.auxiliary) - base
            assert found.scale[member, target, row] == pytest.approx(abs(rise), abs=1e-6)
    # A point for each row of the background is few; the others are complete.
    assert found.scale.max() > 0.01
    assert (found.gap.max() < 1e-5) == (method != "expected_gradients")


def test_a_rough_path_has_a_gap(tmp_path):
    study = votes_study(tmp_path)
    rough = explain(study, ["integrated_gradients"], steps=1)["integrated_gradients"]
    assert rough.gap.max() > 1e-3
    found = explain(study, ["integrated_gradients"])["integrated_gradients"]
    np.testing.assert_allclose(rough.scale, found.scale, atol=1e-7)


def test_more_of_a_background_leaves_less_of_a_gap(tmp_path):
    study = votes_study(tmp_path, samples=90)
    few, many = (explain(study, ["expected_gradients"], background=n)["expected_gradients"] for n in (2, 40))
    assert (few.reference, many.reference) == ("2 training samples", "40 training samples")
    assert many.gap.mean() < 0.4 * few.gap.mean()


@pytest.mark.parametrize("outputs", [2, 3])
def test_own_class_may_be_the_predicted_one(tmp_path, outputs):
    study = votes_study(tmp_path, outputs=outputs)
    with opened(study) as dataset:
        labels = dataset.labels
        samples = [Sample(study, dataset, row) for row in range(len(dataset))]
    networks = list(single_networks(study, TwoBranch))
    logits = np.stack([[m(*s.parts, **s.auxiliary)[0].detach().numpy() for s in samples] for m in networks])
    predicted = (logits - logits.mean(axis=2, keepdims=True)).mean(axis=0).argmax(axis=1)
    assert (predicted != labels).any() and len(set(predicted)) == outputs
    found = explain(study, ["gradient_x_input"], class_of="prediction", internal_batch=7)["gradient_x_input"]
    plain = explain(study, ["gradient_x_input"])["gradient_x_input"]
    for name, values in found.all.items():
        np.testing.assert_allclose(values, plain.all[name], atol=1e-6)
    for member, target in np.ndindex(2, 3 if outputs == 3 else 0):
        maps = [map_by_hand("gradient_x_input", networks[member], target, s) for s in samples]
        sums = np.abs([summed(part, s.hidden) for part, s in zip(maps, samples, strict=True)])
        expected = sums[predicted == target].mean(axis=0)
        np.testing.assert_allclose(found.own_class["magnitude"][member, target], expected, atol=1e-6)
    if outputs == 2:
        # One log-odds concerns both classes.
        np.testing.assert_array_equal(found.own_class["magnitude"], found.all["magnitude"])
    with opened(study) as dataset:
        reader = batch_reader(dataset, study.split, study.ensemble, study.module, [], complete_settings({}), 0)
        rows = np.array([1, 2, 5, 11])
        expected = labels.copy()
        expected[rows] = predicted[rows]
        assert predicted_classes(reader, reader.function, rows, labels).tolist() == expected.tolist()


def test_centered_logits_sum_to_zero_over_targets(tmp_path):
    found = explain(votes_study(tmp_path), ["gradient_x_input"])["gradient_x_input"]
    np.testing.assert_allclose(found.all["direction"].sum(axis=1), 0, atol=1e-6)
    for name in ("image", "vector"):
        np.testing.assert_allclose(found.showcase[name].sum(axis=1), 0, atol=1e-6)


def test_two_classes_are_one_log_odds_over_both(tmp_path):
    found = explain(votes_study(tmp_path, outputs=2), ["saliency"])["saliency"]
    assert found.targets == ["middle"]
    for name, values in found.all.items():
        assert values.shape == (2, 1, 6)
        assert np.array_equal(values, found.own_class[name])


@pytest.mark.parametrize("reference", ["mean", "zero"])
def test_masked_elements_get_exactly_zero(tmp_path, reference):
    study = votes_study(tmp_path)
    study = finish(study.path, study.split, "votes", 3, Careless)
    found = explain(study, reference=reference)
    order = [study.split["sample"].tolist().index(name) for name in found["saliency"].showcase["samples"]]
    assert (study.split["role"][order] == "test").all()
    with opened(study) as dataset:
        mask = dataset.mask("image", np.array(order))
    for method in OWN:
        maps = found[method].showcase["image"]
        assert maps.shape == (2, 3, 8, 1, 4, 4)
        assert (maps[:, :, mask] == 0).all()
        assert (maps[:, :, ~mask] != 0).any()
    for method in COMPLETE:
        assert found[method].gap.max() < 1e-5 or method == "expected_gradients"


def test_masked_elements_get_zero_whatever_the_method_says(tmp_path, monkeypatch):
    def ones(batch, settings):
        return tuple(tensor.fill_(1) for tensor in batch.empty())

    monkeypatch.setitem(methods.METHODS, "saliency", methods.Method("saliency", ones, METHOD_FACTS["saliency"]))
    study = votes_study(tmp_path)
    found = explain(study, ["saliency"])["saliency"]
    with opened(study) as dataset:
        present = ~dataset.mask("image")
    expected = [present[:, unit == IMAGE_UNITS].sum(axis=1).mean() for unit in range(3)]
    np.testing.assert_allclose(found.all["magnitude"][0, 0], [*expected, 3, 2, 1], rtol=1e-6)


def test_masked_elements_do_not_enter_the_direction(tmp_path):
    class Flat(nn.Module):
        stackable = True

        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 3)

        def forward(self, image, vector, **auxiliary):
            return self.layer(image.flatten(1))

    study = votes_study(tmp_path)
    study = finish(study.path, study.split, "votes", 3, Flat)
    found = explain(study, ["saliency"])["saliency"]
    with opened(study) as dataset:
        share = (~dataset.mask("image")).mean(axis=0)
    weights = study.ensemble.states["layer.weight"].reshape(2, 3, 1, 4, 4)
    scaling = study.ensemble.scalings["image"]
    rise = (weights - weights.mean(axis=1, keepdims=True)) * share * scaling.spread / scaling.scale
    for unit in range(3):
        expected = rise[:, :, unit == IMAGE_UNITS].sum(axis=2)
        np.testing.assert_allclose(found.all["direction"][:, :, unit], expected, atol=1e-6)


def test_a_linear_regression_has_a_closed_form(tmp_path):
    study = regression_study(tmp_path, make=lambda: Linear(5))
    found = explain(study, reference="zero")
    weights = 2.0 * study.ensemble.states["layer.weight"][:, 0]
    scaling = study.ensemble.scalings["genes"]
    with opened(study) as dataset:
        genes = dataset.inputs("genes")
    # From raw zero, z - z_ref = x / scale.
    expected = np.abs(weights) * np.abs(genes / scaling.scale).mean(axis=0)
    np.testing.assert_allclose(found["integrated_gradients"].all["magnitude"][:, 0], expected, rtol=1e-5)
    assert found["integrated_gradients"].gap.max() < 1e-5
    assert found["integrated_gradients"].own_class is None


def test_a_network_that_cannot_be_stacked(tmp_path):
    class Series(Recurrent):
        def forward(self, genes, **auxiliary):
            return super().forward(genes.unflatten(1, (2, 4)))

    study = regression_study(tmp_path, features=8, make=Series)
    names = [name for name in OWN if not name.startswith("deeplift")]
    found = explain(study, names)
    assert (found["integrated_gradients"].gap / (found["integrated_gradients"].scale + 1e-3)).max() < 1e-2
    for name in names:
        assert (found[name].all["magnitude"] > 0).all()
    with pytest.raises(ConsilienceError, match="deeplift cannot explain this network: DeepLIFT has no rule for .*lstm"):
        explain(study, ["saliency", "deeplift"])


def test_gradients_are_computed_once_for_all_methods(tmp_path, monkeypatch):
    study = votes_study(tmp_path, samples=30)
    function = batches.EnsembleFunction
    calls = []
    original = function.gradients

    def watched(self, inputs, auxiliary=None):
        calls.append(len(inputs[0]))
        return original(self, inputs, auxiliary)

    monkeypatch.setattr(function, "gradients", watched)
    explain(study, showcase=0)
    # The other call is the probe of how the network comes apart.
    assert [count for count in calls if count == 30] == [30]
    assert len(calls) == 2


@pytest.mark.parametrize("make", [Perceptron, Linear])
def test_shaps_explainers_go_the_same_way(tmp_path, make):
    pytest.importorskip("shap")
    study = regression_study(tmp_path, samples=16, make=lambda: make(5))
    found = explain(study, METHOD_NAMES)
    deep, own = found["shap_deep_explainer"], found["deeplift_shap"]
    for name in store.STATISTICS:
        np.testing.assert_allclose(deep.all[name], own.all[name], atol=1e-5)
    np.testing.assert_allclose(deep.scale, own.scale, atol=1e-6)
    assert deep.gap.max() < 1e-5
    gradient = found["shap_gradient_explainer"]
    assert gradient.reference == "3 training samples" and gradient.gap.shape == own.gap.shape
    if make is Linear:
        np.testing.assert_allclose(gradient.all["direction"], own.all["direction"], atol=1e-5)


def test_what_a_method_cannot_explain_is_refused(tmp_path):
    study = votes_study(tmp_path)
    with pytest.raises(ConsilienceError, match="shap's explainers take no auxiliary tensors; the network reads gate"):
        explain(study, ["shap_deep_explainer"])
    with pytest.raises(ConsilienceError, match="reference: blurred needs branches with two axes or more; vector has"):
        explain(study, ["occlusion"], reference="blurred")


@pytest.mark.parametrize("numbers", [1, 1000])
def test_batch_size_changes_nothing(tmp_path, monkeypatch, numbers):
    study = votes_study(tmp_path, samples=16)
    expected = explain(study, steps=6)
    monkeypatch.setattr(batches, "GRADIENT_NUMBERS", numbers)
    for method, found in explain(study, steps=6, internal_batch=17).items():
        for name in store.STATISTICS:
            np.testing.assert_allclose(found.all[name], expected[method].all[name], atol=1e-6, rtol=1e-6)
            np.testing.assert_allclose(found.own_class[name], expected[method].own_class[name], atol=1e-6, rtol=1e-6)


def test_two_runs_give_the_same_bytes(tmp_path):
    study = votes_study(tmp_path, samples=16)
    for name in ("a", "b"):
        for method, found in explain(study, steps=6).items():
            store.write(tmp_path / name / f"{method}.h5", found)
    for method in OWN:
        paths = [tmp_path / name / f"{method}.h5" for name in ("a", "b")]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_choice_of_samples_and_no_showcase(tmp_path):
    study = votes_study(tmp_path)
    found = explain(study, ["saliency"], maximum_samples=20, showcase=0)["saliency"]
    assert len(found.samples) == 20
    assert found.showcase is None


def test_own_references_are_used_by_name(tmp_path):
    study = regression_study(tmp_path, make=lambda: Linear(5))
    ones = {"ones": lambda dataset, rows, seed: {"genes": np.ones((len(rows), 5))}}
    found = explain(study, ["integrated_gradients"], ones, reference="ones")["integrated_gradients"]
    weights = 2.0 * study.ensemble.states["layer.weight"][:, 0]
    with opened(study) as dataset:
        genes = dataset.inputs("genes")
    expected = np.abs(weights) * np.abs((genes - 1) / study.ensemble.scalings["genes"].scale).mean(axis=0)
    np.testing.assert_allclose(found.all["magnitude"][:, 0], expected, rtol=1e-4)
    assert found.reference == "ones"


def test_mean_attributions_keep_their_own_sign(tmp_path):
    """Of a linear network from raw zero they are weight times mean input, on the network's scale."""
    study = regression_study(tmp_path, make=lambda: Linear(5))
    found = explain(study, ["integrated_gradients", "deeplift", "saliency"], reference="zero")
    weights, scaling = 2.0 * study.ensemble.states["layer.weight"][:, 0], study.ensemble.scalings["genes"]
    with opened(study) as dataset:
        expected = weights * (dataset.inputs("genes") / scaling.scale).mean(axis=0)
    assert (expected < 0).any() and (expected > 0).any()
    for name in ("integrated_gradients", "deeplift"):
        np.testing.assert_allclose(found[name].all["mean_attribution"][:, 0], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found["saliency"].all["mean_attribution"], found["saliency"].all["magnitude"])


def test_a_method_s_own_reference_goes_into_its_file(tmp_path):
    study = regression_study(tmp_path)
    names = ["integrated_gradients", "integrated_gradients_from_mean"]
    found = explain(study, names, reference="zero")
    assert [one.reference for one in found.values()] == ["zero", "mean"]
    expected = explain(study, names[:1], reference="mean")["integrated_gradients"]
    np.testing.assert_allclose(found[names[1]].all["magnitude"], expected.all["magnitude"], rtol=1e-6)
    np.testing.assert_allclose(found[names[1]].gap, expected.gap, atol=1e-6)
    assert not np.allclose(found[names[0]].all["magnitude"], expected.all["magnitude"])


@pytest.mark.parametrize("outputs", [2, 3])
def test_the_showcase_may_be_of_confident_samples_alone(tmp_path, outputs):
    study = votes_study(tmp_path, samples=80, outputs=outputs)
    with opened(study) as dataset:
        labels, ids = dataset.labels, dataset.samples["id"].to_numpy()
        samples = [Sample(study, dataset, row) for row in range(len(dataset))]
    networks = list(single_networks(study, TwoBranch))
    logits = torch.stack([torch.cat([m(*s.parts, **s.auxiliary) for s in samples]) for m in networks])
    probabilities = logits.softmax(dim=2).mean(dim=0).detach().numpy()
    test = (study.split["role"] == "test").to_numpy()
    right = probabilities.argmax(axis=1) == labels
    least = float(np.median(probabilities.max(axis=1)[test & right])) + 1e-6
    expected = set(ids[test & right & (probabilities.max(axis=1) > least)])
    assert 0 < len(expected) < test.sum()
    found = explain(study, ["saliency"], showcase=1000, showcase_confidence=least)["saliency"]
    assert set(found.showcase["samples"]) == expected
    assert found.showcase["image"].shape[2] == len(expected)
    none = explain(study, ["saliency"], showcase=1000, showcase_confidence=0.999999)["saliency"]
    assert none.showcase is None


def test_the_module_is_left_in_its_mode(tmp_path):
    study = votes_study(tmp_path)
    study.module.train()
    explain(study, ["saliency"])
    assert study.module.training


def test_members_are_told_apart(tmp_path):
    study = regression_study(tmp_path)
    members = [Member(0, 4), Member(1, 5, "half:0", 3)]
    study.ensemble = dataclasses.replace(study.ensemble, members=members)
    table = explain(study, ["saliency"])["saliency"].members
    assert table.to_dict("list") == {"member": [0, 1], "seed": [4, 5], "rows": ["all", "half:0"], "permuted": [0, 3]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axis": "0"}, "model small was trained on other features, or on these in another"),
        ({"task": "classification"}, "model small has task classification, the dataset votes"),
        ({"branches": {"image": (1, 4, 4)}}, r"model small has branches \[\('image', \(1, 4, 4\)\)\], the dataset"),
        ({"outputs": 4}, "model small has outputs 4, the dataset 3"),
    ],
)
def test_an_ensemble_of_other_data_is_refused(tmp_path, change, message):
    study = votes_study(tmp_path)
    study.ensemble = dataclasses.replace(study.ensemble, **change)
    with pytest.raises(ConsilienceError, match=message):
        explain(study)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda split: split.iloc[:-1], "has 40 samples, the split 39"),
        (lambda split: split.iloc[::-1].reset_index(drop=True), "row 0 is sample 'sample_0' in .*'sample_39' in the"),
    ],
)
def test_a_split_of_other_samples_is_refused(tmp_path, change, message):
    study = votes_study(tmp_path)
    with pytest.raises(ConsilienceError, match=message):
        explain(dataclasses.replace(study, split=change(study.split)))


def test_a_class_that_is_not_explained_is_refused(tmp_path):
    study = votes_study(tmp_path)
    with pytest.raises(ConsilienceError, match="has no sample among the 1 explained; take more roles"):
        explain(study, maximum_samples=1)


def test_an_unknown_method_is_refused(tmp_path):
    with pytest.raises(ConsilienceError, match=r"'saliancy' is not known.*nearest: saliency"):
        explain(votes_study(tmp_path), ["saliancy"])


def test_the_mean_reference_is_that_of_the_training_role_alone(tmp_path):
    """The roles' means differ here, so that a reference over all rows would be seen."""
    study = votes_study(tmp_path)
    with opened(study) as dataset:
        rows = np.flatnonzero((study.split["role"] == "train").to_numpy())
        (train, *_), _ = scaled_inputs(dataset, study.ensemble.scalings, rows)
        (every, *_), _ = scaled_inputs(dataset, study.ensemble.scalings)
    assert np.abs(train.mean(axis=0) - every.mean(axis=0)).max() > 0.05
    swapped = study.split.assign(role=np.where(study.split["role"] == "train", "test", "train"))
    real = explain(study, ["integrated_gradients"], reference="mean")["integrated_gradients"]
    other = explain(dataclasses.replace(study, split=swapped), ["integrated_gradients"], reference="mean")
    assert np.abs(real.all["magnitude"] - other["integrated_gradients"].all["magnitude"]).max() > 1e-4
