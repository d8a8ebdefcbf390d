"""The figure of raw features shows what its tables hold, branch by branch too, and says where there is nothing."""

import numpy as np
import pytest

from consilience.domains.variants.raw_plots import raw_attribution_bars
from tests.unit.figure_examples import everything, rendered
from tests.unit.variants_figure_examples import example_branches, example_raw, example_recovery

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
        drawn = [line for line in axes.lines if len(line.get_xdata()) == len(names)]
        for line, model in zip(drawn, [*MODELS, "logistic"], strict=True):
            own = table[table["model"] == model].set_index("feature").loc[names, "average_attribution"]
            np.testing.assert_allclose(line.get_xdata(), sign * own)
    below = next(axes for title, axes in titles(figure).items() if "by branch" in title)
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
