"""Encodes calls by a sparse dictionary of their embeddings, fitted on the training role without labels.

A feature is an atom; those that no training call excites are none. What the calls were encoded with is kept in the
file, so that the analysis can push attributions of atoms on to k-mers and attributes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.devices import choose_device
from consilience.domains.variants.codes import BRANCH
from consilience.domains.variants.dictionaries import (
    RULE,
    Candidate,
    best,
    codes_by_batch_size,
    controls,
    fitted,
    matched,
    sizes,
)
from consilience.domains.variants.imported import import_dictionary, import_own, negative_share, weights_file
from consilience.domains.variants.levels import DEAD, FAR_FROM_K, SAME
from consilience.domains.variants.projection import BLOCK_ROWS, Projection, fit_projection
from consilience.errors import ConsilienceError
from consilience.progress import progress
from consilience.resume import Journal
from consilience.sparse_autoencoder import SparseAutoencoder, quality
from consilience.splits import ROLES, sampled
from consilience.training.members import stable_seed

BATCH_SIZES = (32, 256, 4096)


@dataclass(frozen=True)
class _Chosen:
    """The dictionary that encodes, the inputs it takes, and what encoded.json tells of how it was come by."""

    module: SparseAutoencoder
    projection: Projection
    facts: dict[str, Any]
    stability: np.ndarray | None


def encode(
    dataset: Dataset,
    split: pd.DataFrame,
    settings: dict[str, Any],
    encoded: Path,
    seed: int,
    device: str,
    journal: Journal | None = None,
) -> dict[str, Any]:
    """Write `encoded`, a dataset of codes, and return what encoded.json tells of the dictionary.

    `split` has a row a sample with its role; `settings` are k, dimension, dictionary and the like. `journal` keeps the
    dictionaries that are being fitted, and continues an earlier try. Raises
    ConsilienceError for a dictionary that cannot be fitted or imported.
    """
    place, own = choose_device(device), settings["dictionary"]
    rows = {role: np.flatnonzero((split["role"] == role).to_numpy()) for role in ROLES}
    projection = fit_projection(dataset, rows["train"], settings["dimension"], seed)
    most = own["maximum_samples"]
    held = {role: sampled(rows[role], most, stable_seed(seed, "dictionary rows", role)) for role in ROLES}
    if own.get("checkpoint"):
        chosen = _imported(projection, weights_file(Path(own["checkpoint"])), dataset.features["name"], place)
        inputs = _inputs(dataset, chosen.projection, held, place)
        if chosen.module.activation == "top_k":
            chosen.facts["negative_share"] = negative_share(chosen.module, inputs["test"])
    else:
        inputs = _inputs(dataset, projection, held, place)
        chosen = _fitted(inputs, projection, own, seed, journal or Journal())
    facts = {
        **chosen.facts,
        "device": str(place),
        "rows": {role: len(held[role]) for role in ROLES},
        "quality": {role: quality(chosen.module, inputs[role], inputs["train"].mean(dim=0)) for role in ROLES},
        "codes_by_sequence": codes_by_sequence(dataset, chosen.module, inputs, held),
        "codes_by_batch_size": codes_by_batch_size(chosen.module, inputs["test"], BATCH_SIZES),
        "controls": controls(
            inputs["train"], inputs["test"], chosen.module.decoder.in_features, chosen.module.k, seed
        ),
    }  # fmt: skip
    alive = _alive(dataset, chosen, rows["train"])
    if not len(alive):
        raise ConsilienceError(f"{dataset.path}: no atom of the dictionary is active in any call of the training role")
    _write(dataset, chosen, alive, encoded)
    return facts | {"alive": len(alive)}


@torch.no_grad()
def codes_by_sequence(
    dataset: Dataset, module: SparseAutoencoder, inputs: Mapping[str, Tensor], rows: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Return the mean number of active atoms of calls `with` and `without` a consensus, by role that has both.

    What a call lacks counts as average, so that little excites atoms in calls without.
    """
    counts = {
        role: torch.cat([(module(part) > 0).sum(dim=1) for part in own.split(BLOCK_ROWS)]).cpu().numpy()
        for role, own in inputs.items()
    }
    with_sequence = dataset.samples["has_sequence"].to_numpy(bool) if "has_sequence" in dataset.samples else None
    found = {}
    for role, own in counts.items():
        known = with_sequence is not None and with_sequence[rows[role]]
        if np.any(known) and not np.all(known):
            found[role] = {"with": float(own[known].mean()), "without": float(own[~known].mean())}
    return found


def _inputs(
    dataset: Dataset, projection: Projection, rows: Mapping[str, np.ndarray], device: torch.device
) -> dict[str, Tensor]:
    return {
        role: torch.cat([torch.from_numpy(block).to(device) for block in projection.blocks(dataset, own)])
        for role, own in rows.items()
    }


