"""The code blocks of README.md do what it says."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from consilience.attribution import pieces
from consilience.configuration import load_studies
from consilience.dataset import Dataset
from consilience.domains import slices
from consilience.files import write_table
from consilience.training.train import train_model
from tests.unit.training_examples import genes_dataset, perceptron, split_of

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
SCHEMA = ROOT / "workflow" / "consilience" / "schemas" / "study.schema.yaml"

SHIPPED = {name for name, folder in slices().items() if ROOT / "workflow" in folder.parents}


def section(title):
    return README.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_study_of_the_five_minutes_loads(tmp_path):
    """Each is a whole file under its name, with a command of its own; what its source names is made here."""
    text = section("Your own data in five minutes")
    blocks = re.findall(r"```yaml\n# my_studies/(\w+)\.yaml\n(.*?)```", text, re.DOTALL)
    assert text.count("```yaml") == len(blocks)
    for name, block in blocks:
        (tmp_path / f"{name}.yaml").write_text(block)
        for key, path in yaml.safe_load(block)["source"].items():
            place = tmp_path / path
            if key != "kind":
                place.write_bytes(b"") if place.suffix else place.mkdir()
        assert f"--config studies_directory=my_studies studies=[{name}]\n" in text
    studies = load_studies(tmp_path)
    assert {study.domain for study in studies.values()} == SHIPPED
    assert all(study.raw and len(study.voters) > 1 for study in studies.values())


def test_the_table_of_domains_names_all_that_ship():
    named = re.findall(r"^\| \[(\w+)\]\(workflow/consilience/domains/\1/README\.md\)", README.read_text(), re.MULTILINE)
    assert set(named) == SHIPPED


def test_what_readme_links_to_is_there():
    places = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text())
    assert [place for place in places if not (ROOT / place).exists()] == []


@pytest.mark.parametrize("file", [README, SCHEMA])
def test_how_far_integration_is_exact_is_said_as_it_is(file):
    assert re.findall(r"up to ([\d,]+) units", file.read_text()) == [f"{pieces.MAXIMUM_UNITS:,}"]


def test_the_readme_does_what_it_says(tmp_path, monkeypatch, capsys):
    """On a study like that of the README, whose first two genes decide the target, with signs + and -."""
    folder = tmp_path / "results" / "expression"
    (folder / "models" / "mlp_32").mkdir(parents=True)
    split = split_of()
    with Dataset.open(genes_dataset(folder / "dataset.h5")) as dataset:
        training = {"recipe": "sgd", "seeds": 2, "epochs": 20}
        trained = train_model(dataset, split, perceptron, {"hidden": [8]}, training, "mlp_32", 0)
    trained.ensemble.save(folder / "models" / "mlp_32" / "ensemble.safetensors")
    write_table(folder / "split.tsv", split)
    monkeypatch.chdir(tmp_path)
    first, second = re.findall(r"```python\n(.*?)```", section("The Python API"), re.DOTALL)
    assert [len(block.replace("\n\n", "\n").splitlines()) for block in (first, second)] <= [10, 6]
    names: dict = {}
    exec(first, names)
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 13
    assert "g0" in printed
    table = names["explainer"].attribute(names["genes"]).table()
    assert set(table["feature"][:2]) == {"g0", "g1"}
    assert np.sign(table.set_index("feature")["direction"])[["g0", "g1"]].tolist() == [1, -1]
    exec(second, names)
    assert capsys.readouterr().out.count("high - low") == 4
    assert names["attribution"].arrays["inputs"].shape == (1, 6, 4)
