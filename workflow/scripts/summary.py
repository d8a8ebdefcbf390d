"""Writes one row a study, and the same as text for the terminal.

It says where networks lose to the linear model, and where to look next; all studies in short are what stands last.
"""

from consilience.jobs import job

import textwrap
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from consilience.evaluation import number, with_interval
from consilience.files import write_table, write_text
from consilience.study_results import StudyResults
from consilience.summary import SHOWN, summary_lines, summary_row

WIDTH = 120
INDENT = 13  # where the text of a line begins
LOOK = "In short; look at results/report/index.html, and at results/summary.tsv for a row a study:"


def wrapped(lines: Iterable[str], indent: int = INDENT) -> str:
    """Break long lines between words, the rest under the text of the line."""
    options = {"subsequent_indent": " " * indent, "break_long_words": False, "break_on_hyphens": False}
    return "\n".join("\n".join(textwrap.wrap(line, WIDTH, **options)) for line in lines)


def in_short(study: StudyResults, width: int) -> list[str]:
    """Return two lines: how well the target is predicted, and the strongest drivers, of whichever target."""
    trivial, without = study.trivial
    found = {
        study.network: with_interval(study.networks[study.network]["test"][study.headline]),
        study.linear_kind: number(study.linear[study.linear_kind]["test"][study.headline]["value"]),
        trivial: f"{number(without)} (uses no feature)",
    }
    strongest = study.top.sort_values("average_attribution", key=abs, ascending=False, kind="stable").head(SHOWN)
    drivers = [
        f"{'+' if row.direction == 'positive' else '-'}{row.feature}"
        + (f" ({row.target})" if len(study.targets) > 1 else "")
        for row in strongest.itertuples()
    ]
    metric = ", ".join(f"{name} {value}" for name, value in found.items())
    return [
        f"{study.base.name:<{width}}  test {study.headline}: {metric}",
        f"{'':<{width}}  {', '.join(drivers) or 'no drivers'}",
    ]


if "snakemake" in globals():
    with job(snakemake) as log:
        studies = [
            StudyResults.load(Path("results") / name, **facts) for name, facts in snakemake.params.studies.items()
        ]
        write_table(snakemake.output.table, pd.DataFrame([summary_row(study) for study in studies]))
        text = "\n\n".join(wrapped(summary_lines(study)) for study in studies)
        width = max(len(study.base.name) for study in studies)
        short = wrapped((line for study in studies for line in in_short(study, width)), width + 2)
        write_text(snakemake.output.text, f"\n{text}\n\n{LOOK}\n\n{short}\n")
        log.info("%d studies", len(studies))
