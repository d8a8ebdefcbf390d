"""The simulated file is an ARCHS4 file whose planted drivers can be found in what prepare makes of it."""

import h5py
import numpy as np
import pandas as pd
import pytest

from consilience.dataset import Dataset
from consilience.domains.expression.archs4 import inspect
from consilience.domains.expression.metadata import DENIED, MYELOID, OTHER
from consilience.domains.expression.prepare import prepare
from consilience.domains.expression.simulate import FILE, simulate
from consilience.errors import ConsilienceError
from tests.unit.expression_examples import SIMULATION, settings


def simulated(folder, seed=0, **source):
    folder.mkdir(parents=True, exist_ok=True)
    truth = simulate(folder, settings(source={**SIMULATION, **source}), seed)
    return folder / FILE, truth


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A larger simulation, prepared: folder, truth, inputs, target, features, samples, audit."""
    folder = tmp_path_factory.mktemp("large")
    path, truth = simulated(folder, seed=1, samples=1500, genes=300, drivers=20, series=150)
    audit = prepare([path], settings(), folder / "dataset.h5", 1)
    with Dataset.open(folder / "dataset.h5") as data:
        return path, truth, data.inputs("genes"), data.target, data.features["name"], data.samples, audit


def test_the_file_has_archs4s_schema(tmp_path):
    path, _ = simulated(tmp_path, genes=2500)
    with h5py.File(path) as file:
        expression = file["data/expression"]
        assert (expression.dtype, expression.chunks, expression.compression) == (np.uint32, (2000, 1), "gzip")
        assert set(file["meta/genes"]) == {"symbol", "biotype", "ensembl_gene"}
        assert set(file["meta/samples"]) == {
            *("geo_accession", "series_id", "title", "source_name_ch1", "characteristics_ch1", "singlecellprobability")
        }
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("source", [{}, {"samples": 200, "series": 80, "genes": 50, "drivers": 3}, {"samples": 12}])
def test_just_the_samples_and_genes_asked_for_pass(tmp_path, source):
    path, _ = simulated(tmp_path, seed=3, **source)
    audit = prepare([path], settings(), tmp_path / "dataset.h5", 3)
    wanted = {**SIMULATION, **source}
    assert audit.iloc[-1][["samples_after", "features_after"]].tolist() == [wanted["samples"], wanted["genes"]]
    steps = audit[audit["step"] != "keyword"].set_index("step")
    losses = steps["samples_before"] - steps["samples_after"] + steps["features_before"] - steps["features_after"]
    assert (losses[["single cells", "keywords", "biotype", "symbols", "target", "expressed"]] > 0).all()
    assert "in denial only" in steps.loc["keywords", "note"]


def test_one_seed_gives_one_file_and_another_another(tmp_path):
    first, truth = simulated(tmp_path / "a")
    again, same = simulated(tmp_path / "b")
    other, _ = simulated(tmp_path / "c", seed=1)
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()
    pd.testing.assert_frame_equal(truth, same)


def test_the_truth_says_what_was_planted(large):
    _, truth, _, _, names, *_ = large
    assert list(truth) == ["feature", "target", "sign", "strength", "effect"]
    assert truth["effect"].value_counts().to_dict() == {"linear": 12, "threshold": 4, "interaction": 4}
    assert set(truth["feature"]) <= set(names)
    assert truth["feature"].is_unique
    assert set(truth["target"]) == {"TGT"}
    assert set(truth["sign"]) == {1, -1}
    pairs = truth[truth["effect"] == "interaction"]
    assert len(pairs.drop_duplicates(["strength", "sign"])) == len(pairs) // 2
    assert (truth["strength"] > 0).all()
    pairs = truth.loc[truth["effect"] == "interaction", "strength"].value_counts()
    assert pairs.tolist() == [2, 2]
    modules = (truth["feature"].str[4:].astype(int) - 1) // 5
    assert modules.is_unique


def design(truth, inputs, names):
    """The drivers' own terms (samples, terms) from the measured inputs, and their signed strengths."""
    standard = pd.DataFrame((inputs - inputs.mean(axis=0)) / inputs.std(axis=0), columns=list(names))
    terms, effects = [], []
    for kind in ("linear", "threshold"):
        own = truth[truth["effect"] == kind]
        values = standard[own["feature"]].to_numpy()
        terms.append(values if kind == "linear" else np.sign(values))
        effects.extend(own["sign"] * own["strength"])
    for _, pair in truth[truth["effect"] == "interaction"].groupby("strength"):
        together = standard[pair["feature"]].clip(lower=0).prod(axis=1).to_numpy()[:, None]
        terms.append(together / np.sqrt(1 / 4 - 1 / (2 * np.pi) ** 2))
        effects.append(pair["sign"].iloc[0] * pair["strength"].iloc[0])
    return np.column_stack(terms), np.array(effects)


