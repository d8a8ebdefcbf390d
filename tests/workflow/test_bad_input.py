"""What a person sees when something is wrong: one clear line, a non-zero exit, nothing half-written."""

import gzip
import pickle
import re
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from run_workflow import STUDIES, snakemake

pytestmark = pytest.mark.workflow
EXPRESSION = yaml.safe_load((STUDIES / "expression_tiny.yaml").read_text())


def study(folder, name, content):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder


def lines_with(output, text):
    return [line for line in output.splitlines() if text in line]


@pytest.fixture(scope="module")
def raw(finished):
    return next((finished[0] / "results" / "expression_tiny" / "raw").glob("*.h5"))


def test_a_study_with_faults_names_them_all_and_starts_nothing(tmp_path):
    content = {**EXPRESSION, "target": None, "trainin": {}, "source": {"kind": "archs4", "path": "gone.h5"}}
    run = snakemake(tmp_path / "work", studies=study(tmp_path / "studies", "mine", content))
    assert run.returncode != 0
    assert lines_with(run.stdout, "mine.yaml: trainin: unknown key; nearest: training")
    assert lines_with(run.stdout, "mine.yaml: target: ")
    assert lines_with(run.stdout, "mine.yaml: source.path: gone.h5: no such file or folder")
    assert not re.search("common.smk|Snakefile|WorkflowError|BadInputError", run.stdout)
    assert not (tmp_path / "work" / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["results/toy/attributions/recurent/saliency.h5"], "no model 'recurent' among .*nearest: recurrent"),
        (["results/toy/attributions/recurrent/salience.h5"], "no method 'salience' among .*nearest: saliency"),
        (["./results/expression_tiny/top/mlp8_positive.csv"], "has no such file.*nearest: .*top/mlp_8_positive.csv"),
        (["results/expression_tiny/driver.csv"], "expression_tiny has no such file; nearest: .*drivers.csv"),
        (["results/toy/varianc.tsv"], "study toy has no such file; nearest: results/toy/variance.tsv"),
        (["results/fashion_tiny/figures/class_maps_k3.png"], "nearest: results/fashion_tiny/figures/class_maps_k"),
        (
            ["results/toi/drivers.csv"],
            "no study 'toi' among eeg_tiny, expression_tiny, fashion_tiny, mirna_tiny, tabular_tiny, toy, "
            "toy_two_classes, variants_tiny; nearest: toy",
        ),
    ],
)
def test_a_target_that_cannot_be_is_answered_with_the_nearest(tmp_path, arguments, message):
    run = snakemake(tmp_path, *arguments)
    assert run.returncode != 0
    assert any(re.search(message, line) for line in run.stdout.splitlines()), run.stdout


def test_an_unknown_study_and_an_empty_folder(tmp_path):
    run = snakemake(tmp_path, names=("expresion_tiny",))
    assert run.returncode != 0
    assert lines_with(run.stdout, "no study 'expresion_tiny' in ")[0].startswith("studies: no study")
    assert "common.smk" not in run.stdout
    (tmp_path / "empty").mkdir()
    run = snakemake(tmp_path, studies=tmp_path / "empty")
    assert run.returncode != 0
    assert lines_with(run.stdout, "no study found")


def failing(tmp_path, content, *targets):
    """Run a study that must fail; returns the output and what is left of its results."""
    work = tmp_path / "work"
    run = snakemake(work, *targets, studies=study(tmp_path / "studies", "mine", content))
    assert run.returncode != 0, run.stdout
    left = [path.name for path in work.rglob("results/mine/**/*") if path.is_file()]
    return run.stdout, left


