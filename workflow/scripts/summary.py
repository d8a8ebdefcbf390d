"""Writes one row a study, and the same as text for the terminal.

It says where networks lose to the linear model, and where to look next.
"""

from pathlib import Path

import pandas as pd

from consilience.files import write_table, write_text
from consilience.jobs import job
from consilience.summary import StudyResults, summary_lines, summary_row

if "snakemake" in globals():
    with job(snakemake) as log:
        studies = [
            StudyResults.load(Path("results") / name, **facts) for name, facts in snakemake.params.studies.items()
        ]
        write_table(snakemake.output.table, pd.DataFrame([summary_row(study) for study in studies]))
        text = "\n\n".join("\n".join(summary_lines(study)) for study in studies)
        write_text(snakemake.output.text, f"\n{text}\n\nAll studies: results/summary.tsv\n")
        log.info("%d studies", len(studies))
