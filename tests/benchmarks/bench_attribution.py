"""Attribution against captum and shap: ensembles of perceptrons and of a small CNN, side by side in one run.

Prints, for each method and peer, the CPU seconds of both (on a GPU wall seconds, synchronized), their ratio, the ratio
aimed at, and the largest difference of the results. A peer is given one member after another; ours all at once, in the
batches that the workflow makes. Results are dropped as they come. Networks are taken apart, and explainers built, before
the clock starts. Where results differ, by random draws (*) or by a peer's error, the largest gaps of completeness follow.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator

import torch
from attribution_cases import BACKGROUND, MEMBERS, ROWS, Case, case_of
from attribution_contests import CONTESTS, Contest
from attribution_peers import STEPS

from consilience.attribution.methods import method_named

CASES = {"perceptron": 1000, "perceptron of all genes": 19938, "small CNN": 0}
# Samples whose results are compared, and the difference from which the gaps of both are printed.
COMPARED, TOLERANCE = 8, 1e-5


def seconds(results: Iterable[torch.Tensor], device: torch.device) -> float:
    """Return the CPU seconds, on a GPU the wall seconds, that it takes to make all results."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    deque(results, maxlen=0)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def compare(contest: Contest, case: Case, count: int, repeats: int, device: torch.device) -> str:
    """Run both in turn, and return a row of the table: the least times, and the difference."""
    explainers = [contest.peer(module, case) for module in case.modules]

    def theirs(samples: int) -> Iterator[torch.Tensor]:
        return (attribute(part) for attribute in explainers for part in case.inputs[:samples].split(ROWS))

    def ours(samples: int) -> Iterator[torch.Tensor]:
        return case.ours(contest.method, samples, contest.settings, contest.rows)

    few = min(count, COMPARED)
    expected, result = torch.stack(list(theirs(few))), torch.cat(list(ours(few)), dim=1)
    row, agreement = f"  {contest.label:<30}{count:>8}", difference(contest, case, expected, result)
    if not repeats:
        return f"{row}{'':39}{agreement}"
    times = [(seconds(theirs(count), device), seconds(ours(count), device)) for _ in range(repeats)]
    least = [min(column) for column in zip(*times, strict=True)]
    ratio = least[0] / least[1]
    aim = f"{contest.goal:g}x {'met' if ratio >= contest.goal else 'MISSED'}" if contest.goal and case.flat else ""
    return f"{row}{least[0]:>9.3f}{least[1]:>9.3f}{ratio:>8.1f}x{aim:>12}{agreement}"


def difference(contest: Contest, case: Case, expected: torch.Tensor, result: torch.Tensor) -> str:
    """Return the largest difference, and the largest gaps of both where they tell which of them is right."""
    largest = float((result - expected).abs().max())
    method = method_named(contest.method)
    if largest < TOLERANCE or not method.complete:
        return f"{largest:>12.1e}"
    gaps = [case.gap(values, method.needs_background) for values in (expected, result)]
    return f"{largest:>12.1e}  gaps: peer {gaps[0]:.0e}, ours {gaps[1]:.0e}"


def main() -> None:
    """Print a table a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="fewer samples, and no network of all genes")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="a part of the labels to run")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no GPU here: skipped")
        return
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    print(f"{MEMBERS} members, {STEPS} steps, {BACKGROUND} background samples; ", end="")
    print("CPU seconds" if device.type == "cpu" else f"seconds on {torch.cuda.get_device_name()}")
    for place, (name, features) in enumerate(CASES.items()):
        if arguments.quick and features > 1000:
            continue
        case = case_of(name, features, max(contest.samples[place] for contest in CONTESTS), device)
        print(f"{name}, {case.inputs[0].numel()} features")
        print(f"  {'':<30}{'samples':>8}{'peer':>9}{'ours':>9}{'ratio':>9}{'aim':>12}{'difference':>12}")
        for contest in CONTESTS:
            count = contest.samples[place] // (8 if arguments.quick else 1)
            if arguments.only.lower() in contest.label.lower() and contest.samples[place]:
                repeats = arguments.repeats * contest.timed
                print(compare(contest, case, max(1, count), repeats, device), flush=True)


if __name__ == "__main__":
    main()
