"""The loop against torch.optim's own classes, the stack against the loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import rel_entr
from sklearn.metrics import log_loss, mean_squared_error
from torch import nn

from consilience.errors import ConsilienceError
from consilience.training import engine
from consilience.training.engine import Batches, Fit, Samples, evaluate, evaluation_rows, train_member
from consilience.training.loss import batch_loss, sample_losses
from consilience.training.members import Member
from consilience.training.stacked import train_stack
from tests.unit.training_examples import GENES, course_of, jobs_of, modules_of, perceptron, recording

NORMALIZED = {"hidden": [8, 5], "dropout": 0.0, "batchnorm": True}
DROPPED = {"hidden": [8, 8], "dropout": 0.25, "batchnorm": True, "residual": True}
OPTIMIZERS = {
    "sgd": {"recipe": "sgd"},
    "plain": {"recipe": "sgd", "momentum": 0.0, "clip": None, "weight_decay": 0.0},
    "adam": {"recipe": "adam", "batch_size": 16, "clip": 0.5},
    "adamw": {"recipe": "adamw", "batch_size": 16},
}


def optimizer_of(module, recipe):
    shared = {"lr": recipe["learning_rate"], "weight_decay": recipe["weight_decay"]}
    if recipe["optimizer"] == "sgd":
        return torch.optim.SGD(module.parameters(), momentum=recipe["momentum"], fused=False, **shared)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe["optimizer"]]
    return kind(module.parameters(), fused=False, **shared)


def differences(first: Fit, second: Fit) -> float:
    assert len(first.losses) == len(second.losses)
    assert first.best == second.best
    weights = [float((first.state[name].double() - second.state[name].double()).abs().max()) for name in first.state]
    return max(*weights, float(np.abs(np.array(first.losses) - np.array(second.losses)).max()))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_loop_is_what_one_writes_with_torch(name):
    course, training, validation = course_of({**OPTIMIZERS[name], "epochs": 5})
    [job] = jobs_of(course, training, validation, seeds=1)
    [module], [peer] = (modules_of(course, [job], NORMALIZED) for _ in range(2))
    fit = train_member(course, job, module)
    optimizer, batches = optimizer_of(peer, course.recipe), Batches(course, job, peer)
    for training_loss, validation_loss in fit.losses:
        peer.train()
        losses = []
        for rows in batches.epoch()[0].split(course.recipe["batch_size"]):
            loss = nn.functional.mse_loss(peer(course.training.inputs[0][rows])[:, 0], training.target[rows])
            optimizer.zero_grad()
            loss.backward()
            if course.recipe["clip"] is not None:
                nn.utils.clip_grad_norm_(peer.parameters(), course.recipe["clip"])
            optimizer.step()
            losses += [loss.item()] * len(rows)
        assert training_loss == pytest.approx(np.mean(losses), abs=1e-6)
        with torch.no_grad():
            outputs = peer.eval()(course.validation.inputs[0])[:, 0]
        assert validation_loss == pytest.approx(mean_squared_error(validation.target, outputs), abs=1e-6)
    for own, expected in zip(module.state_dict().values(), peer.state_dict().values(), strict=True):
        assert torch.allclose(own, expected, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("specification", [NORMALIZED, DROPPED], ids=["normalized", "dropout"])
def test_the_stack_is_the_loop(name, specification):
    """Members that see different rows take different batches and stop at different epochs."""
    course, training, validation = course_of({**OPTIMIZERS[name], "epochs": 8, "patience": 3})
    jobs = jobs_of(course, training, validation, rows=("all", "half:0", "fold:0/3"))
    loop = [train_member(course, *pair) for pair in zip(jobs, modules_of(course, jobs, specification), strict=True)]
    stack = train_stack(course, jobs, modules_of(course, jobs, specification))
    assert len({len(job.rows) for job in jobs}) == 3
    for one, other in zip(loop, stack, strict=True):
        assert differences(one, other) < 1e-5


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_stack_is_the_loop_for_long_in_double_precision(name):
    recipe = {**OPTIMIZERS[name], "epochs": 60, "patience": 6, "learning_rate": 0.03}
    course, training, validation = course_of(recipe, kind=torch.float64)
    jobs = jobs_of(course, training, validation, rows=("all", "half:0"))
    loop = [train_member(course, *pair) for pair in zip(jobs, modules_of(course, jobs, DROPPED), strict=True)]
    stack = train_stack(course, jobs, modules_of(course, jobs, DROPPED))
    assert len({len(fit.losses) for fit in loop}) > 1
    for one, other in zip(loop, stack, strict=True):
        assert differences(one, other) < 1e-8


@pytest.mark.parametrize("task", ["classification", "votes"])
@pytest.mark.parametrize("weights", [False, True])
def test_the_stack_is_the_loop_for_classes_and_weights(task, weights):
    course, training, validation = course_of({"epochs": 4}, task, weights)
    jobs = jobs_of(course, training, validation)
    loop = [train_member(course, *pair) for pair in zip(jobs, modules_of(course, jobs, DROPPED), strict=True)]
    stack = train_stack(course, jobs, modules_of(course, jobs, DROPPED))
    for one, other in zip(loop, stack, strict=True):
        assert differences(one, other) < 1e-5
        assert one.losses[-1][0] < one.losses[0][0]


def test_a_member_does_not_depend_on_the_others():
    course, training, validation = course_of({"epochs": 6, "patience": 2})
    jobs = jobs_of(course, training, validation, seeds=3)
    together = [train_member(course, *pair) for pair in zip(jobs, modules_of(course, jobs, DROPPED), strict=True)]
    alone = train_member(course, jobs[2], *modules_of(course, jobs[2:], DROPPED))
    assert differences(together[2], alone) == 0
    stacked = train_stack(course, jobs[1:], modules_of(course, jobs[1:], DROPPED))
    assert differences(stacked[1], alone) < 1e-5


def test_a_few_batches_of_validation_rows_are_evaluated_at_once(monkeypatch):
    """Of 25 rows eight at once, for batches of two; the losses are those of all at once."""
    course, training, validation = course_of({"epochs": 2, "batch_size": 2}, "votes", weights=True)
    jobs = jobs_of(course, training, validation)
    fits, calls = [], []
    for batches in (4, 1000):
        monkeypatch.setattr(engine, "EVALUATION_BATCHES", batches)
        for stacked in (False, True):
            seen: list[tuple[bool, int]] = []
            modules = [recording(module, seen) for module in modules_of(course, jobs, {"hidden": [8]})]
            if stacked:
                fits.append(train_stack(course, jobs, modules))
            else:
                fits.append([train_member(course, *pair) for pair in zip(jobs, modules, strict=True)])
            calls.append([rows for trains, rows in seen if not trains])
    assert calls == [[8, 8, 8, 1] * 4, [8, 8, 8, 1] * 2, [25] * 4, [25] * 2]
    for few in fits[:3]:
        assert max(differences(one, other) for one, other in zip(few, fits[3], strict=True)) < 1e-5


def test_never_more_rows_are_evaluated_than_always_were():
    assert [evaluation_rows({"batch_size": size}) for size in (2, 64, 1024, 5000)] == [8, 256, 4096, 4096]


def test_a_gradient_is_clipped_member_by_member():
    """Labels a thousand times as large leave the other member's steps alone."""
    course, training, validation = course_of({"epochs": 3, "clip": 0.1})
    jobs = jobs_of(course, training, validation)
    loud = type(jobs[1])(jobs[1].member, jobs[1].rows, type(training)(1000 * training.target), validation)
    expected = train_stack(course, jobs, modules_of(course, jobs, NORMALIZED))[0]
    found = train_stack(course, [jobs[0], loud], modules_of(course, jobs, NORMALIZED))[0]
    assert differences(expected, found) < 1e-6


