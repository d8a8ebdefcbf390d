"""What a slice says of an earlier system's outputs: checked, filled, and written."""

from types import SimpleNamespace

import pytest
import yaml

from consilience.domains import slices
from consilience.domains.expression.legacy import tag
from consilience.errors import ConsilienceError
from consilience.legacy.declaration import Declaration, Facts, filled, placeholders
from consilience.legacy.make import make
from consilience.legacy.pages import markdown, readme
from workflow.rules.legacy_table import ROOT, drawn
from workflow.rules.marked import replaced

README = ROOT / "README.md"
FACTS = Facts("mine", ["one", "two"], ["two"], ["saliency", "occlusion"], "saliency", {"models": {"one": 1, "two": 2}})


def declared(tmp_path, *outputs, **others):
    """The declaration of these outputs, each with a note."""
    content = {
        "system": "old",
        "about": "Some.",
        "outputs": [{"note": "none", **output} for output in outputs],
        **others,
    }
    path = tmp_path / "legacy.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return Declaration.of(path)


def written(tmp_path, *outputs, module=None, **others):
    """The index of these outputs, written from tmp_path/base into tmp_path/old."""
    folder = tmp_path / "old"
    folder.mkdir()
    return make(declared(tmp_path, *outputs, **others), FACTS, tmp_path / "base", folder, module), folder


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    (folder / "many").mkdir(parents=True)
    for name in ("one", "two"):
        (folder / f"{name}.csv").write_text("feature,score,rank\nNA,0.5,1\nb,,2\n")
    for name in ("sample_b_saliency", "sample_a_saliency", "sample_a_more_saliency", "sample_a_occlusion"):
        (folder / "many" / f"{name}.txt").write_text(name)
    return folder


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"earlier": "a", "our": "b"}, "outputs.0.our: unknown key; nearest: ours"),
        ({"earlier": "a", "form": "drawn"}, "outputs.0.form: 'drawn' is not one of file, shown, printed"),
        ({"earlier": "a", "how": "copy"}, "a: how is copy; only a file that has something of ours"),
        ({"earlier": "a", "ours": "b", "how": "copy", "form": "shown"}, "a: how is copy; only a file that has"),
        ({"earlier": "a", "ours": "b", "how": "columns"}, "a: columns and `how: columns` belong together"),
        ({"earlier": "a", "ours": "b", "how": "make", "within": "c"}, "a: within belongs to `how: copy`"),
        ({"earlier": "a", "ours": ["b", "c"], "how": "copy"}, "a: how is copy, of 2 paths; expected one"),
        ({"earlier": "a", "ours": "{modle}"}, "a: ours: {modle} is not one of study, first, primary, model, method"),
        ({"earlier": "a", "ours": "{model}", "how": "copy"}, "a: ours has {model} and the earlier path has not"),
        ({"earlier": "../a"}, "../a: ../a is no path below a folder"),
        ({"earlier": "a", "ours": "/b"}, "a: /b is no path below a folder"),
    ],
)  # fmt: skip
def test_faults_are_told_with_file_and_output(tmp_path, output, message):
    with pytest.raises(ConsilienceError) as refused:
        declared(tmp_path, output)
    assert str(refused.value).startswith(f"{tmp_path / 'legacy.yaml'}: {message}")


def test_all_faults_are_told_at_once(tmp_path):
    with pytest.raises(ConsilienceError) as refused:
        declared(tmp_path, {"earlier": "../a"}, {"earlier": "b", "how": "copy"})
    assert len(str(refused.value).splitlines()) == 2


def test_a_setting_that_no_study_has_is_refused(tmp_path):
    study = SimpleNamespace(name="mine", settings={"models": {}})
    with pytest.raises(ConsilienceError, match="settings: 'model' is no key of study mine; nearest: models"):
        declared(tmp_path, settings=["model"]).facts(study)


