# All members of a model in one job, and the figures of the study's training.


rule train:
    input:
        dataset=dataset_of,
        split="results/{study}/split.tsv",
        checkpoint=lambda wildcards: setting("models", wildcards.model)(wildcards).get("checkpoint", []),
    output:
        ensemble="results/{study}/models/{model}/ensemble.safetensors",
        members="results/{study}/models/{model}/members.tsv",
        history="results/{study}/models/{model}/history.tsv",
        predictions="results/{study}/models/{model}/predictions.tsv",
        metrics="results/{study}/models/{model}/metrics.json",
    log:
        "logs/{study}/train/{model}.log",
    benchmark:
        "benchmarks/{study}/train/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: SETTINGS["threads"]
    resources:
        mem_mb=memory(3000, 4),
        runtime=minutes(240),
        gpu=GPU,
    params:
        domain=lambda wildcards: study_of(wildcards).domain,
        specification=lambda wildcards: setting("models", wildcards.model)(wildcards),
        training=setting("training"),
        seed=setting("seed"),
        device=SETTINGS["device"],
        threads=SETTINGS["threads"],
        code=code("train", "model"),
    message:
        "{wildcards.study}: train the members of {wildcards.model}"
    script:
        "../scripts/train.py"


rule training_figures:
    input:
        histories=of_models("results/{study}/models/{model}/history.tsv"),
        predictions=of_models("results/{study}/models/{model}/predictions.tsv"),
        metrics=of_models("results/{study}/models/{model}/metrics.json"),
    output:
        loss=exhibit("results/{study}/figures/loss.png", "loss", "training"),
        prediction=exhibit("results/{study}/figures/prediction.png", "prediction", "training"),
    log:
        "logs/{study}/training_figures.log",
    benchmark:
        "benchmarks/{study}/training_figures.tsv"
    group:
        CONCLUSIONS
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(15),
    params:
        models=lambda wildcards: study_of(wildcards).models,
        threads=1,
        code=code("training_figures"),
    message:
        "{wildcards.study}: draw loss curves and predictions"
    script:
        "../scripts/training_figures.py"
