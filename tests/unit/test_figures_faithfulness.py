import warnings
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from consilience.faithfulness.curves import CONTROLS
from consilience.faithfulness.tables import CURVES, SCORES
from consilience.figures.faithfulness import CROWDED, _methods, faithfulness_panels
from consilience.figures.style import GRAY, METHOD_COLORS
from consilience.files import save_figure
from tests.unit.figure_examples import everything, rendered

METHODS = ["gradient_x_input", "saliency", "integrated_gradients"]
STAGES = ["trained", "a.very.long.name.of.a.module.that.goes.on", "first"]


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def tables(methods=METHODS, members=4, factor=1.0, intervals=True, seed=0):
    """Both tables, the values of which tell where they came from."""
    random, scores, curves = np.random.default_rng(seed), [], []

    def add(check, method, metric, value, chance=None, other=""):
        low, high = (value - 0.02, value + 0.02) if intervals else (np.nan, np.nan)
        scores.append((check, method, other, metric, value, low, high, chance, 64, 11))

    for name in methods[:1]:
        for place, metric in enumerate(("median_gap", "relative_gap", "worst_relative_gap")):
            add("completeness", name, metric, [0.5, 0.00034, 0.0121][place], other="mean")
    for kind, sign in (("deletion", -1), ("insertion", 1)):
        for name in [*methods, *CONTROLS]:
            gain = sign * factor * random.uniform(0.1, 0.5)
            add(kind, name, "area", 0.5 + gain, 0.5)
            if name != "random":
                add(kind, name, "area_minus_random", gain, 0.0)
            shares = np.array([0, 0.01, 0.1, 0.5, 1])
            values = (1 - shares if sign < 0 else shares) + 4 * gain * shares * (1 - shares)
            curves += [(kind, name, share, "", value) for share, value in zip(shares, values, strict=True)]
    for name in methods:
        add("randomization", name, "rank_correlation", 0.3, random.uniform(-0.2, 0.6))
        curves += [("randomization", name, number, label, 1 - 0.35 * number) for number, label in enumerate(STAGES)]
        if members > 1:
            add("seeds", name, "spearman", random.uniform(0.6, 0.8), 0.0)
            add("seeds", name, "jaccard_top_30", random.uniform(0.3, 0.5), 0.0155)
    for first, second in combinations(methods, 2):
        add("methods", first, "spearman", round(random.uniform(0, 1), 2), 0.0, second)
        add("methods", first, "jaccard_top_30", round(random.uniform(0, 1), 2), 0.0155, second)
    return pd.DataFrame(scores, columns=SCORES), pd.DataFrame(curves, columns=CURVES)


def panels(figure):
    """The panels by title."""
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_title(loc="left")}


def lines(axes, color):
    return [line for line in axes.get_lines() if to_hex(line.get_color()) == color.lower()]


def test_curves_are_drawn_at_the_root_of_the_share_in_the_methods_color():
    scores, curves = tables()
    figure = faithfulness_panels(scores, curves, "mlp_8")
    for kind in ("deletion", "insertion"):
        for name, color in zip(METHODS, METHOD_COLORS[: len(METHODS)], strict=True):
            (line,) = [one for one in lines(panels(figure)[kind.capitalize()], color) if len(one.get_xdata()) > 2]
            rows = curves[(curves["curve"] == kind) & (curves["method"] == name)]
            np.testing.assert_allclose(line.get_xdata() ** 2, rows["position"])
            np.testing.assert_allclose(line.get_ydata(), rows["value"])
        controls = [one for one in lines(panels(figure)[kind.capitalize()], GRAY) if len(one.get_xdata()) > 2]
        assert len(controls) == 2
        assert all(one.get_linestyle() != "-" for one in controls)


def test_randomization_shows_stages_and_the_level_of_the_input():
    scores, curves = tables()
    axes = panels(faithfulness_panels(scores, curves, "m"))["Randomized parameters"]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels[0] == "trained"
    assert labels[-1] == "input alone"
    assert len(labels[1]) <= 20
    for name, color in zip(METHODS, METHOD_COLORS[: len(METHODS)], strict=True):
        curve, level = lines(axes, color)
        np.testing.assert_allclose(curve.get_ydata(), [1, 0.65, 0.3])
        assert level.get_xdata() == [3]
        chance = scores[(scores["check"] == "randomization") & (scores["method"] == name)]["chance"].iloc[0]
        assert level.get_ydata() == [chance]


