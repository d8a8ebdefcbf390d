# A list of the slice's own: the features that vary most, which joins the overlap.
for study_name, study in STUDIES.items():
    if study.domain == "toy":
        EXTRA_LISTS[study_name] = {"variable": f"results/{study_name}/variable.csv"}


rule toy_variable:
    input:
        dataset=dataset_of,
    output:
        "results/{study}/variable.csv",
    log:
        "logs/{study}/variable.log",
    benchmark:
        "benchmarks/{study}/variable.tsv"
    wildcard_constraints:
        study=named(lambda study: study.domain == "toy"),
    params:
        threads=SETTINGS["threads"],
        code=code(domains.slices()["toy"] / "variable.py"),
    script:
        "variable.py"
