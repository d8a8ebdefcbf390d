"""Sparse autoencoders against planted dictionaries, plain loops and scikit-learn."""

import gzip

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import explained_variance_score, mean_squared_error

from consilience.attribution.interception import Interception
from consilience.domains.fashion.simulate import simulate
from consilience.errors import ConsilienceError
from consilience.principal_components import directions, errors_of
from consilience.sparse_autoencoder import (
    Recipe,
    SparseAutoencoder,
    _Fit,
    keep_above,
    keep_largest,
    quality,
)

ERRORS = ("mean_squared_error", "normalized_mean_squared_error", "explained_variance")


def planted(seed=0, rows=1500, inputs=20, atoms=24, active=3):
    """Rows made of few atoms each, and the atoms (inputs, atoms)."""
    random = np.random.default_rng(seed)
    dictionary = random.standard_normal((inputs, atoms))
    dictionary /= np.linalg.norm(dictionary, axis=0)
    codes = random.uniform(1, 2, (rows, atoms)) * (random.random((rows, atoms)).argsort(axis=1) < active)
    noise = 0.02 * random.standard_normal((rows, inputs))
    return torch.tensor(codes @ dictionary.T + noise, dtype=torch.float32), dictionary


def fitted(activation="top_k", k=3, atoms=32, seed=0, **recipe):
    training, _ = planted()
    recipe = {"epochs": 60, "batch_size": 64, "learning_rate": 5e-3, **recipe}
    module = SparseAutoencoder(20, atoms, k, activation, Recipe(**recipe))
    return module, module.fit(training[:1200], training[1200:], seed)


@pytest.fixture(scope="module", params=["top_k", "batch_top_k"])
def learned(request):
    return fitted(request.param)


def test_planted_atoms_are_found(learned):
    module, facts = learned
    _, dictionary = planted()
    similarity = np.abs(module.atoms.detach().numpy().T @ dictionary).max(axis=0)
    assert (similarity > 0.9).mean() > 0.9
    assert facts["validation"]["normalized_mean_squared_error"] < 0.08
    assert facts["normalized_error"][-1] < 0.3 * facts["normalized_error"][0]


def test_atoms_have_length_one(learned):
    assert torch.allclose(learned[0].atoms.norm(dim=0), torch.ones(32), atol=1e-6)


def test_so_many_codes_are_left(learned):
    module, facts = learned
    codes = module(planted()[0][1200:])
    assert (codes >= 0).all()
    if module.activation == "top_k":
        assert (codes > 0).sum(dim=1).max() <= 3
    assert facts["validation"]["l0"] == pytest.approx(3, rel=0.1)


def test_the_company_of_a_sample_changes_nothing(learned):
    """Neither the size of batches nor their order, in float32's own rounding."""
    module, rows = learned[0], planted()[0][1200:]
    alone = torch.cat([module(row[None]) for row in rows])
    assert torch.allclose(alone, module(rows), atol=1e-6)
    assert torch.allclose(module(rows.flip(0)).flip(0), module(rows), atol=1e-6)


def test_quality_is_scikit_learns(learned):
    module, facts = learned
    rows, center = planted()[0][1200:], planted()[0][:1200].mean(dim=0)
    codes = module(rows).detach()
    own, again = rows.numpy(), module.decode(codes).detach().numpy()
    found = quality(module, rows, center)
    assert found == facts["validation"]
    assert found["mean_squared_error"] == pytest.approx(mean_squared_error(own, again), rel=1e-5)
    spread = mean_squared_error(own, np.broadcast_to(center.numpy(), own.shape))
    assert found["normalized_mean_squared_error"] == pytest.approx(mean_squared_error(own, again) / spread, rel=1e-5)
    expected = explained_variance_score(own, again, multioutput="variance_weighted")
    assert found["explained_variance"] == pytest.approx(expected, rel=1e-5)
    assert found["l0"] == pytest.approx(np.mean((codes > 0).sum(dim=1).numpy()))
    assert found["dead_share"] == pytest.approx(float((codes == 0).all(dim=0).double().mean()))


def test_principal_components_are_scikit_learns():
    training, rows = planted()[0][:1200], planted()[0][1200:]
    center, vectors = directions(training)
    for count in (1, 4, 7):
        model = PCA(count, svd_solver="full").fit(training.double().numpy())
        again = model.inverse_transform(model.transform(rows.double().numpy()))
        found = errors_of(center, vectors[:, :count], rows)
        assert tuple(found) == ERRORS
        assert found["mean_squared_error"] == pytest.approx(mean_squared_error(rows.numpy(), again), rel=1e-6)
        expected = explained_variance_score(rows.numpy(), again, multioutput="variance_weighted")
        assert found["explained_variance"] == pytest.approx(expected, rel=1e-6)


def test_there_are_no_more_directions_than_rows_vary_along():
    training = planted()[0][:1200]
    assert directions(training)[1].shape == (training.shape[1], training.shape[1])
    center, vectors = directions(training[:9])
    assert vectors.shape == (training.shape[1], 8)
    assert errors_of(center, vectors, training[:9])["normalized_mean_squared_error"] == pytest.approx(0, abs=1e-9)


def test_the_threshold_lets_k_through_on_the_validation_rows():
    module, _ = fitted("batch_top_k")
    rows = planted()[0][1200:]
    assert int((module.pre_activations(rows) > module.threshold).sum()) == 3 * len(rows)


