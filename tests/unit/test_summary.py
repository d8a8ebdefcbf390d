from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from consilience import study_results
from consilience.evaluation import best_loss
from consilience.files import write_json, write_table
from consilience.study_results import StudyResults
from consilience.summary import notes_of, summary_lines, summary_row


def metrics(value, trivial, task, name, groups=30, **training):
    low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
    interval = {"value": value, "low": low, "high": high}
    simple = {"mean": {name: trivial}, "size": {name: None}}
    return {"task": task, "test": {"n": 9, "groups": groups, name: interval}, "trivial": simple, "training": training}


def checks(gap, deletion):
    rows = [("deletion", "saliency", "area_minus_random", 0.5, 0.9)]
    rows.append(("deletion", "integrated_gradients", "area_minus_random", -0.5, deletion))
    if gap is not None:
        rows.append(("completeness", "integrated_gradients", "relative_gap", gap, None))
    return pd.DataFrame(rows, columns=["check", "method", "metric", "value", "high"])


def study(
    network=0.5,
    linear=0.3,
    trivial=0.0,
    gaps=0.001,
    task="regression",
    name="r2",
    shared=None,
    deletion=-0.1,
    remarks=(),
    excluded=None,
    apart=None,
    fitted=None,
    **facts,
):
    drivers = pd.DataFrame({"feature": list("abc"), "target": "y"})
    top = pd.DataFrame({"feature": ["b", "a"], "target": "y", "rank": [2, 1], "direction": ["negative", "positive"]})
    overlap = pd.DataFrame(
        {
            "sets": "networks;linear",
            "direction": ["positive", "negative"],
            "intersection": [3, 1],
            "size_networks": [5, 4],
            "expected": [0.043, 1.5],
        }
    )
    return StudyResults(
        base=Path("results/mine"),
        method="integrated_gradients",
        voters=["one", "two"],
        networks={
            "one": metrics(network, trivial, task, name, **facts),
            "two": metrics(None, trivial, task, name),
            # The best on the test role, which must not choose; it is not explained.
            "three": metrics(0.9, trivial, task, name),
        },
        linear={
            "minimum_norm": metrics(linear, trivial, task, name),
            "ridge": metrics(linear, trivial, task, name, at_edge=facts.get("groups") == 5, **(fitted or {})),
        },
        validation={"one": 0.4, "two": 0.6, "three": 0.1},
        samples={"train": 6, "validation": 2, "test": 2},
        shared=shared or {},
        audit=pd.DataFrame({"samples_before": [37, 10]}),
        drivers=drivers,
        top=top.assign(total_negative=[1, 0], total_positive=[1, 2], total_models=[2, 2]),
        overlap=overlap,
        recovery=None,
        checks={"one": checks(gaps, deletion), "two": checks(None, -0.2)},
        remarks={"one": [], "two": remarks},
        excluded=excluded or {},
        apart=apart or {},
    )


def test_the_lines_say_what_was_read_kept_measured_and_found():
    assert summary_lines(study()) == [
        "mine: y; 10 samples (6 train, 2 validation, 2 test) of 37 read, 3 features",
        "  test r2    one           0.500 [0.400, 0.600]",
        "             two           undefined",
        "             three         0.900 [0.800, 1.000]",
        "             minimum_norm  0.300 [0.200, 0.400]",
        "             ridge         0.300 [0.200, 0.400]",
        "             mean          0.000 (uses no feature)",
        "  drivers    +a (2/2), -b (1/2)",
        "  overlap    networks and linear share 3 positive of 5 (chance 0.043) and 1 negative of 4 (chance 1.5)",
        "  look at    results/report/mine.html",
        "             results/mine/top_drivers.csv, drivers.csv, overlap.csv, audit.tsv, figures/",
    ]


def test_a_truth_that_no_feature_stands_for_is_told():
    empty = pd.DataFrame(columns=["scope", "name", "method", "effect", "average_precision"])
    lines = summary_lines(replace(study(), recovery=empty))
    assert lines[-3] == "  recovery   average precision of the planted drivers: none is among the features"


def test_what_the_split_left_out_has_a_line():
    assert summary_lines(study(excluded={"gene": 10, "site": 2}))[1] == (
        "  left out   12 samples whose gene (10) or site (2) also stands in validation or test (split.apart)"
    )


