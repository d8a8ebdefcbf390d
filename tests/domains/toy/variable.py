"""Lists the features with the largest variance as positive for every target."""

import numpy as np
import pandas as pd

from consilience.dataset import Dataset
from consilience.files import write_table
from consilience.jobs import job
from consilience.linear.features import feature_table

if "snakemake" in globals():
    with job(snakemake) as log:
        with Dataset.open(snakemake.input.dataset) as dataset:
            names = dataset.features["name"].to_numpy()[np.argsort(-np.nanvar(feature_table(dataset), axis=0))[:3]]
            rows = [(name, target, "positive") for target in dataset.targets for name in names]
        write_table(snakemake.output[0], pd.DataFrame(rows, columns=["feature", "target", "direction"]))
        log.info("%s", ", ".join(names))
