"""The cards of drivers against loops over the attributions and tables that they are made from."""

import pandas as pd
import pytest

from consilience.files import read_table
from consilience.overlap import overlaps
from consilience.report.cards import OPEN, ROWS, TARGETS, cards, first_cards, signed_ranks, strongest
from tests.unit.report_examples import FEATURES, METHODS, MODELS, VOTERS, Consensus

TRUTH = pd.DataFrame({"feature": ["f1", "f2", "f2"], "target": ["a", "a", "b"], "sign": [1, 0, -1], "effect": list("xyz")})  # fmt: skip


@pytest.fixture(params=[("y",), ("a", "b", "c")], ids=["one target", "three classes"])
def consensus(request, tmp_path):
    return Consensus(tmp_path, request.param)


def made(consensus, truth=TRUTH):
    top, matrix = consensus.top, consensus.matrix
    ranks = [signed_ranks(path, set(top["feature"])) for path in consensus.paths]
    return cards(consensus.drivers, top, matrix, ranks, consensus.settings, consensus.extra, truth)


def averages(one, target):
    """Average attribution of each feature: over members on real labels; of three classes, magnitudes over its own."""
    place = one.targets.index(target)
    magnitudes = one.all if one.own_class is None else one.own_class
    found = []
    for feature in range(len(FEATURES)):
        real = [member for member in range(len(one.members)) if one.members["permuted"][member] == 0]
        direction = float(sum(one.all["direction"][member, place, feature] for member in real))
        size = sum(magnitudes["magnitude"][member, place, feature] for member in real) / len(real)
        found.append(float(size) * (direction > 0) - float(size) * (direction < 0))
    return found


def rank(values, feature):
    """1 and the number of values that are larger, or as large and stand before."""
    own = abs(values[feature])
    before = [place for place, value in enumerate(values) if (abs(value), -place) > (own, -feature)]
    return 1 + len(before)


def of(consensus, model, method):
    return next(one for one in consensus.attributions if (one.model, one.method) == (model, method))


def test_a_card_has_the_signed_rank_of_every_model_and_method(consensus):
    found = made(consensus)
    assert len(found) == len(consensus.top) > 3
    for card in found:
        place = FEATURES.index(card["feature"])
        assert list(card["models"]) == list(MODELS)
        for model, ranks in card["models"].items():
            for method, signed in zip(METHODS, ranks, strict=True):
                values = averages(of(consensus, model, method), card["target"])
                sign = (values[place] > 0) - (values[place] < 0)
                assert signed == sign * rank(values, place), (card["feature"], model, method)


def test_values_that_tie_and_vanish_are_among_them(consensus):
    values = [averages(one, target) for one in consensus.attributions for target in one.targets]
    sizes = [[abs(value) for value in each if value] for each in values]
    assert any(0 in each for each in values)
    assert any(len(set(each)) < len(each) for each in sizes)
    assert any(0 in card["models"][model] for card in made(consensus) for model in MODELS)


def test_lists_are_those_of_the_voting_models(consensus):
    for card in made(consensus):
        place, expected = FEATURES.index(card["feature"]), {}
        for model in VOTERS:
            values = averages(of(consensus, model, METHODS[0]), card["target"])
            for sign in (1, -1):
                before = sum(
                    sign * other > sign * values[place] or (other == values[place] and position < place)
                    for position, other in enumerate(values)
                )
                if sign * values[place] > 0 and before < consensus.settings["top"]:
                    expected[model] = sign
        assert card["lists"] == expected, card["feature"]
        assert len(expected) == card["total_positive"] + card["total_negative"]


def test_sets_are_those_that_the_overlap_intersects(consensus):
    found = made(consensus)
    table = overlaps(consensus.drivers, extra=consensus.extra, **consensus.settings)
    assert {tuple(card["sets"]) for card in found} == {("networks", "linear", "tested")}
    for row in table.itertuples():
        names, shared = row.sets.split(";"), set(filter(None, row.features.split(";")))
        own = [card for card in found if (card["target"], card["direction"]) == (row.target, row.direction)]
        held = {card["feature"] for card in own if all(card["sets"][name] for name in names)}
        assert held == shared & {card["feature"] for card in own}, (row.target, row.direction, row.sets)
    assert all(card["sets"]["networks"] for card in found)
    assert {card["sets"]["linear"] for card in found} == {True, False}
    assert all(card["in_overlap"] == card["sets"]["linear"] for card in found)


def test_targets_are_the_signed_ranks_in_the_consensus(consensus):
    rows = {(row.feature, row.target): row for row in consensus.drivers.itertuples()}
    signs = {"positive": 1, "negative": -1, "none": 0}
    for card in made(consensus):
        own = [rows[card["feature"], target] for target in consensus.targets]
        expected = [signs[row.direction] * row.rank for row in own]
        assert card["targets"] == ([list(one) for one in enumerate(expected)] if len(consensus.targets) > 1 else [])


