"""Honest reruns: an edit reruns what it affects, and nothing else."""

import os
import re
import shutil

import pytest
from run_workflow import STUDIES, jobs, snakemake

pytestmark = pytest.mark.workflow
TRAINING = {"train": 4, "training_figures": 1, "toy_attribute": 3}
FAITHFULNESS = {"toy_faithfulness": 3}
CONSENSUS = {"toy_consensus": 1, "toy_consensus_figures": 1, "overlap": 1, "recovery": 1, "summary": 1}


@pytest.fixture
def edited(clone, finished):
    """An edited copy of the workflow over a copy of finished results; returns the jobs a rerun would start."""
    directory = clone / "results_of_run"
    shutil.copytree(finished[0], directory, symlinks=True)
    # As after a git checkout: every file of the workflow is newer than the results.
    for path in clone.joinpath("workflow").rglob("*"):
        os.utime(path)

    def rerun(file=None, old=None, new=None, study="toy"):
        if file:
            path = clone / file
            text = path.read_text()
            assert re.search(old, text), (file, old)
            path.write_text(re.sub(old, new, text, count=1))
        return jobs(snakemake(directory, "--dry-run", workflow=clone, names=(study,), check=True).stdout)

    return rerun


def of_the_chain(found):
    """Which jobs a change reruns, without those that tell of it all; the summary of one study is not that of two."""
    return {name: count for name, count in found.items() if name not in ("summary", "page", "report")}


def test_a_fresh_copy_of_the_code_reruns_nothing(edited):
    assert of_the_chain(edited()) == {}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("workflow/consilience/splits.py", r"\A", "# A remark.\n"),
        ("workflow/consilience/splits.py", r'"""Return where a group lies', '"""Say where a group lies'),
        ("workflow/scripts/overlap.py", "from consilience.files", "\n# Another remark.\nfrom consilience.files"),
    ],
)
def test_comments_and_docstrings_cost_nothing(edited, file, old, new):
    assert of_the_chain(edited(file, old, new)) == {}


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "workflow/consilience/figures/recovery.py",
            r"\Z",
            "\nMORE = 1\n",
            {"recovery": 1},
        ),
        ("workflow/consilience/overlap.py", 'SEPARATOR = ";"', 'SEPARATOR = "|"', {"overlap": 1, "summary": 1}),
        ("workflow/consilience/training/loss.py", r"\Z", "\nMORE = 1\n", TRAINING | FAITHFULNESS | CONSENSUS),
        ("workflow/consilience/faithfulness/curves.py", r"\Z", "\nMORE = 1\n", FAITHFULNESS),
        ("workflow/scripts/linear.py", r"\Z", "\nMORE = 1\n", {"linear": 1, "linear_figures": 1} | CONSENSUS),
    ],
)
def test_an_edit_reruns_what_imports_it(edited, file, old, new, expected):
    assert of_the_chain(edited(file, old, new)) == of_the_chain(expected)


def test_a_changed_setting_reruns_the_rules_that_take_it(clone, finished):
    directory = clone / "results_of_run"
    shutil.copytree(finished[0], directory, symlinks=True)
    studies = clone / "studies"
    shutil.copytree(clone / "config" / "studies", studies)
    text = (STUDIES / "toy.yaml").read_text()
    (studies / "toy.yaml").write_text(text.replace("top: 4", "top: 3"))
    run = snakemake(directory, "--dry-run", workflow=clone, studies=studies, names=("toy",), check=True)
    expected = {name: count for name, count in CONSENSUS.items() if name != "recovery"} | {"linear_figures": 1}
    expected |= FAITHFULNESS
    assert of_the_chain(jobs(run.stdout)) == of_the_chain(expected)


@pytest.mark.parametrize(
    ("file", "pages"),
    [
        ("workflow/consilience/domains/fashion/notes.py", 1),
        ("workflow/consilience/report/cards.py", 3),
        ("workflow/rules/common.smk", 0),
    ],
)
def test_a_page_is_written_anew_where_its_study_changed(clone, finished, file, pages):
    directory = clone / "results_of_run"
    shutil.copytree(finished[0], directory, symlinks=True)
    path = clone / file
    path.write_text(path.read_text() + "\nMORE = 1\n")
    run = snakemake(directory, "--dry-run", workflow=clone, names=("toy", "fashion_tiny", "mirna_tiny"), check=True)
    assert jobs(run.stdout).get("page", 0) == pages


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("workflow/consilience/report/templates/report.css", "h1 ", "h1, h7 "),
        ("workflow/report/loss.rst", "Training", "The training"),
    ],
)
def test_an_edit_of_a_template_or_a_caption_rewrites_pages_and_nothing_else(edited, file, old, new):
    assert edited(file, old, new).keys() - {"summary", "report"} == {"page"}


