"""Writes the first page of the report, which leads to those of the studies, and that of where results come from.

What differs from run to run, times, memory and git's commit, goes into a file of its own: the pages stay the same.
"""

from consilience.jobs import job

from pathlib import Path

from consilience.report.overview import overview
from consilience.report.pages import other_pages, write_page, write_run
from consilience.report.provenance import commit_of, inputs_of, measured, settings_text, versions
from consilience.study_results import StudyResults

if "snakemake" in globals():
    with job(snakemake) as log:
        params, output = snakemake.params, snakemake.output
        names = list(params.facts)
        views = [
            overview(StudyResults.load(Path("results") / name, **params.facts[name]), params.domains[name])
            for name in names
        ]
        inputs = [
            {"name": name, "seed": params.settings[name]["seed"], "settings": settings_text(params.settings[name])}
            | inputs_of(path)
            for name, path in zip(names, snakemake.input.datasets, strict=True)
        ]
        jobs = measured(Path(params.benchmarks), {name: facts["models"] for name, facts in params.facts.items()})
        others = other_pages(Path(output.index).parent, names)
        write_run(output.run, {"jobs": jobs, "others": others, **commit_of()})
        write_page(
            output.provenance,
            "provenance.html",
            current="provenance",
            versions=versions(),
            run=params.run,
            inputs=inputs,
        )
        write_page(output.index, "index.html", current="index", views=views)
        log.info("%d studies, %d jobs measured", len(names), sum(map(len, jobs.values())))
