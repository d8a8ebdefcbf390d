# One attribution job a model, one file a method; the rule is generated for every study, since studies choose methods.

for study_name, study in STUDIES.items():

    rule:
        name:
            f"{study_name}_attribute"
        input:
            dataset=dataset_of,
            split="results/{study}/split.tsv",
            ensemble="results/{study}/models/{model}/ensemble.safetensors",
        output:
            **{method: f"results/{{study}}/attributions/{{model}}/{method}.h5" for method in study.methods},
        log:
            "logs/{study}/attribute/{model}.log",
        benchmark:
            "benchmarks/{study}/attribute/{model}.tsv"
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
            seed=setting("seed"),
            device=SETTINGS["device"],
            threads=SETTINGS["threads"],
            code=code("attribute", "model", "explain"),
        message:
            "{wildcards.study}: attribute the predictions of {wildcards.model} to features"
        script:
            "../scripts/attribute.py"
