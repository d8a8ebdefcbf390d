"""Which dictionary is taken, how its atoms are matched, and dictionaries that were learned elsewhere."""

import itertools
import json

import numpy as np
import pytest
import torch

from consilience.dataset import Dataset
from consilience.domains.variants.dictionaries import Candidate, best, controls, fitted, matched, sizes
from consilience.domains.variants.dictionary_tables import dictionary_facts, dictionary_tensors
from consilience.domains.variants.encode import encode
from consilience.domains.variants.imported import import_dictionary, negative_share, weights_file
from consilience.errors import ConsilienceError
from consilience.files import write_tensors
from consilience.sparse_autoencoder import SparseAutoencoder
from tests.unit.variants_dictionary_examples import DICTIONARY, branches, embeddings, roles, settings, write


def candidate(atoms, k, explained, l0=None, dead=0.0, l0_train=None):
    found = {"explained_variance": explained, "l0": k if l0 is None else l0, "dead_share": 0.0}
    trained = {"l0": k if l0_train is None else l0_train, "dead_share": dead}
    return Candidate(SparseAutoencoder(10, atoms, k), found, trained)


@pytest.mark.parametrize(
    ("candidates", "taken"),
    [
        ([candidate(10, 4, 0.80), candidate(10, 2, 0.60)], "10to10_k4"),
        ([candidate(10, 4, 0.80), candidate(10, 2, 0.79)], "10to10_k2"),  # sparser, and nearly as good
        ([candidate(20, 4, 0.80), candidate(10, 4, 0.79)], "10to10_k4"),  # narrower, and nearly as good
        ([candidate(10, 4, 0.70), candidate(20, 2, 0.80, dead=0.2)], "10to10_k4"),  # dead atoms
        ([candidate(10, 4, 0.70), candidate(20, 2, 0.80, l0=2.3)], "10to10_k4"),  # codes too many
        ([candidate(10, 4, 0.70), candidate(20, 2, 0.80, l0_train=1.7)], "10to10_k4"),  # other codes than in training
        ([candidate(10, 4, 0.70, dead=0.3), candidate(20, 2, 0.80, dead=0.2)], "10to20_k2"),  # none is sound
    ],
)
def test_the_sparsest_of_nearly_equal_dictionaries_is_taken(candidates, taken):
    for order in itertools.permutations(candidates):
        assert best(order, tolerance=0.02).name == taken


def test_sizes_follow_from_the_width_of_the_embedding():
    own = DICTIONARY | {"expansion": 1.5, "k": 4, "sweep": [{"k": 2}, {"expansion": 3}, {"expansion": 1.5}]}
    assert sizes(own, 10) == [(15, 4), (15, 2), (30, 4)]
    usual = [sizes(DICTIONARY | {"expansion": 1, "k": None}, width)[0] for width in (4096, 256, 4)]
    assert usual == [(4096, 64), (256, 32), (4, 1)]
    with pytest.raises(ConsilienceError, match=r"^dictionary\.sweep\.0: k is 20, but 1\.5 times .* 15 atoms"):
        sizes(own | {"sweep": [{"k": 20}]}, 10)
    with pytest.raises(ConsilienceError, match=r"^dictionary: k is 4, but 0\.2 times .* 2 atoms; lower k"):
        sizes(own | {"expansion": 0.2}, 10)


def test_atoms_are_matched_one_to_one():
    atoms = torch.nn.functional.normalize(torch.randn(6, 5, generator=torch.Generator().manual_seed(0)), dim=0)
    order = [3, 0, 4, 1, 2]
    assert np.allclose(matched(atoms, 7 * atoms[:, order]), 1, atol=1e-6)
    other = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    cosines = (atoms.T @ torch.nn.functional.normalize(other, dim=0)).numpy()
    most = max(cosines[range(5), list(columns)].sum() for columns in itertools.permutations(range(5)))
    assert matched(atoms, other).sum() == pytest.approx(most, abs=1e-5)


def test_planted_atoms_come_again_from_another_seed_and_noise_does_not():
    values = embeddings(calls=1200)["embedding"][0]
    rows = torch.tensor((values - values.mean(axis=0)) / values.std(axis=0), dtype=torch.float32)
    noise = torch.randn(1200, 16, generator=torch.Generator().manual_seed(0))
    own = DICTIONARY | {"epochs": 60, "batch_size": 64}
    again = {}
    for name, data in (("planted", rows), ("noise", noise)):
        one, other = (fitted(data[:1000], data[1000:], (20, 2), own, seed).module for seed in (0, 1))
        again[name] = float(np.mean(matched(one.atoms.detach(), other.atoms.detach()) > 0.9))
    assert again["planted"] > 0.6
    assert again["noise"] < 0.2


