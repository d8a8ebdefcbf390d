from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilience.attribution.store import Attributions
from consilience.consensus.drivers import COLUMNS, drivers, top_drivers
from consilience.consensus.linear import coefficient_table, consensus_kind, linear_list
from consilience.consensus.lists import (
    ModelAttribution,
    consensus_of,
    ensemble,
    listed,
    short_lists,
    top_list,
    top_matrix,
)
from consilience.errors import ConsilienceError

TARGETS = ["up", "down"]


def random_models(seed=0, models=3, members=4, targets=2, features=12, step=None):
    """Models whose members disagree; `step` rounds values so that ties and zeros come up."""
    rng = np.random.default_rng(seed)
    names = [f"f{index}" for index in range(features)]
    made = []
    for index in range(models):
        shape = (members + index, targets, features)
        direction, noise = rng.normal(size=(1, *shape[1:])) + rng.normal(size=shape), rng.random(shape)
        magnitude = np.abs(direction) + noise
        if step:
            direction, magnitude = np.round(direction / step) * step, np.round(magnitude / step) * step
        made.append(
            ModelAttribution(
                f"m{index}", names, TARGETS[:targets], magnitude.astype(np.float32), direction.astype(np.float32)
            )
        )
    return made, rng.normal(size=(targets, features))


def sign(value):
    return int(value > 0) - int(value < 0)


def mean(values):
    values = [float(value) for value in values]
    return sum(values) / len(values)


def plain_list(scores, top, side):
    """The top features of one sign of {feature: score}, by a plain sort; ties stay in the order of the dict."""
    right = {name: score for name, score in scores.items() if sign(score) == side}
    return sorted(right, key=lambda name: -abs(right[name]))[:top]


def plain_scores(model, target, members=None):
    """{feature: average attribution} of some members by plain loops."""
    members = range(len(model.magnitude)) if members is None else members
    scores = {}
    for column, name in enumerate(model.features):
        direction = mean(model.direction[member, target, column] for member in members)
        scores[name] = sign(direction) * mean(model.magnitude[member, target, column] for member in members)
    return scores


def plain_row(models, coefficients, target, feature, top, minimum_models):
    """One row of the table of drivers, as its documentation words it."""
    column = models[0].features.index(feature)
    sides = {1: 0, -1: 0}
    shares = {1: [], -1: []}
    for model in models:
        for side in sides:
            sides[side] += feature in plain_list(plain_scores(model, target), top, side)
            held = [
                feature in plain_list(plain_scores(model, target, [one]), top, side)
                for one in range(len(model.magnitude))
            ]
            shares[side].append(mean(held))
    direction = mean(mean(model.direction[:, target, column]) for model in models)
    magnitude = mean(mean(model.magnitude[:, target, column]) for model in models)
    positive, negative = mean(shares[1]), mean(shares[-1])
    agree = mean(mean(sign(one) == sign(direction) for one in model.direction[:, target, column]) for model in models)
    linear = dict(zip(models[0].features, coefficients[target], strict=True))
    return {
        "feature": feature,
        "target": models[0].targets[target],
        "direction": {1: "positive", -1: "negative", 0: "none"}[sign(direction)],
        "average_attribution": sign(direction) * magnitude,
        "total_positive": sides[1],
        "total_negative": sides[-1],
        "total_models": sides[1] + sides[-1],
        "stability_score": positive + negative,
        "directional_confidence": abs(positive - negative) / (positive + negative) if positive + negative else 0.0,
        "confidence_score": abs(positive - negative),
        "sign_probability": agree if sign(direction) else 0.0,
        "linear_coefficient": linear[feature],
        "in_overlap": any(sides[side] >= minimum_models and feature in plain_list(linear, top, side) for side in sides),
    }


def plain_table(models, coefficients, top, minimum_models):
    rows = []
    for target in range(len(models[0].targets)):
        one = [plain_row(models, coefficients, target, feature, top, minimum_models) for feature in models[0].features]
        for score, rank in (("average_attribution", "rank"), ("linear_coefficient", "linear_rank")):
            for place, row in enumerate(sorted(one, key=lambda row, score=score: -abs(row[score]))):
                row[rank] = place + 1
        rows += sorted(one, key=lambda row: row["rank"])
    return pd.DataFrame(rows)[list(COLUMNS)]


