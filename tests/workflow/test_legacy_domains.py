"""Earlier files of the other domains: their names and columns, and values recomputed from our results."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from earlier import files, folders
from safetensors.numpy import load_file
from scipy.stats import chi2_contingency
from statsmodels.stats.multitest import multipletests

from consilience.domains.variants.imported import import_dictionary, weights_file

pytestmark = pytest.mark.workflow
METHODS = {"IntegratedGradients": "integrated_gradients", "Saliency": "saliency", "DeepLift": "deeplift"}
BRANCHES = {"mirna": "mirna", "mrna": "site"}
ROWS = 12


def weights(path):
    return torch.load(path, weights_only=True)


def first_member(path):
    """What an ensemble's first member is, float64, and its scaling."""
    tensors = load_file(path)
    states = {name.removeprefix("state/"): values[0] for name, values in tensors.items() if name.startswith("state/")}
    return {name: values.astype(np.float64) for name, values in states.items()}


def of_linear(state, prefix=""):
    layer = torch.nn.Linear(*reversed(state[f"{prefix}weight"].shape))
    layer.load_state_dict({name: state[f"{prefix}{name}"] for name in ("weight", "bias")})
    return layer


class TestFashion:
    def pictures(self, base):
        with h5py.File(base / "dataset.h5") as file:
            return file["inputs/pixels"][:ROWS].reshape(ROWS, -1)

    def test_files(self, legacy):
        _, folder = folders(legacy, "fashion")
        assert files(folder) == {"encoder.pth", "decoder.pth", "full_autoencoder.pth", "classifier.pth"}

    def test_codes_pictures_and_logits_are_ours(self, legacy):
        """By the earlier network: Linear, ReLU, the k largest; Linear; and a perceptron on the codes."""
        base, folder = folders(legacy, "fashion")
        state, pictures = first_member(base / "models/k4/ensemble.safetensors"), self.pictures(base)
        excited = (pictures - state["encoder.bias"]) @ state["encoder.encoder.weight"].T + state["encoder.encoder.bias"]
        codes = np.where(excited >= np.sort(excited, axis=1)[:, -4:-3], np.maximum(excited, 0), 0)
        with torch.no_grad():
            found = of_linear(weights(folder / "encoder.pth"))(torch.from_numpy(pictures)).relu()
            largest = found.topk(4)
            found = torch.zeros_like(found).scatter(1, largest.indices, largest.values)
            assert found.numpy() == pytest.approx(codes, abs=1e-5)
            again = of_linear(weights(folder / "decoder.pth"))(found).numpy()
            assert again == pytest.approx(codes @ state["encoder.decoder.weight"].T + state["encoder.bias"], abs=1e-5)
            classifier = torch.nn.Sequential(
                torch.nn.Linear(48, 16), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(16, 10)
            ).eval()
            classifier.load_state_dict(weights(folder / "classifier.pth"))
            logits = classifier(found).numpy()
        hidden = np.maximum(codes @ state["head.hidden.0.linear.weight"].T + state["head.hidden.0.linear.bias"], 0)
        assert logits == pytest.approx(hidden @ state["head.output.weight"].T + state["head.output.bias"], abs=1e-4)

    def test_the_whole_autoencoder_is_both_parts(self, legacy):
        _, folder = folders(legacy, "fashion")
        whole = weights(folder / "full_autoencoder.pth")
        for part in ("encoder", "decoder"):
            own = weights(folder / f"{part}.pth")
            assert all(torch.equal(whole[f"{part}.{name}"], own[name]) for name in ("weight", "bias"))
        assert len(whole) == 4


