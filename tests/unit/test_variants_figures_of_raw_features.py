"""The figure of raw features shows what its tables hold, branch by branch too, and says where there is nothing."""

import numpy as np
import pandas as pd
import pytest

from consilience.domains.variants.landscape_plots import bias_landscape
from consilience.domains.variants.raw_plots import raw_attribution_bars
from tests.unit.figure_examples import everything, rendered
from tests.unit.variants_figure_examples import example_branches, example_raw, example_recovery, example_tables

pytestmark = pytest.mark.filterwarnings("error")
MODELS = ["narrow", "wide"]


def titles(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def test_raw_features_are_ranked_with_every_model():
    table = example_raw()
    branches = example_branches(table)
    figure = raw_attribution_bars(table, branches, MODELS, example_recovery())
    rendered(figure)
    mean = table[table["model"] == "voters"].set_index("feature")
    for title, sign in (("For true calls", 1), ("For false calls", -1)):
        axes = titles(figure)[title]
        names = [label.get_text().removesuffix(" ✓") for label in axes.get_yticklabels()]
        wanted = mean[sign * mean["average_attribution"] > 0].sort_values("magnitude", ascending=False).head(15)
        assert names == list(wanted.index)
        np.testing.assert_allclose([bar.get_width() for bar in axes.patches], wanted["magnitude"])
        planted = [label.get_text().endswith("✓") for label in axes.get_yticklabels()]
        assert planted == list(wanted["planted"] != 0)
        (left, right), spread = axes.get_xlim(), np.ptp(axes.get_xlim())
        drawn = [line for line in axes.lines if len(line.get_xdata()) == len(names)]
        ends = np.concatenate([line.get_xdata() for line in drawn])
        # Marks keep away from the names.
        assert left + 0.02 * spread < min(0, ends.min()) and ends.max() < right
        assert axes.get_xlabel().startswith("mean contribution, with the sign of its slope")
        for line, model in zip(drawn, [*MODELS, "logistic"], strict=True):
            own = table[table["model"] == model].set_index("feature").loc[names, "average_attribution"]
            np.testing.assert_allclose(line.get_xdata(), sign * own)
    disagreeing = [line for axes in figure.axes for line in axes.lines if np.min(line.get_xdata(), initial=0) < 0]
    assert len(disagreeing) == 2 and {line.get_marker() for line in disagreeing} == {"D"}
    assert "a mark left of 0 disagrees in sign" in figure.get_supxlabel().replace("\n", " ")
    below = next(axes for title, axes in titles(figure).items() if "By branch" in title)
    own = branches[branches["model"] == "voters"].set_index("branch")
    np.testing.assert_allclose([bar.get_width() for bar in below.patches], own["share"])
    counts = mean["branch"].value_counts()[own.index]
    np.testing.assert_allclose(below.lines[0].get_xdata(), counts / len(mean))
    assert [label.get_text() for label in below.get_yticklabels()] == [
        f"{name} ({count})" for name, count in counts.items()
    ]
    told = dict(zip(own.index, (text.get_text() for text in below.texts), strict=True))
    assert told["attributes"].endswith(" %, AUROC 0.75") and told["alleles"].endswith(" %, AUROC undefined")
    assert "0.83 (chance: 0.06)" in figure.get_suptitle().replace("\n", " ")


def test_raw_features_without_truth_or_of_one_direction():
    table = example_raw(planted=False, sides=(1,))
    table["average_attribution"] = table["magnitude"]
    figure = raw_attribution_bars(table, example_branches(table), MODELS)
    rendered(figure)
    texts = everything(figure)
    assert any("no raw feature speaks" in text for text in texts)
    assert not any("✓" in text or "planted" in text for text in texts)
    first = table[table["model"] == "voters"].nlargest(1, "magnitude")["feature"].iloc[0]
    assert figure.get_suptitle().replace("\n", " ").endswith(first)
    for none in (table.iloc[:0], table.assign(magnitude=0.0, average_attribution=0.0)):
        figure = raw_attribution_bars(none, example_branches(none), MODELS)
        rendered(figure)
        assert any("No raw feature has an attribution" in text for text in everything(figure))


@pytest.mark.parametrize(
    ("marginal", "told"), [(0.95, True), (0.83, False), (0.2, False), (np.nan, False), (None, False)]
)
def test_the_title_tells_class_means_where_they_find_more(marginal, told):
    table, recovery = example_raw(), example_recovery()
    if marginal is not None:
        recovery = pd.concat([recovery, recovery.assign(model="marginal", average_precision=marginal)])
        others = recovery.assign(signal="element", average_precision=0.99)
        recovery = pd.concat([others, recovery], ignore_index=True)
    title = raw_attribution_bars(table, example_branches(table), MODELS, recovery).get_suptitle().replace("\n", " ")
    wanted = "0.83 (chance: 0.06; class means of single features: 0.95)" if told else "0.83 (chance: 0.06)"
    assert title.endswith(wanted)


def test_dimensions_of_an_embedding_are_not_called_kmers():
    table = example_raw(planted=False)
    numbers = {name: f"dimension {place}" for place, name in enumerate(table["feature"].unique(), start=1)}
    table = table.assign(feature=table["feature"].map(numbers), branch="embedding")
    figure = raw_attribution_bars(table, example_branches(table), MODELS)
    rendered(figure)
    texts = " ".join(everything(figure)).replace("\n", " ")
    assert "k-mer" not in texts and "attributes" not in texts and "dimensions of the embedding" in texts
    assert "k-mers are shares" in raw_attribution_bars(
        example_raw(), example_branches(example_raw()), MODELS
    ).get_supxlabel().replace("\n", " ")


@pytest.mark.parametrize("count", [1, 7, 8, 9, 17])
def test_every_voter_and_logistic_regression_have_marks_whatever_their_number(count):
    models = [f"codes_{place}_32" for place in range(count)]
    table = example_raw(models=models)
    figure = raw_attribution_bars(table, example_branches(table), models)
    rendered(figure)
    (legend,) = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    assert {*models, "logistic"} <= {text.get_text() for text in legend.get_texts()}
    assert legend.get_window_extent().x1 <= figure.bbox.x1
    marks = [key.get_marker() for key in legend.legend_handles]
    assert marks.count("D") == 1 and len(set(marks[: min(count, 8)])) == min(count, 8)
    axes = titles(figure)["For true calls"]
    assert sum(len(line.get_xdata()) > 2 for line in axes.lines) == count + 1


def test_panels_stand_in_one_column_whose_names_a_phone_shows_at_a_size_that_can_be_read():
    tables = example_tables(calls=300, atoms=12)
    table = example_raw()
    for figure in (
        raw_attribution_bars(table, example_branches(table), MODELS),
        bias_landscape(tables["bias"], tables["landscape"]),
    ):
        rendered(figure)
        assert len({round(axes.get_position().x0, 3) for axes in figure.axes}) == 1
        labels = [label for axes in figure.axes for label in axes.get_yticklabels() if label.get_text()]
        # Pixels of a letter on a screen of 390 pixels.
        assert min(label.get_fontsize() for label in labels) / 72 * 390 / figure.get_figwidth() > 8
