"""The shipped default: wall time, CPU time and peak memory of a run, and the share that imports take of it.

A script that is run without its job does nothing but import; what that costs, times the jobs that ran it, is the share.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "workflow" / "scripts"


def cpu_seconds(command: list[str]) -> float:
    """Run a command and return the CPU seconds of it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow"), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def script_of(job: Path) -> str:
    """Return the script behind a benchmark file: the deepest of its names that is one."""
    return next(part for part in (job.stem, *reversed(job.parts[:-1])) if (SCRIPTS / f"{part}.py").is_file())


def main() -> None:
    """Run the default study and print a row a script and the totals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", default="2")
    cores = parser.parse_args().cores
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        start = time.monotonic()
        total = cpu_seconds([*command, "--directory", folder, "--cores", cores])
        wall = time.monotonic() - start
        base = Path(folder, "benchmarks")
        rows = [
            {"script": script_of(path.relative_to(base)), **pd.read_csv(path, sep="\t", na_values="-").iloc[0]}
            for path in sorted(base.rglob("*.tsv"))
        ]
    jobs = (
        pd.DataFrame(rows).groupby("script").agg(jobs=("s", "size"), cpu=("cpu_time", "sum"), memory=("max_rss", "max"))
    )
    jobs["imports"] = [
        count * cpu_seconds([sys.executable, str(SCRIPTS / f"{script}.py")]) for script, count in jobs["jobs"].items()
    ]
    print(jobs.round(2).to_string())
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    print(f"wall {wall:.0f} s on {cores} cores ({model[1] if model else 'processor unknown'}), CPU {total:.0f} s")
    print(
        f"largest job {jobs['memory'].max():.0f} MB; imports {jobs['imports'].sum():.0f} CPU-s, {jobs['imports'].sum() / total:.0%} of the run"
    )


if __name__ == "__main__":
    main()
