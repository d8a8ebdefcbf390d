import dataclasses
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, GradientShap, InputXGradient, IntegratedGradients, NoiseTunnel, Saliency
from torch import nn

from consilience.attribution import methods
from consilience.attribution.methods import METHODS, Own, method_named
from consilience.attribution.names import METHOD_FACTS, METHOD_NAMES, complete_settings
from consilience.attribution.paths import quadrature
from consilience.attribution.pieces import pieces
from consilience.attribution.sampling import noise, places
from consilience.errors import ConsilienceError
from tests.unit.attribution_examples import (
    ARCHITECTURES,
    FeedForward,
    Linear,
    TwoBranch,
    batch_of,
    case,
    drawn,
    each_target,
    function_of,
)

DOUBLE = torch.float64
DRAWS = 6
OWN = tuple(name for name in METHOD_NAMES if not name.startswith("shap_"))
# Those whose functions have a DeepLIFT rule.
RULED = tuple(name for name in ARCHITECTURES if name != "series")
EXACT = ("perceptron", "residual", "joined", "two_classes")


FEW = {"steps": 8, "draws": 3}


def attribute(name, batch, **settings):
    return batch.attribute(METHODS[name], settings)


def fits(name, architecture):
    return architecture in RULED or not name.startswith("deeplift")


def expanded(batch):
    return tuple(part.expand_as(tensor) for part, tensor in zip(batch.references, batch.inputs, strict=True))


def feature_masks(batch):
    """Number the features; what is of none is one more, which captum may ablate and nobody reads."""
    return tuple(torch.where(part < 0, batch.sums.features, part)[None] for part in batch.sums.by_branch)


class Smoothed:
    """captum's SmoothGrad, given the noise that is ours."""

    def __init__(self, explained, batch, patch):
        self.tunnel = NoiseTunnel(Saliency(explained))
        copies = tuple(torch.stack(parts, dim=1) for parts in zip(*noise(batch, 0.15, DRAWS), strict=True))
        drawn = iter(
            [(copy - tensor[:, None]).flatten(0, 1) for copy, tensor in zip(copies, batch.inputs, strict=True)]
        )
        patch.setattr(torch, "normal", lambda mean, deviations: next(drawn))

    def attribute(self, inputs, **extra):
        return self.tunnel.attribute(inputs, nt_type="smoothgrad", nt_samples=DRAWS, abs=False, **extra)


class Expected:
    """captum's GradientSHAP, given the places and the background rows that are ours."""

    def __init__(self, explained, batch, patch):
        self.explainer, self.background = GradientShap(explained), batch.background
        rows = len(batch.background[0])
        own = places(batch.keys, rows)
        # A background of its own for each branch would be drawn otherwise.
        patch.setattr(np.random, "choice", lambda _, count: np.tile(np.arange(rows), count // rows))
        patch.setattr(np.random, "uniform", lambda low, high, count: own.ravel())

    def attribute(self, inputs, **extra):
        return self.explainer.attribute(inputs, self.background, n_samples=len(self.background[0]), **extra)


def by_captum(method, explained, batch, patch):
    """Attribute one target of one member by captum, all branches jointly; None for a method that captum lacks."""
    given = {"additional_forward_args": tuple(batch.auxiliary.values()) or None}
    if method == "integrated_gradients":
        explainer, given["baselines"], given["n_steps"] = IntegratedGradients(explained), expanded(batch), 50
    elif method == "occlusion":
        explainer, given["baselines"] = FeatureAblation(explained), expanded(batch)
        given["feature_mask"] = feature_masks(batch)
    elif method == "smoothgrad":
        explainer = Smoothed(explained, batch, patch)
    elif method == "expected_gradients":
        explainer = Expected(explained, batch, patch)
    else:
        explainer = {"saliency": Saliency, "gradient_x_input": InputXGradient}[method](explained)
    leaves = tuple(tensor.clone().requires_grad_() for tensor in batch.inputs)
    return tuple(part.detach() for part in explainer.attribute(leaves, **given))


def per_element(batch, found):
    """Make of captum's ablation, the whole effect on every element of a feature, a share for each element."""
    counts = torch.bincount(torch.cat([part.flatten() for part in feature_masks(batch)]))
    return tuple(
        torch.where(units < 0, 0, part / counts[mask[0]])
        for part, units, mask in zip(found, batch.sums.by_branch, feature_masks(batch), strict=True)
    )


@pytest.mark.parametrize(
    "method",
    ["saliency", "gradient_x_input", "integrated_gradients", "smoothgrad", "expected_gradients", "occlusion"],
)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (DOUBLE, 1e-8)])
def test_captum_agrees(monkeypatch, architecture, method, dtype, tolerance):
    modules, batch = case(architecture, dtype, samples=4)
    attributions = attribute(method, batch, steps=50, exact=False, draws=DRAWS, noise=0.15)
    largest = max(float(part.abs().max()) for part in attributions)
    assert largest > 0.01
    for member, target, explained in each_target(modules, batch):
        with monkeypatch.context() as patch:
            expected = by_captum(method, explained, batch, patch)
        if method == "occlusion":
            expected = per_element(batch, expected)
        expected = batch.hide(expected)
        for own, part in zip(attributions, expected, strict=True):
            assert own[member, target].shape == part.shape
            assert float((own[member, target] - part).abs().max()) <= tolerance * max(1.0, largest)


