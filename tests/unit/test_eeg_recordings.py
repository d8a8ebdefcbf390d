"""Segments are what the files hold, read by few row groups; whatever is wrong with a file is told in one line."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consilience.domains.eeg.montage import CHANNELS, REGIONS, SPECTROGRAM_BANDS
from consilience.domains.eeg.recordings import Eeg, Recording, Spectrogram, UnusableError
from tests.unit.eeg_examples import FREQUENCIES, eeg_table, spectrogram_table, write_parquet


@pytest.mark.parametrize("row_group_size", [None, 4000, 700, 333])
@pytest.mark.parametrize(("offset", "seconds"), [(0, 12), (3.25, 12), (8, 12), (0, 20), (19.995, 0.005)])
def test_a_segment_of_eeg_is_what_the_file_holds(tmp_path, row_group_size, offset, seconds):
    table = eeg_table(seed=1)
    path = write_parquet(tmp_path / "1.parquet", table, row_group_size)
    with Eeg(path) as recording:
        assert len(recording) == 4000
        found = recording.segment(offset, seconds)
    start = round(offset * 200)
    expected = table[list(CHANNELS)].to_numpy().T[:, start : start + round(seconds * 200)]
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32


def test_channels_stand_in_the_montages_order_and_others_are_ignored(tmp_path):
    table = eeg_table(seed=2)
    shuffled = table.sample(frac=1, axis=1, random_state=0).assign(note="x")
    with Eeg(write_parquet(tmp_path / "1.parquet", shuffled)) as recording:
        np.testing.assert_array_equal(recording.segment(1, 2), table[list(CHANNELS)].to_numpy().T[:, 200:600])


def test_offsets_are_rounded_to_samples(tmp_path):
    table = eeg_table(seed=2)
    with Eeg(write_parquet(tmp_path / "1.parquet", table)) as recording:
        for offset, start in ((0.0024, 0), (0.0026, 1), (1.9999, 400)):
            assert recording.segment(offset, 1)[0, 0] == table["Fp1"].iloc[start]


def test_whole_numbers_doubles_and_nulls_are_values_and_gaps(tmp_path):
    table = eeg_table(seed=3).astype(np.float64)
    columns = {name: pa.array(table[name]) for name in table}
    columns["T3"] = pa.array([None, *range(3999)], pa.int64())
    columns["O2"] = pa.array([1.5, None, np.nan, *table["O2"][3:]], pa.float64())
    pq.write_table(pa.table(columns), tmp_path / "1.parquet")
    with Eeg(tmp_path / "1.parquet") as recording:
        found = recording.segment(0, 1)
    np.testing.assert_array_equal(found[CHANNELS.index("T3")], [np.nan, *range(199)])
    np.testing.assert_array_equal(found[CHANNELS.index("O2"), :3], [1.5, np.nan, np.nan])
    assert found[0, 7] == table["Fp1"][7]


def test_only_row_groups_that_a_segment_needs_are_read_and_the_last_are_kept(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "1.parquet", eeg_table(), 500)
    read, original = [], Recording.read

    def spy(recording, group, columns):
        read.append(group)
        assert columns == list(CHANNELS)
        return original(recording, group, columns)

    monkeypatch.setattr(Recording, "read", spy)
    with Eeg(path) as recording:
        for offset, groups in ((0, [0, 1]), (1, [2]), (1, []), (5, []), (7.5, [3]), (12.5, [5]), (0, [0, 1])):
            read.clear()
            recording.segment(offset, 5 if offset < 2 else 2.5)
            assert read == groups, offset
            assert len(recording.groups) <= 3
    assert recording.groups == {}


def test_row_groups_without_rows_do_no_harm(tmp_path):
    table = pa.Table.from_pandas(eeg_table(seed=4), preserve_index=False)
    with pq.ParquetWriter(tmp_path / "1.parquet", table.schema) as writer:
        for part in (table[:0], table[:900], table[:0], table[900:]):
            writer.write_table(part)
    with Eeg(tmp_path / "1.parquet") as recording:
        np.testing.assert_array_equal(recording.segment(4, 1)[0], table.column("Fp1").to_numpy()[800:1000])


def refused(call, message, reason):
    with pytest.raises(UnusableError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert caught.value.reason == reason


@pytest.mark.parametrize("kind", [Eeg, Spectrogram])
def test_a_file_that_is_absent_or_no_parquet_is_one_line(tmp_path, kind):
    path = tmp_path / "7.parquet"
    refused(lambda: kind(path), rf"^{path}: no such file$", "missing file")
    path.write_text("no parquet, whatever its name")
    refused(lambda: kind(path), rf"^{path}: not a readable parquet file \(.+\)$", "unreadable file")
    path.write_bytes(b"")
    refused(lambda: kind(path), rf"^{path}: not a readable parquet file \(.+\)$", "unreadable file")
    write_parquet(path, eeg_table() if kind is Eeg else spectrogram_table())
    path.write_bytes(path.read_bytes()[:-100])
    refused(lambda: kind(path), rf"^{path}: not a readable parquet file \(.+\)$", "unreadable file")


def test_a_file_that_is_damaged_inside_is_one_line(tmp_path):
    path = write_parquet(tmp_path / "7.parquet", eeg_table(), compression="zstd")
    content = bytearray(path.read_bytes())
    content[2000:6000] = bytes(4000)
    path.write_bytes(content)
    with Eeg(path) as recording:
        refused(lambda: recording.segment(0, 12), rf"^{path}: not a readable parquet file \(", "unreadable file")


def test_what_pyarrow_tells_becomes_one_line(tmp_path):
    path = write_parquet(tmp_path / "7.parquet", eeg_table(1))
    with Eeg(path) as recording:
        assert (
            str(recording.unreadable(OSError("corrupt\n  page")))
            == f"{path}: not a readable parquet file (corrupt page)"
        )


def test_channels_that_are_missing_are_named(tmp_path):
    path = write_parquet(tmp_path / "7.parquet", eeg_table().drop(columns=["T3", "O2"]).rename(columns={"Cz": "CZ"}))
    refused(
        lambda: Eeg(path),
        rf"^{path}: no channel T3, Cz, O2; it has Fp1, F3, .*CZ, .*EKG; expected Fp1, .*, O2$",
        "missing channels",
    )


def test_very_many_columns_are_not_all_told(tmp_path):
    path = write_parquet(tmp_path / "7.parquet", spectrogram_table())
    refused(lambda: Eeg(path), r"no channel .*; it has time, LL_0.59, .* and 71 more; expected", "missing channels")


def test_columns_of_text_and_columns_that_repeat_are_refused(tmp_path):
    path = write_parquet(tmp_path / "7.parquet", eeg_table().assign(Pz="loose"))
    refused(lambda: Eeg(path), rf"^{path}: the column Pz holds .*string.*; expected numbers$", "wrong columns")
    table = pa.Table.from_pandas(eeg_table(), preserve_index=False)
    pq.write_table(table.append_column("Pz", table.column("Cz")), path)
    refused(lambda: Eeg(path), rf"^{path}: the column Pz repeats; expected it once$", "wrong columns")
    path = write_parquet(tmp_path / "8.parquet", spectrogram_table().assign(time="noon"))
    refused(lambda: Spectrogram(path), rf"^{path}: the column time holds .*; expected numbers$", "wrong columns")


def test_segments_beyond_the_recording_are_refused(tmp_path):
    path = write_parquet(tmp_path / "7.parquet", eeg_table(45))
    with Eeg(path) as recording:
        refused(
            lambda: recording.segment(0, 50),
            rf"^{path}: 9,000 samples; expected at least 10,000: 50 s at 200 Hz$",
            "too short",
        )
        recording.segment(5, 40)
        refused(
            lambda: recording.segment(5.005, 40),
            rf"^{path}: the segment from 5.005 to 45.005 s ends beyond the recording, whose 9,000 samples are 45 s$",
            "beyond the recording",
        )
        refused(lambda: recording.segment(1e6, 40), "from 1000000 to 1000040 s ends beyond", "beyond the recording")


def test_a_channel_without_one_value_in_the_segment_is_refused(tmp_path):
    table = eeg_table()
    table.loc[1000:3000, ["F3", "O1"]] = np.nan
    table.loc[1500, "O1"] = 3
    table.loc[1000:3000, "T4"] = np.inf
    path = write_parquet(tmp_path / "7.parquet", table)
    with Eeg(path) as recording:
        refused(
            lambda: recording.segment(5, 10), rf"^{path}: no value of F3, T4 from 5 to 15 s$", "channel without a value"
        )
        assert np.isnan(recording.segment(4, 10)).any()


@pytest.mark.parametrize("row_group_size", [None, 4, 1])
def test_a_segment_of_a_spectrogram_is_what_the_file_holds(tmp_path, row_group_size):
    table = spectrogram_table(seed=1)
    path = write_parquet(tmp_path / "1.parquet", table.sample(frac=1, axis=1, random_state=0), row_group_size)
    with Spectrogram(path) as recording:
        assert recording.times.tolist() == table["time"].tolist()
        times, power = recording.segment(4.5, 20, 4)
        rows = table[(table["time"] >= 4.5) & (table["time"] < 24.5)]
        np.testing.assert_array_equal(times, rows["time"] - 4.5)
        np.testing.assert_array_equal(power.T, rows[recording.columns])
        # A row at the offset belongs to the segment, one at its end does not.
        assert recording.segment(5, 20, 4)[0].tolist() == list(range(0, 20, 2))


def test_bins_are_found_by_region_and_band(tmp_path):
    table = spectrogram_table().sample(frac=1, axis=1, random_state=0)
    # The bounds of bands, frequencies of no band, a region of no chain.
    extra = {"LL_4": 4.0, "LL_8.0": 8.0, "LL_13.00": 13.0, "RP_20": 20.0, "RP_0.5": 0.5, "LL_0.49": 1, "RP_20.01": 2}
    table = table.assign(**extra, XX_5=1.0, LL=3.0)
    with Spectrogram(write_parquet(tmp_path / "1.parquet", table)) as recording:
        assert {"LL_0.49", "RP_20.01", "XX_5", "time", "LL"}.isdisjoint(recording.columns)
        assert len(recording.columns) == 4 * len(FREQUENCIES) + 5
        for own, region in zip(recording.bins, REGIONS, strict=True):
            for places, (name, (low, high)) in zip(own, SPECTROGRAM_BANDS.items(), strict=True):
                expected = {
                    column
                    for column in recording.columns
                    if column[:2] == region
                    and (low <= float(column[3:]) < high or (name == "beta" and float(column[3:]) == 20))
                }
                assert {recording.columns[place] for place in places} == expected


@pytest.mark.parametrize(
    ("change", "message", "reason"),
    [
        (lambda table: table.drop(columns="time"), "no column time; it has LL_0.59, .* and 70 more", "wrong columns"),
        (
            lambda table: table.drop(columns=[name for name in table if name.startswith(("RL", "RP"))]),
            "no bin of RL, RP; it has time, .*; expected <region>_<Hz> from 0.5 to 20 Hz for LL, RL, LP, RP$",
            "wrong columns",
        ),
        (
            lambda table: table.drop(columns=[name for name in table if name[:3] == "LP_" and float(name[3:]) >= 8]),
            "no bin of LP alpha, LP beta; it has",
            "wrong columns",
        ),
        (
            lambda table: table.rename(columns={"LL_0.59": "LL_low"}),
            "the column LL_low; expected LL_<Hz>$",
            "wrong columns",
        ),
        (
            lambda table: table.rename(columns={"RL_0.59": "RL_nan"}),
            "the column RL_nan; expected RL_<Hz>$",
            "wrong columns",
        ),
        (lambda table: table.iloc[:0], "no row; expected power over time$", "too short"),
        (
            lambda table: table.assign(time=[1, 3, 5, 5, *range(9, 31, 2)]),
            "time does not rise: 5 s, then 5 s in row 4$",
            "time does not rise",
        ),
        (
            lambda table: table.assign(time=[1, 3, np.nan, *range(7, 31, 2)]),
            "time has no value in row 3$",
            "time does not rise",
        ),
    ],
)
def test_a_fault_of_a_spectrogram_is_one_line(tmp_path, change, message, reason):
    path = write_parquet(tmp_path / "7.parquet", change(spectrogram_table()))
    refused(lambda: Spectrogram(path), f"^{path}: {message}", reason)


def test_segments_beyond_the_spectrogram_and_without_a_row_are_refused(tmp_path):
    table = spectrogram_table()
    path = write_parquet(tmp_path / "7.parquet", table[~table["time"].between(2, 12)])
    with Spectrogram(path) as recording:
        # The last row is at 29 s: the last window of 4 s still has it up to 33 s.
        assert recording.segment(13, 20, 4)[0][-1] == 16
        refused(
            lambda: recording.segment(13.5, 20, 4),
            rf"^{path}: the segment from 13.5 to 33.5 s ends beyond the spectrogram, whose last row is at 29 s; "
            "expected one in the last 4 s$",
            "beyond the recording",
        )
        refused(lambda: recording.segment(2, 10, 4), "no row from 2 to 12 s; expected power$", "no spectrogram value")


def test_negative_power_is_refused_where_a_segment_has_it(tmp_path):
    table = spectrogram_table()
    table.loc[9, ["RL_4.49", "LL_6.05"]] = -3.25
    table.loc[12, "LL_0.59"] = -1
    path = write_parquet(tmp_path / "7.parquet", table)
    with Spectrogram(path) as recording:
        recording.segment(0, 19, 4)
        refused(
            lambda: recording.segment(0, 30, 4),
            rf"^{path}: LL_6.05 is -3.25 at 19 s; expected power of 0 or more$",
            "negative power",
        )


def test_real_files_are_read(shared_data):
    folder = shared_data / "eeg"
    if not folder.is_dir():
        pytest.skip("the EEG recordings are not here")
    for path in sorted((folder / "train_eegs").iterdir())[:3]:
        with Eeg(path) as recording:
            found = recording.segment(10, 50)
        expected = pd.read_parquet(path)[list(CHANNELS)].to_numpy().T[:, 2000:12000]
        np.testing.assert_array_equal(found, expected)
        with Spectrogram(folder / "train_spectrograms" / path.name) as recording:
            times, power = recording.segment(0, 50, 10)
            assert times.tolist() == list(range(1, 50, 2))
            assert power.shape == (400, 25)
            assert [len(places) for own in recording.bins for places in own] == [18, 20, 26, 36] * 4


def test_names_of_today_are_told(tmp_path):
    path = tmp_path / "1.parquet"
    write_parquet(path, eeg_table(2).rename(columns={"T3": "T7", "T6": "P8"}))
    refused(lambda: Eeg(path), r"no channel T3, T6; .*\(T7 is T3, P8 is T6: rename it\)$", "missing channels")