@pytest.mark.parametrize(("seed", "step"), [(0, None), (1, None), (2, 1.0), (3, 2.0)])
def test_drivers_equal_plain_loops(seed, step):
    models, coefficients = random_models(seed, step=step)
    if step:
        coefficients = np.round(coefficients)
    expected = plain_table(models, coefficients, top=3, minimum_models=2)
    pd.testing.assert_frame_equal(drivers(models, coefficients, 3, 2), expected, check_dtype=False, rtol=1e-12)


def test_drivers_of_a_worked_example():
    """Two models of two members, three features, lists of one feature a side, worked out by hand."""
    first = np.array([[[3.0, -1.0, 0.0]], [[1.0, -2.0, 0.0]]])  # member lists: a+ b-, a+ b-
    second = np.array([[[-1.0, 2.0, 0.0]], [[5.0, -4.0, 0.0]]])  # member lists: b+ a-, a+ b-
    names = ["a", "b", "c"]
    models = [
        ModelAttribution("first", names, ["y"], np.abs(first), first),
        ModelAttribution("second", names, ["y"], np.abs(second), second),
    ]
    table = drivers(models, np.array([[0.5, 2.0, 0.0]]), top=1, minimum_models=2).set_index("feature")
    assert list(table.index) == ["a", "b", "c"]
    # a: directions (2, 2), magnitudes (2, 3); b: directions (-1.5, -1), magnitudes (1.5, 3); c is not used.
    assert table["average_attribution"].tolist() == [2.5, -2.25, 0.0]
    assert table["direction"].tolist() == ["positive", "negative", "none"]
    assert table["total_positive"].tolist() == [2, 0, 0]
    assert table["total_negative"].tolist() == [0, 2, 0]
    assert table["stability_score"].tolist() == [1.0, 1.0, 0.0]
    assert table["directional_confidence"].tolist() == [0.5, 0.5, 0.0]
    assert table["confidence_score"].tolist() == [0.5, 0.5, 0.0]
    assert table["sign_probability"].tolist() == [0.75, 0.75, 0.0]
    assert table["linear_rank"].tolist() == [2, 1, 3]
    # The linear model lists b as positive, the networks as negative: no overlap.
    assert table["in_overlap"].tolist() == [False, False, False]


def test_three_scores_say_three_things():
    """The earlier system's three scores were one number; here each pair of them differs somewhere."""
    models, coefficients = random_models(5, features=30)
    scores = drivers(models, coefficients, 5, 2)[["stability_score", "directional_confidence", "sign_probability"]]
    assert np.linalg.matrix_rank(scores - scores.mean(), tol=1e-6) == 3


def test_matrix_equals_plain_loops():
    models, _ = random_models(4)
    expected = []
    for target, name in enumerate(TARGETS):
        for feature in models[0].features:
            row = {"target": name, "feature": feature}
            for model in models:
                for side, word in ((-1, "negative"), (1, "positive")):
                    row[f"{model.model}_{word}"] = int(feature in plain_list(plain_scores(model, target), 3, side))
            row["total_negative"] = sum(row[f"{model.model}_negative"] for model in models)
            row["total_positive"] = sum(row[f"{model.model}_positive"] for model in models)
            if row["total_negative"] + row["total_positive"]:
                expected.append(row)
    matrix = top_matrix(models, 3)
    both = ["target", "feature"]
    pd.testing.assert_frame_equal(
        matrix.drop(columns="average_attribution").sort_values(both, ignore_index=True),
        pd.DataFrame(expected).sort_values(both, ignore_index=True),
    )
    table = drivers(models, np.ones((2, 12)), 3, 2)
    joined = matrix.merge(table, on=both, suffixes=("", "_drivers"))
    for column in ("average_attribution", "total_positive", "total_negative"):
        assert joined[column].tolist() == joined[f"{column}_drivers"].tolist()
    for _, rows in joined.groupby("target"):
        assert rows["rank"].is_monotonic_increasing
    assert joined["target"].drop_duplicates().tolist() == TARGETS


