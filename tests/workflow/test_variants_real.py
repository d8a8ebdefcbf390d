"""A genuine Truvari bench (Delly calls) through the chain: networks of atoms against QUAL, on chromosomes they never saw."""

import gzip

import numpy as np
import pandas as pd
import pytest
import yaml
from run_workflow import snakemake

from consilience.dataset import Dataset
from consilience.files import read_json, read_table

pytestmark = pytest.mark.workflow
STUDY = {
    "domain": "variants",
    "dimension": 96,
    "dictionary": {"k": 12, "epochs": 30, "seeds": 1},
    "models": {"codes_32": {"hidden": [32]}},
    "training": {"seeds": 2, "epochs": 30, "patience": 5},
    "attribution": {"methods": ["integrated_gradients"], "maximum_samples": 300, "showcase": 4},
    "faithfulness": {"samples": 8, "resamples": 20},
    "analysis": {"samples": 300},
    "consensus": {"minimum_models": 1, "top": 15},
}


@pytest.fixture(scope="module")
def base(shared_data, tmp_path_factory):
    work = tmp_path_factory.mktemp("bench")
    (work / "studies").mkdir()
    source = {"kind": "truvari", "path": str(shared_data / "variants")}
    (work / "studies" / "bench.yaml").write_text(yaml.safe_dump(STUDY | {"source": source}))
    targets = ["overlap.csv", "analysis/notes.txt", "figures/cards.pdf"]
    snakemake(work, *(f"results/bench/{target}" for target in targets), studies=work / "studies", check=True)
    return work / "results" / "bench"


def records(path):
    """The columns of a VCF, by plain text."""
    with gzip.open(path, "rt") as file:
        rows = [line.rstrip("\n").split("\t") for line in file if not line.startswith("#")]
    return pd.DataFrame(rows).rename(columns={0: "chrom", 1: "position", 2: "id", 5: "quality", 7: "info"})


def test_every_call_is_read_and_chromosomes_do_not_cross_roles(shared_data, base):
    parts = [records(shared_data / "variants" / name) for name in ("tp-comp.vcf.gz", "fp.vcf.gz")]
    table = pd.concat(parts, ignore_index=True)
    sizes = table["info"].str.extract(r"SVLEN=(-?\d+)")[0].astype(int).abs()
    with Dataset.open(base / "dataset.h5") as dataset:
        samples, mask = dataset.samples, dataset.mask("consensus")
        assert dataset.target.tolist() == [1] * len(parts[0]) + [0] * len(parts[1])
    assert len(samples) == 9019
    assert samples["id"].tolist() == table["id"].tolist()
    assert samples["size"].tolist() == sizes.tolist()
    assert samples["trivial_quality"].tolist() == table["quality"].astype(float).tolist()
    assert (~mask.all(axis=1) == table["info"].str.contains("CONSENSUS=")).all()
    split = read_table(base / "split.tsv")
    assert split.groupby(samples["chromosome"].to_numpy())["role"].nunique().max() == 1


def test_atoms_tell_more_than_quality_and_size_on_held_out_chromosomes(base):
    metrics = read_json(base / "models" / "codes_32" / "metrics.json")
    network, quality = metrics["test"]["roc_auc"], metrics["trivial"]["quality"]["roc_auc"]
    assert network["low"] > quality > metrics["trivial"]["size"]["roc_auc"]
    # No higher than an answer among the features would make it.
    assert network["high"] < 0.98


def test_shares_of_k_mers_are_those_of_a_plain_count(shared_data, base):
    pairs = str.maketrans("ACGT", "TGCA")
    row = 40
    info = records(shared_data / "variants" / "tp-comp.vcf.gz")["info"][row]
    (sequence,) = (field[len("CONSENSUS=") :] for field in info.split(";") if field.startswith("CONSENSUS="))
    words = [sequence[start : start + 4] for start in range(len(sequence) - 3)]
    counts = pd.Series([min(word, word[::-1].translate(pairs)) for word in words]).value_counts()
    with Dataset.open(base / "dataset.h5") as dataset:
        names = dataset.features.loc[dataset.features["branch"] == "consensus", "name"].str.split().str[1]
        found = dataset.inputs("consensus", np.array([row]))[0]
    assert len(names) == 136
    assert np.allclose(found, counts.reindex(names, fill_value=0) / len(words), atol=1e-6)


def test_most_of_what_training_found_is_confirmed(base):
    bias = read_table(base / "analysis" / "sae_feature_bias_analysis.csv")
    certain = bias[bias["significant"]]
    assert len(certain) > 20
    assert certain["confirmed"].mean() > 0.5
    assert "QUAL alone" in (base / "analysis" / "notes.txt").read_text()
