"""DeepLIFT by the rescale rule, and its mean over a background (DeepLIFT-SHAP).

A nonlinear function's multiplier is the slope of the secant between a sample and its reference, in place of the
derivative (Shrikumar, Greenside & Kundaje 2017, section 3.5.1). Since functions are intercepted wherever they are
called, activations may be functional or reused. A function without a rule is refused: a gradient in its place would be
no DeepLIFT, and incomplete.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from consilience.attribution.background import mean_over_background
from consilience.attribution.function import Tensors
from consilience.attribution.interception import Call, UnsupportedError
from consilience.attribution.split import Auxiliary, Split
from consilience.errors import ConsilienceError

if TYPE_CHECKING:
    from consilience.attribution.batches import Batch

ELEMENTWISE = frozenset((
    "relu", "relu6", "leaky_relu", "prelu", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "softsign",
    "tanh", "tanhshrink", "sigmoid", "log_sigmoid", "hardtanh", "hardsigmoid", "hardswish", "threshold", "_threshold",
    "clamp", "exp", "expm1", "log", "log1p", "sqrt", "square", "pow", "__pow__", "abs", "absolute", "sin", "cos", "erf",
    "reciprocal", "__rtruediv__", "__rdiv__", "rsqrt",
))  # fmt: skip
ELEMENTWISE_PRODUCTS = frozenset(("mul", "__mul__", "__rmul__", "multiply"))
POOLS = {"max_pool1d": functional.max_pool1d, "max_pool2d": functional.max_pool2d, "max_pool3d": functional.max_pool3d}
# Below this difference the secant is rounding, and the derivative its limit.
SMALLEST = {torch.float32: 1e-6, torch.float64: 1e-10}


def deeplift(batch: Batch, _settings: Mapping[str, Any]) -> Tensors:
    """Return (z - z_ref) times the multipliers of the rescale rule; complete."""
    references = batch.checked_references()
    results = batch.empty()
    for members, split in batch.splits():
        here, there = split.project_ends(batch.inputs, references, batch.auxiliary)
        pulled = here.pull(_multipliers("deeplift", split, here.cuts, there, batch.auxiliary))
        for result, part, tensor, reference in zip(results, pulled, batch.inputs, references, strict=True):
            torch.mul(part, tensor - reference, out=result[members])
    return results


def deeplift_shap(batch: Batch, settings: Mapping[str, Any]) -> Tensors:
    """Return the mean of DeepLIFT over a background (Lundberg & Lee 2017, section 4.2); complete on average."""

    def slopes(split: Split, here: Tensors, there: Tensors, auxiliary: Auxiliary, _rows: slice) -> Tensors:
        return _multipliers("deeplift_shap", split, here, there, auxiliary)

    return mean_over_background(batch, settings, slopes)


def _multipliers(method: str, split: Split, here: Tensors, there: Tensors, auxiliary: Auxiliary) -> Tensors:
    """Return the multipliers at the cuts, (members, targets, samples, *shape); `method` is who asks."""
    samples = here[0].shape[1]
    if auxiliary:
        there = tuple(cut.expand(-1, samples, *cut.shape[2:]) for cut in there)
        auxiliary = {name: torch.cat([tensor, tensor]) for name, tensor in auxiliary.items()}
    cuts = tuple(torch.cat(pair, dim=1) for pair in zip(here, there, strict=True))
    try:
        multipliers = split.gradients(cuts, auxiliary, nonlinear=partial(rescale, samples), rows=samples)
        if split.obstacle:
            raise UnsupportedError(split.obstacle)
    except UnsupportedError as error:
        raise ConsilienceError(
            f"{method} cannot explain this network: {error}; leave it out of attribution.methods"
        ) from None
    return tuple(tensor[:, :, :samples] for tensor in multipliers)


def rescale(samples: int, call: Call) -> torch.Tensor:
    """Call a nonlinear function on rows of which the first `samples` are samples, the others their references.

    The values are the function's; the gradient is that of the secant, and flows to the samples alone. Raises
    UnsupportedError for a function without a rule.
    """
    if not torch.is_grad_enabled():
        raise UnsupportedError(f"it calls {call.name} where gradients are off, or have a backward pass of their own")
    if call.name in ELEMENTWISE and call.dependent == (0,):
        return _secant(samples, call.arguments[0], call.run())
    if call.name in POOLS and not call.keywords.get("return_indices"):
        keywords = {key: value for key, value in call.keywords.items() if key != "return_indices"}
        return _pooled(samples, call.name, *call.arguments, **keywords)
    if call.name in ELEMENTWISE_PRODUCTS and call.dependent == (0, 1):
        return _product(samples, *call.arguments)
    raise UnsupportedError(f"DeepLIFT has no rule for {call.name}")


def _secant(samples: int, inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    sample, reference = inputs[:samples], inputs[samples:].detach()
    rise = outputs[:samples].detach() - outputs[samples:].detach()
    run = sample.detach() - reference
    small = run.abs() < SMALLEST.get(run.dtype, SMALLEST[torch.float32])
    slope = rise / torch.where(small, 1.0, run)
    along = outputs[:samples].detach() + slope * (sample - sample.detach())
    return torch.cat([torch.where(small, outputs[:samples], along), outputs[samples:].detach()])


def _product(samples: int, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the product; its rise is divided as (mean of b) times the rise of a, and the reverse (Shapley values)."""
    product = (first * second).detach()
    ends = [(tensor[:samples].detach() + tensor[samples:].detach()) / 2 for tensor in (first, second)]
    moves = [tensor[:samples] - tensor[:samples].detach() for tensor in (first, second)]
    return torch.cat([product[:samples] + ends[1] * moves[0] + ends[0] * moves[1], product[samples:]])


def _pooled(samples: int, name: str, inputs: torch.Tensor, *arguments: Any, **keywords: Any) -> torch.Tensor:
    """Return the maxima; a window's rise goes to the element that holds the larger of its two maxima (as in captum)."""
    outputs, places = POOLS[name](inputs, *arguments, **keywords, return_indices=True)
    dimensions = int(name[-2])
    maxima, flat = outputs.flatten(-dimensions), inputs.flatten(-dimensions)
    places = places.flatten(-dimensions)
    sample, reference = maxima[:samples].detach(), maxima[samples:].detach()
    own = places[:samples]
    chosen = torch.where(sample >= reference, own, places[samples:].expand_as(own))
    taken = flat[:samples].gather(-1, chosen)
    run = taken.detach() - flat[samples:].detach().expand_as(flat[:samples]).gather(-1, chosen)
    small = run.abs() < SMALLEST.get(run.dtype, SMALLEST[torch.float32])
    slope = (sample - reference) / torch.where(small, 1.0, run)
    along = torch.where(small, maxima[:samples], sample + slope * (taken - taken.detach()))
    return torch.cat([along, reference]).reshape(len(inputs), *outputs.shape[1:])
