"""The table of labels is read strictly: every refusal is one line that says where; one row stays of those that repeat."""

import numpy as np
import pandas as pd
import pytest
import yaml

from consilience.audit import Audit
from consilience.configuration import load_study
from consilience.domains.eeg.labels import distinct, read_labels, votes_of
from consilience.errors import ConsilienceError
from tests.unit.eeg_examples import CLASSES, labels_table, write_labels

HEADER = (
    "eeg_id,eeg_label_offset_seconds,spectrogram_id,spectrogram_label_offset_seconds,label_id,patient_id,a_vote,b_vote"
)
ROW = "1,0,2,0,10,7,3,0"


def file_of(folder, *lines):
    path = folder / "train.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def read(folder, labels):
    write_labels(folder, labels)
    return read_labels(folder / "train.csv")


def test_a_table_is_read_as_it_stands(tmp_path):
    labels = labels_table()
    table, classes = read(tmp_path, labels)
    assert classes == CLASSES
    assert list(table) == [
        *("line", "id", "eeg_id", "spectrogram_id", "patient_id"),
        *("eeg_label_offset_seconds", "spectrogram_label_offset_seconds", *votes_of(CLASSES), "expert_consensus"),
    ]
    assert table["line"].tolist() == list(range(2, 11))
    assert table["id"].tolist() == labels["label_id"].astype(str).tolist()
    for column in ("eeg_id", "spectrogram_id", "patient_id", "expert_consensus"):
        assert table[column].tolist() == labels[column].astype(str).tolist()
    for column in ("eeg_label_offset_seconds", "spectrogram_label_offset_seconds", *votes_of(CLASSES)):
        assert table[column].tolist() == labels[column].tolist()
    assert [table[column].dtype for column in votes_of(CLASSES)] == [np.int64] * 3


def test_columns_may_be_absent_elsewhere_or_more(tmp_path):
    labels = labels_table().drop(columns=["label_id", "expert_consensus", "eeg_sub_id"]).assign(remark="x, y")
    labels = labels[["remark", *sorted(set(labels) - {"remark"}, reverse=True)]]
    table, classes = read(tmp_path, labels)
    assert classes == ["seizure", "other", "lpd"]
    assert table["id"].tolist() == [f"{eeg}_{line}" for line, eeg in enumerate(labels["eeg_id"], 2)]
    assert "expert_consensus" not in table


def test_ids_keep_their_spelling(tmp_path):
    table, _ = read_labels(file_of(tmp_path, HEADER, "007,1e1,B_2-c,0.5,l 1,Jane Doe,3,1"))
    row = table.iloc[0]
    assert row[["eeg_id", "spectrogram_id", "id", "patient_id"]].tolist() == ["007", "B_2-c", "l 1", "Jane Doe"]
    assert row[["eeg_label_offset_seconds", "spectrogram_label_offset_seconds"]].tolist() == [10, 0.5]


