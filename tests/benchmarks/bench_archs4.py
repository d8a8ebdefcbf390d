"""Extraction of scattered samples from an ARCHS4 file against archs4py's `data.index`, and the keyword search.

A file in ARCHS4's real layout (genes x samples, uint32, gzip, chunks of 2000 genes x 1 sample) is generated from a few
compressed chunks, and removed at the end. Each reader runs in a process of its own: CPU time of the call with all its
children, and the peak of the memory they hold together (proportional set size, so that what forked processes share
counts once; Linux). Both must return the same counts.

archs4py is needed for the comparison alone: pip install archs4py
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import h5py
import numpy as np

CHUNK = 2000
POOL = 64
KEYWORDS = Path(__file__).resolve().parents[2] / "resources" / "keywords" / "myeloid.txt"
OTHER = (
    "HEK293 cells, DMSO",
    "liver biopsy, 54 year old male",
    "CD4+ T cell from peripheral blood",
    "dermal fibroblast",
)
MYELOID = ("CD14+ monocytes, donor", "THP1 cells, PMA", "AML patient", "bone marrow derived macrophages", "hl 60 DMSO")


def generate(path: Path, samples: int, genes: int) -> None:
    """Write an ARCHS4 gene file whose chunks are drawn from a pool of overdispersed, half-empty ones."""
    random = np.random.default_rng(0)
    mean = np.exp(random.normal(2, 3, CHUNK))
    counts = random.poisson(mean * random.gamma(2, 0.5, (POOL, CHUNK))) * (random.random((POOL, CHUNK)) > 0.35)
    pool = [zlib.compress(row.astype("<u4").tobytes(), 4) for row in counts]
    picked = random.integers(0, POOL, (samples, -(-genes // CHUNK)))
    with h5py.File(path, "w") as file:
        expression = file.create_dataset(
            "data/expression", (genes, samples), "<u4", chunks=(CHUNK, 1), compression="gzip", compression_opts=4
        )
        for sample in range(samples):
            for column, chunk in enumerate(picked[sample].tolist()):
                expression.id.write_direct_chunk((column * CHUNK, sample), pool[chunk])
        file["meta/genes/symbol"] = np.array([f"GENE{index:06d}" for index in range(genes)], dtype="S")
        file["meta/genes/biotype"] = np.full(genes, b"protein_coding")
        file["meta/samples/geo_accession"] = np.array([f"GSM{index:07d}" for index in range(samples)], dtype="S")


def choose(path: Path, chosen: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scattered samples and genes of the generated file, ascending."""
    random = np.random.default_rng(1)
    with h5py.File(path, "r") as file:
        genes, samples = file["data/expression"].shape
    return np.sort(random.choice(samples, chosen, replace=False)), np.sort(random.choice(genes, rows, replace=False))


def consilience(path: Path, samples: np.ndarray, genes: np.ndarray, processes: int) -> np.ndarray:
    """Return counts (samples, genes)."""
    from consilience.domains.expression.archs4 import inspect
    from consilience.domains.expression.chunks import Request, read

    return read(Request(inspect(path).layout, samples, genes), processes)[0]


def archs4py(path: Path, samples: np.ndarray, genes: np.ndarray) -> np.ndarray:
    """Return counts (samples, genes), a view of archs4py's table (genes, samples)."""
    import archs4py as package

    return package.data.index(str(path), samples.tolist(), genes.tolist(), silent=True).to_numpy().T


