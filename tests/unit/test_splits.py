import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from consilience.errors import ConsilienceError
from consilience.splits import EXCLUDED, ROLES, assign, connected_groups, divide, overlaps, sampled

HASH = {"mode": "hash", "group": "series", "train": 0.7, "validation": 0.15, "test": 0.15, "salt": "s"}


def samples(series, **columns):
    return pd.DataFrame({"id": [f"s{row}" for row in range(len(series))], "series": series, **columns})


def test_components_agree_with_scipy():
    random = np.random.default_rng(0)
    values = [",".join(f"G{name}" for name in random.integers(120, size=random.integers(1, 4))) for _ in range(80)]
    pairs = np.array([(row, int(name[1:])) for row, value in enumerate(values) for name in value.split(",")])
    edges = coo_array((np.ones(len(pairs)), (pairs[:, 0], 80 + pairs[:, 1])), shape=(200, 200))
    expected = connected_components(edges, directed=False)[1][:80]
    found = pd.factorize(connected_groups(pd.Series(values)))[0]
    assert (found[:, None] == found[None]).tolist() == (expected[:, None] == expected[None]).tolist()


def test_components_do_not_depend_on_the_order_of_samples():
    values = pd.Series(["b,c", "a", "c,d", "a,e", "f"])
    groups = dict(zip(values, connected_groups(values), strict=True))
    turned = values[::-1].reset_index(drop=True)
    assert dict(zip(turned, connected_groups(turned), strict=True)) == groups
    assert groups == {"b,c": "b", "a": "a", "c,d": "b", "a,e": "a", "f": "f"}


def test_a_longer_accession_that_joins_later_renames_nobody():
    before = pd.Series([f"GSE{number}" for number in range(99000, 99300)])
    later = pd.Series([f"GSE{number},GSE{number + 2000}" for number in range(99000, 99300, 2)])
    joined = connected_groups(pd.concat([before, later], ignore_index=True))
    assert joined[: len(before)].tolist() == before.tolist()


def test_hashed_roles_keep_groups_whole_and_their_shares():
    split = assign(samples([f"G{row // 3}" for row in range(9000)]), HASH)
    assert split.groupby("group")["role"].nunique().max() == 1
    shares = split["role"].value_counts(normalize=True)
    assert shares.loc[list(ROLES)].to_numpy() == pytest.approx([0.7, 0.15, 0.15], abs=0.03)


def test_adding_samples_moves_nobody():
    first = assign(samples([f"G{row}" for row in range(200)]), HASH)
    more = assign(samples([f"G{row}" for row in range(-100, 300)]), HASH)
    both = first.merge(more, on="group")
    assert len(both) == 200
    assert (both["role_x"] == both["role_y"]).all()


def test_official_roles_are_kept_and_validation_is_hashed_out_of_train_by_group():
    series = [f"G{row // 4}" for row in range(400)]
    roles = ["test" if row % 5 == 0 else "train" for row in range(400)]
    split = assign(samples(series, official_role=roles), {**HASH, "mode": "official"})
    assert ((split["role"] == "test") == (np.array(roles) == "test")).all()
    rest = split[split["role"] != "test"]
    assert rest.groupby("group")["role"].nunique().max() == 1
    assert (rest["role"] == "validation").mean() == pytest.approx(0.15 / 0.85, abs=0.08)


def test_an_official_validation_role_is_kept_too():
    roles = ["train", "validation", "test"] * 20
    split = assign(samples(list("abcdef") * 10, official_role=roles), {**HASH, "mode": "official"})
    assert split["role"].tolist() == roles


def test_official_test_leaves_the_rest_to_the_hash():
    roles = ["train", "validation", "test"] * 40
    table = samples([f"G{row}" for row in range(120)], official_role=roles)
    split = assign(table, {**HASH, "mode": "official_test"})
    assert ((split["role"] == "test") == (np.array(roles) == "test")).all()
    assert set(split["role"][np.array(roles) == "train"]) == {"train", "validation"}


def genes_of(table, split, role):
    return set(table["gene"][(split["role"] == role).to_numpy()])


