"""The dataset holds the windows of every labelled segment, with what is bad masked and counted."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from consilience.dataset import Dataset
from consilience.dataset_writer import DatasetWriter
from consilience.domains.eeg.montage import BANDS, CHANNELS, REGIONS, SPECTROGRAM_BANDS
from consilience.domains.eeg.recordings import Recording
from consilience.domains.eeg.signals import eeg_windows
from consilience.files import sha256
from tests.unit.eeg_dataset_examples import BRANCHES, made, made_example
from tests.unit.eeg_examples import (
    CLASSES,
    EEG_WINDOWS,
    SPECTROGRAM_WINDOWS,
    eeg_table,
    labels_table,
    spectrogram_by_hand,
    spectrogram_table,
    write_folder,
    write_labels,
    write_parquet,
)

VOTES = [f"{name}_vote" for name in CLASSES]


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return made_example(tmp_path_factory.mktemp("eeg") / "raw")


def window_reference(folder, row, **keys):
    """The windows of a row of train.csv, from the whole recordings."""
    table = pd.read_parquet(folder / "train_eegs" / f"{row['eeg_id']}.parquet")
    start = round(row["eeg_label_offset_seconds"] * 200)
    values = table[list(CHANNELS)].to_numpy().T[:, start : start + 2400]
    limits = keys.get("flat", 0.1), keys.get("deviation", 5)
    return eeg_windows(values, 800, 400, EEG_WINDOWS, keys.get("line", 60), *limits, keys.get("threshold"))


def test_a_dataset_is_what_the_recordings_hold(example):
    folder, labels, (inputs, target, samples, *_) = example
    assert len(labels) == len(samples) == len(target) == 9
    for place, row in labels.iterrows():
        found = window_reference(folder, row)
        np.testing.assert_allclose(inputs["eeg"][0][place], found.power, atol=1e-5)
        np.testing.assert_array_equal(inputs["eeg"][1][place], found.absent)
        table = pd.read_parquet(folder / "train_spectrograms" / f"{row['spectrogram_id']}.parquet")
        expected = spectrogram_by_hand(table, row["spectrogram_label_offset_seconds"], SPECTROGRAM_WINDOWS)
        np.testing.assert_allclose(inputs["spectrogram"][0][place], expected, atol=1e-5)
        assert samples["trivial_amplitude"][place] == pytest.approx(found.amplitude)
    assert inputs["eeg"][0].shape == (9, 5, 19, 5)
    assert inputs["spectrogram"][0].shape == (9, 9, 4, 4)
    # Every recording and segment is another one.
    assert len(np.unique(inputs["eeg"][0].reshape(9, -1), axis=0)) == 9


def test_samples_and_target_are_those_of_the_labels(example):
    folder, labels, (_, target, samples, facts, _, auxiliary) = example
    assert list(samples) == [
        *("id", "patient_id", "eeg_id", "spectrogram_id", "eeg_label_offset_seconds"),
        *("spectrogram_label_offset_seconds", "expert_consensus", "weight", "entropy", "trivial_amplitude"),
    ]
    for ours, theirs in (("id", "label_id"), *((name, name) for name in list(samples)[1:4])):
        assert samples[ours].tolist() == labels[theirs].astype(str).tolist()
    for name in ("eeg_label_offset_seconds", "spectrogram_label_offset_seconds", "expert_consensus"):
        assert samples[name].tolist() == labels[name].tolist()
    votes = labels[VOTES].to_numpy()
    assert samples["weight"].tolist() == votes.sum(axis=1).tolist()
    np.testing.assert_allclose(target, votes / votes.sum(axis=1, keepdims=True))
    for entropy, own in zip(samples["entropy"], target, strict=True):
        assert entropy == pytest.approx(-sum(p * np.log(p) for p in own if p > 0) / np.log(3))
    assert (facts["task"], facts["target"], facts["source"]) == ("votes", "pattern", "raw")
    assert facts["unit"] == "log10 microvolt^2 (EEG), log10 power (spectrogram)"
    files = [f"train_{kind}/{name}.parquet" for kind, more in (("eegs", 0), ("spectrograms", 900)) for name in (11 + more, 12 + more, 13 + more)]  # fmt: skip
    digest = "\n".join([sha256(folder / "train.csv"), *(f"{name} {sha256(folder / name)}" for name in files)])
    assert facts["source_sha256"] == hashlib.sha256(digest.encode()).hexdigest()
    assert auxiliary == {}
    assert sorted(path.name for path in folder.parent.iterdir()) == ["dataset.h5", "raw"]


def test_features_are_channels_and_regions_by_band(example):
    folder, *_ = example
    with Dataset.open(folder.parent / "dataset.h5") as data:
        assert data.classes == CLASSES
        features = data.features
        assert list(features) == ["name", "branch", "node", "band", "low", "high"]
        assert len(features) == 111
        for name, nodes, bands, count in (
            ("eeg", CHANNELS, BANDS, EEG_WINDOWS), ("spectrogram", REGIONS, SPECTROGRAM_BANDS, SPECTROGRAM_WINDOWS),
        ):  # fmt: skip
            branch = data.branches[name]
            assert (branch.shape, branch.scaling, branch.reduce) == ((count, len(nodes), len(bands)), "band", "mean")
            for place, node in enumerate(nodes):
                for number, (band, (low, high)) in enumerate(bands.items()):
                    (unit,) = set(branch.units[:, place, number].tolist())
                    expected = [f"{node} {band}", name, node, band, low, high]
                    assert features.loc[unit].tolist() == expected
        assert {"T3 theta", "LL delta"} < set(features["name"])


def test_the_audit_tells_of_rows_and_masks(example):
    *_, (_, _, _, _, audit, _) = example
    assert audit["step"].tolist() == [
        *("source", *["masked channels"] * 5, "masked spectrogram", "power floor", "dataset")
    ]
    assert audit["note"].iloc[0] == "3 EEGs of 2 patients"
    assert audit["samples_after"].tolist() == [9, *[0] * 7, 9]
    assert (audit["features_after"] == 111).all()
    assert audit["note"].iloc[1] == "0.00% of all values"
    assert set(audit["note"].iloc[2:6]) == {"0 of 171 (row, channel)"}
    assert audit["note"].iloc[6:8].tolist() == ["0 of 81 (row, window)", "0 of 1296 values"]


def damaged(folder):
    """Recordings of which channels are flat, loud, torn and silent for a while; spectrograms with holes."""
    folder, labels = write_folder(folder)
    table = eeg_table(seed=11)
    table["F3"] = np.float32(7)
    table["O1"] *= 60
    table.loc[3000:3099, "Pz"] = np.nan  # 15 to 15.5 s: in segments from 4 and 8 s on
    table.loc[1000:1999, "T4"] = np.float32(-2)  # 5 to 10 s
    write_parquet(folder / "train_eegs" / "11.parquet", table)
    spectrogram = spectrogram_table(seed=912)
    spectrogram.loc[2:4, "LL_0.59"] = np.nan  # 5 to 9 s: the delta band
    spectrogram.loc[:, [name for name in spectrogram if name[:3] == "RP_" and float(name[3:]) >= 13]] = 0
    write_parquet(folder / "train_spectrograms" / "912.parquet", spectrogram)
    spectrogram = spectrogram_table(seed=913)
    spectrogram.loc[:1, "RL_9.95"] = np.inf  # 1 and 3 s: one window of one segment
    write_parquet(folder / "train_spectrograms" / "913.parquet", spectrogram)
    return folder, labels


def test_what_is_bad_is_masked_and_counted(tmp_path):
    folder, labels = damaged(tmp_path / "raw")
    inputs, _, samples, _, audit, _ = made(folder, tmp_path / "dataset.h5")
    values, mask = inputs["eeg"]
    for place, row in labels.iterrows():
        found = window_reference(folder, row)
        np.testing.assert_array_equal(mask[place], found.absent)
        np.testing.assert_allclose(values[place], found.power, atol=1e-5)
        assert samples["trivial_amplitude"][place] == pytest.approx(found.amplitude)
    f3, o1, pz, t4 = (CHANNELS.index(name) for name in ("F3", "O1", "Pz", "T4"))
    assert mask[:3, :, [f3, o1]].all()
    assert mask[:3, :, pz].all(axis=2).tolist() == [
        [False] * 5,
        [False] * 4 + [True],
        [False, False, True, True, False],
    ]
    assert np.flatnonzero(mask[0, :, t4].all(axis=1)).tolist() == [2, 3]  # 4 to 8 and 6 to 10 s, flat from 5 to 10 s
    assert not mask[3:].any()
    assert (values[mask] == 0).all()
    notes = audit["note"].tolist()
    assert notes[1] == f"{mask.mean():.2%} of all values"
    assert audit["samples_after"].tolist()[1:6] == [3, 3, 3, 2, 2]
    assert notes[2:6] == [f"{count} of 171 (row, channel)" for count in (3, 3, 2, 2)]
    assert audit["rule"].iloc[2] == "robust standard deviation in the segment not above 0.1 microvolts"
    absent = inputs["spectrogram"][1]
    for place, row in labels.iterrows():
        table = pd.read_parquet(folder / "train_spectrograms" / f"{row['spectrogram_id']}.parquet")
        expected = spectrogram_by_hand(table, row["spectrogram_label_offset_seconds"], SPECTROGRAM_WINDOWS)
        np.testing.assert_array_equal(absent[place], np.isnan(expected))
        np.testing.assert_allclose(inputs["spectrogram"][0][place], np.nan_to_num(expected), atol=1e-5)
    empty = absent.any(axis=(2, 3)).sum()
    assert notes[6:8] == [f"{empty} of 81 (row, window)", "27 of 1296 values"]
    assert absent.any(axis=(2, 3)).sum(axis=1)[6:].tolist() == [1, 0, 0]
    assert audit["samples_after"].tolist()[6:8] == [(absent.any(axis=(1, 2, 3))).sum(), 3]
    assert audit["rule"].iloc[7] == "mean power below 0.0001 counts as that"


@pytest.mark.parametrize("limits", [{"flat": 12, "deviation": 5}, {"flat": 0.1, "deviation": 1.5}])
def test_the_mains_and_what_is_bad_are_the_studys(tmp_path, limits):
    folder, labels = damaged(tmp_path / "raw")
    inputs, *_, audit, _ = made(folder, tmp_path / "dataset.h5", line_frequency=50, bad_channels=limits)
    for place, row in labels.iterrows():
        found = window_reference(folder, row, line=50, **limits)
        np.testing.assert_array_equal(inputs["eeg"][1][place], found.absent)
        np.testing.assert_allclose(inputs["eeg"][0][place], found.power, atol=1e-5)
    # More than with the usual limits, which leave rows 3 to 8 whole.
    assert inputs["eeg"][1][3:].any()
    assert f"{limits['flat']:g} microvolts" in audit["rule"].iloc[2]
    assert f"more than {limits['deviation']:g} robust" in audit["rule"].iloc[3]


def test_coherence_is_written_where_it_is_the_graph(tmp_path):
    folder, labels = damaged(tmp_path / "raw")
    inputs, *_, auxiliary = made(folder, tmp_path / "dataset.h5", graph="coherence", coherence_threshold=0.2)
    assert list(auxiliary) == ["coherence"]
    assert auxiliary["coherence"].shape == (9, EEG_WINDOWS, 19, 19)
    assert auxiliary["coherence"].dtype == np.float32
    for place, row in labels.iterrows():
        expected = window_reference(folder, row, threshold=0.2).coherence
        assert expected.any()
        np.testing.assert_allclose(auxiliary["coherence"][place], expected, atol=1e-6)
    absent = inputs["eeg"][1].all(axis=3)
    assert not auxiliary["coherence"][absent].any()


def test_blocks_change_no_byte(tmp_path, monkeypatch):
    starts, append = [], DatasetWriter.append

    def spy(writer, branch, block, mask=None):
        starts.append((branch, len(block)))
        append(writer, branch, block, mask)

    folder, _ = damaged(tmp_path / "raw")
    # Two samples a chunk, so that a few samples make several blocks.
    monkeypatch.setattr("consilience.dataset_writer.CHUNK_BYTES", 2 * 4 * 475)
    made(folder, tmp_path / "whole.h5", graph="coherence")
    monkeypatch.setattr(DatasetWriter, "append", spy)
    made(folder, tmp_path / "parts.h5", graph="coherence", memory=1)
    assert starts == [("eeg", rows) for rows in (2, 2, 2, 2, 1)] + [("spectrogram", 6), ("spectrogram", 3)]
    assert (tmp_path / "whole.h5").read_bytes() == (tmp_path / "parts.h5").read_bytes()


def test_row_groups_change_no_value(tmp_path):
    results = []
    for size in (None, 4000, 900):
        folder, _ = write_folder(tmp_path / str(size) / "raw", row_group_size=size)
        results.append(made(folder, tmp_path / f"{size}.h5")[0])
    for found in results[1:]:
        for name in BRANCHES:
            np.testing.assert_array_equal(found[name][0], results[0][name][0])


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_rows_changes_nothing_but_the_order(example, tmp_path, seed):
    folder, labels, (inputs, target, samples, *_) = example
    (tmp_path / "raw").mkdir()
    for name in ("train_eegs", "train_spectrograms"):
        (tmp_path / "raw" / name).symlink_to(folder / name)
    shuffled = labels.sample(frac=1, random_state=seed)
    write_labels(tmp_path / "raw", shuffled)
    other, other_target, other_samples, *_ = made(tmp_path / "raw", tmp_path / "dataset.h5")
    # Those of one EEG stand together, in the order of the table.
    order = [str(name) for eeg in dict.fromkeys(shuffled["eeg_id"]) for name in shuffled.loc[shuffled["eeg_id"] == eeg, "label_id"]]  # fmt: skip
    assert other_samples["id"].tolist() == order
    places = samples.set_index("id").assign(place=range(9))["place"].loc[order].to_numpy()
    for name in BRANCHES:
        np.testing.assert_array_equal(other[name][0], inputs[name][0][places])
        np.testing.assert_array_equal(other[name][1], inputs[name][1][places])
    np.testing.assert_array_equal(other_target, target[places])
    for column in samples:
        assert other_samples[column].tolist() == samples[column].iloc[places].tolist()


def test_each_recording_is_opened_once(tmp_path, monkeypatch):
    opened, original = [], Recording.__init__

    def spy(recording, path):
        opened.append(path.stem)
        original(recording, path)

    monkeypatch.setattr(Recording, "__init__", spy)
    folder, labels = write_folder(tmp_path / "raw")
    write_labels(folder, labels.sample(frac=1, random_state=0))
    made(folder, tmp_path / "dataset.h5")
    assert sorted(opened) == ["11", "12", "13", "911", "912", "913"]


def test_missing_values_in_one_channel_change_no_other(example, tmp_path):
    _, _, (inputs, *_) = example
    folder, _ = write_folder(tmp_path / "raw")
    table = eeg_table(seed=12)
    table.loc[100:700, "C3"] = np.nan
    write_parquet(folder / "train_eegs" / "12.parquet", table)
    other = made(folder, tmp_path / "dataset.h5")[0]
    c3 = CHANNELS.index("C3")
    np.testing.assert_array_equal(np.delete(other["eeg"][0], c3, axis=2), np.delete(inputs["eeg"][0], c3, axis=2))
    assert not np.delete(other["eeg"][1], c3, axis=2).any()
    assert other["eeg"][1][3, :, c3].all(axis=1).tolist() == [True, True, False, False, False]


def test_distinct_rows_are_one_of_those_that_repeat(tmp_path):
    votes = pd.DataFrame(
        {"eeg_id": [11, 12, 13], "seizure_vote": [2, 0, 1], "lpd_vote": [1, 3, 0], "other_vote": [0, 0, 2]}
    )
    labels = labels_table(rows=3).drop(columns=["seizure_vote", "lpd_vote", "other_vote"]).merge(votes, on="eeg_id")
    folder, _ = write_folder(tmp_path / "raw", labels)
    _, target, samples, _, audit, _ = made(folder, tmp_path / "dataset.h5", {"rows": "distinct"})
    assert samples["id"].tolist() == ["11001", "12001", "13001"]
    np.testing.assert_allclose(target, [[2 / 3, 1 / 3, 0], [0, 1, 0], [1 / 3, 0, 2 / 3]])
    step = audit.set_index("step").loc["distinct"]
    assert step[["samples_before", "samples_after"]].tolist() == [9, 3]


def test_optional_columns_may_be_absent(tmp_path):
    folder, labels = write_folder(tmp_path / "raw")
    write_labels(folder, labels.drop(columns=["expert_consensus", "label_id"]))
    _, _, samples, *_ = made(folder, tmp_path / "dataset.h5")
    assert "expert_consensus" not in samples
    assert samples["id"].tolist() == [f"{eeg}_{line}" for line, eeg in enumerate(labels["eeg_id"], 2)]
