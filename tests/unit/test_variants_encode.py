"""Calls as codes of a dictionary: the embedding written out, the rows it may see, and what the file keeps."""

import hashlib

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from consilience import resume
from consilience.dataset import Dataset
from consilience.domains.variants import projection as projections
from consilience.domains.variants.encode import encode
from consilience.domains.variants.projection import fit_projection
from consilience.errors import ConsilienceError
from consilience.resume import Journal
from consilience.sparse_autoencoder import SparseAutoencoder, _Fit
from tests.unit.variants_dictionary_examples import branches, embeddings, roles, settings, write


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    return write(tmp_path_factory.mktemp("calls") / "dataset.h5", branches())


def encoded(path, out, split=None, seed=0, **changes):
    with Dataset.open(path) as dataset:
        split = roles(len(dataset)) if split is None else split
        return encode(dataset, split, settings(**changes), out, seed, "cpu")


@pytest.fixture(scope="module")
def result(calls):
    out = calls.with_name("encoded.h5")
    return out, encoded(calls, out, seeds=2, sweep=[{"k": 2}])


def test_every_dictionary_goes_on_where_it_was_killed(calls, result, tmp_path, monkeypatch):
    """Those of the sweep, and those from other random starts; killed at every third time that the journal is written."""
    monkeypatch.setattr(resume, "SHARE_OF_TIME", 0)
    out, told = result
    epochs, kept, real = [], set(), _Fit._epoch
    monkeypatch.setattr(_Fit, "_epoch", lambda own, epoch: (epochs.append(epoch), real(own, epoch)))
    for _ in range(500):
        journal = Journal(tmp_path / "encode.safetensors", lambda: "key", seconds=0)
        kept |= set(journal.states)
        written, write = [], journal.write

        def die_at_times(write=write, written=written):
            write()
            written.append(1)
            if len(written) == 3:
                raise KeyboardInterrupt

        journal.write = die_at_times
        try:
            with Dataset.open(calls) as dataset:
                given = settings(seeds=2, sweep=[{"k": 2}])
                found = encode(dataset, roles(160), given, tmp_path / "encoded.h5", 0, "cpu", journal)
            break
        except KeyboardInterrupt:
            continue
    assert found == told
    assert (tmp_path / "encoded.h5").read_bytes() == out.read_bytes()
    assert kept == {"dictionary 0", "dictionary 1", "again 1"}
    # No epoch twice: the kill follows what is kept.
    assert len(epochs) == 3 * given["dictionary"]["epochs"]


def standardized(path, training):
    """The features of a dataset by NumPy alone, NaN where absent, then 0."""
    columns = []
    with Dataset.open(path) as dataset:
        for name in dataset.branches:
            values = dataset.inputs(name).astype(np.float64)
            mask = dataset.mask(name)
            if mask is not None:
                values[mask] = np.nan
            known = values[training]
            deviation = np.nanstd(known, axis=0)
            floor = projections.FLOOR * np.sqrt(np.mean(deviation**2))
            columns.append((values - np.nanmean(known, axis=0)) / np.maximum(deviation, floor))
    return np.nan_to_num(np.concatenate(columns, axis=1))


def test_the_embedding_is_that_of_its_description(calls):
    training = np.flatnonzero(roles(160)["role"] == "train")
    features = standardized(calls, training)
    with Dataset.open(calls) as dataset:
        found = fit_projection(dataset, training, 12, seed=0)
        inputs = found.inputs(dataset, np.arange(160))
        read = found.features(dataset, np.arange(160))
    assert np.allclose(read, features, atol=1e-4)
    weights = np.repeat([5**-0.5, 20**-0.5], [5, 20])
    basis = found.map / weights
    assert np.allclose(basis @ basis.T, np.eye(12), atol=1e-5)
    projected = (features * weights) @ basis.T
    expected = (projected - projected[training].mean(axis=0)) / projected[training].std(axis=0)
    assert np.allclose(inputs, expected, atol=1e-3)


def test_all_directions_together_keep_the_weighted_distances(calls):
    with Dataset.open(calls) as dataset:
        rows = np.arange(160)
        found = fit_projection(dataset, rows, 1000, seed=0)
        features = found.features(dataset, rows)
    assert found.map.shape == (25, 25)
    weights = np.repeat([5**-0.5, 20**-0.5], [5, 20])
    assert np.allclose(pdist(features @ found.map.T), pdist(features * weights), rtol=1e-4)