def test_placeholders_are_filled_and_others_remain():
    assert placeholders("a_{model}_{sample}/{model}") == ["model", "sample", "model"]
    assert filled("a_{model}_{sample}", {"model": "x"}) == "a_x_{sample}"


def test_sources_are_what_is_written_alone_and_once(tmp_path):
    found = declared(
        tmp_path,
        {"earlier": "{model}.txt", "ours": "{model}.csv", "how": "copy"},
        {"earlier": "again/{model}.txt", "ours": "{model}.csv", "how": "copy"},
        {"earlier": "{study}_{first}", "ours": ["of/{primary}", "{first}"], "how": "convert"},
        {"earlier": "shown", "form": "shown", "ours": "figure_{model}.png"},
    )
    assert found.sources(FACTS) == ["one.csv", "two.csv", "of/saliency", "two"]


def test_methods_have_their_earlier_names_and_those_without_one_are_passed_over(tmp_path, base):
    names = {"method": {"Grad": "saliency", "Other": "deeplift"}}
    output = {
        "earlier": "{sample}_{method}.txt",
        "ours": "many",
        "how": "copy",
        "within": "sample_{sample}_{method}.txt",
    }
    index, folder = written(tmp_path, output, words=names)
    assert list(index.columns) == ["earlier", "ours", "state", "note", "output"]
    assert sorted(path.name for path in folder.iterdir()) == ["a_Grad.txt", "b_Grad.txt"]
    assert (folder / "a_Grad.txt").read_text() == "sample_a_saliency"
    assert index["state"].tolist() == ["made", "made", "none"]
    assert index["earlier"].tolist()[:2] == ["a_Grad.txt", "b_Grad.txt"]
    assert index["earlier"].iloc[2] == "{sample}_Other.txt"
    assert index["note"].iloc[2] == "not written: deeplift is no method of this study. none"


def test_a_folder_without_what_was_wanted_is_told_of(tmp_path, base):
    output = {"earlier": "a.txt", "ours": "many", "how": "copy", "within": "sample_{sample}_{first}.txt"}
    index, _ = written(tmp_path, output)
    assert index["state"].tolist() == ["none"]
    assert index["note"].iloc[0] == f"not written: {base / 'many'} holds no sample_{{sample}}_{{first}}.txt. none"


def test_what_was_there_once_is_the_first_of_ours(tmp_path, base):
    _, folder = written(
        tmp_path, {"earlier": "a.txt", "ours": "many", "how": "copy", "within": "sample_{sample}_occlusion.txt"}
    )
    assert (folder / "a.txt").read_text() == "sample_a_occlusion"


def test_columns_have_their_earlier_names_and_order(tmp_path, base):
    columns = {"Score": "score", "Gene": "feature"}
    _, folder = written(
        tmp_path, {"earlier": "old/{model}.csv", "ours": "{model}.csv", "how": "columns", "columns": columns}
    )
    assert (folder / "old" / "one.csv").read_text() == "Score,Gene\n0.5,NA\n,b\n"


def test_a_column_that_ours_lacks_is_refused(tmp_path, base):
    with pytest.raises(ConsilienceError, match=r"one\.csv: no column gene; it has feature, score, rank"):
        written(tmp_path, {"earlier": "a.csv", "ours": "one.csv", "how": "columns", "columns": {"Gene": "gene"}})


def test_models_of_one_earlier_name_are_refused(tmp_path, base):
    module = SimpleNamespace(spell=lambda specification: "same")
    output = {"earlier": "{model}.csv", "ours": "{model}.csv", "how": "copy"}
    with pytest.raises(ConsilienceError, match=r"same\.csv: .*two\.csv would overwrite another of our results"):
        written(tmp_path, output, module=module, words={"model": "spell"})


