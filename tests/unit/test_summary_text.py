"""The summary as text: lines that a terminal holds, and all studies in short at the end."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "workflow" / "scripts" / "summary.py"))
WIDTH = SCRIPT["WIDTH"]


def study(targets):
    """One whose strongest drivers are a of the first target and d of the last."""
    rows = [
        ("a", targets[0], "negative", -0.9),
        ("b", targets[0], "positive", 0.1),
        ("d", targets[-1], "positive", 0.8),
    ]
    rows += [(f"weak {number}", targets[0], "positive", 0.2) for number in range(4)]
    top = pd.DataFrame(rows, columns=["feature", "target", "direction", "average_attribution"])
    value = {"value": 0.5, "low": 0.4, "high": 0.6}
    return SimpleNamespace(
        base=Path("results/mine"), trivial=("mean", 0.0), headline="r2", network="wide", linear_kind="ridge",
        networks={"wide": {"test": {"r2": value}}}, linear={"ridge": {"test": {"r2": value | {"value": None}}}},
        top=top, targets=targets,
    )  # fmt: skip


def test_a_study_in_short_is_two_lines():
    assert SCRIPT["in_short"](study(["y"]), 6) == [
        "mine    test r2: wide 0.500 [0.400, 0.600], ridge undefined, mean 0.000 (uses no feature)",
        "        -a, +d, +weak 0, +weak 1, +weak 2",
    ]


def test_of_several_targets_each_driver_names_its_own():
    assert SCRIPT["in_short"](study(["x", "y"]), 4)[1].startswith("      -a (x), +d (y), +weak 0 (x)")


def test_no_drivers_are_said():
    none = study(["y"])
    none.top = none.top.head(0)
    assert SCRIPT["in_short"](none, 4)[1].strip() == "no drivers"


@pytest.mark.parametrize("word", ["word", "results/expression/top-drivers"])
def test_long_lines_break_between_words_under_their_text(word):
    line = f"  note       {' '.join([word] * 60)}"
    broken = SCRIPT["wrapped"](["  drivers    +a (2/2)", line]).splitlines()
    assert broken[0] == "  drivers    +a (2/2)"
    assert max(map(len, broken)) <= WIDTH
    assert all(part.startswith(" " * 13 + word) for part in broken[2:])
    assert " ".join(" ".join(broken[1:]).split()) == " ".join(line.split())
