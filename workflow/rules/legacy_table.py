"""Writes into README.md what became of every output of the earlier systems, from legacy.yaml: `make legacy-table`."""

from pathlib import Path

from consilience.domains import slices
from consilience.legacy.declaration import Declaration
from consilience.legacy.pages import markdown
from workflow.rules.marked import replaced

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "workflow" / "consilience" / "domains"


def tables() -> str:
    """Return a collapsed table for every shipped slice that comes from an earlier system."""
    files = [folder / "legacy.yaml" for folder in slices().values() if folder.parent == SHIPPED]
    return "\n".join(markdown(Declaration.of(file)) for file in files if file.is_file())


def drawn(page: str) -> str:
    """Return a page with the tables between their two marks as they are now."""
    return replaced(page, "legacy-table", tables())


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(drawn(readme.read_text(encoding="utf-8")), encoding="utf-8")
