# A list of the slice's own: the features that vary most, which joins the overlap; a note on it, and what no rule reads.
for study_name, study in STUDIES.items():
    if study.domain == "toy":
        EXTRA_LISTS[study_name] = {"variable": f"results/{study_name}/variable.csv"}
        EXTRA_NOTES[study_name] = [f"results/{study_name}/variable.txt"]
        EXTRA_TARGETS[study_name] = [f"results/{study_name}/variance.tsv"]


rule toy_variable:
    input:
        dataset=dataset_of,
    output:
        variable="results/{study}/variable.csv",
        note="results/{study}/variable.txt",
        variance="results/{study}/variance.tsv",
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
