"""Tables of pairs are read row by row, repeats and contradictions go, families stay together, bad input is one line."""

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from consilience.audit import Audit
from consilience.configuration import load_study
from consilience.domains.mirna import pairs as module
from consilience.domains.mirna.pairs import (
    distinct_pairs,
    families,
    files_of,
    named,
    read_pairs,
    seed_match,
    unknown_kmers,
)
from consilience.errors import ConsilienceError
from tests.unit.mirna_examples import COLUMNS, drawn_sequence, pairs_table, partner

HEADER = ",".join(COLUMNS)
MIRNA, SITE = "TGAGGTAGTAGG", "AAACTACCTCATT"


def file_of(folder, text, name="pairs.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows_of(folder, *rows, header=HEADER, k=3):
    return read_pairs({"": file_of(folder, "\n".join((header, *rows)) + "\n")}, k)


def test_sequences_are_read_as_dna_in_upper_case(tmp_path):
    table = rows_of(tmp_path, "ugagguag,AcGtN,1", " TGAGG , UUUAAACC ,0 ")
    assert table["mirna"].tolist() == ["TGAGGTAG", "TGAGG"]
    assert table["site"].tolist() == ["ACGTN", "TTTAAACC"]
    assert table["label"].tolist() == [1, 0]
    assert table["id"].tolist() == ["pair-00001", "pair-00002"]
    assert (table[["official_role", "mirna_name", "mirna_family", "gene_cluster", "planted_position"]] == "").all(
        axis=None
    )


def test_columns_stand_in_any_order_beside_others(tmp_path):
    header = f"score,gene_cluster,validation,{COLUMNS[1]},mirna_family,{COLUMNS[0]},mirna_name,remark"
    table = rows_of(
        tmp_path, f"0.5,17,1,{SITE},let-7,{MIRNA},hsa-let-7a,N/A", f"NA,,0,{SITE},,{MIRNA},,", header=header
    )
    assert table.drop(columns=["row", "planted_position", "official_role"]).to_dict("records") == [
        {"mirna": MIRNA, "site": SITE, "label": 1, "mirna_name": "hsa-let-7a", "mirna_family": "let-7", "gene_cluster": "17", "id": "pair-00001"},
        {"mirna": MIRNA, "site": SITE, "label": 0, "mirna_name": "", "mirna_family": "", "gene_cluster": "", "id": "pair-00002"},
    ]  # fmt: skip


def test_a_byte_order_mark_and_line_ends_of_windows_do_no_harm(tmp_path):
    text = f"\ufeff{HEADER}\r\n{MIRNA},{SITE},1\r\n{MIRNA},{SITE},0\r\n"
    table = read_pairs({"": file_of(tmp_path, text)}, 3)
    assert table[["mirna", "site", "label"]].to_numpy().tolist() == [[MIRNA, SITE, 1], [MIRNA, SITE, 0]]


def test_files_keep_their_roles_and_their_own_numbers(tmp_path):
    parts = {role: pairs_table(count, seed=count) for role, count in (("train", 5), ("validation", 3), ("test", 4))}
    source = {"kind": "csv"}
    for role, part in parts.items():
        part.to_csv(tmp_path / f"{role}.csv", index=False)
        source[role] = str(tmp_path / f"{role}.csv")
    files = files_of([tmp_path / "test.csv", tmp_path / "train.csv"], dict(reversed(source.items())))
    assert list(files) == ["train", "validation", "test"]
    table = read_pairs(files, 6)
    assert table["official_role"].tolist() == ["train"] * 5 + ["validation"] * 3 + ["test"] * 4
    assert table["id"].iloc[[0, 4, 5, 8, 11]].tolist() == [
        *("train-00001", "train-00005", "validation-00001", "test-00001", "test-00004")
    ]
    assert table["mirna"].tolist() == [name for part in parts.values() for name in part[COLUMNS[0]]]
    assert files_of([tmp_path / "one.csv"], {"kind": "simulate"}) == {"": tmp_path / "one.csv"}


def test_parts_of_a_table_change_nothing(tmp_path, monkeypatch):
    pairs_table(23).to_csv(tmp_path / "pairs.csv", index=False)
    whole = read_pairs({"": tmp_path / "pairs.csv"}, 5)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 5)
    pd.testing.assert_frame_equal(read_pairs({"": tmp_path / "pairs.csv"}, 5), whole)
    lines = (tmp_path / "pairs.csv").read_text().splitlines()
    lines[18] = lines[18][:-1] + "7"
    with pytest.raises(ConsilienceError, match="row 18: validation is '7'; expected 0 or 1"):
        read_pairs({"": file_of(tmp_path, "\n".join(lines))}, 5)
    lines[13] = f"ACGZT,{SITE},1"
    with pytest.raises(ConsilienceError, match="row 13: mature_miRNA_Transcript holds 'Z' at position 4"):
        read_pairs({"": file_of(tmp_path, "\n".join(lines))}, 5)


