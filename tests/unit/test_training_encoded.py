"""Networks behind an encoder: fitted once for all members on the same rows, without labels, and then left as it is."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from consilience.dataset import Dataset
from consilience.errors import ConsilienceError
from consilience.networks import Dropout, Encoded, MultilayerPerceptron, NetworkContext, flattened
from consilience.scaling import scaled_inputs
from consilience.sparse_autoencoder import Recipe, SparseAutoencoder
from consilience.training.encoded import train_encoded
from consilience.training.engine import Course, Samples, train_member
from consilience.training.members import Member, enumerate_members
from consilience.training.stacked import train_stack
from consilience.training.train import train_model
from tests.unit.training_examples import course_of, genes_dataset, jobs_of, modules_of, split_of

SHORT = {"epochs": 6, "seeds": 2, "recipe": "adam"}


def coded(specification, context):
    encoder = SparseAutoencoder(context.elements, 10, 3, recipe=Recipe(epochs=4, batch_size=16, learning_rate=1e-2))
    return Encoded(encoder, MultilayerPerceptron(10, [6], context.outputs, dropout=0.2))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return genes_dataset(tmp_path_factory.mktemp("datasets") / "c.h5", "classification")


def trained(path, training=SHORT, **keywords):
    with Dataset.open(path) as dataset:
        return train_model(dataset, split_of(len(dataset)), coded, {}, training, "k3", 0, **keywords)


def test_members_share_the_encoder_and_not_the_head(path):
    states = trained(path).ensemble.states
    assert (states["encoder.encoder.weight"][0] == states["encoder.encoder.weight"][1]).all()
    assert (states["head.output.weight"][0] != states["head.output.weight"][1]).any()


def test_members_on_other_rows_have_encoders_of_their_own(path):
    members = enumerate_members(2, rows=("half:0", "half:1"))
    model = trained(path, members=members)
    encoders = model.ensemble.states["encoder.encoder.weight"]
    assert (encoders[0] == encoders[1]).all() and (encoders[2] == encoders[3]).all()
    assert (encoders[0] != encoders[2]).any()
    assert set(model.facts["encoder"]) == {"half:0", "half:1"}
    assert model.facts["encoder"]["half:0"]["validation"]["l0"] <= 3


def test_the_encoder_sees_no_label(path):
    members = [Member(0, 0), Member(1, 1)], [Member(0, 0), Member(1, 1, "all", 1)]
    real, permuted = (trained(path, members=one).ensemble.states for one in members)
    for name, values in real.items():
        assert name.startswith("head.") or (values == permuted[name]).all(), name
    assert (real["head.output.weight"][1] != permuted["head.output.weight"][1]).any()


def test_the_encoder_sees_only_its_rows():
    course, training, validation = course_of({**SHORT, "batch_size": 16})
    jobs = jobs_of(course, training, validation, seeds=1, rows=("half:0",))
    left_out = sorted(set(range(75)) - set(jobs[0].rows.tolist()))
    found = []
    for change in (0.0, 100.0):
        inputs = course.training.inputs[0].clone()
        inputs[left_out] += change
        changed = Course(course.model, course.task, 0, course.recipe, Samples((inputs,), {}), course.validation)
        modules = modules_of(changed, jobs, {}, coded)
        fits, _ = train_encoded(changed, jobs, modules, lambda *a: [train_member(*p) for p in each(*a)])
        found.append(fits[0].state)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def each(course, jobs, modules):
    return [(course, job, module) for job, module in zip(jobs, modules, strict=True)]


def test_a_head_is_trained_as_on_codes_that_were_given():
    """The plain way: encode everything first, and train the head as a network of its own."""
    course, training, validation = course_of({**SHORT, "batch_size": 16})
    jobs = jobs_of(course, training, validation)
    fits, _ = train_encoded(
        course, jobs, modules_of(course, jobs, {}, coded), lambda *a: [train_member(*p) for p in each(*a)]
    )
    modules = modules_of(course, jobs, {}, coded)
    encoder = modules[0].encoder
    encoder.load_state_dict(
        {k.removeprefix("encoder."): v for k, v in fits[0].state.items() if k.startswith("encoder.")}
    )
    with torch.no_grad():
        parts = [Samples((encoder(flattened(part.inputs)),), {}) for part in (course.training, course.validation)]
    plain = Course(course.model, course.task, course.seed, course.recipe, *parts)
    for fit, job, module in zip(fits, jobs, modules, strict=True):
        expected = train_member(plain, job, module.head)
        assert fit.losses == expected.losses
        assert all(torch.equal(fit.state[f"head.{name}"], values) for name, values in expected.state.items())


def test_stacked_heads_are_those_of_the_loop():
    course, training, validation = course_of({**SHORT, "batch_size": 16})
    jobs = jobs_of(course, training, validation)
    loop, stack = (
        train_encoded(course, jobs, modules_of(course, jobs, {}, coded), train)[0]
        for train in (lambda *a: [train_member(*p) for p in each(*a)], train_stack)
    )
    for one, other in zip(loop, stack, strict=True):
        np.testing.assert_allclose(one.losses, other.losses, rtol=1e-4)


def test_the_whole_network_predicts_what_the_head_makes_of_codes(path):
    model = trained(path)
    module = model.ensemble.network(coded)
    with Dataset.open(path) as dataset:
        inputs, _ = scaled_inputs(dataset, model.ensemble.scalings, model.rows)
    states = {name: torch.as_tensor(values[0]) for name, values in model.ensemble.states.items()}
    module.load_state_dict(states)
    rows = torch.as_tensor(inputs[0])
    with torch.no_grad():
        assert torch.equal(module(rows), module.head(module.encoder(rows)))


def test_the_first_layer_that_labels_train_is_the_heads():
    context = NetworkContext({"genes": (12,)}, 3, {}, 12)
    module = coded({}, context)
    assert module.first_layers == ["head.hidden.0.linear"]
    assert module.stackable
    assert Encoded(module.encoder, torch.nn.LSTM(10, 2)).stackable is False
    assert Encoded(module.encoder, torch.nn.LSTM(10, 2)).first_layers is None
    assert [part.rate for part in module.modules() if isinstance(part, Dropout)] == [0.2]


def test_progress_counts_the_encoders_epochs(path, monkeypatch):
    counted = []

    @contextmanager
    def counting(description, unit, total):
        counted.append([total, 0])

        def advance(count=1):
            counted[-1][1] += count

        yield advance

    monkeypatch.setattr("consilience.training.train.progress", counting)
    trained(path, {**SHORT, "patience": 100})
    assert counted == [[2 * 6 + 4, 2 * 6 + 4]]


def test_two_runs_are_the_same(path):
    first, second = trained(path), trained(path)
    assert all((first.ensemble.states[name] == second.ensemble.states[name]).all() for name in first.ensemble.states)
    assert first.facts == second.facts


def test_weights_are_not_taken_for_those_of_another_number_of_codes(path, tmp_path):
    """No shape of a tensor tells k."""

    def build(specification, context):
        module = coded(specification, context)
        module.encoder.k = specification["k"]
        return module

    with Dataset.open(path) as dataset:
        given = dataset, split_of(len(dataset)), build
        model = train_model(*given, {"k": 3}, SHORT, "k3", 0)
        model.ensemble.save(tmp_path / "ensemble.safetensors")
        specification = {"k": 3, "checkpoint": str(tmp_path / "ensemble.safetensors")}
        again = train_model(*given, specification, SHORT, "k3", 0)
        np.testing.assert_array_equal(again.predicted, model.predicted)
        with pytest.raises(ConsilienceError, match=r"trained as .*k=3.*this model is built as .*k=4"):
            train_model(*given, specification | {"k": 4}, SHORT, "k3", 0)
