import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

from consilience.attribution.batches import Batch
from consilience.attribution.methods import METHODS
from consilience.attribution.statistics import UnitSums
from consilience.attribution.targets import Contrast, FixedClass, PredictedClass, TrueClass, choose
from consilience.errors import ConsilienceError
from tests.unit.attribution_examples import IMAGE_UNITS, VECTOR_UNITS, Perceptron, TwoBranch, function_of

CLASSES = ["left", "middle", "right"]
LABELS = np.array([2, 0, 1, 1, 0, 2, 0])
SAMPLES, FEATURES = len(LABELS), 6
OWN_METHODS = [name for name in METHODS if not name.startswith("shap")]
LINEAR_METHODS = [name for name in OWN_METHODS if name != "saliency"]


class Difference(nn.Module):
    """A network's logits, multiplied by a matrix, for captum."""

    def __init__(self, network, matrix):
        super().__init__()
        self.network = network
        self.matrix = torch.as_tensor(matrix, dtype=torch.float32)

    def forward(self, inputs):
        return self.network(inputs) @ self.matrix.T


def made(outputs=3, smooth=True):
    """Return the networks and a batch of all that methods need."""
    modules, function = function_of(lambda: Perceptron(FEATURES, outputs, smooth=smooth), "classification", outputs)
    generator = torch.Generator().manual_seed(4)
    batch = Batch(
        function,
        (torch.randn(SAMPLES, FEATURES, generator=generator),),
        references=(torch.randn(1, FEATURES, generator=generator),),
        background=(torch.randn(5, FEATURES, generator=generator),),
        deviations=[1.0],
        keys=list(range(SAMPLES)),
        sums=UnitSums([np.arange(FEATURES)], FEATURES),
    )
    return modules, batch


def two_branches():
    """Return a batch with masks, an auxiliary tensor, and a reference for each sample."""
    _, function = function_of(TwoBranch, "classification", 3)
    generator = torch.Generator().manual_seed(5)
    draw = [
        (torch.randn(rows, 1, 4, 4, generator=generator), torch.randn(rows, 6, generator=generator))
        for rows in (SAMPLES, SAMPLES, 4)
    ]
    mask = torch.rand(SAMPLES, 1, 4, 4, generator=generator) < 0.2
    return Batch(
        function,
        draw[0],
        {"gate": torch.randn(SAMPLES, 1, generator=generator), "mask_image": mask},
        masks=[mask, None],
        references=draw[1],
        background=draw[2],
        deviations=[1.0, 0.5],
        keys=list(range(SAMPLES)),
        sums=UnitSums([IMAGE_UNITS, VECTOR_UNITS], 6),
    )


def explained(batch, method, target, classes=CLASSES, task="classification"):
    """Attribute a batch by a rule; return by branch (members, targets, samples, *shape), and the rule's classes."""
    choice = choose(target, task, classes, len(batch.inputs[0]))
    results = [tensor.new_full((3, len(choice.names), *tensor.shape), torch.nan).numpy() for tensor in batch.inputs]
    labels = np.full(len(batch.inputs[0]), -1)
    for places, label, part in choice.parts(batch, np.arange(len(batch.inputs[0]))):
        for result, tensor in zip(results, part.attribute(METHODS[method], {"draws": 4}), strict=True):
            result[:, :, places] = tensor.detach().numpy()
        labels[places] = -1 if label is None else label
    assert all(np.isfinite(result).all() for result in results)
    return results, labels


def by_captum(method, forward, batch, target):
    """Attribute by captum, (samples, features)."""
    inputs, references = batch.inputs[0], batch.references[0]
    if method == "saliency":
        return captum.attr.Saliency(forward).attribute(inputs, target=target)
    if method == "gradient_x_input":
        return captum.attr.InputXGradient(forward).attribute(inputs, target=target)
    if method == "integrated_gradients":
        return captum.attr.IntegratedGradients(forward).attribute(inputs, references, target=target, n_steps=50)
    if method == "deeplift":
        return captum.attr.DeepLift(forward).attribute(inputs, references.expand_as(inputs), target=target)
    return captum.attr.FeatureAblation(forward).attribute(inputs, references, target=target)