def test_a_truncated_file_is_one_line_and_leaves_nothing(tmp_path, raw):
    cut = tmp_path / "cut.h5"
    cut.write_bytes(raw.read_bytes()[: raw.stat().st_size // 2])
    output, left = failing(tmp_path, {**EXPRESSION, "source": {"kind": "archs4", "path": str(cut)}})
    assert len(lines_with(output, "Error in prepare (study mine): ")) == 1
    assert "cut.h5: damaged or truncated HDF5 file" in lines_with(output, "Error in prepare (study mine): ")[0]
    assert left == []


def test_no_sample_passing_prints_the_audit(tmp_path, raw):
    content = {
        **EXPRESSION,
        "source": {"kind": "archs4", "path": str(raw)},
        "filter": {"max_single_cell_probability": 0},
    }
    output, left = failing(tmp_path, content)
    assert len(lines_with(output, "Error in prepare (study mine): ")) == 1
    assert lines_with(output, "samples_after")
    assert left == []


def test_an_unknown_target_gene_offers_the_nearest(tmp_path, raw):
    content = {**EXPRESSION, "source": {"kind": "archs4", "path": str(raw)}, "target": "IRF2BP"}
    output, left = failing(tmp_path, content)
    assert "IRF2BP2" in lines_with(output, "Error in prepare (study mine): ")[0]
    assert left == []


def test_a_role_left_empty_offers_a_salt(tmp_path, raw):
    with h5py.File(raw) as source, h5py.File(tmp_path / "few.h5", "w") as few:
        source.copy("data", few)
        source.copy("meta", few)
        series = few["meta/samples/series_id"]
        values = np.array([b"GSE%d" % (row % 4) for row in range(len(series))])
        del few["meta/samples/series_id"]
        few["meta/samples/series_id"] = values
    content = {**EXPRESSION, "source": {"kind": "archs4", "path": "../few.h5"}}
    output, left = failing(tmp_path, content)
    (line,) = lines_with(output, "Error in split (study mine): ")
    assert "a role is empty" in line
    works = line.rsplit("split.salt: ", 1)[1].split()[0]
    content["split"] = {"salt": works}
    snakemake(
        tmp_path / "work", "results/mine/split.tsv", studies=study(tmp_path / "studies", "mine", content), check=True
    )
    assert sorted(left) == ["audit.tsv", "dataset.h5"]


def test_a_checkpoint_that_does_not_fit_is_one_line(tmp_path, finished):
    weights = finished[0] / "results" / "expression_tiny" / "models" / "mlp_8" / "ensemble.safetensors"
    content = {
        **EXPRESSION,
        "models": {"mlp_16": {"hidden": [16], "checkpoint": str(weights)}, "other": {"hidden": [8]}},
    }
    output, left = failing(tmp_path, content, "results/mine/models/mlp_16/metrics.json")
    (line,) = lines_with(output, "Error in train (study mine, model mlp_16): ")
    assert "ensemble.safetensors" in line
    assert not [name for name in left if name.startswith(("ensemble", "metrics"))]


def test_a_checkpoint_that_fits_takes_the_place_of_training(tmp_path, finished):
    base = finished[0] / "results" / "expression_tiny" / "models" / "mlp_8"
    content = {**EXPRESSION, "models": {"mlp_8": {**EXPRESSION["models"]["mlp_8"], "checkpoint": str(base / "ensemble.safetensors")},
                                        "mlp_16": EXPRESSION["models"]["mlp_16"]}}  # fmt: skip
    work = tmp_path / "work"
    snakemake(
        work, "results/mine/models/mlp_8/metrics.json", studies=study(tmp_path / "studies", "mine", content), check=True
    )
    found = work / "results" / "mine" / "models" / "mlp_8"
    assert (found / "predictions.tsv").read_bytes() == (base / "predictions.tsv").read_bytes()
    assert len((found / "history.tsv").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("mature_miRNA_Transcript,site,validation\nACGUACGU,ACGUACGU,1\n", "no column mRNA_Site_Transcript; it has "),
        (
            "mature_miRNA_Transcript,mRNA_Site_Transcript,validation\nACGUACGU,ACGXACGU,1\n",
            "row 1: .*'X' at position 4",
        ),
    ],
)
def test_a_table_of_pairs_that_is_none_is_one_line_and_leaves_nothing(tmp_path, table, message):
    (tmp_path / "pairs.csv").write_text(table)
    content = yaml.safe_load((STUDIES / "mirna_tiny.yaml").read_text())
    output, left = failing(tmp_path, {**content, "source": {"kind": "csv", "path": "../pairs.csv"}})
    (line,) = lines_with(output, "Error in prepare (study mine): ")
    assert re.search(f"pairs.csv: {message}", line)
    assert left == []


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("a,b,outcome\n1,2,3\n4,5\n", r"row 2: 2 fields; expected 3, as in the header"),
        ("a,b,outcom\n1,2,3\n", r"target: no column 'outcome'; it has a, b, outcom; nearest: outcom"),
        ("a,b,outcome\n1,,3\n", r"row 1, column b: no value \(1 in 1 columns: b 1\); expected one, or missing: drop"),
    ],
)
def test_a_table_that_is_none_is_one_line_and_leaves_nothing(tmp_path, table, message):
    (tmp_path / "table.csv").write_text(table)
    content = {"domain": "tabular", "source": {"kind": "file", "path": "../table.csv"}, "target": "outcome"}
    output, left = failing(tmp_path, content | {"models": "small"})
    (line,) = lines_with(output, "Error in prepare (study mine): ")
    assert re.search(f"table.csv: {message}", line)
    assert left == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"train_eegs/1000\.parquet: no such file.*line 2 of train\.csv"),
        ("votes", r"train\.csv: line 2: .*sum to (zero|0)"),
        ("channel", r"train_eegs/1000\.parquet: .*Cz"),
    ],
)
def test_a_folder_of_recordings_that_is_none_is_one_line_and_leaves_nothing(finished, tmp_path, change, message):
    folder = shutil.copytree(finished[0] / "results" / "eeg_tiny" / "raw", tmp_path / "hms")
    eeg, table = folder / "train_eegs" / "1000.parquet", pd.read_csv(folder / "train.csv")
    if change == "missing":
        eeg.unlink()
    elif change == "channel":
        pd.read_parquet(eeg).drop(columns="Cz").to_parquet(eeg)
    else:
        table.loc[0, [name for name in table if name.endswith("_vote")]] = 0
        table.to_csv(folder / "train.csv", index=False)
    content = yaml.safe_load((STUDIES / "eeg_tiny.yaml").read_text())
    source = {"kind": "hms", "path": "../hms", "eeg_seconds": 20, "spectrogram_seconds": 26}
    output, left = failing(tmp_path, {**content, "source": source})
    (line,) = lines_with(output, "Error in prepare (study mine): ")
    assert re.search(message, line)
    assert left == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no false call", r"bench/fp\.vcf\.gz: .*no call"),
        ("no VCF", r"bench/fp\.vcf\.gz: .*not a VCF"),
        ("an answer as attribute", "TruScore.*answer"),
    ],
)
def test_a_bench_that_is_none_is_one_line_and_leaves_nothing(finished, tmp_path, change, message):
    folder = shutil.copytree(finished[0] / "results" / "variants_tiny" / "raw", tmp_path / "bench")
    content = yaml.safe_load((STUDIES / "variants_tiny.yaml").read_text())
    content["source"] = {"kind": "truvari", "path": "../bench"}
    if change == "no false call":
        with gzip.open(folder / "fp.vcf.gz", "rt") as file:
            header = [line for line in file if line.startswith("#")]
        (folder / "fp.vcf.gz").unlink()
        (folder / "fp.vcf").write_text("".join(header))
        message = message.replace(r"\.gz", "")
    elif change == "no VCF":
        (folder / "fp.vcf.gz").write_text("chr1 100 deletion")
    else:
        content["attributes"] = ["PE", "TruScore"]
    output, left = failing(tmp_path, content)
    (line,) = lines_with(output, "Error in prepare (study mine): ")
    assert re.search(message, line)
    assert left == []


def test_embeddings_with_code_in_them_are_refused(tmp_path):
    path, ran = tmp_path / "calls.pt", tmp_path / "ran"

    class Code:
        def __reduce__(self):
            return (open, (str(ran), "w"))

    path.write_bytes(pickle.dumps({"embeddings": Code(), "sv_info": []}))
    content = yaml.safe_load((STUDIES / "variants_tiny.yaml").read_text())
    output, left = failing(tmp_path, content | {"source": {"kind": "embeddings", "path": "../calls.pt"}})
    (line,) = lines_with(output, "Error in prepare (study mine): ")
    assert "calls.pt: not a whole file of weights alone" in line
    assert left == []
    assert not ran.exists()
