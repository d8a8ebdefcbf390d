"""`snakemake legacy` on finished studies: every earlier file, its columns, and its values recomputed from our results."""

import hashlib
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from earlier import files, folders
from run_workflow import DOMAINS, ROOT, STUDIES, jobs, snakemake
from safetensors.numpy import load_file

from consilience.configuration import load_study
from consilience.legacy.declaration import Declaration
from consilience.targets import targets_of

pytestmark = pytest.mark.workflow
SLICES = ROOT / "workflow" / "consilience" / "domains"
NAMES = ("expression", "fashion", "mirna", "eeg", "variants")
TAGS = {"mlp_16": "h16_d0.0_bn", "mlp_8": "h8_d0.0"}  # as systems.md spells them: widths, dropout, batch norm
ROLES = {"train": "train", "val": "validation", "test": "test"}
SIGNS = {"positive": 1, "negative": -1}


def declaration(name):
    return Declaration.of(SLICES / name / "legacy.yaml")


def digests(directory):
    found = directory.glob("results/*/legacy/**/*")
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).digest()
            for path in found if path.is_file() and path.name != ".snakemake_timestamp"}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_is_ours_are_files_that_the_study_makes(finished, name):
    study, declared = load_study(STUDIES / f"{name}_tiny.yaml"), declaration(name)
    base, facts = finished[0] / "results" / study.name, declared.facts(study)
    made = {path.removeprefix(f"results/{study.name}/") for path in targets_of(study)}
    asked_for = {f"numpy/{model}" for model in study.explained} if name == "mirna" else set()
    paths = {path for entry in declared.entries for one in declared.variants(entry, facts) for path in one.ours}
    assert paths
    assert [path for path in paths - asked_for - made if not (base / path).exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_index_tells_of_every_file_and_every_output(legacy, name):
    _, folder = folders(legacy, name)
    index, declared = pd.read_csv(folder / "index.tsv", sep="\t"), declaration(name)
    assert sorted(index.loc[index["state"] == "made", "earlier"]) == sorted(files(folder))
    assert set(index["output"]) == {entry.earlier for entry in declared.entries}
    assert index["note"].notna().all()
    text = (folder / "README.md").read_text()
    assert all(entry.earlier in text for entry in declared.entries)
    for entry in declared.entries:
        states = set(index.loc[index["output"] == entry.earlier, "state"])
        assert states <= ({"made", "none"} if entry.how else {"ours" if entry.ours else "none"})


def test_the_chain_makes_a_folder_a_study_and_nothing_of_others(legacy):
    assert jobs(legacy[1]) == {"legacy": 1, "legacy_names": len(NAMES), "mirna_arrays": 1}
    assert sorted(path.parent.name for path in legacy[0].glob("results/*/legacy")) == sorted(f"{n}_tiny" for n in NAMES)


def test_again_nothing_runs_and_forced_it_writes_the_same_bytes(legacy, tmp_path):
    copy = shutil.copytree(legacy[0], tmp_path / "copy", symlinks=True)
    assert jobs(snakemake(copy, "legacy", check=True).stdout) == {}
    asked = [f"results/{name}_tiny/legacy" for name in ("expression", "fashion", "variants", "mirna", "eeg")]
    before = digests(copy)
    snakemake(copy, *asked, "--forcerun", "legacy_names", check=True)
    assert before
    assert digests(copy) == before


def test_what_is_written_nowhere_is_refused_in_one_line(copied):
    for target, message in (
        ("results/toy/legacy", "results/toy/legacy: study toy has no such file"),
        ("results/expression_tiny/legasy", "results/expression_tiny/legasy: study expression_tiny has no such file; nearest: "
         "results/expression_tiny/legacy"),
        ("results/expresion_tiny/legacy", "no study 'expresion_tiny'"),
        ("results/expression_tiny/legacy/models", "results/expression_tiny/legacy/models: study expression_tiny has no such file"),
    ):  # fmt: skip
        run = snakemake(copied, target)
        assert run.returncode != 0
        (line,) = [line for line in run.stdout.splitlines() if message in line]
        assert "Traceback" not in run.stdout, line
    assert DOMAINS.joinpath("toy", "legacy.yaml").exists() is False


class TestExpression:
    def test_files(self, legacy):
        _, folder = folders(legacy, "expression")
        tags, lists = TAGS.values(), ("positive", "negative")
        expected = {f"data/processed/{role}_data{kind}.npz" for role in ROLES for kind in ("", "_log1p")}
        expected |= {f"models/model_{tag}.pth" for tag in tags} | {"models/model_h_d0.0.npy"}
        expected |= {
            f"outputs/{kind}_{tag}.png"
            for kind in ("loss_plot", "pred_scatter", "attribution_bar_plot")
            for tag in tags
        }
        expected |= {f"outputs/{part}top_{one}_genes_{tag}.csv" for one in lists for tag in tags
                     for part in ("", "promising_results/top_genes/")}  # fmt: skip
        expected |= {f"outputs/top_{one}_genes_h_d0.0.csv" for one in lists}
        expected |= {f"outputs/attributions_top_genes/all_gene_attributions_{tag}.csv" for tag in tags}
        expected |= {f"outputs/top30_{one}_regulators.png" for one in lists}
        proper = "outputs/linear_model/proper_run/summarised"
        expected |= {f"{proper}_venn_{one}_filtered.png" for one in lists} | {f"{proper}_overlap_genes_filtered.csv"}
        expected |= {
            "outputs/linear_weights_bar_plot_h_d0.0.png", "outputs/promising_results/top_genes/top_gene_matrix.csv",
            "outputs/top30_positive_and_negative_regulators.csv",
        }  # fmt: skip
        assert files(folder) == expected

    @pytest.mark.parametrize("there", ROLES)
    def test_processed_data(self, legacy, there):
        base, folder = folders(legacy, "expression")
        split = pd.read_csv(base / "split.tsv", sep="\t")
        with h5py.File(base / "dataset.h5") as file:
            assert file["samples/id"].asstr()[...].tolist() == split["sample"].tolist()
            chosen = (split["role"] == ROLES[there]).to_numpy()
            X, y = file["inputs/genes"][...][chosen], file["target"][...][chosen]
        with np.load(folder / f"data/processed/{there}_data_log1p.npz") as found:
            assert sorted(found.files) == ["X", "y"]
            assert found["X"].dtype == np.float32
            assert np.array_equal(found["X"], X)
            assert found["y"] == pytest.approx(y)
        with np.load(folder / f"data/processed/{there}_data.npz") as found:
            assert np.log1p(found["X"].astype(np.float64)) == pytest.approx(X, rel=1e-5, abs=1e-6)
            assert np.log1p(found["y"].astype(np.float64)) == pytest.approx(y, rel=1e-5)

    @pytest.mark.parametrize("model", TAGS)
    def test_networks_predict_as_ours(self, legacy, model):
        """By torch's own layers, whose order is that of the earlier network, on inputs without scaling."""
        base, folder = folders(legacy, "expression")
        state = torch.load(folder / f"models/model_{TAGS[model]}.pth", weights_only=True)
        width, normalized = int(model.removeprefix("mlp_")), "bn" in TAGS[model]
        ours = load_file(base / f"models/{model}/ensemble.safetensors")
        genes = ours["scaling/genes/center"].size
        hidden = [
            torch.nn.Linear(genes, width),
            *([torch.nn.BatchNorm1d(width)] if normalized else []),
            torch.nn.ReLU(),
        ]
        network = torch.nn.Sequential(*hidden, torch.nn.Linear(width, 1)).eval()
        network.load_state_dict(state)
        with np.load(folder / "data/processed/test_data_log1p.npz") as data, torch.no_grad():
            found = network(torch.from_numpy(data["X"])).numpy()[:, 0]
            scaled = (data["X"] - ours["scaling/genes/center"]) / ours["scaling/genes/scale"]
        first = {
            name.removeprefix("state/"): values[0].astype(np.float64)
            for name, values in ours.items()
            if "state/" in name
        }
        activations = scaled @ first["hidden.0.linear.weight"].T + first.get("hidden.0.linear.bias", 0)
        if normalized:
            mean, variance, weight, bias = (first[f"hidden.0.normalization.{part}"]
                                            for part in ("running_mean", "running_var", "weight", "bias"))  # fmt: skip
            activations = (activations - mean) / np.sqrt(variance + 1e-5) * weight + bias
        output = np.maximum(activations, 0) @ first["output.weight"].T + first["output.bias"]
        expected = ours["target/center"] + ours["target/scale"] * output[:, 0]
        assert found == pytest.approx(expected, abs=1e-4)

    def test_linear_weights_predict_as_ours(self, legacy):
        base, folder = folders(legacy, "expression")
        weights = np.load(folder / "models/model_h_d0.0.npy")
        with np.load(folder / "data/processed/test_data_log1p.npz") as data:
            found = np.column_stack([np.ones(len(data["X"])), data["X"]]) @ weights
        predictions = pd.read_csv(base / "linear/predictions.tsv", sep="\t")
        expected = predictions.loc[predictions["kind"] == "minimum_norm", "predicted"].to_numpy()
        assert found == pytest.approx(expected, abs=1e-4)

    def test_lists_of_networks(self, legacy):
        base, folder = folders(legacy, "expression")
        for model, tag in TAGS.items():
            with h5py.File(base / f"attributions/{model}/integrated_gradients.h5") as file:
                genes = file["features/name"].asstr()[...]
                magnitude, direction = (
                    file[f"all/{part}"][:, 0].astype(float).mean(axis=0) for part in ("magnitude", "direction")
                )
            scores = pd.Series(np.sign(direction) * magnitude, index=genes)
            every = pd.read_csv(folder / f"outputs/attributions_top_genes/all_gene_attributions_{tag}.csv")
            assert list(every.columns) == ["Gene", "Attribution_Score"]
            assert every["Gene"].tolist() == genes.tolist()
            assert every["Attribution_Score"].to_numpy() == pytest.approx(scores.to_numpy(), rel=1e-6)
            for direction, sign in SIGNS.items():
                expected = (sign * scores[sign * scores > 0]).nlargest(10)
                for part in ("", "promising_results/top_genes/"):
                    found = pd.read_csv(folder / f"outputs/{part}top_{direction}_genes_{tag}.csv")
                    assert list(found.columns) == ["Gene", "Attribution_Score"]
                    assert found["Gene"].tolist() == expected.index.tolist()
                    assert sign * found["Attribution_Score"].to_numpy() == pytest.approx(expected.to_numpy())

    def test_list_of_the_linear_model(self, legacy):
        base, folder = folders(legacy, "expression")
        table = pd.read_csv(base / "linear/coefficients.tsv", sep="\t")
        weights = table[table["kind"] == "minimum_norm"].set_index("feature")["coefficient"]
        for direction, sign in SIGNS.items():
            found = pd.read_csv(folder / f"outputs/top_{direction}_genes_h_d0.0.csv")
            assert list(found.columns) == ["Gene", "Weight"]
            assert found["Gene"].tolist() == (sign * weights).nlargest(10).index.tolist()
            assert found["Weight"].to_numpy() == pytest.approx(weights[found["Gene"]].to_numpy())

    def test_matrix_and_regulators(self, legacy):
        base, folder = folders(legacy, "expression")
        lists = {f"{tag}_{short}": set(pd.read_csv(base / f"top/{model}_{name}.csv")["feature"])
                 for model, tag in TAGS.items() for name, short in (("negative", "neg"), ("positive", "pos"))}  # fmt: skip
        matrix = pd.read_csv(folder / "outputs/promising_results/top_genes/top_gene_matrix.csv").set_index("Gene")
        assert list(matrix.columns) == [
            "h16_d0.0_bn_neg", "h16_d0.0_bn_pos", "h8_d0.0_neg", "h8_d0.0_pos", "Total_Neg", "Total_Pos", "Avg_Attribution",
        ]  # fmt: skip
        assert set(matrix.index) == set().union(*lists.values())
        for name, genes in lists.items():
            assert matrix[name].tolist() == [int(gene in genes) for gene in matrix.index]
        totals = {side: sum(matrix[f"{tag}_{side.lower()}"] for tag in TAGS.values()) for side in ("Neg", "Pos")}
        assert all((matrix[f"Total_{side}"] == total).all() for side, total in totals.items())
        every = [pd.read_csv(folder / f"outputs/attributions_top_genes/all_gene_attributions_{tag}.csv", index_col="Gene")
                 for tag in TAGS.values()]  # fmt: skip
        same = np.sign(every[0]["Attribution_Score"]) == np.sign(every[1]["Attribution_Score"])
        mean = ((every[0] + every[1]) / 2)["Attribution_Score"][same]
        shared = matrix.index.intersection(mean.index)
        assert len(shared)
        assert matrix.loc[shared, "Avg_Attribution"].to_numpy() == pytest.approx(mean[shared].to_numpy(), rel=1e-5)

        found = pd.read_csv(folder / "outputs/top30_positive_and_negative_regulators.csv").set_index("Gene")
        assert list(found.columns) == [
            "Total_Pos", "Total_Neg", "Total_Models", "Stability_Score", "Directional_Confidence", "Confidence_Score",
            "Direction", "Avg_Attribution", "Avg_Attribution_Abs",
        ]  # fmt: skip
        own = matrix.loc[found.index]
        count, apart = own["Total_Pos"] + own["Total_Neg"], (own["Total_Pos"] - own["Total_Neg"]).abs()
        assert (found["Total_Models"] == count).all()
        assert (found["Stability_Score"] == count).all()
        assert (found["Directional_Confidence"] == apart).all()
        assert (found["Confidence_Score"] == count * apart).all()
        assert found["Avg_Attribution_Abs"].to_numpy() == pytest.approx(own["Avg_Attribution"].abs().to_numpy())
        assert set(found.index) == set(matrix.index[(matrix[["Total_Pos", "Total_Neg"]] >= 2).any(axis=1)])

    def test_overlap(self, legacy):
        base, folder = folders(legacy, "expression")
        found = pd.read_csv(folder / "outputs/linear_model/proper_run/summarised_overlap_genes_filtered.csv")
        assert list(found.columns) == [
            "Positive_Overlap_Genes", "Positive_NN_Model_Count", "Negative_Overlap_Genes", "Negative_NN_Model_Count",
        ]  # fmt: skip
        drivers = pd.read_csv(base / "drivers.csv").set_index("feature")
        for direction, sign in SIGNS.items():
            linear = (sign * drivers["linear_coefficient"]).nlargest(10)
            listed = drivers.index[drivers[f"total_{direction}"] >= 2]
            genes = found[f"{direction.capitalize()}_Overlap_Genes"].dropna()
            assert set(genes) == set(listed) & set(linear[linear > 0].index)
            counts = found[f"{direction.capitalize()}_NN_Model_Count"].dropna()
            assert counts.tolist() == drivers.loc[genes, f"total_{direction}"].tolist()
