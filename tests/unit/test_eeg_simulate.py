"""Simulated recordings: the competition's layout, rhythms where the truth says, votes and bad channels as asked for."""

import hashlib
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import signal, stats

from consilience.dataset import Dataset
from consilience.domains import slices
from consilience.domains.eeg.montage import BANDS, CHAINS, CHANNELS, REGIONS
from consilience.domains.eeg.prepare import prepare
from consilience.domains.eeg.simulate import RHYTHMS, share_of_band, simulate

SCHEMA = yaml.safe_load((slices()["eeg"] / "schema.yaml").read_text())
DEFAULTS = {name: part["default"] for name, part in SCHEMA["sources"]["simulate"]["properties"].items()}
SETTINGS = {"window": 10, "stride": 5}
SHORT = {"patients": 12, "segments": 3, "eeg_seconds": 20, "spectrogram_seconds": 26, "bad_channels": 0.0}


def simulated(folder, seed=0, **source):
    folder.mkdir(parents=True, exist_ok=True)
    truth = simulate(folder, {"source": {"kind": "simulate", **DEFAULTS, **SHORT, **source}, **SETTINGS}, seed)
    return pd.read_csv(folder / "train.csv"), truth


@pytest.fixture(scope="module")
def loud(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loud")
    return folder, *simulated(folder, amplitude=3.0, disagreement=0.0, patient_offset=0.0)


def segment(folder, row, seconds=20):
    eeg = pd.read_parquet(folder / "train_eegs" / f"{row.eeg_id}.parquet")
    start = round(row.eeg_label_offset_seconds * 200)
    return eeg[list(CHANNELS)].to_numpy().T[:, start : start + seconds * 200]


def test_the_layout_is_that_of_the_competition(loud):
    folder, table, _ = loud
    assert list(table)[:9] == [
        "eeg_id", "eeg_sub_id", "eeg_label_offset_seconds", "spectrogram_id", "spectrogram_sub_id",
        "spectrogram_label_offset_seconds", "label_id", "patient_id", "expert_consensus",
    ]  # fmt: skip
    assert list(table)[9:] == ["seizure_vote", "lpd_vote", "gpd_vote", "lrda_vote", "grda_vote", "other_vote"]
    assert len(table) == 36
    assert table["label_id"].is_unique
    eeg = pd.read_parquet(folder / "train_eegs" / f"{table['eeg_id'].iloc[0]}.parquet")
    assert list(eeg) == [*CHANNELS, "EKG"]
    assert len(eeg) == 3 * 26 * 200
    spectrogram = pd.read_parquet(folder / "train_spectrograms" / f"{table['spectrogram_id'].iloc[0]}.parquet")
    assert spectrogram["time"].tolist() == list(range(1, 78, 2))
    names = [name for name in spectrogram if name != "time"]
    assert names[:2] == ["LL_0.59", "LL_0.78"]
    assert names[-1] == "RP_19.92"
    assert len(names) == 400
    # The EEG lies in the middle of its spectrogram.
    middle = table["eeg_label_offset_seconds"] + 10
    assert np.allclose(middle, table["spectrogram_label_offset_seconds"] + 13)


def test_classes_are_as_frequent_and_patients_have_several(loud):
    _, table, _ = loud
    assert set(table["expert_consensus"].value_counts()) == {6}
    assert table.groupby("patient_id")["eeg_id"].nunique().tolist() == [1] * 12


def test_a_rhythm_stands_in_its_band_and_channels_and_nowhere_else(loud):
    folder, table, _ = loud
    power = {}
    for row in table.itertuples():
        frequencies, density = signal.welch(segment(folder, row), 200, nperseg=400)
        for band, (low, high) in BANDS.items():
            inside = (frequencies >= low) & (frequencies < high)
            for channel, value in zip(CHANNELS, np.log10(density[:, inside].mean(axis=1)), strict=True):
                power.setdefault((channel, band), []).append(value)
    labels = table["expert_consensus"].to_numpy()
    for (channel, band), values in power.items():
        values = np.asarray(values)
        planted = [name for name, rhythm in RHYTHMS.items() if channel in rhythm.channels and band == rhythm.band]
        others = values[~np.isin(labels, planted)]
        for name in RHYTHMS:
            rise = values[labels == name].mean() - others.mean()
            if name in planted:
                # 3 times the deviation, for 0.4 to 0.8 of the time: log10(1 + 9 * 0.6) on average.
                assert 0.5 < rise < 1.15, (name, channel, band)
            else:
                assert abs(rise) < 0.25, (name, channel, band)


def test_the_spectrogram_is_that_of_the_differences_along_each_chain(loud):
    folder, table, _ = loud
    row = table.iloc[4]
    eeg = pd.read_parquet(folder / "train_eegs" / f"{row.eeg_id}.parquet")
    spectrogram = pd.read_parquet(folder / "train_spectrograms" / f"{row.spectrogram_id}.parquet")
    window = signal.get_window("hann", 400)
    for region, chain in CHAINS.items():
        for second in (0, 7, 20):
            total = 0
            for first, other in pairwise(chain):
                part = (eeg[first] - eeg[other]).to_numpy(np.float64)[400 * second : 400 * (second + 1)]
                spectrum = np.fft.rfft((part - part.mean()) * window, 1024)
                total = total + 2 * np.abs(spectrum) ** 2 / (200 * (window**2).sum()) / 4
            found = spectrogram.loc[second, [f"{region}_{100 * 200 / 1024 * place / 100:.2f}" for place in (3, 20, 60)]]
            # The file's EEG is rounded to 0.1 microvolts.
            assert np.allclose(found.to_numpy(float), total[[3, 20, 60]], rtol=0.05, atol=0.02), (region, second)


def test_regions_show_what_the_truth_says(loud):
    folder, table, _ = loud
    labels = table["expert_consensus"].to_numpy()
    rows = []
    for row in table.itertuples():
        spectrogram = pd.read_parquet(folder / "train_spectrograms" / f"{row.spectrogram_id}.parquet").set_index("time")
        start = row.spectrogram_label_offset_seconds
        rows.append(spectrogram.loc[start : start + 25].mean())
    power = pd.DataFrame(rows)
    for name, rhythm in RHYTHMS.items():
        low, high = BANDS[rhythm.band]
        rises = {}
        for region in REGIONS:
            columns = [column for column in power if column.startswith(region) and low <= float(column[3:]) < high]
            values = np.log10(power[columns].mean(axis=1).to_numpy())
            none = [other for other, own in RHYTHMS.items() if region not in own.regions or own.band != rhythm.band]
            rises[region] = values[labels == name].mean() - values[np.isin(labels, none) & (labels != name)].mean()
        shown = [rises[region] for region in rhythm.regions]
        others = [rise for region, rise in rises.items() if region not in rhythm.regions]
        assert min(shown) > 0.15, (name, rises)
        assert max(others, default=0) < min(shown), (name, rises)


def test_the_truth_names_features_of_the_dataset(tmp_path):
    _, truth = simulated(tmp_path / "raw")
    settings = {"graph": "adjacency", "coherence_threshold": 0.5, "line_frequency": 60,
                "bad_channels": {"flat": 0.1, "deviation": 5}, "source": {"kind": "simulate", **DEFAULTS, **SHORT}, **SETTINGS}  # fmt: skip
    prepare([tmp_path / "raw"], settings, tmp_path / "dataset.h5", 0)
    with Dataset.open(tmp_path / "dataset.h5") as dataset:
        assert set(truth["feature"]) <= set(dataset.features["name"])
        assert set(truth["target"]) == set(dataset.targets)
    assert not truth.duplicated(["feature", "target"]).any()
    seizure = truth.loc[truth["target"] == "seizure", "feature"]
    assert set(seizure) == {"F7 theta", "T3 theta", "T5 theta", "LL theta"}
    assert (truth["sign"] == 1).all()
    assert (truth["strength"] == DEFAULTS["amplitude"]).all()


def test_no_two_classes_share_a_channel_and_a_band():
    planted = [(channel, rhythm.band) for rhythm in RHYTHMS.values() for channel in rhythm.channels]
    assert len(planted) == len(set(planted))


def test_of_two_classes_the_first_speaks_against_the_second(tmp_path):
    table, truth = simulated(tmp_path, classes=2, patients=6, segments=1)
    assert [name for name in table if name.endswith("_vote")] == ["seizure_vote", "lpd_vote"]
    assert set(truth["target"]) == {"lpd"}
    signs = dict(zip(truth["feature"], truth["sign"], strict=True))
    assert signs["F7 theta"] == -1
    assert signs["C4 delta"] == 1


def test_one_seed_gives_the_same_bytes_and_another_others(tmp_path):
    def digests(name, seed):
        simulated(tmp_path / name, seed, patients=6, segments=1)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]

    first, second, other = digests("a", 3), digests("b", 3), digests("c", 4)
    assert first == second
    assert not set(first) & set(other)


