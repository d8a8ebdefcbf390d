import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.container import BarContainer

from consilience.consensus.drivers import drivers, top_drivers
from consilience.consensus.linear import linear_list
from consilience.consensus.lists import ModelAttribution, top_list
from consilience.errors import ConsilienceError
from consilience.figures import style
from consilience.figures.linear import coefficient_bars
from consilience.figures.lists import driver_bars, signed_bars
from consilience.figures.overlap import venn_diagrams
from consilience.figures.recovery import recovery_dots
from consilience.figures.style import BLUE, NEGATIVE, POSITIVE, lighten, shorten
from consilience.figures.training import confusion_matrices, loss_curves, prediction_scatter
from consilience.files import save_figure
from consilience.overlap import named_sets, overlaps
from consilience.recovery import Score, attribution_scores, recovery
from tests.unit.figure_examples import everything, rendered

TARGETS = ["cost $_{x}", "50 %_b", "c^3"]
FEATURES = [f"$f_{index}%$" for index in range(25)]
TOP = 6


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def models(targets=TARGETS, members=3):
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(1, len(targets), 25))
    made = []
    for index in range(3):
        direction = shared + 0.5 * rng.normal(size=(members, len(targets), 25))
        made.append(ModelAttribution(f"mlp_{index}$", FEATURES, list(targets), np.abs(direction), direction))
    return made, shared[0]


def table(targets=TARGETS):
    made, shared = models(targets)
    return drivers(made, shared, TOP, 2)


def bars(axes):
    """Label and width of every bar, top to bottom."""
    (container,) = (one for one in axes.containers if isinstance(one, BarContainer))
    labels = [label.get_text() for label in axes.get_yticklabels()]
    return list(zip(labels, [patch.get_width() for patch in container], strict=True))


@pytest.mark.parametrize("targets", [["y"], TARGETS])
def test_signed_bars_show_the_lists(targets):
    model = models(targets)[0][0]
    lists = {side: top_list(model, TOP, side) for side in ("positive", "negative")}
    figure = signed_bars(lists, targets, TOP, "heading", "caption")
    rendered(figure)
    panels = [axes for axes in figure.axes if axes.containers]
    assert len(panels) == 2 * len(targets)
    for index, axes in enumerate(panels):
        side = ("negative", "positive")[index % 2]
        rows = lists[side][lists[side]["target"] == targets[index // 2]]
        assert bars(axes) == list(zip(rows["feature"], rows["average_attribution"], strict=True))
        (container,) = (one for one in axes.containers if isinstance(one, BarContainer))
        assert {patch.get_facecolor()[:3] for patch in container} == {
            to_rgb(POSITIVE if side == "positive" else NEGATIVE)
        }
        # A whisker reaches one standard deviation to either side.
        (whiskers,) = axes.collections
        ends = np.array([segment[:, 0] for segment in whiskers.get_segments()])
        spread = rows["average_attribution_sd"].to_numpy()
        np.testing.assert_allclose(ends[:, 1] - ends[:, 0], 2 * spread)
        mirror = panels[index ^ 1]
        assert sorted(map(abs, axes.get_xlim())) == sorted(map(abs, mirror.get_xlim()))


def test_many_targets_show_the_first_eight_and_say_so():
    made, _ = models(TARGETS)
    lists = {side: top_list(made[0], 10, side) for side in ("positive", "negative")}
    figure = signed_bars(lists, TARGETS, 10, "heading", "caption")
    assert all(len(bars(axes)) == 8 for axes in figure.axes if axes.containers)
    for target in TARGETS:
        counts = {side: (rows["target"] == target).sum() for side, rows in lists.items()}
        assert f"8 of {counts['negative']} negative, 8 of {counts['positive']} positive" in everything(figure)
    alone = {side: rows[rows["target"] == TARGETS[0]] for side, rows in lists.items()}
    assert "10 negative" in everything(signed_bars(alone, TARGETS[:1], 10, "heading", "caption"))


def test_short_and_empty_lists_are_told():
    direction = np.array([[[1.0, 2.0, 0.0]]])
    model = ModelAttribution("m", list("abc"), ["y"], direction, direction)
    lists = {side: top_list(model, 5, side) for side in ("positive", "negative")}
    figure = signed_bars(lists, ["y"], 5, "heading", "caption")
    rendered(figure)
    texts = everything(figure)
    assert {"0 negative (no more of 5)", "2 positive (no more of 5)", "none"} <= set(texts)


@pytest.mark.parametrize("direction", ["positive", "negative"])
@pytest.mark.parametrize("targets", [["y"], TARGETS])
def test_driver_bars_are_ordered_by_what_they_show(direction, targets):
    chosen = top_drivers(table(targets), TOP, 2)
    figure = driver_bars(chosen, direction, targets, TOP, 3)
    rendered(figure)
    sign = 1 if direction == "positive" else -1
    for target, axes in zip(targets, figure.axes[: len(targets)], strict=True):
        rows = chosen[(chosen["target"] == target) & (chosen["direction"] == direction)]
        shown = bars(axes)
        widths = [sign * width for _, width in shown]
        assert widths == sorted(widths, reverse=True)
        assert min(widths) > 0
        labels = [f"{row.feature} ({row.total_models})" for row in rows.itertuples()]
        assert shown == list(zip(labels, rows["average_attribution"], strict=True))
        colors = [to_rgb(patch.get_facecolor()[:3]) for patch in axes.containers[0]]
        full = to_rgb(style.SIGN_COLORS[direction])
        assert [np.allclose(color, full) for color in colors] == rows["in_overlap"].tolist()
        assert axes.xaxis_inverted() == (direction == "negative")


def test_driver_bars_without_a_driver():
    figure = driver_bars(top_drivers(table(["y"]), TOP, 2).head(0), "positive", ["y"], TOP, 3)
    rendered(figure)
    assert "none" in everything(figure)


def test_ten_classes_stay_apart():
    classes = [f"a class with a long name {index}" for index in range(10)]
    figure = driver_bars(top_drivers(table(classes), TOP, 2), "positive", classes, TOP, 3)
    rendered(figure)
    assert len([axes for axes in figure.axes if axes.containers]) == 10
    titles = [axes.title if axes.title.get_text() else axes._left_title for axes in figure.axes]
    boxes = [title.get_window_extent(figure.canvas.get_renderer()) for title in titles]
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])


