# Raw data to dataset.h5: simulated, downloaded, or the user's own file.


rule simulate:
    output:
        raw=directory("results/{study}/raw"),
        truth="results/{study}/truth.tsv",
    log:
        "logs/{study}/simulate.log",
    benchmark:
        "benchmarks/{study}/simulate.tsv"
    wildcard_constraints:
        study=named(lambda study: study.simulated),
    group:
        preparation
    conda:
        ENVIRONMENT
    threads: SETTINGS["threads"]
    resources:
        mem_mb=memory(1500),
        runtime=minutes(30),
    params:
        domain=lambda wildcards: study_of(wildcards).domain,
        settings=lambda wildcards: study_of(wildcards).simulation,
        seed=setting("seed"),
        threads=SETTINGS["threads"],
        code=code("simulate", "simulate"),
    message:
        "{wildcards.study}: simulate raw data with planted drivers"
    script:
        "../scripts/simulate.py"


rule download:
    output:
        "resources/downloads/{checksum}/{file}",
    log:
        "logs/download/{checksum}/{file}.log",
    benchmark:
        "benchmarks/download/{checksum}/{file}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(500),
        runtime=minutes(720),
        # No param, since the same bytes from another address are no reason to fetch them again.
        url=lambda wildcards: source_of(wildcards)["url"],
    params:
        sha256=lambda wildcards: source_of(wildcards)["sha256"].lower(),
        threads=1,
    message:
        "download {wildcards.file}"
    script:
        "../scripts/download.py"


rule prepare:
    input:
        raw=raw_of,
        tables=lambda wildcards: list(study_of(wildcards).tables),
    output:
        dataset="results/{study}/dataset.h5",
        audit=exhibit("results/{study}/audit.tsv", "audit", "data"),
    log:
        "logs/{study}/prepare.log",
    benchmark:
        "benchmarks/{study}/prepare.tsv"
    group:
        preparation
    conda:
        ENVIRONMENT
    threads: 2  # large files are read by two processes; the numbers do not depend on it
    resources:
        mem_mb=memory(3000),
        runtime=minutes(240),
    params:
        domain=lambda wildcards: study_of(wildcards).domain,
        settings=lambda wildcards: study_of(wildcards).preparation,
        seed=setting("seed"),
        threads=SETTINGS["threads"],
        code=code("prepare", "prepare"),
    message:
        "{wildcards.study}: prepare the dataset"
    script:
        "../scripts/prepare.py"