GOOD = f"{MIRNA},{SITE},1\n{MIRNA},{SITE},0\n"
BAD = {
    "missing column": (
        f"{COLUMNS[0]},site,Validation\n",
        r"pairs\.csv: no column mRNA_Site_Transcript, validation; it has mature_miRNA_Transcript, site, Validation(; nearest: .*)?$",
    ),
    "nearest column": (
        f"{COLUMNS[0]},mRNA_Site_Transkript,validation\n",
        r"no column mRNA_Site_Transcript; it has .*; nearest: mRNA_Site_Transkript\b",
    ),
    "other separator": (f"{HEADER}\n{GOOD}".replace(",", ";"), r"no column mature_miRNA_Transcript, .*; it has mature_"),
    "empty": ("", rf"pairs\.csv: the file is empty; expected the columns {', '.join(COLUMNS)}$"),
    "blank": ("\n \n\n", r"pairs\.csv: the file is empty|pairs\.csv: no column"),
    "header alone": (HEADER, r"pairs\.csv: a header without a row; expected pairs$"),
    "header and a blank line": (f"{HEADER}\n\n", r"pairs\.csv: a header without a row; expected pairs$"),
    "letter in the miRNA": (
        f"{HEADER}\n{GOOD}TGAgxT,{SITE},1\n",
        r"pairs\.csv: row 3: mature_miRNA_Transcript holds 'x' at position 5; expected A, C, G, T, U or N$",
    ),
    "letter in the site": (f"{HEADER}\n{MIRNA},ACG-T,1\n", r"row 1: mRNA_Site_Transcript holds '-' at position 4; "),
    "letter that grows in upper case": (f"{HEADER}\n{MIRNA},ACGẗ,1\n", r"row 1: mRNA_Site_Transcript holds 'ẗ' at position 4; "),
    "letters that grow before it": (f"{HEADER}\n{MIRNA},AßXCG,1\n", r"row 1: mRNA_Site_Transcript holds 'ß' at position 2; "),
    "short": (f"{HEADER}\n{GOOD}AC,{SITE},1\n", r"row 3: mature_miRNA_Transcript has 2 nucleotides; k-mers of 3 need at least 3$"),
    "absent sequence": (f"{HEADER}\n{MIRNA},,1\n", r"row 1: mRNA_Site_Transcript has 0 nucleotides; "),
    "absent cells": (f"{HEADER}\n{GOOD}{MIRNA}\n", r"row 3: 1 fields; expected 3, as in the header$"),
    "a cell too many": (f"{HEADER}\n{GOOD}{MIRNA},{SITE},1,2\n", r"row 3: 4 fields; expected 3, as in the header$"),
    "after blank lines": (f"{HEADER}\n\n\n{MIRNA},{SITE},2\n", r"row 3: validation is '2'; expected 0 or 1$"),
    "semicolons": (f"{HEADER.replace(',', ';')}\n", r"no column mature_miRNA_Transcript, .*; are its fields separated by commas\?$"),
    "a place behind the site": (f"{HEADER},planted_position\n{MIRNA},ACGTACGT,1,9\n", r"row 1: planted_position is '9'; expected a place from 1 to 8$"),
    "a column twice": (f"{HEADER},validation\n{MIRNA},{SITE},1,0\n", "the column validation repeats; expected it once"),
    "nothing but N": (
        f"{HEADER}\n{MIRNA},NNNNNNN,1\n",
        r"row 1: mRNA_Site_Transcript has no 3 nucleotides in a row without N; expected at least one k-mer$",
    ),
    "N between all": (f"{HEADER}\n{MIRNA},ACNGTNAC,1\n", r"row 1: mRNA_Site_Transcript has no 3 nucleotides in a row without N; "),
    "label": (f"{HEADER}\n{MIRNA},{SITE},2\n", r"pairs\.csv: row 1: validation is '2'; expected 0 or 1$"),
    "label of another kind": (f"{HEADER}\n{GOOD}{MIRNA},{SITE},1.0\n", r"row 3: validation is '1\.0'; expected 0 or 1$"),
    "label absent": (f"{HEADER}\n{MIRNA},{SITE},\n", r"row 1: validation is ''; expected 0 or 1$"),
    "another encoding": (f"{HEADER},mirna_name\n{MIRNA},{SITE},1,é\n".encode("latin-1"), r"pairs\.csv: not a readable CSV table \("),
    "another encoding in the header": (f"{HEADER}\n{GOOD}".encode("utf-16"), r"pairs\.csv: not a readable CSV table \("),
    "a compressed file": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\x07\x00", r"pairs\.csv: not a readable CSV table \("),
    "open quotes": (f'{HEADER}\n{MIRNA},"{SITE},1\n', r"pairs\.csv: not a readable CSV table \(.*unexpected end of data"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_tables_are_one_line(tmp_path, text, message):
    with pytest.raises(ConsilienceError, match=message) as caught:
        read_pairs({"": file_of(tmp_path, text)}, 3)
    assert "\n" not in str(caught.value)


def test_a_folder_and_an_absent_file_are_one_line(tmp_path):
    for path in (tmp_path, tmp_path / "absent.csv"):
        with pytest.raises(ConsilienceError, match=r"cannot be read \(.*\); expected a CSV table of pairs$"):
            read_pairs({"": path}, 3)


def test_the_shortest_sequences_follow_k(tmp_path):
    assert len(rows_of(tmp_path, "ACGTA,ACGTN,1", k=4)) == 1
    with pytest.raises(ConsilienceError, match="row 1: mRNA_Site_Transcript has no 5 nucleotides in a row"):
        rows_of(tmp_path, "ACGTA,ACGTN,1", k=5)
    with pytest.raises(ConsilienceError, match="row 1: mature_miRNA_Transcript has 5 nucleotides; k-mers of 6 need"):
        rows_of(tmp_path, "ACGTA,ACGTN,1", k=6)


def table_of(*rows):
    """A table of (role, miRNA, site, label)."""
    table = pd.DataFrame(rows, columns=["official_role", "mirna", "site", "label"])
    return table.assign(id=[f"s{number}" for number in range(len(rows))])


def distinct(table):
    audit = Audit(len(table), 8, "tables of pairs")
    return distinct_pairs(table, audit)["id"].tolist(), audit.frame().set_index("step")


def test_repeats_stay_once():
    found, audit = distinct(
        table_of(("", "A", "X", 1), ("", "A", "X", 1), ("", "A", "Y", 1), ("", "B", "X", 0), ("", "A", "X", 1))
    )
    assert found == ["s0", "s2", "s3"]
    assert audit.loc["repeats", ["samples_before", "samples_after"]].tolist() == [5, 3]
    assert audit.loc["contradictions", ["samples_before", "samples_after"]].tolist() == [3, 3]
    assert audit.loc["repeats", "note"] == ""


def test_of_a_pair_in_several_files_the_most_held_out_row_stays():
    found, audit = distinct(
        table_of(
            *(("train", "A", "X", 1), ("train", "A", "X", 1), ("train", "B", "X", 0), ("train", "C", "X", 0)),
            *(("validation", "B", "X", 0), ("validation", "A", "X", 1)),
            *(("test", "A", "X", 1), ("test", "D", "X", 1), ("test", "D", "X", 1)),
        )
    )
    assert found == ["s3", "s4", "s6", "s7"]
    assert audit.loc["repeats", ["samples_before", "samples_after"]].tolist() == [9, 4]
    assert audit.loc["repeats", "note"] == "4 of them in train or validation files"


def test_pairs_with_both_labels_are_refused_wherever_they_stand():
    found, audit = distinct(
        table_of(
            *(("train", "A", "X", 1), ("train", "A", "X", 0), ("train", "A", "X", 0), ("train", "A", "Y", 0)),
            *(("train", "B", "X", 1), ("test", "B", "X", 0), ("test", "C", "X", 1)),
        )
    )
    assert found == ["s3", "s6"]
    row = audit.loc["contradictions"]
    assert (row["samples_before"], row["samples_after"], row["note"]) == (6, 2, "2 pairs")


def groups_of(*rows):
    """The groups of (miRNA, name, family)."""
    table = pd.DataFrame(rows, columns=["mirna", "mirna_name", "mirna_family"])
    table[["mirna_name", "mirna_family"]] = table[["mirna_name", "mirna_family"]].apply(named)
    return families(table.assign(id=[f"s{number}" for number in range(len(rows))])).tolist()


ONE, TWO, THREE = "TGAGGTAGTAGGTTGTATAGTT", "CTATACAATCTACTGTCTTTC", "TAGCAGCACGTAAATATTGGCG"


def test_a_group_is_the_family():
    assert groups_of((ONE, "let-7a", "let-7"), (TWO, "let-7b", "let-7"), (THREE, "mir-16", "mir-15")) == [
        "let-7",
        "let-7",
        "mir-15",
    ]


@pytest.mark.parametrize("absent", ["", "unknown", "Unknown", "NaN", "NA", "None"])
def test_without_family_the_group_is_the_mirna_and_without_name_the_sequence(absent):
    assert groups_of((ONE, "let-7a", absent), (TWO, "mir-2", absent), (TWO, "mir-2", absent)) == [
        "let-7a",
        "mir-2",
        "mir-2",
    ]
    assert groups_of((ONE, absent, absent), (TWO, absent, absent), (THREE, absent, "mir-15")) == [ONE, TWO, "mir-15"]


def test_one_sequence_is_in_one_group_whatever_it_is_called():
    assert len(set(groups_of((ONE, "let-7a", ""), (ONE, "let-7a-5p", ""), (ONE, "", "")))) == 1
    assert len(set(groups_of((ONE, "let-7a", "let-7"), (ONE, "let-7a", "unknown"), (TWO, "let-7b", "let-7")))) == 1
    joined = groups_of((ONE, "a", ""), (ONE, "b", ""), (TWO, "b", ""), (THREE, "c", ""))
    assert len(set(joined[:3])) == 1
    assert joined[3] == "c"


def test_a_family_may_have_a_comma_in_its_name():
    found = groups_of((ONE, "", "let-7,98"), (TWO, "", "let-7"), (THREE, "", "98;x"))
    assert len(set(found)) == 3


def test_groups_do_not_follow_the_order_of_rows():
    random = np.random.default_rng(1)
    rows = [
        (
            f"{drawn_sequence(random, 20)}" if number % 3 else ONE,
            f"m{number % 7}",
            ["", "f1", "f2", "unknown"][number % 4],
        )
        for number in range(30)
    ]
    order = random.permutation(30)
    found = np.array(groups_of(*rows))
    assert groups_of(*(rows[place] for place in order)) == found[order].tolist()


def test_a_seed_match_is_six_letters_that_pair_with_nucleotides_two_to_seven():
    assert seed_match(ONE, "GGG" + partner(ONE[1:7]) + "A")
    assert not seed_match(ONE, "GGG" + partner(ONE[1:7])[:5] + "A")
    assert not seed_match(ONE, ONE), "the strand itself does not pair"
    assert seed_match(ONE, partner(ONE[1:8]), slice(1, 8))
    assert not seed_match("TGAGG", partner("GAGG") * 5), "there are no six letters to match"
    assert not seed_match("TGANGTAG", "AA" + partner("GANGTA") + "AA"), "N pairs with nothing"


@given(sequences=st.lists(st.text("ACGTN", min_size=1, max_size=15), max_size=5), k=st.integers(3, 6))
def test_kmers_with_n_are_counted(sequences, k):
    windows = [[s[start : start + k] for start in range(len(s)) if start + k <= len(s)] for s in sequences]
    skipped = sum("N" in kmer for own in windows for kmer in own)
    assert unknown_kmers(sequences, k) == (skipped, sum("N" in sequence for sequence in sequences))


def study(folder, source, **keys):
    for name in "abc":
        (folder / f"{name}.csv").write_text(HEADER)
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({"domain": "mirna", "source": {"kind": "csv", **source}, "models": "small", **keys}))
    return load_study(path)


def test_a_study_names_one_table_or_tables_by_role(tmp_path):
    assert study(tmp_path, {"path": "a.csv"}).raw == (str(tmp_path / "a.csv"),)
    found = study(tmp_path, {"test": "c.csv", "train": "b.csv"})
    assert set(found.raw) == {str(tmp_path / "b.csv"), str(tmp_path / "c.csv")}
    assert files_of([], found.source) == {"train": tmp_path / "b.csv", "test": tmp_path / "c.csv"}
    assert set(files_of([], study(tmp_path, {"test": "c.csv", "train": "b.csv", "validation": "a.csv"}).source)) == {
        *("train", "validation", "test")
    }


@pytest.mark.parametrize(
    "names",
    [
        *((), ("train",), ("test",), ("validation",), ("train", "validation")),
        *(("path", "train", "test"), ("path", "train"), ("path", "validation"), ("path", "test")),
    ],
)
def test_tables_that_do_not_go_together_are_one_line(tmp_path, names):
    with pytest.raises(ConsilienceError) as caught:
        study(tmp_path, dict.fromkeys(names, "a.csv"))
    told, _, has = str(caught.value).partition("; it has ")
    assert told == f"{tmp_path / 'study.yaml'}: source: expected either path or train and test"
    assert set(has.split(", ")) == {"kind", *names}


@pytest.mark.parametrize(
    ("k", "problem"),
    [(2, "2 is less than the minimum of 3"), (7, "7 is greater than the maximum of 6"), (4.5, "4.5 is not an integer")],
)
def test_k_is_three_to_six(tmp_path, k, problem):
    with pytest.raises(ConsilienceError, match=rf"study\.yaml: k: {problem} \(Length of the k-mers") as caught:
        study(tmp_path, {"path": "a.csv"}, k=k)
    assert "\n" not in str(caught.value)
    assert study(tmp_path, {"path": "a.csv"}).settings["k"] == 6


def test_an_unknown_gene_cluster_is_none(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(f"{HEADER},gene_cluster\n{MIRNA},{SITE},1,NA\n{MIRNA},{SITE}A,0,unknown\n{MIRNA},{SITE}C,0,7\n")
    assert read_pairs({"": path}, 3)["gene_cluster"].tolist() == ["", "", "7"]
