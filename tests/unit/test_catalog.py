"""What .snakemake-workflow-catalog.yml tells the catalog is true of the workflow."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
USAGE = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
DEPLOYMENT = USAGE["software-stack-deployment"]
RULES = [*ROOT.glob("workflow/rules/*.smk"), *ROOT.glob("workflow/consilience/domains/*/rules.smk")]
SCRIPTED = [
    (f"{file.parent.name}/{file.name}", block)
    for file in RULES
    for block in re.split(r"^ *rule\b", file.read_text(), flags=re.MULTILINE)[1:]
    if re.search(r"^ +script:$", block, re.MULTILINE)
]


def test_only_keys_that_the_catalog_knows():
    assert set(USAGE) <= {"mandatory-flags", "software-stack-deployment", "report"}
    assert set(DEPLOYMENT) == {"conda", "apptainer", "apptainer+conda"}


def test_every_rule_that_computes_has_what_deploys_it():
    assert len(SCRIPTED) >= len(RULES)
    for word, promised in (("conda", DEPLOYMENT["conda"]), ("container", DEPLOYMENT["apptainer"])):
        lacking = [name for name, block in SCRIPTED if not re.search(rf"^ +{word}:$", block, re.MULTILINE)]
        assert (not lacking) == promised, f"rules without {word}: {lacking}"


def test_a_report_is_promised_and_rules_mark_files_for_it():
    marked = [name for name, block in SCRIPTED if re.search(r"\breport\(|\btold\(", block)]
    assert USAGE["report"] == bool(marked)


@pytest.mark.parametrize("words", ["snakemake", "workflow"])
def test_the_catalog_finds_the_readme_by_its_words(words):
    assert words in (ROOT / "README.md").read_text().lower()


def test_the_catalog_shows_how_to_configure():
    assert "config.yaml" in (ROOT / "config" / "README.md").read_text()