def test_top_list_columns_and_spread():
    models, _ = random_models(6)
    rows = top_list(models[0], 3, "negative")
    assert rows.groupby("target", sort=False)["rank"].apply(list).tolist() == [[1, 2, 3], [1, 2, 3]]
    for row in rows.itertuples():
        target, column = TARGETS.index(row.target), models[0].features.index(row.feature)
        members = models[0].average_attribution[:, target, column]
        assert row.feature == plain_list(plain_scores(models[0], target), 3, -1)[row.rank - 1]
        assert row.average_attribution_sd == pytest.approx(np.sqrt(((members - members.mean()) ** 2).sum() / 3))
        assert row.direction == pytest.approx(mean(models[0].direction[:, target, column]))
        assert row.average_attribution == pytest.approx(-row.magnitude)


def test_a_single_member_has_no_spread():
    model, _ = random_models(0, models=1, members=1)
    assert top_list(model[0], 3, "positive")["average_attribution_sd"].isna().all()


def test_short_lists_are_told():
    direction = np.array([[[1.0, 2.0, 0.0, -1.0], [-1.0, -2.0, -3.0, 0.0]]])
    model = ModelAttribution("m", list("abcd"), TARGETS, np.abs(direction), direction)
    rows = top_list(model, 3, "positive")
    assert rows[["target", "feature"]].to_numpy().tolist() == [["up", "b"], ["up", "a"]]
    assert short_lists(rows, TARGETS, 3) == {"up": 2, "down": 0}
    assert short_lists(top_list(model, 3, "negative"), TARGETS, 3) == {"up": 1}


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 15), st.sampled_from([None, 1.0]))
def test_lists_hold_one_sign_and_never_share(seed, top, step):
    models, _ = random_models(seed, step=step)
    for model in models:
        lists = {side: top_list(model, top, side) for side in ("positive", "negative")}
        assert (lists["positive"]["average_attribution"] > 0).all()
        assert (lists["negative"]["average_attribution"] < 0).all()
        shared = lists["positive"].merge(lists["negative"], on=["target", "feature"])
        assert shared.empty
        assert all((rows["target"].value_counts() <= top).all() for rows in lists.values())


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_order_of_models_and_features_does_not_matter(seed):
    models, coefficients = random_models(seed)
    table = drivers(models, coefficients, 4, 2)
    rng = np.random.default_rng(seed + 1)
    features = rng.permutation(12)
    shuffled = [
        replace(
            models[index],
            features=[models[index].features[column] for column in features],
            magnitude=models[index].magnitude[..., features],
            direction=models[index].direction[..., features],
        )
        for index in rng.permutation(3)
    ]
    again = drivers(shuffled, coefficients[:, features], 4, 2)
    pd.testing.assert_frame_equal(table, again, rtol=1e-12)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([None, 1.0]))
def test_bounds_of_the_scores(seed, step):
    models, coefficients = random_models(seed, step=step)
    table = drivers(models, coefficients, 4, 2)
    scores = ["stability_score", "directional_confidence", "confidence_score", "sign_probability"]
    assert ((table[scores] >= 0) & (table[scores] <= 1)).all().all()
    assert np.allclose(table["confidence_score"], table["stability_score"] * table["directional_confidence"])
    assert (table["total_models"] <= 3).all()
    signs = table["direction"].map({"positive": 1, "negative": -1, "none": 0})
    assert np.array_equal(np.sign(table["average_attribution"]), signs)
    for _, rows in table.groupby("target"):
        assert rows["rank"].tolist() == list(range(1, 13))
        assert sorted(rows["linear_rank"]) == list(range(1, 13))


def test_ties_fall_in_feature_order():
    assert listed(np.array([1.0, 2.0, 2.0, 2.0, 1.0]), 2, "positive").tolist() == [False, True, True, False, False]
    equal = np.ones((2, 1, 4))
    table = drivers([ModelAttribution("m", list("dbca"), ["y"], equal, equal)], np.ones((1, 4)), 2, 1)
    assert table["feature"].tolist() == ["d", "b", "c", "a"]
    assert table["total_positive"].tolist() == [1, 1, 0, 0]


