# The linear model on the same features.


rule linear:
    input:
        dataset=dataset_of,
        split="results/{study}/split.tsv",
    output:
        coefficients="results/{study}/linear/coefficients.tsv",
        predictions="results/{study}/linear/predictions.tsv",
        metrics="results/{study}/linear/metrics.json",
    log:
        "logs/{study}/linear.log",
    benchmark:
        "benchmarks/{study}/linear.tsv"
    conda:
        ENVIRONMENT
    threads: SETTINGS["threads"]
    resources:
        mem_mb=memory(2500, 12),
        runtime=minutes(120),
    params:
        settings=setting("linear"),
        seed=setting("seed"),
        threads=SETTINGS["threads"],
        code=code("linear"),
    message:
        "{wildcards.study}: fit the linear model"
    script:
        "../scripts/linear.py"


rule linear_figures:
    input:
        coefficients="results/{study}/linear/coefficients.tsv",
        metrics="results/{study}/linear/metrics.json",
    output:
        exhibit("results/{study}/figures/linear.png", "linear", "linear"),
    log:
        "logs/{study}/linear_figures.log",
    benchmark:
        "benchmarks/{study}/linear_figures.tsv"
    group:
        CONCLUSIONS
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        top=setting("consensus", "top"),
        threads=1,
        code=code("linear_figures"),
    message:
        "{wildcards.study}: draw the largest coefficients"
    script:
        "../scripts/linear_figures.py"
