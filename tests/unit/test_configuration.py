from pathlib import Path

import pytest
import yaml

from consilience.configuration import CHAIN, check_config, load_studies, load_study, own_methods, slice_schema
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
        "small": {"width": 4, "kind": "perceptron", "consensus": True, "explain": True},
        "large": {"width": 8, "kind": "perceptron", "consensus": True, "explain": True},
    }
    assert "epochs" not in settings["training"]  # the recipe's to say


def test_a_model_need_not_be_explained(tmp_path):
    alone = {"explain": False, "consensus": False}
    found = study(tmp_path, {"models": {"alone": alone, "narrow": {}, "silent": {"consensus": False}, "wide": {}}})
    assert found.models == ["alone", "narrow", "silent", "wide"]
    assert found.explained == ["narrow", "silent", "wide"]
    assert found.voters == ["narrow", "wide"]


def test_votes_of_models_that_are_not_explained_do_not_count(tmp_path):
    with pytest.raises(ConsilienceError) as caught:
        study(tmp_path, {"models.large.explain": False})
    assert [line.split(": ")[1] for line in str(caught.value).split("\n")] == [
        "models.large.explain", "consensus.minimum_models",
    ]  # fmt: skip


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
        ({"domain": None}, r"mine\.yaml: domain: missing; expected one of"),
        ({"source.kind": "simulated"}, "source.kind: 'simulated' is no source of toy; .*nearest: simulate"),
        ({"source": None}, "source.kind: missing; expected one of simulate, folder"),
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
        (
            {"consensus.minimum_models": 3},
            "consensus.minimum_models: 3, but 2 models have a vote; set .*_models to 2, or",
        ),
        (
            {"models.large.consensus": False},
            "consensus.minimum_models: 2, but 1 model has a vote; set consensus.minimum_models to 1, or add a model$",
        ),
        (
            {"models.large.explain": False, "consensus.minimum_models": 1},
            "models.large.explain: false, but the model has a vote; set models.large.consensus: false$",
        ),
        (
            {"models.small.explain": False, "models.small.consensus": True, "consensus.minimum_models": 1},
            "models.small.explain: false, but the model has a vote; set models.small.consensus: false$",
        ),
        (
            {"models.large": {"explain": False, "consensus": False}},
            "consensus.minimum_models: 2, but 1 model has a vote; set consensus.minimum_models to 1, or add a model$",
        ),
        (
            {"models.small.explain": False, "models.large": {"explain": False, "consensus": False}},
            "models: none is explained, so that none has a vote; set explain: true for at least one$",
        ),
        ({"models.small.checkpoint": "none.pt"}, "models.small.checkpoint: none.pt: no such file or folder"),
        ({"source": {"kind": "folder", "path": "gone"}}, "source.path: gone: no such file or folder"),
        ({"models": "sevn"}, "models: 'sevn' is no preset of toy"),
        (
            {"models.a b": {}},
            "models: 'a b' cannot be a name; expected letters, digits and _, not starting with drivers_",
        ),
        ({"models.drivers_mlp": {}}, "models: 'drivers_mlp' cannot be a name; expected letters.* not starting with"),
        ({"models.mlp_curves": {}}, "models: 'mlp_curves' cannot be a name; expected letters.* not ending in _curves"),
        ({"models.mlp\n": {}}, r"models: 'mlp\\n' cannot be a name"),
        ({"domain": ["toy"]}, r"domain: \['toy'\] is no domain; expected one of"),
        ({"source": 3}, "source: 3 is not keys and values; expected a kind among simulate, folder"),
        ({"source.kind": ["folder"]}, r"source.kind: \['folder'\] is no source of toy"),
        ({"training.seeds": "2"}, "training.seeds: '2' is text to YAML; write an integer without quotes, such as 2$"),
        ({"training.seeds": "1e2"}, "training.seeds: '1e2' is text.*an integer without quotes, such as 100$"),
        ({"training.seeds": 2.5}, "training.seeds: 2.5 is not an integer .Members"),
        ({"training.learning_rate": "1.25e-3"}, r"learning_rate: '1.25e-3' is text.*such as 1\.25e-03$"),
        ({"training.learning_rate": "nan"}, "training.learning_rate: 'nan' is not a finite number"),
        ({"split.train": float("nan")}, "split.train: nan is not a finite number"),
        ({"split.train": float("inf")}, "split.train: inf is not a finite number"),
        ({"split.salt": 7}, "split.salt: 7 is no text to YAML; put quotes around it"),
        ({"training.recipe": 7}, "training.recipe: 7 is no text to YAML"),
        ({"split": 3}, "split: 3 is not keys and values .How samples"),
        ({"source.path": "x", "source.kind": "folder"}, "source.path: x: no such file or folder"),
        ({"models.small.checkpoint": "~nobody_here/x.pt"}, "checkpoint: '~nobody_here/x.pt' cannot be a path"),
        ({"models.small.checkpoint": "x" * 300}, "checkpoint: 'x+' cannot be a path .File name too long"),
        ({"attribution.primary": "salience"}, "attribution.primary: unknown method 'salience'.*nearest: saliency"),
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


