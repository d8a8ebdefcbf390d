# What the slice tells beside the chain: one job for the tables, which needs torch, and one for the figures, which does not.
SLICE_OF_PAIRS = domains.slices()["mirna"]
TABLES_OF_PAIRS = (
    "metrics", "drivers", "agreement", "positions", "enrichment", "clusters", "cluster_stability", "outcomes", "comparison", "interactions",
)  # fmt: skip
FIGURES_OF_PAIRS = ("positions", "interactions", "methods_agreement", "clusters", "outcomes", "kmer_maps")
FIRST_LAYERS = [f"{branch}_conv1_{kind}" for branch in ("mirna", "site") for kind in ("filters", "activations")]


# Study by study, since models and methods are the study's.
for study_name, study in STUDIES.items():
    if study.domain != "mirna":
        continue
    shown, analysis = study.voters[0], f"results/{study_name}/analysis"
    drawn = f"results/{study_name}/figures"
    EXTRA_NOTES[study_name] = [f"{analysis}/notes.txt"]
    EXTRA_TARGETS[study_name] = [
        *(f"{analysis}/{name}.tsv" for name in TABLES_OF_PAIRS),
        f"{analysis}/attribution_statistics.csv",
        f"{analysis}/analysis_summary.json",
        f"{analysis}/maps.h5",
        *(f"{drawn}/{name}.png" for name in (*FIGURES_OF_PAIRS, *FIRST_LAYERS)),
        *(f"{drawn}/average_attribution_{method}.png" for method in study.methods),
        f"{drawn}/sheets_{shown}.pdf",
        f"{drawn}/pairs",
    ]
    ON_REQUEST[study_name] = [
        *ON_REQUEST.get(study_name, []),
        *(f"results/{study_name}/numpy/{model}" for model in study.explained),
        *(f"results/{study_name}/pairs/{{sample}}.{kind}" for kind in ("png", "tsv")),
    ]

    rule:
        name:
            f"{study_name}_mirna_analysis"
        input:
            dataset=dataset_of,
            split="results/{study}/split.tsv",
            ensembles=of_models("results/{study}/models/{model}/ensemble.safetensors", explained=True),
            metrics=of_models("results/{study}/models/{model}/metrics.json"),
            histories=of_models("results/{study}/models/{model}/history.tsv", explained=True),
            predictions=of_models("results/{study}/models/{model}/predictions.tsv", explained=True),
            attributions=of_models("results/{study}/attributions/{model}/{method}.h5", methods=True),
            linear="results/{study}/linear/metrics.json",
            drivers="results/{study}/top_drivers.csv",
        output:
            **{
                name: told("mirna", f"results/{{study}}/analysis/{name}.tsv", f"{name}_table")
                for name in TABLES_OF_PAIRS
            },
            attribution_statistics=told(
                "mirna", "results/{study}/analysis/attribution_statistics.csv", "attribution_statistics_table"
            ),
            summary="results/{study}/analysis/analysis_summary.json",
            maps="results/{study}/analysis/maps.h5",
            notes="results/{study}/analysis/notes.txt",
        log:
            "logs/{study}/mirna_analysis.log",
        benchmark:
            "benchmarks/{study}/mirna_analysis.tsv"
        wildcard_constraints:
            study=study_name,
        conda:
            ENVIRONMENT
        threads: SETTINGS["threads"]
        resources:
            mem_mb=memory(3000, 4),
            runtime=minutes(240),
            gpu=GPU,
        params:
            models=study.models,
            explained=study.explained,
            voters=study.voters,
            shown=shown,
            methods=study.methods,
            own_methods=study.own_methods,
            primary=study.primary,
            k=setting("k"),
            analysis=setting("analysis"),
            attribution=setting("attribution"),
            seed=setting("seed"),
            device=SETTINGS["device"],
            threads=SETTINGS["threads"],
            code=code(SLICE_OF_PAIRS / "analyze.py", "model", "explain"),
        message:
            "{wildcards.study}: tell where in the sequences the networks look, and hold methods against mutagenesis"
        script:
            "analyze.py"

    rule:
        name:
            f"{study_name}_mirna_figures"
        input:
            dataset=dataset_of,
            ensemble=f"results/{{study}}/models/{shown}/ensemble.safetensors",
            members=f"results/{{study}}/models/{shown}/members.tsv",
            predictions=f"results/{{study}}/models/{shown}/predictions.tsv",
            attributions=expand("results/{{study}}/attributions/{model}/{method}.h5", model=shown, method=study.methods),
            tables=expand("results/{{study}}/analysis/{name}.tsv", name=TABLES_OF_PAIRS),
            maps="results/{study}/analysis/maps.h5",
            drivers="results/{study}/drivers.csv",
            top="results/{study}/top_drivers.csv",
            truth=["results/{study}/truth.tsv"] if study.simulated else [],
        output:
            **{name: told("mirna", f"results/{{study}}/figures/{name}.png", name) for name in FIGURES_OF_PAIRS},
            **{
                name: told("mirna", f"results/{{study}}/figures/{name}.png", name.partition("_")[2])
                for name in FIRST_LAYERS
            },
            **{
                name: told("mirna", f"results/{{study}}/figures/{name}.png", "average_attribution")
                for name in (f"average_attribution_{method}" for method in study.methods)
            },
            sheets=told("mirna", f"results/{{study}}/figures/sheets_{shown}.pdf", "sheets"),
            pairs=directory("results/{study}/figures/pairs"),
        log:
            "logs/{study}/mirna_figures.log",
        benchmark:
            "benchmarks/{study}/mirna_figures.tsv"
        wildcard_constraints:
            study=study_name,
        conda:
            ENVIRONMENT
        threads: SETTINGS["threads"]
        resources:
            mem_mb=memory(1500, 8),
            runtime=minutes(60),
        params:
            methods=study.methods,
            own_methods=study.own_methods,
            primary=study.primary,
            analysis=setting("analysis"),
            threads=SETTINGS["threads"],
            code=code(SLICE_OF_PAIRS / "draw.py"),
        message:
            "{wildcards.study}: draw where in the sequences the networks look"
        script:
            "draw.py"


