"""What encoded.json tells of a dictionary, as tables, and the dictionary itself as a file others can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from consilience.splits import ROLES

DICTIONARY, COMPONENTS = "dictionary", "principal_components"
OF_TRAINING = ("l0_train", "dead_share_train")  # in sweep.tsv beside the quality on validation
QUALITY = ("explained_variance", "normalized_mean_squared_error", "mean_squared_error", "l0", "dead_share")
NOT_THE_DICTIONARY = ("alive", "stability")  # in what an encoded dataset keeps
FOLDER = "dictionary"  # beside BEST_MODEL.json


def dictionary_table(facts: Mapping[str, Any]) -> pd.DataFrame:
    """Return dictionary.tsv, a row an encoder and role: the dictionary by role, then what it is held against, on test.

    Columns: encoder, role, atoms, k, and those of `QUALITY`; what an encoder does not have is empty.
    """
    rows = [
        {"encoder": DICTIONARY, "role": role, "atoms": facts["atoms"], "k": facts["k"]}
        | _quality(facts["quality"][role])
        for role in ROLES
    ]
    for name, found in facts["controls"].items():
        atoms = facts["k"] if name == COMPONENTS else facts["atoms"]
        rows.append({"encoder": name, "role": "test", "atoms": atoms, "k": facts["k"]} | _quality(found))
    return pd.DataFrame(rows, columns=["encoder", "role", "atoms", "k", *QUALITY])


def sweep_table(facts: Mapping[str, Any]) -> pd.DataFrame:
    """Return sweep.tsv, a row a dictionary that was fitted: dictionary, atoms, k, chosen, sound, and its quality.

    Columns of that are `QUALITY` and `OF_TRAINING`. It is of the validation role, and of the training role where the
    name says so; an imported dictionary stands alone, and `sound` is empty.
    """
    train = facts["quality"]["train"]
    alone = {name: facts[name] for name in ("dictionary", "atoms", "k")} | facts["quality"]["validation"]
    alone |= {"l0_train": train["l0"], "dead_share_train": train["dead_share"]}
    rows = [
        {name: one[name] for name in ("dictionary", "atoms", "k")}
        | {"chosen": one["dictionary"] == facts["dictionary"], "sound": one.get("sound")}
        | _quality(one)
        | {name: one.get(name) for name in OF_TRAINING}
        for one in facts.get("sweep", [alone])
    ]
    return pd.DataFrame(rows)


def best_model(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return BEST_MODEL.json: the folder and the name of the dictionary, by which rule it was taken, and the others."""
    return {
        "best_dir": FOLDER,
        "dictionary": facts["dictionary"],
        "rule": facts.get("rule", "imported, not chosen"),
        "candidates": [row["dictionary"] for row in facts.get("sweep", [facts])],
    }


def dictionary_tensors(representation: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what dictionary.safetensors holds: codes are z = W (x - bias) + c above the threshold.

    x is (map r - center) / scale, without `map` where there is none, and r (raw - raw_center) / raw_scale, 0 where
    absent; `decoder_weight` (inputs, atoms) has an atom a column.
    """
    return {name: values for name, values in representation.items() if name not in NOT_THE_DICTIONARY}


def dictionary_facts(facts: Mapping[str, Any], features: Sequence[str]) -> dict[str, Any]:
    """Return what dictionary.safetensors says of itself, so that another study can encode with it."""
    return {name: facts[name] for name in ("dictionary", "k", "activation")} | {"features": list(features)}


def _quality(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found.get(name) for name in QUALITY}