def test_memory_blocks_change_nothing(calls, monkeypatch):
    with Dataset.open(calls) as dataset:
        rows = np.arange(160)
        whole = fit_projection(dataset, rows, 12, seed=0).inputs(dataset, rows)
        monkeypatch.setattr(projections, "BLOCK_ROWS", 7)
        parts = fit_projection(dataset, rows, 12, seed=0)
        assert np.allclose(np.concatenate(list(parts.blocks(dataset, rows))), whole, atol=1e-5)


def test_codes_follow_from_what_the_file_keeps(calls, result):
    out, facts = result
    training = np.flatnonzero(roles(160)["role"] == "train")
    features = standardized(calls, training)
    with Dataset.open(out) as dataset:
        kept = {name: values.astype(np.float64) for name, values in dataset.representation.items()}
        codes, names = dataset.inputs("codes"), list(dataset.features["name"])
    inputs = (features @ kept["map"].T - kept["center"]) / kept["scale"]
    excited = (inputs - kept["bias"]) @ kept["encoder_weight"].T + kept["encoder_bias"]
    expected = np.where(excited > kept["threshold"], excited, 0)
    alive = kept["alive"].astype(int)
    assert np.allclose(codes, expected[:, alive], atol=1e-3)
    assert (np.flatnonzero((expected[training] > 0).any(axis=0)) == alive).all()
    assert names == [f"atom {atom}" for atom in alive]
    assert facts["alive"] == len(alive)


def test_facts_agree_with_the_codes(calls, result):
    out, facts = result
    test = np.flatnonzero(roles(160)["role"] == "test")
    with Dataset.open(out) as dataset:
        codes = dataset.inputs("codes")
    # Atoms that no training call excites are no features, so that codes may lack some of them.
    assert np.count_nonzero(codes[test]) / len(test) <= facts["quality"]["test"]["l0"] + 1e-9
    assert set(facts["codes_by_batch_size"].values()) == {facts["quality"]["test"]["l0"]}
    assert facts["rows"] == {"train": 115, "validation": 23, "test": 22}
    assert [one["dictionary"] for one in facts["sweep"]] == ["12to24_k3", "12to24_k2"]
    with Dataset.open(out) as dataset:
        cosines = dataset.representation["stability"]
    stability = facts["stability"]
    assert stability["mean_cosine"] == pytest.approx(cosines.mean(), abs=1e-6)
    assert 0.5 < stability["cosine_of_one_atom"] < 1
    assert stability["matched_share"] == pytest.approx((cosines >= stability["cosine_of_one_atom"]).mean())
    assert stability["matched_share"] < (cosines >= 0.3).mean()
    # A dictionary that was learned explains more than one that was drawn.
    random = facts["controls"]["random_dictionary"]["explained_variance"]
    assert facts["quality"]["test"]["explained_variance"] > random


def test_calls_without_a_sequence_are_counted_apart(tmp_path):
    parts = branches()
    known = ~parts["consensus"][1][:, 0]
    path, out = write(tmp_path / "dataset.h5", parts, has_sequence=known.astype(int)), tmp_path / "encoded.h5"
    facts = encoded(path, out)
    with Dataset.open(out) as dataset:
        active = (dataset.inputs("codes") > 0).sum(axis=1)
    role = (roles(160)["role"] == "train").to_numpy()
    found = facts["codes_by_sequence"]["train"]
    assert found == pytest.approx({"with": active[role & known].mean(), "without": active[role & ~known].mean()})
    path = write(tmp_path / "all.h5", parts, has_sequence=np.ones(160, int))
    assert encoded(path, out, epochs=1)["codes_by_sequence"] == {}


def test_the_sweep_tells_what_it_judged_by(result):
    _, facts = result
    taken = next(one for one in facts["sweep"] if one["dictionary"] == facts["dictionary"])
    assert taken["l0_train"] == pytest.approx(facts["quality"]["train"]["l0"])
    assert taken["dead_share_train"] == facts["quality"]["train"]["dead_share"]
    assert taken["sound"] == (abs(taken["l0_train"] / 3 - 1) <= 0.1 and taken["dead_share_train"] <= 0.05)