@pytest.mark.parametrize("further", [False, True])
def test_venn_counts_regions(further):
    frame = table()
    more = frame[frame["linear_rank"].isin([1, 5, 20]) & (frame["direction"] == "positive")]
    extra = {"chi2": more[["feature", "target", "direction"]]} if further else None
    sets, result = named_sets(frame, TOP, 2, extra), overlaps(frame, TOP, 2, extra)
    figure = venn_diagrams(sets, result, "positive")
    rendered(figure)
    for target, axes in zip(TARGETS, figure.axes, strict=True):
        members = [set(one) for one in sets[target, "positive"].values()]
        union = set.union(*members)
        codes = ["".join(str(int(feature in one)) for one in members) for feature in union]
        shown = [text.get_text() for text in axes.texts]
        # matplotlib-venn writes the regions 10, 01, 11 (100, 010, 110, 001, ...), then the names of the sets.
        regions = [format(code, f"0{len(members)}b")[::-1] for code in range(1, 2 ** len(members))]
        assert shown[: len(regions)] == [str(codes.count(code)) for code in regions]
        named = sets[target, "positive"].items()
        assert shown[len(regions) :] == [f"{name} ({len(one)})" for name, one in named]
        below = axes.get_xlabel().replace("\n", " ")
        rows = result[(result["target"] == target) & (result["direction"] == "positive")]
        for row in rows.itertuples():
            assert f"{row.intersection} shared (chance {row.expected:.2g}, p {row.p_value:.2g})" in below
        shared = set.intersection(*members)
        assert all((feature in below) == (feature in shared) for feature in union)
    assert any("no independent evidence" in text for text in everything(figure))


@pytest.mark.parametrize("networks", [[], ["a"], ["a", "b", "c"], ["x"]])
def test_venn_of_empty_contained_equal_and_disjoint_lists(networks):
    sets = {("y", "negative"): {"networks": networks, "linear": ["a", "b", "c"]}}
    shared = [name for name in networks if name in "abc"]
    row = {"target": "y", "direction": "negative", "sets": "networks;linear", "universe": 10, "p_value": 1.0,
           "intersection": len(shared), "expected": 0.3 * len(networks), "features": ";".join(shared)}  # fmt: skip
    figure = venn_diagrams(sets, pd.DataFrame([row]), "negative")
    rendered(figure)
    counts = [text.get_text() for text in figure.axes[0].texts][:3]
    assert counts == [str(len(networks) - len(shared)), str(3 - len(shared)), str(len(shared))]


