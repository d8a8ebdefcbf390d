# Roles by whole groups, and the representation that some slices fit on the training role.


rule split:
    input:
        dataset="results/{study}/dataset.h5",
    output:
        split="results/{study}/split.tsv",
        facts="results/{study}/split.json",
        audit=exhibit("results/{study}/split_audit.tsv", "split_audit", "data"),
    log:
        "logs/{study}/split.log",
    benchmark:
        "benchmarks/{study}/split.tsv"
    group:
        preparation
    conda:
        ENVIRONMENT
    threads: SETTINGS["threads"]
    resources:
        mem_mb=memory(1000, 2),
        runtime=minutes(10),
    params:
        settings=setting("split"),
        threads=SETTINGS["threads"],
        code=code("split"),
    message:
        "{wildcards.study}: divide samples into roles by group"
    script:
        "../scripts/split.py"


rule encode:
    input:
        dataset="results/{study}/dataset.h5",
        split="results/{study}/split.tsv",
        encoders=lambda wildcards: list(study_of(wildcards).encoders),
    output:
        encoded="results/{study}/encoded.h5",
        facts="results/{study}/encoded.json",
    log:
        "logs/{study}/encode.log",
    benchmark:
        "benchmarks/{study}/encode.tsv"
    wildcard_constraints:
        study=named(lambda study: study.encoded),
    conda:
        ENVIRONMENT
    threads: SETTINGS["threads"]
    resources:
        mem_mb=memory(3000, 4),
        runtime=minutes(240),
        gpu=GPU,
    params:
        domain=lambda wildcards: study_of(wildcards).domain,
        settings=lambda wildcards: study_of(wildcards).encoding,
        seed=setting("seed"),
        device=SETTINGS["device"],
        threads=SETTINGS["threads"],
        code=code("encode", "encode"),
    message:
        "{wildcards.study}: fit the representation on the training role, and encode every sample"
    script:
        "../scripts/encode.py"