def test_a_conversion_that_is_not_there_is_refused_before_anything_is_written(tmp_path, base):
    copied, converted = (
        {"earlier": name, "ours": "one.csv", "how": how} for name, how in (("a", "copy"), ("b", "convrt"))
    )
    with pytest.raises(ConsilienceError, match=r"b: legacy\.py has no function 'convrt'; nearest: convert"):
        written(tmp_path, copied, converted, module=SimpleNamespace(convert=print))
    assert list((tmp_path / "old").iterdir()) == []


def test_a_conversion_says_why_it_writes_nothing(tmp_path, base):
    module = SimpleNamespace(convert=lambda output: "too old")
    index, folder = written(tmp_path, {"earlier": "a", "ours": "one.csv", "how": "convert"}, module=module)
    assert index.loc[0, ["state", "note"]].tolist() == ["none", "not written: too old. none"]
    assert list(folder.iterdir()) == []


def test_a_placeholder_without_a_value_is_refused(tmp_path, base):
    module = SimpleNamespace(convert=lambda output: output.path())
    with pytest.raises(ConsilienceError, match=r"a_\{sample\}: .*one\.csv tells nothing of \{sample\}"):
        written(tmp_path, {"earlier": "a_{sample}", "ours": "one.csv", "how": "convert"}, module=module)


def test_pages_tell_of_every_output(tmp_path, base):
    outputs = (
        {"earlier": "{model}.csv", "ours": "{model}.csv", "how": "copy", "note": "copied"},
        {"earlier": "curves", "form": "shown", "ours": "loss.png", "note": "drawn"},
        {"earlier": "log.txt", "note": "gone"},
    )
    index, _ = written(tmp_path, *outputs)
    found = declared(tmp_path, *outputs)
    lines = markdown(found).splitlines()
    assert lines[1] == "<summary>old: 3 outputs</summary>"
    assert lines[7:10] == [
        "| `{model}.csv` ✓ | `{model}.csv` | copied |", "| shown: curves | `loss.png` | drawn |", "| `log.txt` | – | gone |",
    ]  # fmt: skip
    page = readme(found, index, "mine")
    assert "| `{model}.csv` (2 files) | `{model}.csv` | copied |" in page.split("## Not written")[0]
    assert page.index("| shown: curves") < page.index("## Without") < page.index("| `log.txt`")


@pytest.mark.parametrize(
    ("specification", "expected"),
    [
        ({"hidden": [512, 256, 64], "dropout": 0.1, "batchnorm": True, "residual": False}, "h512_256_64_d0.1_bn"),
        ({"hidden": [32], "dropout": 0, "batchnorm": False, "residual": True}, "h32_d0.0_res"),
        ({"hidden": [128], "dropout": 0.03, "batchnorm": True, "residual": True}, "h128_d0.03_bn_res"),
        ({"hidden": [], "dropout": 0.0, "batchnorm": False, "residual": False}, "h_d0.0"),
    ],
)
def test_the_tag_of_a_network(specification, expected):
    assert tag(specification) == expected


@pytest.mark.parametrize("name", ["eeg", "expression", "fashion", "mirna", "variants"])
def test_a_slice_tells_of_every_output_once(name):
    names = [entry.earlier for entry in Declaration.of(slices()[name] / "legacy.yaml").entries]
    assert len(names) == len(set(names)) > 10


def test_only_what_stands_between_the_marks_is_replaced():
    page = "a\n<!-- drawn by make one -->\nold\n<!-- end of the drawing -->\nb\n<!-- drawn by make two -->\nx\n<!-- end of the drawing -->\nc\n"
    assert replaced(page, "one", "new\n") == page.replace("old", "new")
    assert replaced(page, "two", "new\n") == page.replace("x\n", "new\n")
    with pytest.raises(ValueError, match="make three"):
        replaced(page, "three", "new\n")


def test_the_readme_shows_the_tables_as_they_are():
    page = README.read_text(encoding="utf-8")
    assert drawn(page) == page, "run make legacy-table"
    section = page.split("## Coming from the earlier systems\n")[1].split("\n## ")[0]
    assert section.count("<details>") == section.count("</details>") == 5
