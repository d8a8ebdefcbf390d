# What the slice tells beside the chain: which atoms true and false calls differ in and what these are, tables, and figures.
SLICE_OF_VARIANTS = domains.slices()["variants"]
BIAS_OF_VARIANTS = {"bias": "sae_feature_bias_analysis.csv", "chi2": "chi2.csv", "landscape": "landscape.tsv"}
TABLES_OF_VARIANTS = (
    "specialization", "atoms", "cards", "coactivation", "size_profiles", "raw_attributions", "raw_branches", "dictionary",
    "sweep", "metrics",
)  # fmt: skip
FACTS_OF_VARIANTS = {
    "best": "BEST_MODEL.json", "tensors": "dictionary/dictionary.safetensors", "summary": "summary.json",
    "text": "summary.txt", "notes": "notes.txt",
}  # fmt: skip
FIGURES_OF_VARIANTS = (
    "bias_landscape", "volcano", "bias_support", "confirmation", "size_profiles", "type_specialization", "coactivation",
    "dictionary", "raw_attributions",
)  # fmt: skip


for study_name, study in STUDIES.items():
    if study.domain != "variants":
        continue
    told_of_variants = [
        *(f"analysis/{file}" for file in (*BIAS_OF_VARIANTS.values(), "top_biased_features.json")),
        *(f"analysis/{name}.tsv" for name in (*TABLES_OF_VARIANTS, *["raw_recovery"] * study.simulated)),
        *(f"analysis/{file}" for file in FACTS_OF_VARIANTS.values()),
        *(f"figures/{name}.png" for name in FIGURES_OF_VARIANTS),
        "figures/cards.pdf",
    ]
    EXTRA_LISTS[study_name] = {"chi2": f"results/{study_name}/analysis/chi2.csv"}
    EXTRA_NOTES[study_name] = [f"results/{study_name}/analysis/notes.txt"]
    EXTRA_TARGETS[study_name] = [f"results/{study_name}/{path}" for path in told_of_variants]

    rule:
        name:
            f"{study_name}_variants_analysis"
        input:
            **{name: f"results/{{study}}/analysis/{file}" for name, file in BIAS_OF_VARIANTS.items()},
            raw="results/{study}/dataset.h5",
            dataset=dataset_of,
            encoded="results/{study}/encoded.json",
            split="results/{study}/split.tsv",
            ensembles=expand("results/{{study}}/models/{model}/ensemble.safetensors", model=study.voters),
            histories=expand("results/{{study}}/models/{model}/history.tsv", model=study.voters),
            metrics=of_models("results/{study}/models/{model}/metrics.json"),
            predictions=of_models("results/{study}/models/{model}/predictions.tsv"),
            linear="results/{study}/linear/metrics.json",
            coefficients="results/{study}/linear/coefficients.tsv",
            truth=["results/{study}/truth.tsv"] if study.simulated else [],
        output:
            **{
                name: told("variants", f"results/{{study}}/analysis/{name}.tsv", f"{name}_table")
                for name in (*TABLES_OF_VARIANTS, *["raw_recovery"] * study.simulated)
            },
            **{name: f"results/{{study}}/analysis/{file}" for name, file in FACTS_OF_VARIANTS.items()},
        log:
            "logs/{study}/variants_analysis.log",
        benchmark:
            "benchmarks/{study}/variants_analysis.tsv"
        wildcard_constraints:
            study=study_name,
        conda:
            ENVIRONMENT
        threads: SETTINGS["threads"]
        resources:
            mem_mb=memory(3000, 4),
            runtime=minutes(120),
            gpu=GPU,
        params:
            models=study.models,
            voters=study.voters,
            analysis=setting("analysis"),
            attribution=setting("attribution"),
            seed=setting("seed"),
            device=SETTINGS["device"],
            threads=SETTINGS["threads"],
            code=code(SLICE_OF_VARIANTS / "analyze.py", "model"),
        message:
            "{wildcards.study}: tell what atoms stand for, and what attributions mean for k-mers and attributes"
        script:
            "analyze.py"

    rule:
        name:
            f"{study_name}_variants_figures"
        input:
            **{name: f"results/{{study}}/analysis/{file}" for name, file in BIAS_OF_VARIANTS.items()},
            **{name: f"results/{{study}}/analysis/{name}.tsv" for name in TABLES_OF_VARIANTS},
            dataset=dataset_of,
            split="results/{study}/split.tsv",
            encoded="results/{study}/encoded.json",
            raw_recovery=["results/{study}/analysis/raw_recovery.tsv"] if study.simulated else [],
        output:
            **{name: told("variants", f"results/{{study}}/figures/{name}.png", name) for name in FIGURES_OF_VARIANTS},
            cards=told("variants", "results/{study}/figures/cards.pdf", "cards"),
        log:
            "logs/{study}/variants_figures.log",
        benchmark:
            "benchmarks/{study}/variants_figures.tsv"
        wildcard_constraints:
            study=study_name,
        conda:
            ENVIRONMENT
        threads: SETTINGS["threads"]
        resources:
            mem_mb=memory(1500, 4),
            runtime=minutes(60),
        params:
            voters=study.voters,
            analysis=setting("analysis"),
            seed=setting("seed"),
            threads=SETTINGS["threads"],
            code=code(SLICE_OF_VARIANTS / "draw.py"),
        message:
            "{wildcards.study}: draw which atoms true and false calls differ in, and what these stand for"
        script:
            "draw.py"


rule variants_bias:
    input:
        dataset=dataset_of,
        split="results/{study}/split.tsv",
    output:
        **{
            name: told("variants", f"results/{{study}}/analysis/{file}", f"{name}_table")
            for name, file in BIAS_OF_VARIANTS.items()
        },
        top="results/{study}/analysis/top_biased_features.json",
    log:
        "logs/{study}/variants_bias.log",
    benchmark:
        "benchmarks/{study}/variants_bias.tsv"
    wildcard_constraints:
        study=named(lambda study: study.domain == "variants"),
    conda:
        ENVIRONMENT
    threads: SETTINGS["threads"]
    resources:
        mem_mb=memory(2000, 4),
        runtime=minutes(60),
    params:
        minimum_support=setting("analysis", "minimum_support"),
        top=setting("consensus", "top"),
        threads=SETTINGS["threads"],
        code=code(SLICE_OF_VARIANTS / "measure_bias.py"),
    message:
        "{wildcards.study}: test which atoms true and false calls have on more often"
    script:
        "measure_bias.py"
