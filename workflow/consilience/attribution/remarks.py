"""What a network does that makes its attributions, or a part of them, mean less than they seem to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from consilience.attribution.function import EnsembleFunction, Tensors

SINGLE_TOKEN = (
    "attention over a single token (in {places}): its weights are constant, whatever the input, and explain nothing"
)
RANDOM = (
    "the network gives other values each time: it draws random numbers in eval mode (a functional dropout, say), and "
    "no attribution of it can be repeated"
)
COMPANY = (
    "a sample's value depends on the samples beside it: the network mixes its batch, and attributions depend on how "
    "samples are batched"
)
# Relative to the largest value; what is meant here is far beyond rounding.
TOLERANCE = 1e-3
# Places of bias_k and add_zero_attn among the arguments of multi_head_attention_forward: each is a key of its own.
MORE_KEYS = (7, 9)


def remarks(function: EnsembleFunction, inputs: Tensors, auxiliary: Mapping[str, torch.Tensor]) -> list[str]:
    """Return what a reader of a network's attributions should know, a sentence each; mostly none.

    One member runs on some of the samples in `inputs` (samples, *shape): whether attention has a single key (over the
    one summary of a sequence, say), whether values repeat, and whether samples are independent of each other.
    """
    one = function.part(slice(0, 1))
    # Unstacked, so that shapes are those that the network sees, and random numbers may be drawn.
    one.stackable = False
    few, first = (
        (tuple(tensor[:rows] for tensor in inputs), {name: tensor[:rows] for name, tensor in auxiliary.items()})
        for rows in (3, 1)
    )
    with _Attention() as attention:
        values = one.values(*few) - one.offset
    found = [SINGLE_TOKEN.format(places=", ".join(attention.places))] if attention.places else []
    if not _close(one.values(*few) - one.offset, values):
        return [*found, RANDOM]
    if not _close(one.values(*first) - one.offset, values[:, :1]):
        found.append(COMPANY)
    return found


class _Attention(TorchFunctionMode):
    """Gathers the names of the functions that weigh a single key, `places`."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, None] = {}

    def __torch_function__(
        self, function: Callable[..., Any], _types: Any, arguments: tuple = (), keywords: dict | None = None
    ) -> Any:
        name = function.__name__
        if name in KEYS and KEYS[name](arguments, keywords or {}) == 1:
            self.places[name] = None
        return function(*arguments, **(keywords or {}))


def _softmax_keys(arguments: Sequence[Any], keywords: dict[str, Any]) -> int:
    inputs = arguments[0] if arguments else keywords["input"]
    dimension = arguments[1] if len(arguments) > 1 else keywords.get("dim")
    if dimension is None:
        dimension = 0 if inputs.ndim in (0, 1, 3) else 1
    return inputs.shape[dimension] if inputs.ndim else 1


def _product_keys(arguments: Sequence[Any], keywords: dict[str, Any]) -> int:
    key = arguments[1] if len(arguments) > 1 else keywords["key"]
    return key.shape[-2]


def _multi_head_keys(arguments: Sequence[Any], _keywords: dict[str, Any]) -> int:
    more = (arguments[place] for place in MORE_KEYS)
    return len(arguments[1]) + sum(part is not None and part is not False for part in more)


KEYS = {
    "softmax": _softmax_keys,
    "scaled_dot_product_attention": _product_keys,
    "multi_head_attention_forward": _multi_head_keys,
}


def _close(own: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((own - other).abs().max() <= TOLERANCE * other.abs().max())