CENTERED = np.eye(3) - 1 / 3
TARGETS = {
    "fixed by name": ("middle", CENTERED, 1),
    "fixed by number": (FixedClass(2), CENTERED, 2),
    "contrast": (("right", "left"), [[-1, 0, 1]], 0),
    "contrast by number": (Contrast(0, 1), [[1, -1, 0]], 0),
    "true class": (TrueClass([CLASSES[label] for label in LABELS]), CENTERED, torch.as_tensor(LABELS)),
}


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks", "ignore:Input Tensor 0 did not already")
@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("method", ["saliency", "gradient_x_input", "integrated_gradients", "deeplift", "occlusion"])
def test_rules_are_captums_targets(method, name):
    target, matrix, of_captum = TARGETS[name]
    modules, batch = made()
    (found,), _ = explained(batch, method, target)
    assert found.shape == (3, 1, SAMPLES, FEATURES)
    for member, module in enumerate(modules):
        expected = by_captum(method, Difference(module, matrix), batch, of_captum).detach().numpy()
        np.testing.assert_allclose(found[member, 0], expected, atol=1e-5)


@pytest.mark.parametrize("method", ["saliency", "gradient_x_input", "integrated_gradients", "deeplift"])
@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks", "ignore:Input Tensor 0 did not already")
def test_two_classes_turn_their_log_odds_towards_the_class(method):
    modules, batch = made(outputs=2)
    labels = LABELS % 2
    # Row c is the log-odds of class c against the other.
    matrix = [[1, -1], [-1, 1]]
    for target, of_captum in [
        (TrueClass(labels), torch.as_tensor(labels)),
        ("left", 0),
        ("middle", 1),
        (("left", "middle"), 0),
        (None, 1),
    ]:
        (found,), _ = explained(batch, method, target, CLASSES[:2])
        for member, module in enumerate(modules):
            expected = by_captum(method, Difference(module, matrix), batch, of_captum).detach().numpy()
            np.testing.assert_allclose(found[member, 0], expected, atol=1e-5)


@pytest.mark.parametrize("method", LINEAR_METHODS)
def test_a_contrast_is_the_difference_of_two_classes(method):
    batch = two_branches()
    (left, _), (right, _), (contrast, _) = (explained(batch, method, t) for t in ("left", "right", ("left", "right")))
    for one, other, difference in zip(left, right, contrast, strict=True):
        np.testing.assert_allclose(difference, one - other, atol=1e-5)
        assert np.abs(difference).max() > 0.01


def test_saliency_of_a_contrast_is_not_the_difference():
    batch = two_branches()
    (left, _), (right, _), (contrast, _) = (
        explained(batch, "saliency", t) for t in ("left", "right", ("left", "right"))
    )
    assert all((part >= 0).all() for part in contrast)
    assert np.abs(contrast[1] - np.abs(left[1] - right[1])).max() > 0.05


def one_sample(batch, row):
    """Return a batch of one sample, made by hand."""
    return Batch(
        batch.function,
        tuple(tensor[row : row + 1] for tensor in batch.inputs),
        {name: tensor[row : row + 1] for name, tensor in batch.auxiliary.items()},
        masks=[None if mask is None else mask[row : row + 1] for mask in batch.masks],
        references=tuple(tensor[row : row + 1] for tensor in batch.references),
        background=batch.background,
        deviations=batch.deviations,
        keys=[batch.keys[row]],
        sums=batch.sums,
    )


