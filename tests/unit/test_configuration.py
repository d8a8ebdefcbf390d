from pathlib import Path

import pytest
import yaml

from consilience.configuration import check_config, load_studies, load_study, slice_schema
from consilience.domains import slices
from consilience.errors import ConsilienceError

ROOT = Path(__file__).parents[2]
TOY = {"domain": "toy", "source": {"kind": "simulate"}, "models": {"small": {"width": 4}, "large": {}}}


def study(folder, changes=None, name="mine"):
    """Write a toy study with `changes` (dotted keys; None removes) and load it."""
    content = yaml.safe_load(yaml.safe_dump(TOY))
    for key, value in (changes or {}).items():
        *path, last = key.split(".")
        part = content
        for step in path:
            part = part.setdefault(step, {})
        part.pop(last, None) if value is None else part.update({last: value})
    path = Path(folder, f"{name}.yaml")
    path.write_text(yaml.safe_dump(content))
    return load_study(path)


def test_defaults_are_filled_at_every_depth(tmp_path):
    settings = study(tmp_path).settings
    assert settings["source"] == {"kind": "simulate", "samples": 240}
    assert settings["training"]["recipe"] == "sgd"
    assert settings["split"]["salt"] == "consilience"
    assert settings["models"] == {
        "small": {"width": 4, "kind": "perceptron", "consensus": True},
        "large": {"width": 8, "kind": "perceptron", "consensus": True},
    }
    assert "epochs" not in settings["training"]  # the recipe's to say


def test_relative_paths_belong_to_the_study_file(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = study(tmp_path, {"source": {"kind": "folder", "path": "data"}})
    assert found.raw == (str(tmp_path / "data"),)
    assert found.settings["source"]["path"] == str(tmp_path / "data")


def test_a_checkpoint_is_no_raw_file(tmp_path):
    (tmp_path / "weights.pt").touch()
    found = study(tmp_path, {"models.small.checkpoint": "weights.pt"})
    assert found.raw == found.tables == ()
    assert found.settings["models"]["small"]["checkpoint"] == str(tmp_path / "weights.pt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"domain": "toi"}, r"mine\.yaml: domain: 'toi' is no domain; expected one of .*nearest: toy"),
        ({"domain": None}, r"mine\.yaml: domain: no domain; expected one of"),
        ({"source.kind": "simulated"}, "source.kind: 'simulated' is no source of toy; .*nearest: simulate"),
        ({"source": None}, "source.kind: None is no source of toy"),
        ({"models": None}, "models: missing; it has no default"),
        ({"trainin": {}}, "trainin: unknown key; nearest: training"),
        ({"training.epoch": 3}, "training.epoch: unknown key; nearest: epochs"),
        ({"source.sample": 3}, "source.sample: unknown key; nearest: samples"),
        ({"models.small.widht": 3}, "models.small.widht: unknown key; nearest: width"),
        ({"training.learning_rate": "1e-3"}, r"training.learning_rate: '1e-3' is text to YAML.*such as 1\.0e-03"),
        ({"training.recipe": "adm"}, "training.recipe: 'adm' is not one of sgd, adam, adamw; nearest: adam"),
        ({"training.epochs": 0}, "training.epochs: 0 is less than the minimum of 1 .*Most passes"),
        ({"split.test": 0.5}, "split: train . validation . test is 1.35; expected 1"),
        (
            {"attribution.methods": ["salience", "integrated_gradients"]},
            "attribution.methods: unknown method 'salience'.*nearest: saliency",
        ),
        ({"attribution.methods": ["saliency"]}, "attribution.primary: 'integrated_gradients' is not among"),
        ({"consensus.minimum_models": 3}, "consensus.minimum_models: 3, but 2 models have a vote"),
        ({"models.small.checkpoint": "none.pt"}, "models.small.checkpoint: none.pt: no such file or folder"),
        ({"source": {"kind": "folder", "path": "gone"}}, "source.path: gone: no such file or folder"),
        ({"models": "sevn"}, "models: 'sevn' is no preset of toy"),
        ({"models": {"a b": {}}}, "models: 'a b' does not match"),
    ],
)
def test_a_fault_is_one_line_with_file_key_value_and_expectation(tmp_path, changes, message):
    with pytest.raises(ConsilienceError, match=message) as caught:
        study(tmp_path, changes)
    assert str(tmp_path / "mine.yaml") in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_all_faults_are_told_at_once(tmp_path):
    with pytest.raises(ConsilienceError) as caught:
        study(tmp_path, {"training.epoch": 3, "training.clip": "much", "consensus.top": 0})
    assert [line.split(": ")[1] for line in str(caught.value).split("\n")] == [
        "consensus.top", "training.epoch", "training.clip",
    ]  # fmt: skip


def test_yaml_that_cannot_be_read_names_its_line(tmp_path):
    (tmp_path / "mine.yaml").write_text("domain: toy\nsource: {kind: simulate\n")
    with pytest.raises(ConsilienceError, match=r"mine\.yaml: line 3: not valid YAML"):
        load_study(tmp_path / "mine.yaml")


def test_studies_are_found_and_picked(tmp_path):
    for name in ("one", "two"):
        study(tmp_path, name=name)
    assert list(load_studies(tmp_path)) == ["one", "two"]
    assert list(load_studies(tmp_path, ["two"])) == ["two"]
    assert list(load_studies(tmp_path, "one")) == ["one"]
    with pytest.raises(ConsilienceError, match="no study 'too' in .*nearest: two"):
        load_studies(tmp_path, ["too"])
    with pytest.raises(ConsilienceError, match="no study found"):
        load_studies(tmp_path / "nothing")


def test_the_config_is_checked_too():
    assert check_config({}) == {"threads": 1, "device": "auto"}
    with pytest.raises(ConsilienceError, match="config: thread: unknown key; nearest: threads"):
        check_config({"thread": 2})


def test_the_chain_sections_do_not_reach_preparation(tmp_path):
    assert set(study(tmp_path).preparation) == {"source", "seed", "components", "votes"}


@pytest.mark.parametrize("path", sorted(ROOT.glob("config/studies/*.yaml")), ids=lambda path: path.stem)
def test_shipped_studies_are_valid(path):
    assert load_study(path).models


@pytest.mark.parametrize("domain", sorted(slices()))
def test_every_key_of_a_slice_is_described_or_fixed(domain):
    if "tests" in slices()[domain].parts:
        pytest.skip("the tests' own domain has no readers")

    def undescribed(schema, key):
        for name, part in schema.get("properties", {}).items():
            if not {"description", "const"} & set(part):
                yield f"{key}.{name}"
            yield from undescribed(part, f"{key}.{name}")

    schema = slice_schema(domain)
    parts = {"": schema, **{f"source {kind}": part for kind, part in schema["sources"].items()}}
    missing = [name for key, part in parts.items() for name in undescribed(part, key)]
    assert [name for name in missing if name not in (".split", ".models")] == []