def test_venn_of_four_lists_is_refused():
    with pytest.raises(ConsilienceError, match="venn: 4 lists"):
        venn_diagrams({("y", "positive"): {name: [] for name in "abcd"}}, pd.DataFrame(), "positive")


def history():
    epochs = {0: 6, 1: 4}
    rows = [
        {"model": "m", "member": member, "epoch": epoch, "train_loss": 1 / epoch, "validation_loss": 1 / epoch + member,
         "best": int(epoch == last - 1)}
        for member, last in epochs.items() for epoch in range(1, last + 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_loss_curves_draw_members_mean_and_best_epochs():
    figure = loss_curves(history(), ["m", "imported"], "mean squared error")
    rendered(figure)
    trained, imported = figure.axes
    lines = {line.get_label(): line for line in trained.lines if not line.get_label().startswith("_")}
    # The mean ends where the first member stopped.
    assert list(lines["validation"].get_xdata()) == [1, 2, 3, 4]
    np.testing.assert_allclose(lines["validation"].get_ydata(), [1.5, 1.0, 1 / 3 + 0.5, 0.75])
    np.testing.assert_allclose(lines["training"].get_ydata(), [1, 1 / 2, 1 / 3, 1 / 4])
    assert sorted(zip(*lines["best epoch"].get_data(), strict=True)) == [(3, 1 / 3 + 1), (5, 1 / 5)]
    assert len([line for line in trained.lines if line.get_label().startswith("_")]) == 4
    assert not imported.lines
    assert "imported, not trained here" in everything(figure)
    rendered(loss_curves(history().head(0), ["imported"]))


def test_scatter_shows_every_sample_and_the_metrics():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"model": np.repeat(["m", "n"], 20), "observed": rng.normal(size=40)})
    frame["predicted"] = frame["observed"] / 2
    metrics = {
        name: {"n": 20, "groups": 7, "r2": {"value": 0.75, "low": 0.5, "high": 0.9},
               "pearson": {"value": None, "low": None, "high": None},
               "spearman": {"value": 1.0, "low": None, "high": None},
               "mean_squared_error": {"value": 3.0, "low": None, "high": None}}
        for name in ("m", "n")
    }  # fmt: skip
    figure = prediction_scatter(frame, metrics, "cost $_x")
    rendered(figure)
    for name, axes in zip(["m", "n"], figure.axes, strict=True):
        rows = frame[frame["model"] == name]
        np.testing.assert_array_equal(axes.collections[0].get_offsets(), rows[["observed", "predicted"]])
        facts = axes.get_xlabel().split("\n")[2:]
        assert facts[:4] == ["n = 20 in 7 groups", "R² 0.750  [0.50, 0.90]", "Pearson undefined", "Spearman 1.000"]
        (equality,) = axes.lines
        np.testing.assert_array_equal(equality.get_xdata(), equality.get_ydata())
        assert axes.get_xlim() == axes.get_ylim()
    assert "Predicted and observed cost $_x, test role" in everything(figure)


def test_scatter_of_a_constant_target_is_drawn():
    frame = pd.DataFrame({"model": "m", "observed": [1.0, 1.0], "predicted": [1.0, 1.0]})
    rendered(prediction_scatter(frame, {"m": {"n": 2}}, "y"))


def test_confusion_matrix_counts_rows_by_true_class():
    frame = pd.DataFrame({"model": "m", "observed": list("aaab"), "predicted": list("aabb")})
    figure = confusion_matrices(frame, {"m": {"n": 4, "accuracy": {"value": 0.75}}}, ["b", "a", "never $_seen$"])
    rendered(figure)
    (axes,) = figure.axes
    cells = {(int(text.get_position()[1]), int(text.get_position()[0])): int(text.get_text()) for text in axes.texts}
    assert cells == {(0, 0): 1, (0, 1): 0, (0, 2): 0, (1, 0): 1, (1, 1): 2, (1, 2): 0, (2, 0): 0, (2, 1): 0, (2, 2): 0}
    np.testing.assert_allclose(axes.images[0].get_array(), [[1, 0, 0], [1 / 3, 2 / 3, 0], [0, 0, 0]])
    assert "accuracy 0.750" in axes.get_xlabel()


