"""Writes the dictionary and the strongest atoms as the earlier notebook and its autoencoder kept them."""

from __future__ import annotations

import numpy as np
import torch

from consilience.domains.variants.imported import ADDED
from consilience.files import read_json, read_tensors, write_json
from consilience.legacy.make import Output

ATOM_KEYS = ("atom", "odds", "support", "TP_on", "FP_on")
LISTS = ("top_tp_biased", "top_fp_biased")
# Of the dictionary's inputs: features along its directions, or embeddings as they were given.
PROJECTED, RAW = ("center", "scale"), ("raw_center", "raw_scale")
STATE = ("encoder.weight", "encoder.bias", "decoder.weight")


def top_biased(output: Output) -> None:
    """Write the strongest atoms of either direction with the earlier keys."""
    content = read_json(output.sources[0])
    write_json(
        output.path(), {name: [{key: atom[key] for key in ATOM_KEYS} for atom in content[name]] for name in LISTS}
    )


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
