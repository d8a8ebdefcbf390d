"""Consilience: which features drive a prediction, and do independent models agree?

The table of contents: settings, the chain in the order data pass through it, each domain's own rules, the targets.
"""

from snakemake.utils import min_version

min_version("9.0")


configfile: f"{workflow.basedir}/config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


rule all:
    default_target: True
    input:
        "results/summary.tsv",
        "results/report/index.html",
        everything,


rule fetch:
    input:
        [download["path"] for study in STUDIES.values() for download in downloads_of(study)],


# In the order data pass through; each file sees what common.smk defines: STUDIES, and what turns a study into paths.
for stage in "prepare split train attribute faithfulness linear consensus overlap report legacy".split():

    include: f"workflow/rules/{stage}.smk"


for rules_of_slice in slice_rules():

    include: rules_of_slice


check_asked()


onstart:
    runs.begin()


onsuccess:
    show_summary()
