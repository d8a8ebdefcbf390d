"""Lists the features with the largest variance as positive for every target."""

from consilience.jobs import job

import numpy as np
import pandas as pd

from consilience.dataset import Dataset
from consilience.files import whole, write_table
from consilience.linear.features import feature_table

if "snakemake" in globals():
    with job(snakemake) as log:
        with Dataset.open(snakemake.input.dataset) as dataset:
            variance = np.nanvar(feature_table(dataset), axis=0)
            everything = pd.DataFrame({"feature": dataset.features["name"], "variance": variance})
            names = dataset.features["name"].to_numpy()[np.argsort(-variance)[:3]]
            rows = [(name, target, "positive") for target in dataset.targets for name in names]
        write_table(snakemake.output.variable, pd.DataFrame(rows, columns=["feature", "target", "direction"]))
        write_table(snakemake.output.variance, everything)
        with whole(snakemake.output.note) as temporary:
            temporary.write_text(f"{names[0]} varies most\n", encoding="utf-8")
        log.info("%s of %d features vary most", ", ".join(names), len(everything))