def test_coefficient_bars():
    _, shared = models()
    lists = {side: linear_list(shared, TARGETS, FEATURES, TOP, side) for side in ("positive", "negative")}
    figure = coefficient_bars(lists, TARGETS, TOP, "minimum_norm")
    rendered(figure)
    assert "Largest minimum norm coefficients" in everything(figure)
    widths = [width for _, width in bars([axes for axes in figure.axes if axes.containers][1])]
    assert widths == sorted(shared[0], reverse=True)[:TOP]


def test_recovery_of_nothing_says_so():
    figure = recovery_dots(
        recovery(pd.DataFrame(columns=["feature", "target", "sign", "effect"]), FEATURES, TARGETS, [])
    )
    rendered(figure)
    assert [text.get_text() for text in figure.texts] == ["No feature stands for what was planted."]


def test_recovery_dots_stand_where_the_table_says():
    made, shared = models()
    effects = ["linear", "threshold"]
    truth = pd.DataFrame(
        [(feature, target, 1, 1.0, effects[index % 2]) for target in TARGETS for index, feature in enumerate(FEATURES[:6])],
        columns=["feature", "target", "sign", "strength", "effect"],
    )  # fmt: skip
    scores = [*attribution_scores(made, "saliency"), *attribution_scores(made, "integrated_gradients")]
    result = recovery(truth, FEATURES, TARGETS, [*scores, Score("linear", "ridge", "coefficient", shared)])
    figure = recovery_dots(result)
    rendered(figure)
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["consensus", "mlp_0$", "mlp_1$", "mlp_2$", "ridge"]
    panels = dict(zip(["all", "linear", "threshold", "signs"], figure.axes, strict=True))
    colors = {"saliency": style.PALETTE[0], "integrated_gradients": style.PALETTE[1], "coefficient": style.GRAY}
    for effect, axes in panels.items():
        metric = "sign_accuracy" if effect == "signs" else "average_precision"
        part = result[result["effect"] == ("all" if effect == "signs" else effect)]
        expected = set()
        for (scope, name, method), one in part.groupby(["scope", "name", "method"]):
            row = rows.index(name.rpartition("/")[0] if scope == "member" else name)
            color = lighten(colors[method]) if scope == "member" else to_rgb(colors[method])
            expected.add((row, round(one[metric].mean(), 9), color))
        *dots, chance = axes.lines
        drawn = {
            (round(dot.get_ydata()[0]), round(float(dot.get_xdata()[0]), 9), to_rgb(dot.get_color())) for dot in dots
        }
        assert drawn == expected
        assert chance.get_xdata()[0] == pytest.approx(0.5 if effect == "signs" else part["chance"].mean())


def test_the_style_ends_with_the_figure_and_ignores_the_readers():
    frame = history()
    plain = rendered(loss_curves(frame, ["m"]))
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "font.family": "serif"}):
        before = dict(matplotlib.rcParams)
        figure = loss_curves(frame, ["m"])
        assert dict(matplotlib.rcParams) == before
        assert rendered(figure) == plain


def test_figures_are_saved_byte_for_byte_alike(tmp_path):
    for name in ("a.png", "b.png"):
        save_figure(tmp_path / name, driver_bars(top_drivers(table(), TOP, 2), "positive", TARGETS, TOP, 3))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").stat().st_size < 500_000


def test_colors_of_the_signs_differ_for_color_blind_readers():
    """Positive and negative differ in lightness too, and are the palette's own."""
    light = [np.dot(to_rgb(color), [0.2126, 0.7152, 0.0722]) for color in (POSITIVE, NEGATIVE)]
    assert abs(light[0] - light[1]) > 0.05
    assert {POSITIVE, NEGATIVE} <= set(style.PALETTE)
    assert lighten(BLUE, 1.0) == pytest.approx(to_rgb(BLUE))


def test_long_names_are_cut_in_the_middle():
    assert shorten("short") == "short"
    cut = shorten("a_very_long_feature_name_indeed_1", 20)
    assert len(cut) == 20
    assert cut.startswith("a_very_lon")
    assert cut.endswith("indeed_1")
