"""The whole chain on two domains and three tasks: what it leaves, what it reruns, and what it says."""

import hashlib
import re

import numpy as np
import pandas as pd
import pytest
from run_workflow import ROOT, STUDIES, jobs, snakemake

from consilience.attribution.store import read
from consilience.configuration import load_study
from consilience.consensus.lists import ModelAttribution, top_list
from consilience.dataset import Dataset
from consilience.evaluation import with_interval
from consilience.files import read_json, read_table
from consilience.targets import MODEL_FILES, targets_of
from consilience.training.ensemble import Ensemble

pytestmark = pytest.mark.workflow
NAMES = (
    "toy", "toy_two_classes", "expression_tiny", "fashion_tiny", "mirna_tiny", "eeg_tiny", "variants_tiny", "tabular_tiny",
)  # fmt: skip
DRIVER_COLUMNS = [
    "feature", "target", "rank", "direction", "average_attribution", "total_positive", "total_negative",
    "total_models", "stability_score", "directional_confidence", "confidence_score", "sign_probability",
    "linear_coefficient", "linear_rank", "in_overlap",
]  # fmt: skip

# By domain, the most that integrated gradients may miss: a quadrature, where max pools, many units and attention bend the way.
GAPS = {"mirna": 8e-2, "eeg": 8e-2}
NONE = r"(?!)"
# By domain, the list that its own rules add to the overlap.
EXTRA_LISTS = {"toy": "variable", "variants": "chi2"}
# By domain, what only its own rules make.
OWN_FILES = {
    "toy": r"/variable\.csv$|/variable\.txt$|/variance\.tsv$",
    "fashion": r"/analysis/|/figures/(class_maps|class_overlays|atoms|sheets|dictionary|ablation|methods_agreement|driver_maps)",
    "mirna": r"/analysis/|/figures/(pairs/|positions|interactions|methods_agreement|clusters|outcomes|kmer_maps|average_|sheets|mirna_conv1|site_conv1)",
    "variants": r"/analysis/|/figures/(bias_|volcano|confirmation|size_profiles|type_specialization|coactivation|dictionary|raw_attributions|cards)",
    "eeg": r"/analysis/|/figures/(topographies|time_courses|attention|heads|modalities|edges|calibration|outcomes)",
}