def test_models_weigh_the_same_whatever_their_members():
    models, coefficients = random_models(7)
    doubled = replace(
        models[1], magnitude=np.tile(models[1].magnitude, (2, 1, 1)), direction=np.tile(models[1].direction, (2, 1, 1))
    )
    pd.testing.assert_frame_equal(
        drivers(models, coefficients, 3, 2), drivers([models[0], doubled, models[2]], coefficients, 3, 2), rtol=1e-6
    )


def test_a_model_outside_the_consensus_changes_nothing():
    models, coefficients = random_models(8)
    ablation = ModelAttribution("ablation", ["f0"], TARGETS, np.ones((1, 2, 1)), np.ones((1, 2, 1)), consensus=False)
    pd.testing.assert_frame_equal(drivers(models, coefficients, 3, 2), drivers([*models, ablation], coefficients, 3, 2))
    assert not any(column.startswith("ablation") for column in top_matrix([*models, ablation], 3))
    assert len(top_list(ablation, 3, "positive")) == 2


def test_top_drivers_are_called_in_their_own_direction():
    models, coefficients = random_models(9, features=40)
    table = drivers(models, coefficients, 8, 2)
    chosen = top_drivers(table, 4, 2)
    for (target, direction), rows in chosen.groupby(["target", "direction"]):
        same = table[(table["target"] == target) & (table["direction"] == direction)]
        called = same[same[f"total_{direction}"] >= 2]
        best = called.iloc[np.argsort(-called["average_attribution"].abs().to_numpy(), kind="stable")][:4]
        assert rows["feature"].tolist() == best["feature"].tolist()
    # Two of five models list `a` as positive, three see it as negative: it is no positive driver.
    split = np.array([1.0, 1.0, -2.0, -2.0, -2.0])[:, None, None, None] * np.ones((5, 1, 1, 1))
    voters = [ModelAttribution(f"m{index}", ["a"], ["y"], np.abs(one), one) for index, one in enumerate(split)]
    alone = top_drivers(drivers(voters, np.ones((1, 1)), 4, 2), 4, 2)
    assert alone[["feature", "direction", "total_positive", "total_negative"]].to_numpy().tolist() == [
        ["a", "negative", 2, 3]
    ]
    assert list(chosen.columns) == list(COLUMNS)
    assert chosen["target"].drop_duplicates().tolist() == TARGETS
    assert top_drivers(table, 4, 2).equals(chosen)


def stored(targets, own_class, permuted=(0, 0, 7)):
    rng = np.random.default_rng(3)
    shape = (3, len(targets), 5)

    def statistics():
        direction, magnitude = rng.normal(size=shape).astype(np.float32), rng.random(shape).astype(np.float32)
        return {"magnitude": magnitude, "direction": direction, "average_attribution": np.sign(direction) * magnitude}

    return Attributions(
        model="m",
        method="saliency",
        reference="",
        features=pd.DataFrame({"name": list("abcde"), "branch": "x"}),
        targets=list(targets),
        members=pd.DataFrame({"member": range(3), "seed": range(3), "rows": "all", "permuted": permuted}),
        all=statistics(),
        own_class=statistics() if own_class else None,
        gap=None,
        scale=None,
        samples=["s"],
        showcase=None,
        roles=["test"],
        task="classification" if own_class else "regression",
        complete=False,
    )


