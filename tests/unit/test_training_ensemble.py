from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from scipy.special import softmax

from consilience.dataset import Dataset
from consilience.errors import ConsilienceError
from consilience.files import read_tensors
from consilience.networks import NetworkContext
from consilience.scaling import Scaling, fit
from consilience.training.checkpoint import import_checkpoint
from consilience.training.data import feature_axis
from consilience.training.ensemble import Ensemble, build_network, load_member, predict, stack_states
from consilience.training.members import Member
from tests.unit.training_examples import GENES, masked, perceptron, two_branch_dataset

SPECIFICATION = {"hidden": [5, 3], "dropout": 0.2, "batchnorm": True}
CONTEXT = NetworkContext({"genes": (GENES,)}, 1, {}, GENES)


@pytest.fixture(scope="module")
def two_branches(tmp_path_factory):
    """An ensemble whose branches are not in alphabetical order."""
    path = two_branch_dataset(tmp_path_factory.mktemp("data") / "d.h5")
    with Dataset.open(path) as dataset:
        context = NetworkContext({"image": (3, 5), "genes": (4,)}, 3, {"depth": (1,)}, 6)
        scalings = {branch: fit(dataset, branch, np.arange(40)) for branch in context.branches}
        axis = feature_axis(dataset)
    states = stack_states([build_network(masked, {}, context, seed).state_dict() for seed in range(3)])
    members = [Member(place, seed, "half:1", place) for place, seed in enumerate((4, 2, 9))]
    fields = (dict(context.branches), dict(context.auxiliary), members, states, scalings, 0.0, 1.0)
    return Ensemble("model", {"kind": "x", "n": [1]}, "votes", 3, 6, axis, *fields)


def ensemble_of_genes(**changes) -> Ensemble:
    states = stack_states([build_network(perceptron, SPECIFICATION, CONTEXT, seed).state_dict() for seed in range(2)])
    ones = np.ones(GENES, np.float32)
    fields = {
        "model": "mlp", "specification": SPECIFICATION, "task": "regression", "outputs": 1, "features": GENES,
        "axis": "names", "branches": {"genes": (GENES,)}, "auxiliary": {}, "members": [Member(0, 0), Member(1, 1)],
        "states": states, "scalings": {"genes": Scaling(5 * ones, 2 * ones, 2 * ones)},
        "target_center": 100.0, "target_scale": 12.5,
    }  # fmt: skip
    return Ensemble(**{**fields, **changes})


def test_an_ensemble_comes_back_as_it_was(two_branches, tmp_path):
    two_branches.save(tmp_path / "e.safetensors")
    loaded = Ensemble.load(tmp_path / "e.safetensors")
    for name in ("model", "specification", "task", "outputs", "features", "axis", "auxiliary", "members"):
        assert getattr(loaded, name) == getattr(two_branches, name), name
    assert list(loaded.branches.items()) == list(two_branches.branches.items())
    assert sorted(loaded.states) == sorted(two_branches.states)
    for name, values in two_branches.states.items():
        assert np.array_equal(loaded.states[name], values)
        assert loaded.states[name].dtype == values.dtype
    for branch, scaling in two_branches.scalings.items():
        for part, values in vars(scaling).items():
            assert np.array_equal(getattr(loaded.scalings[branch], part), values)
    assert loaded.context == two_branches.context


def test_the_file_has_the_names_of_the_contract(tmp_path):
    ensemble_of_genes().save(tmp_path / "e.safetensors")
    tensors, facts = read_tensors(tmp_path / "e.safetensors")
    assert tensors["state/output.weight"].shape == (2, 1, 3)
    assert tensors["state/hidden.0.normalization.running_var"].shape == (2, 5)
    assert {"scaling/genes/center", "scaling/genes/scale", "scaling/genes/spread"} <= set(tensors)
    assert (tensors["target/center"].item(), tensors["target/scale"].item()) == (100.0, 12.5)
    assert facts["members"][1] == {"member": 1, "seed": 1, "rows": "all", "permuted": 0}
    assert facts["branches"] == {"genes": [GENES]}


