# What the slice tells beside the chain: one job for the tables, which needs torch, and one for the figures, which does not.
SLICE_OF_PAIRS = domains.slices()["mirna"]
TABLES_OF_PAIRS = (
    "agreement", "positions", "enrichment", "clusters", "cluster_stability", "outcomes", "comparison", "interactions",
)  # fmt: skip


# Study by study, since models and methods are the study's.
for study_name, study in STUDIES.items():
    if study.domain != "mirna":
        continue
    shown, analysis = study.voters[0], f"results/{study_name}/analysis"
    EXTRA_NOTES[study_name] = [f"{analysis}/notes.txt"]
    EXTRA_TARGETS[study_name] = [
        *(f"{analysis}/{name}.tsv" for name in TABLES_OF_PAIRS),
        f"{analysis}/attribution_statistics.csv",
        f"{analysis}/analysis_summary.json",
        f"{analysis}/maps.h5",
    ]

    rule:
        name:
            f"{study_name}_mirna_analysis"
        input:
            dataset=dataset_of,
            split="results/{study}/split.tsv",
            ensembles=of_models("results/{study}/models/{model}/ensemble.safetensors"),
            metrics=of_models("results/{study}/models/{model}/metrics.json"),
            histories=of_models("results/{study}/models/{model}/history.tsv"),
            predictions=of_models("results/{study}/models/{model}/predictions.tsv"),
            attributions=of_models("results/{study}/attributions/{model}/{method}.h5", methods=True),
        output:
            **{name: told("mirna", f"results/{{study}}/analysis/{name}.tsv", f"{name}_table") for name in TABLES_OF_PAIRS},
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
            runtime=240,
            gpu=GPU,
        params:
            models=study.models,
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
