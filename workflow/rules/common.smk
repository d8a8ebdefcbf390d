# Studies, paths and the parameters that every rule shares. Nothing here knows a domain.
import os
import sys
import time
from pathlib import Path

LIBRARY = Path(workflow.basedir, "workflow")
SCRIPTS = LIBRARY / "scripts"
# Scripts and jobs on other nodes import the library beside this workflow, whatever is installed elsewhere.
sys.path.insert(0, str(LIBRARY))
os.environ.update(
    CONSILIENCE_LIBRARY=str(LIBRARY / "consilience"),
    PYTHONPATH=os.pathsep.join([str(LIBRARY), *filter(None, [os.environ.get("PYTHONPATH")])]),
)
# The folder the command was given in, whatever --directory says; jobs on other nodes inherit it.
COMMAND_FOLDER = Path(os.environ.setdefault("CONSILIENCE_COMMAND_FOLDER", workflow.rundir))

from consilience import domains, runs, terminal
from consilience.configuration import check_config, load_studies
from consilience.errors import ConsilienceError
from consilience.exhibits import OFFERED, Exhibit, exhibits_of
from consilience.files import sha256_of_all
from consilience.fingerprint import fingerprint
from consilience.targets import EXPLANATIONS, check_targets, downloads_of, targets_of

if workflow.is_main_process:
    terminal.shorten()
try:
    if not workflow.is_main_process:
        runs.check()  # before Snakemake makes room for a job that was left behind in a queue
    SETTINGS = check_config(config)
    if "domains_directory" in SETTINGS:
        domains.search(COMMAND_FOLDER / SETTINGS["domains_directory"])
    STUDIES = load_studies(
        COMMAND_FOLDER / SETTINGS.get("studies_directory", f"{workflow.basedir}/config/studies"),
        SETTINGS.get("studies"),
    )
    for study in STUDIES.values():
        downloads_of(study)  # an address that names no file
except ConsilienceError as error:
    raise terminal.BadInputError(str(error)) from None

os.environ.update(CONSILIENCE_CHECKPOINT_SECONDS=str(SETTINGS["checkpoint_seconds"]))
GPU = 0 if SETTINGS["device"] == "cpu" else 1
STARTED = time.time()
TEMPLATES = sorted((LIBRARY / "consilience" / "report" / "templates").iterdir())
ENVIRONMENT = f"{workflow.basedir}/envs/consilience.yaml"
# Megabytes. Of larger inputs, samples are read, or parts at a time.
LARGEST = 16_000
# What only draws or tells, in one job on a cluster (group-components), side by side: a thread each. Nothing but the
# summary reads what it makes: a group that depended on itself through a slice's rules would be refused.
CONCLUSIONS = "{study}_conclusions"
NEVER = "(?!)"  # matches no name: the rule stands, and no study needs it
# By study, what a slice's own rules add: lists of features that join the overlap (name to path), texts whose lines the
# summary tells as notes, and all other files.
EXTRA_LISTS, EXTRA_NOTES, EXTRA_TARGETS = {}, {}, {}
# What the reports show, in the order the rules are read: filled by exhibit() and told().
EXHIBITS = []
# By study, what a slice's own rules make only where somebody asks for it: paths, in which {name} stands for any text
# without a slash.
ON_REQUEST = {}


wildcard_constraints:
    study="|".join(STUDIES),
    model="[A-Za-z0-9_]+",
    method="[A-Za-z0-9_]+",


def check_asked():
    """Refuse targets that no rule makes, before Snakemake says only that no rule fits."""
    try:
        check_targets(sys.argv[1:], STUDIES, {name: paths_of(name) for name in STUDIES}, ON_REQUEST)
    except ConsilienceError as error:
        raise terminal.BadInputError(str(error)) from None


def study_of(wildcards):
    return STUDIES[wildcards.study]


def named(condition):
    """A constraint on {study}: the names of the studies for which the condition holds."""
    return "|".join(name for name, study in STUDIES.items() if condition(study)) or NEVER


def code(script, *modules):
    """Fingerprint a script (a name in workflow/scripts, or a path) with all it imports.

    `modules` are those of the study's slice that it calls by name; a slice need not have them all.
    """
    path = SCRIPTS / f"{script}.py" if isinstance(script, str) else script

    def of(wildcards):
        domain = STUDIES[wildcards.study].domain if modules else None
        own = [module for module in modules if domains.has_module(domain, module)]
        return fingerprint(path, [f"consilience.domains.{domain}.{module}" for module in own])

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
    """Megabytes: a base and a factor on the size of the input up to `LARGEST`, times the attempt."""
    if not factor:  # known before the input is, as the request of a group of jobs has to be
        return lambda wildcards, attempt: base * attempt
    return lambda wildcards, input, attempt: int((base + min(factor * input.size_mb, LARGEST)) * attempt)


