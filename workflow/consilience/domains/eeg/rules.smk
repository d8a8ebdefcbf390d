# What the slice tells beside the chain: one job for the tables, which needs torch, and one for the figures, which does not.
SLICE_OF_EEG = domains.slices()["eeg"]
TABLES_OF_EEG = (
    "attention", "agreement", "outcomes", "class_patterns", "knockouts", "modalities", "edges", "windows", "calibration", "ablations",
)  # fmt: skip
FIGURES_OF_EEG = (
    "topographies", "time_courses", "attention", "heads", "modalities", "edges", "calibration", "outcomes",
)  # fmt: skip


# By study, the model that one recording is looked at with.
SHOWN_OF_EEG = {}


# Study by study, since models and methods are the study's.
for study_name, study in STUDIES.items():
    if study.domain != "eeg":
        continue
    # The others are compared with the first that reads both modalities, where one does.
    fused = [name for name in study.voters if len(study.settings["models"][name]["modalities"]) > 1]
    shown, analysis = (fused or study.voters)[0], f"results/{study_name}/analysis"
    if fused:
        SHOWN_OF_EEG[study_name] = shown
        ON_REQUEST[study_name] = [*ON_REQUEST.get(study_name, []), f"results/{study_name}/explanations/{{sample}}"]
    EXTRA_NOTES[study_name] = [f"{analysis}/notes.txt"]
    EXTRA_TARGETS[study_name] = [
        *(f"{analysis}/{name}.tsv" for name in TABLES_OF_EEG),
        f"{analysis}/report.txt",
        f"{analysis}/attention.h5",
        *(f"results/{study_name}/figures/{name}.png" for name in FIGURES_OF_EEG),
        f"results/{study_name}/figures/topographies.tsv",
    ]

    rule:
        name:
            f"{study_name}_eeg_analysis"
        input:
            dataset=dataset_of,
            split="results/{study}/split.tsv",
            ensembles=of_models("results/{study}/models/{model}/ensemble.safetensors", explained=True),
            metrics=of_models("results/{study}/models/{model}/metrics.json"),
            predictions=of_models("results/{study}/models/{model}/predictions.tsv"),
            attributions=of_models("results/{study}/attributions/{model}/{method}.h5", methods=True),
        output:
            **{name: told("eeg", f"results/{{study}}/analysis/{name}.tsv", f"{name}_table") for name in TABLES_OF_EEG},
            report=told("eeg", "results/{study}/analysis/report.txt", "report"),
            attention_maps="results/{study}/analysis/attention.h5",
            notes="results/{study}/analysis/notes.txt",
        log:
            "logs/{study}/eeg_analysis.log",
        benchmark:
            "benchmarks/{study}/eeg_analysis.tsv"
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
            modalities={name: model["modalities"] for name, model in study.settings["models"].items()},
            shown=shown,
            methods=study.methods,
            own_methods=study.own_methods,
            window=setting("window"),
            stride=setting("stride"),
            analysis=setting("analysis"),
            attribution=setting("attribution"),
            seed=setting("seed"),
            device=SETTINGS["device"],
            threads=SETTINGS["threads"],
            code=code(SLICE_OF_EEG / "analyze.py", "model"),
        message:
            "{wildcards.study}: tell what attention, modalities, edges and windows are worth to the networks"
        script:
            "analyze.py"

    rule:
        name:
            f"{study_name}_eeg_figures"
        input:
            attributions=f"results/{{study}}/attributions/{shown}/{study.primary}.h5",
            tables=expand("results/{{study}}/analysis/{name}.tsv", name=TABLES_OF_EEG),
            attention_maps="results/{study}/analysis/attention.h5",
            metrics=of_models("results/{study}/models/{model}/metrics.json"),
            linear="results/{study}/linear/metrics.json",
            truth=["results/{study}/truth.tsv"] if study.simulated else [],
        output:
            **{name: told("eeg", f"results/{{study}}/figures/{name}.png", name) for name in FIGURES_OF_EEG},
            topographies_table=told("eeg", "results/{study}/figures/topographies.tsv", "topographies_table"),
        log:
            "logs/{study}/eeg_figures.log",
        benchmark:
            "benchmarks/{study}/eeg_figures.tsv"
        wildcard_constraints:
            study=study_name,
        conda:
            ENVIRONMENT
        threads: SETTINGS["threads"]
        resources:
            mem_mb=memory(1500, 8),
            runtime=minutes(60),
        params:
            models=study.models,
            shown=shown,
            own_methods=study.own_methods,
            primary=study.primary,
            window=setting("window"),
            stride=setting("stride"),
            threads=SETTINGS["threads"],
            code=code(SLICE_OF_EEG / "draw.py"),
        message:
            "{wildcards.study}: draw where and when attributions lie, and what attention, modalities and edges are worth"
        script:
            "draw.py"


# On request: one sample, by the first voting model that reads both modalities.
rule eeg_look:
    input:
        dataset=dataset_of,
        split="results/{study}/split.tsv",
        ensemble=lambda wildcards: (
            f"results/{wildcards.study}/models/{SHOWN_OF_EEG[wildcards.study]}/ensemble.safetensors"
        ),
    output:
        folder=directory("results/{study}/explanations/{sample}"),
    log:
        "logs/{study}/explanations/{sample}.log",
    benchmark:
        "benchmarks/{study}/explanations/{sample}.tsv"
    wildcard_constraints:
        study="|".join(SHOWN_OF_EEG) or NEVER,
        sample="[^/]+",
    conda:
        ENVIRONMENT
    threads: SETTINGS["threads"]
    resources:
        mem_mb=memory(2500, 4),
        runtime=minutes(30),
    params:
        model=lambda wildcards: SHOWN_OF_EEG[wildcards.study],
        primary=lambda wildcards: study_of(wildcards).primary,
        window=setting("window"),
        stride=setting("stride"),
        attribution=setting("attribution"),
        seed=setting("seed"),
        threads=SETTINGS["threads"],
        code=code(SLICE_OF_EEG / "look.py", "model"),
    message:
        "{wildcards.study}: look at {wildcards.sample}"
    script:
        "look.py"
