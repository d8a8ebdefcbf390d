"""Figures tell a bias that strata leave from one that they take away."""

import pytest

from consilience.domains.variants.card_pages import Card, cards_of, page
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