def _imported(projection: Projection, path: Path, features: Sequence[str], device: torch.device) -> _Chosen:
    if path.suffix == ".safetensors":
        module, projection = import_own(path, projection.scalings, features)
    else:
        module, projection = _imported_earlier(path, projection)
    module = module.to(device).eval()
    facts = {
        "dictionary": path.name, "imported": True, "inputs": len(projection.center),
        "atoms": module.decoder.in_features, "k": module.k, "activation": module.activation,
    }  # fmt: skip
    return _Chosen(module, projection, facts, None)


def _imported_earlier(path: Path, projection: Projection) -> tuple[SparseAutoencoder, Projection]:
    found = import_dictionary(path, len(projection.center))
    # The dictionary's own mean and deviation are of embeddings as they are, where those were made elsewhere.
    if projection.map is None:
        (scaling,) = projection.scalings.values()
        center, scale = (found.center - scaling.center) / scaling.scale, found.scale / scaling.scale
    else:
        center, scale = found.center, found.scale
    return found.module, replace(projection, center=center, scale=scale)


def _fitted(
    inputs: Mapping[str, Tensor], projection: Projection, settings: Mapping[str, Any], seed: int, journal: Journal
) -> _Chosen:
    width = len(projection.center)
    wanted = sizes(settings, width)
    fits = len(wanted) + settings["seeds"] - 1
    with progress("fitting dictionaries", "epoch", fits * settings["epochs"]) as advance:
        both = inputs["train"], inputs["validation"]
        candidates = [
            fitted(*both, size, settings, seed, advance, journal.part(f"dictionary {number}"))
            for number, size in enumerate(wanted)
        ]
        one = best(candidates, settings["tolerance"])
        size = one.atoms, one.module.k
        others = [
            fitted(*both, size, settings, stable_seed(seed, "again", number), advance, journal.part(f"again {number}"))
            for number in range(1, settings["seeds"])
        ]
    stability = _stability(one, others)
    facts = {
        "dictionary": one.name, "imported": False, "inputs": width, "atoms": one.atoms, "k": one.module.k,
        "activation": one.module.activation, "recipe": vars(one.module.recipe), "tolerance": settings["tolerance"],
        "rule": RULE.format(dead=DEAD, far=FAR_FROM_K),
        "sweep": [other.told() for other in candidates],
    }  # fmt: skip
    if stability is not None:
        facts["stability"] = {
            "seeds": settings["seeds"], "mean_cosine": float(stability.mean()), "cosine_of_one_atom": SAME,
            "matched_share": float((stability >= SAME).mean()),
        }  # fmt: skip
    return _Chosen(one.module.eval(), projection, facts, stability)


def _stability(one: Candidate, others: Sequence[Candidate]) -> np.ndarray | None:
    """Return each atom's mean cosine (atoms,) with its partners in dictionaries from other random starts."""
    if not others:
        return None
    return np.mean([matched(one.module.atoms.detach(), other.module.atoms.detach()) for other in others], axis=0)


@torch.no_grad()
def _codes(dataset: Dataset, chosen: _Chosen, rows: np.ndarray) -> Iterator[Tensor]:
    device = chosen.module.bias.device
    for block in chosen.projection.blocks(dataset, rows):
        yield chosen.module(torch.from_numpy(block).to(device))


def _alive(dataset: Dataset, chosen: _Chosen, training: np.ndarray) -> np.ndarray:
    fired = torch.zeros(chosen.module.decoder.in_features, dtype=torch.bool, device=chosen.module.bias.device)
    for codes in _codes(dataset, chosen, training):
        fired |= (codes > 0).any(dim=0)
    return fired.nonzero().squeeze(1).cpu().numpy()


def _write(dataset: Dataset, chosen: _Chosen, alive: np.ndarray, encoded: Path) -> None:
    attributes = dataset.file.attrs
    facts = {name: str(attributes[name]) for name in ("target", "source", "source_sha256")}
    with write_dataset(encoded, dataset.task, unit="activation of an atom", classes=dataset.classes, **facts) as writer:
        names = [f"atom {atom}" for atom in alive]
        writer.features(pd.DataFrame({"name": names, "branch": BRANCH, "atom": alive}))
        writer.branch(BRANCH, np.arange(len(alive)), len(dataset), scaling="feature")
        for codes in _codes(dataset, chosen, np.arange(len(dataset))):
            writer.append(BRANCH, codes.cpu().numpy()[:, alive])
        writer.target(dataset.target)
        writer.samples(dataset.samples)
        writer.representation(chosen.projection.arrays() | _arrays(chosen, alive))


def _arrays(chosen: _Chosen, alive: np.ndarray) -> dict[str, np.ndarray]:
    module = chosen.module
    state = {name.replace(".", "_"): values.cpu().numpy() for name, values in module.state_dict().items()}
    kept = {} if chosen.stability is None else {"stability": chosen.stability.astype(np.float32)}
    return state | kept | {"alive": alive}