def faults(text, folder, name="mine"):
    """Load a study file of `text` and return what is said of it, without the file's name."""
    path = folder / f"{name}.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConsilienceError) as caught:
        load_study(path)
    lines = str(caught.value).split("\n")
    assert all(line.startswith(f"{path}: ") for line in lines), lines
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_faults_of_the_schema_hide_no_others(tmp_path):
    changes = {
        "trainin": {},
        "split.test": 0.35,
        "models.small.checkpoint": "none.pt",
        "attribution.methods": ["integrated_gradients", "salience"],
        "training.seeds": "many",
    }
    with pytest.raises(ConsilienceError) as caught:
        study(tmp_path, changes)
    assert [line.split(": ")[1] for line in str(caught.value).split("\n")] == [
        "trainin", "training.seeds", "models.small.checkpoint", "split", "attribution.methods",
    ]  # fmt: skip


def test_what_is_refused_is_not_judged_again(tmp_path):
    text = """
        domain: toy
        source: {kind: simulate}
        models: {small: {consensus: perhaps}, large: 3, other: {explain: seldom}}
        split: {train: much, test: 0.9}
        attribution: {methods: [7], primary: saliency}
        linear: {folds: }
    """
    assert [line.split(": ")[0] for line in faults(text, tmp_path)] == [
        "attribution.methods.0", "linear.folds", "models.large", "models.other.explain", "models.small.consensus", "split.train",
    ]  # fmt: skip


@pytest.mark.parametrize("head", ["domain: toi\nsource: {kind: simulate}", "domain: toy\nsource: {kind: simulated}"])
def test_an_unknown_domain_or_source_hides_no_fault_of_the_chain(tmp_path, head):
    text = head + "\nmodels: [small]\ntraining: {epoch: 3}\nattribution: {primary: salience}\n"
    found = faults(text, tmp_path)
    assert found[0].startswith(("domain: 'toi' is no domain", "source.kind: 'simulated' is no source"))
    assert any(line.startswith("training.epoch: unknown key") for line in found)
    assert any(line.startswith("attribution.primary: unknown method") for line in found)


def test_every_missing_key_is_told_once(tmp_path):
    text = "domain: expression\nsource: {kind: url, url: 'https://x'}\n"
    assert [line.split(": ")[0] for line in faults(text, tmp_path)] == ["models", "target", "source.sha256"]


START = "domain: toy\nsource: {kind: simulate}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (START + "models:\n  1: {}\n", 'line 4: the key 1 is int, not text, to YAML; quote it: "1"'),
        (START + "models:\n  no: {}\n", 'line 4: the key no is bool, not text, to YAML; quote it: "no"'),
        (START + "models:\n  ? [a]\n  : {}\n", "line 4: not valid YAML (found unhashable key)"),
        (START + "models: {a: {}}\nmodels: {b: {}}\n", "line 4: 'models' is given twice (before in line 3)"),
        (START.encode() + b"models:\n  caf\xe9: {}\n", "line 4: not UTF-8 (byte 0xe9); save the file as UTF-8"),
        (START + "models: &all [*all]\n", "line 3: not valid YAML (found unconstructable recursive node)"),
        ("a: 2024-13-45\n", "not valid YAML (month must be in 1..12)"),
        ("a: \0\n", "not valid YAML (unacceptable character #x0000: special characters are not allowed in"),
        ("[" * 5000, "not valid YAML (nested too deeply)"),
        ("", "expected keys and values, found an empty file"),
        ("- a", "expected keys and values, found list"),
        (START + "models: {a: {}, b: {}}\ntraining:\n", "training: the key is empty; give it values or leave it out"),
        (START + "models: {a: {}, b: }\n", "models.b: the key is empty; give it values or {} for its defaults"),
        (START + "models:\n", "models: the key is empty; give it values"),
    ],
)
def test_a_file_that_means_something_else_to_yaml_is_refused(tmp_path, text, expected):
    (line,) = faults(text, tmp_path)
    assert line == expected or (line.startswith(expected) and expected.endswith(" in"))