def test_controls_are_what_they_say():
    random = torch.Generator().manual_seed(0)
    training, test = (torch.randn(rows, 8, generator=random) * torch.arange(1, 9) for rows in (500, 200))
    found = controls(training, test, atoms=8, k=3, seed=0)
    # The three largest of eight variances 1, 4, ... 64.
    assert found["principal_components"]["explained_variance"] == pytest.approx((64 + 49 + 36) / 204, abs=0.05)
    assert 0 < found["random_dictionary"]["explained_variance"] < found["principal_components"]["explained_variance"]
    assert found["random_dictionary"]["l0"] <= 3
    for factor in (0.5, 2.0):  # least squares on the training rows leaves no better factor
        module = _scaled_random(training, factor)
        assert _error(module, training) > _error(_scaled_random(training, 1.0), training)


def _scaled_random(training, factor):
    from consilience.domains.variants.dictionaries import _random_dictionary

    module = _random_dictionary(training, 8, 3, 0)
    with torch.no_grad():
        module.atoms.mul_(factor)
    return module


def _error(module, rows):
    with torch.no_grad():
        return float((rows - module.decode(module(rows))).square().sum())


def saved(folder, name="sae.pt", width=16, atoms=12, k=3, config=None, state=None, drop=()):
    """A file like the earlier system's; `config` and `state` change or add entries."""
    module = torch.nn.ModuleDict(
        {"encoder": torch.nn.Linear(width, atoms), "decoder": torch.nn.Linear(atoms, width, bias=False)}
    )
    torch.manual_seed(0)
    for values in module.parameters():
        torch.nn.init.normal_(values)
    own = {"input_dim": width, "feature_dim": atoms, "k": k, "μ": torch.randn(1, width), "σ": torch.rand(width) + 0.5}
    content = {
        "config": {key: value for key, value in (own | (config or {})).items() if key not in drop},
        "model_state_dict": {
            key: value for key, value in (dict(module.state_dict()) | (state or {})).items() if key not in drop
        },
    }
    torch.save(content, folder / name)
    return folder / name


def test_an_existing_dictionary_encodes_as_the_earlier_system_did_but_for_negative_codes(tmp_path):
    path = saved(tmp_path)
    content = torch.load(path, weights_only=True)
    config, state = content["config"], content["model_state_dict"]
    data = write(tmp_path / "dataset.h5", embeddings())
    with Dataset.open(data) as dataset:
        facts = encode(dataset, roles(400), settings(checkpoint=str(path)), tmp_path / "encoded.h5", 0, "cpu")
        raw = torch.tensor(dataset.inputs("embedding"))
    white = (raw - config["μ"]) / (config["σ"] + 1e-6)
    excited = white @ state["encoder.weight"].T + state["encoder.bias"]
    places = excited.topk(3, dim=1).indices
    expected = torch.zeros_like(excited).scatter(1, places, excited.gather(1, places))
    with Dataset.open(tmp_path / "encoded.h5") as dataset:
        codes, alive = dataset.inputs("codes"), dataset.representation["alive"]
    assert np.allclose(codes, expected.clamp_min(0).numpy()[:, alive], atol=1e-3)
    test = (roles(400)["role"] == "test").to_numpy()
    assert facts["negative_share"] == pytest.approx(float((excited.gather(1, places)[test] <= 0).double().mean()))
    assert facts["imported"] is True
    assert "sweep" not in facts


def test_the_folder_of_the_best_model_is_followed(tmp_path):
    folder = tmp_path / "16to12_k3"
    folder.mkdir()
    path = saved(folder)
    best_file = tmp_path / "BEST_MODEL.json"
    best_file.write_text(json.dumps({"best_dir": "16to12_k3"}))
    assert weights_file(best_file) == path
    best_file.write_text(json.dumps({"best_dir": "elsewhere"}))
    with pytest.raises(
        ConsilienceError, match=r"BEST_MODEL\.json: best_dir is 'elsewhere'; no dictionary\.safetensors or sae\.pt in"
    ):
        weights_file(best_file)
    best_file.write_text(json.dumps({"folder": "16to12_k3"}))
    with pytest.raises(ConsilienceError, match=r"BEST_MODEL\.json: no text under best_dir"):
        weights_file(best_file)


def exported(folder, encoded, dataset):
    """The dictionary of an encoded dataset as the analysis writes it."""
    with Dataset.open(encoded) as codes, Dataset.open(dataset) as raw:
        tensors = dictionary_tensors(codes.representation)
        facts = {"dictionary": "mine", "k": 3, "activation": "batch_top_k"}
        write_tensors(folder / "dictionary.safetensors", tensors, dictionary_facts(facts, raw.features["name"]))
    return folder / "dictionary.safetensors"