def test_while_fitted_a_batch_shares_its_codes(monkeypatch):
    chosen = []
    monkeypatch.setattr(
        "consilience.sparse_autoencoder.keep_largest",
        lambda values, k: chosen.append((values.shape, k)) or keep_largest(values, k),
    )
    fitted("batch_top_k", epochs=1, auxiliary_atoms=5)
    shapes = {tuple(shape): k for shape, k in chosen if len(shape) == 1}
    assert shapes == {(64 * 32,): 64 * 3, (48 * 32,): 48 * 3}


def test_the_auxiliary_loss_revives_dead_atoms(tmp_path):
    """On pictures, of which a dictionary of random atoms knows nothing at first."""
    source = {"kind": "simulate", "train": 600, "test": 10, "contrast": 0.24, "spread": 0.07, "noise": 0.04}
    simulate(tmp_path, {"source": source}, 0)
    with gzip.open(tmp_path / "train-images-idx3-ubyte.gz") as file:
        pictures = np.frombuffer(file.read(), np.uint8, offset=16).reshape(600, 784)
    rows = torch.tensor(pictures / 255, dtype=torch.float32)
    dead = []
    for auxiliary in (0.125, 0.0):
        module = SparseAutoencoder(784, 256, 16, recipe=Recipe(epochs=25, batch_size=32, auxiliary=auxiliary))
        module.fit(rows[:500], rows[500:], 0)
        dead.append(quality(module, rows[:500], rows[:500].mean(dim=0))["dead_share"])
    assert dead[1] > 0.1
    assert dead[0] < 0.5 * dead[1]


def test_an_input_that_never_varies_has_no_weight():
    rows = planted()[0].clone()
    rows[:, 3] = 0.5
    module = SparseAutoencoder(20, 24, 3, recipe=Recipe(epochs=3, batch_size=64))
    module.fit(rows[:1200], rows[1200:], 0)
    assert not module.encoder.weight[:, 3].any()
    assert not module.atoms[3].any()


def test_the_same_seed_gives_the_same_dictionary_and_another_another():
    first, again, other = (fitted(seed=seed, epochs=2)[0].atoms for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_auxiliary_loss_is_in_units_of_what_is_left():
    """So that inputs of another size are learned alike, up to the size of Adam's steps."""
    rows, found = planted()[0], []
    for scale in (1.0, 4.0):
        module = SparseAutoencoder(20, 24, 3, recipe=Recipe(batch_size=64))
        fit = _Fit(module, scale * rows[:1200], 0)
        fit.idle += 5000
        with torch.no_grad():
            excited = module.pre_activations(scale * rows[:64])
            left = scale * rows[:64] - module.decode(keep_largest(excited, 3))
        found.append(fit._auxiliary_loss(excited, left).item())
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.parametrize("rate", [30.0, 1e30])
def test_a_fit_that_diverges_is_refused(rate):
    with pytest.raises(ConsilienceError, match=r"the dictionary diverged.*lower autoencoder.learning_rate \("):
        fitted(epochs=4, learning_rate=rate)


def test_what_rows_that_do_not_differ_leave_undefined():
    training, same = planted()[0][:1200], planted()[0][:1].repeat(5, 1)
    module = SparseAutoencoder(20, 24, 3, recipe=Recipe(epochs=1))
    facts = module.fit(training, same, 0)["validation"]
    assert facts["explained_variance"] is None
    assert facts["normalized_mean_squared_error"] > 0
    center = training.mean(dim=0)
    assert quality(module, center[None], center)["normalized_mean_squared_error"] is None


def test_the_largest_are_a_plain_loops():
    values = torch.randn(7, 11, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros_like(values)
    for row, one in enumerate(values):
        for place in sorted(range(11), key=lambda place: -float(one[place]))[:4]:
            expected[row, place] = max(0.0, float(one[place]))
    assert torch.equal(keep_largest(values, 4), expected)
    assert torch.equal(keep_above(values, torch.tensor(0.5)), torch.where(values > 0.5, values, 0))


def test_the_gradient_passes_where_codes_are_kept():
    values = torch.randn(5, 9, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for kept in (keep_largest(values, 3), keep_above(values, torch.tensor(0.3))):
        (gradient,) = torch.autograd.grad(kept.sum(), values)
        assert torch.equal(gradient, (kept > 0).float())


@pytest.mark.parametrize("function", [lambda x: keep_largest(x, 2), lambda x: keep_above(x, torch.tensor(0.1))])
def test_attribution_sees_one_call(function):
    names, inputs = [], torch.randn(3, 6)
    with Interception(deep=(inputs,), nonlinear=lambda call: names.append(call.name) or call.run()) as interception:
        outputs = function(inputs)
        interception.cut(outputs)
    assert len(names) == 1
    assert names[0].startswith("keep_")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, 8, 9), "k: 9 of 8 atoms; expected 1 to 8"),
        ((4, 8, 0), "k: 0 of 8 atoms"),
        ((4, 8, 2, "relu"), "activation: 'relu'; expected one of top_k, batch_top_k"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ConsilienceError, match=message):
        SparseAutoencoder(*arguments)


def test_rows_that_are_all_alike_are_refused():
    with pytest.raises(ConsilienceError, match="two rows or more that differ; given: 5"):
        SparseAutoencoder(4, 8, 2).fit(torch.ones(5, 4), torch.ones(5, 4), 0)