def test_every_row_is_seen_once_an_epoch_in_an_order_of_the_member_s_own():
    course, training, validation = course_of({})
    jobs = jobs_of(course, training, validation)
    batches = [
        Batches(course, job, module) for job, module in zip(jobs, modules_of(course, jobs, DROPPED), strict=True)
    ]
    epochs = [tuple(own.epoch()[0].tolist()) for own in batches for _ in range(3)]
    assert len(set(epochs)) == 6
    assert all(sorted(epoch) == list(range(75)) for epoch in epochs)


def test_a_last_batch_of_one_row_is_left_out():
    course, training, validation = course_of({"batch_size": 37, "epochs": 2}, rows=75)
    [job] = jobs_of(course, training, validation, seeds=1)
    [module] = modules_of(course, [job], NORMALIZED)
    order, masks = Batches(course, job, module).epoch()
    assert len(order) == 74
    assert not masks
    fit = train_member(course, job, module)
    assert all(math.isfinite(loss) for pair in fit.losses for loss in pair)
    stacked = train_stack(course, [job], modules_of(course, [job], NORMALIZED))
    assert differences(fit, stacked[0]) < 1e-5


def test_the_best_state_is_kept_and_patience_ends_training():
    course, training, validation = course_of({"epochs": 200, "patience": 4, "learning_rate": 0.05})
    [job] = jobs_of(course, training, validation, seeds=1)
    [module] = modules_of(course, [job], NORMALIZED)
    fit = train_member(course, job, module)
    curve = [loss for _, loss in fit.losses]
    assert fit.best == int(np.argmin(curve)) + 1
    assert len(curve) == fit.best + 4 < 200
    module.load_state_dict(fit.state)
    assert evaluate(course, job, module) == pytest.approx(min(curve), abs=1e-6)


