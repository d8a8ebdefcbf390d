"""Class weights against scikit-learn's `balanced` and the weights of torch's cross-entropy."""

from contextlib import ExitStack

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from torch.nn import CrossEntropyLoss

from consilience.dataset import Dataset
from consilience.errors import ConsilienceError
from consilience.scaling import scaled_inputs
from consilience.training.data import TrainingData, rows_by_role
from consilience.training.ensemble import predict
from consilience.training.loss import batch_loss
from consilience.training.members import Member
from consilience.training.train import train_model
from tests.unit.training_examples import SAMPLES, genes_dataset, perceptron, split_of

RARE = np.random.default_rng(7).choice(3, size=SAMPLES, p=[0.6, 0.28, 0.12])
EVEN = np.arange(SAMPLES) % 3
CPU = torch.device("cpu")
SPLIT = split_of()
TRAIN, VALIDATION = (np.flatnonzero(SPLIT["role"] == role) for role in ("train", "validation"))


@pytest.fixture
def dataset(tmp_path):
    """Return what opens a dataset of these labels, with weights of the samples or without."""
    with ExitStack() as stack:

        def opened(labels, weights=False, task="classification"):
            path = genes_dataset(tmp_path / f"{task}{weights}.h5", task, weights)
            own = stack.enter_context(Dataset.open(path))
            if labels is not None:
                own.__dict__["target"] = np.asarray(labels)
            return own

        yield opened


def read(dataset, class_weights="balanced", maximum=20000):
    return TrainingData.read(dataset, SPLIT, rows_by_role(dataset, SPLIT), maximum, 0, CPU, class_weights)


def trained(dataset, class_weights, **training):
    recipe = {"seeds": 2, "epochs": 12, "class_weights": class_weights, **training}
    return train_model(dataset, SPLIT, perceptron, {"hidden": [8], "dropout": 0.1}, recipe, "mlp", 0)


def test_weights_are_scikit_learn_s_balanced_counted_on_the_training_role(dataset):
    labels = read(dataset(RARE)).labels
    assert labels["train"].weight.numpy() == pytest.approx(compute_sample_weight("balanced", RARE[TRAIN]), rel=1e-6)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=RARE[TRAIN])[RARE[VALIDATION]]
    assert labels["validation"].weight.numpy() == pytest.approx(expected / expected.mean(), rel=1e-6)
    assert read(dataset(RARE), "none").labels["train"].weight is None


def test_weights_are_counted_on_the_rows_that_are_used(dataset):
    data = read(dataset(RARE), maximum=30)
    assert len(data.rows["train"]) == 30
    expected = compute_sample_weight("balanced", RARE[data.rows["train"]])
    assert data.labels["train"].weight.numpy() == pytest.approx(expected, rel=1e-6)


def test_weights_of_samples_are_multiplied(dataset):
    own = dataset(RARE, weights=True)
    expected = own.weight[TRAIN] * compute_sample_weight("balanced", RARE[TRAIN])
    assert read(own).labels["train"].weight.numpy() == pytest.approx(expected / expected.mean(), rel=1e-6)


def test_the_loss_is_torch_s_with_weights_but_for_the_batch_s_normalization(dataset):
    data = read(dataset(RARE))
    weights = torch.as_tensor(compute_class_weight("balanced", classes=np.arange(3), y=RARE[TRAIN])).float()
    for role, part in data.labels.items():
        logits = torch.randn(len(part.target), 3, generator=torch.Generator().manual_seed(1))
        found = batch_loss("classification", logits, part.target, part.weight)
        assert float(found) == pytest.approx(float(CrossEntropyLoss(weights)(logits, part.target)), rel=1e-5), role
    batch, logits = data.labels["train"].take(slice(7)), torch.randn(7, 3)
    summed = CrossEntropyLoss(weights, reduction="sum")(logits, batch.target)
    found = batch_loss("classification", logits, batch.target, batch.weight)
    assert float(found) == pytest.approx(float(summed) / 7, rel=1e-5)


@pytest.mark.parametrize("stack", ["never", "always"])
def test_early_stopping_follows_the_weighted_loss_of_validation(dataset, stack):
    own = dataset(RARE)
    model = trained(own, "balanced", stack=stack)
    inputs, auxiliary = scaled_inputs(own, model.ensemble.scalings, VALIDATION)
    logits = predict(model.ensemble.network(perceptron), model.ensemble.states, inputs, auxiliary)
    weights = torch.as_tensor(compute_class_weight("balanced", classes=np.arange(3), y=RARE[TRAIN])).float()
    target = torch.as_tensor(RARE[VALIDATION])
    expected = [float(CrossEntropyLoss(weights)(torch.as_tensor(one), target)) for one in logits]
    best = model.history[model.history["best"]]["validation_loss"]
    assert best.tolist() == pytest.approx(expected, rel=1e-4)
    assert model.facts["recipe"]["class_weights"] == "balanced"


def test_a_rare_class_is_called_more_often(dataset):
    counts = [
        (trained(dataset(RARE), kind, epochs=30).predicted.argmax(axis=1) == 0).sum() for kind in ("none", "balanced")
    ]
    assert counts[0] > counts[1]


@pytest.mark.parametrize("labels", [EVEN, np.where(EVEN == 2, 0, EVEN)], ids=["even", "thirds"])
def test_balancing_what_is_balanced_changes_nothing(dataset, labels):
    plain, balanced = (trained(dataset(labels), kind) for kind in ("none", "balanced"))
    same = np.array_equal(plain.predicted, balanced.predicted) and plain.history.equals(balanced.history)
    assert same == (labels is EVEN)


def test_weights_travel_with_permuted_labels(dataset):
    data = read(dataset(RARE))
    job = data.job(Member(0, 0, "all", 3), 0)
    for own, role in ((job.training, "train"), (job.validation, "validation")):
        original = data.labels[role]
        assert not torch.equal(own.target, original.target)
        by_class = dict(zip(original.target.tolist(), original.weight.tolist(), strict=True))
        assert own.weight.tolist() == [by_class[label] for label in own.target.tolist()]


@pytest.mark.parametrize("task", ["regression", "votes"])
def test_other_tasks_are_refused(dataset, task):
    with pytest.raises(ConsilienceError, match=f"class_weights: balanced needs a classification, .* {task}; use none$"):
        trained(dataset(None, task=task), "balanced")


def test_a_class_without_training_rows_is_refused_where_validation_has_it(dataset):
    labels = np.where(np.isin(np.arange(SAMPLES), VALIDATION[:1]), 2, EVEN % 2)
    with pytest.raises(ConsilienceError, match="none of the 54 training rows that are used is of the class high, as"):
        trained(dataset(labels), "balanced")
    absent = read(dataset(EVEN % 2)).labels["train"]
    assert absent.weight is None or absent.weight.isfinite().all()
