"""The code blocks of README.md do what it says."""

import re
from pathlib import Path

import numpy as np
import pytest

from consilience.attribution import pieces
from consilience.dataset import Dataset
from consilience.files import write_table
from consilience.training.train import train_model
from tests.unit.training_examples import genes_dataset, perceptron, split_of

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
SCHEMA = ROOT / "workflow" / "consilience" / "schemas" / "study.schema.yaml"


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
    section = README.read_text().split("## The Python API\n")[1].split("\n## ")[0]
    first, second = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
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
