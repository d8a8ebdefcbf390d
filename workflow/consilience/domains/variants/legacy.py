"""Writes the dictionary and the bias of its atoms as the earlier notebook and its autoencoder kept them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from scipy import stats

from consilience.domains.variants.imported import ADDED
from consilience.files import read_json, read_table, read_tensors, write_json, write_table
from consilience.legacy.make import Output

COUNTS = ("TP_on", "FP_on", "TP_off", "FP_off")
FEWEST_CALLS, SIGNIFICANT = 5, 0.05  # of the earlier table
ATOM_KEYS = ("atom", "odds", "support", "TP_on", "FP_on")
LISTS = ("top_tp_biased", "top_fp_biased")
# Of the dictionary's inputs: features along its directions, or embeddings as they were given.
PROJECTED, RAW = ("center", "scale"), ("raw_center", "raw_scale")
STATE = ("encoder.weight", "encoder.bias", "decoder.weight")


def bias(output: Output) -> None:
    """Write the table of all atoms by the earlier formulas, from the four counts of ours."""
    table = read_table(output.sources[0], ("atom", *COUNTS))
    a, b, c, d = table[list(COUNTS)].to_numpy(np.float64).T
    # Of an atom that all calls or none have, the earlier test failed, and the atom was left out.
    told = (a + b >= FEWEST_CALLS) & (c + d > 0)
    table, (a, b, c, d) = table[told], (count[told] for count in (a, b, c, d))
    squared = (a + b + c + d) * (a * d - b * c) ** 2 / ((a + b) * (c + d) * (a + c) * (b + d))
    p = stats.chi2.sf(squared, 1)
    corrected = stats.false_discovery_control(p) if len(p) else p
    scores = {"odds": _odds(table), "support": (a + b).astype(int), "p": p, "fdr_corrected": corrected}
    write_table(output.path(), table[["atom", *COUNTS]].assign(**scores, significant=corrected < SIGNIFICANT))


def _odds(table: pd.DataFrame) -> pd.Series:
    return table["TP_on"] * table["FP_off"] / (table["FP_on"] * table["TP_off"]).clip(lower=1)


def top_biased(output: Output) -> None:
    """Write the strongest atoms of either direction with the earlier keys, and odds as in the table."""
    content, table = read_json(output.sources[0]), read_table(output.sources[1], ("atom", *COUNTS))
    odds = dict(zip(table["atom"], _odds(table), strict=True))
    lists = {
        name: [{key: atom[key] for key in ATOM_KEYS} | {"odds": odds[atom["atom"]]} for atom in content[name]]
        for name in LISTS
    }
    write_json(output.path(), lists)


def best_model(output: Output) -> None:
    """Name the folder of the dictionary, which lies beside this file."""
    write_json(output.path(), {"best_dir": read_json(output.sources[0])["dictionary"]})


def dictionary(output: Output) -> None:
    """Write the dictionary as sae.pt: config with μ and σ of what it takes, and three tensors.

    With x = (e - center) / scale and codes of W (x - b) + c, e has the mean center + b scale.
    """
    arrays, facts = read_tensors(output.sources[0])
    names = PROJECTED if "map" in arrays else RAW
    center, scale = (arrays[name].astype(np.float64) for name in names)
    atoms, inputs = arrays["encoder_weight"].shape
    mean, deviation = center + arrays["bias"] * scale, scale - ADDED
    config = {
        "input_dim": inputs,
        "feature_dim": atoms,
        "k": int(facts["k"]),
        "μ": torch.from_numpy(mean).float(),
        "σ": torch.from_numpy(deviation).float(),
    }
    state = {name: torch.from_numpy(arrays[name.replace(".", "_")]) for name in STATE}
    torch.save({"config": config, "model_state_dict": state}, output.path(dictionary=facts["dictionary"]))