@pytest.mark.parametrize("mode", ["official", "official_test", "auto"])
def test_a_hashed_validation_shares_nothing_with_train_beside_an_official_test(mode):
    roles = ["train", "test", "train", ""] * 60
    genes = [f"g{number}" for number in np.random.default_rng(0).integers(90, size=240)]
    table = samples([f"G{row}" for row in range(240)], official_role=roles, gene=genes)
    settings = {**HASH, "mode": mode}
    hashed, division = assign(table, settings), divide(table, {**settings, "apart": ["gene"]})
    near = (hashed["role"] == "train") & table["gene"].isin(genes_of(table, hashed, "validation"))
    assert 0 < near.sum() < (hashed["role"] == "train").sum()
    assert division.table["role"].tolist() == hashed["role"].mask(near, EXCLUDED).tolist()
    assert division.excluded == {"gene": {"train": near.sum(), "validation": 0}}
    assert all(
        genes_of(table, division.table, role) & genes_of(table, division.table, "test")
        for role in ("train", "validation")
    )


def test_nothing_is_left_out_where_the_data_name_validation():
    roles = ["train", "validation", "test"] * 20
    table = samples(list("abcdef") * 10, official_role=roles, gene="g")
    division = divide(table, {**HASH, "mode": "official", "apart": ["gene"]})
    assert (division.table["role"].tolist(), division.excluded) == (roles, {})


def test_official_roles_need_every_class_after_rows_are_left_out():
    table = samples([f"G{row}" for row in range(120)], official_role=["train", "test"] * 60, gene="")
    settings, labels = {**HASH, "mode": "official", "apart": ["gene"]}, np.arange(120) // 2 % 2
    role = assign(table, settings, labels)["role"]
    table.loc[(role == "train") & (labels == 1), "gene"] = "g"
    table.loc[role.index[role == "validation"][0], "gene"] = "g"
    with pytest.raises(ConsilienceError, match=r"is empty or lacks a class.* excluded \d+ samples in \d+ groups"):
        assign(table, settings, labels)


def test_an_empty_role_is_refused_with_counts_and_a_salt_that_works():
    table = samples([f"G{row}" for row in range(4)])
    empty = next(salt for salt in map(str, range(100)) if _fails(table, {**HASH, "salt": salt}))
    with pytest.raises(
        ConsilienceError, match=r"a role is empty .*samples in .* groups.*split\.salt: (\S+) works"
    ) as caught:
        assign(table, {**HASH, "salt": empty})
    works = str(caught.value).rsplit("split.salt: ", 1)[1].split()[0]
    assert set(assign(table, {**HASH, "salt": works})["role"]) == set(ROLES)


def _fails(table, settings):
    try:
        assign(table, settings)
    except ConsilienceError:
        return True
    return False


def test_a_role_that_can_never_be_filled_says_so():
    with pytest.raises(ConsilienceError, match="1 groups of series cannot fill 3 roles"):
        assign(samples(["G", "G", "G"]), HASH)
    with pytest.raises(ConsilienceError, match="none of 1000 other salts works"):
        assign(samples(list("abcd")), HASH, np.array([0, 1, 2, 3]))


def test_every_role_needs_every_class():
    table = samples([f"G{row}" for row in range(200)])
    labels = np.r_[0, np.ones(199, int)]
    with pytest.raises(ConsilienceError, match="lacks a class"):
        assign(table, HASH, labels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group": "serie"}, "no sample column 'serie'; the dataset has id, series, missing"),
        ({"mode": "official"}, "needs the sample column official_role"),
        ({"group": "missing"}, "sample s0: the group column 'missing' is empty"),
        ({"apart": ["series", "gene"]}, "split.apart: no sample column 'gene'; the dataset has id, series, missing"),
    ],
)
def test_settings_that_the_samples_do_not_fit(settings, message):
    with pytest.raises(ConsilienceError, match=message):
        assign(samples(["a", "b", "c"], missing=[np.nan] * 3), {**HASH, **settings})


