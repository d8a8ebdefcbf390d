# What the slice tells beside the chain: one job for the tables, which needs torch, and one for the figures, which does not.
SLICE = domains.slices()["fashion"]
TABLES = ("dictionary", "atoms", "ablation", "methods", "agreement")
FIGURES = ("dictionary", "ablation", "methods_agreement", "driver_maps")
FIGURES_OF_MODELS = ("class_maps", "class_overlays", "atoms")


rule fashion_analysis:
    input:
        dataset=dataset_of,
        split="results/{study}/split.tsv",
        ensembles=of_models("results/{study}/models/{model}/ensemble.safetensors", explained=True),
        metrics=of_models("results/{study}/models/{model}/metrics.json", explained=True),
        histories=of_models("results/{study}/models/{model}/history.tsv", explained=True),
        attributions=of_models("results/{study}/attributions/{model}/{method}.h5"),
    output:
        **{name: told("fashion", f"results/{{study}}/analysis/{name}.tsv", f"{name}_table") for name in TABLES},
        notes="results/{study}/analysis/notes.txt",
    log:
        "logs/{study}/fashion_analysis.log",
    benchmark:
        "benchmarks/{study}/fashion_analysis.tsv"
    wildcard_constraints:
        study=named(lambda study: study.domain == "fashion"),
    conda:
        ENVIRONMENT
    threads: SETTINGS["threads"]
    resources:
        mem_mb=memory(3000, 4),
        runtime=minutes(240),
        gpu=GPU,
    params:
        models=lambda wildcards: study_of(wildcards).explained,
        voters=lambda wildcards: study_of(wildcards).voters,
        own_methods=lambda wildcards: study_of(wildcards).own_methods,
        analysis=setting("analysis"),
        attribution=setting("attribution"),
        maximum_samples=setting("training", "maximum_samples"),
        seed=setting("seed"),
        device=SETTINGS["device"],
        threads=SETTINGS["threads"],
        code=code(SLICE / "analyze.py", "model", "explain"),
    message:
        "{wildcards.study}: tell what dictionaries are worth, and how far methods agree on single pictures"
    script:
        "analyze.py"


# The figures of a study depend on its models, so that the rule is generated.
for study_name, study in STUDIES.items():
    if study.domain != "fashion":
        continue
    shown, by_model = study.voters[0], [(kind, model) for kind in FIGURES_OF_MODELS for model in study.explained]
    EXTRA_NOTES[study_name] = [f"results/{study_name}/analysis/notes.txt"]
    EXTRA_TARGETS[study_name] = [
        *(f"results/{study_name}/analysis/{name}.tsv" for name in TABLES),
        *(f"results/{study_name}/figures/{name}.png" for name in FIGURES),
        *(f"results/{study_name}/figures/{kind}_{model}.png" for kind, model in by_model),
        f"results/{study_name}/figures/sheets_{shown}.pdf",
    ]

    rule:
        name:
            f"{study_name}_fashion_figures"
        input:
            dataset=dataset_of,
            split="results/{study}/split.tsv",
            ensembles=of_models("results/{study}/models/{model}/ensemble.safetensors", explained=True),
            metrics=of_models("results/{study}/models/{model}/metrics.json", explained=True),
            predictions=f"results/{{study}}/models/{shown}/predictions.tsv",
            attributions=of_models("results/{study}/attributions/{model}/{method}.h5", methods=True),
            tables=expand("results/{{study}}/analysis/{name}.tsv", name=TABLES),
            drivers="results/{study}/drivers.csv",
            truth=["results/{study}/truth.tsv"] if study.simulated else [],
        output:
            **{name: told("fashion", f"results/{{study}}/figures/{name}.png", name) for name in FIGURES},
            **{
                f"{kind}_{model}": told("fashion", f"results/{{study}}/figures/{kind}_{model}.png", kind)
                for kind, model in by_model
            },
            sheets=told("fashion", f"results/{{study}}/figures/sheets_{shown}.pdf", "sheets"),
        log:
            "logs/{study}/fashion_figures.log",
        benchmark:
            "benchmarks/{study}/fashion_figures.tsv"
        wildcard_constraints:
            study=study_name,
        conda:
            ENVIRONMENT
        threads: SETTINGS["threads"]
        resources:
            mem_mb=memory(1500, 4),
            runtime=minutes(60),
        params:
            models=study.explained,
            shown=shown,
            methods=study.methods,
            own_methods=study.own_methods,
            primary=study.primary,
            threads=SETTINGS["threads"],
            code=code(SLICE / "draw.py"),
        message:
            "{wildcards.study}: draw what the networks look at"
        script:
            "draw.py"