def test_all_bad_keys_of_a_file_are_told_and_merged_ones_are_none(tmp_path):
    assert len(faults("1: a\n2: b\nc: d\nc: e\n", tmp_path)) == 3
    (tmp_path / "good.yaml").write_text(START + "models:\n  a: &a {width: 4}\n  b: {<<: *a, width: 5}\n")
    assert load_study(tmp_path / "good.yaml").settings["models"]["b"]["width"] == 5


def test_whole_floats_become_integers_where_the_schema_wants_them(tmp_path):
    settings = study(tmp_path, {"training.seeds": 2.0, "consensus.top": 5.0, "training.clip": 3.0}).settings
    path = tmp_path / "expression.yaml"
    text = "domain: expression\nsource: {kind: simulate}\ntarget: X\nmodels: {a: {hidden: [64.0, 8]}, b: {}}\n"
    path.write_text(text)
    hidden = load_study(path).settings["models"]["a"]["hidden"]
    values = [settings["training"]["seeds"], settings["consensus"]["top"], *hidden, settings["training"]["clip"]]
    assert [(value, type(value)) for value in values] == [(2, int), (5, int), (64, int), (8, int), (3.0, float)]


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
    with pytest.raises(ConsilienceError, match="nothing: no such folder; no study found"):
        load_studies(tmp_path / "nothing")
    with pytest.raises(ConsilienceError, match=r"one\.yaml: not a folder; no study found"):
        load_studies(tmp_path / "one.yaml")
    with pytest.raises(ConsilienceError, match="studies: an empty list picks no study"):
        load_studies(tmp_path, [])


def test_files_beside_the_studies(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConsilienceError, match="no study found; expected files such as"):
        load_studies(tmp_path / "empty")
    study(tmp_path, name="one")
    (tmp_path / ".one.yaml").write_text("left by an editor")
    assert list(load_studies(tmp_path)) == ["one"]
    (tmp_path / "s.yaml").mkdir()
    with pytest.raises(ConsilienceError, match=r"s\.yaml: is a folder; expected a file"):
        load_studies(tmp_path)
    with pytest.raises(ConsilienceError, match=r"no study 'two'[^\n]*\n[^\n]*s\.yaml: is a folder"):
        load_studies(tmp_path, ["two", "s"])
    with pytest.raises(ConsilienceError, match=r"absent\.yaml: no such file"):
        load_study(tmp_path / "absent.yaml")


@pytest.mark.parametrize(("preset", "models"), [("default", 3), ("earlier_seven", 7)])
def test_a_study_may_name_a_preset_of_its_slice(tmp_path, preset, models):
    path = tmp_path / "mine.yaml"
    path.write_text(f"{{domain: expression, source: {{kind: simulate}}, target: IRF2BP2, models: {preset}}}")
    loaded = load_study(path)
    assert len(loaded.voters) == models
    assert all({"hidden", "dropout", "batchnorm"} <= set(model) for model in loaded.settings["models"].values())