def test_lines_count_blank_ones_and_fields_may_have_spaces(tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(f"\ufeff{HEADER}\r\n\r\n{ROW}\r\n\r\n 1 , 5 , 2 , 5 , 11 , 7 , 0 , 2.0 \r\n".encode())
    table, _ = read_labels(path)
    assert table["line"].tolist() == [3, 5]
    assert table[["eeg_id", "id", "a_vote", "b_vote"]].to_numpy().tolist() == [["1", "10", 3, 0], ["1", "11", 0, 2]]


def without(column):
    names, values = HEADER.split(","), ROW.split(",")
    place = names.index(column)
    return [",".join(part[:place] + part[place + 1 :]) for part in (names, values)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([""], "the file is empty; expected the columns eeg_id, eeg_label_offset_seconds, .*patient_id and votes$"),
        ([HEADER], "a header without a row; expected labelled segments$"),
        (without("patient_id"), "no column patient_id; it has eeg_id, .*b_vote$"),
        ([HEADER.replace("patient", "pateint"), ROW], "no column patient_id; it has .*; nearest: pateint_id$"),
        (without("a_vote"), "columns of votes: b_vote; expected at least two, named <class>_vote$"),
        ([HEADER.replace("a_vote", "_vote"), ROW], "columns of votes: _vote, b_vote; expected at least two, named"),
        ([HEADER.replace("a_vote", "a").replace("b_vote", "b"), ROW], "columns of votes: none; expected"),
        ([HEADER.replace("b_vote", "a_vote"), ROW], "the column a_vote repeats; expected it once$"),
        ([HEADER.replace(",", ";"), ROW], "no column eeg_id, .*; are its fields separated by commas\\?$"),
        ([HEADER, ROW, "1,0,2"], "line 3: 3 fields; expected 8, as in the header$"),
        ([HEADER, ROW, "1,0,2,0,11,7,3,0,9"], "line 3: 9 fields; expected 8, as in the header$"),
        ([HEADER, ROW, '1,0,2,0,11,7,3,"0'], "not a readable CSV table"),
        ([HEADER, ROW, ",0,2,0,11,7,3,0"], "line 3: eeg_id is ''; expected an id of letters, digits, _ and -, which"),
        ([HEADER, ROW, "1,0,../2,0,11,7,3,0"], "line 3: spectrogram_id is '../2'; expected an id of letters"),
        ([HEADER, ROW, "1,0,2,0,11,,3,0"], "line 3: patient_id is ''; expected an id$"),
        ([HEADER, ROW, "1,0,2,0,,7,3,0"], "line 3: label_id is ''; expected an id$"),
        ([HEADER, ROW, "1,,2,0,11,7,3,0"], "line 3: eeg_label_offset_seconds is ''; expected seconds, 0 or more$"),
        ([HEADER, ROW, "1,0,2,-0.5,11,7,3,0"], "line 3: spectrogram_label_offset_seconds is '-0.5'; expected seconds"),
        ([HEADER, ROW, "1,nan,2,0,11,7,3,0"], "line 3: eeg_label_offset_seconds is 'nan'; expected seconds"),
        ([HEADER, ROW, "1,inf,2,0,11,7,3,0"], "line 3: eeg_label_offset_seconds is 'inf'; expected seconds"),
        ([HEADER, ROW, "1,0,2,0,11,7,three,0"], "line 3: a_vote is 'three'; expected a number of votes, 0 or more$"),
        ([HEADER, ROW, "1,0,2,0,11,7,3,"], "line 3: b_vote is ''; expected a number of votes, 0 or more$"),
        ([HEADER, ROW, "1,0,2,0,11,7,3,-1"], "line 3: b_vote is '-1'; expected a number of votes, 0 or more$"),
        ([HEADER, ROW, "1,0,2,0,11,7,3,0.5"], "line 3: b_vote is '0.5'; expected a whole number of votes$"),
        ([HEADER, ROW, "1,0,2,0,11,7,0,0"], "line 3: a_vote, b_vote sum to 0; expected a vote or more$"),
        ([HEADER, ROW, "1,5,2,5,10,7,1,0"], "line 3: label_id is '10'; expected an id of its own, .* of line 2$"),
        (
            [HEADER, ROW, "3,0,4,0,11,8,3,0", "1,9,4,9,12,8,3,0"],
            "line 4: patient_id is '8'; expected '7', whose eeg_id 1 is in line 2: a recording is of one patient$",
        ),
        (
            [HEADER, ROW, "3,0,2,0,11,8,3,0"],
            "line 3: patient_id is '8'; expected '7', whose spectrogram_id 2 is in line 2: a recording is of one",
        ),
    ],
)
def test_a_fault_is_one_line(tmp_path, lines, message):
    path = file_of(tmp_path, *lines)
    with pytest.raises(ConsilienceError, match=rf"^{path}: {message}") as caught:
        read_labels(path)
    assert "\n" not in str(caught.value)


def test_the_first_fault_of_a_column_is_told(tmp_path):
    lines = [HEADER, *(f"1,{offset},2,0,{place},7,1,0" for place, offset in enumerate([0, 1, -2, 3, -4]))]
    with pytest.raises(ConsilienceError, match="line 4: eeg_label_offset_seconds is '-2'"):
        read_labels(file_of(tmp_path, *lines))