def test_errors_are_relative_to_the_mean_of_training_calls(calls, result):
    out, facts = result
    split = roles(160)["role"].to_numpy()
    features = standardized(calls, np.flatnonzero(split == "train"))
    with Dataset.open(out) as dataset:
        kept = {name: values.astype(np.float64) for name, values in dataset.representation.items()}
    inputs = (features @ kept["map"].T - kept["center"]) / kept["scale"]
    excited = (inputs - kept["bias"]) @ kept["encoder_weight"].T + kept["encoder_bias"]
    codes = np.where(excited > kept["threshold"], excited, 0)
    missed = inputs - codes @ kept["decoder_weight"].T - kept["bias"]
    center, test = inputs[split == "train"].mean(axis=0), split == "test"
    expected = np.square(missed[test]).sum() / np.square(inputs[test] - center).sum()
    assert facts["quality"]["test"]["normalized_mean_squared_error"] == pytest.approx(expected, rel=1e-3)
    own = np.square(missed[test]).sum() / np.square(inputs[test] - inputs[test].mean(axis=0)).sum()
    assert expected != pytest.approx(own, rel=1e-3)


def test_labels_and_held_out_calls_teach_nothing(tmp_path):
    parts = branches(seed=1)
    split = roles(160)
    test = (split["role"] == "test").to_numpy()
    changed = {name: (np.where(test[:, None], 9 * values, values), mask) for name, (values, mask) in parts.items()}
    one = write(tmp_path / "one.h5", parts)
    other = write(tmp_path / "other.h5", changed, labels=np.arange(160) % 3 % 2)
    found = {}
    for path in (one, other):
        encoded(path, path.with_name(f"encoded_{path.name}"), split)
        with Dataset.open(path.with_name(f"encoded_{path.name}")) as dataset:
            found[path.name] = dataset.representation, dataset.inputs("codes", np.flatnonzero(~test))
    for name, values in found["one.h5"][0].items():
        assert np.array_equal(values, found["other.h5"][0][name]), name
    assert np.array_equal(found["one.h5"][1], found["other.h5"][1])


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(calls, tmp_path):
    digests = []
    for place, seed in enumerate((0, 0, 1)):
        encoded(calls, tmp_path / f"{place}.h5", seed=seed, epochs=2)
        digests.append(hashlib.sha256((tmp_path / f"{place}.h5").read_bytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]


def test_embeddings_made_elsewhere_are_scaled_alone(tmp_path):
    path, out = write(tmp_path / "dataset.h5", embeddings()), tmp_path / "encoded.h5"
    facts = encoded(path, out, expansion=2, k=2, epochs=60, batch_size=64)
    training = np.flatnonzero(roles(400)["role"] == "train")
    with Dataset.open(path) as dataset, Dataset.open(out) as codes:
        values = dataset.inputs("embedding").astype(np.float64)
        kept = codes.representation
        assert "map" not in kept
        assert np.allclose(kept["raw_center"], values[training].mean(axis=0), atol=1e-4)
        assert (kept["center"] == 0).all()
        assert (kept["scale"] == 1).all()
    assert facts["quality"]["test"]["explained_variance"] > 0.8
    assert facts["controls"]["principal_components"]["explained_variance"] < 0.5


def test_few_calls_may_be_held_in_memory(tmp_path, calls):
    facts = encoded(calls, tmp_path / "few.h5", maximum_samples=40, epochs=2)
    assert facts["rows"] == {"train": 40, "validation": 23, "test": 22}


def test_a_dictionary_without_active_atoms_is_refused(tmp_path, calls):
    module = SparseAutoencoder(12, 6, 2)
    with torch.no_grad():
        module.encoder.bias.fill_(-1e6)
    state = {name: values for name, values in module.state_dict().items() if name not in ("bias", "threshold")}
    config = {"input_dim": 12, "feature_dim": 6, "k": 2, "mu": torch.zeros(12), "std": torch.ones(12)}
    torch.save({"config": config, "model_state_dict": state}, tmp_path / "sae.pt")
    with pytest.raises(ConsilienceError, match=r"dataset\.h5: no atom of the dictionary is active in any call of the"):
        encoded(calls, tmp_path / "encoded.h5", checkpoint=str(tmp_path / "sae.pt"))
    assert not (tmp_path / "encoded.h5").exists()