def test_of_many_targets_a_card_has_the_strongest(tmp_path):
    count = 3 * TARGETS
    consensus = Consensus(tmp_path, [f"t{place}" for place in range(count)])
    rows = {(row.feature, row.target): row for row in consensus.drivers.itertuples()}
    signs = {"positive": 1, "negative": -1, "none": 0}
    for card in made(consensus, None):
        own = [rows[card["feature"], target] for target in consensus.targets]
        signed = [signs[row.direction] * row.rank for row in own]
        kept = [place for place, _ in card["targets"]]
        assert [signed[place] for place in kept] == [rank for _, rank in card["targets"]]
        assert len(kept) == TARGETS
        assert kept == sorted(kept)
        weakest = max(abs(signed[place]) or len(FEATURES) for place in kept)
        assert all(abs(signed[place] or len(FEATURES)) >= weakest for place in set(range(count)) - set(kept))


def test_only_the_ranks_that_cards_tell_are_kept(consensus):
    whole, some = (signed_ranks(consensus.paths[0], kept) for kept in (FEATURES, {"f7", "f2"}))
    assert whole.signed.shape == (len(consensus.targets), len(FEATURES))
    assert some.features == ["f2", "f7"]
    assert (some.signed == whole.signed[:, [2, 7]]).all()


def listed(counts):
    """Top drivers in blocks of target and direction, as the consensus writes them."""
    rows = [
        (f"f{rank}", target, rank, direction)
        for target, count in counts.items()
        for direction, first in (("positive", 1), ("negative", 2))
        for rank in range(first, count + 1, 2)
    ]
    return pd.DataFrame(rows, columns=["feature", "target", "rank", "direction"])


def test_drivers_come_by_target_and_rank():
    found = strongest(listed({"b": 5, "a": 3}), ["b", "a"])
    assert list(zip(found["target"], found["rank"], strict=True)) == [("b", rank) for rank in range(1, 6)] + [
        ("a", rank) for rank in range(1, 4)
    ]
    assert list(found.columns) == ["feature", "target", "rank", "direction"]
    assert strongest(listed({"a": 3}).head(0), ["a"]).empty


def test_of_more_drivers_than_a_page_bears_the_strongest_of_every_target_stay():
    counts = {"few": 7, "many": 4 * ROWS, "more": 5 * ROWS}
    found = strongest(listed(counts), list(counts))
    own = found.groupby("target", sort=False)["rank"].agg(list).to_dict()
    rest = (ROWS - 7) // 2
    assert own["few"] == list(range(1, 8))
    assert [own["many"][-1] - rest, own["more"][-1] - rest] in ([0, 0], [1, 0])
    assert len(found) == ROWS
    assert all(ranks == list(range(1, len(ranks) + 1)) for ranks in own.values())


def test_the_row_of_the_table_is_told_in_four_digits(consensus):
    for card, row in zip(made(consensus), consensus.top.to_dict("records"), strict=True):
        for name in (
            "feature",
            "target",
            "rank",
            "direction",
            "total_positive",
            "total_negative",
            "linear_rank",
            "in_overlap",
        ):
            assert card[name] == row[name]
            assert type(card[name]) in (str, int, bool)
        for name in ("average_attribution", "stability_score", "sign_probability", "linear_coefficient"):
            assert card[name] == pytest.approx(row[name], rel=5e-4)


def test_what_is_planted_is_told_of_its_own_target(tmp_path):
    found = made(Consensus(tmp_path, ("a", "b", "c")))
    own = {(card["feature"], card["target"]): card["planted"] for card in found}
    expected = {("f1", "a"): (1, "x"), ("f2", "a"): (0, "y"), ("f2", "b"): (-1, "z")}
    assert own.keys() & expected.keys()
    for key, planted in own.items():
        assert (planted and (planted["sign"], planted["effect"])) == expected.get(key)
    assert {card["planted"] for card in made(Consensus(tmp_path, ("a", "b", "c")), truth=None)} == {None}


def test_names_that_are_numbers_find_their_truth(tmp_path):
    consensus = Consensus(tmp_path, ("a",))
    path = tmp_path / "truth.tsv"
    TRUTH.assign(target="3").to_csv(path, sep="\t", index=False)
    for table in (consensus.drivers, consensus.top, consensus.matrix, consensus.extra["tested"]):
        table["target"] = "3"
    ranks = [signed_ranks(path, FEATURES) for path in consensus.paths]
    ranks = [type(one)(one.model, one.method, ["3"], one.features, one.signed) for one in ranks]
    tables = (consensus.drivers, consensus.top, consensus.matrix)
    found = cards(*tables, ranks, consensus.settings, {}, read_table(path))
    assert {card["feature"] for card in found if card["planted"]} == {"f1", "f2"} & set(consensus.top["feature"])


def test_no_driver_makes_no_card(tmp_path):
    consensus = Consensus(tmp_path, ("a", "b"))
    consensus.top = consensus.top.head(0)
    assert made(consensus) == []
    assert first_cards([], consensus.targets) == []


@pytest.mark.parametrize("count", [1, 3, 5, 40])
def test_the_strongest_of_every_target_stand_open(count):
    targets = [f"t{place}" for place in range(count)]
    found = [{"target": target, "rank": (7 * place) % 20} for target in targets for place in range(20)]
    places = first_cards(found, targets)
    each, shown = max(1, OPEN // count), min(count, OPEN)
    assert [found[place]["target"] for place in places] == [target for target in targets[:shown] for _ in range(each)]
    assert [found[place]["rank"] for place in places] == list(range(each)) * shown
    assert len(places) <= OPEN