@pytest.mark.parametrize(("name", "message"), [("absent.csv", "No such file"), ("", "Is a directory")])
def test_no_file_is_one_line(tmp_path, name, message):
    with pytest.raises(ConsilienceError, match=rf"cannot be read \({message}.*\); expected the table of labels"):
        read_labels(tmp_path / name)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "train.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConsilienceError, match="not a readable CSV table"):
        read_labels(tmp_path / "train.csv")


def repeating(seed=0):
    """Labels with few different votes, and offsets in no order."""
    random = np.random.default_rng(seed)
    labels = labels_table(eegs=(11, 12, 13), rows=12)
    labels["eeg_label_offset_seconds"] = random.permutation(len(labels)) * 0.5
    labels["seizure_vote"], labels["lpd_vote"], labels["other_vote"] = 1, random.integers(2, size=len(labels)), 0
    return labels


def test_of_rows_with_the_same_votes_the_middle_one_stays(tmp_path):
    labels = repeating()
    table, classes = read(tmp_path, labels)
    audit = Audit(len(table), 111, "train.csv")
    kept = distinct(table, classes, audit)
    expected = []
    for eeg in (11, 12, 13):
        for vote in (0, 1):
            own = labels[(labels["eeg_id"] == eeg) & (labels["lpd_vote"] == vote)]
            own = own.sort_values("eeg_label_offset_seconds")["label_id"].tolist()
            if own:
                expected.append(str(own[(len(own) - 1) // 2]))
    assert kept["id"].tolist() == [name for name in table["id"] if name in expected]
    assert list(kept.index) == list(range(len(expected)))
    step = audit.frame().iloc[-1]
    assert step[["step", "samples_before", "samples_after"]].tolist() == ["distinct", 36, len(expected)]


def test_what_stays_does_not_depend_on_the_order_of_rows(tmp_path):
    labels = repeating(1)
    # Rows that begin together are told apart by their ids.
    labels["eeg_label_offset_seconds"] = labels["eeg_label_offset_seconds"] // 4
    labels["spectrogram_label_offset_seconds"] = 0
    kept = []
    for seed in range(4):
        own = labels.sample(frac=1, random_state=seed) if seed else labels
        table, classes = read(tmp_path, own)
        kept.append(set(distinct(table, classes, Audit(len(table), 111, ""))["id"]))
    assert all(one == kept[0] for one in kept)


def test_rows_that_differ_all_stay(tmp_path):
    labels = labels_table(rows=1)
    table, classes = read(tmp_path, labels)
    pd.testing.assert_frame_equal(distinct(table, classes, Audit(3, 111, "")), table)


def test_the_real_table_is_read(shared_data):
    path = shared_data / "eeg" / "train.csv"
    if not path.is_file():
        pytest.skip("the EEG recordings are not here")
    table, classes = read_labels(path)
    raw = pd.read_csv(path)
    assert classes == ["rest", "arithmetic"]
    assert len(table) == len(raw)
    assert table["id"].tolist() == raw["label_id"].astype(str).tolist()
    assert (table[votes_of(classes)].to_numpy() == raw[votes_of(classes)].to_numpy()).all()


def hms_study(folder, **keys):
    (folder / "mine.yaml").write_text(
        yaml.safe_dump({"domain": "eeg", "source": {"kind": "hms", "path": "raw"}, "models": "small", **keys})
    )
    return load_study(folder / "mine.yaml")


def test_what_the_folder_holds_is_watched_and_not_the_folder_alone(tmp_path):
    (tmp_path / "raw").mkdir()
    assert hms_study(tmp_path).raw == (str(tmp_path / "raw"),)
    for name in ("train_eegs", "train_spectrograms"):
        (tmp_path / "raw" / name).mkdir()
    (tmp_path / "raw" / "train.csv").touch()
    names = ("train.csv", "train_eegs", "train_spectrograms")
    assert hms_study(tmp_path).raw == tuple(str(tmp_path / "raw" / name) for name in names)


def test_no_other_group_than_the_patient_is_taken(tmp_path):
    (tmp_path / "raw").mkdir()
    with pytest.raises(ConsilienceError, match=r"split\.group: 'id' is not one of patient_id"):
        hms_study(tmp_path, split={"group": "id"})