def test_a_patients_recording_does_not_depend_on_how_many_there_are(tmp_path):
    for name, patients in (("few", 6), ("many", 8)):
        simulated(tmp_path / name, patients=patients, segments=1, classes=2, amplitude=1e-9)
    few, many = (pd.read_parquet(tmp_path / name / "train_eegs" / "1002.parquet") for name in ("few", "many"))
    assert np.allclose(few, many, atol=0.11)


def test_raters_disagree_as_often_as_asked(tmp_path):
    table, _ = simulated(tmp_path, patients=40, segments=5, classes=3, disagreement=0.3, eeg_seconds=2, spectrogram_seconds=4)  # fmt: skip
    votes = table[[name for name in table if name.endswith("_vote")]].to_numpy()
    assert votes.sum(axis=1).min() >= 3
    assert votes.sum(axis=1).max() <= 20
    share = 1 - votes.max(axis=1).sum() / votes.sum()
    assert 0.2 < share < 0.33
    agreed, _ = simulated(tmp_path / "agreed", patients=6, segments=2, disagreement=0.0)
    assert ((agreed[[name for name in agreed if name.endswith("_vote")]] > 0).sum(axis=1) == 1).all()


def test_bad_channels_are_flat_or_loud_and_spectrograms_know_nothing_of_them(tmp_path):
    short = {"patients": 60, "segments": 1, "eeg_seconds": 4, "spectrogram_seconds": 4}
    table, _ = simulated(tmp_path / "bad", **short, bad_channels=0.4)
    simulated(tmp_path / "good", **short, bad_channels=0.0)
    deviations = np.stack([segment(tmp_path / "bad", row, 4).std(axis=1) for row in table.itertuples()])
    flat, torn = (deviations == 0).mean(), (deviations > 150).mean()
    assert flat == pytest.approx(0.2, abs=3 * np.sqrt(0.2 * 0.8 / deviations.size))
    assert torn == pytest.approx(0.2, abs=3 * np.sqrt(0.2 * 0.8 / deviations.size))
    for name in ("5003", "5011"):
        good, bad = (pd.read_parquet(tmp_path / kind / "train_spectrograms" / f"{name}.parquet") for kind in ("good", "bad"))  # fmt: skip
        pd.testing.assert_frame_equal(good, bad)


