"""Draws the rules of one study into README.md, from what Snakemake says of them: `make graph`."""

import re
import subprocess
import sys
from pathlib import Path

import networkx as nx

from workflow.rules.marked import replaced

ROOT = Path(__file__).resolve().parents[2]
STUDY = "expression"
NAME = re.compile(r' *(\w*):(?:\s+name:\s+f"{study_name}_(\w+)")?')  # some rules are generated for every study


def rules() -> nx.DiGraph:
    """Return the rules of the study, with an edge from each to those that read what it makes."""
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js", "--quiet", "all"]
    command += ["--config", f"studies=[{STUDY}]"]
    text = subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout
    names = dict(re.findall(r"^\s*(id\d+)\[(.+)\]$", text, re.MULTILINE))
    names = {key: name.removeprefix(f"{STUDY}_") for key, name in names.items()}
    edges = re.findall(r"^\s*(id\d+) --> (id\d+)$", text, re.MULTILINE)
    graph = nx.DiGraph((names[one], names[other]) for one, other in edges)
    graph.remove_node("all")  # it reads every file
    return graph


def on_gpu() -> set[str]:
    """Return the rules that ask for a GPU where the run has one."""
    texts = [file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("*.smk")]
    blocks = [block for text in texts for block in re.split(r"^ *rule\b", text, flags=re.MULTILINE)[1:]]
    return {"".join(filter(None, NAME.match(block).groups())) for block in blocks if "gpu=GPU" in block}


def drawing() -> str:
    """Return the graph in Mermaid's words, without the edges that follow from others."""
    graph = nx.transitive_reduction(rules())
    order = list(nx.lexicographical_topological_sort(graph))
    gpu = on_gpu()
    lines = ["```mermaid", "flowchart LR"]
    lines += [f"    {name}[{name.replace('_', ' ')}]{':::gpu' if name in gpu else ''}" for name in order]
    lines += [f"    {one} --> {other}" for one in order for other in order if graph.has_edge(one, other)]
    lines += ["    classDef gpu fill:#fde7c7,stroke:#b3701a,color:#333", "```"]
    return "\n".join(lines) + "\n"


def drawn(page: str) -> str:
    """Return a page with the graph between its two marks as it is now."""
    return replaced(page, "graph", drawing())


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(drawn(readme.read_text(encoding="utf-8")), encoding="utf-8")
