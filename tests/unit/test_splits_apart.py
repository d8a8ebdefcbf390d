"""Further groupings that no two roles share: what is left out, what is told about it, and that nobody reads it."""

import runpy
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from consilience.attribution.names import ROLES as EXPLAINED
from consilience.attribution.selection import explained_rows
from consilience.dataset import Dataset
from consilience.errors import ConsilienceError
from consilience.linear.fit import fit_linear
from consilience.splits import EXCLUDED, ROLES, assign, divide, overlaps
from consilience.training.train import train_model
from tests.unit.training_examples import genes_dataset, perceptron, split_of

HASH = {"mode": "hash", "group": "series", "apart": [], "train": 0.6, "validation": 0.2, "test": 0.2, "salt": "s"}
SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "workflow" / "scripts" / "split.py"))


def random_samples(seed, count=240):
    """Return samples whose genes are lists of names, blank or missing, and whose sites are numbers or missing."""
    random = np.random.default_rng(seed)
    genes = [", ".join(f"g{name}" for name in random.integers(400, size=random.integers(1, 4))) for _ in range(count)]
    genes = np.where(random.random(count) < 0.2, " ", genes).astype(object)
    genes[random.random(count) < 0.2] = np.nan
    sites = np.where(random.random(count) < 0.4, np.nan, random.integers(300, size=count))
    series = [f"G{group}" for group in random.integers(60, size=count)]
    return pd.DataFrame({"id": [f"s{row}" for row in range(count)], "series": series, "gene": genes, "site": sites})


def names(value):
    return {name.strip() for name in str(value).split(",")} if pd.notna(value) and str(value).strip() else set()


def by_loops(table, roles, columns):
    """Return the roles, and the first column for which each row goes, row by row and pair by pair."""
    roles, reasons = list(roles), [""] * len(roles)
    for role, above in (("validation", ("test",)), ("train", ("validation", "test"))):
        held = list(roles)
        for row in range(len(roles)):
            for column in columns if held[row] == role else ():
                others = (other for other in range(len(roles)) if held[other] in above)
                if any(names(table[column][row]) & names(table[column][other]) for other in others):
                    roles[row], reasons[row] = EXCLUDED, column
                    break
    return roles, reasons


@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_out_is_what_loops_leave_out(seed):
    table, columns = random_samples(seed), ["gene", "site"]
    hashed = assign(table, HASH)["role"]
    roles, reasons = by_loops(table, hashed, columns)
    division = divide(table, {**HASH, "apart": columns})
    assert division.table["role"].tolist() == roles
    pairs = list(zip(reasons, hashed, strict=True))
    assert division.excluded == {
        column: {role: pairs.count((column, role)) for role in ("train", "validation")} for column in columns
    }
    assert min(min(counts.values()) for counts in division.excluded.values()) > 0


def test_no_two_roles_share_a_value_whatever_the_order_of_the_columns():
    table = random_samples(5)
    split, turned = (assign(table, {**HASH, "apart": columns}) for columns in (["gene", "site"], ["site", "gene"]))
    assert split.equals(turned)
    shared = overlaps(table, split, ["gene", "site"])
    assert {count for column in ("gene", "site", "series") for count in shared[column].values()} == {0}
    hashed = assign(table, HASH)
    assert {count for column in ("gene", "site") for count in overlaps(table, hashed, ["site"])[column].values()} != {0}
    assert ((split["role"] == "test") == (hashed["role"] == "test")).all()


def test_blank_values_share_nothing():
    table = random_samples(1).assign(gene=[np.nan, "", " ", ", ;"] * 60, site=np.nan)
    assert assign(table, {**HASH, "apart": ["gene", "site"]}).equals(assign(table, HASH))


def test_no_training_row_goes_for_a_validation_row_that_goes_itself():
    table = random_samples(2).assign(gene="")
    role = assign(table, HASH)["role"]
    held, between, free, near = (
        role.index[role == name][place] for name, place in (("test", 0), ("validation", 0), ("train", 0), ("train", 1))
    )
    table.loc[[held, between, free, near], "gene"] = ["a", "a,b", "b", "c"]
    table.loc[role.index[role == "validation"][1], "gene"] = "c"
    split = assign(table, {**HASH, "apart": ["gene"]})
    assert split.index[split["role"] == EXCLUDED].tolist() == sorted([between, near])


def test_a_role_must_be_whole_after_rows_are_left_out_and_the_salt_offered_sees_to_it():
    """Validation is one group of many of the same gene: whatever shares the gene with test goes."""
    table = random_samples(3, 60).assign(series=[f"G{row // 10}" for row in range(60)], site=0)
    table["gene"] = np.where(table["series"].isin(["G0", "G1", "G2"]), "common", "")
    settings = {**HASH, "apart": ["gene"]}
    settings["salt"] = next(
        salt for salt in map(str, range(1000))
        if set(_roles_or_none(table, {**HASH, "salt": salt})) == set(ROLES)
        and not len(_roles_or_none(table, {**settings, "salt": salt}))
    )  # fmt: skip
    with pytest.raises(
        ConsilienceError, match=r"a role is empty .* excluded \d+ samples in \d+ groups; .* works"
    ) as error:
        assign(table, settings)
    works = str(error.value).rsplit("split.salt: ", 1)[1].split()[0]
    assert set(ROLES) <= set(assign(table, {**settings, "salt": works})["role"])
    with pytest.raises(ConsilienceError, match="none of 1000 other salts works; change the shares, the group or apart"):
        assign(table, {**settings, "apart": ["site"]})


def _roles_or_none(table, settings):
    try:
        return assign(table, settings)["role"]
    except ConsilienceError:
        return []