def test_the_background_is_one_over_f_and_neighbors_share_it(tmp_path):
    table, _ = simulated(tmp_path, patients=6, segments=1, amplitude=1e-9, eeg_seconds=100, spectrogram_seconds=120, patient_offset=0.0)  # fmt: skip
    eegs = np.concatenate([segment(tmp_path, row, 100) for row in table.itertuples()], axis=1)
    filtered = signal.sosfiltfilt(signal.butter(4, [0.5, 50], "bandpass", fs=200, output="sos"), eegs)
    frequencies, density = signal.welch(filtered, 200, nperseg=2000)
    inside = (frequencies >= 1) & (frequencies <= 40)
    slope = stats.linregress(np.log10(frequencies[inside]), np.log10(density[:, inside].mean(axis=0))).slope
    assert slope == pytest.approx(-1, abs=0.05)
    assert filtered.std() == pytest.approx(12, rel=0.05)
    shares = [
        density[:, (frequencies >= low) & (frequencies < high)].sum()
        / density[:, (frequencies >= 0.5) & (frequencies < 50)].sum()
        for low, high in BANDS.values()
    ]
    assert shares == pytest.approx([share_of_band(band) for band in BANDS], abs=0.04)
    correlation = np.corrcoef(filtered)
    place = {name: index for index, name in enumerate(CHANNELS)}
    assert correlation[place["C3"], place["Cz"]] > 0.3 > abs(correlation[place["Fp1"], place["O2"]]) + 0.2