def test_the_config_is_checked_too():
    assert check_config({}) == {"threads": 1, "device": "auto", "checkpoint_seconds": 60}
    assert repr(check_config({"threads": 2.0})["threads"]) == "2"
    for config, message in (
        ({"thread": 2}, "thread: unknown key; nearest: threads"),
        ({1: 2}, "1: unknown key; expected studies_directory"),
        ({"domains_directory": 7}, "domains_directory: 7 is no text to YAML; put quotes around it"),
        ({"studies": [2024]}, r"studies\.0: 2024 is no text to YAML; put quotes around it"),
        ({"threads": "2"}, "threads: '2' is text to YAML; write an integer without quotes, such as 2"),
    ):
        with pytest.raises(ConsilienceError, match=f"^config.yaml or --config: {message}"):
            check_config(config)


def test_the_chain_sections_do_not_reach_preparation(tmp_path):
    found = study(tmp_path)
    assert set(found.preparation) == {"source", "seed", "votes"}
    # What only the encoding sees makes no dataset anew.
    assert set(found.encoding) == {"source", "seed", "votes", "components"}


def test_a_simulation_sees_the_source_the_seed_and_what_its_slice_names(tmp_path):
    found = study(tmp_path, {"votes": False, "seed": 3})
    assert found.simulation == {"source": {"kind": "simulate", "samples": 240}, "seed": 3, "votes": False}
    assert "simulation" not in found.settings
    with pytest.raises(ConsilienceError, match="simulation: unknown key"):
        study(tmp_path, {"simulation": ["votes"]})


@pytest.mark.parametrize("domain", sorted(slices()))
def test_stages_depend_on_keys_that_exist(domain):
    schema = slice_schema(domain)
    for stage in ("simulation", "encoding", "analysis"):
        assert set(schema.get(stage, [])) <= set(schema["properties"]), stage


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
    assert [name for name in missing if name.removeprefix(".") not in CHAIN] == []


FASHION = {
    "domain": "fashion",
    "source": {"kind": "simulate"},
    "models": {"k4": {}},
    "consensus": {"minimum_models": 1},
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": {"k4": {"k": 60, "atoms": 50}}}, r"models\.k4\.k: 60 is more than atoms \(50\)"),
        ({"models": {"k4": {"k": 2000}}}, r"models\.k4\.k: 2000 is more than atoms \(1024\)"),
        (
            {"attribution": {"methods": ["integrated_gradients_from_mean", "deeplift_from_mean"]}},
            "attribution.methods: deeplift_from_mean does not suit the networks of fashion: it has no rule",
        ),
        (
            {"attribution": {"primary": "decoder_weighted", "methods": ["saliency"]}},
            "attribution.primary: 'decoder_weighted' is not among attribution.methods",
        ),
        (
            {"attribution": {"methods": ["jump_aware_integrated_gradient"]}},
            "unknown method 'jump_aware_integrated_gradient'; .*nearest: jump_aware_integrated_gradients",
        ),
        (
            {"attribution": {"methods": ["decoder_weighted_from_mean"]}},
            "'decoder_weighted_from_mean': decoder_weighted compares with no reference",
        ),
    ],
)
def test_what_a_slice_says_of_its_methods_and_keys_is_held(tmp_path, changes, message):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(FASHION | changes))
    with pytest.raises(ConsilienceError, match=message) as error:
        load_study(path)
    assert all(line.startswith(str(path)) for line in str(error.value).splitlines())


def test_a_slice_may_name_methods_and_keys_of_its_analysis(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(FASHION | {"attribution": {"methods": ["integrated_gradients_from_mean"]}}))
    found = load_study(path)
    assert "analysis" in found.settings
    assert "analysis" not in found.preparation
    assert found.own_methods["decoder_weighted"] == {"signed": False}
    assert found.settings["training"]["recipe"] == "adam"
    # The slice's defaults take the place of those of all domains.
    assert found.settings["attribution"]["reference"] == "zero"
    assert found.settings["training"]["maximum_samples"] == 60000


def test_maximum_samples_of_eeg_hold_the_competition_s_rows():
    assert load_study(ROOT / "tests/config/studies/eeg_tiny.yaml").settings["training"]["maximum_samples"] == 200000


def test_a_fact_that_is_none_is_refused(monkeypatch):
    monkeypatch.setattr("consilience.configuration.slice_schema", lambda _: {"methods": {"own": {"compare_with": ""}}})
    with pytest.raises(ConsilienceError, match=r"methods\.own\.compare_with: unknown key; .*nearest: compares_with"):
        own_methods("fashion")
