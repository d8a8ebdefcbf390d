"""Real tables that ship with scikit-learn through the whole workflow, against scikit-learn alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml
from run_workflow import no_network, snakemake
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from consilience.attribution.store import read
from consilience.dataset import Dataset
from consilience.files import read_json, read_table

pytestmark = pytest.mark.workflow
SHARED = {
    "domain": "tabular",
    "models": {"narrow": {"hidden": [16]}, "deep": {"hidden": [16, 8]}},
    "training": {"seeds": 2, "epochs": 60},
    "attribution": {"methods": ["integrated_gradients"], "maximum_samples": 200},
    "consensus": {"top": 8, "minimum_models": 2},
}
FILES = ("drivers.csv", "overlap.csv", "audit.tsv")


def tables():
    """The three tables, with classes by name, and how each is written."""
    cancer, wine, diabetes = (load(as_frame=True) for load in (load_breast_cancer, load_wine, load_diabetes))
    names = np.array(["malignant", "benign"])[cancer.target]
    raw = load_diabetes(as_frame=True, scaled=False).data
    holes = np.random.default_rng(0).random(raw.shape) < 0.1
    return {
        "cancer": cancer.data.assign(diagnosis=names),
        "wine": wine.data.assign(cultivar=wine.target + 1),
        "diabetes": raw.assign(progression=diabetes.target),
        "holes": raw.mask(holes).assign(progression=diabetes.target),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The results of one run of all three, and the tables."""
    work = tmp_path_factory.mktemp("tables")
    folder, held = work / "studies", tables()
    folder.mkdir()
    held["cancer"].to_csv(folder / "cancer.csv", index=False)
    held["wine"].to_csv(folder / "wine.tsv", sep="\t", index=False)
    held["diabetes"].to_parquet(folder / "diabetes.parquet")
    held["holes"].to_csv(folder / "holes.csv.gz", index=False)
    own = {
        "cancer": {"source": {"kind": "file", "path": "cancer.csv"}, "target": "diagnosis", "positive": "malignant"},
        "wine": {"source": {"kind": "file", "path": "wine.tsv"}, "target": "cultivar"},
        # Sex is coded as 1 and 2; the target has whole numbers, of many values.
        "diabetes": {"source": {"kind": "file", "path": "diabetes.parquet"}, "target": "progression", "categorical": ["sex"]},
        "holes": {"source": {"kind": "file", "path": "holes.csv.gz"}, "target": "progression", "missing": "mask"},
    }  # fmt: skip
    for name, settings in own.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(SHARED | settings))
    targets = [f"results/{name}/{file}" for name in own for file in FILES]
    snakemake(work, *targets, studies=folder, before=no_network(), check=True)
    return work / "results", held


def roles(base):
    """Where the rows of each role stand."""
    split = read_table(base / "split.tsv")["role"].to_numpy()
    return {role: np.flatnonzero(split == role) for role in ("train", "validation", "test")}


def predicted(base, model):
    """Mean predictions of the test role: (rows,), or (rows, classes)."""
    table = read_table(base / "models" / model / "predictions.tsv")
    return table.pivot_table(index="sample", columns="target", values="predicted", sort=False)


def test_every_value_arrives(run):
    results, held = run
    for name, target in (("cancer", "diagnosis"), ("wine", "cultivar"), ("diabetes", "progression")):
        with Dataset.open(results / name / "dataset.h5") as dataset:
            table = held[name].drop(columns=target)
            if name == "diabetes":
                table = table.drop(columns="sex").assign(**{"sex = 2": table["sex"] == 2})
            assert dataset.features["name"].tolist() == list(table)
            assert np.array_equal(dataset.inputs("columns"), table.to_numpy(np.float32))


def test_tasks_and_classes_are_what_the_audit_tells(run):
    results, held = run
    audits = {name: read_table(results / name / "audit.tsv").set_index("step") for name in held}
    notes = {name: audit.loc["target", "note"] for name, audit in audits.items()}
    shares = "texts, categories or truth values: benign 357, malignant 212"
    assert notes["cancer"].endswith(f"{shares}; signs are towards malignant, as positive says")
    assert "3 distinct whole numbers" in notes["wine"]
    assert notes["wine"].endswith("1 59, 2 71, 3 48")
    assert notes["diabetes"].startswith("regression, for the target holds 214 distinct whole numbers")
    with Dataset.open(results / "cancer" / "dataset.h5") as dataset:
        assert dataset.targets == ["malignant"]


def test_metrics_are_scikit_learn_s(run):
    results, held = run
    for model in SHARED["models"]:
        for name, target in (("cancer", "diagnosis"), ("wine", "cultivar"), ("diabetes", "progression")):
            base = results / name
            test = roles(base)["test"]
            observed, found = held[name][target].iloc[test], predicted(base, model)
            metrics = read_json(base / "models" / model / "metrics.json")["test"]
            assert metrics["n"] == len(test)
            if name == "cancer":
                value, expected = "roc_auc", roc_auc_score(observed == "malignant", found["malignant"])
            elif name == "wine":
                value, expected = (
                    "roc_auc",
                    roc_auc_score(observed.astype(str), found, multi_class="ovr", labels=found.columns),
                )
            else:
                value, expected = "r2", r2_score(observed, found.iloc[:, 0])
            assert metrics[value]["value"] == pytest.approx(expected, abs=1e-6)


