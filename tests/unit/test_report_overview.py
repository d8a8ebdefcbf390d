"""What the report says of a study at a glance."""

import math
from itertools import combinations

import pandas as pd
import pytest

from consilience.audit import Audit
from consilience.report.overview import chances, funnel, metric_bars, metric_table, overview, shared
from tests.unit.report_examples import AUDIT, metric, results

NETWORKS = {"one": metric(0.4, trivial=(-0.2, 0.1, None)), "two": metric(0.7, 0.25), "flat": metric(-0.3, None)}
LINEAR = metric(0.55, 0.3)


def test_positions_keep_the_order_and_proportions_of_values():
    bars = metric_bars(results(NETWORKS, LINEAR))
    assert [(bar.name, bar.role) for bar in bars] == [
        ("one", "chosen"),
        ("two", "network"),
        ("flat", "network"),
        ("ridge", "linear"),
        ("size", "trivial"),
    ]
    values = {"one": 0.4, "two": 0.7, "flat": -0.3, "ridge": 0.55, "size": 0.1}
    reach = {"one": 0.1, "two": 0.25, "ridge": 0.3}
    points = [(values[bar.name], bar.value) for bar in bars]
    for bar in bars:
        if bar.name in reach:
            points += [(values[bar.name] - reach[bar.name], bar.low), (values[bar.name] + reach[bar.name], bar.high)]
            assert bar.low < bar.value < bar.high
        else:
            assert bar.low is bar.high is None
    assert all(0 < position < 100 for _, position in points)
    # Least -0.3, largest 0.95: a straight line runs through all points.
    slope = (max(points)[1] - min(points)[1]) / 1.25
    for (value, position), (other, place) in combinations(points, 2):
        assert position - place == pytest.approx(slope * (value - other), abs=0.02)


def test_what_is_not_defined_has_no_place_and_says_so():
    bars = metric_bars(results({"one": metric(None), "two": metric(0.5)}, metric(0.4), validation={"one": 0, "two": 1}))
    assert (bars[0].value, bars[0].low, bars[0].high, bars[0].text) == (None, None, None, "undefined")
    assert bars[1].value is not None
    nothing = metric_bars(results({"one": metric(None, trivial=(None,))}, metric(None)))
    assert {bar.value for bar in nothing} == {None}
    (same, other, _) = metric_bars(results({"one": metric(0.0, None)}, metric(0.0, None)))
    assert same.value == other.value
    assert 0 < same.value < 100


@pytest.mark.parametrize(
    ("network", "linear", "trivial", "less", "expected"),
    [
        ((0.6, 0.1), 0.4, 0.0, False, ["Better than ridge", "Better than mean"]),
        ((0.6, 0.1), 0.55, 0.0, False, ["Not clearly better than ridge", "Better than mean"]),
        ((0.6, 0.1), 0.9, 0.7, False, ["Worse than ridge", "Not clearly better than mean"]),
        ((0.6, None), 0.5, 0.7, False, ["Cannot be told from ridge", "Cannot be told from mean"]),
        ((0.3, 0.1), 0.6, 0.9, True, ["Better than ridge", "Better than mean"]),
        ((0.3, 0.1), 0.35, 0.1, True, ["Not clearly better than ridge", "Worse than mean"]),
        ((None, None), 0.5, 0.2, False, ["Cannot be told from ridge", "Cannot be told from mean"]),
        ((0.2, 0.1), None, None, False, ["Cannot be told from ridge", "Cannot be told from mean"]),
    ],
)
def test_a_verdict_is_better_or_worse_where_the_whole_interval_is(network, linear, trivial, less, expected):
    kind = {"name": "kl_divergence", "task": "votes"} if less else {}
    study = results({"one": metric(*network, trivial=(trivial,), **kind)}, metric(linear, **kind))
    view = overview(study, "toy")
    assert [one["text"] for one in view["verdicts"]] == expected
    assert (view["metric"], view["less_is_better"]) == (("kl_divergence", True) if less else ("r2", False))
    assert view["headline"] == {"network": network[0], "linear": linear, "trivial": trivial}


def expression():
    audit = Audit(1250, 1146, "human_gene.h5")
    audit.step("single cells", "singlecellprobability <= 0.5", 1124)
    audit.detail("keyword", "myeloid", 48, 1124)
    audit.detail("keyword", "monocyte", 135, 1124)
    audit.step("keywords", "myeloid.txt in title", 1000)
    audit.step("biotype", "biotype = protein_coding", features=1021)
    audit.step("library", "library size > 0")
    return audit, [("source", 1250, 1146), ("single cells", 1124, 1146), ("keywords", 1000, 1146), ("biotype", 1000, 1021)]  # fmt: skip