def sampled(train, validation, available):
    counts = {"train_samples": train, "train_samples_available": available}
    return counts | {"validation_samples": validation, "validation_samples_available": available // 2}


def test_what_was_fitted_on_a_sample_is_told_once():
    found = study(**sampled(20, 10, 54), fitted={"n": 30, "available": 54})
    found.networks["two"]["training"] = sampled(20, 27, 54)
    found.networks["three"]["training"] = {"checkpoint": "w.pt"}
    expected = [
        "the networks were trained on a seeded sample of 20 of 54 rows (training.maximum_samples)",
        "the networks were validated on a seeded sample of 10 of 27 rows (training.maximum_samples)",
        "the linear models were fitted on a seeded sample of 30 of 54 rows (linear.maximum_samples)",
    ]
    assert notes_of(found)[:3] == expected
    assert notes_of(study(**sampled(54, 27, 54), fitted={"n": 54, "available": 54})) == []


def test_the_row_names_what_validation_and_the_consensus_choose():
    row = summary_row(study())
    assert (row["network"], row["network_value"]) == ("one", 0.5)
    assert (row["linear"], row["linear_low"]) == ("ridge", pytest.approx(0.2))
    assert (row["trivial"], row["trivial_value"], row["top_drivers"]) == ("mean", 0.0, "+a (2/2);-b (1/2)")


def test_of_models_that_are_not_explained_training_alone_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(study_results, "read", lambda path: SimpleNamespace(remarks=[str(path.relative_to(tmp_path))]))
    roles = {role: {"samples": 3} for role in ("train", "validation", "test")}
    write_json(tmp_path / "split.json", {"roles": roles, "shared": {}, "excluded": {}, "apart": []})
    write_json(tmp_path / "linear" / "metrics.json", {})
    history = pd.DataFrame({"validation_loss": [2.0], "best": [True]})
    for model in ("alone", "one"):
        write_json(tmp_path / "models" / model / "metrics.json", metrics(0.5, 0.1, "regression", "r2"))
        write_table(tmp_path / "models" / model / "history.tsv", history)
    for file in ("audit.tsv", "drivers.csv", "top_drivers.csv", "overlap.csv"):
        write_table(tmp_path / file, pd.DataFrame({"feature": ["a"]}))
    write_table(tmp_path / "faithfulness" / "one.tsv", checks(0.1, -0.1))
    found = StudyResults.load(tmp_path, ["alone", "one"], ["one"], ["one"], "saliency", simulated=False)
    assert list(found.networks) == list(found.validation) == ["alone", "one"]
    assert found.remarks == {"one": ["attributions/one/saliency.h5"]}
    assert list(found.checks) == list(found.gaps) == ["one"]


def test_the_validation_loss_is_that_of_the_states_kept(tmp_path):
    history = pd.DataFrame({"member": [0, 0, 1, 1], "epoch": [1, 2, 1, 2], "validation_loss": [3.0, 1.0, 2.0, 4.0]})
    history.assign(best=[False, True, True, False]).to_csv(tmp_path / "history.tsv", sep="\t", index=False)
    assert best_loss(tmp_path / "history.tsv") == 1.5
    history.head(0).assign(best=[]).to_csv(tmp_path / "none.tsv", sep="\t", index=False)
    assert best_loss(tmp_path / "none.tsv") == float("inf")


AREA = {"task": "classification", "name": "roc_auc", "trivial": 0.5}
DIVERGENCE = {"task": "votes", "name": "kl_divergence"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"linear": 0.45}, ["one (chosen on validation) does not predict clearly better than minimum_norm, ridge"]),
        (
            {"network": 0.05, "linear": -0.3},
            ["one (chosen on validation) is not clearly better than mean, which uses no feature: distrust the drivers"],
        ),
        ({"gaps": 0.05}, ["the attributions of one miss 5.0 % of the change they explain (median)"]),
        ({"remarks": ["it throws dice"]}, ["two: it throws dice"]),
        (
            {"deletion": 0.01},
            ["taking away what integrated_gradients ranks first in one is not clearly worse than at random"],
        ),
        (
            {"deletion": float("nan")},
            [
                "taking away what integrated_gradients ranks first in one is not clearly worse than at random "
                "(too few groups to tell)"
            ],
        ),
        (
            {"groups": 5},
            ["the test role has 5 groups: its intervals are rough", "ridge took a penalty at the edge of its grid"],
        ),
        (
            {"shared": {"train and test": 7}},
            ["groups stand in two roles (7 in train and test): test metrics may flatter"],
        ),
        (
            {"apart": {"gene": {"train and test": 3, "validation and test": 1}, "site": {}}},
            [
                "values of gene stand in two roles (3 in train and test, 1 in validation and test): test metrics may flatter"
            ],
        ),
        (
            {"network": 0.7, "linear": 0.35, **AREA},
            [
                f"{kind} ranks worse than chance (roc_auc 0.350 [0.250, 0.450]): to beat it says nothing"
                for kind in ("minimum_norm", "ridge")
            ],
        ),
        # An interval that holds 0.5, none at all, and another metric say nothing of chance.
        ({"network": 0.7, "linear": 0.45, **AREA}, []),
        (
            {"network": 0.7, "linear": None, **AREA},
            ["one (chosen on validation) cannot be told from minimum_norm, ridge"],
        ),
        (
            {"network": 0.7, "linear": 0.9, **AREA},
            ["one (chosen on validation) predicts worse than minimum_norm, ridge"],
        ),
        (
            {"trivial": 0.7},
            ["one (chosen on validation) predicts worse than mean, which uses no feature: distrust the drivers"],
        ),
        (
            {"trivial": None},
            ["one (chosen on validation) cannot be told from mean, which uses no feature: distrust the drivers"],
        ),
        ({"network": 0.5, "linear": 0.3}, []),
        ({"checkpoint": "w.pt"}, ["the weights of one were imported, and may have seen the test role"]),
        # Of a divergence, less is better.
        ({"network": 0.3, "linear": 0.6, "trivial": 0.9, **DIVERGENCE}, []),
        (
            {"network": 0.5, "linear": 0.55, "trivial": 0.9, **DIVERGENCE},
            ["one (chosen on validation) does not predict clearly better than minimum_norm, ridge"],
        ),
    ],
)
def test_what_is_weak_is_said(changes, expected):
    assert notes_of(study(**changes)) == list(expected)
