import copy
import dataclasses

import captum.attr
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from consilience.attribution import api
from consilience.attribution.api import Explainer
from consilience.attribution.explain import explain_model
from consilience.attribution.methods import Method
from consilience.attribution.names import MethodFacts
from consilience.attribution.targets import PredictedClass, TrueClass
from consilience.errors import ConsilienceError
from consilience.files import write_table
from consilience.training.members import Member
from tests.unit.attribution_examples import (
    Linear,
    Perceptron,
    Recurrent,
    ensemble_of,
    opened,
    regression_study,
    votes_study,
)

CLASSES = ["left", "middle", "right"]


def saved(study):
    """Write a study's ensemble and split beside its dataset, and return how to load them."""
    folder = study.path.parent
    study.ensemble.save(folder / "ensemble.safetensors")
    write_table(folder / "split.tsv", study.split)
    return folder / "ensemble.safetensors", study.path, lambda specification, context: copy.deepcopy(study.module)


def given(study, rows=None):
    """Return what a study's dataset gives an explainer."""
    with opened(study) as dataset:
        inputs = {name: dataset.inputs(name, rows) for name in dataset.branches}
        masks = {f"mask_{name}": dataset.mask(name, rows) for name in dataset.branches}
        auxiliary = dataset.auxiliary(rows) | {name: mask for name, mask in masks.items() if mask is not None}
        return inputs, auxiliary, dataset.samples["id"].astype(str).to_numpy(), dataset.labels


def explainer_of(make=lambda: Perceptron(4, 3), members=2, rows=20, dtype=torch.float32, **settings):
    modules, _ = ensemble_of(make, members, dtype=dtype)
    background = torch.randn(rows, 4, generator=torch.Generator().manual_seed(1), dtype=dtype) * torch.tensor(
        [0.5, 1, 2, 3], dtype=dtype
    )
    settings = {"task": "classification", "outputs": CLASSES} | settings
    return modules, background, Explainer(modules, background, **settings)