def test_networks_predict_as_well_as_such_tables_allow(run):
    """Against scikit-learn's linear models on the same rows; nothing here asks that networks be better."""
    results, held = run
    for name, target, least in (
        ("cancer", "diagnosis", 0.97),
        ("wine", "cultivar", 0.98),
        ("diabetes", "progression", 0.35),
    ):
        base, table = results / name, held[name]
        rows = roles(base)
        X, y = table.drop(columns=target), table[target]
        linear = RidgeCV(np.logspace(-3, 3, 13)) if name == "diabetes" else LogisticRegression(max_iter=1000)
        fitted = make_pipeline(StandardScaler(), linear).fit(X.iloc[rows["train"]], y.iloc[rows["train"]])
        if name == "diabetes":
            reference = r2_score(y.iloc[rows["test"]], fitted.predict(X.iloc[rows["test"]]))
        else:
            shares = fitted.predict_proba(X.iloc[rows["test"]])
            reference = roc_auc_score(
                y.iloc[rows["test"]], shares[:, 1] if name == "cancer" else shares, multi_class="ovr"
            )
        value = "r2" if name == "diabetes" else "roc_auc"
        for model in SHARED["models"]:
            found = read_json(base / "models" / model / "metrics.json")["test"][value]["value"]
            assert found > least
            assert abs(found - reference) < (0.1 if name == "diabetes" else 0.03)


def test_linear_coefficients_are_scikit_learn_s(run):
    results, held = run
    base, table = results / "diabetes", held["diabetes"]
    train = roles(base)["train"]
    found = read_table(base / "linear" / "coefficients.tsv").pivot(
        index="feature", columns="kind", values="coefficient"
    )
    X = table.drop(columns=["progression", "sex"]).assign(**{"sex = 2": table["sex"] == 2}).astype(float).iloc[train]
    Z, y = StandardScaler().fit_transform(X), table["progression"].iloc[train]
    penalty = read_json(base / "linear" / "metrics.json")["ridge"]["training"]["penalty"]
    for kind, model in (("minimum_norm", LinearRegression()), ("ridge", Ridge(alpha=penalty))):
        assert found.loc[X.columns, kind].to_numpy() == pytest.approx(model.fit(Z, y).coef_, rel=1e-3)


def test_what_is_known_to_drive_progression_is_found(run):
    """Body mass and s5 (triglycerides) lead every analysis of these data, here permutation importance too."""
    results, held = run
    base, table = results / "diabetes", held["diabetes"]
    drivers = read_table(base / "drivers.csv").set_index("feature")
    X, y = table.drop(columns="progression"), table["progression"]
    rows = roles(base)
    fitted = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 13))).fit(
        X.iloc[rows["train"]], y.iloc[rows["train"]]
    )
    importance = permutation_importance(fitted, X, y, n_repeats=20, random_state=0).importances_mean
    leading = [X.columns[place] for place in np.argsort(-importance)]
    size = drivers["average_attribution"].abs().sort_values(ascending=False)
    assert {"bmi", "s5"} <= set(size.index[:3])
    assert {"bmi", "s5"} <= set(leading[:4])
    assert (drivers.loc[["bmi", "s5", "bp"], "direction"] == "positive").all()
    assert drivers.loc["sex = 2", "direction"] == "negative"


def test_drivers_of_cancer_point_as_those_of_a_logistic_regression(run):
    """Not as the classes differ: compactness error is larger in malignant cells, and speaks against them beside others."""
    results, held = run
    base, table = results / "cancer", held["cancer"]
    train = roles(base)["train"]
    X, malignant = table.drop(columns="diagnosis").iloc[train], table["diagnosis"].iloc[train] == "malignant"
    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, malignant)
    expected = pd.Series(fitted[-1].coef_[0], X.columns)
    drivers = read_table(base / "drivers.csv").set_index("feature")
    leading = drivers["average_attribution"].abs().nlargest(8).index
    assert drivers.loc[leading, "direction"].eq("positive").tolist() == (expected[leading] > 0).tolist()
    assert {"worst concave points", "worst radius", "worst texture"} <= set(leading)
    assert drivers["average_attribution"].corr(expected.reindex(drivers.index), method="spearman") > 0.8


def test_what_is_absent_counts_as_the_mean_and_gets_no_attribution(run):
    """StandardScaler leaves what is absent out, and fills nothing: zero is then the mean of the training role."""
    results, held = run
    base, table = results / "holes", held["holes"]
    train = roles(base)["train"]
    X, y = table.drop(columns="progression"), table["progression"]
    Z = np.nan_to_num(StandardScaler().fit_transform(X.iloc[train]))
    penalty = read_json(base / "linear" / "metrics.json")["ridge"]["training"]["penalty"]
    found = read_table(base / "linear" / "coefficients.tsv").pivot(
        index="feature", columns="kind", values="coefficient"
    )
    expected = Ridge(alpha=penalty).fit(Z, y.iloc[train]).coef_
    assert found.loc[X.columns, "ridge"].to_numpy() == pytest.approx(expected, rel=1e-3)
    for model in SHARED["models"]:
        assert read_json(base / "models" / model / "metrics.json")["test"]["r2"]["value"] > 0.25
        shown = read(base / "attributions" / model / "integrated_gradients.h5", showcase=True)
        absent = X.isna().to_numpy()[[int(name) - 1 for name in shown.showcase["samples"]]]
        maps = shown.showcase["columns"]
        assert absent.any()
        assert not maps[..., absent].any()
        assert maps[..., ~absent].all()
