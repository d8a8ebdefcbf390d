# The networks' lists held against the linear model's, and both against the truth where it is planted.


rule overlap:
    input:
        drivers="results/{study}/drivers.csv",
        lists=lambda wildcards: list(EXTRA_LISTS.get(wildcards.study, {}).values()),
    output:
        overlap=exhibit("results/{study}/overlap.csv", "overlap_table", "overlap"),
        positive=exhibit("results/{study}/venn_positive.png", "venn", "overlap"),
        negative=exhibit("results/{study}/venn_negative.png", "venn", "overlap"),
    log:
        "logs/{study}/overlap.log",
    benchmark:
        "benchmarks/{study}/overlap.tsv"
    group:
        CONCLUSIONS
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(15),
    params:
        settings=setting("consensus"),
        names=lambda wildcards: list(EXTRA_LISTS.get(wildcards.study, {})),
        threads=1,
        code=code("overlap"),
    message:
        "{wildcards.study}: overlap of the networks and the linear model, with its chance level"
    script:
        "../scripts/overlap.py"


rule recovery:
    input:
        truth="results/{study}/truth.tsv",
        dataset=dataset_of,
        attributions=of_models("results/{study}/attributions/{model}/{method}.h5", methods=True),
        coefficients="results/{study}/linear/coefficients.tsv",
    output:
        table=exhibit("results/{study}/recovery.tsv", "recovery_table", "recovery"),
        figure=exhibit("results/{study}/figures/recovery.png", "recovery", "recovery"),
    log:
        "logs/{study}/recovery.log",
    benchmark:
        "benchmarks/{study}/recovery.tsv"
    wildcard_constraints:
        study=named(lambda study: study.simulated),
    group:
        CONCLUSIONS
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000, 4),
        runtime=minutes(30),
    params:
        domain=lambda wildcards: study_of(wildcards).domain,
        voters=lambda wildcards: study_of(wildcards).voters,
        threads=1,
        code=code("recovery", "planted"),
    message:
        "{wildcards.study}: recovery of the planted drivers"
    script:
        "../scripts/recovery.py"