def test_epochs_end_training_where_patience_does_not():
    fit, recipe = Fit(), {"patience": 3, "epochs": 5, "learning_rate": 1}
    course, *_ = course_of({})
    for epoch in range(5):
        assert not fit.stopped(recipe)
        fit.record(course, Member(0, 0), 1.0, 1.0 - epoch / 10)
    assert fit.stopped(recipe)
    assert fit.best == 5


@pytest.mark.parametrize("stacked", [False, True])
def test_losses_that_are_not_finite_are_refused(stacked):
    course, training, validation = course_of({"learning_rate": 1e12, "clip": None, "momentum": 0.9})
    jobs = jobs_of(course, training, validation, seeds=1)
    modules = modules_of(course, jobs, {"hidden": [4]})
    with pytest.raises(ConsilienceError) as raised:
        train_stack(course, jobs, modules) if stacked else train_member(course, jobs[0], modules[0])
    message = str(raised.value)
    assert message.startswith("model model, seed 0, epoch ")
    assert "lower training.learning_rate (1e+12)" in message
    assert "\n" not in message


class Noisy(nn.Module):
    """Draws random numbers of its own."""

    first_layers = ("layer",)

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(GENES, 1)
        self.unused = nn.Linear(2, 2)

    def forward(self, inputs, **auxiliary):
        return nn.functional.dropout(self.layer(inputs), 0.3, self.training)


def test_a_module_with_its_own_noise_is_reproducible_and_leaves_the_global_state_alone():
    course, training, validation = course_of({"epochs": 3})
    [job] = jobs_of(course, training, validation, seeds=1)
    fits, draws = [], []
    for seed in (1, 2):
        [module] = modules_of(course, [job], {}, lambda *_: Noisy())
        torch.manual_seed(seed)
        expected = torch.rand(3, generator=torch.Generator().manual_seed(seed))
        fits.append(train_member(course, job, module))
        draws.append(torch.equal(torch.rand(3), expected))
    assert differences(*fits) == 0
    assert all(draws)


def test_after_training_no_mask_is_left():
    course, training, validation = course_of({"epochs": 2})
    [job] = jobs_of(course, training, validation, seeds=1)
    [module] = modules_of(course, [job], DROPPED)
    train_member(course, job, module)
    inputs = torch.randn(3, GENES)
    assert torch.isfinite(module.train()(inputs)).all()
    assert not [name for name in module.state_dict() if "keep" in name]


def test_losses_are_those_of_scikit_learn_and_scipy():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 3, generator=generator)
    votes = torch.softmax(3 * torch.randn(40, 3, generator=generator), dim=1)
    votes[0] = torch.tensor([1.0, 0.0, 0.0])
    labels, weight = votes.argmax(dim=1), torch.rand(40, generator=generator)
    probabilities = torch.softmax(logits.double(), dim=1).numpy()
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert float(batch_loss("classification", logits, labels, None)) == pytest.approx(
        log_loss(labels, probabilities), rel=1e-5
    )
    divergence = rel_entr(votes.numpy(), probabilities).sum(axis=1)
    assert np.allclose(sample_losses("votes", logits, votes), divergence, rtol=1e-4, atol=1e-6)
    weighted = float(batch_loss("votes", logits, votes, weight))
    assert weighted == pytest.approx(float((weight.numpy() * divergence).mean()), rel=1e-5)
    squared = batch_loss("regression", logits[:, :1], votes[:, 0], None)
    assert float(squared) == pytest.approx(mean_squared_error(votes[:, 0], logits[:, 0]), rel=1e-5)


def test_samples_are_taken_in_any_shape():
    samples = Samples((torch.arange(24.0).view(6, 2, 2),), {"depth": torch.arange(6)})
    rows = torch.tensor([[5, 0, 0], [1, 2, 3]])
    taken = samples.take(rows)
    assert torch.equal(taken.inputs[0], samples.inputs[0][rows])
    assert torch.equal(taken.auxiliary["depth"], rows)


def test_the_stack_needs_no_module_but_the_perceptron_s_interface():
    course, training, validation = course_of({"epochs": 2})
    jobs = jobs_of(course, training, validation)
    ticks = []
    train_stack(course, jobs, modules_of(course, jobs, {"hidden": []}, perceptron), lambda: ticks.append(1))
    assert len(ticks) == 4
