import subprocess
import sys

import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency

from consilience.attribution import methods
from consilience.attribution.methods import METHODS, integrated_gradients, method_named, quadrature
from consilience.attribution.names import METHOD_FACTS, METHOD_NAMES, complete_settings
from consilience.errors import ConsilienceError
from tests.unit.attribution_examples import Linear, Perceptron, Recurrent, TwoBranch, function_of


def perceptron():
    generator = torch.Generator().manual_seed(1)
    inputs = (torch.randn(7, 11, generator=generator),)
    return *function_of(lambda: Perceptron(11)), inputs, {}, (torch.randn(1, 11, generator=generator),)


def two_branches():
    generator = torch.Generator().manual_seed(2)
    inputs = (torch.randn(6, 1, 4, 4, generator=generator), torch.randn(6, 6, generator=generator))
    auxiliary = {
        "gate": torch.randn(6, 1, generator=generator),
        "mask_image": torch.rand(6, 1, 4, 4, generator=generator) < 0.3,
    }
    references = (torch.randn(6, 1, 4, 4, generator=generator), torch.zeros(1, 6))
    modules, function = function_of(lambda: TwoBranch(3, smooth=False), "votes", 3)
    return modules, function, inputs, auxiliary, references


def two_classes():
    generator = torch.Generator().manual_seed(3)
    inputs = (torch.randn(5, 8, generator=generator),)
    return *function_of(lambda: Perceptron(8, 2), "classification", 2), inputs, {}, (torch.zeros(1, 8),)


def series():
    generator = torch.Generator().manual_seed(4)
    inputs = (torch.randn(5, 6, 4, generator=generator),)
    return *function_of(Recurrent), inputs, {}, (torch.zeros(1, 6, 4),)


CASES = {"perceptron": perceptron, "two_branches": two_branches, "two_classes": two_classes, "series": series}


def by_captum(method, module, function, target, inputs, auxiliary, references):
    """Attribute one target of one member by captum, all branches jointly; the target map is written out."""
    names = list(auxiliary)

    def forward(*arguments):
        parts, extra = arguments[: len(inputs)], dict(zip(names, arguments[len(inputs) :], strict=True))
        outputs = module(*parts, **extra)
        return outputs @ function.target_map[target].float() + function.offset[target].float()

    extra = tuple(auxiliary.values()) or None
    if method == "integrated_gradients":
        baselines = tuple(part.expand_as(tensor) for part, tensor in zip(references, inputs, strict=True))
        explainer = IntegratedGradients(forward)
        return explainer.attribute(inputs, baselines, additional_forward_args=extra, n_steps=50)
    explainer = {"saliency": Saliency, "gradient_x_input": InputXGradient}[method](forward)
    leaves = tuple(tensor.clone().requires_grad_() for tensor in inputs)
    return tuple(part.detach() for part in explainer.attribute(leaves, additional_forward_args=extra))


@pytest.mark.parametrize("method", METHOD_NAMES)
@pytest.mark.parametrize("case", CASES)
def test_every_method_agrees_with_captum(case, method):
    modules, function, inputs, auxiliary, references = CASES[case]()
    attributions = METHODS[method].function(function, inputs, auxiliary, references, {})
    largest = max(float(part.abs().max()) for part in attributions)
    for member, module in enumerate(modules):
        for target in range(function.targets):
            expected = by_captum(method, module, function, target, inputs, auxiliary, references)
            for own, part in zip(attributions, expected, strict=True):
                assert own[member, target].shape == part.shape
                assert float((own[member, target] - part).abs().max()) <= 1e-5 * max(1.0, largest)


def test_linear_functions_have_closed_forms():
    modules, function = function_of(lambda: Linear(6), scale=3.0)
    generator = torch.Generator().manual_seed(0)
    inputs, reference = torch.randn(4, 6, generator=generator), torch.randn(1, 6, generator=generator)
    arguments = (function, (inputs,), {}, (reference,), {})
    for member, module in enumerate(modules):
        weights = 3.0 * module.layer.weight.detach()
        expected = {
            "saliency": weights.abs().expand(4, 6),
            "gradient_x_input": weights * inputs,
            "integrated_gradients": weights * (inputs - reference),
        }
        for method, values in expected.items():
            assert torch.allclose(METHODS[method].function(*arguments)[0][member, 0], values, atol=1e-6), method