FASHION = {"fashion_analysis": 1, "fashion_tiny_fashion_figures": 1}
FASHION_ATTRIBUTION = {"fashion_tiny_attribute": 2, "fashion_tiny_faithfulness": 2} | FASHION | {
    name.replace("toy", "fashion_tiny"): count for name, count in CONSENSUS.items()
}  # fmt: skip


MIRNA = {"mirna_tiny_mirna_analysis": 1, "mirna_tiny_mirna_figures": 1}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("domains/mirna/clusters.py", MIRNA),
        ("domains/mirna/corrections.py", MIRNA | {"mirna_tiny_attribute": 2, "mirna_tiny_faithfulness": 2} | {
            name.replace("toy", "mirna_tiny"): count for name, count in CONSENSUS.items()
        }),
        ("domains/mirna/look.py", {}),
    ],
)  # fmt: skip
def test_an_edit_in_the_mirna_slice_reruns_its_own(edited, file, expected):
    path = f"workflow/consilience/{file}"
    assert of_the_chain(edited(path, r"\Z", "\nMORE = 1\n", "mirna_tiny")) == of_the_chain(expected)


VARIANTS = {"variants_tiny_variants_analysis": 1, "variants_tiny_variants_figures": 1}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("domains/variants/specialization.py", VARIANTS),
        ("domains/variants/card_pages.py", {"variants_tiny_variants_figures": 1}),
        ("domains/variants/planted.py", VARIANTS | {"recovery": 1}),
        ("domains/variants/bias.py", VARIANTS | {"variants_bias": 1, "overlap": 1}),
    ],
)
def test_an_edit_in_the_variants_slice_reruns_its_own(edited, file, expected):
    path = f"workflow/consilience/{file}"
    assert of_the_chain(edited(path, r"\Z", "\nMORE = 1\n", "variants_tiny")) == of_the_chain(expected)


@pytest.mark.parametrize(
    ("file", "first"),
    [("domains/tabular/simulate.py", {"simulate", "prepare"}), ("domains/tabular/leaks.py", {"prepare"})],
)
def test_an_edit_in_the_tabular_slice_reruns_from_there_on(edited, file, first):
    found = edited(f"workflow/consilience/{file}", r"\Z", "\nMORE = 1\n", "tabular_tiny")
    assert {"simulate", "prepare"} & set(found) == first
    assert {"split", "linear", "train", "tabular_tiny_attribute", "overlap"} <= set(found)


EEG = {"eeg_tiny_eeg_analysis": 1, "eeg_tiny_eeg_figures": 1}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("domains/eeg/pairings.py", EEG),
        ("domains/eeg/scalp.py", {"eeg_tiny_eeg_figures": 1}),
        ("domains/eeg/look.py", {}),
    ],
)
def test_an_edit_in_the_eeg_slice_reruns_its_own(edited, file, expected):
    path = f"workflow/consilience/{file}"
    assert of_the_chain(edited(path, r"\Z", "\nMORE = 1\n", "eeg_tiny")) == of_the_chain(expected)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("attribution/jumps.py", FASHION_ATTRIBUTION),
        ("domains/fashion/explain.py", FASHION_ATTRIBUTION),
        ("principal_components.py", FASHION),
        ("domains/fashion/sheets.py", {"fashion_tiny_fashion_figures": 1}),
        ("sparse_autoencoder.py", {"train": 2, "training_figures": 1} | FASHION_ATTRIBUTION),
    ],
)
def test_an_edit_of_what_a_slice_uses_reruns_the_slice_alone(edited, file, expected):
    path = f"workflow/consilience/{file}"
    assert of_the_chain(edited(path, r"\Z", "\nMORE = 1\n", "fashion_tiny")) == of_the_chain(expected)
