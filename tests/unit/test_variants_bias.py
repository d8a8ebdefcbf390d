"""Which atoms tell true calls from false ones: what is found, what is not, and what the lists hold of it."""

import json
import logging
import runpy
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import chi2_contingency, false_discovery_control, fisher_exact

import consilience
from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.domains.variants import codes as codes_module
from consilience.domains.variants.bias import (
    associations,
    bias_table,
    chi2_list,
    landscape,
    near_end,
    top_biased,
)
from consilience.domains.variants.codes import code_features, sparse_codes
from consilience.domains.variants.contingency import Odds, Tables
from consilience.errors import ConsilienceError
from consilience.files import read_table, write_json, write_table

LEAST = 5
COLUMNS = [
    "atom", "feature", "TP_on", "FP_on", "TP_off", "FP_off", "odds", "odds_low", "odds_high", "near_end", "support",
    "support_share", "test", "p", "fdr_corrected", "significant", "cmh_p", "cmh_q", "cmh_odds", "cmh_low", "cmh_high",
    "homogeneity_p", "strata", "auroc", "auroc_active", "test_TP_on", "test_FP_on", "test_odds", "test_low",
    "test_high", "test_p", "test_q", "test_cmh_odds", "test_cmh_p", "test_cmh_q", "confirmed", "confirmed_within",
    "direction", "reversed",
]  # fmt: skip


def calls_of(seed, calls=1500, atoms=40):
    """Codes (calls, atoms) that know nothing, with labels, samples and roles; atom j is on in more calls than j - 1."""
    random = np.random.default_rng(seed)
    shares = np.geomspace(0.004, 0.5, atoms)
    codes = (random.random((calls, atoms)) < shares) * random.exponential(size=(calls, atoms))
    samples = pd.DataFrame(
        {
            "type": random.choice(["DEL", "INS", "INV"], calls),
            "size": random.choice([-1, 60, 400, 20_000], calls),
            "dataset": random.choice(["a", "b"], calls),
            "has_sequence": np.arange(calls) % 3 > 0,
        }
    )
    roles = random.choice(["train", "validation", "test"], calls, p=[0.6, 0.1, 0.3])
    return codes, random.integers(2, size=calls), samples, roles


def features_of(atoms):
    """Alive atoms have every third number of the dictionary."""
    numbers = 3 * np.arange(atoms) + 1
    return pd.DataFrame({"name": [f"atom {number}" for number in numbers], "branch": "codes", "atom": numbers})


def table_of(codes, labels, samples, roles, least=LEAST):
    return bias_table(csr_matrix(codes), features_of(codes.shape[1]), labels, samples, roles, least)


def planted(seed=0):
    """Atom 31 (column 10) is of true calls, atom 61 (column 20) of false ones, both roles alike."""
    codes, labels, samples, roles = calls_of(seed)
    for column, own in ((10, 1), (20, 0)):
        share = np.where(labels == own, 0.5, 0.1)
        codes[:, column] = np.random.default_rng(column).random(len(labels)) < share
    return codes, labels, samples, roles


