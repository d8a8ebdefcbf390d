from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from consilience.dataset import Dataset
from consilience.devices import choose_device
from consilience.errors import ConsilienceError
from consilience.scaling import scaled_inputs
from consilience.training import data as training_data
from consilience.training import train
from consilience.training.data import TrainingData
from consilience.training.ensemble import predict
from consilience.training.members import Member
from consilience.training.train import stacks, train_model
from tests.unit.training_examples import (
    GENES,
    Masked,
    course_of,
    genes_dataset,
    jobs_of,
    masked,
    modules_of,
    perceptron,
    recording,
    split_of,
    two_branch_dataset,
)

SPECIFICATION = {"hidden": [8], "dropout": 0.1, "batchnorm": True}
SHORT = {"epochs": 6, "seeds": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    for task in ("regression", "classification", "votes"):
        genes_dataset(folder / f"{task}.h5", task, weights=task == "votes")
    two_branch_dataset(folder / "two.h5")
    return folder


def trained(path, specification=SPECIFICATION, training=SHORT, build=perceptron, split=None, **keywords):
    with Dataset.open(path) as dataset:
        split = split_of(len(dataset)) if split is None else split
        return train_model(dataset, split, build, specification, training, "mlp", 0, **keywords)


def test_a_signal_is_learned_and_predicted_in_the_target_s_unit(folder):
    model = trained(folder / "regression.h5", training={"epochs": 80, "seeds": 2})
    assert np.abs(model.observed - model.predicted).mean() < 5
    assert model.observed.mean() > 90
    assert np.corrcoef(model.observed, model.predicted)[0, 1] > 0.9
    assert 1 - np.var(model.observed - model.predicted) / np.var(model.observed) > 0.7


def test_tables_have_the_columns_of_the_contract(folder):
    model = trained(folder / "regression.h5", {**SPECIFICATION, "consensus": False, "explain": False})
    assert list(model.members.columns) == ["member", "model", "seed", "rows", "permuted"]
    assert list(model.history.columns) == ["member", "epoch", "train_loss", "validation_loss", "best"]
    assert model.history.groupby("member")["best"].sum().tolist() == [1, 1]
    best = model.history.loc[model.history["best"], ["member", "validation_loss"]].set_index("member")
    lowest = model.history.groupby("member")[["validation_loss"]].min()
    assert best.equals(lowest)
    assert list(model.predictions.columns) == ["sample", "role", "target", "observed", "predicted"]
    expected = split_of()
    assert model.predictions["sample"].tolist() == expected["sample"][expected["role"] == "test"].tolist()
    assert set(model.predictions["role"]) == {"test"}
    assert set(model.predictions["target"]) == {"TARGET"}
    assert model.ensemble.specification == SPECIFICATION
    assert model.facts["train_samples"] == model.facts["train_samples_available"] == 54
    assert not model.facts["stacked"]


def test_predictions_are_the_mean_of_the_members_with_real_labels(folder):
    members = [Member(0, 0), Member(1, 1), Member(2, 0, "all", 5)]
    model = trained(folder / "regression.h5", members=members)
    with Dataset.open(folder / "regression.h5") as dataset:
        inputs, auxiliary = scaled_inputs(dataset, model.ensemble.scalings, model.rows)
    outputs = predict(model.ensemble.network(perceptron), model.ensemble.states, inputs, auxiliary)
    own = model.ensemble.target_center + model.ensemble.target_scale * outputs[:2, :, 0].astype(float)
    assert np.allclose(model.predicted, own.mean(axis=0), rtol=1e-6)


def test_a_few_batches_of_rows_are_predicted_at_once(folder, tmp_path):
    """Validation and test have 18 rows each."""
    seen: list[tuple[bool, int]] = []

    def build(specification, context):
        return recording(perceptron(specification, context), seen)

    model = trained(folder / "regression.h5", training={**SHORT, "batch_size": 4}, build=build)
    assert [rows for trains, rows in seen if not trains] == [16, 2] * (2 * SHORT["epochs"] + 2)
    model.ensemble.save(tmp_path / "ensemble.safetensors")
    specification = {**SPECIFICATION, "checkpoint": str(tmp_path / "ensemble.safetensors")}
    for size, expected in ((2, [8, 8, 2]), (64, [18])):
        seen.clear()
        again = trained(folder / "regression.h5", specification, {**SHORT, "batch_size": size}, build)
        assert seen == [(False, rows) for rows in expected * 2]
        assert np.allclose(again.predicted, model.predicted, rtol=1e-6)


@pytest.mark.parametrize("task", ["classification", "votes"])
def test_classes_are_predicted_as_probabilities(folder, task):
    model = trained(folder / f"{task}.h5", training={"epochs": 60, "seeds": 2, "patience": 60})
    assert model.predicted.shape == (18, 3)
    assert np.allclose(model.predicted.sum(axis=1), 1)
    table = model.predictions
    assert len(table) == 18 * 3
    assert table.groupby("sample")["observed"].sum().to_numpy() == pytest.approx(1)
    labels = model.observed if task == "classification" else model.observed.argmax(axis=1)
    assert (model.predicted.argmax(axis=1) == labels).mean() > 0.6
    assert table["predicted"].to_numpy().reshape(18, 3)[4] == pytest.approx(model.predicted[4])
    chosen = table["observed"].to_numpy().reshape(18, 3).argmax(axis=1)
    assert np.array_equal(chosen, labels)
    assert table["target"].tolist()[:3] == (["low", "middle", "high"] if task == "classification" else ["a", "b", "c"])


def test_two_branches_masks_and_auxiliary_inputs_train_in_a_loop(folder):
    model = trained(folder / "two.h5", {}, build=masked)
    assert model.predicted.shape == (18, 3)
    again = trained(folder / "two.h5", {}, build=masked)
    assert np.array_equal(model.predicted, again.predicted)


def test_the_same_run_gives_the_same_bytes(folder, tmp_path):
    digests = set()
    for name in ("a", "b"):
        torch.manual_seed(ord(name))
        trained(folder / "regression.h5").ensemble.save(tmp_path / f"{name}.safetensors")
        digests.add(hashlib.sha256((tmp_path / f"{name}.safetensors").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_member_does_not_depend_on_the_job(folder):
    members = [Member(0, 0), Member(1, 1, "half:0"), Member(2, 0, "all", 1)]
    together = trained(folder / "regression.h5", members=members)
    for place, member in enumerate(members[:2]):
        alone = trained(folder / "regression.h5", members=[member])
        for name, values in together.ensemble.states.items():
            assert np.array_equal(values[place], alone.ensemble.states[name][0]), name
    stacked = trained(folder / "regression.h5", training={**SHORT, "stack": "always"}, members=members)
    assert stacked.facts["stacked"]
    for name, values in together.ensemble.states.items():
        assert np.allclose(values, stacked.ensemble.states[name], atol=1e-5), name


def test_members_with_other_seeds_or_labels_are_other_networks(folder):
    members = [Member(0, 0), Member(1, 1), Member(2, 0, "half:0"), Member(3, 0, "all", 1)]
    weights = trained(folder / "regression.h5", members=members).ensemble.states["output.weight"]
    assert len({own.tobytes() for own in weights}) == 4


def test_permuted_labels_carry_no_signal(folder):
    recipe = {"epochs": 60}
    real, permuted = (
        trained(folder / "regression.h5", training=recipe, members=[Member(0, 0), Member(1, 0, "all", 1)])
        .history.groupby("member")["validation_loss"]
        .min()
    )
    assert real < 0.4
    assert permuted > 0.8


def test_labels_and_weights_are_permuted_together_within_their_roles(folder):
    with Dataset.open(folder / "votes.h5") as dataset:
        roles = training_data.rows_by_role(dataset, split_of())
        data = TrainingData.read(dataset, split_of(), roles, 20000, 0, torch.device("cpu"))
    job = data.job(Member(0, 0, "all", 3), 0)
    for labels, original in ((job.training, data.labels["train"]), (job.validation, data.labels["validation"])):
        pairs, expected = (torch.cat([own.target, own.weight[:, None]], dim=1) for own in (labels, original))
        assert not torch.equal(pairs, expected)
        assert sorted(pairs.tolist()) == sorted(expected.tolist())
    assert float(data.labels["train"].weight.mean()) == pytest.approx(1)


def test_subsets_of_rows_keep_groups_whole(folder):
    with Dataset.open(folder / "regression.h5") as dataset:
        roles = training_data.rows_by_role(dataset, split_of())
        data = TrainingData.read(dataset, split_of(), roles, 20000, 0, torch.device("cpu"))
    groups = data.groups["train"]
    rows = [set(groups[data.job(Member(0, 0, name), 0).rows.numpy()]) for name in ("half:0", "half:1")]
    assert rows[0] | rows[1] == set(groups)
    assert not rows[0] & rows[1]


def test_scaling_and_target_are_fitted_on_the_training_role_alone(folder, tmp_path):
    with Dataset.open(folder / "regression.h5") as dataset:
        split = split_of()
        rows = np.flatnonzero(split["role"] == "train")
        expected, target = dataset.inputs("genes")[rows].mean(axis=0), dataset.target[rows]
    ensemble = trained(folder / "regression.h5").ensemble
    assert np.allclose(ensemble.scalings["genes"].center, expected, rtol=1e-5)
    assert (ensemble.target_center, ensemble.target_scale) == (
        pytest.approx(target.mean()),
        pytest.approx(target.std()),
    )


def test_more_rows_than_the_maximum_are_sampled_and_said_so(folder):
    first, second = (trained(folder / "regression.h5", training={**SHORT, "maximum_samples": 20}) for _ in range(2))
    assert first.facts["train_samples"] == 20
    assert first.facts["train_samples_available"] == 54
    assert np.array_equal(first.predicted, second.predicted)
    assert len(first.rows) == 18


def test_a_checkpoint_takes_the_place_of_training(folder, tmp_path, monkeypatch):
    model = trained(folder / "regression.h5")
    model.ensemble.save(tmp_path / "ensemble.safetensors")
    monkeypatch.setattr(train, "train_member", None)
    of_the_chain = {"checkpoint": str(tmp_path / "ensemble.safetensors"), "consensus": True, "explain": True}
    specification = {**SPECIFICATION, **of_the_chain}
    again = trained(folder / "regression.h5", specification)
    assert np.array_equal(again.predicted, model.predicted)
    assert again.history.empty
    assert list(again.history.columns) == list(model.history.columns)
    assert again.members.equals(model.members)
    with pytest.raises(ConsilienceError, match=r"ensemble\.safetensors: parameter hidden\.0\.linear\.weight has shape"):
        trained(folder / "regression.h5", {**specification, "hidden": [7]})


def test_foreign_weights_keep_their_scaling_and_get_this_study_s_spread(folder, tmp_path):
    model = trained(folder / "regression.h5")
    state = {name: torch.as_tensor(np.array(values[0])) for name, values in model.ensemble.states.items()}
    torch.save(state, tmp_path / "foreign.pt")
    again = trained(folder / "regression.h5", {**SPECIFICATION, "checkpoint": str(tmp_path / "foreign.pt")})
    for branch, scaling in again.ensemble.scalings.items():
        assert not scaling.center.any()
        assert (scaling.scale == 1).all()
        assert np.array_equal(scaling.spread, model.ensemble.scalings[branch].spread)


def test_the_first_layers_start_smaller():
    specification = {"hidden": [4, 4], "residual": True}
    course, *labels = course_of({"first_layer_scale": 0.25})
    plain, *_ = course_of({"first_layer_scale": 1.0})
    jobs = jobs_of(course, *labels, seeds=1)
    [scaled], [original] = (modules_of(own, jobs, specification) for own in (course, plain))
    expected = {"hidden.0.linear.weight", "hidden.0.skip.weight"}
    for name, values in original.named_parameters():
        factor = 0.25 if name in expected else 1.0
        assert torch.equal(dict(scaled.named_parameters())[name], factor * values), name


def test_a_recurrent_first_layer_starts_smaller(folder):
    with Dataset.open(folder / "two.h5") as dataset:
        context = training_data.context_of(dataset)
    courses = [course_of({"first_layer_scale": scale})[0] for scale in (0.1, 1.0)]
    small, plain = (train.initialize(masked, {}, context, course, Member(0, 0)) for course in courses)
    assert torch.equal(small.image.weight_ih_l0, 0.1 * plain.image.weight_ih_l0)
    assert torch.equal(small.image.weight_hh_l0, plain.image.weight_hh_l0)


def test_a_module_that_does_not_name_its_first_layers_is_refused(folder, monkeypatch):
    monkeypatch.delattr(Masked, "first_layers")
    with pytest.raises(ConsilienceError, match=r"first_layer_scale is 0\.1, but Masked does not say which layers"):
        trained(folder / "two.h5", {}, build=masked)
    trained(folder / "two.h5", {}, {"epochs": 1, "seeds": 1, "first_layer_scale": 1.0}, build=masked)


def test_a_first_layer_without_weight_is_refused(folder, monkeypatch):
    monkeypatch.setattr(Masked, "first_layers", ["dropout"])
    with pytest.raises(ConsilienceError, match="first_layers names 'dropout', which has no weight"):
        trained(folder / "two.h5", {}, build=masked)


def test_bad_roles_targets_and_splits_are_refused(folder, tmp_path):
    split = split_of()
    with pytest.raises(ConsilienceError, match=r"regression\.h5: 0 samples in the test role"):
        trained(folder / "regression.h5", split=split.assign(role=["train", "validation"] * 45))
    with pytest.raises(ConsilienceError, match="the split's samples are not the dataset's"):
        trained(folder / "regression.h5", split=split.iloc[::-1])
    with (
        Dataset.open(folder / "regression.h5") as dataset,
        pytest.raises(ConsilienceError, match="the target TARGET is 3 in all 54 training samples"),
    ):
        dataset.__dict__["target"] = np.full(len(dataset), 3.0)
        train_model(dataset, split, perceptron, SPECIFICATION, SHORT, "mlp", 0)


def test_devices():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ConsilienceError, match="device: 'tpu' is not one of cpu, cuda, auto"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConsilienceError, match="device: cuda is asked for"):
            choose_device("cuda")


def test_when_members_are_stacked(folder):
    course, *labels = course_of({})
    modules = modules_of(course, jobs_of(course, *labels), SPECIFICATION)
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert not stacks(modules, {"stack": "auto"}, cpu)
    assert stacks(modules, {"stack": "auto"}, cuda)
    assert not stacks(modules[:1], {"stack": "auto"}, cuda)
    assert not stacks(modules, {"stack": "never"}, cuda)
    assert stacks(modules, {"stack": "always"}, cpu)
    with Dataset.open(folder / "two.h5") as dataset:
        loop = [Masked(training_data.context_of(dataset))] * 2
    assert not stacks(loop, {"stack": "auto"}, cuda)
    with pytest.raises(ConsilienceError, match=r"training\.stack: always, but Masked cannot be stacked"):
        stacks(loop, {"stack": "always"}, cpu)


def test_nothing_is_drawn_where_there_is_no_terminal(folder, capfd):
    trained(folder / "regression.h5")
    assert capfd.readouterr() == ("", "")


def test_predictions_do_not_depend_on_the_block(folder, monkeypatch):
    whole = trained(folder / "classification.h5")
    monkeypatch.setattr(train, "PREDICTION_BYTES", 4 * GENES * 5)
    assert np.allclose(trained(folder / "classification.h5").predicted, whole.predicted, atol=1e-6)