def test_a_class_that_is_left_out_of_a_role_is_missed():
    table = random_samples(4).assign(gene="")
    role = assign(table, HASH)["role"]
    labels = np.arange(240) % 3
    table.loc[(role == "validation") & (labels == 1), "gene"] = "shared"
    table.loc[role.index[role == "test"][0], "gene"] = "shared"
    assert set(assign(table, HASH, labels)["role"]) == set(ROLES)
    assert EXCLUDED in set(assign(table, {**HASH, "apart": ["gene"]})["role"])
    with pytest.raises(ConsilienceError, match="lacks a class"):
        assign(table, {**HASH, "apart": ["gene"]}, labels)


@pytest.mark.parametrize("mode", ["official", "official_test", "auto"])
@pytest.mark.parametrize("named", [False, True])
def test_official_roles_keep_their_rows_and_what_they_share_is_told(mode, named):
    given = ["train", "validation" if named else "train", "test"] * 80
    table = random_samples(6).assign(official_role=given)
    settings = {**HASH, "mode": mode, "apart": ["gene", "site"]}
    division = divide(table, settings)
    facts = SCRIPT["facts"](table, division, settings)
    audit = SCRIPT["audit_of"]("dataset.h5", 7, division, facts)
    keeps = named and mode != "official_test"
    assert division.table.equals(assign(table, {**settings, "apart": []})) == keeps
    assert facts["mode"] == ("official" if mode == "auto" else mode)
    assert list(facts["excluded"]) == ([] if keeps else ["gene", "site"])
    rules = [f"no {column} in train and validation" for column in facts["excluded"]]
    assert audit["rule"].tolist() == ["dataset.h5", *rules, *ROLES]
    test, train = (table["site"][division.table["role"] == role].dropna() for role in ("test", "train"))
    assert facts["shared"]["site"]["train and test"] == len(set(test) & set(train)) > 0
    assert (facts["shared"]["site"]["train and validation"] == 0) == (not keeps)


def test_the_audit_tells_the_share_of_each_class_of_few():
    table, labels = random_samples(0), np.arange(240) % 4 // 3
    division = divide(table, {**HASH, "apart": ["gene"]})
    facts = SCRIPT["facts"](table, division, {**HASH, "apart": ["gene"]})
    shares = SCRIPT["class_shares"](division.table, labels, ["no pair", "pair"])
    notes = SCRIPT["audit_of"]("dataset.h5", 7, division, facts, shares)["note"].tolist()[-3:]
    for role, note in zip(ROLES, notes, strict=True):
        share = labels[division.table["role"] == role].mean()
        assert note == f"{facts['roles'][role]['groups']} groups; no pair {1 - share:.2f}, pair {share:.2f}"
    assert SCRIPT["class_shares"](division.table, labels, list("abcdefghij"))["test"].endswith("i 0.00, j 0.00")
    assert SCRIPT["class_shares"](division.table, labels, list("abcdefghijk")) == {}


def test_facts_and_audit_tell_what_was_left_out():
    table, settings = random_samples(0).assign(other=""), {**HASH, "apart": ["gene", "other", "site"]}
    division = divide(table, settings)
    facts = SCRIPT["facts"](table, division, settings)
    roles = division.table["role"].value_counts()
    assert facts["excluded"]["other"] == 0
    assert sum(facts["excluded"].values()) == roles[EXCLUDED]
    assert {role: count["samples"] for role, count in facts["roles"].items()} == roles.drop(EXCLUDED).to_dict()
    audit = SCRIPT["audit_of"]("dataset.h5", 7, division, facts)
    assert audit["step"].tolist() == ["source", "apart", "apart", "role", "role", "role"]
    assert audit["rule"].tolist() == ["dataset.h5", "no gene in two roles", "no site in two roles", *ROLES]
    left = 240 - facts["excluded"]["gene"]
    assert audit["samples_before"].tolist() == [240, 240, left, *[240 - roles[EXCLUDED]] * 3]
    assert audit["samples_after"].tolist() == [240, left, 240 - roles[EXCLUDED], *(roles[role] for role in ROLES)]
    assert set(audit["features_before"]) == set(audit["features_after"]) == {7}
    counts = division.excluded["gene"]
    assert audit["note"][1] == f"{counts['train']} train and {counts['validation']} validation rows left out"
    assert audit["note"][5] == f"{facts['roles']['test']['groups']} groups"


def test_nothing_reads_the_rows_that_are_left_out(tmp_path):
    split = split_of()
    rows = np.flatnonzero(split["role"] != "test")[::6]
    split.loc[rows, "role"] = EXCLUDED
    assert not set(explained_rows(split, EXPLAINED, 1000, 0)) & set(rows)
    found = []
    for name in ("as_is", "spoiled"):
        path = genes_dataset(tmp_path / f"{name}.h5")
        if name == "spoiled":
            with h5py.File(path, "r+") as file:
                file["inputs/genes"][rows], file["target"][rows] = 1e6, -1e6
        with Dataset.open(path) as dataset:
            trained = train_model(dataset, split, perceptron, {"hidden": [4]}, {"seeds": 1, "epochs": 3}, "one", 0)
            settings = {"selection": "group_folds", "folds": 3, "maximum_samples": 1000}
            coefficients, metrics, _ = fit_linear(dataset, split, settings, 0)
        found.append((trained.predicted, trained.history, coefficients, metrics))
    (predicted, history, coefficients, metrics), spoiled = found
    assert np.array_equal(predicted, spoiled[0])
    assert history.equals(spoiled[1]) and coefficients.equals(spoiled[2]) and metrics == spoiled[3]