@pytest.mark.parametrize(
    ("targets", "own_class", "used"), [("y", False, False), ("y", True, False), ("abc", True, True)]
)
def test_the_right_samples_and_members_are_read(targets, own_class, used):
    attributions = stored(targets, own_class)
    # A class's own samples say how much; which way is said by all, where the network is not sure yet.
    arrays = {
        "magnitude": (attributions.own_class if used else attributions.all)["magnitude"],
        "direction": attributions.all["direction"],
    }
    real = np.flatnonzero(attributions.members["permuted"] == 0)
    expected = {name: sum(arrays[name][member].astype(float) for member in real) / len(real) for name in arrays}
    mean_here = ensemble(ModelAttribution.of(attributions))
    for name in ("magnitude", "direction"):
        np.testing.assert_allclose(getattr(mean_here, name), expected[name])
    # The sign of the mean direction, which need not be that of most members.
    signed = np.sign(expected["direction"]) * expected["magnitude"]
    np.testing.assert_allclose(mean_here.average_attribution, signed)
    assert len(ModelAttribution.of(attributions).magnitude) == 2


def test_permuted_members_alone_are_refused():
    with pytest.raises(ConsilienceError, match="model m: no member was trained on real labels"):
        ModelAttribution.of(stored("y", False, permuted=(1, 2, 3)))


@pytest.mark.parametrize(("kinds", "used"), [(["minimum_norm", "ridge"], "ridge"), (["ridge", "logistic"], "logistic")])
def test_the_kind_the_consensus_uses(kinds, used):
    assert consensus_kind(pd.DataFrame({"kind": kinds})) == used
    with pytest.raises(ConsilienceError, match="no logistic or ridge among minimum_norm"):
        consensus_kind(pd.DataFrame({"kind": ["minimum_norm"]}))


def test_linear_lists_and_table():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 6))
    rows = [(f"f{j}", TARGETS[i], "ridge", values[i, j]) for i in range(2) for j in range(6)]
    frame = pd.DataFrame(rows, columns=["feature", "target", "kind", "coefficient"]).sample(frac=1, random_state=0)
    features = [f"f{j}" for j in range(6)]
    np.testing.assert_array_equal(coefficient_table(frame, "ridge", TARGETS, features), values)
    lists = linear_list(values, TARGETS, features, 2, "negative")
    for index, target in enumerate(TARGETS):
        expected = plain_list(dict(zip(features, values[index], strict=True)), 2, -1)
        assert lists.loc[lists["target"] == target, "feature"].tolist() == expected
    with pytest.raises(ConsilienceError, match="no kind 'rigde'; it has ridge; nearest: ridge"):
        coefficient_table(frame, "rigde", TARGETS, features)
    with pytest.raises(ConsilienceError, match="target 'down', feature 'f3' has no finite coefficient"):
        coefficient_table(frame[(frame["feature"] != "f3") | (frame["target"] != "down")], "ridge", TARGETS, features)
    with pytest.raises(ConsilienceError, match="target 'up', feature 'f\\d' is given twice"):
        coefficient_table(pd.concat([frame, frame[frame["target"] == "up"].head(1)]), "ridge", TARGETS, features)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda models: [replace(model, consensus=False) for model in models], "none of the 3 models takes part"),
        (lambda models: [models[0], replace(models[1], model="m0"), models[2]], "model names repeat: m0, m0, m2"),
        (lambda models: [models[0], replace(models[1], features=models[1].features[::-1])], "same features"),
        (lambda models: [models[0], replace(models[1], targets=["up", "other"])], "same targets"),
    ],
)
def test_models_that_cannot_vote_together_are_refused(change, message):
    models, _ = random_models(0)
    with pytest.raises(ConsilienceError, match=message):
        consensus_of(change(models))


def test_bad_values_are_named():
    models, coefficients = random_models(0)
    spoilt = models[0].magnitude.copy()
    spoilt[1, 1, 2] = np.nan
    with pytest.raises(
        ConsilienceError, match="m0: the magnitude of feature 'f2' for target 'down' is nan in member 1"
    ):
        replace(models[0], magnitude=spoilt)
    with pytest.raises(ConsilienceError, match=r"m0: direction has shape \(4, 2, 11\)"):
        replace(models[0], direction=models[0].direction[..., 1:])
    with pytest.raises(ConsilienceError, match=r"minimum_models: 4; expected 1 to 3"):
        drivers(models, coefficients, 3, 4)
    with pytest.raises(ConsilienceError, match=r"coefficients of shape \(2, 11\); expected \(2, 12\)"):
        drivers(models, coefficients[:, 1:], 3, 2)