def eeg():
    audit = Audit(300, 111, "train.csv")
    audit.detail("masked channels", "flat in a window", 83, 300)
    audit.detail("masked channels", "a sample missing", 0, 300)
    audit.step("dataset", "written as log10 microvolt^2")
    return audit, [("source", 300, 111)]


def mirna():
    audit = Audit(3010, 2048, "pairs.csv")
    audit.step("repeats", "once", 3000)
    audit.detail("labels", "validation 1", 1500, 3000)
    audit.step("dataset", "written as shares")
    return audit, [("source", 3010, 2048), ("repeats", 3000, 2048)]


def all_lost_and_gained():
    audit = Audit(10, 4, "a.csv")
    audit.step("first", "x", 7, 3)
    audit.step("columns", "categories", features=9)
    audit.detail("target", "a share", 2, 7)
    audit.step("dataset", "written")
    return audit, [("source", 10, 4), ("first", 7, 3), ("columns", 7, 9)]


@pytest.mark.parametrize("make", [expression, eeg, mirna, all_lost_and_gained], ids=lambda make: make.__name__)
def test_the_funnel_has_the_steps_that_change_a_count_for_good(make):
    audit, expected = make()
    found = funnel(audit.frame())
    assert [(step["step"], step["samples"], step["features"]) for step in found] == expected
    for step, (_, samples, _) in zip(found, expected, strict=True):
        assert step["share"] == pytest.approx(100 * samples / expected[0][1], abs=0.05)


def test_a_rule_that_says_nothing_is_empty():
    table = AUDIT.assign(features_before=9, features_after=9, rule=math.nan)
    assert funnel(table)[0]["rule"] == ""


def test_drivers_of_a_target_come_by_rank_and_five_at_most():
    ranks = [3, 1, 9, 2, 7, 5]
    top = pd.DataFrame({"feature": [f"f{rank}" for rank in ranks], "target": "y", "rank": ranks, "direction": "positive", "total_positive": ranks})  # fmt: skip
    study = results(NETWORKS, LINEAR, top=pd.concat([top, top.assign(target="z", feature="other")]))
    assert [row["feature"] for row in study.strongest("y", 5)] == ["f1", "f2", "f3", "f5", "f7"]
    assert study.strongest("none", 5) == []


def test_what_is_shared_with_the_linear_model_is_summed():
    rows = [("networks;linear", 3, 5, 0.5), ("networks;linear", 0, 2, 0.25), ("networks;tested", 9, 9, 9.0)]
    table = pd.DataFrame(rows, columns=["sets", "intersection", "size_networks", "expected"])
    assert shared(results(NETWORKS, LINEAR, overlap=table)) == {"shared": 3, "size": 7, "expected": 0.75}


def test_chance_is_of_the_consensus_and_all_effects():
    rows = [
        ("consensus", "a", "saliency", "all", 0.2),
        ("consensus", "b", "saliency", "all", 0.4),
        ("consensus", "b", "saliency", "linear", 0.9),
        ("linear", "b", "ridge", "all", 0.8),
    ]
    table = pd.DataFrame(rows, columns=["scope", "name", "method", "effect", "chance"])
    assert chances(results(NETWORKS, LINEAR, recovery=table)) == {"saliency": pytest.approx(0.3)}
    assert chances(results(NETWORKS, LINEAR)) == {}


def test_the_gap_is_the_worst_models_and_none_where_no_method_promises_it():
    def checks(gap):
        row = {"check": "completeness", "method": "integrated_gradients", "metric": "relative_gap", "value": gap}
        return pd.DataFrame([row | {"high": None}])

    found = results(NETWORKS, LINEAR, checks={"one": checks(0.001), "two": checks(0.03), "flat": checks(math.nan)})
    assert overview(found, "toy")["gap"] == 0.03
    assert overview(results(NETWORKS, LINEAR), "toy")["gap"] is None


def test_all_metrics_of_all_models_stand_in_one_table():
    networks = {"one": metric(0.4, trivial=(-0.2, None), mean_squared_error={"value": 2.0, "low": 1.0, "high": 3.0})}
    linear = metric(0.55, None, mean_squared_error={"value": None, "low": None, "high": None})
    assert metric_table(results(networks, linear)) == {
        "names": ["r2", "mean_squared_error"],
        "rows": [
            ("one", ["0.400 [0.300, 0.500]", "2.000 [1.000, 3.000]"]),
            ("ridge", ["0.550", "undefined"]),
            ("mean", ["-0.200", "undefined"]),
            ("size", ["undefined", "undefined"]),
        ],
    }
