"""Genuine CLASH pairs (Hejret 2023) through the chain: official roles, and families that no network has seen."""

import pytest
import yaml
from run_workflow import snakemake

from consilience.dataset import Dataset
from consilience.files import read_json, read_table

pytestmark = pytest.mark.workflow
MODEL = {"channels": [16, 8, 16, 16], "step": 4, "final_side": 8, "hidden": [64], "dropout": 0.2}
METHODS = ["integrated_gradients", "mutagenesis"]


def run(folder, work, targets, mode):
    studies = work / "studies"
    studies.mkdir(parents=True)
    tables = {role: str(folder / "mirna" / f"clash_hejret2023_{role}.csv") for role in ("train", "test")}
    study = {
        "domain": "mirna", "source": {"kind": "csv", **tables}, "k": 4, "split": {"mode": mode},
        "models": {"small": {**MODEL, "step": 2}}, "consensus": {"minimum_models": 1},
        "training": {"seeds": 1, "epochs": 8, "learning_rate": 0.001, "weight_decay": 0.001},
        "attribution": {"methods": METHODS, "maximum_samples": 40, "showcase": 40},
        "faithfulness": {"samples": 8, "resamples": 20},
        "analysis": {"n_samples": 2, "interaction_samples": 4, "draws": 1, "permutations": 200, "resamples": 20},
    }  # fmt: skip
    (studies / "clash.yaml").write_text(yaml.safe_dump(study))
    snakemake(work, *(f"results/clash/{target}" for target in targets), studies=studies, check=True)
    return work / "results" / "clash"


def test_official_roles_go_through_the_chain(shared_data, tmp_path):
    targets = ["models/small/metrics.json", "analysis/notes.txt", "drivers.csv"]
    base = run(shared_data, tmp_path, targets, "auto")
    with Dataset.open(base / "dataset.h5") as dataset:
        # 8,193 + 965 rows less 84 pairs that are said to be both.
        assert len(dataset) == 8193 + 965 - 2 * 84
        assert len(dataset.features) == 2 * 4**4
        clusters = dataset.samples["gene_cluster"]
    facts = read_json(base / "split.json")
    assert facts["mode"] == "official"
    role = read_table(base / "split.tsv")["role"]
    assert (role == "test").sum() == 947
    train, validation, test = (set(clusters[role == name]) for name in ("train", "validation", "test"))
    assert validation and not train & validation
    assert train & test
    assert facts["shared"]["group"]["train and test"] > 50
    metrics = read_json(base / "models" / "small" / "metrics.json")
    assert metrics["test"]["roc_auc"]["value"] > 0.62
    assert metrics["trivial"]["seed_match"]["roc_auc"] == pytest.approx(0.606, abs=0.01)
    enrichment = read_table(base / "analysis" / "enrichment.tsv")
    assert set(enrichment["region"]) == {"nucleotides 2-8", "6-mer seed match"}


def test_unseen_families_share_no_family_and_no_gene_cluster(shared_data, tmp_path):
    base = run(shared_data, tmp_path, ["split.tsv", "split_audit.tsv"], "hash")
    split = read_table(base / "split.tsv")
    with Dataset.open(base / "dataset.h5") as dataset:
        samples = dataset.samples.assign(role=split["role"], group=split["group"])
    used = samples[samples["role"] != "excluded"]
    assert (used.groupby("group")["role"].nunique() == 1).all()
    assert (used.groupby("gene_cluster")["role"].nunique() == 1).all()
    assert used.groupby("role").size().min() > 300
    assert (used.groupby("mirna")["role"].nunique() == 1).all()