def test_a_row_holds_the_counts_and_tests_of_its_atom_in_both_roles():
    codes, labels, samples, roles = planted()
    table = table_of(codes, labels, samples, roles)
    assert list(table) == COLUMNS
    for row in table.to_dict("records"):
        on = codes[:, (row["atom"] - 1) // 3] > 0
        assert row["feature"] == f"atom {row['atom']}"
        cells = {}
        for role in ("train", "test"):
            true, false = ((roles == role) & (labels == label) for label in (1, 0))
            cells[role] = [[(on & true).sum(), (on & false).sum()], [(~on & true).sum(), (~on & false).sum()]]
        assert [[row["TP_on"], row["FP_on"]], [row["TP_off"], row["FP_off"]]] == cells["train"]
        assert [row["test_TP_on"], row["test_FP_on"]] == cells["test"][0]
        assert row["support"] == sum(cells["train"][0]) >= LEAST
        assert row["support_share"] == row["support"] / (roles == "train").sum()
        small = chi2_contingency(cells["train"]).expected_freq.min() < 5
        assert row["test"] == ("fisher" if small else "chi2")
        theirs = fisher_exact(cells["train"]) if small else chi2_contingency(cells["train"], correction=False)
        assert row["p"] == pytest.approx(theirs.pvalue, rel=1e-10, abs=0)
        assert row["direction"] == ("positive" if row["odds"] > 1 else "negative")
    assert {"chi2", "fisher"} == set(table["test"])
    rare = np.flatnonzero((codes[roles == "train"] > 0).sum(axis=0) < LEAST)
    assert len(table) == codes.shape[1] - len(rare)


def test_corrections_are_over_the_atoms_they_name():
    table = table_of(*planted())
    for p, q in (("p", "fdr_corrected"), ("cmh_p", "cmh_q")):
        assert table[q].to_numpy() == pytest.approx(false_discovery_control(table[p]), rel=1e-12, abs=0)
    own = table[table["significant"]]
    assert own["test_q"].to_numpy() == pytest.approx(false_discovery_control(own["test_p"]), rel=1e-12, abs=0)
    assert table.loc[~table["significant"], "test_q"].isna().all()
    assert (table["significant"] == (table["fdr_corrected"] < 0.05)).all()


def test_planted_bias_is_found_confirmed_and_listed_first():
    table = table_of(*planted())
    assert set(table["atom"][:2]) == {31, 61}
    ranks = list(zip(-table["near_end"].abs(), table["p"], table["atom"], strict=True))
    assert ranks == sorted(ranks) and table["near_end"].eq(0).sum() > 10
    found = table.set_index("atom").loc[[31, 61]]
    assert found["direction"].tolist() == ["positive", "negative"]
    assert found["confirmed"].all() and (found["cmh_q"] < 1e-10).all()
    top = top_biased(table)
    assert [top["top_tp_biased"][0]["atom"], top["top_fp_biased"][0]["atom"]] == [31, 61]


def test_a_bias_that_turns_over_in_the_test_role_is_not_confirmed():
    codes, labels, samples, roles = planted()
    table = table_of(codes, np.where(roles == "test", 1 - labels, labels), samples, roles)
    found = table.set_index("atom").loc[[31, 61]]
    assert found["significant"].all() and (found["test_q"] < 0.05).all() and not found["confirmed"].any()


def test_shuffled_labels_leave_no_atom_significant_and_p_uniform():
    tables = [table_of(*calls_of(seed, calls=900, atoms=60)) for seed in range(3)]
    told = ["significant", "confirmed", "confirmed_within", "reversed"]
    assert not any(table[told].to_numpy().any() for table in tables)
    p = pd.concat(tables)[["p", "cmh_p"]]
    assert ((p < 0.05).mean() < 0.10).all() and ((p < 0.05).mean() > 0.01).all()
    assert ((p < 0.5).mean() - 0.5).abs().max() < 0.12


def test_an_association_that_types_explain_is_found_without_strata_only():
    codes, labels, samples, roles = calls_of(1)
    random = np.random.default_rng(2)
    deletion = samples["type"].to_numpy() == "DEL"
    labels = (random.random(len(labels)) < np.where(deletion, 0.85, 0.3)).astype(int)
    codes[:, 30] = random.random(len(labels)) < np.where(deletion, 0.8, 0.2)
    row = table_of(codes, labels, samples, roles).set_index("feature").loc["atom 91"]
    assert row["significant"] and row["confirmed"] and row["odds"] > 2
    assert row["cmh_q"] > 0.05 and row["cmh_low"] < 1 < row["cmh_high"] and not row["confirmed_within"]


def test_the_order_of_calls_changes_nothing():
    codes, labels, samples, roles = planted(3)
    order = np.random.default_rng(4).permutation(len(labels))
    other = table_of(codes[order], labels[order], samples.iloc[order].reset_index(drop=True), roles[order])
    pd.testing.assert_frame_equal(other, table_of(codes, labels, samples, roles), rtol=1e-12)


def test_exchanging_the_classes_turns_odds_and_directions_over():
    codes, labels, samples, roles = planted(5)
    mine, other = (
        table_of(codes, own, samples, roles).sort_values("atom", ignore_index=True) for own in (labels, 1 - labels)
    )
    assert np.log(other["odds"]).to_numpy() == pytest.approx(-np.log(mine["odds"]).to_numpy(), rel=1e-9, abs=1e-13)
    assert other["near_end"].to_numpy() == pytest.approx(-mine["near_end"].to_numpy(), rel=1e-9, abs=1e-13)
    assert other["auroc"].to_numpy() == pytest.approx(1 - mine["auroc"].to_numpy(), rel=1e-9, abs=0)
    assert (other["direction"] != mine["direction"]).all()
    assert other["p"].to_numpy() == pytest.approx(mine["p"].to_numpy(), rel=1e-9, abs=0)


def test_an_atom_that_is_always_on_is_told_to_say_nothing():
    codes, labels, samples, roles = planted(6)
    codes[:, 5], codes[:, 6] = 1.5, 0
    codes[roles == "test", 7] = 0
    table = table_of(codes, labels, samples, roles).set_index("atom")
    row = table.loc[16]
    assert row[["p", "fdr_corrected", "cmh_p", "cmh_q", "odds", "test_p"]].tolist() == [1.0] * 6
    # No stratum tells, so that there is no ratio within strata, and none can be unlike another.
    untold = ["cmh_odds", "cmh_low", "cmh_high", "homogeneity_p"]
    assert row[[*untold, "test_cmh_odds"]].isna().all() and not row["confirmed_within"] and not row["reversed"]
    assert [row["near_end"], row["direction"], row["strata"], row["auroc"]] == [0, "none", 0, 0.5]
    assert 19 not in table.index
    assert table.loc[22, ["test_p", "test_odds", "test_low", "test_high"]].tolist() == [1, 1, 0, np.inf]
    rest = table.drop(columns=["test_q", "test_cmh_q", "auroc_active", "test_cmh_odds"]).select_dtypes("number")
    assert not rest.drop(index=16).isna().any(axis=None) and not rest.drop(columns=untold).isna().any(axis=None)


@pytest.mark.parametrize(("role", "label", "told"), [("train", 1, r"\d+ TP and 0 FP"), ("test", 0, r"0 TP and \d+ FP")])
def test_a_role_of_one_class_is_refused(role, label, told):
    codes, labels, samples, roles = calls_of(7, calls=200)
    labels[roles == role] = label
    with pytest.raises(
        ConsilienceError, match=f"split: role {role} holds {told} calls; what the classes differ in needs"
    ):
        table_of(codes, labels, samples, roles)


def test_without_an_atom_of_enough_support_the_table_has_its_columns_and_no_row(tmp_path):
    table = table_of(*calls_of(8), least=10_000)
    assert list(table) == COLUMNS and table.empty
    assert top_biased(table) == {"top_tp_biased": [], "top_fp_biased": []}
    for name, frame in {"chi2": chi2_list(table, 5), "landscape": landscape(table, 40)}.items():
        write_table(tmp_path / f"{name}.csv", frame)
    assert list(read_table(tmp_path / "chi2.csv")) == ["feature", "target", "direction"]
    assert read_table(tmp_path / "landscape.csv")["atoms"].tolist() == [0, 0, 0, 0, 0, 0, 40]


def test_the_near_end_is_that_of_the_interval_of_the_log_odds():
    odds = Odds.of(np.array([2.0, -2.0, 0.5, 0.0]), np.array([0.5, 0.5, 0.5, np.inf]))
    half = 1.959963984540054 / 2
    assert near_end(odds) == pytest.approx([2 - half, half - 2, 0, 0], rel=1e-12, abs=0)


def test_tests_are_exact_where_a_count_below_five_is_expected():
    counts = Tables(np.array([[[9, 10], [0, 0]]]), np.array([[50, 50]]))
    exact, p, _ = associations(counts)
    assert exact.tolist() == [True, False]
    assert p[0] == pytest.approx(fisher_exact([[0, 9], [50, 41]]).pvalue, rel=1e-12, abs=0)
    assert p[1] == pytest.approx(chi2_contingency([[0, 10], [50, 40]], correction=False).pvalue, rel=1e-12, abs=0)


def test_lists_hold_what_is_significant_and_clear_of_one_strongest_first():
    table = table_of(*planted(9))
    sides = {name: table[(table["direction"] == name) & table["significant"]] for name in ("positive", "negative")}
    found = chi2_list(table, 1)
    assert found.to_numpy().tolist() == sorted(
        ([side["feature"].iloc[0], "TP", name] for name, side in sides.items()),
        key=lambda row: table["feature"].tolist().index(row[0]),
    )
    table.loc[0, "cmh_odds"] = np.inf
    top = top_biased(table, count=3)
    for rows, sign in ((top["top_tp_biased"], 1), (top["top_fp_biased"], -1)):
        ends = [sign * row["near_end"] for row in rows]
        assert ends == sorted(ends, reverse=True) and min(ends) > 0 and len(rows) <= 3
        assert all(row["odds_low"] > 1 or row["odds_high"] < 1 for row in rows)
    assert None in [row["cmh_odds"] for rows in top.values() for row in rows]


def test_an_atom_that_is_not_significant_among_many_is_not_listed_though_its_interval_excludes_one():
    table = table_of(*calls_of(1, calls=900, atoms=60))
    assert table["near_end"].ne(0).any() and not table["significant"].any()
    assert top_biased(table) == {"top_tp_biased": [], "top_fp_biased": []}
    # A test may find an atom whose interval by another formula holds 1.
    held = table.assign(significant=True, near_end=0.0)
    assert top_biased(held) == {"top_tp_biased": [], "top_fp_biased": []}


def test_the_first_atoms_are_json(tmp_path):
    write_json(tmp_path / "top.json", top_biased(table_of(*planted(10))))
    row = json.loads((tmp_path / "top.json").read_text())["top_tp_biased"][0]
    assert set(row) == {
        "atom", "odds", "support", "TP_on", "FP_on", "odds_low", "odds_high", "near_end", "q", "cmh_odds", "cmh_q",
        "confirmed", "confirmed_within",
    }  # fmt: skip
    assert row["confirmed"] is True and row["confirmed_within"] is True and row["cmh_q"] < 1e-10
    assert isinstance(row["support"], int)


def test_the_landscape_counts_the_table():
    table = table_of(*planted(11))
    found = landscape(table, 40).set_index("set")
    assert found.index.tolist() == [
        "tested", "significant", "cmh_significant", "significant_within", "confirmed", "confirmed_within", "not_tested"
    ]  # fmt: skip
    assert found.loc["tested", "atoms"] + found.loc["not_tested", "atoms"] == 40
    rows = table[table["significant"]].to_dict("records")
    assert found.loc["significant", ["above_1", "below_1", "above_2", "below_half"]].tolist() == [
        sum(test(row["odds"]) for row in rows)
        for test in (lambda odds: odds > 1, lambda odds: odds < 1, lambda odds: odds > 2, lambda odds: odds < 0.5)
    ]
    supports = sorted(row["support"] for row in rows)
    assert found.loc["significant", ["support_minimum", "support_maximum"]].tolist() == [supports[0], supports[-1]]


@pytest.fixture
def encoded(tmp_path):
    """A dataset of 30 calls and 4 alive atoms, whose features are not in the order of the branch."""
    values = np.random.default_rng(12).random((30, 4)).astype(np.float32)
    values[values < 0.6] = 0
    path = tmp_path / "encoded.h5"
    with write_dataset(path, "classification", "true call", "activation", "test", "0", ["FP", "TP"]) as writer:
        writer.features(features_of(4))
        writer.samples(pd.DataFrame({"id": [f"call {row}" for row in range(30)]}))
        writer.target(np.arange(30) % 2)
        writer.branch("codes", np.array([2, 0, 3, 1]), 30, scaling="feature")
        writer.append("codes", values)
    return path, values


def test_codes_are_read_block_by_block_in_the_order_asked_for(encoded, monkeypatch):
    path, values = encoded
    monkeypatch.setattr(codes_module, "BLOCK", 7)
    with Dataset.open(path) as dataset:
        assert code_features(dataset)["name"].tolist() == ["atom 7", "atom 1", "atom 10", "atom 4"]
        whole, some = sparse_codes(dataset), sparse_codes(dataset, np.array([29, 3, 17]))
        assert sparse_codes(dataset, np.zeros(0, int)).shape == (0, 4)
    assert whole.dtype == np.float32 and whole.nnz == np.count_nonzero(values)
    assert (whole.toarray() == values).all() and (some.toarray() == values[[29, 3, 17]]).all()


def test_a_code_below_zero_is_refused_and_so_is_a_dataset_without_codes(encoded):
    path, _ = encoded
    with h5py.File(path, "a") as file:
        file["inputs/codes"][11, 2] = -0.5
    told = f"{path}: sample 'call 11': the code of 'atom 10' is -0.5; expected 0 or more"
    with Dataset.open(path) as dataset, pytest.raises(ConsilienceError, match=told):
        sparse_codes(dataset)
    with h5py.File(path, "a") as file:
        for group in ("inputs", "units"):
            file[group].move("codes", "alleles")
        file.attrs["branches"] = ["alleles"]
    told = f"{path}: no branch 'codes' but alleles; expected an encoded dataset"
    with Dataset.open(path) as dataset, pytest.raises(ConsilienceError, match=told):
        sparse_codes(dataset)


class Given(SimpleNamespace):
    def get(self, name, default=None):
        return getattr(self, name, default)


def test_the_script_writes_what_the_library_finds(tmp_path, monkeypatch):
    codes, labels, samples, roles = planted(13)
    ids = [f"call {row}" for row in range(len(labels))]
    with write_dataset(
        tmp_path / "e.h5", "classification", "true call", "activation", "test", "0", ["FP", "TP"]
    ) as own:
        own.features(features_of(40))
        own.samples(samples.assign(id=ids))
        own.target(labels)
        own.branch("codes", np.arange(40), len(labels), scaling="feature")
        own.append("codes", codes.astype(np.float32))
    write_table(tmp_path / "split.tsv", pd.DataFrame({"sample": ids, "group": ids, "role": roles}))
    output = {"bias": "bias.csv", "top": "top.json", "chi2": "chi2.csv", "landscape": "landscape.tsv"}
    snakemake = SimpleNamespace(
        input=SimpleNamespace(dataset=tmp_path / "e.h5", split=tmp_path / "split.tsv"),
        output=SimpleNamespace(**{name: tmp_path / file for name, file in output.items()}),
        params=Given(minimum_support=LEAST, top=1, threads=1),
        log=[str(tmp_path / "bias.log")],
        rule="variants_bias",
        wildcards={},
    )
    library = Path(consilience.__file__).parent
    monkeypatch.setenv("CONSILIENCE_LIBRARY", str(library))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    before = logging.getLogger().handlers[:]
    try:
        runpy.run_path(str(library / "domains" / "variants" / "measure_bias.py"), {"snakemake": snakemake})
    finally:
        logging.captureWarnings(False)
        for handler in set(logging.getLogger().handlers) - set(before):
            logging.getLogger().removeHandler(handler)
            handler.close()
    table = table_of(codes.astype(np.float32), labels, samples, roles)
    pd.testing.assert_frame_equal(read_table(tmp_path / "bias.csv"), table, rtol=1e-8, check_dtype=False)
    assert read_table(tmp_path / "chi2.csv")["feature"].tolist() == chi2_list(table, 1)["feature"].tolist()
    assert json.loads((tmp_path / "top.json").read_text()) == top_biased(table)
    assert read_table(tmp_path / "landscape.tsv")["atoms"].tolist() == landscape(table, 40)["atoms"].tolist()
    assert "40 atoms tested" in (tmp_path / "bias.log").read_text()
