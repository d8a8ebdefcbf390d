"""What cannot be used is refused or counted, in one line each; what can serves studies, simulations and splits."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from consilience.configuration import load_study
from consilience.dataset import Dataset
from consilience.dataset_writer import DatasetWriter
from consilience.domains.eeg.prepare import prepare
from consilience.domains.eeg.simulate import simulate
from consilience.errors import ConsilienceError
from consilience.files import sha256
from consilience.splits import assign
from tests.unit.eeg_dataset_examples import BRANCHES, made, made_example
from tests.unit.eeg_examples import (
    eeg_table,
    labels_table,
    settings_of,
    spectrogram_table,
    write_folder,
    write_labels,
    write_parquet,
)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return made_example(tmp_path_factory.mktemp("eeg") / "raw")


# --- what cannot be used

FAULTS = {
    "missing file": (
        lambda folder: (folder / "train_eegs" / "12.parquet").unlink(),
        r"train_eegs/12\.parquet: no such file \(line 5 of train\.csv\)",
        3,
    ),
    "unreadable file": (
        lambda folder: (folder / "train_spectrograms" / "912.parquet").write_text("nothing"),
        r"train_spectrograms/912\.parquet: not a readable parquet file \(.*\) \(line 5 of train\.csv\)",
        3,
    ),
    "missing channels": (
        lambda folder: write_parquet(folder / "train_eegs" / "12.parquet", eeg_table().drop(columns=["Cz", "P4"])),
        r"train_eegs/12\.parquet: no channel Cz, P4; it has .* \(line 5 of train\.csv\)",
        3,
    ),
    "too short": (
        lambda folder: write_parquet(folder / "train_eegs" / "12.parquet", eeg_table(11)),
        r"12\.parquet: 2,200 samples; expected at least 2,400: 12 s at 200 Hz \(line 5 of train\.csv\)",
        3,
    ),
    "beyond the recording": (
        lambda folder: write_parquet(folder / "train_eegs" / "12.parquet", eeg_table(17)),
        r"12\.parquet: the segment from 8 to 20 s ends beyond the recording, .* \(line 7 of train\.csv\)",
        1,
    ),
    "channel without a value": (
        lambda folder: write_parquet(
            folder / "train_eegs" / "12.parquet", eeg_table().assign(T3=np.r_[np.full(3200, np.nan), np.arange(800)])
        ),
        r"12\.parquet: no value of T3 from 0 to 12 s \(line 5 of train\.csv\)",
        2,
    ),
    "every channel masked": (
        lambda folder: write_parquet(folder / "train_eegs" / "12.parquet", 0 * eeg_table() + 3),
        r"12\.parquet: no channel can be used in the segment from 0 s: .* \(line 5 of train\.csv\)",
        3,
    ),
    "wrong columns": (
        lambda folder: write_parquet(
            folder / "train_spectrograms" / "912.parquet", spectrogram_table().drop(columns="time")
        ),
        r"912\.parquet: no column time; it has .* \(line 5 of train\.csv\)",
        3,
    ),
    "no spectrogram value": (
        lambda folder: write_parquet(
            folder / "train_spectrograms" / "912.parquet",
            spectrogram_table().assign(**{name: np.nan for name in spectrogram_table() if name != "time"}),
        ),
        r"912\.parquet: no value in the segment from 0 s: .* \(line 5 of train\.csv\)",
        3,
    ),
    "negative power": (
        lambda folder: write_parquet(
            folder / "train_spectrograms" / "912.parquet", spectrogram_table().assign(**{"LL_0.59": -1.0})
        ),
        r"912\.parquet: LL_0\.59 is -1 at 1 s; .* \(line 5 of train\.csv\)",
        3,
    ),
}


def refused(folder, output, message, source=None, **keys):
    output.mkdir()
    with pytest.raises(ConsilienceError, match=message) as caught:
        made(folder, output / "dataset.h5", source, **keys)
    assert "\n" not in str(caught.value)
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("reason", FAULTS)
def test_a_recording_that_cannot_be_used_is_refused_or_left_out(example, tmp_path, reason):
    damage, message, rows = FAULTS[reason]
    folder, _ = write_folder(tmp_path / "raw")
    damage(folder)
    refused(folder, tmp_path / "out", message + "; source.unusable: drop leaves such rows out$")
    _, _, (inputs, target, samples, *_) = example
    found, found_target, found_samples, _, audit, _ = made(folder, tmp_path / "dataset.h5", {"unusable": "drop"})
    kept = samples["id"].isin(found_samples["id"]).to_numpy()
    assert found_samples["id"].tolist() == samples["id"][kept].tolist()
    assert set(samples["eeg_id"][~kept]) == {"12"}
    assert (~kept).sum() == rows
    same = kept & (samples["eeg_id"] != "12").to_numpy()
    for name in BRANCHES:
        own = found[name][0][(found_samples["eeg_id"] != "12").to_numpy()]
        np.testing.assert_array_equal(own, inputs[name][0][same])
    np.testing.assert_array_equal(found_target, target[kept])
    step, detail = audit[audit["step"] == "unusable"].to_dict("records")
    assert (step["samples_before"], step["samples_after"]) == (9, 9 - rows)
    assert (detail["rule"], detail["samples_before"], detail["samples_after"]) == (reason, 9, rows)
    assert detail["note"].startswith("first: ")
    assert pd.Series(detail["note"]).str.contains(message).all()


def test_only_recordings_that_are_used_are_in_the_digest(tmp_path):
    folder, _ = write_folder(tmp_path / "raw")
    (folder / "train_eegs" / "12.parquet").unlink()
    facts = made(folder, tmp_path / "dataset.h5", {"unusable": "drop"})[3]
    files = [f"train_{kind}.parquet" for kind in ("eegs/11", "eegs/13", "spectrograms/911", "spectrograms/913")]
    digest = "\n".join([sha256(folder / "train.csv"), *(f"{name} {sha256(folder / name)}" for name in files)])
    assert facts["source_sha256"] == hashlib.sha256(digest.encode()).hexdigest()


def test_nothing_that_can_be_used_is_refused(tmp_path):
    folder, _ = write_folder(tmp_path / "raw")
    for path in (folder / "train_eegs").iterdir():
        path.unlink()
    write_parquet(folder / "train_eegs" / "13.parquet", eeg_table(1))
    refused(
        folder,
        tmp_path / "out",
        r"train\.csv: no row can be used \(missing file 6, too short 3\); first: \S+11\.parquet: no such file",
        {"unusable": "drop"},
    )


def test_a_class_that_no_row_has_most_votes_for_is_refused(tmp_path):
    labels = labels_table().assign(seizure_vote=2, lpd_vote=3, other_vote=1)
    labels.loc[0, "seizure_vote"] = 9
    folder, _ = write_folder(tmp_path / "raw", labels)
    message = r"train\.csv: none of 9 rows has most votes in other_vote; expected some of every class"
    with pytest.raises(ConsilienceError, match=message):
        made(folder, tmp_path / "dataset.h5")
    assert not (tmp_path / "dataset.h5").exists()


def test_files_that_are_missing_are_told_before_the_first_is_read(tmp_path):
    folder, labels = write_folder(tmp_path / "raw")
    (folder / "train_eegs" / "11.parquet").write_bytes(b"no parquet")
    (folder / "train_eegs" / "13.parquet").unlink()
    (folder / "train_spectrograms" / "912.parquet").unlink()
    line = 2 + labels["eeg_id"].eq(12).idxmax()
    message = rf"912\.parquet: no such file \(1 more are missing\) \(line {line} of train\.csv\); source\.unusable"
    with pytest.raises(ConsilienceError, match=message):
        made(folder, tmp_path / "dataset.h5")


@pytest.mark.parametrize("unusable", ["refuse", "drop"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seizure_vote": 0, "lpd_vote": 0, "other_vote": 0}, "line 2: seizure_vote, lpd_vote, other_vote sum to 0"),
        ({"seizure_vote": -1}, "line 2: seizure_vote is '-1'"),
        ({"patient_id": range(9)}, "line 3: patient_id is '1'; expected '0', whose eeg_id 11 is in line 2"),
        ({"label_id": 5}, "line 3: label_id is '5'"),
    ],
)
def test_faults_of_the_labels_are_refused_whatever_becomes_of_recordings(tmp_path, unusable, change, message):
    write_labels(tmp_path / "raw", labels_table().assign(**change))
    refused(tmp_path / "raw", tmp_path / "out", rf"train\.csv: {message}", {"unusable": unusable})


def test_a_folder_without_labels_is_refused(tmp_path):
    (tmp_path / "raw").mkdir()
    refused(tmp_path / "raw", tmp_path / "out", r"raw/train\.csv: cannot be read \(No such file or directory\)")


@pytest.mark.parametrize(
    ("source", "keys", "message"),
    [
        ({"eeg_seconds": 3.5}, {}, r"^source\.eeg_seconds: 3\.5; expected at least window, 4$"),
        ({"spectrogram_seconds": 3}, {}, r"^source\.spectrogram_seconds: 3; expected at least window, 4$"),
        ({"eeg_seconds": 12.0001}, {}, r"^source\.eeg_seconds: 12\.0001; expected seconds in steps of 1/200"),
        ({}, {"stride": 1e-9}, r"^stride: 1e-09; expected seconds in steps of 1/200, a sample$"),
        ({}, {"stride": 0.001}, r"^stride: 0\.001; expected seconds in steps of 1/200, a sample$"),
        ({}, {"window": 1.5}, r"^window: 1\.5; expected at least 2 seconds with graph: adjacency, since spectra come"),
        (
            {},
            {"window": 2.5, "graph": "coherence"},
            r"^window: 2\.5; expected at least 4 seconds with graph: coherence",
        ),
    ],
)
def test_windows_that_do_not_fit_are_refused_before_anything_is_read(tmp_path, source, keys, message):
    refused(tmp_path / "absent", tmp_path / "out", message, source, **keys)


@pytest.mark.parametrize(("graph", "window"), [("adjacency", 2), ("coherence", 4)])
def test_segments_of_one_window_of_the_least_length_are_made(tmp_path, graph, window):
    folder, _ = write_folder(tmp_path / "raw", labels_table(eegs=(11,)))
    source = {"eeg_seconds": window, "spectrogram_seconds": window}
    inputs, *_ = made(folder, tmp_path / "dataset.h5", source, graph=graph, window=window)
    assert inputs["eeg"][0].shape == (3, 1, 19, 5)
    assert inputs["spectrogram"][0].shape == (3, 1, 4, 4)


def test_a_failure_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError("no space left")

    folder, _ = write_folder(tmp_path / "raw")
    monkeypatch.setattr(DatasetWriter, "append", broken)
    (tmp_path / "out").mkdir()
    with pytest.raises(OSError, match="no space left"):
        made(folder, tmp_path / "out" / "dataset.h5")
    assert list((tmp_path / "out").iterdir()) == []


# --- beside other parts


def test_a_study_file_gives_the_settings(tmp_path):
    folder, _ = write_folder(tmp_path / "raw")
    study = tmp_path / "study.yaml"
    study.write_text(
        "domain: eeg\nsource: {kind: hms, path: raw, eeg_seconds: 12, spectrogram_seconds: 20}\n"
        "window: 4\nstride: 2\nmodels: small\n"
    )
    loaded = load_study(study)
    prepare([folder], loaded.preparation, tmp_path / "study.h5", loaded.settings["seed"])
    made(folder, tmp_path / "own.h5")
    assert (tmp_path / "study.h5").read_bytes() == (tmp_path / "own.h5").read_bytes()


def test_simulated_folders_are_read_by_what_they_hold(tmp_path):
    source = {
        "kind": "simulate", "patients": 6, "segments": 2, "classes": 3, "amplitude": 1.0, "disagreement": 0.2,
        "patient_offset": 0.1, "bad_channels": 0.2, "eeg_seconds": 12, "spectrogram_seconds": 20,
    }  # fmt: skip
    simulate(tmp_path / "raw", {"source": source, "window": 4, "stride": 2, "seed": 0}, 0)
    settings = settings_of() | {"source": source}
    audit = prepare(sorted((tmp_path / "raw").iterdir()), settings, tmp_path / "dataset.h5", 0)
    with Dataset.open(tmp_path / "dataset.h5") as data:
        assert len(data) == audit["samples_after"].iloc[-1] == 12
        assert data.file.attrs["source"] == "simulate"
        assert data.classes == ["seizure", "lpd", "gpd"]
        assert data.mask("eeg").any()


def test_a_fault_of_a_simulated_folder_offers_no_key_that_its_source_lacks(tmp_path):
    folder, _ = write_folder(tmp_path / "raw")
    (folder / "train_eegs" / "12.parquet").unlink()
    settings = settings_of()
    settings["source"] = {"kind": "simulate", "eeg_seconds": 12, "spectrogram_seconds": 20}
    with pytest.raises(ConsilienceError, match=r"no such file \(line 5 of train\.csv\)$"):
        prepare([folder], settings, tmp_path / "dataset.h5", 0)


def test_a_split_by_patient_keeps_recordings_together(tmp_path):
    labels = labels_table(eegs=range(11, 31), rows=2)
    _, _, samples, *_ = made(write_folder(tmp_path / "raw", labels)[0], tmp_path / "dataset.h5")
    settings = {"mode": "auto", "group": "patient_id", "train": 0.5, "validation": 0.25, "test": 0.25}
    # Classes are few here: the split's own check of them is not asked.
    split = assign(samples, settings | {"salt": "a"}, np.zeros(len(samples), int))
    roles = samples.assign(role=split["role"].to_numpy()).groupby(["eeg_id"])["role"].nunique()
    assert (roles == 1).all()
    assert split["role"].nunique() == 3
