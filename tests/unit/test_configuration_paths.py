"""Which files a study's rules wait for: those in lists, in folders, and in folders that a file names."""

import pytest
import yaml

from consilience.configuration import load_study
from consilience.errors import ConsilienceError


def test_files_of_a_folder_may_have_several_names_and_files_in_lists_are_followed(tmp_path):
    for name, files in {
        "one": ("tp-comp.vcf.gz", "fp.vcf"),
        "two": ("tp-call.vcf", "fp.vcf.gz"),
        "bad": ("fp.vcf",),
    }.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
    benches = [{"dataset": name, "path": name} for name in ("one", "two", "bad")]
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump({"domain": "variants", "models": "default", "source": {"kind": "truvari", "benches": benches}})
    )
    found = ["one/tp-comp.vcf.gz", "one/fp.vcf", "two/tp-call.vcf", "two/fp.vcf.gz", "bad"]
    assert load_study(tmp_path / "mine.yaml").raw == tuple(str(tmp_path / name) for name in found)
    (tmp_path / "two").rename(tmp_path / "gone")
    with pytest.raises(ConsilienceError, match=r"source\.benches\.1\.path: two: no such file or folder"):
        load_study(tmp_path / "mine.yaml")


def test_what_only_encoding_reads_makes_no_dataset_anew(tmp_path):
    (tmp_path / "best").mkdir()
    weights = tmp_path / "best" / "sae.pt"
    weights.touch()
    described = tmp_path / "BEST_MODEL.json"
    study_file = tmp_path / "mine.yaml"

    def loaded(content):
        described.write_text(content)
        settings = {"domain": "variants", "models": "default", "source": {"kind": "simulate"}}
        study_file.write_text(yaml.safe_dump(settings | {"dictionary": {"checkpoint": "BEST_MODEL.json"}}))
        return load_study(study_file)

    found = loaded('{"best_dir": "best"}')
    assert (found.raw, found.tables) == ((), ())
    assert found.encoders == (str(described), str(weights))
    for content in ('{"best_dir": "elsewhere"}', '{"best_dir": 3}', "[]", "no JSON"):
        assert loaded(content).encoders == (str(described),)


@pytest.mark.parametrize("name", ["report", "index", "provenance", "Index", "REPORT", "a b", "a-b", "ä"])
def test_a_study_takes_no_name_of_what_is_of_all_studies(tmp_path, name):
    (tmp_path / f"{name}.yaml").write_text("domain: tabular\n")
    with pytest.raises(
        ConsilienceError, match=r"letters, digits and _, not report, index, provenance; rename the file"
    ):
        load_study(tmp_path / f"{name}.yaml")
