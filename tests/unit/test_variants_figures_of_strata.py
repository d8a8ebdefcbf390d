"""Figures tell a bias that strata leave from one that they take away."""

import numpy as np
import pytest

from consilience.domains.variants.card_pages import Card, cards_of, page
from consilience.domains.variants.landscape_plots import bias_landscape
from tests.unit.figure_examples import everything, rendered
from tests.unit.variants_figure_examples import example_codes, example_tables

SMALL = {"calls": 300, "atoms": 12}


@pytest.fixture(scope="module")
def tables():
    return example_tables(**SMALL)


@pytest.mark.parametrize(
    ("confirmed", "within", "turned", "told"),
    [
        (True, True, False, "confirmed on test calls, also within strata"),
        (True, False, False, "confirmed on test calls, but not within strata"),
        (False, True, False, "not confirmed on test calls, but within strata"),
        (False, False, False, "not confirmed on test calls"),
        (True, True, True, "but the other way within strata"),
    ],
)
def test_the_title_of_a_card_tells_what_strata_leave(tables, confirmed, within, turned, told):
    card = next(iter(cards_of(tables, example_codes(tables, **SMALL))))
    known = {"significant": True, "confirmed": confirmed, "confirmed_within": within, "reversed": turned}
    card = Card(card.bias | known, card.atom, card.examples, card.types, card.true, card.false)
    title = page(card).get_suptitle().replace("\n", " ")
    assert title == f"Atom {card.bias['atom']} leans to true calls, {told}"


@pytest.mark.parametrize("strata", [0, 1, 2])
def test_a_card_without_a_stratum_that_tells_says_so_and_draws_no_diamond(tables, strata):
    card = next(iter(cards_of(tables, example_codes(tables, **SMALL))))
    known = {"strata": strata, "cmh_q": 1.0, "homogeneity_p": 0.25 if strata > 1 else np.nan}
    if not strata:
        known |= dict.fromkeys(("cmh_odds", "cmh_low", "cmh_high"), np.nan)
    figure = page(Card(card.bias | known, card.atom, card.examples, card.types, card.true, card.false))
    rendered(figure)
    texts, diamonds = everything(figure), [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert ("within strata: no stratum tells" in texts, len(diamonds)) == (not strata, int(strata > 0))
    assert ("no stratum tells" in texts, "fewer than two" in texts) == (not strata, strata < 2)
    assert ("0.25" in texts) == (strata > 1)


@pytest.mark.parametrize("direction", ["positive", "negative"])
def test_the_landscape_says_where_no_stratum_tells(tables, direction):
    table = tables["bias"].assign(significant=True)
    rows = table.index[table["direction"] == direction][:3]
    told = ["cmh_odds", "cmh_low", "cmh_high", "strata"]
    table.loc[rows, told] = [[2.0, 1.5, 3.0, 4], [np.nan, np.nan, np.nan, 0], [2.0, 1.5, 3.0, 1]]
    figure = bias_landscape(table, tables["landscape"])
    rendered(figure)
    (axes,) = [
        axes
        for axes in figure.axes
        if axes.get_title(loc="left").startswith(f"Strongest for {'true' if direction == 'positive' else 'false'}")
    ]
    assert [text.xy[1] for text in axes.texts if text.get_text() == "no stratum tells"] == [1]
    assert 1 not in [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "D"]
    (text,) = [text for text in axes.texts if text.get_text() == "no stratum tells"]
    extent, frame = text.get_window_extent(), axes.get_window_extent()
    assert frame.x0 <= extent.x0 and extent.x1 <= frame.x1
