"""An existing dictionary, of this workflow or of the earlier system; or the BEST_MODEL.json that names its folder.

dictionary.safetensors of another study encodes calls as that study did: features, embedding and dictionary are its own.

The earlier system's sae.pt holds `config` (input_dim, feature_dim, k, the mean as μ or mu, the standard deviation as σ
or std) and `model_state_dict` (encoder.weight, encoder.bias, decoder.weight). Its inputs are (x - μ) / (σ + 1e-6), its
codes the k largest pre-activations; negative ones, which the earlier system kept, are 0 here, and are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from consilience.domains.variants.projection import Projection
from consilience.errors import ConsilienceError, nearest
from consilience.files import read_json, read_tensors
from consilience.scaling import Scaling
from consilience.sparse_autoencoder import SparseAutoencoder
from consilience.torch_files import load_without_code

BEST, FILES = "BEST_MODEL.json", ("dictionary.safetensors", "sae.pt")
ADDED = 1e-6  # to the standard deviation, as the earlier system did
NUMBERS = ("input_dim", "feature_dim", "k")
MEAN, DEVIATION = ("μ", "mu"), ("σ", "std")


@dataclass(frozen=True)
class Imported:
    """A dictionary and the mean and scale (inputs,) of what it takes."""

    module: SparseAutoencoder
    center: np.ndarray
    scale: np.ndarray


def weights_file(path: Path) -> Path:
    """Return the file of weights that a path names: itself, or that in the folder of BEST_MODEL.json."""
    if path.name != BEST:
        return path
    content = read_json(path)
    folder = content.get("best_dir")
    if not isinstance(folder, str):
        raise ConsilienceError(f"dictionary {path}: no text under best_dir; expected the folder of the weights")
    # Relative to the file, or to the folder beside which the earlier system was started.
    for base in (path.parent, Path()):
        for name in FILES:
            if (base / folder / name).is_file():
                return base / folder / name
    raise ConsilienceError(
        f"dictionary {path}: best_dir is {folder!r}; no {' or '.join(FILES)} in {path.parent / folder}"
    )


def import_own(
    path: Path, scalings: Mapping[str, Scaling], features: Sequence[str]
) -> tuple[SparseAutoencoder, Projection]:
    """Read dictionary.safetensors of another study, for a dataset of these features, scaled by branch.

    Raises ConsilienceError, naming the file, for another one, and for a dictionary of other features.
    """
    arrays, facts = read_tensors(path)
    if not {"k", "activation", "features"} <= facts.keys() or "encoder_weight" not in arrays:
        raise ConsilienceError(f"dictionary {path}: not one of this workflow (analysis/dictionary/{FILES[0]})")
    theirs = facts["features"]
    if theirs != list(features):
        pairs = zip_longest(theirs, features, fillvalue="nothing")
        place, (one, other) = next((place, pair) for place, pair in enumerate(pairs) if len(set(pair)) > 1)
        raise ConsilienceError(
            f"dictionary {path}: of other features than these calls have: number {place} (from 0) is {one!r}, here "
            f"{other!r}; take the k, attributes and reference of the study that fitted it"
        )
    atoms, inputs = arrays["encoder_weight"].shape
    module = SparseAutoencoder(inputs, atoms, facts["k"], facts["activation"])
    state = {name: torch.from_numpy(arrays[name.replace(".", "_")]) for name in module.state_dict()}
    module.load_state_dict(state)
    return module, Projection.of(arrays, {name: one.center.size for name, one in scalings.items()})


def import_dictionary(path: Path, width: int) -> Imported:
    """Read sae.pt, a dictionary for inputs of `width` numbers, strictly.

    Raises ConsilienceError, naming file and key, for what is missing, unexpected, of another shape or not finite.
    """
    content = load_without_code(path, "dictionary", "config and model_state_dict")
    parts = [content.get(name) if isinstance(content, Mapping) else None for name in ("config", "model_state_dict")]
    for name, part in zip(("config", "model_state_dict"), parts, strict=True):
        if not isinstance(part, Mapping):
            raise ConsilienceError(f"dictionary {path}: no mapping under {name}; expected config and model_state_dict")
    config, state = parts
    inputs, atoms, k = (_whole_number(path, config, name) for name in NUMBERS)
    if inputs != width:
        raise ConsilienceError(f"dictionary {path}: input_dim is {inputs}; the embeddings have {width} numbers")
    module = SparseAutoencoder(inputs, atoms, k)
    with torch.no_grad():
        for name, wanted in module.state_dict().items():
            if name in ("bias", "threshold"):  # the earlier system had neither
                continue
            wanted.copy_(_tensor(path, f"model_state_dict.{name}", state.get(name), tuple(wanted.shape), state))
    unexpected = sorted(set(state) - {"encoder.weight", "encoder.bias", "decoder.weight"})
    if unexpected:
        raise ConsilienceError(f"dictionary {path}: model_state_dict.{unexpected[0]} is unexpected")
    center, deviation = (_either(path, config, names, inputs) for names in (MEAN, DEVIATION))
    if (deviation < 0).any():
        raise ConsilienceError(f"dictionary {path}: config.{DEVIATION[0]} has a negative number")
    return Imported(module, center.numpy(), deviation.numpy() + np.float32(ADDED))


@torch.no_grad()
def negative_share(module: SparseAutoencoder, inputs: torch.Tensor) -> float:
    """Return the share of the k largest pre-activations of rows (rows, inputs) that are not positive."""
    kept = module.pre_activations(inputs).topk(module.k, dim=1).values
    return float((kept <= 0).double().mean())


def _whole_number(path: Path, config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConsilienceError(f"dictionary {path}: config.{name} is {value!r}; expected a whole number above 0")
    return value


def _either(path: Path, config: Mapping[str, Any], names: tuple[str, str], width: int) -> torch.Tensor:
    found = next((name for name in names if name in config), None)
    if found is None:
        raise ConsilienceError(
            f"dictionary {path}: config has neither {' nor '.join(names)}{nearest(names[1], config)}"
        )
    return _tensor(path, f"config.{found}", config[found], (width,), config)


def _tensor(path: Path, key: str, value: Any, shape: tuple[int, ...], among: Mapping[str, Any]) -> torch.Tensor:
    if value is None:
        raise ConsilienceError(f"dictionary {path}: {key} {shape} is missing{nearest(key.rpartition('.')[2], among)}")
    try:
        tensor = torch.as_tensor(value, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise ConsilienceError(f"dictionary {path}: {key}: {value!r:.60} is no tensor of numbers") from None
    if tuple(tensor.shape) != shape and tensor.numel() == shape[0] and len(shape) == 1:
        tensor = tensor.reshape(shape)  # (1, inputs), as a mean over rows that keeps its dimension
    if tuple(tensor.shape) != shape:
        raise ConsilienceError(f"dictionary {path}: {key} has shape {tuple(tensor.shape)}; expected {shape}")
    if not tensor.isfinite().all():
        raise ConsilienceError(f"dictionary {path}: {key} has a value that is not finite")
    return tensor
