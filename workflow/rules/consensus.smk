# Lists per model, their matrix, and the drivers the models agree on; a generated rule, since studies choose models.

for study_name, study in STUDIES.items():

    rule:
        name:
            f"{study_name}_consensus"
        input:
            attributions=of_models("results/{study}/attributions/{model}/{method}.h5"),
            coefficients="results/{study}/linear/coefficients.tsv",
        output:
            positive=[f"results/{{study}}/top/{model}_positive.csv" for model in study.explained],
            negative=[f"results/{{study}}/top/{model}_negative.csv" for model in study.explained],
            matrix="results/{study}/top_matrix.csv",
            drivers="results/{study}/drivers.csv",
            top=exhibit("results/{study}/top_drivers.csv", "drivers_table", "drivers"),
        log:
            "logs/{study}/consensus.log",
        benchmark:
            "benchmarks/{study}/consensus.tsv"
        wildcard_constraints:
            study=study_name,
        conda:
            ENVIRONMENT
        threads: SETTINGS["threads"]
        resources:
            mem_mb=memory(1000, 4),
            runtime=minutes(30),
        params:
            models=study.explained,
            voters=study.voters,
            settings=setting("consensus"),
            threads=SETTINGS["threads"],
            code=code("consensus"),
        message:
            "{wildcards.study}: form the consensus of the models"
        script:
            "../scripts/consensus.py"

    rule:
        name:
            f"{study_name}_consensus_figures"
        input:
            positive=[f"results/{{study}}/top/{model}_positive.csv" for model in study.explained],
            negative=[f"results/{{study}}/top/{model}_negative.csv" for model in study.explained],
            drivers="results/{study}/drivers.csv",
            top="results/{study}/top_drivers.csv",
        output:
            lists=exhibit(
                [f"results/{{study}}/figures/top_{model}.png" for model in study.explained], "top_lists", "drivers"
            ),
            positive=exhibit("results/{study}/figures/top_drivers_positive.png", "top_drivers", "drivers"),
            negative=exhibit("results/{study}/figures/top_drivers_negative.png", "top_drivers", "drivers"),
        log:
            "logs/{study}/consensus_figures.log",
        benchmark:
            "benchmarks/{study}/consensus_figures.tsv"
        wildcard_constraints:
            study=study_name,
        group:
            CONCLUSIONS
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(1000),
            runtime=minutes(15),
        params:
            models=study.explained,
            voters=study.voters,
            top=setting("consensus", "top"),
            threads=1,
            code=code("consensus_figures"),
        message:
            "{wildcards.study}: draw the drivers"
        script:
            "../scripts/consensus_figures.py"
