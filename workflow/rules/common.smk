# Studies, paths and the parameters that every rule shares. Nothing here knows a domain.
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

LIBRARY = Path(workflow.basedir, "workflow")
SCRIPTS = LIBRARY / "scripts"
# Scripts and jobs on other nodes import the library beside this workflow, whatever is installed elsewhere.
sys.path.insert(0, str(LIBRARY))
os.environ.update(PYTHONPATH=os.pathsep.join([str(LIBRARY), *filter(None, [os.environ.get("PYTHONPATH")])]))
# --directory has changed the folder by now, so that the shell's own word tells where the command was given; jobs on
# other nodes inherit it.
COMMAND_FOLDER = Path(os.environ.setdefault("CONSILIENCE_COMMAND_FOLDER", os.environ.get("PWD", os.getcwd())))
if "domains_directory" in config:
    os.environ.update(CONSILIENCE_DOMAINS=str(COMMAND_FOLDER / config["domains_directory"]))

from consilience.configuration import check_config, load_studies
from consilience.domains import slices
from consilience.errors import ConsilienceError
from consilience.fingerprint import fingerprint
from consilience.targets import check_targets

try:
    SETTINGS = check_config(config)
    STUDIES = load_studies(
        COMMAND_FOLDER / SETTINGS.get("studies_directory", f"{workflow.basedir}/config/studies"),
        SETTINGS.get("studies"),
    )
    check_targets(sys.argv[1:], STUDIES)  # Snakemake knows its targets only after this file
except ConsilienceError as error:
    raise WorkflowError(str(error)) from None

ENVIRONMENT = f"{workflow.basedir}/envs/consilience.yaml"
NEVER = "(?!)"  # matches no name: the rule stands, and no study needs it
EXTRA_LISTS = {}  # by study: lists of features that a slice's own rules add to the overlap, name to path


wildcard_constraints:
    study="|".join(STUDIES),
    model="[A-Za-z0-9_]+",
    method="[A-Za-z0-9_]+",


def study_of(wildcards):
    return STUDIES[wildcards.study]


def named(condition):
    """A constraint on {study}: the names of the studies for which the condition holds."""
    return "|".join(name for name, study in STUDIES.items() if condition(study)) or NEVER


def code(script, module=None):
    """Fingerprint a script with all it imports, and the module of the study's slice that it calls by name."""

    def of(wildcards):
        domain = STUDIES[wildcards.study].domain if module else None
        return fingerprint(SCRIPTS / f"{script}.py", [f"consilience.domains.{domain}.{module}"] if module else [])

    return of


def setting(*keys):
    """The part of the study's settings under the given keys."""

    def of(wildcards):
        part = STUDIES[wildcards.study].settings
        for key in keys:
            part = part[key]
        return part

    return of


def memory(base, factor=0):
    """Megabytes: a base and a factor on the size of the input, times the attempt."""
    return lambda wildcards, input, attempt: int((base + factor * input.size_mb) * attempt)


def dataset_of(wildcards):
    """What the chain reads after the split: the slice's encoding where it has one."""
    kind = "encoded" if study_of(wildcards).encoded else "dataset"
    return f"results/{wildcards.study}/{kind}.h5"


def downloads_of(study):
    """The files a study downloads, each with url, sha256 and path; files that studies share are fetched once."""
    return [
        {**file, "path": f"resources/downloads/{file['sha256'][:16]}/{file['url'].rsplit('/', 1)[-1]}"}
        for file in study.downloads
    ]


def raw_of(wildcards):
    """What preparation reads: the simulated folder, the downloads, or the user's own files."""
    study = study_of(wildcards)
    if study.simulated:
        return [f"results/{study.name}/raw"]
    return [file["path"] for file in downloads_of(study)] or list(study.raw)


def of_models(pattern, methods=False):
    """The paths of all models of the study, by the primary method or by every method."""

    def of(wildcards):
        study = study_of(wildcards)
        chosen = study.methods if methods else [study.primary]
        return [
            path
            for model in study.models
            for method in chosen
            for path in [pattern.format(study=study.name, model=model, method=method)]
        ]

    return of


def of_studies(path):
    """The same path in every study, in the order of STUDIES."""
    return [f"results/{name}/{path}" for name in STUDIES]


def targets_of(study):
    """Everything a study is asked for besides the summary."""
    base = f"results/{study.name}"
    figures = ["loss.png", "prediction.png", "linear.png", "top_drivers_positive.png", "top_drivers_negative.png"]
    yield from (f"{base}/figures/{figure}" for figure in figures)
    yield from (f"{base}/figures/top_{model}.png" for model in study.models)
    yield from (f"{base}/attributions/{model}/{method}.h5" for model in study.models for method in study.methods)
    yield from (f"{base}/{table}" for table in ("overlap.csv", "venn_positive.png", "venn_negative.png"))
    if study.simulated:
        yield from (f"{base}/recovery.tsv", f"{base}/figures/recovery.png")


def slice_rules():
    """The rule files of the slices that bring their own."""
    domains = {study.domain for study in STUDIES.values()}
    files = [folder / "rules.smk" for name, folder in slices().items() if name in domains]
    return [str(file) for file in files if file.is_file()]


def show_summary():
    """Print the summary of the run; a partial rerun may have none."""
    summary = Path("results/summary.txt")
    if summary.is_file():
        print(summary.read_text(encoding="utf-8"), file=sys.stderr)
