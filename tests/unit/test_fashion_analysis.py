"""The slice's tables are what slow loops, scipy and scikit-learn give, and find what was planted."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA

from consilience import sparse_autoencoder
from consilience.attribution.explain import batch_reader
from consilience.attribution.jumps import dictionaries
from consilience.attribution.methods import Own, method_named
from consilience.configuration import own_methods
from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.domains.fashion import analyze, explain
from consilience.domains.fashion.agreement import (
    FEWEST,
    true_class_maps,
    unit,
)
from consilience.domains.fashion.analyze import COLUMNS, Analysis
from consilience.domains.fashion.dictionary import (
    DRAWS,
    CodeStatistics,
    Pictures,
    ablation_rows,
    atom_rows,
    code_blocks,
    component_rows,
    quality_rows,
    removals,
    without,
)
from consilience.domains.fashion.model import build
from consilience.files import write_table
from consilience.principal_components import directions
from consilience.scaling import fit
from consilience.sparse_autoencoder import quality
from consilience.training.data import context_of, feature_axis
from consilience.training.ensemble import Ensemble
from consilience.training.members import enumerate_members, stable_seed

SIDE, ATOMS, CLASSES, SAMPLES = 6, 8, ["shirt", "boot", "bag"], 72
SPECIFICATION = {
    "atoms": ATOMS, "k": 4, "activation": "top_k", "autoencoder": {}, "hidden": [5], "dropout": 0.0, "batchnorm": False,
}  # fmt: skip
METHODS = ["saliency", "integrated_gradients_from_mean", "decoder_weighted", "decoder_weighted_unsigned"]
ATTRIBUTION = {"methods": METHODS, "reference": "zero", "showcase_confidence": 0.4}


def write_pictures(path):
    """Pixel c is bright where the class is c; pixels 3 to 7 vary, all others hardly."""
    random = np.random.default_rng(0)
    labels = np.arange(SAMPLES) % 3
    pixels = random.uniform(0, 0.02, (SAMPLES, SIDE * SIDE))
    pixels[:, 3:8] = random.uniform(0, 0.5, (SAMPLES, 5))
    pixels[np.arange(SAMPLES), labels] = random.uniform(0.7, 0.9, SAMPLES)
    names = [f"r{row}c{column}" for row in range(SIDE) for column in range(SIDE)]
    with write_dataset(
        path, "classification", "garment", classes=CLASSES, unit="", source="", source_sha256=""
    ) as writer:
        writer.features(pd.DataFrame({"name": names, "branch": "pixels"}))
        writer.samples(pd.DataFrame({"id": [f"s{number:03d}" for number in range(SAMPLES)]}))
        writer.target(labels)
        writer.branch("pixels", np.arange(SIDE * SIDE).reshape(SIDE, SIDE), SAMPLES, "none")
        writer.append("pixels", pixels.reshape(-1, SIDE, SIDE).astype(np.float32))
    return path


def planted(context, specification, seed):
    """Atom a is pixel a, and the head of a linear model reads class c off atom c."""
    torch.manual_seed(seed)
    network = build(specification, context)
    with torch.no_grad():
        encoder = network.encoder
        encoder.bias.zero_()
        encoder.encoder.bias.zero_()
        encoder.decoder.weight.copy_(torch.eye(SIDE * SIDE)[:, :ATOMS])
        encoder.encoder.weight.copy_(encoder.decoder.weight.T)
        if not specification["hidden"]:
            network.head.output.bias.zero_()
            network.head.output.weight.copy_(4 * torch.eye(3, ATOMS))
    return network.state_dict()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    with Dataset.open(write_pictures(tmp_path_factory.mktemp("fashion") / "dataset.h5")) as dataset:
        yield dataset


@pytest.fixture(scope="module")
def split(dataset):
    ids = dataset.samples["id"].astype(str)
    role = np.repeat(["train", "validation", "test"], [36, 12, 24])
    return pd.DataFrame({"sample": ids, "group": ids, "role": role})


def ensemble_of(dataset, split, hidden=(5,), members=2):
    specification, context = SPECIFICATION | {"hidden": list(hidden)}, context_of(dataset)
    states = [planted(context, specification, seed) for seed in range(members)]
    return Ensemble(
        model="k4", specification=specification, task="classification", outputs=3, features=SIDE * SIDE,
        axis=feature_axis(dataset), branches=context.branches, auxiliary={}, members=enumerate_members(members),
        states={name: np.stack([state[name].numpy() for state in states]) for name in states[0]},
        scalings={"pixels": fit(dataset, "pixels", np.flatnonzero(split["role"] == "train"))},
        target_center=0.0, target_scale=1.0,
    )  # fmt: skip


def reader_of(dataset, split, hidden=(5,), names=METHODS):
    ensemble = ensemble_of(dataset, split, hidden)
    own = Own.of(explain, own_methods("fashion"))
    methods = [method_named(name, own) for name in names]
    settings = own.complete(ATTRIBUTION)
    reader = batch_reader(dataset, split, ensemble, ensemble.network(build), methods, settings, 0, own=own)
    return reader, methods, ensemble


def pictures_of(dataset, ensemble, rows):
    return Pictures(dataset, ensemble.scalings, np.asarray(rows))


# Dictionaries


def test_quality_of_pictures_in_blocks_is_that_of_a_tensor(dataset, split, monkeypatch):
    reader, _, ensemble = reader_of(dataset, split)
    _, encoder, _ = next(dictionaries(reader.read(np.arange(1))))
    training = pictures_of(dataset, ensemble, range(36)).whole()
    inputs = torch.from_numpy(dataset.inputs("pixels", np.arange(40, 72)).reshape(32, -1))
    expected = quality(encoder, inputs, training.mean(dim=0))
    monkeypatch.setattr(sparse_autoencoder, "EVALUATION_ROWS", 7)
    (row,) = quality_rows(encoder, training.mean(dim=0), {"test": pictures_of(dataset, ensemble, range(40, 72))})
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert (row["role"], row["encoder"], row["size"], row["samples"]) == ("test", "autoencoder", 4, 32)
    assert row["l0"] == 4
    assert row["normalized_mean_squared_error"] < 0.3


def test_component_rows_are_those_of_scikit_learn(dataset, split):
    _, _, ensemble = reader_of(dataset, split)
    training = pictures_of(dataset, ensemble, range(36)).whole()
    roles = {"train": pictures_of(dataset, ensemble, range(36)), "test": pictures_of(dataset, ensemble, range(48, 72))}
    center, vectors = directions(training)
    rows = [row for count in (2, 5) for row in component_rows(center, vectors[:, :count], roles)]
    assert [(row["role"], row["size"]) for row in rows] == [("train", 2), ("test", 2), ("train", 5), ("test", 5)]
    for row in rows:
        inputs = roles[row["role"]].whole().double().numpy()
        pca = PCA(row["size"]).fit(training.double().numpy())
        errors = inputs - pca.inverse_transform(pca.transform(inputs))
        spread = inputs - pca.mean_
        assert row["mean_squared_error"] == pytest.approx(np.mean(errors**2))
        assert row["normalized_mean_squared_error"] == pytest.approx(np.sum(errors**2) / np.sum(spread**2))
        assert row["explained_variance"] == pytest.approx(1 - errors.var(axis=0).sum() / inputs.var(axis=0).sum())


def test_selectivity_is_a_standardized_difference():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 60)
    codes = np.maximum(random.normal(-0.2, 1, (60, 5)), 0)
    codes[:, 4] = 0
    found = CodeStatistics.of(((codes[part], labels[part]) for part in (slice(0, 17), slice(17, 60))), 3)
    for target in range(3):
        inside, outside = codes[labels == target], codes[labels != target]
        assert found.samples[target] == len(inside)
        np.testing.assert_allclose(found.inside[target], inside.mean(axis=0))
        np.testing.assert_allclose(found.share_outside[target], (outside > 0).mean(axis=0))
        squares = [((part - part.mean(axis=0)) ** 2).sum(axis=0) for part in (inside, outside)]
        pooled = np.sqrt(sum(squares) / 58)[:4]
        np.testing.assert_allclose(
            found.selectivity[target, :4], ((inside.mean(axis=0) - outside.mean(axis=0))[:4]) / pooled
        )
    # Nothing excites the last atom, which is ranked nowhere.
    assert np.isnan(found.selectivity[:, 4]).all()
    assert sorted(found.ranked(0)) == [0, 1, 2, 3]
    for target in range(3):
        means = found.inside[target]
        assert found.active(target).tolist() == sorted(np.flatnonzero(means > 0), key=lambda atom: -means[atom])


def test_random_atoms_are_drawn_in_proportion_to_their_mean_code():
    means = np.array([[4.0, 0.0, 1.0, 3.0]])
    found = CodeStatistics(means, means, means, means > 0, means > 0, np.array([9]))
    draws = np.array([found.drawn(0, np.random.default_rng(seed)) for seed in range(4000)])
    assert (np.sort(draws, axis=1) == [0, 2, 3]).all()
    first = np.array([np.mean(draws[:, 0] == atom) for atom in (0, 2, 3)])
    np.testing.assert_allclose(first, [4 / 8, 1 / 8, 3 / 8], atol=0.03)
    second = draws[draws[:, 0] == 0, 1]
    assert np.mean(second == 3) == pytest.approx(3 / 4, abs=0.04)
    assert found.drawn(0, np.random.default_rng(7)).tolist() == found.drawn(0, np.random.default_rng(7)).tolist()


def test_the_atom_of_one_class_alone_is_ranked_first(dataset, split):
    reader, _, ensemble = reader_of(dataset, split)
    _, encoder, _ = next(dictionaries(reader.read(np.arange(1))))
    pictures = pictures_of(dataset, ensemble, range(36))
    found = CodeStatistics.of(code_blocks(encoder, pictures, dataset.labels), 3)
    assert [found.ranked(target)[0] for target in range(3)] == [0, 1, 2]
    assert found.share_inside[np.arange(3), np.arange(3)].tolist() == [1, 1, 1]
    importance = np.eye(3, SIDE * SIDE)
    rows = atom_rows(found, encoder.atoms.numpy(), importance, CLASSES, 3)
    assert [row["atom"] for row in rows if row["rank"] == 1] == [0, 1, 2]
    assert [row["importance_correlation"] for row in rows if row["rank"] == 1] == pytest.approx([1, 1, 1])
    assert all(row["importance_correlation"] < 0 for row in rows if row["rank"] > 1)
    assert len(rows) == 9


def test_correlations_stand_beside_those_of_all_atoms_that_training_excites():
    random = np.random.default_rng(2)
    codes, labels = np.maximum(random.normal(size=(40, 7)), 0), np.arange(40) % 3
    codes[:, 5] = 0
    found = CodeStatistics.of(iter([(codes, labels)]), 3)
    atoms, importance = random.normal(size=(20, 7)), random.uniform(size=(3, 20))
    for row in atom_rows(found, atoms, importance, CLASSES, 4):
        own = importance[CLASSES.index(row["class"])]
        levels = [stats.pearsonr(own, np.abs(atoms[:, atom])).statistic for atom in (0, 1, 2, 3, 4, 6)]
        assert row["median_correlation"] == pytest.approx(np.median(levels))
        below = sum(level < row["importance_correlation"] - 1e-9 for level in levels)
        assert row["correlation_rank_share"] == pytest.approx(below / 6)


def test_an_importance_that_is_constant_correlates_with_no_atom(dataset, split):
    reader, _, ensemble = reader_of(dataset, split)
    _, encoder, _ = next(dictionaries(reader.read(np.arange(1))))
    found = CodeStatistics.of(code_blocks(encoder, pictures_of(dataset, ensemble, range(36)), dataset.labels), 3)
    (row, *_) = atom_rows(found, encoder.atoms.numpy(), np.zeros((3, SIDE * SIDE)), CLASSES, 3)
    assert np.isnan([row["importance_correlation"], row["median_correlation"], row["correlation_rank_share"]]).all()


def test_products_of_units_are_pearsons_and_undefined_for_constants():
    random = np.random.default_rng(1)
    rows, others = random.normal(size=(3, 20)), random.normal(size=(4, 20))
    others[2] = 0.3
    found = unit(rows) @ unit(others).T
    for first, second in np.ndindex(3, 4):
        if second == 2:
            assert np.isnan(found[first, second])
        else:
            assert found[first, second] == pytest.approx(stats.pearsonr(rows[first], others[second]).statistic)


def test_a_class_without_its_atom_is_not_recalled(dataset, split):
    reader, _, ensemble = reader_of(dataset, split, hidden=())
    _, encoder, head = next(dictionaries(reader.read(np.arange(1))))
    found = CodeStatistics.of(
        code_blocks(encoder, pictures_of(dataset, ensemble, range(36)), dataset.labels), len(CLASSES)
    )
    test = np.arange(48, 72)

    def codes_of(target):
        return encoder(pictures_of(dataset, ensemble, test[dataset.labels[test] == target]).whole()).detach()

    table = pd.DataFrame(ablation_rows(head, codes_of, found, CLASSES, 5, seed=0))
    assert list(table["order"].unique()) == ["selective", "active", "random"]
    assert (table["samples"] == 8).all()
    for name in CLASSES:
        own = table[(table["class"] == name) & (table["order"] == "selective")].set_index("removed")
        assert own["recall"][0] == 1
        # Without any code the logits are equal, and the first class is named.
        assert name == CLASSES[0] or own["recall"][1] < 0.2
        assert own["true_class_logit"][0] > 1
        assert own["true_class_logit"][1] <= 0.1
        other = table[(table["class"] == name) & (table["order"] == "random")].set_index("removed")
        assert other["true_class_logit"][1] > own["true_class_logit"][1]
        assert other["recall"][0] == 1
        target = CLASSES.index(name)
        draws = [np.random.default_rng(stable_seed(0, "ablation", name, draw)) for draw in range(DRAWS)]
        orders = [found.drawn(target, random) for random in draws]
        one = np.mean([without(head, codes_of(target), target, order, np.array([1])) for order in orders], axis=0)
        assert list(other.loc[1, ["codes_removed", "true_class_logit", "recall"]]) == pytest.approx(one[:, 0])
        active = table[(table["class"] == name) & (table["order"] == "active")].set_index("removed")
        codes = codes_of(target)[:, found.active(target)]
        for removed, count in active["codes_removed"].items():
            assert count == pytest.approx((codes[:, :removed] > 0).sum() / len(codes))


def test_all_classes_are_ablated_at_the_same_numbers_of_atoms():
    """The thick line of a figure is their mean: it must not jump where a class with fewer atoms ends."""
    means = np.array([[3.0, 2.0, 1.0, 1.0, 0.5, 0.2], [1.0, 0, 0, 2.0, 0, 3.0], [1.0, 1.0, 1.0, 1.0, 0, 0]])
    statistics = CodeStatistics(means, means, means, means > 0, means > 0, np.array([9, 9, 9]))
    codes = torch.rand(5, 6)

    class Head:
        def values(self, inputs):
            return inputs[0][None, :, :3]

    for most, expected in ((50, [0, 1, 2, 3]), (2, [0, 1, 2])):
        table = pd.DataFrame(ablation_rows(Head(), lambda target: codes, statistics, CLASSES, most, seed=0))
        for _, part in table.groupby(["class", "order"]):
            assert part["removed"].tolist() == expected


def test_ablation_is_what_the_members_say_of_codes_with_zeros(dataset, split):
    reader, _, _ = reader_of(dataset, split)
    _, encoder, head = next(dictionaries(reader.read(np.arange(1))))
    rows = np.flatnonzero(dataset.labels == 2)
    codes = encoder(torch.from_numpy(dataset.inputs("pixels", rows).reshape(len(rows), -1))).detach()
    order, counts = np.array([2, 5, 0, 7]), np.array([0, 1, 3])
    found = without(head, codes, 2, order, counts)
    for count, (removed, logit, recall) in zip(counts, found.T, strict=True):
        left = codes.clone()
        left[:, order[:count]] = 0
        assert removed == pytest.approx(float((codes > 0).sum() - (left > 0).sum()) / len(codes))
        values = torch.stack([head.member_module(member)(left) for member in range(2)]).detach().double()
        centered = values - values.mean(dim=2, keepdim=True)
        assert logit == pytest.approx(float(centered[..., 2].mean()), abs=1e-6)
        assert recall == float((values.softmax(dim=2).mean(dim=0).argmax(dim=1) == 2).double().mean())


def test_curves_start_at_none_and_end_at_most():
    for most in (1, 2, 5, 50, 300):
        counts = removals(most)
        assert counts[0] == 0
        assert counts[1] == 1
        assert counts[-1] == most
        assert (np.diff(counts) > 0).all()
    assert removals(0).tolist() == [0]


# Methods


def test_maps_are_the_mean_members_attribution_to_the_true_class(dataset, split):
    reader, methods, _ = reader_of(dataset, split)
    rows = np.array([50, 3, 71, 48, 52, 10])
    found = true_class_maps(reader, methods, rows, dataset.labels)
    assert found.shape == (4, 6, SIDE * SIDE)
    for place, row in enumerate(rows):
        batch = reader.read(np.array([row]))
        for line, method in enumerate(methods):
            (whole,) = batch.attribute(method, reader.settings)
            expected = whole[:, dataset.labels[row], 0].mean(dim=0).flatten().numpy()
            np.testing.assert_allclose(found[line, place], expected, atol=1e-6)
    assert reader.function.targets == 3


# The whole


def analysis_of(dataset, split, path, hidden, confidence=0.4, samples=40):
    own = Own.of(explain, own_methods("fashion"))
    ensemble = ensemble_of(dataset, split, hidden)
    ensemble.save(path)
    settings = {"samples": samples, "atoms": 2, "ablated": 4, "resamples": 20}
    attribution = own.complete(ATTRIBUTION | {"showcase_confidence": confidence})
    analysis = Analysis(dataset, split, own, settings, attribution, 30, 0, "cpu")
    analysis.add(str(path), np.random.default_rng(0).uniform(size=(3, SIDE * SIDE)))
    return analysis, ensemble


def probabilities_of(dataset, split):
    """Return the largest probability of every test picture, and whether its class is the true one."""
    ensemble, test = ensemble_of(dataset, split, ()), np.flatnonzero(split["role"] == "test")
    module = ensemble.network(build)
    module.load_state_dict({name: torch.tensor(values[0]) for name, values in ensemble.states.items()})
    probabilities = module(torch.from_numpy(dataset.inputs("pixels", test))).detach().softmax(dim=1).numpy()
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == dataset.labels[test]


@pytest.mark.parametrize("wanted", [0, FEWEST - 1, FEWEST, FEWEST + 5])
def test_the_confident_set_holds_right_and_confident_pictures_alone(dataset, split, tmp_path, wanted):
    largest, right = probabilities_of(dataset, split)
    ordered = np.sort(largest[right])[::-1]
    between = float(np.mean([ordered[wanted - 1] if wanted else 1.0, ordered[wanted]]))
    analysis, _ = analysis_of(dataset, split, tmp_path / "e.safetensors", (), confidence=between)
    for table in ("agreement", "methods"):
        counts = pd.DataFrame(analysis.rows[table]).groupby("set")["samples"].unique()
        assert list(counts["test"]) == [24]
        assert list(counts.get("confident", [])) == ([wanted] if wanted >= FEWEST else [])
    assert analysis.unsure == ([] if wanted >= FEWEST else ["k4"])


def test_classes_take_turns_in_both_sets_whose_maps_are_made_once(dataset, split, tmp_path, monkeypatch):
    made, chosen = [], {}
    monkeypatch.setattr(analyze, "true_class_maps", lambda *given: made.append(given[2]) or true_class_maps(*given))
    sets_of = Analysis._sets
    monkeypatch.setattr(Analysis, "_sets", lambda *given: chosen.update(sets_of(*given)) or chosen)
    analysis, _ = analysis_of(dataset, split, tmp_path / "e.safetensors", (), confidence=0.4, samples=12)
    largest, right = probabilities_of(dataset, split)
    sure = np.flatnonzero(split["role"] == "test")[right & (largest > 0.4)]
    assert list(chosen) == ["test", "confident"]
    for rows in chosen.values():
        assert len(rows) == 12
        assert np.bincount(dataset.labels[rows], minlength=3).tolist() == [4, 4, 4]
    assert set(chosen["confident"]) <= set(sure)
    (every,) = made
    assert every.tolist() == sorted(set(chosen["test"]) | set(chosen["confident"]))
    # Rows tell of their own set.
    reader, methods, _ = reader_of(dataset, split, ())
    table = pd.DataFrame(analysis.rows["methods"]).set_index(["set", "method"])
    for name, rows in chosen.items():
        expected = np.abs(true_class_maps(reader, methods, rows, dataset.labels)).mean(axis=(1, 2))
        np.testing.assert_allclose([table.loc[(name, method), "mean"] for method in METHODS], expected, rtol=1e-5)


def test_there_is_no_confident_set_where_no_confidence_is_asked_for(dataset, split, tmp_path):
    analysis, _ = analysis_of(dataset, split, tmp_path / "e.safetensors", (5,), confidence=None)
    assert {row["set"] for table in ("methods", "agreement") for row in analysis.rows[table]} == {"test"}
    assert analysis.unsure == []


def test_models_share_the_principal_components(dataset, split, tmp_path, monkeypatch):
    fitted = []
    monkeypatch.setattr(analyze, "directions", lambda training: fitted.append(len(training)) or directions(training))
    analysis, _ = analysis_of(dataset, split, tmp_path / "e.safetensors", (5,))
    analysis.add(str(tmp_path / "e.safetensors"), np.ones((3, SIDE * SIDE)))
    assert fitted == [30]
    own = [row for row in analysis.rows["dictionary"] if row["encoder"] == "pca"]
    assert own[: len(own) // 2] == own[len(own) // 2 :]


def test_every_table_is_whole_and_comes_out_alike(dataset, split, tmp_path):
    for name in ("a", "b"):
        analysis, _ = analysis_of(dataset, split, tmp_path / "e.safetensors", (5,), confidence=None)
        for table, rows in analysis.rows.items():
            write_table(tmp_path / f"{name}_{table}.tsv", pd.DataFrame(rows))
    sizes = {table: len(rows) for table, rows in analysis.rows.items()}
    # PCA with 4 components, and with as many as 30 pictures have where 50 are asked for.
    assert sizes["dictionary"] == 3 * 3
    assert {row["size"] for row in analysis.rows["dictionary"]} == {4, 29}
    assert sizes["atoms"] == 3 * 2
    assert sizes["methods"] == 4
    assert sizes["agreement"] == 3 * 6
    assert {row["model"] for rows in analysis.rows.values() for row in rows} == {"k4"}
    for table in sizes:
        assert (tmp_path / f"a_{table}.tsv").read_bytes() == (tmp_path / f"b_{table}.tsv").read_bytes()


def test_tables_have_their_columns_in_order(dataset, split, tmp_path):
    analysis, _ = analysis_of(dataset, split, tmp_path / "e.safetensors", (5,), confidence=None)
    for table, columns in COLUMNS.items():
        assert set().union(*analysis.rows[table]) == set(columns)
