from pathlib import Path

import pandas as pd
import pytest

from consilience.summary import StudyResults, note_lines, summary_lines, summary_row


def metrics(value, trivial=0.0, task="regression", name="r2"):
    interval = {
        "value": value,
        "low": None if value is None else value - 0.1,
        "high": None if value is None else value + 0.1,
    }
    return {
        "task": task,
        "test": {"n": 9, "groups": 3, name: interval},
        "trivial": {"mean": {name: trivial}, "size": {name: None}},
    }


def study(network=0.5, linear=0.4, trivial=0.0, gaps=0.001, **kind):
    drivers = pd.DataFrame({"feature": list("abc"), "target": "y"})
    top = pd.DataFrame(
        {
            "feature": ["b", "a"],
            "target": "y",
            "rank": [2, 1],
            "direction": ["negative", "positive"],
            "total_models": [1, 2],
        }
    )
    overlap = pd.DataFrame(
        {"sets": "networks;linear", "direction": ["positive", "negative"], "intersection": [3, 1], "size_networks": [5, 4],
         "expected": [0.043, 1.5]}
    )  # fmt: skip
    return StudyResults(
        base=Path("results/mine"),
        voters=["one", "two"],
        networks={"one": metrics(network, trivial, **kind), "two": metrics(None, trivial, **kind)},
        linear={"ridge": metrics(linear, trivial, **kind)},
        samples={"train": 6, "validation": 2, "test": 2},
        audit=pd.DataFrame({"samples_before": [37, 10]}),
        drivers=drivers,
        top=top,
        overlap=overlap,
        recovery=None,
        gaps={"one": gaps, "two": float("nan")},
    )


def test_the_lines_say_what_was_read_kept_measured_and_found():
    assert summary_lines(study()) == [
        "mine: y; 10 samples (6 train, 2 validation, 2 test) of 37 read, 3 features",
        "  test r2    one    0.500 [0.400, 0.600]",
        "             two    undefined",
        "             ridge  0.400 [0.300, 0.500]",
        "             mean   0.000 (uses no feature)",
        "  drivers    +a (2/2), -b (1/2)",
        "  overlap    networks and linear share 3 positive of 5 (chance 0.043) and 1 negative of 4 (chance 1.5)",
        "  look at    results/mine/top_drivers.csv, drivers.csv, overlap.csv, audit.tsv, figures/",
    ]


def test_the_row_names_the_best_of_each_kind():
    row = summary_row(study())
    assert (row["network"], row["network_value"], row["linear"], row["linear_low"]) == (
        "one",
        0.5,
        "ridge",
        pytest.approx(0.3),
    )
    assert (row["trivial"], row["trivial_value"], row["top_drivers"]) == ("mean", 0.0, "+a (2/2);-b (1/2)")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"linear": 0.5}, ["no network predicts better than ridge here"]),
        ({"network": -0.2, "linear": -0.3}, ["no network predicts better than mean, which uses no feature: the drivers mean nothing"]),
        ({"gaps": 0.05}, ["the attributions of one miss 5.0% of the change they explain (median)"]),
        # Of a divergence, less is better.
        ({"network": 0.3, "linear": 0.4, "trivial": 0.9, "task": "votes", "name": "kl_divergence"}, []),
        ({"network": 0.5, "linear": 0.4, "trivial": 0.9, "task": "votes", "name": "kl_divergence"},
         ["no network predicts better than ridge here"]),
    ],
)  # fmt: skip
def test_what_is_weak_is_said(changes, expected):
    assert note_lines(study(**changes)) == [f"  note       {text}" for text in expected]