def cpu_seconds() -> float:
    """Return the CPU time of this process and the children it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def run(reader: str, path: Path, chosen: int, rows: int) -> None:
    """Run one reader in this process and print what it took as JSON; imports are not counted."""
    samples, genes = choose(path, chosen, rows)
    if reader == "archs4py":
        import archs4py as _

        call = lambda: archs4py(path, samples, genes)  # noqa: E731
    else:
        import consilience.domains.expression.archs4 as _  # noqa: F401

        call = lambda: consilience(path, samples, genes, int(reader))  # noqa: E731
    before, wall = cpu_seconds(), time.monotonic()
    counts = call()
    spent, wall = cpu_seconds() - before, time.monotonic() - wall
    largest = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    digest = hashlib.sha256()
    for row in counts:
        digest.update(np.ascontiguousarray(row))
    print(json.dumps({"cpu": spent, "wall": wall, "own": largest[0], "child": largest[1], "sha": digest.hexdigest()}))


def proportional(pid: int) -> float:
    """Return the memory in MiB that a process and its descendants hold together, shared pages counted once."""
    total = 0.0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total = int(line.split()[1]) / 1024
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return total
    return total + sum(proportional(int(child)) for child in children)


def measure(reader: str, path: Path, chosen: int, rows: int) -> dict[str, float]:
    """Run one reader in a process of its own, watch its memory, and return its numbers."""
    command = [sys.executable, __file__, "--reader", reader, "--file", str(path)]
    process = subprocess.Popen(
        [*command, "--chosen", str(chosen), "--rows", str(rows)], stdout=subprocess.PIPE, text=True
    )
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, proportional(process.pid))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{reader} failed")
    return {**json.loads(process.stdout.read()), "peak": peak}


def extraction(samples: int, genes: int, chosen: int, rows: int, folder: Path) -> None:
    """Generate the file, run the readers and print them side by side."""
    path = folder / "generated.h5"
    started = time.process_time()
    generate(path, samples, genes)
    output = 4 * chosen * rows / 2**20
    print(
        f"{chosen} of {samples} samples x {rows} of {genes} genes ({path.stat().st_size / 1e9:.2f} GB, generated in "
        f"{time.process_time() - started:.0f} CPU s); output {output:.0f} MiB"
    )
    measure("1", path, chosen, rows)  # the file gets into the page cache
    results = {f"{count} process(es)": measure(str(count), path, chosen, rows) for count in (1, 2)}
    if importlib.util.find_spec("archs4py"):
        results["archs4py data.index"] = measure("archs4py", path, chosen, rows)
    else:
        print("archs4py is not installed: no comparison (pip install archs4py)")
    peer = results.get("archs4py data.index")
    for name, result in results.items():
        ratio = f"{peer['cpu'] / result['cpu']:5.1f}x" if peer else ""
        print(
            f"{name:20s} CPU {result['cpu']:6.2f} s {ratio}  wall {result['wall']:6.2f} s  peak {result['peak']:5.0f} "
            f"MiB = output + {result['peak'] - output:.0f}  (largest process {max(result['own'], result['child']):.0f})"
        )
    if len({result["sha"] for result in results.values()}) > 1:
        raise SystemExit("the readers returned different counts")
    print(f"all {len(results)} readers returned the same counts; reach: >= 6x, output + 128 MiB")


def keywords(count: int) -> None:
    """Time the search for all shipped keywords in `count` texts, one in twenty of which mentions one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from consilience.domains.expression.keywords import mentions, pattern, read_keywords

    random, names = np.random.default_rng(2), read_keywords(KEYWORDS)
    texts = np.array([f"{OTHER[index % len(OTHER)]} {index}" for index in range(count)], dtype=object)
    for index in np.flatnonzero(random.random(count) < 0.05):
        denial = "non-myeloid, " if index % 10 == 0 else ""
        texts[index] = f"{denial}{MYELOID[index % len(MYELOID)]} {index}"
    array = pa.array(texts, pa.large_string())
    calls = {
        "one alternation": lambda: pc.match_substring_regex(array, pattern(names), ignore_case=True),
        "with denials and each keyword's share": lambda: mentions(texts, names),
    }
    print(f"{len(names)} keywords in {count} texts, best of three; reach: 0.3 CPU s a million")
    for name, call in calls.items():
        spent = []
        for _ in range(3):
            started = time.process_time()
            call()
            spent.append(time.process_time() - started)
        print(f"  {name}: {min(spent):.2f} CPU s")


def main() -> None:
    """Run both comparisons, or one reader where a measuring process asks for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=40_000)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--chosen", type=int, default=1500)
    parser.add_argument("--rows", type=int, default=19_000)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the file is generated (default: the temporary folder)")
    parser.add_argument("--reader", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.reader:
        run(chosen.reader, chosen.file, chosen.chosen, chosen.rows)
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        extraction(chosen.samples, chosen.genes, chosen.chosen, chosen.rows, Path(folder))
    keywords(chosen.texts)


if __name__ == "__main__":
    main()
