import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from consilience.consensus.lists import ModelAttribution
from consilience.errors import ConsilienceError
from consilience.recovery import (
    Score,
    attribution_scores,
    average_precision,
    linear_scores,
    precision_at,
    recovery,
)

FEATURES = [f"f{index}" for index in range(50)]
TARGETS = ["up", "down"]


def planted():
    rows = [
        (f"f{index}", target, [1, -1, 0][index % 3], 1.0, ["linear", "threshold", "interaction"][index // 3])
        for target in TARGETS
        for index in range(9)
    ]
    rows += [("lost", "up", 1, 1.0, "linear"), ("gone", "up", 0, 1.0, "threshold")]
    return pd.DataFrame(rows, columns=["feature", "target", "sign", "strength", "effect"])


def score(seed=0, step=None):
    values = np.random.default_rng(seed).normal(size=(2, 50))
    return Score("marginal", "correlation", "correlation", np.round(values / step) * step if step else values)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([None, 0.5, 10.0]))
def test_average_precision_is_scikit_learns(seed, hits, step):
    rng = np.random.default_rng(seed)
    scores = np.abs(rng.normal(size=40))
    scores = np.round(scores / step) if step else scores
    truth = rng.permutation(40) < hits
    assert average_precision(scores, truth, hits) == pytest.approx(average_precision_score(truth, scores), abs=1e-12)


def test_features_lost_before_the_models_count_against_recall():
    scores, truth = np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, False, True, False])
    # Precision 1 at the first, 2/3 at the second hit; four were planted, of which two are gone.
    assert average_precision(scores, truth, 2) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(scores, truth, 4) == pytest.approx((1 + 2 / 3) / 4)
    assert np.isnan(average_precision(scores, np.zeros(4, bool), 0))
    assert average_precision(scores, np.zeros(4, bool), 3) == 0


def test_precision_at_a_depth():
    scores, truth = np.array([1.0, 5.0, 5.0, 2.0]), np.array([True, True, False, False])
    assert precision_at(scores, truth, 1) == 1  # the first of two equal scores
    assert precision_at(scores, truth, 2) == 0.5
    assert precision_at(scores, truth, 30) == 0.5  # four features: the share among all


@pytest.mark.parametrize(("seed", "step"), [(0, None), (1, 1.0)])
def test_rows_by_plain_loops(seed, step):
    truth, one = planted(), score(seed, step)
    result = recovery(truth, FEATURES, TARGETS, [one])
    assert result["effect"].tolist() == ["all", "linear", "threshold", "interaction"] * 2
    for row in result.itertuples():
        values = dict(zip(FEATURES, one.scores[TARGETS.index(row.target)], strict=True))
        own = [item for item in truth.to_dict("records") if item["target"] == row.target]
        wanted = [item for item in own if row.effect in ("all", item["effect"])]
        names = {item["feature"] for item in wanted}
        ranked = [name for name in FEATURES if name in names or name not in {item["feature"] for item in own}]
        hits = [name in names for name in ranked]
        size = [abs(values[name]) for name in ranked]
        found = sum(hits)
        expected = average_precision_score(hits, size) * found / len(wanted)
        best = sorted(range(len(ranked)), key=lambda index: -size[index])[:30]
        signed = [item for item in wanted if item["sign"]]
        right = [item for item in signed if np.sign(values.get(item["feature"], 0)) == item["sign"]]
        assert row.average_precision == pytest.approx(expected, abs=1e-12)
        assert row.precision_at_30 == pytest.approx(sum(hits[index] for index in best) / 30)
        assert row.sign_accuracy == pytest.approx(len(right) / len(signed))
        assert (row.planted, row.missing, row.features) == (len(wanted), len(wanted) - found, len(ranked))
        assert row.chance == pytest.approx(found / len(ranked))


