"""Genuine recordings (EEGMAT, in the layout of the HMS competition) through the chain: people, not segments, are held out."""

import numpy as np
import pandas as pd
import pytest
import yaml
from run_workflow import snakemake
from scipy import signal

from consilience.dataset import Dataset
from consilience.domains.eeg.montage import BANDS, CHANNELS
from consilience.files import read_json, read_table

pytestmark = pytest.mark.workflow
MODEL = {
    "graph_channels": 4, "graph_heads": 2, "graph_layers": 1, "recurrent_width": 4, "recurrent_layers": 1, "heads": 2, "hidden": [8],
}  # fmt: skip


@pytest.fixture(scope="module")
def base(shared_data, tmp_path_factory):
    work = tmp_path_factory.mktemp("eegmat")
    (work / "studies").mkdir()
    source = {"kind": "hms", "path": str(shared_data / "eeg"), "eeg_seconds": 50, "spectrogram_seconds": 50}
    study = {
        "domain": "eeg", "source": source, "line_frequency": 50, "models": {"small": MODEL},
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25}, "consensus": {"minimum_models": 1, "top": 10},
        "training": {"seeds": 1, "epochs": 3}, "faithfulness": {"samples": 4, "resamples": 10},
        "attribution": {"methods": ["integrated_gradients"], "steps": 8, "maximum_samples": 20, "showcase": 6},
        "analysis": {"samples": 16, "permutations": 100, "resamples": 20},
    }  # fmt: skip
    (work / "studies" / "eegmat.yaml").write_text(yaml.safe_dump(study))
    targets = ["drivers.csv", "figures/topographies.png", "analysis/notes.txt"]
    snakemake(work, *(f"results/eegmat/{target}" for target in targets), studies=work / "studies", check=True)
    return work / "results" / "eegmat"


def test_all_segments_are_read_and_people_do_not_cross_roles(shared_data, base):
    table = pd.read_csv(shared_data / "eeg" / "train.csv")
    split = read_table(base / "split.tsv")
    with Dataset.open(base / "dataset.h5") as dataset:
        assert len(dataset) == len(table) == 335
        assert dataset.classes == ["rest", "arithmetic"]
        assert dataset.targets == ["arithmetic"]
        samples = dataset.samples.assign(role=split["role"])
        shapes = {name: branch.shape for name, branch in dataset.branches.items()}
    assert shapes == {"eeg": (9, 19, 5), "spectrogram": (9, 4, 4)}
    assert samples.groupby("patient_id")["role"].nunique().tolist() == [1] * 16
    assert samples.groupby("role")["patient_id"].nunique().min() >= 3


def test_powers_are_those_of_scipy(shared_data, base):
    with Dataset.open(base / "dataset.h5") as dataset:
        row = 40
        sample, found = dataset.samples.iloc[row], dataset.inputs("eeg", np.array([row]))[0]
        mask = dataset.mask("eeg", np.array([row]))[0]
    eeg = pd.read_parquet(shared_data / "eeg" / "train_eegs" / f"{sample['eeg_id']}.parquet")[list(CHANNELS)]
    start = round(sample["eeg_label_offset_seconds"] * 200)
    values = eeg.to_numpy(np.float64).T[:, start : start + 10000]
    band_pass = signal.butter(4, [0.5, 50], "bandpass", fs=200, output="sos")
    notch = signal.tf2sos(*signal.iirnotch(50, 30, fs=200))
    values = signal.sosfiltfilt(notch, signal.sosfiltfilt(band_pass, values, axis=1), axis=1)
    frequencies, density = signal.welch(values[:, 4000:6000], 200, nperseg=400)
    for place, (low, high) in enumerate(BANDS.values()):
        inside = (frequencies >= low) & (frequencies <= high if high == 50 else frequencies < high)
        expected = np.log10(density[:, inside].sum(axis=1) * (frequencies[1] - frequencies[0]))
        np.testing.assert_allclose(found[4, :, place][~mask[4, :, place]], expected[~mask[4, :, place]], atol=0.02)


def test_what_is_said_of_people_who_do_sums_is_modest(base):
    metrics = read_json(base / "models" / "small" / "metrics.json")
    prior = metrics["trivial"]["class_prior"]["kl_divergence"]
    assert metrics["test"]["groups"] == 4
    # Sixteen people: no network of this size is clearly better than the class prior, and none may be far worse.
    assert metrics["test"]["kl_divergence"]["low"] < prior
    assert metrics["test"]["kl_divergence"]["value"] < 1.6 * prior
    drivers = read_table(base / "drivers.csv")
    assert set(drivers["target"]) == {"arithmetic"}
    assert len(drivers) == 111
    assert "calibration error" in (base / "analysis" / "notes.txt").read_text()
    assert (base / "figures" / "topographies.png").read_bytes().startswith(b"\x89PNG")
