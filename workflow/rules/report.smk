# What a person looks at: a row a study and the same as text on the terminal, and the report, pages for a browser.
from consilience.report.provenance import portable


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
        studies=lambda wildcards: {name: facts_of(name) for name in STUDIES},
        threads=SETTINGS["threads"],
        code=lambda wildcards: fingerprint(SCRIPTS / "summary.py"),
    message:
        "summary of all studies"
    script:
        "../scripts/summary.py"


rule page:
    input:
        shown=shown_of,
        drivers="results/{study}/drivers.csv",
        matrix="results/{study}/top_matrix.csv",
        split="results/{study}/split.json",
        attributions=of_models("results/{study}/attributions/{model}/{method}.h5", methods=True),
        truth=lambda wildcards: [f"results/{wildcards.study}/truth.tsv"] if study_of(wildcards).simulated else [],
        lists=lambda wildcards: list(EXTRA_LISTS.get(wildcards.study, {}).values()),
    output:
        page="results/report/{study}.html",
        files=directory("results/report/files/{study}"),
    log:
        "logs/report/{study}.log",
    benchmark:
        "benchmarks/report/{study}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1500, 1),
        runtime=minutes(30),
    params:
        facts=lambda wildcards: facts_of(wildcards.study),
        domain=lambda wildcards: study_of(wildcards).domain,
        methods=lambda wildcards: study_of(wildcards).methods,
        consensus=setting("consensus"),
        lists=lambda wildcards: list(EXTRA_LISTS.get(wildcards.study, {})),
        exhibits=named_exhibits,
        threads=1,
        texts=lambda wildcards: texts_of(shown_exhibits(wildcards)),
        code=lambda wildcards: fingerprint(SCRIPTS / "page.py"),
    message:
        "{wildcards.study}: write its page of the report"
    script:
        "../scripts/page.py"


rule report:
    input:
        "results/summary.tsv",
        pages=[f"results/report/{name}.html" for name in STUDIES],
        datasets=of_studies("dataset.h5"),
    output:
        index="results/report/index.html",
        provenance="results/report/provenance.html",
        run="results/report/run.js",
    log:
        "logs/report.log",
    benchmark:
        "benchmarks/report.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=minutes(10),
    params:
        facts=lambda wildcards: {name: facts_of(name) for name in STUDIES},
        domains={name: study.domain for name, study in STUDIES.items()},
        settings={name: portable(study.settings, study.file.parent) for name, study in STUDIES.items()},
        run={"device": SETTINGS["device"], "threads": SETTINGS["threads"]},
        benchmarks="benchmarks",
        threads=1,
        texts=texts_of([]),
        code=lambda wildcards: fingerprint(SCRIPTS / "report.py"),
    message:
        "report of all studies"
    script:
        "../scripts/report.py"
