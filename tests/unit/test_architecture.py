"""Imports run one way, light modules stay light, and the chain knows no domain."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "workflow" / "consilience"
CHAIN = [*ROOT.glob("workflow/rules/*.smk"), *ROOT.glob("workflow/scripts/*.py"), ROOT / "Snakefile"]
SLICES = sorted(path.parent.name for path in LIBRARY.glob("domains/*/schema.yaml"))
HEAVY = ("torch", "sklearn", "statsmodels", "matplotlib", "captum", "shap", "torch_geometric", "mne", "pandas")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_only_scripts_and_configuration_know_the_slices():
    offenders = [
        f"{path.relative_to(LIBRARY)}: {name}"
        for path in LIBRARY.rglob("*.py")
        if "domains" not in path.parts and path.name not in ("configuration.py", "fingerprint.py", "targets.py")
        for name in imports(path)
        if name.startswith("consilience.domains")
    ]
    assert offenders == []


def test_a_slice_imports_no_other_slice():
    offenders = [
        f"{path.relative_to(LIBRARY)}: {name}"
        for path in (LIBRARY / "domains").glob("*/*.py")
        for name in imports(path)
        if name.startswith("consilience.domains.") and name.split(".")[2] != path.parent.name
    ]
    assert offenders == []


def test_scripts_import_what_tells_of_failures_before_what_may_fail():
    scripts = [path for path in (ROOT / "workflow").rglob("*.py") if "with job(snakemake)" in path.read_text()]
    assert len(scripts) > 20
    assert [path.name for path in scripts if next(imports(path)) != "consilience.jobs"] == []


@pytest.mark.parametrize("path", CHAIN, ids=lambda path: path.name)
def test_the_chain_names_no_domain(path):
    text = path.read_text().lower()
    assert [
        name for name in [*SLICES, "gene", "toy"] if name in text.replace("generat", "").replace("generic", "")
    ] == []


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("consilience", (*HEAVY, "numpy")),
        ("consilience.configuration", (*HEAVY, "numpy")),
        ("consilience.fingerprint", (*HEAVY, "numpy")),
        ("consilience.jobs", (*HEAVY, "numpy")),
        ("consilience.dataset", tuple(name for name in HEAVY if name != "pandas")),
        ("consilience.splits", tuple(name for name in HEAVY if name != "pandas")),
        ("consilience.attribution.store", tuple(name for name in HEAVY if name != "pandas")),
        ("consilience.consensus.drivers", tuple(name for name in HEAVY if name != "pandas")),
        ("consilience.domains.expression.prepare", tuple(name for name in HEAVY if name != "pandas")),
        ("consilience.domains.fashion.prepare", tuple(name for name in HEAVY if name != "pandas")),
        ("consilience.domains.fashion.simulate", tuple(name for name in HEAVY if name != "pandas")),
        ("consilience.domains.fashion.draw", ("torch", "captum", "shap")),
        ("consilience.domains.mirna.draw", ("torch", "captum", "shap")),
        ("consilience.domains.eeg", HEAVY),
        ("consilience.domains.eeg.prepare", tuple(name for name in HEAVY if name != "pandas")),
        ("consilience.domains.eeg.simulate", tuple(name for name in HEAVY if name != "pandas")),
        ("consilience.domains.eeg.draw", ("torch", "torch_geometric", "captum", "shap")),
        ("consilience.domains.variants.prepare", tuple(name for name in HEAVY if name != "pandas")),
        ("consilience.domains.variants.simulate", tuple(name for name in HEAVY if name != "pandas")),
        ("consilience.domains.variants.measure_bias", tuple(name for name in HEAVY if name != "pandas")),
        ("consilience.domains.variants.draw", ("torch", "captum", "shap")),
        ("consilience.domains.tabular.prepare", tuple(name for name in HEAVY if name != "pandas")),
        ("consilience.domains.tabular.simulate", tuple(name for name in HEAVY if name != "pandas")),
        ("consilience.evaluation", ("torch", "matplotlib", "captum", "shap")),
    ],
)
def test_light_modules_import_nothing_heavy(module, absent):
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & set({absent!r})))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.split() == []


def rules():
    """Every rule that ships: the file's place, the rule's name where it has one of its own, and its text."""
    for path in (*ROOT.glob("workflow/rules/*.smk"), *LIBRARY.glob("domains/*/rules.smk")):
        found = re.split(r"^ *rule\b", path.read_text(), flags=re.MULTILINE)[1:]
        assert found or path.name == "common.smk", path
        found = [rule for rule in found if "output:" in rule]  # others only name what people ask for
        yield from ((str(path.relative_to(ROOT)), rule.split(":")[0].strip(), rule) for rule in found)


def test_every_rule_says_what_a_cluster_needs():
    words = ("log:", "benchmark:", "params:", "threads:", "resources:", "mem_mb=memory(", "runtime=minutes(")
    words += ("conda:", "message:", "script:")
    for path, name, rule in rules():
        missing = [word for word in words if word not in rule]
        assert not missing, f"{path}: rule {name} lacks {missing}"


def test_a_rule_that_chooses_a_device_asks_for_it():
    wrong = [
        f"{path}: rule {name}"
        for path, name, rule in rules()
        if ("gpu=GPU" in rule) != ('device=SETTINGS["device"]' in rule)
    ]
    assert wrong == []


def test_only_what_needs_the_network_or_tells_of_all_studies_runs_on_the_login_node():
    assert {name for _, name, rule in rules() if "localrule: True" in rule} == {"download", "summary"}