@pytest.mark.parametrize("method", OWN_METHODS)
def test_each_samples_class_is_that_of_a_plain_loop(method):
    batch = two_branches()
    found, labels = explained(batch, method, TrueClass(LABELS))
    assert np.array_equal(labels, LABELS)
    for row, label in enumerate(LABELS):
        expected, _ = explained(one_sample(batch, row), method, CLASSES[label])
        for part, tensor in zip(found, expected, strict=True):
            np.testing.assert_allclose(part[:, :, [row]], tensor, atol=2e-6)


@pytest.mark.parametrize("outputs", [2, 3])
def test_the_predicted_class_is_that_of_the_mean_logits(outputs):
    modules, batch = made(outputs)
    with torch.no_grad():
        logits = torch.stack([module(batch.inputs[0]) for module in modules]).mean(dim=0)
    expected = logits.argmax(dim=1).numpy()
    assert len(set(expected)) > 1
    found, labels = explained(batch, "integrated_gradients", PredictedClass(), CLASSES[:outputs])
    assert np.array_equal(labels, expected)
    same, _ = explained(batch, "integrated_gradients", TrueClass(expected), CLASSES[:outputs])
    assert np.array_equal(found[0], same[0])


def test_a_rule_changes_what_completeness_means():
    modules, batch = made()
    choice = choose(TrueClass(LABELS), "classification", CLASSES, SAMPLES)
    with torch.no_grad():
        logits = torch.stack([module(batch.inputs[0]) - module(batch.references[0]) for module in modules])
    rise = (logits - logits.mean(dim=2, keepdim=True))[:, np.arange(SAMPLES), LABELS]
    for places, _, part in choice.parts(batch, np.arange(SAMPLES)):
        np.testing.assert_allclose(part.rise()[:, 0], rise[:, places], atol=1e-6)


def test_labels_are_those_of_the_samples_places():
    _, batch = made()
    choice = choose(TrueClass(np.append(np.zeros(10, int), LABELS)), "classification", CLASSES, SAMPLES + 10)
    found = {int(place): label for places, label, _ in choice.parts(batch, np.arange(10, 17)) for place in places}
    assert found == dict(zip(range(10, 17), LABELS, strict=True))


def test_outputs_of_a_regression_have_names_and_contrasts():
    choice = choose("width", "regression", ["height", "width"], 3)
    assert (choice.names, choice.rows.tolist()) == (["width"], [[0, 1]])
    choice = choose(("width", "height"), "regression", ["height", "width"], 3)
    assert (choice.names, choice.rows.tolist()) == (["width - height"], [[-1, 1]])
    assert choose(None, "regression", ["height", "width"], 3).names == ["height", "width"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("midle", "target 'midle' is not known; known: left, middle, right; nearest: middle"),
        (3, "target: number 3 is not among 3: left, middle, right"),
        (-1, "target: number -1 is not among 3"),
        (1.5, r"target: 1.5 is no target; expected a name or number, a pair"),
        (("left", "left"), "target: a contrast needs two classes; given: left twice"),
        (TrueClass([0, 1]), r"target: labels have shape \(2,\); expected \(7,\), one a sample"),
        (TrueClass([0, 1, 2, 3, 0, 0, 0]), "target: the label of sample 3 is 3; expected the name of a class, or its"),
        (TrueClass([*CLASSES, "up", *CLASSES]), "target: the label of sample 3 is 'up'; expected the name of a class"),
        (TrueClass(np.zeros(7)), "target: the label of sample 0 is 0.0; expected"),
    ],
)
def test_targets_that_are_not_there_are_refused(target, message):
    with pytest.raises(ConsilienceError, match=message):
        choose(target, "classification", CLASSES, SAMPLES)


@pytest.mark.parametrize(("target", "name"), [(TrueClass(LABELS), "true"), (PredictedClass(), "predicted")])
def test_a_regression_has_no_class(target, name):
    with pytest.raises(ConsilienceError, match=f"target: a regression has no {name} class"):
        choose(target, "regression", ["output"], SAMPLES)