def digests(directory):
    """SHA-256 of every result but timestamps, and what the report says of times and memory."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.joinpath("results").rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.name != "run.js"
    }


def test_the_run_ends_with_a_summary(finished):
    _, output = finished
    for text in ("toy: circle, square, triangle; 240 samples", "expression_tiny: IRF2BP2; 160 samples", "drivers",
                 "recovery", "look at    results/report/expression_tiny.html", " results/expression_tiny/top_drivers.csv"):  # fmt: skip
        assert text in output


def test_a_second_run_does_nothing(copied):
    run = snakemake(copied, check=True)
    assert "Nothing to be done" in run.stdout


def test_every_byte_is_the_same_on_one_core(finished, tmp_path):
    snakemake(tmp_path, cores=1, check=True)
    expected, found = digests(finished[0]), digests(tmp_path)
    assert [path for path in expected if expected[path] != found.get(path)] == []
    assert set(expected) == set(found)


def test_every_job_has_a_log_that_opens_with_seed_device_and_versions(finished):
    directory = finished[0]
    logs = sorted(directory.joinpath("logs").rglob("*.log"))
    benchmarks = sorted(directory.joinpath("benchmarks").rglob("*.tsv"))
    assert [path.relative_to(directory / "logs").with_suffix("") for path in logs] == [
        path.relative_to(directory / "benchmarks").with_suffix("") for path in benchmarks
    ]
    for log in logs:
        first = log.read_text().splitlines()[0]
        assert ": seed " in first, log
        assert ", device " in first, log
        assert "numpy" in first, log


@pytest.mark.parametrize("name", NAMES)
class TestContract:
    """Every file of a study, as DESIGN's contract has it."""

    def base(self, finished, name):
        return finished[0] / "results" / name, load_study(STUDIES / f"{name}.yaml")

    def dataset(self, base, study):
        return Dataset.open(base / ("encoded.h5" if study.encoded else "dataset.h5"))

    def test_split(self, finished, name):
        base, study = self.base(finished, name)
        split = read_table(base / "split.tsv", ("sample", "group", "role"))
        with self.dataset(base, study) as dataset:
            assert split["sample"].tolist() == dataset.samples["id"].tolist()
        facts = read_json(base / "split.json")
        counts = {role: part["samples"] for role, part in facts["roles"].items()}
        assert counts == split["role"].value_counts().drop("excluded", errors="ignore").to_dict()
        audit = read_table(base / "split_audit.tsv", ("step", "rule", "samples_before", "samples_after", "note"))
        assert dict(audit.loc[audit["step"] == "role", ["rule", "samples_after"]].to_numpy()) == counts
        assert audit["samples_before"].iloc[-1] == len(split) - sum(facts["excluded"].values())
        used = split[split["role"] != "excluded"]
        if facts["mode"] == "hash":
            assert used.groupby("group")["role"].nunique().max() == 1
        rest = used[used["role"] != "test"]
        assert rest.groupby("group")["role"].nunique().max() == 1

    def test_models(self, finished, name):
        base, study = self.base(finished, name)
        for model in study.models:
            folder = base / "models" / model
            ensemble = Ensemble.load(folder / "ensemble.safetensors")
            members = read_table(folder / "members.tsv", ("member", "model", "seed", "rows", "permuted"))
            assert len(members) == study.settings["training"]["seeds"] == len(ensemble.members)
            assert set(members["rows"]) == {"all"}
            assert set(members["permuted"]) == {0}
            history = read_table(folder / "history.tsv", ("member", "epoch", "train_loss", "validation_loss", "best"))
            assert history.groupby("member")["best"].sum().eq(1).all()
            metrics = read_json(folder / "metrics.json")
            assert metrics["test"]["n"] == (read_table(base / "split.tsv")["role"] == "test").sum()
            measured = [part for part in metrics["test"].values() if isinstance(part, dict) and part["low"] is not None]
            assert measured
            assert all(part["low"] <= part["value"] <= part["high"] for part in measured)
            assert metrics["trivial"]

    def test_attributions(self, finished, name):
        base, study = self.base(finished, name)
        with self.dataset(base, study) as dataset:
            features, targets, samples = dataset.features, dataset.targets, len(dataset)
            shapes = {branch.name: branch.shape for branch in dataset.branches.values()}
        for model in study.explained:
            for method in study.methods:
                found = read(base / "attributions" / model / f"{method}.h5", showcase=True)
                shape = (study.settings["training"]["seeds"], len(targets), len(features))
                assert found.features["name"].tolist() == features["name"].tolist()
                assert found.targets == targets
                assert all(values.shape == shape for values in found.all.values())
                signed = np.sign(found.all["direction"]) * found.all["magnitude"]
                assert found.all["average_attribution"] == pytest.approx(signed)
                assert (found.all["magnitude"] >= 0).all()
                assert found.all["magnitude"].any()
                assert (found.own_class is None) == (name == "expression_tiny")
                if found.complete:
                    explained = min(samples, study.settings["attribution"]["maximum_samples"])
                    assert found.gap.shape == (*shape[:2], explained)
                    # Few steps in these studies; and codes that switch are followed by one kind of method alone.
                    if not (study.domain == "fashion" and method.startswith("integrated_gradients")):
                        tolerance = GAPS.get(study.domain, 3e-2)
                        assert np.median(found.gap) < tolerance * np.median(found.scale)
                for branch, size in shapes.items():
                    assert found.showcase[branch].shape[3:] == size

    def test_drivers_and_lists(self, finished, name):
        base, study = self.base(finished, name)
        with self.dataset(base, study) as dataset:
            count = len(dataset.features) * len(dataset.targets)
        drivers = read_table(base / "drivers.csv")
        assert list(drivers.columns) == DRIVER_COLUMNS
        assert len(drivers) == count
        assert drivers.notna().all().all()
        matrix = read_table(base / "top_matrix.csv")
        merged = matrix.merge(drivers, on=["target", "feature"], suffixes=("", "_driver"))
        assert len(merged) == len(matrix)
        for direction, sign in (("positive", 1), ("negative", -1)):
            assert (merged[f"total_{direction}"] == merged[f"total_{direction}_driver"]).all()
            flags = matrix[[f"{model}_{direction}" for model in study.voters]]
            assert (flags.sum(axis=1) == matrix[f"total_{direction}"]).all()
            for model in study.explained:
                listed = read_table(base / "top" / f"{model}_{direction}.csv")
                assert (sign * listed["average_attribution"] > 0).all()
                assert listed.groupby("target").size().max() <= study.settings["consensus"]["top"]

    def test_linear_and_overlap(self, finished, name):
        base, study = self.base(finished, name)
        with self.dataset(base, study) as dataset:
            features, targets, task = dataset.features["name"].tolist(), dataset.targets, dataset.task
        coefficients = read_table(base / "linear" / "coefficients.tsv")
        kinds = ["minimum_norm", "ridge"] if task == "regression" else ["logistic", "ridge"]
        assert sorted(coefficients["kind"].unique()) == kinds
        for _, part in coefficients.groupby(["kind", "target"]):
            assert part["feature"].tolist() == features
        assert sorted(read_json(base / "linear" / "metrics.json")) == kinds
        overlap = read_table(base / "overlap.csv")
        own = EXTRA_LISTS.get(study.domain)
        assert len(overlap) == 2 * len(targets) * (4 if own else 1)
        assert own is None or overlap["sets"].str.contains(own).any()
        assert ((overlap["p_value"] >= 0) & (overlap["p_value"] <= 1)).all()

    def test_recovery_compares_methods_models_and_the_linear_model(self, finished, name):
        base, study = self.base(finished, name)
        recovery = read_table(base / "recovery.tsv")
        assert set(recovery["scope"]) == {"consensus", "model", "member", "linear"}
        assert set(recovery[recovery["scope"] == "model"]["name"]) == set(study.explained)
        assert recovery["average_precision"].between(0, 1).all()


