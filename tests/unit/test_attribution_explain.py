import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from consilience.attribution import batches, methods, store
from consilience.attribution.explain import explain_model
from consilience.attribution.names import METHOD_NAMES
from consilience.errors import ConsilienceError
from consilience.scaling import scaled_inputs
from consilience.training.members import Member
from tests.unit.attribution_examples import (
    IMAGE_UNITS,
    VECTOR_UNITS,
    Linear,
    Recurrent,
    TwoBranch,
    finish,
    opened,
    regression_study,
    votes_study,
)

UNITS = {"image": IMAGE_UNITS, "vector": VECTOR_UNITS}


def explain(study, names=METHOD_NAMES, references=None, **settings):
    with opened(study) as dataset:
        return explain_model(
            dataset, study.split, study.ensemble, study.module, names, settings, seed=0, references=references
        )


def single_networks(study):
    """Yield every member by itself, loaded the plain way."""
    for member in range(len(study.ensemble.members)):
        module = TwoBranch(study.ensemble.outputs).eval()
        states = {name: torch.as_tensor(values[member]) for name, values in study.ensemble.states.items()}
        module.load_state_dict(states, strict=True)
        yield module


def gradient_at(module, target, parts, auxiliary):
    """Return the gradient of one centered logit, an array (points, *shape) a branch."""
    leaves = [part.clone().requires_grad_() for part in parts]
    outputs = module(*leaves, **auxiliary)
    (outputs[:, target] - outputs.mean(dim=1)).sum().backward()
    return [leaf.grad.numpy() for leaf in leaves]


def map_by_hand(method, module, target, parts, reference, auxiliary, steps=500):
    """Attribute one sample, an array (*shape) a branch; the path by the midpoint rule."""
    here = [values[0] for values in gradient_at(module, target, parts, auxiliary)]
    if method == "saliency":
        return [np.abs(values) for values in here]
    if method == "gradient_x_input":
        return [part[0].numpy() * values for part, values in zip(parts, here, strict=True)]
    along = (torch.arange(steps) + 0.5) / steps
    differences = [part - start for part, start in zip(parts, reference, strict=True)]
    path = [
        start + along.reshape(-1, *[1] * (start.ndim - 1)) * difference
        for start, difference in zip(reference, differences, strict=True)
    ]
    repeated = {name: values.repeat(steps, *[1] * (values.ndim - 1)) for name, values in auxiliary.items()}
    slopes = gradient_at(module, target, path, repeated)
    return [d[0].numpy() * slope.mean(axis=0) for d, slope in zip(differences, slopes, strict=True)]


def summed(maps, hidden):
    """Sum what is not hidden over the elements of each feature, one by one."""
    sums = np.zeros(6)
    for (name, units), values in zip(UNITS.items(), maps, strict=True):
        for index in np.ndindex(units.shape):
            if units[index] >= 0 and not hidden[name][index]:
                sums[units[index]] += values[index]
    return sums


def by_hand(study, method):
    """Attribute sample by sample from zero in raw units.

    Returns attributions, and gradient x spread / scale, both (members, targets, samples, features).
    """
    scalings = study.ensemble.scalings
    with opened(study) as dataset:
        inputs, auxiliary = scaled_inputs(dataset, scalings)
        masks = {"image": dataset.mask("image"), "vector": np.zeros((len(dataset), 6), bool)}
    shape = (len(study.ensemble.members), study.ensemble.outputs, len(inputs[0]), 6)
    attributions, rises = np.zeros(shape), np.zeros(shape)
    for member, module in enumerate(single_networks(study)):
        for target, sample in np.ndindex(shape[1:3]):
            one = {name: torch.as_tensor(values[[sample]]) for name, values in auxiliary.items()}
            parts = [torch.as_tensor(values[[sample]]) for values in inputs]
            hidden = {name: mask[sample] for name, mask in masks.items()}
            reference = [
                torch.where(torch.as_tensor(hidden[name]), part, torch.as_tensor(-scaling.center / scaling.scale))
                for (name, scaling), part in zip(scalings.items(), parts, strict=True)
            ]
            maps = map_by_hand(method, module, target, parts, reference, one)
            attributions[member, target, sample] = summed(maps, hidden)
            rise = [
                slope[0] * scaling.spread / scaling.scale
                for slope, scaling in zip(gradient_at(module, target, parts, one), scalings.values(), strict=True)
            ]
            rises[member, target, sample] = summed(rise, hidden)
    return attributions, rises


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_statistics_are_those_of_a_plain_loop(tmp_path, method):
    study = votes_study(tmp_path, samples=14)
    found = explain(study, [method], reference="zero")[method]
    attributions, rises = by_hand(study, method)
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
        complete = method == "integrated_gradients"
        assert (read.complete, read.reference) == (complete, "mean" if complete else "")
        assert (read.gap is not None) == complete


