"""CPU time of attribution against captum: an ensemble of perceptrons with batch norm, side by side in one run.

Prints, for each method, the CPU seconds of both, their ratio and the largest difference. captum is given one member
after another, in batches of as many rows; ours all members at once, in the batches that `explain_model` makes.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial

import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency

from consilience.attribution.batches import GRADIENT_NUMBERS
from consilience.attribution.function import EnsembleFunction, target_map
from consilience.attribution.methods import METHODS
from consilience.networks import MultilayerPerceptron

MEMBERS, STEPS, ROWS = 12, 50, 512
SIZES = ((1000, 100), (19938, 10))
GRADIENT_SAMPLES = 20  # gradients are this many times cheaper, so that many more samples are taken


def build(features: int) -> tuple[list[torch.nn.Module], EnsembleFunction]:
    """Return the members, and all of them as one function."""
    torch.manual_seed(0)
    modules = [MultilayerPerceptron(features, [64, 32], 1, 0.1, True).eval() for _ in range(MEMBERS)]
    states = {name: torch.stack([module.state_dict()[name] for module in modules]) for name in modules[0].state_dict()}
    return modules, EnsembleFunction(modules[0], states, *target_map("regression", 1))


def by_captum(method: str, modules: list[torch.nn.Module], inputs: torch.Tensor) -> torch.Tensor:
    """Attribute member by member, (members, 1, samples, features)."""
    results = []
    for module in modules:
        if method == "integrated_gradients":
            result = IntegratedGradients(module).attribute(inputs, n_steps=STEPS, internal_batch_size=ROWS)
        else:
            explainer = {"saliency": Saliency, "gradient_x_input": InputXGradient}[method](module)
            parts = [part.clone().requires_grad_() for part in inputs.split(ROWS)]
            result = torch.cat([explainer.attribute(part).detach() for part in parts])
        results.append(result.float())
    return torch.stack(results)[:, None]


def by_consilience(method: str, function: EnsembleFunction, inputs: torch.Tensor) -> torch.Tensor:
    """Attribute all members, (members, 1, samples, features)."""
    settings = {"steps": STEPS, "internal_batch": ROWS}
    parts = inputs.split(max(1, min(ROWS, GRADIENT_NUMBERS // (MEMBERS * inputs.shape[1]))))
    reference = (torch.zeros(1, inputs.shape[1]),)
    return torch.cat([METHODS[method].function(function, (part,), {}, reference, settings)[0] for part in parts], dim=2)


def timed(call: Callable[[], torch.Tensor], repeats: int = 3) -> tuple[float, torch.Tensor]:
    """Return the least CPU time of several runs, and the result."""
    times, result = [], torch.empty(0)
    for _ in range(repeats):
        start = time.process_time()
        result = call()
        times.append(time.process_time() - start)
    return min(times), result


def main() -> None:
    """Print a row a method and size."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="captum")
    print(f"{MEMBERS} members [64, 32], {STEPS} steps, {ROWS} rows at once; CPU seconds")
    print(f"{'method':<22}{'features':>9}{'samples':>9}{'captum':>9}{'ours':>9}{'ratio':>8}{'difference':>12}")
    for features, samples in SIZES:
        modules, function = build(features)
        for method in METHODS:
            count = samples if method == "integrated_gradients" else samples * GRADIENT_SAMPLES
            inputs = torch.randn(count, features, generator=torch.Generator().manual_seed(1))
            peer, expected = timed(partial(by_captum, method, modules, inputs))
            own, result = timed(partial(by_consilience, method, function, inputs))
            difference = float((result - expected).abs().max())
            print(f"{method:<22}{features:>9}{count:>9}{peer:>9.2f}{own:>9.2f}{peer / own:>7.1f}x{difference:>12.1e}")


if __name__ == "__main__":
    main()
