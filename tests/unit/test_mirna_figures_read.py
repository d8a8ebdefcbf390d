"""What the figures read: attribution files, tables and weights; and what is exported of them."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from consilience.attribution.names import signed_methods
from consilience.attribution.store import Attributions, write
from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.domains.mirna.cluster_plots import cluster_panels
from consilience.domains.mirna.colors import (
    UNSIGNED,
)
from consilience.domains.mirna.draw import first_filters, read_maps
from consilience.domains.mirna.export import export
from consilience.domains.mirna.images import kmer_maps
from consilience.domains.mirna.sheets import sheet
from consilience.domains.mirna.shown import read_shown
from consilience.figures.style import NEGATIVE, POSITIVE
from consilience.files import save_figure, write_h5, write_strings, write_tensors
from tests.unit.figure_examples import rendered
from tests.unit.mirna_figure_examples import (
    BRANCHES,
    SIGNED,
    cluster_tables,
    drivers_of,
    example_shown,
    falls_of,
    names_in,
)

pytestmark = pytest.mark.filterwarnings("error")


def attribution_file(path, method, shown, dataset_samples, signed):
    features = pd.DataFrame({"name": drivers_of(3)[0]["feature"], "branch": np.repeat(BRANCHES, 64)})
    members = pd.DataFrame({"member": range(3), "seed": range(3), "rows": "all", "permuted": [0, 1, 0]})
    random = np.random.default_rng(7)
    names = ("magnitude", "direction", "average_attribution", "mean_attribution")
    statistics = {name: random.normal(size=(3, 1, 128)).astype(np.float32) for name in names}
    maps = {branch: random.normal(size=(3, 1, 2, 8, 8)).astype(np.float32) for branch in BRANCHES}
    showcase = {"samples": dataset_samples[[3, 1]].tolist(), **maps}
    found = Attributions(
        "small", method, "", features, ["pair"], members, statistics, None, None, None, ["a", "b", "c"], showcase,
        ["test"], "classification", False,
    )  # fmt: skip
    write(path, found)
    return found


@pytest.fixture
def study(tmp_path):
    """A dataset of six pairs and the attribution files of two methods."""
    shown = example_shown()
    samples = shown.table[["id", *BRANCHES, "planted_position"]]
    facts = {"unit": "", "source": "", "source_sha256": ""}
    with write_dataset(tmp_path / "d.h5", "classification", "pair", classes=["no pair", "pair"], **facts) as writer:
        writer.features(pd.DataFrame({"name": drivers_of(3)[0]["feature"], "branch": np.repeat(BRANCHES, 64)}))
        writer.target(shown.table["label"].to_numpy())
        writer.samples(samples)
        for place, branch in enumerate(BRANCHES):
            writer.branch(branch, place * 64 + np.arange(64).reshape(8, 8), 6, "scalar", reduce="mean")
            writer.append(branch, shown.frequencies[branch])
    names = samples["id"].to_numpy()
    paths = {name: tmp_path / f"{name}.h5" for name in ("mutagenesis", "saliency")}
    files = {name: attribution_file(path, name, shown, names, SIGNED[name]) for name, path in paths.items()}
    rows = [(name, target, 0.3 if target == "no pair" else 0.7) for name in names for target in ("no pair", "pair")]
    return tmp_path / "d.h5", paths, files, pd.DataFrame(rows, columns=["sample", "target", "predicted"])


def test_what_is_shown_is_read_in_order_of_the_files(study):
    path, paths, files, predictions = study
    with Dataset.open(path) as dataset:
        shown, means, explained = read_shown(
            dataset, paths, {"mutagenesis": True, "saliency": False}, "mutagenesis", predictions
        )
        frequency = dataset.inputs("site", np.array([3, 1]))
    assert list(shown.table["id"]) == ["pair-00003", "pair-00001"]
    assert list(shown.table["outcome"]) == ["false positive"] * 2
    np.testing.assert_array_equal(shown.frequencies["site"], frequency)
    kept = [0, 2]  # members on real labels
    own = files["mutagenesis"].showcase["site"][kept, 0].mean(axis=0)
    np.testing.assert_allclose(shown.maps["mutagenesis"]["site"], own)
    own = files["saliency"].showcase["site"][kept, 0].mean(axis=0)
    np.testing.assert_allclose(shown.maps["saliency"]["site"], np.abs(own))
    own = files["mutagenesis"].all["mean_attribution"][kept, 0].mean(axis=0)
    np.testing.assert_allclose(means["mutagenesis"]["site"], own[64:].reshape(8, 8))
    own = files["saliency"].all["magnitude"][kept, 0].mean(axis=0)
    np.testing.assert_allclose(means["saliency"]["mirna"], own[:64].reshape(8, 8))
    assert explained == "3 explained pairs (test)"
    assert shown.k == 3
    assert shown.row("pair-00001") == 1
    total = shown.nucleotides("mutagenesis", "site", 1).sum()
    np.testing.assert_allclose(total, shown.maps["mutagenesis"]["site"][1][frequency[1] > 0].sum(), rtol=1e-5)


def test_arrays_are_exported_a_file_a_pair_method_and_branch(study, tmp_path):
    _, paths, files, _ = study
    (tmp_path / "numpy").mkdir()
    assert export(tmp_path / "numpy", paths.values()) == 2 * 2 * 2
    assert names_in(tmp_path / "numpy") == {
        f"sample_{sample}_{method}_{branch}.npy"
        for sample in ("pair-00001", "pair-00003")
        for method in paths
        for branch in BRANCHES
    }
    found = np.load(tmp_path / "numpy" / "sample_pair-00001_saliency_mirna.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, files["saliency"].showcase["mirna"][[0, 2], 0, 1].mean(axis=0), rtol=1e-6)


def test_maps_and_filters_are_read(tmp_path):
    random = np.random.default_rng(8)
    values = {branch: random.normal(size=(2, 9)) for branch in BRANCHES}
    with write_h5(tmp_path / "maps.h5") as file:
        write_strings(file, "samples", ["a", "b"])
        write_strings(file, "chosen", ["b", "a"])
        file["interactions/b"], file["complementary/b"] = np.ones((2, 3)), np.zeros((2, 3), bool)
        for branch in BRANCHES:
            file[f"nucleotides/{branch}"] = values[branch]
            for place, name in enumerate("ab"):
                file[f"activations/{branch}/{name}"] = np.full((2, 4, 4), place)
    found = read_maps(tmp_path / "maps.h5")
    assert (found["samples"], found["chosen"], list(found["interactions"])) == (["a", "b"], ["b", "a"], ["b"])
    np.testing.assert_array_equal(found["falls"]["site"], values["site"])
    assert (found["activations"]["mirna"] == 1).all()
    weights = {f"state/{branch}.first.convolution.weight": random.normal(size=(3, 5, 1, 3, 3)) for branch in BRANCHES}
    write_tensors(tmp_path / "e.safetensors", weights, {})
    filters = first_filters(tmp_path / "e.safetensors", np.array([False, True, True]))
    np.testing.assert_array_equal(filters["site"], weights["state/site.first.convolution.weight"][1, :, 0])


def test_signs_are_those_of_the_facts():
    own = {"mutagenesis": {"signed": True}, "grad_cam": {"signed": False}}
    names = ["saliency", "integrated_gradients", "deeplift", "mutagenesis", "grad_cam"]
    assert list(signed_methods(names, own).values()) == [False, True, True, True, False]


def test_figures_are_saved_alike(tmp_path):
    shown = example_shown()
    for name in ("a.png", "b.png"):
        save_figure(tmp_path / name, kmer_maps(shown, *drivers_of(3), None))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_methods_without_a_sign_have_one_color():
    shown = example_shown(primary="saliency")
    falls = {branch: own[0] for branch, own in falls_of(shown).items()}
    figure = sheet(shown, 0, falls)
    rendered(figure)
    bars = [axes.containers[0] for axes in figure.axes if axes.containers]
    colors = [{to_hex(bar.get_facecolor()) for bar in own} for own in bars]
    assert colors[0] == {POSITIVE.lower(), NEGATIVE.lower()}
    assert colors[1] == {UNSIGNED.lower()}
    table, stability = cluster_tables(shown)
    figure = cluster_panels(table, stability, "small", "saliency", 3, 6, signed=False)
    bars = [axes.containers[0] for axes in figure.axes if axes.containers]
    assert {to_hex(bar.get_facecolor()) for own in bars for bar in own} == {UNSIGNED.lower()}
    assert "(no sign)" in figure.get_supxlabel()
