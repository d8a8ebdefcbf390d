"""Consilience: which features drive a prediction, and do independent models agree?

The table of contents: settings, the chain in the order data pass through it, each domain's own rules, the targets.
"""

from snakemake.utils import min_version

min_version("9.0")


configfile: f"{workflow.basedir}/config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


from consilience import terminal


rule all:
    default_target: True
    input:
        "results/summary.tsv",
        "results/report/index.html",
        everything,


rule fetch:
    input:
        [download["path"] for study in STUDIES.values() for download in downloads_of(study)],


# Every rule file sees what common.smk defines: STUDIES, and the functions that turn a study into paths.
include: "workflow/rules/prepare.smk"
include: "workflow/rules/split.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/attribute.smk"
include: "workflow/rules/faithfulness.smk"
include: "workflow/rules/linear.smk"
include: "workflow/rules/consensus.smk"
include: "workflow/rules/overlap.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/legacy.smk"


for rules_of_slice in slice_rules():

    include: rules_of_slice


check_asked()


onstart:
    runs.begin()
    terminal.shorten()


onsuccess:
    show_summary()