def test_gains_point_right_where_a_ranking_is_better():
    scores, curves = tables()
    axes = panels(faithfulness_panels(scores, curves, "m"))["Gain over a random ranking"]
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "magnitude of input"
    points = [line for line in axes.get_lines() if line.get_marker() in "oD"]
    rows = scores[scores["metric"] == "area_minus_random"]
    expected = [*-rows[rows["check"] == "deletion"]["value"], *rows[rows["check"] == "insertion"]["value"]]
    assert [line.get_xdata()[0] for line in points] == pytest.approx(expected)
    assert min(expected) > 0


def test_the_matrix_holds_both_measures_on_either_side():
    scores, curves = tables()
    axes = panels(faithfulness_panels(scores, curves, "m"))["Agreement among methods"]
    texts = {tuple(int(part) for part in text.get_position()): text.get_text() for text in axes.texts}
    for row, column in combinations(range(3), 2):
        pair = scores.query("check == 'methods' and method == @METHODS[@row] and other == @METHODS[@column]")
        values = pair.set_index("metric")["value"]
        assert texts[row, column] == f"{values['spearman']:.2f}"
        assert texts[column, row] == f"{values['jaccard_top_30']:.2f}"
        assert texts[row, row] == ""
    assert "top 30 (chance 0.015)" in axes.get_xlabel() or "top 30 (chance 0.016)" in axes.get_xlabel()


def test_a_crowded_matrix_numbers_its_columns_and_leaves_out_zeros_before_the_point():
    names = [f"method_{place}" for place in range(CROWDED + 1)]
    rows = [
        {"method": first, "other": second, "metric": metric, "value": value, "chance": 0.01}
        for first, second in combinations(names, 2)
        for metric, value in (("spearman", -0.25), ("jaccard_top_30", 0.5))
    ]
    axes = Figure().add_subplot()
    _methods(axes, pd.DataFrame(rows), names)
    texts = {tuple(int(part) for part in text.get_position()): text.get_text() for text in axes.texts}
    assert (texts[0, 1], texts[1, 0]) == ("-.25", ".50")
    assert [label.get_text() for label in axes.get_xticklabels()] == [str(place) for place in range(1, len(names) + 1)]
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == f"method {CROWDED}  {CROWDED + 1}"


def test_the_caption_tells_samples_groups_and_completeness():
    figure = faithfulness_panels(*tables(), "mlp_8")
    texts = everything(figure)
    assert "How far the attributions of mlp_8 can be trusted" in texts
    caption = " ".join(next(text for text in texts if "Completeness" in text).split())
    assert "64 test samples of 11 groups" in caption
    assert "gradient x input 0.034 % (1.2 %)" in caption


def test_gaps_that_are_not_defined_are_said():
    scores, curves = tables()
    relative = scores["metric"].isin(["relative_gap", "worst_relative_gap"])
    figure = faithfulness_panels(scores.assign(value=scores["value"].where(~relative)), curves, "m")
    caption = " ".join(next(text for text in everything(figure) if "Completeness" in text).split())
    assert "gradient x input undefined" in caption
    assert "ABOVE TOLERANCE" not in caption


def test_axes_are_logarithmic_only_where_values_go_far_beyond_one():
    near, far = (panels(faithfulness_panels(*tables(factor=factor), "m")) for factor in (1.0, 20.0))
    assert near["Deletion"].get_yscale() == near["Gain over a random ranking"].get_xscale() == "linear"
    assert far["Deletion"].get_yscale() == far["Gain over a random ranking"].get_xscale() == "symlog"


@pytest.mark.parametrize(
    "made",
    [
        tables(METHODS[:1], members=1),
        tables(intervals=False),
        tables([f"method_{number}_of_a_long_name" for number in range(10)]),
        tables(factor=300.0),
    ],
    ids=["alone", "no intervals", "many", "far"],
)
def test_every_case_can_be_drawn(made, tmp_path):
    scores, curves = made
    figure = faithfulness_panels(scores, curves, "a$_model")
    assert rendered(figure)
    names = list(curves.loc[curves["curve"] == "randomization", "method"].unique())
    drawn = {to_hex(line.get_color()) for line in panels(figure)["Deletion"].get_lines()}
    assert len(drawn - {GRAY.lower()}) == len(names)
    save_figure(tmp_path / "figure.png", faithfulness_panels(scores, curves, "a$_model"))
    first = (tmp_path / "figure.png").read_bytes()
    save_figure(tmp_path / "figure.png", faithfulness_panels(scores, curves, "a$_model"))
    assert (tmp_path / "figure.png").read_bytes() == first


def test_what_is_not_defined_is_left_out(tmp_path):
    scores, curves = tables()
    empty = scores.assign(value=np.nan, low=np.nan, high=np.nan, chance=np.nan), curves.assign(value=np.nan)
    save_figure(tmp_path / "figure.png", faithfulness_panels(*empty, "m"))