def test_a_dictionary_of_another_study_encodes_other_calls_as_it_did_its_own(tmp_path):
    first, other = branches(seed=0), branches(seed=1, calls=60)
    joined = {
        name: (np.concatenate([values, other[name][0]]), np.concatenate([mask, other[name][1]]))
        for name, (values, mask) in first.items()
    }
    both, new = write(tmp_path / "both.h5", joined), write(tmp_path / "new.h5", other)
    # The later calls are of no role, so that the dictionary is fitted without them.
    split = roles(220)
    split.loc[160:, "role"] = "excluded"
    with Dataset.open(both) as dataset:
        encode(dataset, split, settings(), tmp_path / "both_encoded.h5", 0, "cpu")
    path = exported(tmp_path, tmp_path / "both_encoded.h5", both)
    with Dataset.open(new) as dataset:
        facts = encode(dataset, roles(60), settings(checkpoint=str(path)), tmp_path / "new_encoded.h5", 5, "cpu")
    with Dataset.open(tmp_path / "both_encoded.h5") as whole, Dataset.open(tmp_path / "new_encoded.h5") as part:
        names = list(part.features["name"])
        codes = whole.inputs("codes")[160:][:, [list(whole.features["name"]).index(name) for name in names]]
        assert np.allclose(part.inputs("codes"), codes, atol=1e-5)
    assert (facts["imported"], facts["activation"]) == (True, "batch_top_k")
    assert "negative_share" not in facts


def test_a_dictionary_of_other_features_is_refused(tmp_path):
    data = write(tmp_path / "dataset.h5", branches())
    with Dataset.open(data) as dataset:
        encode(dataset, roles(160), settings(epochs=1), tmp_path / "encoded.h5", 0, "cpu")
    path = exported(tmp_path, tmp_path / "encoded.h5", data)
    other = write(tmp_path / "other.h5", {"attributes": branches()["attributes"]})
    message = (
        r"dictionary\.safetensors: of other features .*: number 5 \(from 0\) is 'consensus 0', here 'nothing'; take"
    )
    with Dataset.open(other) as dataset, pytest.raises(ConsilienceError, match=message):
        encode(dataset, roles(160), settings(checkpoint=str(path)), tmp_path / "no.h5", 0, "cpu")
    write_tensors(path, {"weights": np.zeros(2)}, {"features": []})
    with Dataset.open(data) as dataset, pytest.raises(ConsilienceError, match="not one of this workflow"):
        encode(dataset, roles(160), settings(checkpoint=str(path)), tmp_path / "no.h5", 0, "cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {"input_dim": 20}}, "input_dim is 20; the embeddings have 16 numbers"),
        ({"config": {"k": 13}}, "k: 13 of 12 atoms"),
        ({"config": {"k": "3"}}, "config.k is '3'; expected a whole number above 0"),
        ({"drop": ("μ",)}, "config has neither μ nor mu"),
        ({"config": {"μ": torch.zeros(4)}}, r"config.μ has shape \(4,\); expected \(16,\)"),
        ({"config": {"σ": torch.full((16,), -1.0)}}, "config.σ has a negative number"),
        ({"drop": ("encoder.bias",)}, r"model_state_dict.encoder.bias \(12,\) is missing"),
        ({"state": {"decoder.bias": torch.zeros(16)}}, "model_state_dict.decoder.bias is unexpected"),
        ({"state": {"encoder.bias": torch.full((12,), torch.nan)}}, "encoder.bias has a value that is not finite"),
        ({"state": {"decoder.weight": torch.zeros(12, 16)}}, r"decoder.weight has shape \(12, 16\); expected \(16, 12\)"),
    ],
)  # fmt: skip
def test_a_dictionary_that_does_not_fit_is_refused(tmp_path, changes, message):
    path = saved(tmp_path, **changes)
    with pytest.raises(ConsilienceError, match=message) as error:
        import_dictionary(path, 16)
    assert "\n" not in str(error.value)


def test_a_file_with_code_in_it_is_refused(tmp_path):
    ran = tmp_path / "ran"

    class Code:
        def __reduce__(self):
            return (open, (str(ran), "w"))

    torch.save({"config": {"input_dim": Code()}, "model_state_dict": {}}, tmp_path / "sae.pt")
    with pytest.raises(ConsilienceError, match=r"dictionary .*sae\.pt: not a whole file of weights alone"):
        import_dictionary(tmp_path / "sae.pt", 16)
    assert not ran.exists()
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ConsilienceError, match="no mapping under config"):
        import_dictionary(tmp_path / "list.pt", 16)


def test_the_share_of_negative_codes_is_counted_by_hand():
    module = SparseAutoencoder(2, 3, 2)
    with torch.no_grad():
        module.encoder.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]))
        module.encoder.bias.zero_()
    # Pre-activations (1, 2, -3): none; (1, -2, 1): none; (-1, -2, 3): one of two.
    assert negative_share(module, torch.tensor([[1.0, 2.0], [1.0, -2.0], [-1.0, -2.0]])) == pytest.approx(1 / 6)


def test_without_a_step_size_it_follows_from_the_number_of_atoms():
    rows = torch.randn(60, 16, generator=torch.Generator().manual_seed(0))
    own = DICTIONARY | {"epochs": 1, "learning_rate": None}
    steps = [fitted(rows, rows, (atoms, 2), own, 0).module.recipe.learning_rate for atoms in (64, 256)]
    assert steps == pytest.approx([0.01, 0.005])