def test_planted_drivers_are_found_in_the_tiny_expression_study(finished):
    recovery = read_table(finished[0] / "results" / "expression_tiny" / "recovery.tsv")
    linear = recovery[(recovery["effect"] == "linear") & (recovery["scope"] == "consensus")]
    assert (linear["average_precision"] > 5 * linear["chance"]).all()


def test_the_summary_table_has_a_row_a_study(finished):
    summary = read_table(finished[0] / "results" / "summary.tsv")
    assert summary["study"].tolist() == sorted(NAMES)
    assert pd.notna(summary["network_value"]).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_file_of_a_study_is_asked_for(finished, name):
    """Else one that is deleted would never be made again."""
    study = load_study(STUDIES / f"{name}.yaml")
    base = finished[0] / "results" / name
    found = {str(path.relative_to(finished[0])) for path in base.rglob("*") if path.is_file()}
    own = {path for path in found if re.search(OWN_FILES.get(study.domain, NONE), path)}
    assert {path for path in found if "/raw/" not in path} == {*targets_of(study), *own}


def test_a_model_that_is_not_explained_is_trained_and_tested_alone(finished):
    base, study = finished[0] / "results" / "toy", load_study(STUDIES / "toy.yaml")
    files = [str(path.relative_to(base)) for path in base.rglob("*ablation*")]
    files += [str(path.relative_to(base)) for path in base.glob("*/ablation/*")]
    assert sorted(files) == ["models/ablation", *sorted(f"models/ablation/{file}" for file in MODEL_FILES)]
    assert study.models == ["perceptron", "ablation", "recurrent", "narrow"]
    assert study.explained == ["perceptron", "recurrent", "narrow"]
    # No file of a model behind it was taken for another's.
    for model in study.explained:
        attributions = read(base / "attributions" / model / f"{study.primary}.h5")
        assert attributions.model == model
        expected = top_list(ModelAttribution.of(attributions), study.settings["consensus"]["top"], "positive")
        listed = read_table(base / "top" / f"{model}_positive.csv")
        assert listed["feature"].tolist() == expected["feature"].tolist()
        assert listed["magnitude"].to_numpy() == pytest.approx(expected["magnitude"].to_numpy())
    value = read_json(base / "models" / "ablation" / "metrics.json")["test"]["kl_divergence"]
    (part,) = [part for part in (finished[0] / "results" / "summary.txt").read_text().split("\n\n") if "toy: " in part]
    assert re.search(rf"^ +ablation +{re.escape(with_interval(value))}$", part, re.MULTILINE)


def test_a_slice_s_own_notes_stand_in_the_summary(finished):
    text = (finished[0] / "results" / "summary.txt").read_text()
    parts = {part.split(":")[0].strip(): part for part in text.split("\n\n")}
    notes = [
        (finished[0] / "results" / name / "variable.txt").read_text().strip() for name in ("toy", "toy_two_classes")
    ]
    assert all(
        f"  note       {note}" in parts[name] for name, note in zip(("toy", "toy_two_classes"), notes, strict=True)
    )
    assert "varies most" not in parts["expression_tiny"]


def test_a_slice_s_own_method_and_a_named_reference_have_files(finished):
    folder = finished[0] / "results" / "toy" / "attributions" / "perceptron"
    assert read(folder / "distance.h5").reference == "first_panel"
    assert read(folder / "integrated_gradients_from_zero.h5").reference == "zero"


def test_what_is_deleted_is_made_again(copied):
    for file in ("toy/top_matrix.csv", "toy_two_classes/variance.tsv", "expression_tiny/audit.tsv",
                 "fashion_tiny/figures/sheets_k4.pdf", "mirna_tiny/analysis/enrichment.tsv",
                 "eeg_tiny/analysis/modalities.tsv", "variants_tiny/analysis/chi2.csv",
                 "variants_tiny/figures/cards.pdf"):  # fmt: skip
        (copied / "results" / file).unlink()
    found = jobs(snakemake(copied, "--dry-run", check=True).stdout)
    assert {
        "toy_consensus",
        "toy_variable",
        "prepare",
        "fashion_tiny_fashion_figures",
        "mirna_tiny_mirna_analysis",
        "eeg_tiny_eeg_analysis",
        "variants_bias",
        "variants_tiny_variants_figures",
    } <= set(found)


def test_a_single_target_reruns_alone(finished, copied):
    target = "results/toy/attributions/recurrent/saliency.h5"
    (copied / target).unlink()
    run = snakemake(copied, target, "--dry-run", check=True)
    assert jobs(run.stdout) == {"toy_attribute": 1}
    snakemake(copied, target, check=True)
    assert (copied / target).read_bytes() == (finished[0] / target).read_bytes()


def test_the_shipped_default_is_what_the_readme_runs(tmp_path):
    run = snakemake(tmp_path, "results/expression/attributions/mlp_32/saliency.h5", "--dry-run",
                    studies=ROOT / "config" / "studies", check=True)  # fmt: skip
    assert jobs(run.stdout)["expression_attribute"] == jobs(run.stdout)["train"] == 1