class TestMirna:
    def test_files(self, legacy):
        base, folder = folders(legacy, "mirna")
        with h5py.File(base / "attributions/plain/saliency.h5") as file:
            whole = file["showcase/samples"].asstr()[...]
        drawn = sorted({path.name.split("_")[1] for path in (base / "figures/pairs").glob("sample_*")})
        assert len(drawn) == 2
        at = "results/interpretability"
        expected = {f"results/{name}.png" for name in ("training_progress", "loss_plot")}
        expected |= {"results/training_history.txt", f"{at}/analysis_summary.json", f"{at}/attribution_statistics.csv"}
        expected |= {f"{at}/{branch}_conv1_{kind}.png" for branch in BRANCHES for kind in ("filters", "activations")}
        expected |= {f"{at}/average_attribution_{method}.png" for method in METHODS}
        expected |= {f"{at}/sample_{one}_{branch}_{kind}.png" for one in drawn for branch in BRANCHES
                     for kind in ("comparison", "clusters", *METHODS)}  # fmt: skip
        expected |= {f"{at}/sample_{one}_{kind}.png" for one in drawn for kind in ("gradcam", "interaction_heatmap")}
        expected |= {f"{at}/numpy_exports/sample_{one}_{method}_{branch}.npy" for one in whole for method in METHODS
                     for branch in BRANCHES}  # fmt: skip
        quick = "results/quick_example"
        expected |= {f"{quick}/{branch}_{kind}.png" for branch in BRANCHES
                     for kind in ("integrated_gradients", "saliency", "clusters")}  # fmt: skip
        expected |= {
            f"{quick}/{name}.png" for name in ("sample_0_gradcam", "sample_0_interaction_heatmap", "methods_comparison")
        }
        expected.add("results/batch_example/average_attributions.png")
        assert files(folder) == expected

    def test_figures_are_those_of_our_names(self, legacy):
        base, folder = folders(legacy, "mirna")
        for there, here in (
            ("results/interpretability/mrna_conv1_filters.png", "figures/site_conv1_filters.png"),
            ("results/interpretability/average_attribution_DeepLift.png", "figures/average_attribution_deeplift.png"),
        ):
            assert (folder / there).read_bytes() == (base / here).read_bytes()
        first = min((base / "figures/pairs").glob("*_gradcam.png"))
        assert (folder / "results/quick_example/sample_0_gradcam.png").read_bytes() == first.read_bytes()

    def test_arrays_are_means_over_members(self, legacy):
        base, folder = folders(legacy, "mirna")
        for method, ours in METHODS.items():
            with h5py.File(base / f"attributions/plain/{ours}.h5") as file:
                samples = file["showcase/samples"].asstr()[...]
                for there, branch in BRANCHES.items():
                    maps = file[f"showcase/{branch}"][:, 0].astype(float).mean(axis=0)
                    for sample, expected in zip(samples, maps, strict=True):
                        name = f"sample_{sample}_{method}_{there}.npy"
                        found = np.load(folder / "results/interpretability/numpy_exports" / name)
                        assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)

    def test_history_of_the_first_member(self, legacy):
        base, folder = folders(legacy, "mirna")
        found = pd.read_csv(folder / "results/training_history.txt")
        assert list(found.columns) == ["Epoch", "Train_Loss", "Val_Loss", "Train_Acc", "Val_Acc"]
        ours = pd.read_csv(base / "models/plain/history.tsv", sep="\t").query("member == 0")
        assert found["Epoch"].tolist() == list(range(1, len(ours) + 1))
        assert found["Train_Loss"].to_numpy() == pytest.approx(ours["train_loss"].to_numpy())
        assert found["Val_Loss"].to_numpy() == pytest.approx(ours["validation_loss"].to_numpy())
        assert found[["Train_Acc", "Val_Acc"]].isna().all(axis=None)

    def test_statistics_are_those_of_the_exported_arrays(self, legacy):
        """The table pools the same maps, member means, over the k-mers that a pair has."""
        _, folder = folders(legacy, "mirna")
        found = pd.read_csv(folder / "results/interpretability/attribution_statistics.csv")
        assert list(found.columns) == ["Method", "Branch", "Mean", "Std", "Min", "Max", "AbsMean", "L1_Norm", "L2_Norm"]
        assert found[["Method", "Branch"]].to_numpy().tolist() == [
            [method, branch] for method in METHODS for branch in BRANCHES
        ]
        for row in found.itertuples():
            arrays = folder.glob(f"results/interpretability/numpy_exports/*_{row.Method}_{row.Branch}.npy")
            values = np.stack([np.load(path) for path in arrays]).astype(float)
            size = np.abs(values)
            expected = [
                values.mean(),
                values.std(),
                values.min(),
                values.max(),
                size.mean(),
                size.sum(),
                np.sqrt((values**2).sum()),
            ]
            assert list(row)[3:] == pytest.approx(expected, rel=1e-4, abs=1e-7)

    def test_summary(self, legacy):
        _, folder = folders(legacy, "mirna")
        found = json.loads((folder / "results/interpretability/analysis_summary.json").read_text())
        assert sorted(found) == sorted([
            "n_samples_analyzed", "n_background_samples", "model_checkpoint", "k_mer", "methods_used", "output_directory",
        ])  # fmt: skip
        assert found["methods_used"] == list(METHODS)
        assert found["k_mer"] == 3
        assert found["model_checkpoint"] == "results/mirna_tiny/models/plain/ensemble.safetensors"


class TestEEG:
    def test_files(self, legacy):
        base, folder = folders(legacy, "eeg")
        figures = {
            f"eeg_tiny_sample_{place}_{kind}.png" for place in (0, 1) for kind in ("cross_attention", "alignment")
        }
        assert files(folder) == {"eeg_tiny_report.txt", "eeg_tiny_head_contributions.png"} | figures
        assert (folder / "eeg_tiny_report.txt").read_text() == (base / "analysis/report.txt").read_text()
        assert len({(folder / name).read_bytes() for name in figures}) == 4
        assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in figures)