def test_a_perfect_and_a_reversed_score():
    truth = planted().query("target == 'down'")
    values = np.full((1, 50), 0.01)
    values[0, :9] = [[3, -3, 3][index % 3] for index in range(9)]
    good = recovery(truth, FEATURES, ["down"], [Score("linear", "ridge", "coefficient", values)])
    assert (good["average_precision"] == 1).all()
    assert (good["sign_accuracy"] == 1).all()
    bad = recovery(truth, FEATURES, ["down"], [Score("linear", "ridge", "coefficient", -values)])
    assert (bad["average_precision"] == 1).all()
    assert (bad["sign_accuracy"] == 0).all()


def test_effects_without_a_sign_have_no_sign_accuracy():
    truth = planted().assign(sign=0)
    assert recovery(truth, FEATURES, TARGETS, [score()])["sign_accuracy"].isna().all()


def test_an_effect_is_not_blamed_for_the_others():
    """Linear drivers ranked above every other feature leave the precision of thresholded ones at one."""
    truth = planted().query("target == 'down'")
    values = np.array([[100 - index for index in range(50)]], dtype=float)
    result = recovery(truth, FEATURES, ["down"], [Score("linear", "ridge", "coefficient", values)])
    assert (result["average_precision"] == 1).all()


def test_scores_of_attributions_and_coefficients():
    rng = np.random.default_rng(0)
    models = []
    for index in range(3):
        direction = rng.normal(size=(2, 2, 50))
        models.append(ModelAttribution(f"m{index}", FEATURES, TARGETS, np.abs(direction), direction, index < 2))
    scores = attribution_scores(models, "saliency")
    assert [(one.scope, one.name) for one in scores] == [
        ("consensus", "consensus"),
        *(
            pair
            for index in range(3)
            for pair in (("model", f"m{index}"), ("member", f"m{index}/0"), ("member", f"m{index}/1"))
        ),
    ]
    np.testing.assert_array_equal(scores[3].scores, models[0].direction[1])  # |d| with the sign of d
    directions = [model.direction.mean(axis=0) for model in models[:2]]
    magnitudes = [model.magnitude.mean(axis=0) for model in models[:2]]
    expected = np.sign(np.mean(directions, axis=0)) * np.mean(magnitudes, axis=0)
    np.testing.assert_allclose(scores[0].scores, expected)
    frame = pd.DataFrame(
        [(name, target, kind, place) for kind in ("ridge", "minimum_norm") for target in TARGETS
         for place, name in enumerate(FEATURES)],
        columns=["feature", "target", "kind", "coefficient"],
    )  # fmt: skip
    linear = linear_scores(frame, TARGETS, FEATURES)
    assert [(one.scope, one.name, one.method) for one in linear] == [
        ("linear", "ridge", "coefficient"),
        ("linear", "minimum_norm", "coefficient"),
    ]
    result = recovery(planted(), FEATURES, TARGETS, [*scores, *linear])
    assert result["name"].drop_duplicates().tolist() == [one.name for one in [*scores, *linear]]
    assert len(result) == 12 * 2 * 4


def test_scores_on_another_axis_are_refused():
    one = Score("model", "ablation", "saliency", np.ones((2, 49)))
    with pytest.raises(ConsilienceError, match=r"model ablation by saliency has scores of shape \(2, 49\).*\(2, 50\)"):
        recovery(planted(), FEATURES, TARGETS, [one])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "upp"}, "truth: target 'upp' of feature 'f0'; expected one of up, down; nearest: up"),
        ({"effect": "treshold"}, "truth: effect 'treshold' of feature 'f0'.*nearest: threshold"),
        ({"sign": 2}, "truth: sign 2 of feature 'f0'; expected one of -1, 0, 1"),
        ({"feature": "f1"}, "truth: feature 'f1' is planted twice for target 'up'"),
    ],
)
def test_a_truth_that_does_not_fit_is_refused(change, message):
    truth = planted()
    for column, value in change.items():
        truth.loc[0, column] = value
    with pytest.raises(ConsilienceError, match=message):
        recovery(truth, FEATURES, TARGETS, [score()])


def test_where_no_feature_stands_for_what_was_planted_there_is_a_table_without_rows():
    found = recovery(planted().iloc[:0], FEATURES, TARGETS, [score()])
    assert found.empty
    assert list(found) == list(recovery(planted(), FEATURES, TARGETS, [score()]))