def test_integrated_gradients_carry_their_gap(tmp_path):
    study = votes_study(tmp_path)
    found = explain(study, ["integrated_gradients"])["integrated_gradients"]
    assert found.gap.shape == (2, 3, len(found.samples))
    assert found.gap.max() < 1e-5 < 0.01 < found.scale.max()
    rough = explain(study, ["integrated_gradients"], steps=1)["integrated_gradients"]
    assert rough.gap.max() > 1e-3
    np.testing.assert_allclose(rough.scale, found.scale, atol=1e-7)


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


class Careless(TwoBranch):
    """Reads masked elements as if they were there."""

    def forward(self, image, vector, *, gate, mask_image, **auxiliary):
        return super().forward(image, vector, gate=gate, mask_image=torch.zeros_like(mask_image))


@pytest.mark.parametrize("reference", ["mean", "zero"])
def test_masked_elements_get_exactly_zero(tmp_path, reference):
    study = votes_study(tmp_path)
    study = finish(study.path, study.split, "votes", 3, Careless)
    found = explain(study, reference=reference)
    order = [study.split["sample"].tolist().index(name) for name in found["saliency"].showcase["samples"]]
    assert (study.split["role"][order] == "test").all()
    with opened(study) as dataset:
        mask = dataset.mask("image", np.array(order))
    for method in METHOD_NAMES:
        maps = found[method].showcase["image"]
        assert maps.shape == (2, 3, 8, 1, 4, 4)
        assert (maps[:, :, mask] == 0).all()
        assert (maps[:, :, ~mask] != 0).any()
    assert found["integrated_gradients"].gap.max() < 1e-5


def test_masked_elements_get_zero_whatever_the_method_says(tmp_path, monkeypatch):
    def ones(function, inputs, auxiliary, references, settings):
        return tuple(tensor.new_ones((function.members, function.targets, *tensor.shape)) for tensor in inputs)

    monkeypatch.setitem(methods.METHODS, "saliency", methods.Method("saliency", ones, False, False))
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
    found = explain(study)
    assert (found["integrated_gradients"].gap / (found["integrated_gradients"].scale + 1e-3)).max() < 1e-2
    assert (found["saliency"].all["magnitude"] > 0).all()


def test_gradients_are_computed_once_for_all_methods(tmp_path, monkeypatch):
    study = votes_study(tmp_path, samples=30)
    function = batches.EnsembleFunction
    calls = []
    original = function.gradients

    def watched(self, inputs, auxiliary=None, reduce=None):
        calls.append(reduce is None)
        return original(self, inputs, auxiliary, reduce)

    monkeypatch.setattr(function, "gradients", watched)
    explain(study, showcase=0)
    assert sum(calls) == 1


@pytest.mark.parametrize("numbers", [1, 1000])
def test_batch_size_changes_nothing(tmp_path, monkeypatch, numbers):
    study = votes_study(tmp_path)
    expected = explain(study)
    monkeypatch.setattr(batches, "GRADIENT_NUMBERS", numbers)
    for method, found in explain(study, internal_batch=17).items():
        for name in store.STATISTICS:
            np.testing.assert_allclose(found.all[name], expected[method].all[name], atol=1e-6, rtol=1e-6)
            np.testing.assert_allclose(found.own_class[name], expected[method].own_class[name], atol=1e-6, rtol=1e-6)


def test_two_runs_give_the_same_bytes(tmp_path):
    study = votes_study(tmp_path)
    for name in ("a", "b"):
        for method, found in explain(study).items():
            store.write(tmp_path / name / f"{method}.h5", found)
    for method in METHOD_NAMES:
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
