# How far the attributions of a model can be trusted: one job a model, generated for every study as attribution is.

for study_name, study in STUDIES.items():

    rule:
        name:
            f"{study_name}_faithfulness"
        input:
            dataset=dataset_of,
            split="results/{study}/split.tsv",
            ensemble="results/{study}/models/{model}/ensemble.safetensors",
            attributions=[f"results/{{study}}/attributions/{{model}}/{method}.h5" for method in study.methods],
        output:
            scores=exhibit("results/{study}/faithfulness/{model}.tsv", "faithfulness_table", "faithfulness"),
            curves="results/{study}/faithfulness/{model}_curves.tsv",
            figure=exhibit("results/{study}/figures/faithfulness_{model}.png", "faithfulness", "faithfulness"),
        log:
            "logs/{study}/faithfulness/{model}.log",
        benchmark:
            "benchmarks/{study}/faithfulness/{model}.tsv"
        wildcard_constraints:
            study=study_name,
            model="|".join(study.explained),
        conda:
            ENVIRONMENT
        threads: SETTINGS["threads"]
        resources:
            mem_mb=memory(3000, 4),
            runtime=minutes(240),
            gpu=GPU,
        params:
            domain=study.domain,
            specification=lambda wildcards: setting("models", wildcards.model)(wildcards),
            attribution=setting("attribution"),
            own_methods=study.own_methods,
            faithfulness=setting("faithfulness"),
            top=setting("consensus", "top"),
            seed=setting("seed"),
            device=SETTINGS["device"],
            threads=SETTINGS["threads"],
            code=code("faithfulness", "model", "explain"),
        message:
            "{wildcards.study}: check how far the attributions of {wildcards.model} can be trusted"
        script:
            "../scripts/faithfulness.py"
