"""CPU time of tabular's readers and checks at 20,000 columns against those at 5,000: 4 is in proportion, 16 quadratic.

Run as `OMP_NUM_THREADS=1 python tests/benchmarks/bench_tabular.py [columns rows]`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))

from consilience.domains.tabular.choice import choose
from consilience.domains.tabular.leaks import Watch
from consilience.domains.tabular.parquet_tables import ParquetTable
from consilience.domains.tabular.text_tables import TextTable

SMALLER = 4
REPEATS = 3


def cases(folder: Path, columns: int, rows: int) -> dict[str, Callable[[], object]]:
    """Return what is timed, on a table of so many columns of noise."""
    values = np.random.default_rng(0).random((rows, columns)).round(3)
    table = pd.DataFrame(values, columns=[f"x{place}" for place in range(columns)])
    text, parquet, names = folder / f"{columns}.csv", folder / f"{columns}.parquet", list(table)
    table.to_csv(text, index=False)
    table.to_parquet(parquet)

    def watch(target: np.ndarray, classes: int) -> None:
        watched = Watch(names, target, classes)
        watched.add(values)
        watched.check("", "")

    own = {"split": {"group": "id", "apart": []}, "id": None, "role": None, "target": names[-1], "exclude": []}
    own |= {"categorical": [], "task": "auto"}
    return {
        "text, its columns and choice": lambda: choose(TextTable(text, ",", []), own),
        "text, its columns": lambda: TextTable(text, ",", []),
        "text, its rows": lambda: list(TextTable(text, ",", []).blocks(names, [], 2**24)),
        "parquet, its columns": lambda: ParquetTable(parquet),
        "checks for leaks, of classes": lambda: watch(np.arange(rows) % 2, 2),
        "checks for leaks, of a number": lambda: watch(np.arange(rows) ** 0.5, 0),
    }


def seconds(run: Callable[[], object]) -> float:
    """Return the least CPU time of a few runs."""
    found = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Print the ratio of every case."""
    columns, rows = (int(value) for value in sys.argv[1:3]) if len(sys.argv) > 2 else (20_000, 60)
    with tempfile.TemporaryDirectory() as folder:
        small, large = (cases(Path(folder), width, rows) for width in (columns // SMALLER, columns))
        for name, run in large.items():
            print(
                f"{name:30s} {seconds(run) / seconds(small[name]):5.1f} times as long for {SMALLER} times the columns"
            )


if __name__ == "__main__":
    main()
