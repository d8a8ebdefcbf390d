from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilience.errors import ConsilienceError
from consilience.training.members import (
    Member,
    enumerate_members,
    member_seed,
    members_table,
    permutation,
    select_rows,
    stable_seed,
)
from consilience.training.recipes import RECIPES, resolve

GROUPS = [f"series{number // 4}" for number in range(80)]


def test_members_by_default_are_the_seeds():
    assert enumerate_members(3) == [Member(0, 0), Member(1, 1), Member(2, 2)]
    table = members_table(enumerate_members(2), "mlp")
    assert list(table.columns) == ["member", "model", "seed", "rows", "permuted"]
    assert table.to_numpy().tolist() == [[0, "mlp", 0, "all", 0], [1, "mlp", 1, "all", 0]]


def test_members_are_every_combination():
    members = enumerate_members(2, ("all", "half:0"), (0, 7))
    assert [member.member for member in members] == list(range(8))
    assert len({(member.seed, member.rows, member.permuted) for member in members}) == 8


def test_seeds_are_the_same_in_another_process_and_differ_by_stream():
    members = enumerate_members(3, ("all", "half:0", "half:1"), (0, 1))
    seeds = [
        member_seed(base, model, member, stream)
        for base in (0, 1)
        for model in ("a", "b")
        for member in members
        for stream in ("initialization", "order", "noise")
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    program = "from consilience.training.members import *; print(member_seed(0, 'a', enumerate_members(1)[0], 'order'))"
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": "workflow"}
    ).stdout
    assert int(printed) == member_seed(0, "a", members[0], "order")
    assert member_seed(0, "a", Member(5, 2), "order") == member_seed(0, "a", Member(0, 2), "order")


def test_joined_parts_cannot_be_confused():
    assert stable_seed("a", "bc") != stable_seed("ab", "c")


@given(counts=st.lists(st.integers(1, 6), min_size=5, max_size=30), parts=st.integers(2, 5), seed=st.integers(0, 3))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_folds_and_halves_divide_the_groups(counts, parts, seed):
    groups = np.repeat([f"g{group}" for group in range(len(counts))], counts)
    everything = np.arange(len(groups))
    left_out = []
    for fold in range(parts):
        kept = select_rows(groups, f"fold:{fold}/{parts}", seed)
        missing = np.setdiff1d(everything, kept)
        assert len(missing) > 0
        assert not set(groups[kept]) & set(groups[missing])
        assert abs(len(set(groups[missing])) - len(counts) / parts) < 1
        left_out.append(missing)
    assert np.array_equal(np.sort(np.concatenate(left_out)), everything)
    first, second = (select_rows(groups, f"half:{half}", seed) for half in (0, 1))
    assert np.array_equal(np.sort(np.concatenate([first, second])), everything)
    assert not set(groups[first]) & set(groups[second])
    assert abs(len(set(groups[first])) - len(counts) / 2) < 1


def test_subsets_follow_names_not_places():
    order = np.random.default_rng(0).permutation(len(GROUPS))
    shuffled = [GROUPS[place] for place in order]
    for rows in ("fold:1/3", "half:4"):
        kept = {GROUPS[row] for row in select_rows(GROUPS, rows, 0)}
        assert kept == {shuffled[row] for row in select_rows(shuffled, rows, 0)}


def test_pairs_of_halves_are_different_divisions_and_depend_on_the_seed():
    halves = [tuple(select_rows(GROUPS, f"half:{pair}", seed)) for pair in (0, 2, 4, 6) for seed in (0, 1)]
    assert len(set(halves)) == 8


@pytest.mark.parametrize("rows", ["", "half", "half:-1", "fold:3/3", "fold:0/1", "fold:1", "most", "all "])
def test_unknown_subsets_are_refused(rows):
    with pytest.raises(ConsilienceError, match="names no subset; expected all, fold:i/k"):
        select_rows(GROUPS, rows, 0)


def test_too_few_groups_are_refused():
    with pytest.raises(ConsilienceError, match="'fold:0/5' needs at least 5 groups; the training role has 2"):
        select_rows(["a", "a", "b"], "fold:0/5", 0)


def test_a_permutation_follows_its_seed_and_role():
    groups = np.arange(50)
    orders = [
        tuple(permutation(groups, permuted, seed, role))
        for permuted in (1, 2)
        for seed in (0, 1)
        for role in ("train", "validation")
    ]
    assert len(set(orders)) == 8
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] == tuple(permutation(groups, 1, 0, "train"))
    assert np.array_equal(permutation(groups, 0, 3, "train"), groups)


def test_a_permutation_keeps_the_labels_of_a_group_together():
    """With groups that differ, the mean of a group's labels varies as it did: a free shuffle would shrink it."""
    random = np.random.default_rng(0)
    groups = random.permutation(np.repeat(np.arange(40), 12))
    labels = np.random.default_rng(1).normal(size=40)[groups] + 0.1 * random.normal(size=480)

    def between(values):
        return np.var([values[groups == group].mean() for group in range(40)])

    permuted = [labels[permutation(groups, number, 0, "train")] for number in range(1, 21)]
    free = [between(random.permutation(labels)) for _ in range(20)]
    assert np.mean([between(values) for values in permuted]) == pytest.approx(between(labels), rel=0.01)
    assert np.mean(free) < 0.3 * between(labels)
    assert all(np.corrcoef(values, labels)[0, 1] < 0.7 for values in permuted)


def test_the_default_recipe_is_the_design_s():
    assert resolve({}) == {
        "recipe": "sgd", "seeds": 4, "epochs": 100, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.01,
        "momentum": 0.9, "weight_decay": 0.01, "first_layer_scale": 0.1, "clip": 1.0, "patience": 15,
        "stack": "auto", "maximum_samples": 20000, "class_weights": "none",
    }  # fmt: skip


def test_the_earlier_recipe_is_available_by_name_and_explicit_keys_win():
    recipe = resolve({"recipe": "adam", "epochs": 7})
    expected = {"optimizer": "adam", "learning_rate": 1e-3, "batch_size": 32, "patience": 10, "epochs": 7}
    expected |= {"first_layer_scale": 1.0, "weight_decay": 0.0, "clip": None}
    assert {key: recipe[key] for key in expected} == expected
    assert RECIPES["adam"]["epochs"] == 50
    assert (RECIPES["adamw"]["weight_decay"], RECIPES["adamw"]["first_layer_scale"]) == (1.0, 0.1)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"recipe": "adma"}, "training.recipe: 'adma' is not one of sgd, adam, adamw; nearest: adam"),
        ({"learning_rat": 1}, "training.learning_rat: unknown key; nearest: learning_rate"),
        ({"optimizer": "lion"}, "training.optimizer: 'lion' is not one of sgd, adam, adamw"),
        ({"class_weights": "balance"}, "'balance' is not one of none, balanced; nearest: balanced"),
        ({"stack": "sometimes"}, "training.stack: 'sometimes' is not one of auto, always, never"),
    ],
)
def test_unknown_recipes_and_keys_are_refused(training, message):
    with pytest.raises(ConsilienceError, match=message):
        resolve(training)
