"""The simulated table: what is planted is in it, in the strength that the truth tells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from consilience.domains.tabular.prepare import prepare
from consilience.domains.tabular.simulate import SYNERGY, simulate
from consilience.errors import ConsilienceError
from consilience.recovery import EFFECTS
from tests.unit.tabular_examples import contents, settings


def simulated(folder, seed=0, **source):
    own = settings(folder, {"kind": "simulate", **source}, target="outcome", id="sample")
    truth = simulate(folder, own, seed)
    return own, truth, pd.read_csv(folder / "table.csv")


def z(values):
    return (values - values.mean()) / values.std()


def test_a_regression_is_the_sum_of_its_drivers(tmp_path):
    _, truth, table = simulated(tmp_path, rows=6000, numeric=60, drivers=20)
    assert truth["effect"].value_counts().to_dict() == {"linear": 12, "threshold": 4, "interaction": 4}
    terms, strengths = {}, {}
    pairs: dict[float, list] = {}
    for row in truth.itertuples():
        column, _, level = row.feature.partition(" = ")
        values = z(table[column]) if not level else z((table[column] == level).astype(float))
        if row.effect == "interaction":
            pairs.setdefault(round(row.strength, 12), []).append((row.feature, values, row.sign))
            continue
        terms[row.feature] = np.sign(values) if row.effect == "threshold" else values
        strengths[row.feature] = row.sign * row.strength
    assert [len(pair) for pair in pairs.values()] == [2, 2]
    for strength, ((name, a, sign), (_, b, other)) in pairs.items():
        assert sign == other
        product = np.maximum(a, 0) * np.maximum(b, 0) / SYNERGY
        terms[name], strengths[name] = product - product.mean(), sign * strength
    X = np.column_stack(list(terms.values()))
    y = table["outcome"] - table["outcome"].mean()
    fitted = np.linalg.lstsq(X, y, rcond=None)[0]
    assert fitted == pytest.approx(list(strengths.values()), abs=0.05)
    assert 1 - np.var(y - X @ fitted) / np.var(y) == pytest.approx(0.7, abs=0.03)


def test_classes_follow_their_drivers(tmp_path):
    _, truth, table = simulated(tmp_path, rows=5000, numeric=40, drivers=9, classes=3)
    assert sorted(truth["target"].unique()) == ["class A", "class B", "class C"]
    for row in truth[truth["effect"] != "interaction"].itertuples():
        column, _, level = row.feature.partition(" = ")
        values = table[column] if not level else table[column] == level
        assert np.sign(spearmanr(values, table["outcome"] == row.target).statistic) == row.sign
    _, truth, table = simulated(tmp_path, rows=5000, classes=2)
    assert set(truth["target"]) == {"class B"}
    assert set(table["outcome"]) == {"class A", "class B"}


def test_what_is_not_planted_says_nothing_beyond_its_pair(tmp_path):
    _, truth, table = simulated(tmp_path, rows=5000, numeric=40, categorical=5, drivers=6)
    places = {int(name[1:3]) - 1 for name in truth["feature"] if name[0] == "x"}
    pairs = {place // 2 for place in places}
    others = [place for place in range(40) if place // 2 not in pairs]
    correlations = [abs(spearmanr(table[f"x{place + 1:02d}"], table["outcome"]).statistic) for place in others]
    assert max(correlations) < 4 / np.sqrt(5000)
    twins = [np.corrcoef(table[f"x{2 * pair + 1:02d}"], table[f"x{2 * pair + 2:02d}"])[0, 1] for pair in range(20)]
    assert np.mean(twins) == pytest.approx(0.5, abs=0.02)


def test_units_differ_and_sites_shift(tmp_path):
    _, _, table = simulated(tmp_path, rows=4000, groups=20, group_share=0.4)
    numbers = table.filter(regex="^x")
    assert np.log10(numbers.std().max() / numbers.std().min()) > 3
    means = numbers.groupby(table["site"]).mean()
    assert (means.var() / numbers.var()).mean() == pytest.approx(0.4, abs=0.08)
    assert table["site"].nunique() == 20


@pytest.mark.parametrize("classes", [0, 2, 4])
def test_the_truth_names_features_and_targets_of_the_dataset(tmp_path, classes):
    own, truth, table = simulated(tmp_path, rows=300, classes=classes, drivers=8)
    prepare([tmp_path / "table.csv"], own, tmp_path / "dataset.h5", 0)
    names, _, target, samples, found = contents(tmp_path / "dataset.h5")
    assert set(truth["feature"]) <= set(names)
    assert not truth["feature"].duplicated().any()
    assert set(truth["effect"]) <= set(EFFECTS)
    expected = {0: {"outcome"}, 2: set(found[1:])}.get(classes, set(found))
    assert set(truth["target"]) <= expected
    assert samples["id"].tolist() == table["sample"].tolist()
    if not classes:
        assert target == pytest.approx(table["outcome"], rel=1e-8)


def test_the_seed_decides_all(tmp_path):
    texts = []
    for seed in (1, 1, 2):
        simulated(tmp_path, seed=seed, rows=60)
        texts.append((tmp_path / "table.csv").read_bytes())
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    ("source", "changes", "message"),
    [
        ({"numeric": 4, "drivers": 10}, {}, "10 drivers .* in 4 numeric columns; expected at most one in every two"),
        ({"threshold_share": 0.9, "interaction_share": 0.9}, {}, "shares that add up to at most 1"),
        ({}, {"target": "x01"}, "target: 'x01', id: None; expected names that are neither"),
        ({}, {"id": "y"}, "target: 'y', id: 'y'; expected names"),
    ],
)
def test_a_simulation_that_cannot_be(tmp_path, source, changes, message):
    own = settings(tmp_path, {"kind": "simulate", **source}, **changes)
    with pytest.raises(ConsilienceError, match=message):
        simulate(tmp_path, own, 0)
    assert not (tmp_path / "table.csv").exists()
