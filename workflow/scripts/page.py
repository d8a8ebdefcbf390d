"""Writes the page of a study: its overview, driver table and cards, figures with captions, and copies of its tables.

Pictures and tables go into a folder beside the page, so that the report can be sent to somebody as it is.
"""

from consilience.jobs import job

from pathlib import Path

import consilience
from consilience.files import read_table, whole_folder
from consilience.report.cards import cards, first_cards, signed_ranks, strongest
from consilience.report.overview import metric_table, overview
from consilience.report.pages import write_page
from consilience.report.study import show
from consilience.study_results import StudyResults

WORKFLOW = Path(consilience.__file__).parents[1]

if "snakemake" in globals():
    with job(snakemake) as log:
        params, given, output = snakemake.params, snakemake.input, snakemake.output
        study = StudyResults.load(Path("results") / snakemake.wildcards.study, **params.facts)
        view = overview(study, params.domain)
        top = strongest(study.top, study.targets)
        found = cards(
            study.drivers,
            top,
            read_table(given.matrix, ("target", "feature")),
            [signed_ranks(path, set(top["feature"])) for path in given.attributions],
            params.consensus,
            {name: read_table(path) for name, path in zip(params.lists, given.lists, strict=True)},
            read_table(given.truth[0]) if given.truth else None,
        )
        facts = {
            "features": view["features"],
            "targets": study.targets,
            "voters": list(study.voters),
            "methods": params.methods,
            **{key: params.consensus[key] for key in ("top", "minimum_models")},
            "first": first_cards(found, study.targets),
        }
        # A caption that is not the workflow's own has a whole path, which stays as it is.
        exhibits = [{**one, "caption": str(WORKFLOW / one["caption"])} for one in params.exhibits]
        with whole_folder(output.files) as folder:
            shown = show(exhibits, given.shown, folder)
        write_page(
            output.page,
            "study.html",
            current=view["name"],
            view=view,
            cards=found,
            facts=facts,
            metrics=metric_table(study),
            everything=next(one for one in shown["downloads"] if one.path == given.drivers),
            **shown,
        )
        log.info("%d driver cards, %d files", len(found), len(given.shown))
