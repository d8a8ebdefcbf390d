"""Cascading randomization of parameters: whether an attribution depends on what the network has learned.

Adebayo et al. (2018), "Sanity checks for saliency maps", section 3.1. An attribution that resembles that of the
randomized network tells of inputs and architecture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch

from consilience.training.members import stable_seed

STAGES = 6
TRAINED = "trained"


def cascade(
    names: Iterable[str], states: Mapping[str, torch.Tensor], seed: int
) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """Yield stages of randomization: the module randomized last, and the states, in which those before it are too.

    `names` are the tensors in the order of registration, `states` each of them (members, ...). Modules are randomized
    one by one from the output to the input, all tensors of a module at once, over `STAGES` stages at most; after the
    last all are (a tensor of equal entries, or of one, stays what it is). `states` themselves stay as they are.
    """
    owners = _by_module(names)
    modules, count = list(owners)[::-1], min(STAGES, len(owners))
    ends = [-(-len(modules) * stage // count) for stage in range(1, count + 1)]
    current, done = dict(states), 0
    for end in ends:
        for module in modules[done:end]:
            current |= {name: shuffled(states[name], name, seed) for name in owners[module]}
        done = end
        yield modules[end - 1] or "own parameters", dict(current)


def stages(names: Iterable[str]) -> int:
    """Return how many stages `cascade` makes of these tensors."""
    return min(STAGES, len(_by_module(names)))


def _by_module(names: Iterable[str]) -> dict[str, list[str]]:
    owners: dict[str, list[str]] = {}
    for name in names:
        owners.setdefault(name.rpartition(".")[0], []).append(name)
    return owners


def shuffled(tensor: torch.Tensor, name: str, seed: int) -> torch.Tensor:
    """Return (members, ...) with the entries of each member in another order, which keeps their distribution.

    The order follows from the seed, the tensor's name and the member's place.
    """
    flat = tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None]
    orders = [
        np.random.default_rng(stable_seed(seed, "randomization", name, member)).permutation(flat.shape[1])
        for member in range(len(flat))
    ]
    places = torch.as_tensor(np.stack(orders), device=tensor.device)
    return flat.gather(1, places).reshape(tensor.shape)