def minutes(base):
    """The time limit, times the attempt: a job stopped for time gets more when it is tried again."""
    return lambda wildcards, attempt: base * attempt


def preparation(wildcards):
    """The group of what is simulated, prepared and split: seconds. Real data may take hours, each job on its own."""
    return f"{wildcards.study}_preparation" if study_of(wildcards).simulated else None


def dataset_of(wildcards):
    """What the chain reads after the split: the slice's encoding where it has one."""
    kind = "encoded" if study_of(wildcards).encoded else "dataset"
    return f"results/{wildcards.study}/{kind}.h5"


def raw_of(wildcards):
    """What preparation reads: the simulated folder, the downloads, or the user's own files."""
    study = study_of(wildcards)
    if study.simulated:
        return [f"results/{study.name}/raw"]
    return [file["path"] for file in downloads_of(study)] or list(study.raw)


def source_of(wildcards):
    """The address and the SHA-256 of a file that is downloaded."""
    path = f"resources/downloads/{wildcards.checksum}/{wildcards.file}"
    return next(file for study in STUDIES.values() for file in downloads_of(study) if file["path"] == path)


def of_models(pattern, methods=False, explained=False):
    """The paths of all models of the study, by the primary method or by every method.

    With `explained`, and where only explained models have such files, the paths of those.
    """
    explained = explained or pattern.split("/")[2] in EXPLANATIONS

    def of(wildcards):
        study = study_of(wildcards)
        chosen = study.methods if methods else [study.primary]
        return [
            path
            for model in (study.explained if explained else study.models)
            for method in chosen
            for path in [pattern.format(study=study.name, model=model, method=method)]
        ]

    return of


def of_studies(path):
    """The same path in every study, in the order of STUDIES."""
    return [f"results/{name}/{path}" for name in STUDIES]


def paths_of(name):
    """All that a study and the rules of its slice make unasked; known once all rules are."""
    lists = EXTRA_LISTS.get(name, {}).values()
    return list(
        dict.fromkeys([*targets_of(STUDIES[name]), *lists, *EXTRA_NOTES.get(name, []), *EXTRA_TARGETS.get(name, [])])
    )


def everything(wildcards):
    """All that a run makes unasked, beside what is of no single study."""
    return [path for name in STUDIES for path in paths_of(name)]


def exhibit(path, caption, section, domain=None):
    """Mark outputs of a rule, a path or several, for two reports, that of the chain and that of Snakemake.

    `caption` names a text in workflow/report, or in the captions of the slice whose rule it is.
    """
    folder = domains.slices()[domain] / "captions" if domain else LIBRARY / "report"
    text = str(folder / f"{caption}.rst")
    paths = [path] if isinstance(path, str) else path
    EXHIBITS.extend(Exhibit(one, text, section, domain) for one in paths)
    return report(path, caption=text, category="{study}", subcategory=section)


def told(domain, path, caption):
    """Mark a file of a slice's own for the reports; `caption` names a text in the slice's captions."""
    return exhibit(path, caption, f"{domain} analysis", domain)


def facts_of(name):
    """What the summary and the report ask of a study beside its files."""
    study = STUDIES[name]
    return {
        "models": study.models,
        "explained": study.explained,
        "voters": study.voters,
        "method": study.primary,
        "simulated": study.simulated,
        "notes": EXTRA_NOTES.get(name, []),
    }


def shown_exhibits(wildcards):
    """What a study's page shows, each with caption and section."""
    study = study_of(wildcards)
    return exhibits_of(study.domain, paths_of(study.name), EXHIBITS, {"study": [study.name], "model": study.models})


def named_exhibits(wildcards):
    """The same, captions of the workflow's own by their place in it: a copy elsewhere has the same pages."""
    return [{**one, "caption": one["caption"].removeprefix(f"{LIBRARY}/")} for one in shown_exhibits(wildcards)]


def shown_of(wildcards):
    """What a study's page shows or offers: exhibits, tables and texts."""
    marked = [one["path"] for one in shown_exhibits(wildcards)]
    return [path for path in paths_of(wildcards.study) if path in marked or path.endswith(OFFERED)]


def texts_of(exhibits):
    """A hash of the templates of the report and of the captions in it."""
    return sha256_of_all([*TEMPLATES, *dict.fromkeys(one["caption"] for one in exhibits)])


def slice_rules():
    """The rule files of the slices that bring their own."""
    used = {study.domain for study in STUDIES.values()}
    files = [folder / "rules.smk" for name, folder in domains.slices().items() if name in used]
    return [str(file) for file in files if file.is_file()]


def show_summary():
    """Print the summary where this run wrote it: an older one would speak of other results. make run prints any."""
    summary = Path("results/summary.txt")
    if "CONSILIENCE_MAKE" not in os.environ and summary.is_file() and summary.stat().st_mtime >= STARTED:
        print(summary.read_text(encoding="utf-8"), file=sys.stderr)