# On request: arrays for those who read no HDF5.
rule mirna_arrays:
    input:
        attributions=lambda wildcards: [
            f"results/{wildcards.study}/attributions/{wildcards.model}/{method}.h5"
            for method in study_of(wildcards).methods
        ],
    output:
        folder=directory("results/{study}/numpy/{model}"),
    log:
        "logs/{study}/numpy/{model}.log",
    benchmark:
        "benchmarks/{study}/numpy/{model}.tsv"
    wildcard_constraints:
        study=named(lambda study: study.domain == "mirna"),
    conda:
        ENVIRONMENT
    threads: SETTINGS["threads"]
    resources:
        mem_mb=memory(1000, 8),
        runtime=minutes(30),
    params:
        threads=SETTINGS["threads"],
        code=code(SLICE_OF_PAIRS / "export.py"),
    message:
        "{wildcards.study}: write the whole maps of {wildcards.model} as arrays"
    script:
        "export.py"


rule mirna_look:
    input:
        dataset=dataset_of,
        split="results/{study}/split.tsv",
        ensemble=lambda wildcards: (
            f"results/{wildcards.study}/models/{study_of(wildcards).voters[0]}/ensemble.safetensors"
        ),
    output:
        figure="results/{study}/pairs/{sample}.png",
        table="results/{study}/pairs/{sample}.tsv",
    log:
        "logs/{study}/pairs/{sample}.log",
    benchmark:
        "benchmarks/{study}/pairs/{sample}.tsv"
    wildcard_constraints:
        study=named(lambda study: study.domain == "mirna"),
        sample="[^/]+",
    conda:
        ENVIRONMENT
    threads: SETTINGS["threads"]
    resources:
        mem_mb=memory(3000, 4),
        runtime=minutes(30),
        gpu=GPU,
    params:
        model=lambda wildcards: study_of(wildcards).voters[0],
        own_methods=lambda wildcards: study_of(wildcards).own_methods,
        attribution=setting("attribution"),
        seed=setting("seed"),
        device=SETTINGS["device"],
        threads=SETTINGS["threads"],
        code=code(SLICE_OF_PAIRS / "look.py", "model", "explain"),
    message:
        "{wildcards.study}: look at {wildcards.sample}"
    script:
        "look.py"