@pytest.mark.parametrize("internal_batch", [1, 7, 50, 64, 10000])
def test_internal_batch_changes_no_digit(internal_batch):
    _, function, inputs, auxiliary, references = two_branches()
    expected = integrated_gradients(function, inputs, auxiliary, references, {"internal_batch": 512})
    own = integrated_gradients(function, inputs, auxiliary, references, {"internal_batch": internal_batch})
    for part, other in zip(own, expected, strict=True):
        assert torch.allclose(part, other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("internal_batch", [1, 13, 100, 512])
def test_internal_batch_bounds_the_rows(monkeypatch, internal_batch):
    _, function, inputs, auxiliary, references = two_branches()
    seen = []
    forward = TwoBranch.forward

    def watched(self, image, vector, **auxiliary):
        seen.append(len(image))
        return forward(self, image, vector, **auxiliary)

    monkeypatch.setattr(TwoBranch, "forward", watched)
    integrated_gradients(function, inputs, auxiliary, references, {"internal_batch": internal_batch, "steps": 20})
    assert max(seen) <= internal_batch
    assert max(seen) >= min(internal_batch, 20)


def test_a_sample_does_not_depend_on_its_company():
    _, function, inputs, auxiliary, references = two_branches()
    for method in METHODS.values():
        every = method.function(function, inputs, auxiliary, references, {})
        for sample in (0, 4):
            one = slice(sample, sample + 1)
            alone = method.function(
                function,
                tuple(tensor[one] for tensor in inputs),
                {name: tensor[one] for name, tensor in auxiliary.items()},
                (references[0][one], references[1]),
                {},
            )
            for part, own in zip(every, alone, strict=True):
                assert torch.allclose(part[:, :, one], own, atol=1e-6), method.name


def test_the_quadrature_is_exact_for_polynomials():
    points, weights = quadrature(5, torch.ones(1, dtype=torch.float64))
    for power in range(10):
        assert float((weights * points**power).sum()) == pytest.approx(1 / (power + 1), abs=1e-14)


def test_completeness_on_a_smooth_network():
    _, function = function_of(lambda: TwoBranch(3), "votes", 3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(5)
    inputs = tuple(torch.randn(6, *shape, generator=generator).double() for shape in ((1, 4, 4), (6,)))
    references = tuple(torch.randn(6, *tensor.shape[1:], generator=generator).double() for tensor in inputs)
    auxiliary = {"gate": torch.ones(6, 1).double(), "mask_image": torch.zeros(6, 1, 4, 4, dtype=torch.bool)}
    attributions = integrated_gradients(function, inputs, auxiliary, references, {"steps": 50})
    total = sum(part.flatten(3).sum(3) for part in attributions)
    rise = (function.values(inputs, auxiliary) - function.values(references, auxiliary)).movedim(2, 1)
    assert float((total - rise).abs().max()) < 1e-10
    assert float(rise.abs().min()) > 1e-4
    # One branch at a time, the other held at the sample, is not complete.
    halves = [
        integrated_gradients(function, inputs, auxiliary, (references[0], inputs[1]), {})[0],
        integrated_gradients(function, inputs, auxiliary, (inputs[0], references[1]), {})[1],
    ]
    apart = sum(part.flatten(3).sum(3) for part in halves)
    assert float((apart - rise).abs().max()) > 1e-3


def test_the_methods_are_those_with_facts():
    assert tuple(METHODS) == METHOD_NAMES == ("gradient_x_input", "saliency", "integrated_gradients")
    for name, method in METHODS.items():
        facts = METHOD_FACTS[name]
        assert (method.needs_reference, method.complete) == (facts.needs_reference, facts.complete)


def test_an_unknown_method_is_refused_with_the_nearest():
    with pytest.raises(ConsilienceError, match=r"'integrated_gradient' is not known.*nearest: integrated_gradients"):
        method_named("integrated_gradient")


@pytest.mark.parametrize(
    ("references", "message"),
    [
        (None, "a reference for each of 2 branches is needed; given: 0"),
        ((torch.zeros(1, 1, 4, 4),), "for each of 2 branches is needed; given: 1"),
        ((torch.zeros(1, 1, 4, 4), torch.zeros(1, 5)), r"branch 1 has shape \(1, 5\); expected \(1 or 6, \*\(6,\)\)"),
        ((torch.zeros(2, 1, 4, 4), torch.zeros(1, 6)), r"branch 0 has shape \(2, 1, 4, 4\)"),
    ],
)
def test_references_that_do_not_fit_are_refused(references, message):
    _, function, inputs, auxiliary, _ = two_branches()
    with pytest.raises(ConsilienceError, match=message):
        integrated_gradients(function, inputs, auxiliary, references, {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step": 5}, "setting 'step' is not known.*nearest: steps"),
        ({"methods": ["salience"]}, "method 'salience' is not known.*nearest: saliency"),
        ({"primary": "deeplift"}, "method 'deeplift' is not known"),
        ({"roles": ["tset"]}, "role 'tset' is not known.*nearest: test"),
        ({"reference": "zeros"}, "reference 'zeros' is not known.*nearest: zero"),
        ({"steps": 0}, "attribution.steps is 0; expected a whole number of at least 1"),
        ({"maximum_samples": 1.5}, "attribution.maximum_samples is 1.5"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConsilienceError, match=message):
        complete_settings(settings)


def test_settings_have_defaults_and_may_name_the_slices_own_reference():
    filled = complete_settings({"reference": "shuffled", "steps": 7}, ("shuffled",))
    assert (filled["reference"], filled["steps"], filled["primary"]) == ("shuffled", 7, "integrated_gradients")
    assert methods.DEFAULTS["reference"] == "mean"


def test_names_and_store_need_no_torch():
    code = "import sys, consilience.attribution.names, consilience.attribution.store; sys.exit('torch' in sys.modules)"
    paths = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", code], env=paths, check=False).returncode == 0
