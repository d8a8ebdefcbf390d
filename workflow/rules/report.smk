# What a person reads first: one row a study, and the same as text on the terminal.


rule summary:
    input:
        splits=of_studies("split.json"),
        audits=of_studies("audit.tsv"),
        drivers=of_studies("drivers.csv"),
        top=of_studies("top_drivers.csv"),
        linear=of_studies("linear/metrics.json"),
        overlaps=of_studies("overlap.csv"),
        metrics=[
            f"results/{name}/models/{model}/metrics.json" for name, study in STUDIES.items() for model in study.models
        ],
        histories=[
            f"results/{name}/models/{model}/history.tsv" for name, study in STUDIES.items() for model in study.models
        ],
        attributions=[
            f"results/{name}/attributions/{model}/{study.primary}.h5"
            for name, study in STUDIES.items()
            for model in study.explained
        ],
        checks=[
            f"results/{name}/faithfulness/{model}.tsv" for name, study in STUDIES.items() for model in study.explained
        ],
        notes=lambda wildcards: [path for paths in EXTRA_NOTES.values() for path in paths],
        recoveries=[f"results/{name}/recovery.tsv" for name, study in STUDIES.items() if study.simulated],
    output:
        table=report("results/summary.tsv", caption="../report/summary.rst", category="summary"),
        text="results/summary.txt",
    log:
        "logs/summary.log",
    benchmark:
        "benchmarks/summary.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: SETTINGS["threads"]
    resources:
        mem_mb=memory(500),
        runtime=minutes(10),
    params:
        studies=lambda wildcards: {
            name: {
                "models": study.models,
                "explained": study.explained,
                "voters": study.voters,
                "method": study.primary,
                "simulated": study.simulated,
                "notes": EXTRA_NOTES.get(name, []),
            }
            for name, study in STUDIES.items()
        },
        threads=SETTINGS["threads"],
        code=lambda wildcards: fingerprint(SCRIPTS / "summary.py"),
    message:
        "summary of all studies"
    script:
        "../scripts/summary.py"
