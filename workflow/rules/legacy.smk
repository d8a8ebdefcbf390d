# On request, `snakemake legacy`: results under the names of the systems that the slices come from, file by file.
from consilience.files import sha256
from consilience.legacy.declaration import Declaration, our_files

DECLARATIONS = {
    name: domains.slices()[study.domain] / "legacy.yaml"
    for name, study in STUDIES.items()
    if (domains.slices()[study.domain] / "legacy.yaml").is_file()
}
for study_name in DECLARATIONS:
    ON_REQUEST[study_name] = [*ON_REQUEST.get(study_name, []), f"results/{study_name}/legacy"]


rule legacy:
    input:
        [f"results/{name}/legacy" for name in DECLARATIONS],


rule legacy_names:
    input:
        results=lambda wildcards: our_files(DECLARATIONS[wildcards.study], study_of(wildcards)),
    output:
        folder=directory("results/{study}/legacy"),
    log:
        "logs/{study}/legacy_names.log",
    benchmark:
        "benchmarks/{study}/legacy_names.tsv"
    wildcard_constraints:
        study=named(lambda study: study.name in DECLARATIONS),
    conda:
        ENVIRONMENT
    threads: SETTINGS["threads"]
    resources:
        mem_mb=memory(1500, 4),
        runtime=minutes(60),
    params:
        domain=lambda wildcards: study_of(wildcards).domain,
        facts=lambda wildcards: vars(Declaration.of(DECLARATIONS[wildcards.study]).facts(study_of(wildcards))),
        declaration=lambda wildcards: sha256(DECLARATIONS[wildcards.study]),
        threads=SETTINGS["threads"],
        code=code("legacy_names", "legacy"),
    message:
        "{wildcards.study}: write results under the names of the earlier system"
    script:
        "../scripts/legacy_names.py"