def test_an_unknown_official_role_and_an_empty_group_are_named():
    with pytest.raises(ConsilienceError, match="'dev' is not one of train"):
        assign(samples(["a", "b"], official_role=["dev", "test"]), {**HASH, "mode": "official"})
    with pytest.raises(ConsilienceError, match="sample s1: the group column 'series' is empty"):
        assign(samples(["a", " "]), HASH)


@pytest.mark.parametrize(("roles", "mode"), [(["train", "test"], "official"), (["train", ""], "hash"), (None, "hash")])
def test_auto_takes_official_roles_where_there_is_a_test_role(roles, mode):
    given = {} if roles is None else {"official_role": roles * 60}
    table = samples([f"G{row // 2}" for row in range(120)], **given)
    found, expected = (divide(table, {**HASH, "mode": name}) for name in ("auto", mode))
    assert found.mode == mode
    assert found.table.equals(expected.table)


@pytest.mark.parametrize("mode", ["official", "official_test"])
def test_official_roles_without_a_test_sample_are_refused(mode):
    """Else training samples would be hashed into a test role that nobody made."""
    with pytest.raises(ConsilienceError, match=f"split.mode: {mode} needs samples with the official role test"):
        assign(samples(list("abcd"), official_role=["train"] * 4), {**HASH, "mode": mode})


def test_overlaps_count_shared_groups():
    table = samples(list("aabbcc"), tissue=list("xyxyzz"), weight=[1.0] * 6)
    split = pd.DataFrame(
        {"group": list("aabbcc"), "role": ["train", "train", "test", "test", "validation", "validation"]}
    )
    found = overlaps(table, split)
    assert found["tissue"] == {"train and validation": 0, "train and test": 2, "validation and test": 0}
    assert found["group"] == dict.fromkeys(found["group"], 0)
    assert set(found) == {"group", "series", "tissue"}


def test_overlaps_count_names_that_are_not_blank_and_whatever_is_to_be_apart():
    split = pd.DataFrame({"group": list("abcd"), "role": ["train", "train", "test", "validation"]})
    table = samples(list("abcd"), gene=["x,y", "", "z; y", ""], batch=[1.0, np.nan, 1.0, np.nan])
    found = overlaps(table, split, ["gene", "batch"])
    assert found["gene"] == {"train and validation": 0, "train and test": 1, "validation and test": 0}
    assert found["batch"] == {"train and validation": 0, "train and test": 1, "validation and test": 0}
    assert "batch" not in overlaps(table, split)


def test_overlaps_count_whole_values_of_columns_that_nobody_keeps_apart():
    """A title is one thing, however many commas it has."""
    split = pd.DataFrame({"group": list("abcde"), "role": ["train", "train", "test", "test", "validation"]})
    table = samples(list("abcde"), title=["liver, adult", "lung, adult", "lung, adult", "skin, adult", " "])
    nothing = {"train and validation": 0, "train and test": 0, "validation and test": 0}
    assert overlaps(table, split)["title"] == {**nothing, "train and test": 1}
    assert overlaps(table, split, ["title"])["title"] == {**nothing, "train and test": 2}
    table["title"] = ["", "lung", "", np.nan, np.nan]
    split["role"] = ["train", "train", "validation", "validation", "test"]
    table.loc[3, "title"] = "skin"
    assert overlaps(table, split)["title"] == nothing


def test_samples_may_be_their_own_groups():
    found = assign(samples(list("aabbccddee")), {**HASH, "group": "id", "train": 0.4, "validation": 0.3, "test": 0.3})
    assert found["group"].tolist() == found["sample"].tolist() == [f"s{row}" for row in range(10)]


def test_a_sample_of_rows_is_drawn_by_the_seed_in_order():
    rows = np.arange(100, 200)
    first = sampled(rows, 10, seed=1)
    assert first.tolist() == sorted(set(first.tolist()) & set(rows.tolist()))
    assert len(first) == 10
    assert (sampled(rows, 10, seed=1) == first).all()
    assert (sampled(rows, 10, seed=2) != first).any()
    assert sampled(rows, 100, seed=1) is rows