def test_saving_twice_gives_the_same_bytes(two_branches, tmp_path):
    digests = set()
    for name in ("a", "b"):
        two_branches.save(tmp_path / f"{name}.safetensors")
        digests.add(hashlib.sha256((tmp_path / f"{name}.safetensors").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_foreign_file_is_no_ensemble(tmp_path):
    save_file({"x": np.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(ConsilienceError, match=r"x\.safetensors: no ensemble"):
        Ensemble.load(tmp_path / "x.safetensors")


@pytest.mark.parametrize("batch", [1, 4, 1000])
def test_predictions_are_every_member_s_for_any_batch(two_branches, batch):
    generator = np.random.default_rng(0)
    image, genes = generator.normal(size=(9, 3, 5)).astype("f"), generator.normal(size=(9, 4)).astype("f")
    auxiliary = {"depth": generator.normal(size=(9, 1)).astype("f"), "mask_image": generator.random((9, 3, 5)) < 0.3}

    def reversed_branches(specification, context):
        module = masked(specification, context)
        plain = module.forward
        module.forward = lambda image, genes, **auxiliary: plain(genes, image, **auxiliary)
        return module

    module = two_branches.network(reversed_branches)
    outputs = predict(module, two_branches.states, (image, genes), auxiliary, batch)
    assert outputs.shape == (3, 9, 3)
    for place in range(3):
        own = build_network(reversed_branches, {}, two_branches.context, 0).eval()
        own.load_state_dict(
            {name: torch.from_numpy(values[place].copy()) for name, values in two_branches.states.items()}
        )
        tensors = {name: torch.from_numpy(values) for name, values in auxiliary.items()}
        expected = own(torch.from_numpy(image), torch.from_numpy(genes), **tensors).detach().numpy()
        assert np.allclose(outputs[place], expected, atol=1e-6)
    assert np.ptp(outputs, axis=0).min() > 0


def test_outputs_become_what_they_predict(two_branches):
    outputs = np.random.default_rng(1).normal(0, 30, (2, 5, 3)).astype("f")
    assert np.allclose(two_branches.predictions(outputs), softmax(outputs.astype(float), axis=-1))
    assert np.allclose(two_branches.predictions(1e4 * outputs).sum(axis=-1), 1)
    assert np.allclose(ensemble_of_genes().predictions([[[0.0], [-2.0]]]), [[100.0, 75.0]])


def test_a_network_follows_its_seed_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = build_network(perceptron, SPECIFICATION, CONTEXT, 7).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    second, other = (build_network(perceptron, SPECIFICATION, CONTEXT, seed).state_dict() for seed in (7, 8))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["output.weight"], other["output.weight"])


def test_a_loaded_member_is_a_copy():
    ensemble = ensemble_of_genes()
    module = load_member(ensemble.network(perceptron), ensemble.states, 1)
    with torch.no_grad():
        module.output.weight.zero_()
    assert ensemble.states["output.weight"][1].any()


def imported(path, **changes):
    given = {"specification": SPECIFICATION, "context": CONTEXT, "model": "new", "task": "regression", "axis": "names"}
    return import_checkpoint(path, perceptron, **{**given, **changes})


def test_an_own_checkpoint_keeps_members_scaling_and_target(tmp_path):
    ensemble_of_genes().save(tmp_path / "e.safetensors")
    found = imported(tmp_path / "e.safetensors")
    assert found.model == "new"
    assert found.members == ensemble_of_genes().members
    assert found.target_scale == 12.5
    assert np.all(found.scalings["genes"].center == 5)
    assert all(np.array_equal(found.states[name], values) for name, values in ensemble_of_genes().states.items())


@pytest.mark.parametrize("kind", ["safetensors", "pt", "state_dict", "model_state_dict"])
def test_foreign_weights_become_one_member_on_unscaled_inputs(tmp_path, kind):
    state = build_network(perceptron, SPECIFICATION, CONTEXT, 3).state_dict()
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        save_file({name: values.numpy() for name, values in state.items()}, path)
    else:
        torch.save(state if kind == "pt" else {kind: state, "epoch": 3}, path)
    found = imported(path)
    assert found.members == [Member(0, 0)]
    assert (found.target_center, found.target_scale) == (0.0, 1.0)
    assert np.all(found.scalings["genes"].center == 0)
    assert np.all(found.scalings["genes"].scale == 1)
    assert all(np.array_equal(found.states[name][0], values.numpy()) for name, values in state.items())


def changed(change):
    state = {
        name: values.clone()
        for name, values in build_network(perceptron, SPECIFICATION, CONTEXT, 3).state_dict().items()
    }
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("hidden.1.linear.weight"), r"parameter hidden\.1\.linear\.weight \(3, 5\) is missing"),
        (lambda state: state.update(extra=torch.ones(2, 4)), r"parameter extra \(2, 4\) is unexpected"),
        (
            lambda state: state.update({"hidden.0.linear.weight": torch.ones(5, 9)}),
            r"parameter hidden\.0\.linear\.weight has shape \(5, 9\); expected \(5, 12\)",
        ),
        (
            lambda state: state["output.bias"].fill_(float("nan")),
            r"parameter output\.bias \(1,\) has a value that is not finite",
        ),
        (
            lambda state: state.update({"output.bias": torch.ones(1, dtype=torch.int64)}),
            r"parameter output\.bias \(1,\) is of type int64; expected float32",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, change, message):
    torch.save(changed(change), tmp_path / "w.pt")
    with pytest.raises(ConsilienceError, match=rf"w\.pt: {message}") as raised:
        imported(tmp_path / "w.pt")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "votes"}, "its task is regression; this study has votes"),
        ({"axis": "other names"}, "trained on other features"),
        ({"context": NetworkContext({"genes": (9,)}, 1, {}, 9)}, r"its branches is .*12.*; this study has .*9"),
    ],
)
def test_an_ensemble_of_another_study_is_refused(tmp_path, changes, message):
    ensemble_of_genes().save(tmp_path / "e.safetensors")
    with pytest.raises(ConsilienceError, match=message):
        imported(tmp_path / "e.safetensors", **changes)


def test_a_member_missing_from_one_parameter_is_refused(tmp_path):
    ensemble = ensemble_of_genes()
    ensemble.states["output.bias"] = ensemble.states["output.bias"][:1]
    ensemble.save(tmp_path / "e.safetensors")
    with pytest.raises(ConsilienceError, match=r"parameter output\.bias has 1 members; expected 2"):
        imported(tmp_path / "e.safetensors")


class Payload:
    def __reduce__(self):
        return (print, ("executed",))


def test_files_that_are_no_weights_are_refused(tmp_path, capsys):
    (tmp_path / "text.pt").write_text("hello")
    torch.save({"weights": Payload()}, tmp_path / "code.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save(changed(lambda _: None), tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:-200])
    (tmp_path / "bad.safetensors").write_bytes(b"12345678")
    for name in (
        "text.pt",
        "code.pt",
        "list.pt",
        "cut.pt",
        "bad.safetensors",
        "absent.pt",
        "absent.safetensors",
        "w.onnx",
    ):
        with pytest.raises(ConsilienceError, match=name) as raised:
            imported(tmp_path / name)
        assert "\n" not in str(raised.value)
    assert "executed" not in capsys.readouterr().out
