"""Attribution against captum and shap: ensembles of perceptrons and of a small CNN, side by side in one run.

Prints, for each method and peer, the CPU seconds of both (on a GPU wall seconds, synchronized), their ratio, the ratio
aimed at, and the largest difference of the results. A peer is given one member after another; ours all at once, in the
batches that the workflow makes. Random draws differ (*), so that there both gaps of completeness are printed instead.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import attribution_peers as peers
import torch
from attribution_cases import BACKGROUND, MEMBERS, ROWS, Case, case_of
from captum import attr

CASES = {"perceptron": 1000, "perceptron of all genes": 19938, "small CNN": 0}


@dataclass(frozen=True)
class Contest:
    """A method and a peer; `samples` a case in order, `rows` ours at once, `goal` the ratio aimed at for perceptrons."""

    label: str
    method: str
    peer: peers.Peer
    samples: tuple[int, int, int]
    goal: float = 0
    rows: int = ROWS
    settings: dict[str, Any] = field(default_factory=lambda: {"steps": peers.STEPS, "draws": peers.DRAWS})
    random: bool = False
    timed: bool = True


IG, QUADRATURE = "integrated_gradients", {"exact": False, "steps": peers.STEPS}
ONE_BY_ONE = peers.integrated_gradients_one_by_one
CONTESTS = (
    Contest("IG, captum one by one", IG, ONE_BY_ONE, (96, 35, 8), 50),
    Contest("IG, both one by one", IG, ONE_BY_ONE, (24, 8, 8), rows=1),
    Contest("IG, both in batches", IG, peers.integrated_gradients, (96, 35, 8), 40),
    Contest("IG by 50 points, in batches", IG, peers.integrated_gradients, (96, 35, 8), settings=QUADRATURE),
    Contest("IG, captum with 1000 steps", IG, peers.accurate_integrated_gradients, (4, 2, 1), timed=False),
    Contest(
        "gradient x input, captum", "gradient_x_input", peers.gradients(attr.InputXGradient), (2048, 350, 128), 1.2
    ),
    Contest("saliency, captum", "saliency", peers.gradients(attr.Saliency), (2048, 350, 128)),
    Contest("DeepLIFT, captum", "deeplift", peers.deeplift, (512, 140, 64), 2),
    Contest("DeepLIFT, shap", "deeplift", peers.deep_explainer(single=True), (64, 35, 16), 2),
    Contest("DeepLIFT-SHAP, shap", "deeplift_shap", peers.deep_explainer(single=False), (32, 16, 4), 6),
    Contest("DeepLIFT-SHAP, captum", "deeplift_shap", peers.deeplift_shap, (32, 16, 4)),
    Contest("SmoothGrad, captum *", "smoothgrad", peers.smoothgrad, (128, 35, 16), random=True),
    Contest("expected gradients, captum *", "expected_gradients", peers.gradient_shap, (64, 35, 8), random=True),
    Contest("expected gradients, shap *", "expected_gradients", peers.gradient_explainer, (32, 16, 4), random=True),
    Contest("occlusion, captum", "occlusion", peers.feature_ablation, (4, 1, 4)),
)


def seconds(call: Callable[[], torch.Tensor], device: torch.device) -> tuple[float, torch.Tensor]:
    """Return CPU seconds on a CPU, wall seconds on a GPU, and the result."""
    if device.type == "cpu":
        start = time.process_time()
        result = call()
        return time.process_time() - start, result
    torch.cuda.synchronize()
    start = time.perf_counter()
    result = call()
    torch.cuda.synchronize()
    return time.perf_counter() - start, result


def compare(contest: Contest, case: Case, count: int, repeats: int, device: torch.device) -> str:
    """Run both in turn, and return a row of the table: the least times, and the difference."""
    inputs = case.inputs[:count]
    explainers = [contest.peer(module, case) for module in case.modules]
    least = [math.inf, math.inf]
    for _ in range(repeats):
        theirs, expected = seconds(lambda: torch.stack([attribute(inputs) for attribute in explainers]), device)
        ours, result = seconds(lambda: case.ours(contest.method, count, contest.settings, contest.rows), device)
        least = [min(least[0], theirs), min(least[1], ours)]
    ratio = least[0] / least[1]
    row = f"  {contest.label:<30}{count:>8}"
    row += f"{least[0]:>9.3f}{least[1]:>9.3f}{ratio:>8.1f}x" if contest.timed else f"{'':27}"
    goal = contest.goal if len(inputs[0].shape) == 1 else 0
    row += f"{f'{goal:g}x ' + ('met' if ratio >= goal else 'MISSED'):>12}" if goal else f"{'':12}"
    if not contest.random:
        return row + f"{float((result - expected).abs().max()):>12.1e}"
    if contest.method == "smoothgrad":
        return row + f"{float((result - expected).abs().max()):>12.1e} *"
    return row + f"  * gaps {case.gap(expected, True):.1e}, ours {case.gap(result, True):.1e}"


def main() -> None:
    """Print a table a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="fewer samples, one repeat, no network of all genes")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="a part of the labels to run")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no GPU here: skipped")
        return
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    print(f"{MEMBERS} members, {peers.STEPS} steps, {BACKGROUND} background samples; ", end="")
    print("CPU seconds" if device.type == "cpu" else f"seconds on {torch.cuda.get_device_name()}")
    for place, (name, features) in enumerate(CASES.items()):
        if arguments.quick and features > 1000:
            continue
        case = case_of(name, features, max(contest.samples[place] for contest in CONTESTS), device)
        print(f"{name}, {case.inputs[0].numel()} features")
        print(f"  {'':<30}{'samples':>8}{'peer':>9}{'ours':>9}{'ratio':>9}{'aim':>12}{'difference':>12}")
        for contest in CONTESTS:
            count = contest.samples[place] if not arguments.quick else max(1, contest.samples[place] // 8)
            if arguments.only.lower() in contest.label.lower():
                repeats = 1 if arguments.quick or not contest.timed else arguments.repeats
                print(compare(contest, case, count, repeats, device), flush=True)


if __name__ == "__main__":
    main()