def test_the_planted_effects_are_those_the_counts_show(large):
    _, truth, inputs, target, names, *_ = large
    terms, effects = design(truth, inputs, names)
    standardized = (target - target.mean()) / target.std()
    fitted = np.linalg.lstsq(np.column_stack([np.ones(len(terms)), terms]), standardized, rcond=None)[0][1:]
    assert (np.sign(fitted) == np.sign(effects)).all()
    assert np.corrcoef(fitted, effects)[0, 1] > 0.95
    residual = standardized - terms @ fitted
    assert 0.55 < 1 - residual.var() < 0.75


def test_modules_series_and_overdispersion_are_in_the_counts(large):
    path, _, inputs, _, names, samples, _ = large
    order = np.argsort(names.str[4:].astype(int).to_numpy())
    correlation = np.corrcoef(inputs[:, order].T).reshape(60, 5, 60, 5)
    within = np.array([correlation[index, :, index] for index in range(60)])[:, ~np.eye(5, dtype=bool)]
    assert 0.6 < within.mean() < 0.75
    assert abs(np.mean([correlation[index, :, index - 1] for index in range(60)])) < 0.05
    groups = pd.DataFrame(inputs).groupby(samples["series_id"].to_numpy())
    between = groups.transform("mean").to_numpy().var(axis=0) / inputs.var(axis=0)
    shuffled = pd.DataFrame(inputs).groupby(np.random.default_rng(0).permutation(samples["series_id"]))
    chance = shuffled.transform("mean").to_numpy().var(axis=0) / inputs.var(axis=0)
    assert between.mean() > chance.mean() + 0.05
    with h5py.File(path) as file:
        counts = file["data/expression"][:, :200].astype(float)
    counts = counts[counts.mean(axis=1) > 20]
    assert np.median(counts.var(axis=1) / counts.mean(axis=1)) > 5
    assert samples["trivial_library_size"].std() > 0.2


def test_the_metadata_read_like_geo(large):
    path, *_ = large
    found = inspect(path)
    series = found.field("series_id")
    assert sum("," in name for name in series) > 0
    assert len(set(series)) >= 60
    texts = {text for field in ("source_name_ch1", "title", "characteristics_ch1") for text in found.field(field)}
    for names in (MYELOID, OTHER, DENIED):
        assert {name for name, _ in names} <= texts
    assert found.numbers("singlecellprobability").max() > 0.5


def test_the_target_may_bear_the_name_of_a_simulated_gene(tmp_path):
    changed = settings(source=SIMULATION, target="GENE0007")
    truth = simulate(tmp_path, changed, 0)
    audit = prepare([tmp_path / FILE], changed, tmp_path / "dataset.h5", 0)
    assert audit.iloc[-1]["features_after"] == SIMULATION["genes"]
    assert "GENE0007" not in set(truth["feature"])


@pytest.mark.parametrize(
    "source", [{"drivers": 30}, {"threshold_share": 0.8, "interaction_share": 0.4}], ids=["many", "shares"]
)
def test_drivers_must_fit(tmp_path, source):
    with pytest.raises(ConsilienceError, match=r"source: \d+ drivers .* in 20 modules of 5 genes; expected at most"):
        simulated(tmp_path, **source)
    assert list(tmp_path.iterdir()) == []