@pytest.mark.parametrize("architecture", ["residual", "joined"])
def test_exact_integrated_gradients_are_captums_with_many_steps(architecture):
    modules, batch = case(architecture, DOUBLE, samples=1)
    assert pieces(batch.split, batch.split.project(batch.inputs, {}).cuts, {}) is not None
    attributions = attribute("integrated_gradients", batch)
    explained = next(part for member, target, part in each_target(modules, batch) if member == target == 0)
    expected = IntegratedGradients(explained).attribute(
        batch.inputs, expanded(batch), n_steps=20_000, method="riemann_middle"
    )
    for own, part in zip(attributions, expected, strict=True):
        assert float((own[0, 0] - part).abs().max()) <= 1e-5 * max(1.0, float(part.abs().max()))


@pytest.mark.parametrize("architecture", EXACT)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (DOUBLE, 1e-10)])
def test_exact_integrated_gradients_are_complete(architecture, dtype, tolerance):
    _, batch = case(architecture, dtype)
    total = sum(part.flatten(3).sum(3, dtype=DOUBLE) for part in attribute("integrated_gradients", batch))
    rise = batch.rise()
    assert float((total - rise).abs().max()) <= tolerance * max(1.0, float(rise.abs().max()))
    # A quadrature with the default's steps is not, so that the bends are what makes it so.
    rough = sum(part.flatten(3).sum(3) for part in attribute("integrated_gradients", batch, exact=False))
    assert float((rough - rise).abs().max()) > 10 * tolerance


def test_linear_functions_have_closed_forms():
    modules, function = function_of(lambda: Linear(6), scale=3.0)
    inputs, reference, background = drawn(0, 4, 6), drawn(1, 1, 6), drawn(2, 5, 6)
    units = [np.array([0, 1, 1, 2, -1, 0])]
    batch = batch_of(function, (inputs,), {}, (reference,), (background,), units)
    for member, module in enumerate(modules):
        weights = 3.0 * module.layer.weight.detach()
        rises = weights * (inputs - reference)
        first, second = rises[:, [0, 5]].sum(1) / 2, rises[:, [1, 2]].sum(1) / 2
        zero = torch.zeros(4)
        expected = {
            "saliency": weights.abs().expand(4, 6),
            "gradient_x_input": weights * inputs,
            "integrated_gradients": rises,
            "smoothgrad": weights.expand(4, 6),
            "expected_gradients": weights * (inputs - background.mean(dim=0)),
            "deeplift": rises,
            "deeplift_shap": weights * (inputs - background.mean(dim=0)),
            "occlusion": torch.stack([first, second, second, rises[:, 3], zero, first], dim=1),
        }
        assert tuple(expected) == tuple(name for name in expected if name in OWN) and len(expected) == len(OWN)
        for method, values in expected.items():
            found = attribute(method, batch)[0][member, 0]
            assert torch.allclose(found, values, atol=2e-6), method


