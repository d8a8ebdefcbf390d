"""What is found in the tables, and tables of the dictionary, the predictors and what was planted."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.domains.variants.dictionary_tables import (
    best_model,
    dictionary_table,
    dictionary_tensors,
    sweep_table,
)
from consilience.domains.variants.findings import Results, findings
from consilience.domains.variants.performance import metric, metrics_table, trivial_intervals
from consilience.domains.variants.raw_recovery import raw_recovery, strongest, with_atoms, with_truth
from consilience.files import write_json
from consilience.metrics import trivial_metrics
from tests.unit.variants_findings_examples import BASELINES, ENCODED, bias_table, performance

TRUTH = pd.DataFrame(
    {
        "feature": ["f 1", "f 4", "f 7", "f gone", "f 9"],
        "sign": [1, -1, 1, 1, 0],
        "signal": ["motif", "motif", "size", "size", "none"],
    }
)


def raw_table(seed=0, models=("voters", "logistic"), features=12):
    random = np.random.default_rng(seed)
    frames = []
    for model in models:
        values = random.normal(size=(2, features)).round(2)
        frame = pd.DataFrame({"model": model, "feature": [f"f {place}" for place in range(features)], "branch": "a"})
        columns = {"average_attribution": values[0], "magnitude": abs(values[0]), "slope": values[1]}
        frames.append(frame.assign(**columns, direction=np.sign(values[0]).astype(int)))
    return pd.concat(frames, ignore_index=True)


def branches_table(models=("voters", "logistic")):
    rows = [(model, "a", 12, 0.3, share, np.nan) for model, share in zip(models, (0.25, 0.5), strict=True)]
    rows += [(model, "b", 1, 0.3, 1 - share, 0.8) for model, *_, share, _ in rows]
    return pd.DataFrame(rows, columns=["model", "branch", "features", "magnitude", "share", "auroc"])


def metrics_frame():
    parts = performance(quality=None, baselines=BASELINES)
    kinds = {
        "network": parts["networks"],
        "baseline": parts["baselines"],
        "linear": {"logistic": parts["logistic"]},
        "trivial": {"size": parts["size"]},
    }
    rows = [
        {"predictor": name, "kind": kind, "metric": one, **values}
        for kind, own in kinds.items()
        for name, found in own.items()
        for one, values in found.items()
    ]
    return pd.DataFrame(rows)


def found_of(encoded=ENCODED, **changes):
    special = {
        "atom": [5, 5, 9], "feature": ["atom 5", "atom 5", "atom 9"], "type": ["DEL", "INS", "INS"], "share": 0.9,
        "base_rate": 0.3, "lift": [3.0, 0.3, 3.0], "q_value": [0.01, 0.01, 0.2],
        "direction": ["enriched", "depleted", "enriched"],
    }  # fmt: skip
    joint = pd.DataFrame(
        {"atom_a": [1, 2], "atom_b": [5, 9], "together": 8, "expected": 2.0, "lift": 4.0, "q_value": [0.01, 0.4]}
    )
    tables = {
        "bias": bias_table(), "atoms": pd.DataFrame({"atom": [9, 5, 2, 4], "stability": [0.9, 0.5, np.nan, 0.2]}), "metrics": metrics_frame(), "specialization": pd.DataFrame(special),
        "coactivation": joint, "dictionary": dictionary_table(ENCODED), "raw_attributions": raw_table(),
        "raw_branches": branches_table(),
    }  # fmt: skip
    facts = {name: {"calls": 9, "whole": 1.0, "constant": 0.5, "gap": 0.0} for name in ("voters", "logistic")}
    calls = {"train": {"FP": 4, "TP": 5}}
    return findings(Results(tables | changes, encoded, facts, "wide", calls, 8))


def test_biased_atoms_are_counted_with_what_strata_leave():
    bias = found_of()["bias"]
    expected = {
        "alive": 8, "tested": 7, "significant": 4, "positive": 2, "negative": 2, "confirmed": 2, "confirmed_positive": 1,
        "confirmed_negative": 1, "within_strata": 3, "confirmed_within_strata": 2, "confirmed_both": 1, "turned_within_strata": 1, "several_strata": 2,
        "not_alike_in_strata": 1,
    }  # fmt: skip
    assert {name: bias[name] for name in expected} == expected
    assert [row["feature"] for row in bias["strongest_positive"]] == ["atom 5", "atom 2"]
    assert [row["feature"] for row in bias["strongest_negative"]] == ["atom 9", "atom 4"]


def test_the_strongest_have_their_ratio_within_strata_and_how_well_they_come_again():
    bias = found_of()["bias"]
    rows = {row["feature"]: row for name in ("positive", "negative") for row in bias[f"strongest_{name}"]}
    assert {name: row["stability"] for name, row in rows.items()} == {
        "atom 5": 0.5, "atom 2": None, "atom 9": 0.9, "atom 4": 0.2
    }  # fmt: skip
    columns = ("strata", "cmh_odds", "cmh_low", "cmh_high")
    assert [rows["atom 9"][name] for name in columns] == [3, 2.5, 0, None]
    assert [rows["atom 4"][name] for name in columns] == [0, None, None, None]


def test_an_atom_of_the_most_frequent_type_is_not_special_to_it():
    rows = {"atom": [5, 5], "feature": "atom 5", "type": ["DEL", "INS"], "share": [1.0, 0.0], "base_rate": [0.969, 0.031],
            "lift": [1.03, 0.0], "q_value": 0.001, "direction": ["enriched", "depleted"]}  # fmt: skip
    types = found_of(specialization=pd.DataFrame(rows))["types"]
    assert (types["specialized"], types["by_type"], types["strongest"]) == (0, {"DEL": 0, "INS": 0}, [])


def test_nothing_tested_is_no_fault():
    bias = found_of(bias=bias_table().iloc[:0])["bias"]
    assert bias["tested"] == bias["significant"] == bias["within_strata"] == 0 and bias["strongest_positive"] == []


def test_types_and_pairs_count_what_is_significant_and_enriched():
    found = found_of()
    assert found["types"]["by_type"] == {"DEL": 1, "INS": 0} and found["types"]["specialized"] == 1
    assert found["types"]["atoms"] == 2
    assert (found["together"]["pairs"], found["together"]["significant"]) == (2, 1)


def test_findings_are_json_and_say_null_for_what_is_not_known(tmp_path):
    found = found_of()
    write_json(tmp_path / "summary.json", found)
    assert json.loads((tmp_path / "summary.json").read_text()) == found
    assert found["recovery"] is None and found["performance"]["quality"] is None
    assert found["performance"]["size"]["roc_auc"] == {"value": 0.62, "low": 0.58, "high": 0.66}
    assert found["dictionary"]["controls"]["principal_components"]["l0"] is None
    recovered = found_of(raw_recovery=raw_recovery(raw_table(), TRUTH))["recovery"]
    assert {row["sign_accuracy"] for row in recovered if row["signal"] == "none"} == {None}


def test_branches_are_those_of_their_model():
    models = found_of()["raw_attributions"]["models"]
    assert {name: [row["share"] for row in one["branches"]] for name, one in models.items()} == {
        "voters": [0.25, 0.75],
        "logistic": [0.5, 0.5],
    }
    assert [row["auroc"] for row in models["voters"]["branches"]] == [None, 0.8]


def test_branches_of_every_model_stand_in_the_order_of_the_mean_of_the_networks():
    table = branches_table().assign(magnitude=[0.1, 0.9, 0.3, 0.2])
    models = found_of(raw_branches=table)["raw_attributions"]["models"]
    assert {name: [row["branch"] for row in one["branches"]] for name, one in models.items()} == {
        "voters": ["b", "a"],
        "logistic": ["b", "a"],
    }


def test_baselines_have_what_the_network_adds_to_them():
    baselines = found_of()["performance"]["baselines"]
    for name, (area, gain) in BASELINES.items():
        assert tuple(baselines[name]["roc_auc"].values()) == area
        assert tuple(baselines[name]["network_roc_auc_gain"].values()) == gain
    assert set(baselines) == set(BASELINES)


def test_codes_with_and_without_a_consensus_are_told_where_they_are_known():
    assert found_of()["dictionary"]["codes_by_sequence"] is None
    counts = {"test": {"with": 9.0, "without": 2.0}}
    assert found_of(encoded=ENCODED | {"codes_by_sequence": counts})["dictionary"]["codes_by_sequence"] == counts


def test_the_dictionary_stands_beside_its_controls():
    table = dictionary_table(ENCODED).set_index(["encoder", "role"])
    assert list(table.index) == [
        ("dictionary", "train"), ("dictionary", "validation"), ("dictionary", "test"), ("principal_components", "test"),
        ("random_dictionary", "test"),
    ]  # fmt: skip
    assert table.loc[("dictionary", "test"), "explained_variance"] == 0.71
    assert table.loc[("principal_components", "test"), "atoms"] == 8
    assert pd.isna(table.loc[("principal_components", "test"), "l0"])
    assert (table["k"] == 8).all()


def test_the_sweep_marks_the_one_that_was_chosen():
    table = sweep_table(ENCODED)
    assert table["chosen"].tolist() == [False, True] and table["sound"].tolist() == [False, True]
    assert table["l0"].tolist() == [4.9, 8.0] and table["l0_train"].isna().all()
    known = [row | {"l0_train": 8.4, "dead_share_train": 0.1} for row in ENCODED["sweep"]]
    assert sweep_table(ENCODED | {"sweep": known})["l0_train"].tolist() == [8.4, 8.4]
    told = best_model(ENCODED)
    assert told["dictionary"] == "24to48_k8" and told["candidates"] == ["24to48_k4", "24to48_k8"]
    assert (told["best_dir"], told["rule"]) == ("dictionary", "the smallest k")


def test_an_imported_dictionary_is_a_sweep_of_one():
    facts = {name: value for name, value in ENCODED.items() if name not in ("sweep", "rule", "tolerance", "stability")}
    table = sweep_table(facts)
    assert table[["l0_train", "dead_share_train"]].to_numpy().tolist() == [[8.0, 0.02]]
    assert table["chosen"].tolist() == [True] and table["l0"].tolist() == [8.0] and table["sound"].isna().all()
    assert best_model(facts)["candidates"] == ["24to48_k8"]


def test_the_tensors_are_those_of_the_dictionary_alone():
    names = ("encoder_weight", "bias", "threshold", "center", "scale", "map", "raw_center")
    kept = {name: np.full(2, place) for place, name in enumerate((*names, "alive", "stability"))}
    found = dictionary_tensors(kept)
    assert set(found) == set(names) and all((found[name] == kept[name]).all() for name in names)


@pytest.fixture
def calls(tmp_path):
    """Calls with a QUAL that tells a little, and their split."""
    random, count = np.random.default_rng(0), 200
    labels = random.integers(2, size=count)
    facts = {"unit": "-", "source": "-", "source_sha256": "-", "classes": ["FP", "TP"]}
    with write_dataset(tmp_path / "dataset.h5", "classification", "true call", **facts) as writer:
        writer.features(pd.DataFrame({"name": ["x"], "branch": ["codes"]}))
        writer.branch("codes", np.zeros(1, int), count, scaling="feature")
        writer.append("codes", random.random((count, 1)))
        writer.target(labels)
        quality, size = labels + random.normal(size=count), random.random(count)
        columns = {"id": np.arange(count).astype(str), "trivial_quality": quality, "trivial_size": size}
        writer.samples(pd.DataFrame(columns))
    groups = np.arange(count) % 20
    role = np.where(groups < 12, "train", np.where(groups < 14, "validation", "test"))
    split = pd.DataFrame({"sample": columns["id"], "group": groups.astype(str), "role": role})
    with Dataset.open(tmp_path / "dataset.h5") as dataset:
        yield dataset, split


def test_intervals_of_predictors_without_features_hold_the_values_of_metrics_json(calls):
    dataset, split = calls
    found = trivial_intervals(dataset, split, 0)
    rows = [np.flatnonzero(split["role"] == role) for role in ("train", "test")]
    values = trivial_metrics(
        "classification", dataset.samples, dataset.target, dataset.weight, *rows, classes=dataset.classes
    )
    assert set(found) == set(values) == {"class_prior", "quality", "size"}
    for name, own in found.items():
        told = pd.Series({key: one["value"] for key, one in own.items()}, dtype=float)
        pd.testing.assert_series_equal(told, pd.Series(values[name], dtype=float), rtol=1e-12)
    auroc = found["quality"]["roc_auc"]
    quality = dataset.samples["trivial_quality"].to_numpy()[rows[1]]
    assert auroc["value"] == pytest.approx(roc_auc_score(dataset.labels[rows[1]], quality))
    assert auroc["low"] < auroc["value"] < auroc["high"]
    table = metrics_table({}, {}, {}, found)
    assert metric(table, "quality", "trivial") == pytest.approx(auroc, rel=1e-12)
    assert metric(table, "quality", "network") is None
    assert metric(table, "class_prior", "trivial", "precision")["value"] == found["class_prior"]["precision"]["value"]


def test_recovery_is_scikit_learns_over_what_is_ranked():
    table = raw_table(features=12)
    found = raw_recovery(table, TRUTH).set_index(["model", "signal"])
    own = table[table["model"] == "voters"].set_index("feature")
    others = {"motif": ["f 7", "f 9"], "size": ["f 1", "f 4", "f 9"], "all": []}
    for signal, planted in (("motif", ["f 1", "f 4"]), ("size", ["f 7"]), ("all", ["f 1", "f 4", "f 7", "f 9"])):
        ranked = own.drop(others[signal])
        hits, row = ranked.index.isin(planted), found.loc[("voters", signal)]
        # What no dataset has was never found: recall counts it.
        share = len(planted) / row["planted"]
        for column, scores in (("average_precision", "average_attribution"), ("slope_precision", "slope")):
            expected = average_precision_score(hits, ranked[scores].abs()) * share
            assert row[column] == pytest.approx(expected)
        assert row["chance"] == pytest.approx(hits.mean()) and row["features"] == len(ranked)
        assert row["missing"] == row["planted"] - len(planted)
    signs = np.sign(own["average_attribution"])
    right = (signs["f 1"] > 0) + (signs["f 4"] < 0)
    assert found.loc[("voters", "motif"), "sign_accuracy"] == right / 2
    assert found.loc[("voters", "size"), "sign_accuracy"] == (signs["f 7"] > 0) / 2
    assert pd.isna(found.loc[("voters", "none"), "sign_accuracy"])


def test_p_is_small_for_planted_features_that_rank_first_and_not_for_those_that_rank_last():
    table = raw_table(models=("voters",), features=40)
    truth = pd.DataFrame({"feature": [f"f {place}" for place in range(6)], "sign": 1, "signal": "motif"})
    planted = table["feature"].isin(truth["feature"])
    first = raw_recovery(table.assign(average_attribution=np.where(planted, -5.0, 1.0)), truth).iloc[0]
    assert first["average_precision"] == 1 and first["p_value"] < 1e-4 and first["sign_accuracy"] == 0
    last = raw_recovery(table.assign(average_attribution=np.where(planted, 0.5, 1.0)), truth).iloc[0]
    assert last["p_value"] > 0.99 and last["average_precision"] < 0.2


def test_scores_that_are_not_known_have_no_precision():
    found = raw_recovery(raw_table().assign(slope=np.nan), TRUTH)
    assert found["slope_precision"].isna().all() and found["slope_p_value"].isna().all()
    assert found["average_precision"].notna().all()


def test_atoms_that_stand_for_a_signal_stand_beside_it_and_none_is_zero():
    found = with_atoms(raw_recovery(raw_table(), TRUTH), {"motif": 3, "none": 2}).set_index(["model", "signal"])
    for model in ("voters", "logistic"):
        assert found.loc[model, "atoms"].to_dict() == {"all": 5, "motif": 3, "size": 0, "none": 2}
    assert with_atoms(raw_recovery(raw_table(), TRUTH), {})["atoms"].eq(0).all()


def test_truth_stands_beside_its_features_and_is_empty_where_not_known():
    table = with_truth(raw_table(), TRUTH).set_index(["model", "feature"])
    assert table.loc[("voters", "f 4"), "planted"] == -1 and table.loc[("logistic", "f 7"), "signal"] == "size"
    assert table.loc[("voters", "f 0"), "planted"] == 0 and pd.isna(table.loc[("voters", "f 0"), "signal"])
    unknown = with_truth(raw_table(), None)
    assert unknown["planted"].isna().all() and unknown["signal"].isna().all()


def test_the_strongest_features_have_their_sign():
    table = raw_table(models=("voters",), features=3)
    table = table.assign(magnitude=[0.1, 0.3, 0.2], direction=[1, -1, 0])
    assert list(strongest(table, "voters", 2)) == ["-f 1", "f 2"]
