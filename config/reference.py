"""Writes config/README.md, the reference of every key, from the schemas: `make reference`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# Every key

This page is generated from `workflow/consilience/schemas/` and each slice's `schema.yaml` by `make reference`.

A **study** is one file in `config/studies/`; its name is the `{study}` of every path. Paths in it are relative to the
file. Keys with a default may be left out. Unknown keys are refused, all faults of a file at once.
"""


def rows(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield key, type, default and description of every key of a schema, depth first."""
    for name, part in schema.get("properties", {}).items():
        key, nested = f"{prefix}{name}", "properties" in part or isinstance(part.get("additionalProperties"), dict)
        if "const" in part:
            continue
        needed = name in schema.get("required", [])
        default = "required" if needed else "" if nested or "default" not in part else json.dumps(part["default"])
        if part.get("description"):
            yield key, kind(part), default, " ".join(part["description"].split())
        yield from rows(part, f"{key}.")
        if isinstance(part.get("additionalProperties"), dict):
            yield from rows(part["additionalProperties"], f"{key}.<name>.")


def kind(part: dict[str, Any]) -> str:
    """Say what values a key takes."""
    if "enum" in part:
        return ", ".join(f"`{choice}`" for choice in part["enum"])
    types = part.get("type", "")
    text = " or ".join(types if isinstance(types, list) else [types])
    text = {"object": "keys", "array": "list", "string": "text"}.get(text, text)
    if part.get("format") == "path":
        text = text.replace("string", "path").replace("text", "path")
    bounds = [f"{sign} {part[name]}" for name, sign in SIGNS.items() if name in part]
    return " ".join([text, ", ".join(bounds)]).strip()


PROMISES = {"complete": False, "signed": True}
SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def table(schema: dict[str, Any], prefix: str = "") -> str:
    """Render a schema as a Markdown table."""
    lines = ["| key | value | default | what it does |", "|---|---|---|---|"]
    for key, value, default, description in rows(schema, prefix):
        default = f"`{default}`" if default not in ("", "required") else default
        lines.append(f"| `{key}` | {value} | {default} | {description} |".replace("<name>", "‹name›"))
    return "\n".join(lines)


def methods_table(schema: dict[str, Any]) -> list[str]:
    """Render a slice's own attribution methods, and those of all domains that do not suit it."""
    lines = []
    if schema.get("methods"):
        lines += ["\n### Its own attribution methods\n", "| method | compares with | complete | signed | what it is |"]
        lines.append("|---|---|---|---|---|")
        for name, facts in schema["methods"].items():
            complete, signed = ("yes" if facts.get(key, default) else "no" for key, default in PROMISES.items())
            compared = facts.get("compares_with") or "nothing"
            lines.append(
                f"| `{name}` | {compared} | {complete} | {signed} | {' '.join(facts['description'].split())} |"
            )
    for name, reason in schema.get("unsuited", {}).items():
        lines.append(f"\n`{name}` does not suit its networks: {reason}.")
    return lines


def reference() -> str:
    """Return the whole page."""

    def read(path: Path) -> dict[str, Any]:
        return yaml.safe_load(path.read_text(encoding="utf-8"))

    schemas = ROOT / "workflow" / "consilience" / "schemas"
    parts = [HEAD, "## config.yaml and `--config`\n", table(read(schemas / "config.schema.yaml"))]
    parts += ["\n## Every study\n", table(read(schemas / "study.schema.yaml"))]
    for path in sorted(ROOT.glob("workflow/consilience/domains/*/schema.yaml")):
        schema = read(path)
        parts += [f"\n## Studies of the domain `{path.parent.name}`\n", table(schema)]
        parts += methods_table(schema)
        for name, source in schema["sources"].items():
            parts += [
                f"\n### `source: {{kind: {name}}}`\n",
                source.get("description", ""),
                "",
                table(source, "source."),
            ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    page = Path(__file__).with_name("README.md")
    if "--check" in sys.argv:
        sys.exit(page.read_text(encoding="utf-8") != reference() and f"{page} is out of date; run make reference")
    page.write_text(reference(), encoding="utf-8")