def some(samples=7, *shape, seed=2, dtype=torch.float32):
    return torch.randn(samples, *(shape or (4,)), generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("reference", ["mean", "zero"])
def test_a_loaded_ensemble_gives_what_the_workflow_gives(tmp_path, reference):
    study = votes_study(tmp_path)
    explainer = Explainer.load(*saved(study), background=6, seed=3)
    inputs, auxiliary, ids, labels = given(study)
    methods = ["saliency", "integrated_gradients", "smoothgrad", "expected_gradients", "occlusion"]
    settings = {"reference": reference, "draws": 3}
    with opened(study) as dataset:
        expected = explain_model(
            dataset, study.split, study.ensemble, study.module, methods,
            {**settings, "background": 6}, seed=3,
        )  # fmt: skip
    for method, other in expected.items():
        plain = {**settings, "auxiliary": auxiliary, "samples": ids, "seed": 3}
        found = explainer.attribute(inputs, method, **plain)
        assert (found.targets, found.samples) == (other.targets, other.samples)
        assert found.compared_with == other.reference
        assert found.features["name"].tolist() == list("abcdef")
        np.testing.assert_allclose(found.magnitude, other.all["magnitude"], atol=1e-6)
        np.testing.assert_allclose(found.direction, other.all["direction"], atol=1e-6)
        assert (found.gap is None) == (other.gap is None)
        if other.gap is not None:
            np.testing.assert_allclose(found.gap["gap"], other.gap.ravel(), atol=1e-6)
            np.testing.assert_allclose(found.gap["change"], other.scale.ravel(), atol=1e-6)
        own = explainer.attribute(inputs, method, target="right", **plain).magnitude
        np.testing.assert_allclose(own[:, 0], other.all["magnitude"][:, 2], atol=1e-6)
        of_class = labels == 1
        part = {name: values[of_class] for name, values in inputs.items()}
        plain |= {"auxiliary": {n: v[of_class] for n, v in auxiliary.items()}, "samples": ids[of_class]}
        own = explainer.attribute(part, method, target=TrueClass(labels[of_class]), **plain)
        np.testing.assert_allclose(own.magnitude[:, 0], other.own_class["magnitude"][:, 1], atol=1e-6)
        assert own.classes == ["middle"] * of_class.sum()


def test_members_on_permuted_labels_are_left_out(tmp_path):
    study = regression_study(tmp_path)
    study.ensemble = dataclasses.replace(study.ensemble, members=[Member(0, 0, "all", 1), Member(1, 1)])
    inputs = given_genes(study)
    found = Explainer.load(*saved(study)).attribute(inputs, "saliency", per_member=True)
    assert found.arrays["genes"].shape == (1, 1, 30, 5)
    study.ensemble = dataclasses.replace(study.ensemble, members=[Member(0, 0), Member(1, 1)])
    both = Explainer.load(*saved(study)).attribute(inputs, "saliency", per_member=True)
    np.testing.assert_allclose(found.arrays["genes"][0], both.arrays["genes"][1], atol=1e-6)
    assert np.abs(both.arrays["genes"][0] - both.arrays["genes"][1]).max() > 0.05
    study.ensemble = dataclasses.replace(study.ensemble, members=[Member(0, 0, "all", 1), Member(1, 1, "all", 2)])
    with pytest.raises(ConsilienceError, match="model small: no member was trained on real labels"):
        Explainer.load(*saved(study))


def given_genes(study):
    with opened(study) as dataset:
        return dataset.inputs("genes")


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    study = regression_study(tmp_path)
    arguments = saved(dataclasses.replace(study, ensemble=dataclasses.replace(study.ensemble, axis="0")))
    with pytest.raises(ConsilienceError, match="model small was trained on other features"):
        Explainer.load(*arguments)
    arguments = saved(study)
    write_table(tmp_path / "other.tsv", study.split.iloc[1:])
    with pytest.raises(ConsilienceError, match="has 30 samples, the split 29"):
        Explainer.load(*arguments, split=tmp_path / "other.tsv")


def test_two_classes_have_both_names(tmp_path):
    study = votes_study(tmp_path, outputs=2)
    explainer = Explainer.load(*saved(study))
    inputs, auxiliary, _, _ = given(study)
    every = explainer.attribute(inputs, auxiliary=auxiliary)
    left = explainer.attribute(inputs, auxiliary=auxiliary, target="left")
    assert (every.targets, left.targets) == (["middle"], ["left"])
    for name, values in every.arrays.items():
        np.testing.assert_allclose(left.arrays[name], -values, atol=1e-7)


@pytest.mark.filterwarnings("ignore:Input Tensor")
@pytest.mark.parametrize("target", [None, "middle", ("right", "left")])
def test_own_networks_with_two_branches_are_captums(target):
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.image, self.vector, self.head = nn.Conv2d(1, 2, 2), nn.Linear(3, 5), nn.Linear(13, 3)

        def forward(self, image, vector):
            parts = [torch.tanh(self.image(image)).flatten(1), torch.tanh(self.vector(vector))]
            return self.head(torch.cat(parts, dim=1))

    modules, _ = ensemble_of(Joined, 2)
    background = {"image": some(9, 1, 3, 3), "vector": some(9, 3)}
    explainer = Explainer(modules, background, task="classification", outputs=CLASSES)
    inputs = (some(6, 1, 3, 3, seed=3), some(6, 3, seed=4))
    found = explainer.attribute(inputs, target=target, per_member=True)
    rows = {None: np.eye(3) - 1 / 3, "middle": [[-1 / 3, 2 / 3, -1 / 3]], ("right", "left"): [[-1, 0, 1]]}[target]
    for member, module in enumerate(modules):
        for place, row in enumerate(torch.as_tensor(np.asarray(rows), dtype=torch.float32)):
            expected = captum.attr.IntegratedGradients(lambda *x, m=module, r=row: m(*x) @ r).attribute(
                inputs, tuple(part.mean(dim=0, keepdim=True) for part in background.values()), n_steps=50
            )
            for name, part in zip(background, expected, strict=True):
                np.testing.assert_allclose(found.arrays[name][member, place], part.detach(), atol=1e-5)
    mean = explainer.attribute(inputs, target=target)
    for name, values in found.arrays.items():
        np.testing.assert_allclose(mean.arrays[name], values.mean(axis=0), atol=1e-7)


def test_the_table_ranks_features_of_a_linear_network():
    weights = torch.tensor([1.0, -3.0, 0.5, 0.0])

    def make():
        module = Linear(4)
        nn.init.constant_(module.layer.weight, 0)
        module.layer.weight.data[0] = weights
        return module

    _, background, explainer = explainer_of(make, 1, task="regression", outputs=["dose"], features=list("abcd"))
    inputs = some(50)
    found = explainer.attribute(inputs.numpy(), "integrated_gradients", reference="zero")
    table = found.table()
    magnitude = (weights * inputs).abs().mean(dim=0)
    order = magnitude.argsort(descending=True).tolist()
    assert table["feature"].tolist() == [list("abcd")[place] for place in order]
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert set(table["target"]) == {"dose"}
    assert set(table["branch"]) == {"inputs"}
    rise = weights * background.std(dim=0, correction=0)
    for name, values in {
        "magnitude": magnitude,
        "direction": rise,
        "average_attribution": weights.sign() * magnitude,
        "mean_attribution": (weights * inputs).mean(dim=0),
    }.items():
        np.testing.assert_allclose(table[name], values[order], atol=1e-6)
    assert found.table(top=2).equals(table.head(2))
    assert found.gap["gap"].max() < 1e-5 < found.gap["change"].max()
    assert explainer.attribute(inputs, "saliency").gap is None


def test_a_row_of_the_table_for_every_target_and_feature():
    _, _, explainer = explainer_of(units=np.array([1, 0, -1, 1]), features=["pair", "wide"])
    found = explainer.attribute(some(), "gradient_x_input")
    table = found.table()
    assert table["target"].tolist() == [name for name in CLASSES for _ in range(2)]
    every = explainer.attribute(some(), "gradient_x_input", per_member=True).arrays["inputs"]
    wide = np.abs(every[..., [0, 3]].sum(axis=-1)).mean(axis=(0, 2))
    np.testing.assert_allclose(table[table["feature"] == "wide"]["magnitude"], wide, rtol=1e-5)


def test_neither_batches_nor_order_nor_company_change_anything(monkeypatch):
    _, _, explainer = explainer_of()
    inputs, order = some(12), np.random.default_rng(0).permutation(12)
    for method in ("smoothgrad", "expected_gradients", "integrated_gradients", "occlusion"):
        for rule in (None, PredictedClass()):
            settings = {"reference": "sample", "target": rule, "draws": 3}
            expected = explainer.attribute(inputs, method, **settings)
            moved = explainer.attribute(inputs[order], method, **settings)
            few = explainer.attribute(inputs, method, **settings, internal_batch=5)
            alone = explainer.attribute(inputs[3:4], method, **settings)
            values = expected.arrays["inputs"]
            np.testing.assert_allclose(moved.arrays["inputs"], values[:, order], atol=1e-6)
            np.testing.assert_allclose(few.arrays["inputs"], values, atol=1e-6)
            np.testing.assert_allclose(few.magnitude, expected.magnitude, atol=1e-6)
            np.testing.assert_allclose(alone.arrays["inputs"], values[:, 3:4], atol=1e-6)
    monkeypatch.setattr(api, "GRADIENT_NUMBERS", 1)
    parts = explainer.attribute(inputs, method, **settings)
    np.testing.assert_allclose(parts.arrays["inputs"], values, atol=1e-6)


def test_seeds_and_names_draw_random_numbers():
    _, _, explainer = explainer_of(lambda: Perceptron(4, 3, smooth=True))

    def noisy(**settings):
        return explainer.attribute(some(), "smoothgrad", draws=2, **settings).arrays["inputs"]

    assert np.array_equal(noisy(seed=1), noisy(seed=1))
    assert not np.array_equal(noisy(seed=1), noisy(seed=2))
    assert not np.array_equal(noisy(seed=1), noisy(seed=1, samples=list("abcdefg")))


def identity_network(shape):
    """Return a network whose integrated gradients are the inputs less the reference."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 1, bias=False)).eval()
    nn.init.ones_(module[1].weight)
    return module


def test_references_of_own_networks():
    background = some(20)
    explainer, inputs = Explainer(identity_network((4,)), background), some(30, seed=3)

    def reference(name, values=inputs):
        return values.numpy() - explainer.attribute(values, reference=name).arrays["inputs"][0]

    np.testing.assert_allclose(reference("mean"), np.tile(background.mean(dim=0), (30, 1)), atol=1e-6)
    np.testing.assert_allclose(reference("zero"), 0, atol=1e-6)
    np.testing.assert_allclose(reference(inputs.flip(0)), inputs.flip(0), atol=1e-6)
    np.testing.assert_allclose(reference(np.array([[1, 2, 3, 4]])), np.tile([1, 2, 3, 4], (30, 1)), atol=1e-6)
    near = np.abs(reference("sample")[:, None] - background.numpy()).max(axis=2)
    assert (near.min(axis=1) < 1e-6).all()
    assert len(set(near.argmin(axis=1))) > 5
    own = np.abs(reference("sample", background)[:, None] - background.numpy()).max(axis=2)
    assert (own.min(axis=1) < 1e-6).all()
    assert (own.argmin(axis=1) != np.arange(20)).all()


def test_a_blurred_reference():
    explainer, images = Explainer(identity_network((1, 8, 6)), some(5, 1, 8, 6)), some(3, 1, 8, 6, seed=3).numpy()
    found = images - explainer.attribute(images, reference="blurred", blur=0.2).arrays["inputs"][0]
    for image, blurred in zip(images, found, strict=True):
        np.testing.assert_allclose(blurred[0], gaussian_filter(image[0], [1.6, 1.2], mode="nearest"), atol=1e-5)
    with pytest.raises(ConsilienceError, match=r"reference: blurred needs branches with two axes or more; inputs has"):
        explainer_of()[2].attribute(some(), reference="blurred")


def test_the_reference_and_inputs_of_a_loaded_ensemble_are_unscaled(tmp_path):
    study = regression_study(tmp_path, make=lambda: Linear(5))
    explainer, genes = Explainer.load(*saved(study)), given_genes(study)
    weights = 2.0 * study.ensemble.states["layer.weight"][:, 0].mean(axis=0) / study.ensemble.scalings["genes"].scale
    for reference, start in [("zero", 0), (genes[:1], genes[:1]), ("mean", genes[:15].mean(axis=0))]:
        found = explainer.attribute(genes, reference=reference)
        np.testing.assert_allclose(found.arrays["genes"][0], weights * (genes - start), atol=1e-4)
        assert found.compared_with == (reference if isinstance(reference, str) else "given")


def test_double_precision_stays():
    _, _, explainer = explainer_of(dtype=torch.float64)
    found = explainer.attribute(some(dtype=torch.float64), "integrated_gradients")
    assert found.arrays["inputs"].dtype == np.float64
    assert found.gap["gap"].max() < 1e-10 < found.gap["change"].min()


def test_several_outputs_of_a_regression():
    _, _, explainer = explainer_of(task="regression", outputs=["height", "width", "depth"])
    every = explainer.attribute(some())
    difference = explainer.attribute(some(), target=("height", "depth"))
    assert (every.targets, difference.targets) == (["height", "width", "depth"], ["height - depth"])
    expected = every.arrays["inputs"][0] - every.arrays["inputs"][2]
    np.testing.assert_allclose(difference.arrays["inputs"][0], expected, atol=1e-6)


def test_networks_that_cannot_be_stacked_and_auxiliary_tensors():
    class Gated(Recurrent):
        def forward(self, series, *, gate):
            return super().forward(series) * gate

    modules, _ = ensemble_of(Gated, 2)
    explainer, gate = Explainer(modules, some(6, 3, 4)), some(5, 1, seed=8)
    inputs = some(5, 3, 4, seed=3).requires_grad_()
    found = explainer.attribute(inputs, "saliency", auxiliary={"gate": gate.numpy()})
    gradients = [torch.autograd.grad(module(inputs, gate=gate).sum(), inputs)[0].abs() for module in modules]
    np.testing.assert_allclose(found.arrays["inputs"][0], torch.stack(gradients).mean(dim=0), atol=1e-6)


class Gated(nn.Module):
    def forward(self, inputs, *, gate=None):
        gated = inputs if gate is None else inputs * gate
        return torch.relu(gated @ self.weights)

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.arange(1.0, 9.0).reshape(4, 2))


def test_auxiliary_tensors_may_come_and_go():
    explainer = Explainer(Gated().eval(), torch.zeros(2, 4), task="regression", outputs=["a", "b"])
    inputs, gate = torch.ones(3, 4), torch.tensor([[0.0], [1.0], [2.0]])
    plain = explainer.attribute(inputs, "gradient_x_input").arrays["inputs"]
    gated = explainer.attribute(inputs, "gradient_x_input", auxiliary={"gate": gate}).arrays["inputs"]
    np.testing.assert_allclose(gated, plain * gate.numpy(), atol=1e-6)


def test_what_makes_attributions_mean_less_is_said():
    class Single(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def forward(self, inputs):
            tokens = inputs[:, None]
            return self.layer((tokens @ tokens.mT).softmax(dim=-1) @ tokens)[:, 0]

    explainer = Explainer(Single().eval(), torch.zeros(2, 4), task="regression")
    with pytest.warns(UserWarning, match="attention over a single token"):
        explainer.attribute(torch.ones(3, 4), "saliency")


def test_what_happens_to_a_network_later_changes_nothing():
    modules, _, explainer = explainer_of()
    expected = explainer.attribute(some()).arrays["inputs"]
    for module in modules:
        module.train()
        module.layers[0].weight.data.zero_()
    assert np.array_equal(explainer.attribute(some()).arrays["inputs"], expected)


NAN = np.where(np.arange(28).reshape(7, 4) == 9, np.nan, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": np.ones((7, 5))}, r"inputs: branch inputs has shape \(7, 5\); expected \(samples, 4\)"),
        ({"inputs": np.ones(4)}, r"inputs: branch inputs has shape \(4,\); expected \(samples, 4\)"),
        ({"inputs": NAN}, r"inputs: branch inputs: sample 2 has nan at \[1\]; expected finite numbers"),
        ({"inputs": (NAN, NAN)}, "inputs: 2 given; the networks take 1: inputs"),
        ({"inputs": {"input": NAN}}, "inputs: no branch 'input'; the networks take: inputs; nearest: inputs"),
        ({"inputs": {}}, "inputs: branch inputs is missing; the networks take: inputs"),
        ({"inputs": np.ones((0, 4))}, "inputs: no samples"),
        ({"inputs": np.full((2, 4), "a")}, "inputs: branch inputs holds <U1; expected an array of numbers"),
        ({"method": "deeplit"}, "attribution method 'deeplit' is not known.*nearest: deeplift"),
        ({"reference": "median"}, "attribution reference 'median' is not known; known: mean, zero"),
        (
            {"reference": np.ones((2, 4))},
            r"the reference of branch 0 has shape \(2, 4\); expected \(1 or 7, \*\(4,\)\)",
        ),
        ({"reference": np.ones((1, 3))}, r"reference: branch inputs has shape \(1, 3\); expected \(samples, 4\)"),
        ({"target": "top"}, "target 'top' is not known; known: left, middle, right"),
        ({"samples": ["a"]}, "samples: 1 names for 7 samples"),
        ({"about": pd.DataFrame({"name": ["a", "b"]})}, "about: 2 rows for 7 samples"),
        ({"step": 3}, "attribution setting 'step' is not known; known: steps, draws"),
        ({"roles": ["test"]}, "attribution setting 'roles' is not known"),
        ({"steps": 0}, "attribution.steps is 0; expected a whole number of at least 1"),
        ({"auxiliary": {"gate": np.ones((6, 1))}}, r"inputs: as many samples in each are .*'inputs': 7, 'gate': 6"),
        ({"auxiliary": {"mask_inputs": np.ones((7, 4))}}, "auxiliary: mask_inputs holds torch.float64; expected bool"),
        (
            {"auxiliary": {"mask_inputs": np.ones((7, 3), bool)}},
            r"mask_inputs has shape \(7, 3\); expected \(samples, 4",
        ),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    _, _, explainer = explainer_of()
    with pytest.raises(ConsilienceError, match=message):
        explainer.attribute(**{"inputs": some(), **arguments})


def test_a_loaded_ensemble_names_its_auxiliary_tensors(tmp_path):
    study = votes_study(tmp_path)
    explainer = Explainer.load(*saved(study))
    inputs, auxiliary, _, _ = given(study)
    for change, message in [
        ({"gate": None}, "auxiliary: tensor gate is missing; the networks take: gate, mask_image"),
        ({"mask_image": None}, "auxiliary: tensor mask_image is missing"),
        ({"gates": auxiliary["gate"]}, "auxiliary: no tensor 'gates'.*nearest: gate"),
        ({"gate": np.ones((40, 2))}, r"auxiliary: gate has shape \(40, 2\); expected \(samples, 1\)"),
    ]:
        wrong = {name: values for name, values in (auxiliary | change).items() if values is not None}
        with pytest.raises(ConsilienceError, match=message):
            explainer.attribute(inputs, auxiliary=wrong)
    absent = {**inputs, "image": np.where(auxiliary["mask_image"], np.nan, inputs["image"])}
    found, expected = (explainer.attribute(one, auxiliary=auxiliary).arrays["image"] for one in (absent, inputs))
    assert np.array_equal(found, expected)
    assert (found[:, auxiliary["mask_image"]] == 0).all()


def test_what_is_masked_is_the_center_and_moves_nothing():
    """For a network that does not look at masks itself."""
    _, _, explainer = explainer_of(dtype=torch.float64)
    mask = np.random.default_rng(0).random((7, 4)) < 0.3
    inputs = np.where(mask, np.nan, some().numpy())
    for method in ("gradient_x_input", "integrated_gradients", "occlusion"):
        found = explainer.attribute(inputs, method, auxiliary={"mask_inputs": mask})
        assert (found.arrays["inputs"][:, mask] == 0).all()
        references = np.where(mask, 0, explainer.space.means[0].numpy())
        expected = explainer.attribute(np.where(mask, 0, inputs), method, reference=references)
        np.testing.assert_allclose(found.arrays["inputs"], expected.arrays["inputs"], atol=1e-12)
        assert found.gap is None or found.gap["gap"].max() < 1e-10


def networks(*modules, train=False):
    return [module.train(train) for module in modules]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"networks": [*networks(Linear(4)), Linear(4)]}, "networks: number 1 is in train mode; call its eval"),
        ({"networks": networks(Linear(4), Perceptron(4))}, "networks: number 1 is built otherwise than number 0"),
        ({"networks": networks(Perceptron(4), Perceptron(4, smooth=True))}, "number 1 is built otherwise"),
        ({"networks": []}, r"networks: expected a torch module or a list of them; given: \[\]"),
        ({"networks": print}, "networks: expected a torch module or a list of them; given"),
        ({"networks": nn.ReLU().eval()}, "the network has no parameters"),
        ({"task": "regresion"}, "task 'regresion' is not known.*nearest: regression"),
        ({"task": "classification"}, "classification needs two outputs or more"),
        ({"background": np.ones((1, 4))}, "background: one sample; expected two or more"),
        ({"background": NAN}, "background: branch inputs: sample 2 has nan"),
        ({"background": (np.ones((3, 4)), np.ones((2, 4)))}, "background: as many samples in each are expected"),
        ({"features": ["a"]}, "features: 1 names; the units number 4 features, up to 3"),
        ({"features": list("abca")}, "features: names must be unique; 'a' repeats"),
        ({"units": np.array([0, 2, 2, 2])}, "features: 2 names; the units number 2 features, up to 2"),
        ({"units": np.zeros(4)}, r"units: branch inputs has float64 of shape \(4,\); expected whole numbers"),
        ({"units": np.zeros((2, 2), int)}, r"units: branch inputs has int64 of shape \(2, 2\); expected .* \(4,\)"),
    ],
)
def test_networks_and_backgrounds_that_do_not_fit_are_refused(arguments, message):
    arguments = {
        "networks": networks(Linear(4)),
        "background": np.random.default_rng(0).normal(size=(9, 4)),
    } | arguments
    with pytest.raises(ConsilienceError, match=message):
        Explainer(arguments.pop("networks"), arguments.pop("background"), **arguments)


def test_outputs_that_are_not_as_said_are_refused():
    network = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1)).eval()
    explainer = Explainer(network, some(9), task="classification", outputs=CLASSES)
    with pytest.raises(ConsilienceError, match="the network's outputs are probabilities"):
        explainer.attribute(some())
    explainer = Explainer(network[0], some(9))
    with pytest.raises(ConsilienceError, match=r"outputs of shape \(1, 3\); expected \(samples, outputs\) = \(1, 1\)"):
        explainer.attribute(some(), "saliency")


def test_a_method_may_be_a_slice_s_own_or_name_its_reference():
    network, background = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval(), torch.randn(50, 4)
    explainer = Explainer(network, background, task="classification", outputs=["a", "b", "c"])
    samples = torch.randn(6, 4)
    named = explainer.attribute(samples, "integrated_gradients_from_zero")
    plain = explainer.attribute(samples, "integrated_gradients", reference="zero")
    np.testing.assert_array_equal(named.arrays["inputs"], plain.arrays["inputs"])
    with pytest.raises(ConsilienceError, match="'integrated_gradients_from_zero' names its reference; give no other"):
        explainer.attribute(samples, "integrated_gradients_from_zero", reference="mean")
    own = Method("own", lambda batch, settings: (batch.values_and_gradients[1][0] * 2,), MethodFacts())
    found = explainer.attribute(samples, own).arrays["inputs"]
    gradients = explainer.attribute(samples, "saliency").arrays["inputs"]
    np.testing.assert_allclose(np.abs(found), 2 * gradients, rtol=1e-6)
