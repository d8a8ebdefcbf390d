"""What slices add to the chain: looks, analyses, lists, what was planted, and the Python of their READMEs."""

import gzip
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from run_workflow import ROOT, jobs, snakemake

from consilience.attribution.store import read
from consilience.dataset import Dataset
from consilience.files import read_json, read_table

pytestmark = pytest.mark.workflow


def test_jumps_are_followed_where_plain_gradients_miss_them(finished):
    folder = finished[0] / "results" / "fashion_tiny" / "attributions"
    for model in ("k4", "k8"):
        gaps = {}
        for method in ("integrated_gradients", "jump_aware_integrated_gradients"):
            found = read(folder / model / f"{method}.h5")
            gaps[method] = np.median(found.gap) / np.median(found.scale)
        assert gaps["jump_aware_integrated_gradients"] < 1e-4
        assert gaps["integrated_gradients"] > 0.1


@pytest.fixture
def readme(finished, tmp_path, monkeypatch):
    """Run what a slice's README shows on its tiny study, in place of the study and the model that it speaks of."""

    def run(domain: str, model: str, shown: str, change: tuple[str, str] = ("", "")) -> dict:
        """Return the names that the README's Python leaves; `model` stands for `shown`, and `change` is made first."""
        folder = tmp_path / "results" / domain
        shutil.copytree(finished[0] / "results" / f"{domain}_tiny", folder, symlinks=True)
        (folder / "models" / model).rename(folder / "models" / shown)
        monkeypatch.chdir(tmp_path)
        text = (ROOT / "workflow" / "consilience" / "domains" / domain / "README.md").read_text()
        (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert change[0] in block
        names: dict = {}
        exec(block.replace(*change), names)
        return names

    return run


def test_the_readme_of_fashion_does_what_it_says(readme):
    names = readme("fashion", "k4", "k50")
    assert names["maps"].shape == (1, 5, 28, 28)
    assert names["found"].gap["gap"].max() < 1e-4


def test_a_pair_can_be_looked_at(finished, copied):
    split = read_table(finished[0] / "results" / "mirna_tiny" / "split.tsv")
    name = split.loc[split["role"] == "test", "sample"].iloc[0]
    target = f"results/mirna_tiny/pairs/{name}.png"
    run = snakemake(copied, target, names=("mirna_tiny",), check=True)
    assert jobs(run.stdout) == {"mirna_look": 1}
    assert (copied / target).read_bytes().startswith(b"\x89PNG")
    with Dataset.open(copied / "results" / "mirna_tiny" / "dataset.h5") as dataset:
        pair = dataset.samples.set_index("id").loc[name]
    table = read_table((copied / target).with_suffix(".tsv"))
    for branch in ("mirna", "site"):
        assert "".join(table.loc[table["branch"] == branch, "nucleotide"]) == pair[branch]
    run = snakemake(copied, "results/mirna_tiny/pairs/pair-99999.png", names=("mirna_tiny",))
    assert run.returncode
    assert "no sample 'pair-99999'" in run.stdout


def test_the_readme_of_mirna_does_what_it_says(readme, capsys):
    names = readme("mirna", "plain", "small_135", ('"results/mirna", 5', '"results/mirna", 3'))
    assert capsys.readouterr().out.count("pair") >= 10
    assert names["found"].arrays["site"].shape == (1, 1, 8, 8)
    # From a single shuffle, by two members of four channels: what is meant is that it sums to about the change.
    assert names["found"].gap["gap"].max() < 0.5 * names["found"].gap["change"].max()


def test_seed_k_mers_are_found_again_by_sequence_methods(finished):
    """Even tiny networks rank what was planted in the site far above chance by mutagenesis."""
    recovery = read_table(finished[0] / "results" / "mirna_tiny" / "recovery.tsv")
    rows = recovery[(recovery["scope"] == "consensus") & (recovery["effect"] == "linear")].set_index("method")
    assert rows.loc["mutagenesis", "average_precision"] > 2 * rows.loc["mutagenesis", "chance"]


def test_a_recording_can_be_looked_at(finished, copied):
    split = read_table(finished[0] / "results" / "eeg_tiny" / "split.tsv")
    name = str(split.loc[split["role"] == "test", "sample"].iloc[0])
    target = f"results/eeg_tiny/explanations/{name}"
    run = snakemake(copied, target, names=("eeg_tiny",), check=True)
    assert jobs(run.stdout) == {"eeg_look": 1}
    files = ["alignment.png", "attribution.png", "cross_attention.png", "head_contributions.png", "report.txt"]
    assert sorted(path.name for path in (copied / target).iterdir() if path.name[0] != ".") == files
    with Dataset.open(copied / "results" / "eeg_tiny" / "dataset.h5") as dataset:
        label = dataset.classes[dataset.labels[dataset.rows_of([name])[0]]]
    assert f"({label})" in (copied / target / "report.txt").read_text().split("Ground Truth: ")[1].splitlines()[0]
    run = snakemake(copied, "results/eeg_tiny/explanations/99999", names=("eeg_tiny",))
    assert run.returncode
    assert "no sample '99999'" in run.stdout
    assert not (copied / "results/eeg_tiny/explanations/99999").exists()


def test_the_readme_of_eeg_does_what_it_says(readme, tmp_path, capsys):
    names = readme("eeg", "fused", "small", ("num_heads=4", "num_heads=2"))
    assert names["results"]["attention_dict"]["eeg_to_spec"].shape[:2] == (2, 2)
    assert set(names["heads"]) == {"eeg_to_spec", "spec_to_eeg"}
    assert "CORRECT" in capsys.readouterr().out.upper()
    assert (tmp_path / "attention.png").read_bytes().startswith(b"\x89PNG")


def test_coherence_is_kept_and_an_ablation_tested_but_not_explained(finished):
    base = finished[0] / "results" / "eeg_tiny"
    with Dataset.open(base / "dataset.h5") as dataset:
        coherence = dataset.auxiliary()["coherence"]
        assert coherence.shape[1:] == (3, 19, 19)
    assert ((coherence == 0) | (coherence > 0.2)).all()
    assert 0 < (coherence > 0).mean() < 0.9
    ablations = read_table(base / "analysis" / "ablations.tsv").set_index("model")
    value = read_json(base / "models" / "eeg_alone" / "metrics.json")["test"]["kl_divergence"]["value"]
    assert ablations.loc["eeg_alone", "kl_divergence"] == pytest.approx(value)
    assert not (base / "attributions" / "eeg_alone").exists()


def test_planted_rhythms_are_found(finished):
    recovery = read_table(finished[0] / "results" / "eeg_tiny" / "recovery.tsv")
    linear = recovery[(recovery["scope"] == "linear") & (recovery["effect"] == "all")]
    assert linear["average_precision"].mean() > 0.5
    assert linear["chance"].max() < 0.15


def test_atoms_are_tested_on_held_out_chromosomes_and_join_the_overlap(finished):
    base = finished[0] / "results" / "variants_tiny"
    split = read_table(base / "split.tsv").set_index("sample")["role"]
    with Dataset.open(base / "encoded.h5") as dataset:
        samples, codes, labels = dataset.samples, dataset.inputs("codes"), dataset.labels
        names = list(dataset.features["name"])
    roles = split.loc[samples["id"]].to_numpy()
    assert pd.crosstab(samples["chromosome"], roles).gt(0).sum(axis=1).max() == 1
    bias = read_table(base / "analysis" / "sae_feature_bias_analysis.csv").set_index("feature")
    for role, prefix in (("train", ""), ("test", "test_")):
        on = codes[roles == role] > 0
        for name, row in bias.iterrows():
            active = on[:, names.index(name)]
            assert row[f"{prefix}TP_on"] == (active & (labels[roles == role] == 1)).sum()
            assert row[f"{prefix}FP_on"] == (active & (labels[roles == role] == 0)).sum()
    overlap = read_table(base / "overlap.csv")
    assert "networks;linear;chi2" in set(overlap["sets"])
    listed = read_table(base / "analysis" / "chi2.csv")
    assert set(listed["feature"]) <= set(bias.index[bias["significant"]])
    assert overlap["size_chi2"].dropna().max() == listed["direction"].value_counts().max()


def test_truvari_s_answers_are_no_features(finished):
    """Every field that holds the answer is in the simulated files; networks do not know it."""
    base = finished[0] / "results" / "variants_tiny"
    with gzip.open(base / "raw" / "tp-comp.vcf.gz", "rt") as file:
        assert "TruScore=" in file.read()
    with Dataset.open(base / "dataset.h5") as dataset:
        assert not [name for name in dataset.features["name"] if re.search("Tru|Match|Pct|Distance", name)]
    for model in ("narrow", "wide"):
        assert read_json(base / "models" / model / "metrics.json")["test"]["roc_auc"]["value"] < 0.98


def test_the_readme_of_variants_does_what_it_says(readme):
    names = readme("variants", "narrow", "codes_64")
    assert names["atoms"].shape[:2] == (1, 5)
    assert names["strongest"].startswith("atom ")
    assert len(names["odds"].low) == names["atoms"].shape[2]