@pytest.mark.parametrize("method", OWN)
@pytest.mark.parametrize("architecture", ["residual", "convolutional", "two_branches", "series"])
def test_internal_batch_changes_no_digit(architecture, method):
    if not fits(method, architecture):
        return
    _, batch = case(architecture)
    expected = attribute(method, batch, internal_batch=512, **FEW)
    for internal_batch in (1, 10_000):
        own = attribute(method, batch, internal_batch=internal_batch, **FEW)
        for part, other in zip(own, expected, strict=True):
            assert torch.allclose(part, other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("internal_batch", [1, 13, 100, 512])
def test_internal_batch_bounds_the_rows(monkeypatch, internal_batch):
    _, batch = case("two_branches")
    seen = []
    forward = TwoBranch.forward

    def watched(self, image, vector, **auxiliary):
        seen.append(len(image))
        return forward(self, image, vector, **auxiliary)

    monkeypatch.setattr(TwoBranch, "forward", watched)
    for method in ("integrated_gradients", "occlusion"):
        # Occlusion asks for the values of the samples as they are, too.
        seen.clear()
        attribute(method, batch, internal_batch=internal_batch, steps=20)
        assert max(seen) <= max(internal_batch, 5)
        assert max(seen) >= min(internal_batch, 6)


@pytest.mark.parametrize("method", OWN)
@pytest.mark.parametrize("architecture", ["residual", "joined", "convolutional", "two_branches", "series"])
def test_a_sample_does_not_depend_on_its_company(architecture, method):
    if not fits(method, architecture):
        return
    _, batch = case(architecture)
    every = attribute(method, batch, **FEW)
    for rows in (torch.tensor([0]), torch.tensor([4, 3, 1])):
        part = batch_of(
            batch.function,
            tuple(tensor[rows] for tensor in batch.inputs),
            {name: tensor[rows] for name, tensor in batch.auxiliary.items()},
            tuple(tensor if len(tensor) == 1 else tensor[rows] for tensor in batch.references),
            batch.background,
            masks=[None if mask is None else mask[rows] for mask in batch.masks],
            keys=[batch.keys[row] for row in rows],
            sums=batch.sums,
        )
        for own, other in zip(attribute(method, part, **FEW), every, strict=True):
            assert torch.allclose(own, other[:, :, rows], atol=1e-6), method


@pytest.mark.parametrize("method", OWN)
@pytest.mark.parametrize("architecture", ["residual", "convolutional", "two_classes"])
def test_members_do_not_depend_on_each_other(monkeypatch, architecture, method):
    """Taken together, in parts of memory's size, or one by one in a loop."""
    _, batch = case(architecture)
    expected = attribute(method, batch, **FEW)
    monkeypatch.setitem(type(batch.function).parts.__globals__["NUMBERS_AT_ONCE"], "cpu", 1500)
    in_parts = attribute(method, batch, **FEW)
    batch.function.stackable = False
    for own in (in_parts, attribute(method, batch, **FEW)):
        for part, other in zip(own, expected, strict=True):
            assert torch.allclose(part, other, atol=1e-6)


def test_the_quadrature_is_exact_for_polynomials():
    points, weights = quadrature(5, torch.ones(1, dtype=DOUBLE))
    for power in range(10):
        assert float((weights * points**power).sum()) == pytest.approx(1 / (power + 1), abs=1e-14)


def test_completeness_on_a_smooth_network():
    _, function = function_of(lambda: TwoBranch(3), "votes", 3, dtype=DOUBLE)
    inputs = tuple(drawn(n, 6, *shape, dtype=DOUBLE) for n, shape in enumerate(((1, 4, 4), (6,))))
    references = tuple(drawn(2 + n, 6, *tensor.shape[1:], dtype=DOUBLE) for n, tensor in enumerate(inputs))
    auxiliary = {"gate": torch.ones(6, 1).double(), "mask_image": torch.zeros(6, 1, 4, 4, dtype=torch.bool)}
    batch = batch_of(function, inputs, auxiliary, references)
    total = sum(part.flatten(3).sum(3) for part in attribute("integrated_gradients", batch, steps=50))
    rise = batch.rise()
    assert float((total - rise).abs().max()) < 1e-10
    assert float(rise.abs().min()) > 1e-4
    # One branch at a time, the other held at the sample, is not complete.
    halves = [
        attribute("integrated_gradients", batch_of(function, inputs, auxiliary, ends))[branch]
        for branch, ends in enumerate([(references[0], inputs[1]), (inputs[0], references[1])])
    ]
    apart = sum(part.flatten(3).sum(3) for part in halves)
    assert float((apart - rise).abs().max()) > 1e-3


def test_what_is_absent_is_compared_with_itself():
    _, batch = case("two_branches")
    mask = batch.masks[0]
    assert mask.any() and float(batch.inputs[0][mask].abs().min()) > 0
    for row, (image, vector) in enumerate(batch.each_background()):
        assert torch.equal(image[mask], batch.inputs[0][mask])
        assert torch.equal(image[~mask], batch.background[0][row].expand_as(mask)[~mask])
        assert torch.equal(vector, batch.background[1][row : row + 1])


class Skipping(FeedForward):
    """Skips a layer whose width is the next one's, which is asked for of whole shapes, rows and all."""

    def forward(self, inputs, **auxiliary):
        hidden = inputs @ self.layers[0].weight.T
        after = self.layers[1](torch.relu(hidden))
        if after.shape == hidden.shape:
            after = after + hidden
        return self.layers[2](torch.relu(after - 100))


def test_what_depends_on_the_number_of_samples_is_seen_where_the_output_is_constant():
    """The network's units are dead but far out, so that values and gradients of a probe betray nothing."""
    _, function = function_of(lambda: Skipping([3, 3, 3, 1], nn.ReLU), dtype=DOUBLE)
    batch = batch_of(function, (500 * drawn(1, 5, 3, dtype=DOUBLE),))
    assert float(function.values((drawn(2, 50, 3, dtype=DOUBLE),)).std(dim=1).max()) == 0
    assert (batch.split.has_front, "depends on the number of samples" in batch.split.remark) == (False, True)
    assert float(batch.rise().abs().max()) > 10
    total = attribute("integrated_gradients", batch)[0].sum(dim=3)
    assert float((total - batch.rise()).abs().max()) < 1e-9


def test_the_methods_are_those_with_facts():
    assert tuple(METHODS) == METHOD_NAMES
    for name, method in METHODS.items():
        facts = METHOD_FACTS[name]
        assert (method.complete, method.signed) == (facts.complete, facts.signed)
        assert (method.needs_reference, method.needs_background) == (
            facts.compares_with == "reference",
            facts.compares_with == "background",
        )


@pytest.mark.parametrize("method", [name for name in OWN if METHOD_FACTS[name].compares_with])
def test_what_a_method_needs_is_asked_for(method):
    """And what it does not need is not: the other methods do without."""
    _, batch = case("perceptron")
    needed = METHOD_FACTS[method].compares_with
    batch.references = batch.background = None
    with pytest.raises(ConsilienceError, match=f"a {needed} (for each|of training samples).* is needed"):
        attribute(method, batch)


def test_a_method_may_name_its_reference():
    _, batch = case("perceptron")
    other = tuple(torch.ones_like(part) for part in batch.references)
    batch.others = {"mean": other}
    method = method_named("integrated_gradients_from_mean")
    assert (method.name, method.reference) == ("integrated_gradients_from_mean", "mean")
    beside = dataclasses.replace(batch, references=other)
    for own, expected in zip(batch.attribute(method, {}), attribute("integrated_gradients", beside), strict=True):
        assert torch.equal(own, expected)
        assert not torch.equal(own, attribute("integrated_gradients", batch)[0])
    gap, change = batch.gap(method, batch.attribute(method, {}))
    expected, change_beside = beside.gap(METHODS["integrated_gradients"], attribute("integrated_gradients", beside))
    np.testing.assert_allclose(gap, expected, atol=1e-6)
    np.testing.assert_allclose(change, change_beside)
    # The study's own reference is left as it was, whatever was computed first.
    assert not np.allclose(
        batch.gap(METHODS["integrated_gradients"], attribute("integrated_gradients", batch))[1], change
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "integrated_gradients_from_means",
            "'integrated_gradients_from_means': reference 'means' is not.*nearest: mean",
        ),
        ("saliency_from_mean", "'saliency_from_mean': saliency compares with no reference"),
        ("integrated_gradient_from_mean", "'integrated_gradient_from_mean' is not known"),
        ("own_from_mean", "'own_from_mean' is not known"),
    ],
)
def test_what_no_method_is_called_is_refused(name, message):
    with pytest.raises(ConsilienceError, match=message):
        method_named(name)