class TestVariants:
    def test_files(self, legacy):
        _, folder = folders(legacy, "variants")
        written = {name for name in files(folder) if not name.endswith("sae.pt")}
        assert written == {
            f"models/{name}"
            for name in ("sae_feature_bias_analysis.csv", "top_biased_features.json", "BEST_MODEL.json")
        }
        assert len(files(folder)) == 4

    def test_bias_of_every_atom(self, legacy):
        """Counts from the codes themselves, and all else by the earlier formulas, by SciPy and statsmodels."""
        base, folder = folders(legacy, "variants")
        found = pd.read_csv(folder / "models/sae_feature_bias_analysis.csv")
        assert list(found.columns) == [
            "atom", "TP_on", "FP_on", "TP_off", "FP_off", "odds", "support", "p", "fdr_corrected", "significant",
        ]  # fmt: skip
        train = (pd.read_csv(base / "split.tsv", sep="\t")["role"] == "train").to_numpy()
        with h5py.File(base / "encoded.h5") as file:
            names, codes = file["features/name"].asstr()[...], file["inputs/codes"][...][train]
            true = file["target"][...][train] == 1
        assert len(found)
        for row in found.itertuples():
            on = codes[:, names.tolist().index(f"atom {row.atom}")] > 0
            counts = [(on & true).sum(), (on & ~true).sum(), (~on & true).sum(), (~on & ~true).sum()]
            assert [row.TP_on, row.FP_on, row.TP_off, row.FP_off] == counts
            a, b, c, d = counts
            assert row.odds == pytest.approx(a * d / max(1, b * c), rel=1e-6)
            assert row.support == on.sum() >= 5
            assert row.p == pytest.approx(chi2_contingency([[a, b], [c, d]], correction=False).pvalue, rel=1e-6)
        rejected, corrected, *_ = multipletests(found["p"], 0.05, "fdr_bh")
        assert found["fdr_corrected"].to_numpy() == pytest.approx(corrected, rel=1e-6)
        assert found["significant"].tolist() == rejected.tolist()

    def test_strongest_atoms(self, legacy):
        base, folder = folders(legacy, "variants")
        found = json.loads((folder / "models/top_biased_features.json").read_text())
        assert sorted(found) == ["top_fp_biased", "top_tp_biased"]
        table = pd.read_csv(folder / "models/sae_feature_bias_analysis.csv").set_index("atom")
        ours = json.loads((base / "analysis/top_biased_features.json").read_text())
        for name, atoms in found.items():
            assert [atom["atom"] for atom in atoms] == [atom["atom"] for atom in ours[name]]
            for atom in atoms:
                assert sorted(atom) == sorted(["atom", "odds", "support", "TP_on", "FP_on"])
                assert [atom[key] for key in ("TP_on", "FP_on", "support")] == table.loc[
                    atom["atom"], ["TP_on", "FP_on", "support"]
                ].tolist()
                assert atom["odds"] == pytest.approx(table.loc[atom["atom"], "odds"], rel=1e-6)

    def test_the_dictionary_is_read_back(self, legacy):
        """Its inputs are (e - μ) / (σ + 1e-6), its codes those of W x + c: ours before the threshold."""
        base, folder = folders(legacy, "variants")
        path = weights_file(folder / "models/BEST_MODEL.json")
        content = weights(path)
        assert sorted(content) == ["config", "model_state_dict"]
        assert sorted(content["config"]) == sorted(["input_dim", "feature_dim", "k", "μ", "σ"])
        assert sorted(content["model_state_dict"]) == sorted(["encoder.weight", "encoder.bias", "decoder.weight"])
        ours = load_file(base / "analysis/dictionary/dictionary.safetensors")
        width = len(ours["center"])
        imported = import_dictionary(path, width)
        embedding = np.random.default_rng(0).normal(size=(ROWS, width)) * ours["scale"] * 3 + ours["center"]
        expected = (embedding - ours["center"]) / ours["scale"] - ours["bias"]
        inputs = (embedding - imported.center) / imported.scale
        assert inputs == pytest.approx(expected, abs=1e-4)
        with torch.no_grad():
            excited = imported.module.pre_activations(torch.from_numpy(inputs).float()).numpy()
        assert excited == pytest.approx(expected @ ours["encoder_weight"].T + ours["encoder_bias"], abs=1e-3)
        assert torch.equal(imported.module.decoder.weight, torch.from_numpy(ours["decoder_weight"]))
