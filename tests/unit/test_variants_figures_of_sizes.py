"""Profiles of sizes show the shares of every bin, and which of them few calls tell."""

import re

import numpy as np
import pytest
from matplotlib.colors import same_color

from consilience.domains.variants.calls import SIZE_BINS
from consilience.domains.variants.size_plots import size_profile_panels
from tests.unit.figure_examples import everything, rendered
from tests.unit.variants_figure_examples import example_tables

pytestmark = pytest.mark.filterwarnings("error")
SMALL = {"calls": 700, "atoms": 30}


@pytest.fixture(scope="module")
def tables():
    return example_tables(**SMALL)


def test_size_profiles_show_shares_by_bin(tables):
    profiles, bias = tables["size_profiles"], tables["bias"]
    figure = size_profile_panels(profiles, bias)
    rendered(figure)
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    directions = bias.set_index("atom")["direction"]
    assert len(panels) == profiles["atom"].nunique()
    for axes in panels:
        atom = int(re.search(r"\d+", axes.get_title(loc="left"))[0])
        assert ("true" in axes.get_title(loc="left")) == (directions[atom] == "positive")
        own = profiles[profiles["atom"] == atom].set_index("size_bin").loc[list(SIZE_BINS)]
        np.testing.assert_allclose([bar.get_height() for bar in axes.patches], own["share"].fillna(0))
        (ticks,) = [line for line in axes.lines if line.get_marker() == "_"]
        np.testing.assert_allclose(ticks.get_ydata(), own["true_share_all"])
        points = [line for line in axes.lines if line.get_marker() == "o"]
        for line in points:
            few = same_color(line.get_markerfacecolor(), "white")
            kept = own["on"] < 5 if few else own["on"] >= 5
            np.testing.assert_allclose(line.get_ydata(), own["true_share_on"].where(kept))
        assert points[0].get_markersize() < points[1].get_markersize()
    assert (profiles["on"].between(1, 4)).any()
    caption = figure.get_supxlabel().replace("\n", " ")
    assert "none: no size told (breakends have none)" in caption and "fewer than 5 calls" in caption
    signs = profiles["atom"].map(directions).map({"positive": 1, "negative": -1})
    ahead = signs * (profiles["true_share_on"] - profiles["true_share_all"])
    told = profiles["on"] >= 5
    assert f"{(ahead[told] > 0).sum()} of {told.sum()} size bins" in figure.get_suptitle()


def test_size_profiles_of_one_direction_stand_in_one_column(tables):
    bias = tables["bias"]
    positive = bias.loc[bias["direction"] == "positive", "atom"]
    profiles = tables["size_profiles"]
    one = profiles[profiles["atom"].isin(positive)]
    figure = size_profile_panels(one, bias)
    rendered(figure)
    assert not [text for text in everything(figure) if "leans to false calls" in text]
    assert len({round(axes.get_position().x0, 3) for axes in figure.axes[:-1]}) == 1
