"""Genuine Fashion-MNIST pictures: the shared subset, and on demand the official files in full."""

import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from run_workflow import snakemake

from consilience.attribution.store import read
from consilience.configuration import slice_schema
from consilience.dataset import Dataset
from consilience.files import read_json, read_table, sha256

pytestmark = pytest.mark.workflow
OFFICIAL = os.environ.get("CONSILIENCE_FASHION_MNIST")


def run(folder, work, models, training, targets, **sections):
    studies = work / "studies"
    studies.mkdir(parents=True)
    study = {"domain": "fashion", "source": {"kind": "idx", "path": str(folder)}, "models": models,
             "training": {"recipe": "adam", **training}, "consensus": {"minimum_models": 1}, **sections}  # fmt: skip
    (studies / "pictures.yaml").write_text(yaml.safe_dump(study))
    snakemake(work, *(f"results/pictures/{target}" for target in targets), studies=studies, check=True)
    return work / "results" / "pictures"


def test_the_shared_subset_goes_through_the_chain(shared_data, tmp_path):
    models = {"k50": {"k": 50, "atoms": 256, "hidden": [64], "autoencoder": {"epochs": 6}}}
    targets = ["overlap.csv", "faithfulness/k50.tsv", "analysis/notes.txt", "figures/driver_maps.png"]
    methods = ["integrated_gradients", "jump_aware_integrated_gradients"]
    base = run(
        shared_data / "fashion", tmp_path, models, {"seeds": 2, "epochs": 12, "batch_size": 128}, targets,
        attribution={"primary": methods[1], "methods": methods, "maximum_samples": 60, "showcase": 4},
        linear={"maximum_samples": 1000}, faithfulness={"samples": 20, "resamples": 20},
        analysis={"samples": 30, "resamples": 20},
    )  # fmt: skip
    with Dataset.open(base / "dataset.h5") as dataset:
        assert len(dataset) == 12000
    roles = read_table(base / "split.tsv")["role"].value_counts()
    assert roles["test"] == 2000
    metrics = read_json(base / "models" / "k50" / "metrics.json")
    assert metrics["test"]["accuracy"]["value"] > 0.8
    assert metrics["training"]["encoder"]["all"]["validation"]["normalized_mean_squared_error"] < 0.2
    gaps = {}
    for method in methods:
        found = read(base / "attributions" / "k50" / f"{method}.h5", showcase=True)
        gaps[method] = np.median(found.gap) / np.median(found.scale)
        assert found.showcase["pixels"].shape[2:] == (4, 28, 28)
    assert gaps["jump_aware_integrated_gradients"] < 1e-4
    assert gaps["integrated_gradients"] > 0.1
    linear = read_json(base / "linear" / "metrics.json")
    assert linear["logistic"]["test"]["accuracy"]["value"] > 0.75
    assert linear["ridge"]["test"]["accuracy"]["value"] > 0.7
    dictionary = read_table(base / "analysis" / "dictionary.tsv")
    own = dictionary[(dictionary["encoder"] == "autoencoder") & (dictionary["role"] == "test")].iloc[0]
    assert own["normalized_mean_squared_error"] < 0.2
    assert own["l0"] == pytest.approx(50, rel=0.1)
    checks = read_table(base / "faithfulness" / "k50.tsv")
    gains = checks[(checks["check"] == "insertion") & (checks["metric"] == "area_minus_random")].set_index("method")
    assert (gains.loc[methods, "low"] > 0).all()
    assert "accuracy" in (base / "analysis" / "notes.txt").read_text()


@pytest.mark.skipif(not OFFICIAL, reason="set CONSILIENCE_FASHION_MNIST to a folder with the four official files")
def test_the_official_files_in_full(tmp_path):
    """60,000 + 10,000 pictures: accuracy 0.89, a tenth of the variance lost, hardly any dead atom, about k codes."""
    sources = slice_schema("fashion")["sources"]["url"]["properties"]["files"]["default"]
    for file in sources:
        path = Path(OFFICIAL) / Path(file["url"]).name
        assert sha256(path) == file["sha256"], path
    models = {"k50": {"k": 50}, "batch_k50": {"k": 50, "activation": "batch_top_k"}}
    training = {"seeds": 1, "epochs": 50, "batch_size": 256, "patience": 10, "maximum_samples": 60000}
    targets = [f"models/{model}/metrics.json" for model in models]
    base = run(OFFICIAL, tmp_path, models, training, targets)
    for model in models:
        metrics = read_json(base / "models" / model / "metrics.json")
        found = metrics["training"]["encoder"]["all"]["validation"]
        print(model, metrics["test"]["accuracy"], found)
        assert metrics["test"]["accuracy"]["value"] >= 0.89
        assert found["normalized_mean_squared_error"] <= 0.09
        assert found["dead_share"] <= 0.05
        assert found["l0"] == pytest.approx(50, rel=0.1)
