"""Writes the earlier system's tables, of one network, from those of all models."""

from __future__ import annotations

import pandas as pd

from consilience.domains.mirna.prepare import BRANCHES
from consilience.files import read_json, read_table, write_json, write_table
from consilience.legacy.make import Output

# There and here; the order is that of the earlier table.
STATISTICS_OF = {
    "IntegratedGradients": "integrated_gradients",
    "Saliency": "saliency",
    "DeepLift": "deeplift",
    "GradientSHAP": "expected_gradients",
    "SHAP": "deeplift_shap",
}
METHODS = STATISTICS_OF | {"SmoothGrad": "smoothgrad", "IG_Corrected": "normalized_integrated_gradients"}
BRANCH_NAMES = dict(zip(BRANCHES, ("mirna", "mrna"), strict=True))
STATISTICS = {
    "Mean": "mean", "Std": "sd", "Min": "min", "Max": "max", "AbsMean": "mean_abs", "L1_Norm": "l1", "L2_Norm": "l2",
}  # fmt: skip
SUMMARY = ("n_samples_analyzed", "n_background_samples", "k_mer", "output_directory")


def training_history(output: Output) -> None:
    """Write the losses of the first member, comma-separated."""
    history = read_table(output.sources[0], ("member", "epoch", "train_loss", "validation_loss"))
    first = history[history["member"] == history["member"].min()]
    columns = {"Epoch": first["epoch"], "Train_Loss": first["train_loss"], "Val_Loss": first["validation_loss"]}
    frame = pd.DataFrame(columns).assign(Train_Acc=pd.NA, Val_Acc=pd.NA)
    frame.to_csv(output.path(), index=False, float_format="%.9g", lineterminator="\n")


def attribution_statistics(output: Output) -> None:
    """Write the pooled statistics of the earlier methods, of the first model."""
    table = read_table(output.sources[0], ("model", "method", "branch", *STATISTICS.values()))
    own = table[table["model"] == output.facts.voters[0]].set_index(["method", "branch"])
    pairs = [
        (there, here, branch)
        for there, here in STATISTICS_OF.items()
        if here in output.facts.methods
        for branch in BRANCHES
    ]
    rows = [
        {"Method": there, "Branch": BRANCH_NAMES[branch]}
        | {column: own.loc[(here, branch), ours] for column, ours in STATISTICS.items()}
        for there, here, branch in pairs
    ]
    write_table(output.path(), pd.DataFrame(rows, columns=["Method", "Branch", *STATISTICS]))


def analysis_summary(output: Output) -> None:
    """Write the earlier keys of the summary, of the first model."""
    summary, methods = read_json(output.sources[0]), output.facts.methods
    own = {
        "model_checkpoint": summary["model_checkpoint"][output.facts.voters[0]],
        "methods_used": [there for there, here in METHODS.items() if here in methods],
    }
    write_json(output.path(), {name: summary[name] for name in SUMMARY} | own)