def test_a_slice_adds_methods_and_references():
    explain = SimpleNamespace(
        methods={"double": lambda batch, settings: (2 * batch.inputs[0],)}, references={"own": None}
    )
    own = Own.of(explain, {"double": {"compares_with": "reference", "complete": True, "signed": False}})
    found = method_named("double_from_own", own)
    assert (found.complete, found.signed, found.needs_reference, found.reference) == (True, False, True, "own")
    assert method_named("saliency", own) is METHODS["saliency"]
    assert own.complete({"primary": "double", "methods": ["double"], "reference": "own"})["primary"] == "double"
    assert Own.of(None, {}).facts == {}
    with pytest.raises(ConsilienceError, match="attribution method 'double' is not known"):
        complete_settings({"methods": ["double"]})


@pytest.mark.parametrize(
    ("functions", "facts", "message"),
    [
        ({}, {"double": {}}, "'double' stands in schema.yaml, not in explain.py"),
        ({"double": None}, {}, "'double' stands in explain.py, not in schema.yaml"),
        (
            {"double": None},
            {"double": {"compares_with": "refrence"}},
            "compares_with: 'refrence' is.*nearest: reference",
        ),
    ],
)
def test_a_slice_s_methods_and_their_facts_go_together(functions, facts, message):
    with pytest.raises(ConsilienceError, match=message):
        Own.of(SimpleNamespace(methods=functions), facts)


def test_an_unknown_method_is_refused_with_the_nearest():
    with pytest.raises(ConsilienceError, match=r"'integrated_gradient' is not known.*nearest: integrated_gradients"):
        method_named("integrated_gradient")


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift", "occlusion"])
@pytest.mark.parametrize(
    ("references", "message"),
    [
        (None, "a reference for each of 2 branches is needed; given: 0"),
        ((torch.zeros(1, 1, 4, 4),), "for each of 2 branches is needed; given: 1"),
        ((torch.zeros(1, 1, 4, 4), torch.zeros(1, 5)), r"branch 1 has shape \(1, 5\); expected \(1 or 5, \*\(6,\)\)"),
        ((torch.zeros(2, 1, 4, 4), torch.zeros(1, 6)), r"branch 0 has shape \(2, 1, 4, 4\)"),
    ],
)
def test_references_that_do_not_fit_are_refused(method, references, message):
    _, batch = case("two_branches")
    batch.references = references
    with pytest.raises(ConsilienceError, match=message):
        attribute(method, batch)


def test_occlusion_without_units_is_refused():
    _, batch = case("perceptron")
    batch.sums = None
    with pytest.raises(ConsilienceError, match="which elements belong to which feature; no units were given"):
        attribute("occlusion", batch)


class Softmax(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs, **auxiliary):
        return self.layer(inputs).softmax(dim=1)


@pytest.mark.parametrize("method", OWN)
def test_probabilities_in_place_of_logits_are_refused(method):
    with pytest.raises(ConsilienceError, match="probabilities.*leave out the final softmax"):
        _, function = function_of(Softmax, "classification", 3)
        attribute(method, batch_of(function, (drawn(0, 3, 4),), background=(drawn(1, 3, 4),)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step": 5}, "setting 'step' is not known.*nearest: steps"),
        ({"methods": ["salience"]}, "method 'salience' is not known.*nearest: saliency"),
        ({"primary": "deep_lift"}, "method 'deep_lift' is not known.*nearest: deeplift"),
        ({"roles": ["tset"]}, "role 'tset' is not known.*nearest: test"),
        ({"reference": "zeros"}, "reference 'zeros' is not known.*nearest: zero"),
        ({"class_of": "predicted"}, "attribution.class_of 'predicted' is not known.*nearest: prediction"),
        ({"steps": 0}, "attribution.steps is 0; expected a whole number of at least 1"),
        ({"draws": 0}, "attribution.draws is 0; expected a whole number of at least 1"),
        ({"background": 2.5}, "attribution.background is 2.5; expected a whole number of at least 1"),
        ({"noise": 0}, "attribution.noise is 0; expected a number above 0"),
        ({"showcase_confidence": 1}, r"attribution.showcase_confidence is 1; expected a number in \[0, 1\) or null"),
        ({"blur": "wide"}, "attribution.blur is 'wide'; expected a number above 0"),
        ({"maximum_samples": 1.5}, "attribution.maximum_samples is 1.5"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConsilienceError, match=message):
        complete_settings(settings)


def test_settings_have_defaults_and_may_name_the_slices_own_reference():
    filled = complete_settings({"reference": "shuffled", "steps": 7}, ("shuffled",))
    assert (filled["reference"], filled["steps"], filled["primary"]) == ("shuffled", 7, "integrated_gradients")
    assert not any(name.startswith("shap_") for name in filled["methods"])
    assert methods.METHODS.keys() >= set(filled["methods"])


def test_names_and_store_need_no_torch():
    code = "import sys, consilience.attribution.names, consilience.attribution.store; sys.exit('torch' in sys.modules)"
    paths = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", code], env=paths, check=False).returncode == 0
